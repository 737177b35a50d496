"""Temporary."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..results import archive, report, summary
from .messages import say


def main(argv: Sequence[str] | None = None) -> int:
    """Temporary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        report.main(["--results", str(args.folder)])
    changed = archive.bundle(args.folder)
    say(result={"changed": changed, "summary": summary.render(args.folder).splitlines()})
    return 0
