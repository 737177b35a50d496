"""Unpack a zip of images.

A zip comes from anywhere, so nothing in it is trusted: names that leave the folder, links, secrets and bombs are
refused before a byte is written.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from calendar import timegm
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import IO

from ..share import fsio
from ..share.errors import YoloError
from ..share.zip_format import TIMESTAMP_FIELD

_EXPECTED = "a folder, a zip, or one image"
MAX_ZIP_BYTES = 64 << 30
"""Most bytes that a zip may unpack to, unless asked otherwise."""


MAX_RATIO = 200
"""Most bytes unpacked for each byte of the zip; photos stay below 2."""


RATIO_FREE_BYTES = 256 << 20
"""A zip that unpacks to less than this is not suspected, whatever its ratio."""


_ENCRYPTED = 0x1


_UTF8_NAME = 0x800


_MADE_ON_DOS = 0


def unpack(
    file: Path,
    cache: Path,
    max_bytes: int = MAX_ZIP_BYTES,
    unpacker: Callable[[Path, Path, int], list[str]] | None = None,
) -> tuple[Path, str]:
    """Unpack a zip into ``cache``, unless the same content was unpacked before; see also :func:`read_left_out`.

    Args:
        file: The zip.
        cache: Folder of unpacked ones.
        max_bytes: Most bytes that it may unpack to.
        unpacker: Unpacks another kind of archive into a folder that it makes; returns what it had to leave out.

    Returns:
        The folder, and the SHA-256 of the zip in hex.

    Raises:
        YoloError: The zip is damaged, encrypted, unsafe or too large.
        OSError: A file can't be read or written.
    """
    with open(file, "rb") as stream:
        content_hash = hashlib.file_digest(stream, "sha256").hexdigest()
    short = content_hash[:16]
    target = Path(os.path.abspath(cache)) / f"zip-{short}"
    if target.is_dir():
        return target, content_hash
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / f".lock-{short}"):
        if target.is_dir():
            return target, content_hash
        # Left by a run that was killed: this one holds the lock, so nobody is writing to it.
        for stale in target.parent.glob(f".tmp-{short}-*"):
            shutil.rmtree(stale)
        temp = target.parent / f".tmp-{short}-{token_hex(4)}"
        try:
            left_out = (unpacker or _unpack)(file, temp, max_bytes)
            fsio.write_json(_left_out(target), left_out)
            temp.rename(target)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise
    return target, content_hash


def read_left_out(folder: Path) -> list[str]:
    """Return the names of an archive's files that this file system can't hold.

    Args:
        folder: What :func:`unpack` returned.

    Raises:
        OSError: They can't be read.
    """
    try:
        found = fsio.read_json(_left_out(folder))
    except (FileNotFoundError, ValueError):
        return []
    return [str(name) for name in found]


def _left_out(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.left-out.json")


@contextmanager
def keeps_names(left_out: list[str], name: str) -> Iterator[None]:
    """Write a member's file in the block; note its name where the file system does not take that.

    Raises:
        OSError: Any other error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NAME_ERRORS:
            raise
        left_out.append(name)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_NAME_ERRORS = (errno.ENAMETOOLONG, errno.EILSEQ)


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # a way of packing that Python doesn't know
    ValueError,  # a name that is not the UTF-8 it says it is, an impossible offset
)


def _unpack(file: Path, folder: Path, max_bytes: int) -> list[str]:
    left_out: list[str] = []
    remedy = "make the zip again, or unpack it by hand and give the folder"
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, file)
            _check_size(archive, members, file, max_bytes, folder.parent)
            folder.mkdir()
            for name, info in members.items():
                try:
                    with keeps_names(left_out, name):
                        _extract(archive, info, folder / name)
                except _DAMAGED as error:
                    raise YoloError(f"damaged zip ({error})", f"{file}: {name}", remedy=remedy) from None
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    raise YoloError(
                        "unusable zip: a name is both a file and a folder",
                        f"{file}: {name}",
                        remedy=remedy,
                    ) from None
    except _DAMAGED as error:
        raise YoloError(f"neither an image nor a sound zip ({error})", file, _EXPECTED, remedy) from None
    return left_out


def _members(archive: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files to unpack by their checked relative names; of equal names the last."""
    members = {}
    for info in archive.infolist():
        name = member_name(info)
        kind = stat.S_IFMT(info.external_attr >> 16)
        parts = parts_inside(name)
        if parts is None or re.match(r"[A-Za-z]:", name):
            raise YoloError(
                "unsafe zip: a name leads out of the folder",
                f"{file}: {name}",
                "relative names",
                "make the zip again from inside the folder of images",
            )
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise YoloError(
                "unsafe zip: it holds a link or a device",
                f"{file}: {name}",
                "files and folders",
                "make the zip again without links (zip -r follows them)",
            )
        if name.endswith("/") or kind == stat.S_IFDIR:
            continue
        if info.flag_bits & _ENCRYPTED:
            raise YoloError(
                "the zip is encrypted",
                f"{file}: {name}",
                "a zip without a password",
                "unpack it by hand and give the folder",
            )
        if parts:
            members["/".join(parts)] = info
    return members


def parts_inside(name: str) -> list[str] | None:
    """Return the parts of an archive member's name; None if it leads out of the folder that it is unpacked to."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if name.startswith("/") or ".." in parts else parts


def member_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a zip's member with ``/`` between its parts.

    Where the zip does not say that a name is UTF-8, it should be code page 437; but the zip
    programs of Unix write UTF-8 without saying so. What decodes as UTF-8 is taken for it.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8_NAME and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            name = info.filename
    if info.create_system == _MADE_ON_DOS:
        name = name.replace("\\", "/")
    return name.partition("\0")[0]


def _check_size(
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    file: Path,
    max_bytes: int,
    folder: Path,
) -> None:
    # What the zip declares is a bound: zipfile stops reading a member there.
    total = sum(info.file_size for info in members.values())
    packed = file.stat().st_size
    if total > max_bytes:
        raise YoloError(
            "the zip unpacks to too much",
            f"{file}: {total} bytes",
            f"at most {max_bytes} bytes",
            "unpack it by hand and give the folder",
        )
    if total > max(MAX_RATIO * packed, RATIO_FREE_BYTES):
        raise YoloError(
            "the zip looks like a zip bomb",
            f"{file}: {packed} bytes unpack to {total}",
            f"at most {MAX_RATIO} times its size",
            "if it is yours, unpack it by hand and give the folder",
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise YoloError(
            "too little disk to unpack the zip",
            f"{folder} has {free} bytes free",
            f"{total} bytes",
            "free space there, or unpack it elsewhere and give the folder",
        )


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, open(path, "wb") as target:
        while block := _read(source):
            target.write(block)
    mtime = member_mtime(info)
    os.utime(path, (mtime, mtime))


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(1 << 20)
    except OSError as error:
        # bz2 says so when its data are damaged; a disk that fails has a number.
        if error.errno is None:
            raise zipfile.BadZipFile(str(error)) from None
        raise


def member_mtime(info: zipfile.ZipInfo) -> int:
    """Return when a zip's member was changed, in seconds since the epoch.

    From its Unix time if it has one; else from its date, which has no time zone and is taken for
    UTC, so that the same zip gives the same times on every host.
    """
    extra = info.extra
    while len(extra) >= 4:
        field, size = struct.unpack_from("<HH", extra)
        data = extra[4 : 4 + size]
        if field == TIMESTAMP_FIELD and len(data) >= 5 and data[0] & 1:
            return int(struct.unpack_from("<i", data, 1)[0])
        extra = extra[4 + size :]
    try:
        return max(0, timegm((*info.date_time, 0, 0, 0)))
    except ValueError:
        return 0  # no such month: some programs leave the date out
