"""Check what a user asks of a run, list its images, find its weights; on the control node."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..request import request
from ..request.inputs import INPUTS, read_inputs
from ..share.errors import YoloError
from .messages import read_input, say

_MIB = 1 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """Print the request, with the folder of what is to be sent to the share.

    Raises:
        YoloError: An input is wrong.
        OSError: A file can't be read or written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m yolo request",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="inputs:\n" + "\n".join(f"  {name:16} {entry.expected}" for name, entry in INPUTS.items()),
    )
    parser.add_argument("inputs", nargs="*", metavar="NAME=VALUE", help="an input of the run, see below")
    parser.add_argument("--from", dest="source", help="file with the rest as JSON, - for standard input")
    parser.add_argument("--validate", action="store_true", help="check the inputs and do no more")
    args = parser.parse_args(argv)
    context = read_input(args.source) if args.source else {}
    given = dict(context.get("inputs", {}))
    for text in args.inputs:
        name, equals, value = text.partition("=")
        if not equals:
            raise YoloError("not an input", text, "NAME=VALUE")
        given[name] = value
    named = [*context.get("named", []), *(text.partition("=")[0] for text in args.inputs)]
    here = Path(context.get("here", ".")).absolute()
    cache = Path(context.get("cache", "~/.cache/condor-yolo")).expanduser().absolute()
    share, site, copy = context.get("share", "/srv/share"), context.get("site", ""), context.get("copy", "")
    checks = {
        "images": lambda text: request.check_images(text, here, share),
        "labels": lambda text: request.check_labels(text, here),
    }
    values = read_inputs(given, named, context.get("prefixes", []), checks)
    if args.validate:
        on_share = request.place_on_share(values, cache, share, site)
        say(result={"from_s3": request.is_on_s3(values), "on_share": on_share, "changed": False})
        return 0
    found = request.resolve(
        values,
        here=here,
        cache=cache,
        share=share,
        site=site,
        copy=copy,
        hosts=context.get("hosts", []),
        price_table=context.get("price_table", {}),
        job=context.get("job", {}),
        progress=_say_progress,
    )
    say(result=found | {"changed": False})
    return 0


def _say_progress(here: int, total: int | None) -> None:
    of = f" of {total / _MIB:.0f}" if total else ""
    say(line=f"Weights: {here / _MIB:.0f}{of} MiB")
