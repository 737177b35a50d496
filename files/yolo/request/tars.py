"""Unpack a tar of images, with the same distrust as a zip: see ``zips``."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from ..share.errors import YoloError
from .zips import parts_inside

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Suffixes (lower case) of tars that Python reads."""

UNREAD = (".tar.zst", ".tzst")
"""Suffixes of tars that it does not."""

_DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError)


def unpack_tar(file: Path, folder: Path, max_bytes: int) -> None:
    """Unpack the files of a tar into a new folder.

    Raises:
        YoloError: The tar is damaged, unsafe or too large.
        OSError: A file can't be read or written.
    """
    remedy = "make the tar again from inside the folder of images, or unpack it by hand and give the folder"
    total, free = 0, shutil.disk_usage(folder.parent).free
    folder.mkdir()
    try:
        with tarfile.open(file, "r:*") as archive:
            for member in archive:
                if member.isdir():
                    continue
                if not member.isfile():
                    raise YoloError(
                        "unsafe tar: it holds a link or a device", f"{file}: {member.name}", "files", remedy
                    )
                total += member.size
                if total > min(max_bytes, free):
                    raise YoloError(
                        "the tar unpacks to too much",
                        file,
                        f"at most {min(max_bytes, free)} bytes",
                        "unpack it elsewhere",
                    )
                if not (parts := parts_inside(member.name)):
                    raise YoloError(
                        "unsafe tar: a name leads out of the folder", f"{file}: {member.name}", remedy=remedy
                    )
                try:
                    _extract(archive, member, folder.joinpath(*parts))
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    raise YoloError(
                        "unusable tar: a name is both a file and a folder", f"{file}: {member.name}", remedy=remedy
                    ) from None
    except _DAMAGED as error:
        raise YoloError(f"damaged tar ({error})", file, remedy=remedy) from None


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write a file, without the owner and the rights that it had. Python 3.11.2 has no filters that would do it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None, "it is a file"
    with source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)
    os.utime(path, (member.mtime, member.mtime))
