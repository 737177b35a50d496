"""Unpack a tar of images, with the same distrust as a zip: see ``zips``."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zlib
from pathlib import Path

from ..share.errors import YoloError

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
                try:
                    # Refuses absolute names and such as lead out of the folder, and takes no owner and no rights.
                    archive.extract(member, folder, filter="data")
                except tarfile.FilterError as error:
                    raise YoloError("unsafe tar", f"{file}: {error}", "relative names", remedy) from None
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    raise YoloError(
                        "unusable tar: a name is both a file and a folder", f"{file}: {member.name}", remedy=remedy
                    ) from None
    except _DAMAGED as error:
        raise YoloError(f"damaged tar ({error})", file, remedy=remedy) from None
