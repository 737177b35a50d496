"""Unpack a tar of images, with the same distrust as a zip: see ``zips``."""

from __future__ import annotations

import importlib
import lzma
import os
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ..share.errors import YoloError
from .zips import keeps_names, parts_inside

_ZSTANDARD = (".tar.zst", ".tzst")

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", *_ZSTANDARD)
"""Suffixes (lower case) of tars."""

_DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError)


def unpack_tar(file: Path, folder: Path, max_bytes: int) -> list[str]:
    """Unpack the files of a tar into a new folder; return the names that the file system does not take.

    Raises:
        YoloError: The tar is damaged, unsafe or too large.
        OSError: A file can't be read or written.
    """
    remedy = "make the tar again from inside the folder of images, or unpack it by hand and give the folder"
    left_out: list[str] = []
    total, free = 0, shutil.disk_usage(folder.parent).free
    folder.mkdir()
    try:
        with _open(file) as archive:
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
                    with keeps_names(left_out, "/".join(parts)):
                        _extract(archive, member, folder.joinpath(*parts))
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    raise YoloError(
                        "unusable tar: a name is both a file and a folder", f"{file}: {member.name}", remedy=remedy
                    ) from None
    except _DAMAGED as error:
        raise YoloError(f"damaged tar ({error})", file, remedy=remedy) from None
    return left_out


@contextmanager
def _open(file: Path) -> Iterator[tarfile.TarFile]:
    if not file.name.lower().endswith(_ZSTANDARD):
        with tarfile.open(file, "r:*") as archive:
            yield archive
        return
    zstd = zstandard()
    try:
        # Front to back: its decoder can't go back.
        with zstd.open(file, "rb") as content, tarfile.open(fileobj=content, mode="r|") as archive:
            yield archive
    except zstd.ZstdError as error:
        raise tarfile.ReadError(str(error)) from None


def zstandard() -> ModuleType:
    """Return Python's own module, which it has since 3.14, or the package that is the same for those before."""
    try:
        return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        raise YoloError(
            "a library is missing", "backports.zstd, which reads .tar.zst", remedy="`make venv`, or unpack it by hand"
        ) from None


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write a file, without the owner and the rights that it had. Python 3.11.2 has no filters that would do it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None, "it is a file"
    with source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)
    os.utime(path, (member.mtime, member.mtime))
