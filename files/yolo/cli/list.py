"""List the images of a folder that lies on the share; on the central manager, as the job user."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..request.on_share import list_folder
from .messages import read_input, say


def main(argv: Sequence[str] | None = None) -> int:
    """Print the list, see ``on_share.list_folder``. Nothing is written.

    Raises:
        YoloError: There is no such folder, or it can't be read.
        OSError: The share can't be read.
    """
    parser = argparse.ArgumentParser(prog="python -m yolo list", description=__doc__)
    parser.add_argument("folder", help="its absolute path")
    parser.add_argument("--share", default="/srv/share", help="path of the share")
    parser.add_argument("--checksum", action="store_true", help="read files again that were not changed since")
    parser.add_argument(
        "--from", dest="source", help="JSON with the list of the last time as `kept`, - for standard input"
    )
    args = parser.parse_args(argv)
    before = {} if args.source is None else read_input(args.source).get("kept", {})
    say(result={"kept": list_folder(args.folder, args.share, {} if args.checksum else before), "changed": False})
    return 0
