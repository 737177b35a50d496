"""Pack a results folder into one ``results.zip`` inside it. Runs on the control node."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import fsio
from .errors import YoloError, run_cli
from .manifest import decode, encode

NAME = "results.zip"
"""Name of the zip in the results folder."""

_PACKED_ALREADY = (".jpg", ".jpeg", ".png", ".webp")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_ZIP_LAST_YEAR = 2107


def members(folder: Path) -> Iterator[str]:
    """Yield the paths of the files to pack, relative to ``folder``, sorted by their bytes.

    Not the zip itself, nor hidden files: those are temporary.

    Raises:
        OSError: The folder can't be read.
    """
    base = os.fsencode(folder)
    paths = []
    folders = [b""]
    while folders:
        relative = folders.pop()
        with os.scandir(os.path.join(base, relative)) as scan:
            for item in scan:
                path = os.path.join(relative, item.name)
                if item.name.startswith(b".") or path == NAME.encode():
                    continue
                if item.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif item.is_file(follow_symlinks=False):
                    paths.append(path)
    return map(decode, sorted(paths))


def member_name(path: str, taken: set[str]) -> str:
    """Return the name of a file in the zip, and add it to ``taken``.

    A zip holds names as UTF-8. A byte that is none becomes ``%`` and two hex digits, and the
    name gets a number if there is such a name already.
    """
    name = "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in path)
    stem, suffix = os.path.splitext(name)
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{suffix}"
    taken.add(name)
    return name


def bundle(folder: Path) -> int:
    """Pack ``folder`` and return the number of files packed.

    Photos are stored as they are, since they are packed already; the rest is deflated.

    Args:
        folder: Results folder. Its ``results.zip`` is replaced when the new one is complete.

    Raises:
        YoloError: There is no such folder.
        OSError: A file can't be read or written, e.g. the disk is full.
    """
    if not folder.is_dir():
        raise YoloError("no such results folder", folder, "results/<run_id>")
    # Names that need no change first: one that has to be changed must not take theirs.
    paths = list(members(folder))
    taken = {path for path in paths if _is_utf8(path)}
    with (
        fsio.atomic_file(folder / NAME) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in paths:
            name = path if _is_utf8(path) else member_name(path, taken)
            _add(archive, os.path.join(os.fsencode(folder), encode(path)), name)
    return len(paths)


def _is_utf8(path: str) -> bool:
    return not any("\udc80" <= c <= "\udcff" for c in path)


def _add(archive: zipfile.ZipFile, file: bytes, name: str) -> None:
    with open(file, "rb") as source:
        status = os.fstat(source.fileno())
        date = time.localtime(status.st_mtime)[:6]
        if not _ZIP_EPOCH[0] <= date[0] <= _ZIP_LAST_YEAR:
            date = _ZIP_EPOCH
        info = zipfile.ZipInfo(name, date)
        stored = os.path.splitext(name)[1].lower() in _PACKED_ALREADY
        info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFREG | 0o644) << 16
        info.file_size = status.st_size  # tells zipfile when it needs the 64-bit form
        with archive.open(info, "w") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def main(argv: Sequence[str] | None = None) -> int:
    """Pack a results folder and print as JSON what was made."""
    parser = argparse.ArgumentParser(prog="yolo.bundle", description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<run_id>")
    args = parser.parse_args(argv)
    files = bundle(args.folder)
    out = Path(os.path.abspath(args.folder / NAME))
    print(fsio.dumps({"zip": str(out), "files": files, "bytes": out.stat().st_size}))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
