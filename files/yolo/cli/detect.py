"""The job: detect objects in the images of one chunk."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..share.errors import YoloError
from ..share.layout import PASSES
from ..share.limits import THREADS
from ..share.settings import run_at


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        YoloError: The job cannot work at all, or can no longer write to the share.
    """
    parser = argparse.ArgumentParser(
        prog="python -m yolo detect",
        description="Detect objects in the images of one chunk and write records, labels and annotated images to the "
        "share. Images that have a good record of an earlier attempt are not done again.",
    )
    parser.add_argument("--run-dir", type=Path, required=True, help="folder of the run: <share>/runs/<run_id>")
    parser.add_argument(
        "--pass", dest="pass_name", choices=PASSES, required=True, help="pass that the chunk belongs to"
    )
    parser.add_argument(
        "--chunk", type=parse_chunk, required=True, help="submission and chunk, e.g. s001/c00003, or the chunk's file"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        help="threads of the engine; 0 (the default) takes the run's setting, else the slot's processors",
    )
    args = parser.parse_args(argv)
    if args.threads and args.threads not in THREADS:
        raise YoloError("threads out of range", args.threads, f"0 (the slot's processors) to {THREADS[-1]}")
    # Only here, so that --help and wrong arguments need no installed package.
    from ..detector.job import run_chunk

    submission, chunk = args.chunk
    return run_chunk(run_at(args.run_dir), args.pass_name, submission, chunk, threads=args.threads)


def parse_chunk(text: str) -> tuple[str, str]:
    """Split ``s001/c00003``, or the path of that chunk's file, into submission and chunk.

    Raises:
        argparse.ArgumentTypeError: It has another form.
    """
    match = re.fullmatch(r"(?:.*/)?(s\d{3,})/(c\d{5,})(?:\.jsonl)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected submission/chunk, e.g. s001/c00003")
    return match[1], match[2]
