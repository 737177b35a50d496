"""Annotated images and label files: out of the containers that were pulled into a results folder, into its own tree.

Runs on the control node. A file that is there with the size and the date that the list of contents gives is current, as
it is to rsync: only the containers of the others are pulled.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from ..share import fsio
from ..share.containers import Stored, read_contents
from ..share.layout import CONTAINERS, CONTENTS, IMAGES, LABELS, NAME_MAX
from ..share.manifest import decode, encode
from . import archive

NEEDED = ".needed"
"""Name of the list of containers to pull, with a zero byte after each: for rsync."""


def list_needed(folder: Path, zip_only: bool) -> list[str]:
    """Return the containers with files that a results folder lacks, and write them to :data:`NEEDED`.

    Args:
        folder: Holds the list of contents.
        zip_only: Whether the files are only to stand in ``results.zip``.

    Raises:
        YoloError: The list of contents is damaged.
        OSError: A file can't be read or written.
    """
    contents = read_contents(folder / CONTENTS)
    packed = archive.current_members(folder, contents)
    needed = sorted(
        {
            stored.container
            for stored in contents
            if not is_current(folder, stored) and not (stored.path in packed and (zip_only or not fits(stored)))
        }
    )
    fsio.write_text(folder / NEEDED, "".join(f"{name}\0" for name in needed))
    return needed


def unpack(folder: Path, contents: Iterable[Stored], zip_only: bool) -> dict[str, Stored]:
    """Write the missing files and remove those that are no results any more.

    Args:
        folder: Holds the containers that were pulled.
        contents: The files.
        zip_only: Whether to write none.

    Returns:
        What is to stand in the zip alone, by path: all of it; or what has a name that is too long for a file, or whose
        container was not pulled.

    Raises:
        YoloError: A container is damaged.
        OSError: A file can't be read, written or removed.
    """
    by_path = {stored.path: stored for stored in contents}
    for name in (IMAGES, LABELS):
        _prune(folder, name, by_path)
    apart = {path: stored for path, stored in by_path.items() if not is_current(folder, stored)}
    if zip_only:
        return apart
    missing = sorted(filter(fits, apart.values()), key=lambda stored: (stored.container, stored.at))
    for container, files in groupby(missing, key=lambda stored: stored.container):
        if not (folder / CONTAINERS / container).exists():
            continue
        with open(folder / CONTAINERS / container, "rb") as source:
            for stored in files:
                path = Path(os.fsdecode(archive.real_path(folder, stored.path)))
                with fsio.atomic_file(path) as target:
                    target.writelines(stored.read(source))
                os.utime(path, (stored.written, stored.written))
                del apart[stored.path]
    return apart


def remove_leftovers(folder: Path, zip_only: bool) -> None:
    """Remove what only unpacking needed; where the results are only to stand in the zip, also their files.

    The list of contents stays, so that the same one is not pulled again.

    Raises:
        OSError: A file can't be removed.
    """
    shutil.rmtree(folder / CONTAINERS, ignore_errors=True)
    (folder / NEEDED).unlink(missing_ok=True)
    if zip_only:
        for name in (IMAGES, LABELS):
            with suppress(FileNotFoundError):
                shutil.rmtree(folder / name)


def fits(stored: Stored) -> bool:
    """Whether a file system takes the names in a path."""
    return all(len(part) <= NAME_MAX for part in encode(stored.path).split(b"/"))


def is_current(folder: Path, stored: Stored) -> bool:
    """Whether the file is there already."""
    try:
        status = os.lstat(archive.real_path(folder, stored.path))
    except OSError:
        return False
    return status.st_size == stored.size and int(status.st_mtime) == stored.written


def _prune(folder: Path, name: str, wanted: Mapping[str, Stored]) -> None:
    """Remove all files of one of the folders but the wanted ones, and folders that are left empty."""
    base = os.fsencode(folder)
    for path in list(_files(os.path.join(base, name.encode()))):
        if decode(os.path.relpath(path, base)) not in wanted:
            os.unlink(path)
    for path, _, _ in os.walk(os.path.join(base, name.encode()), topdown=False):
        with suppress(OSError):
            os.rmdir(path)


def _files(base: bytes) -> Iterator[bytes]:
    for folder, _, names in os.walk(base):
        for name in names:
            yield os.path.join(folder, name)
