"""Find the images that the user named: a folder, one image, or a zip.

Runs on the control node. A zip comes from anywhere, so nothing in it is believed: names that
leave the folder, links, secrets and bombs are refused before a byte is written.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from calendar import timegm
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache as cache_calls
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

from ..share import manifest
from ..share.errors import YoloError, run_cli
from ..share.fsio import atomic_file, dumps
from ..share.layout import IMAGE_SUFFIXES
from . import known_files, listing
from .known_files import Index
from .listing import Manifest

MAX_ZIP_BYTES = 64 << 30
"""Most bytes that a zip may unpack to, unless asked otherwise."""

MAX_RATIO = 200
"""Most bytes unpacked for each byte of the zip; photos stay below 2."""

RATIO_FREE_BYTES = 256 << 20
"""A zip that unpacks to less than this is not suspected, whatever its ratio."""

TIMESTAMP_FIELD = 0x5455
"""Of a zip's member: its Unix time, which needs no time zone."""

_EXPECTED = f"a folder, a zip, or one image ({' '.join(IMAGE_SUFFIXES)})"
_HASH_LENGTH = 10
_KEEP_LISTS = 7 * 86400  # seconds; sending the images takes less
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_MADE_ON_DOS = 0


@dataclass(frozen=True, slots=True)
class Source:
    """Images on the control node.

    Attributes:
        root: Absolute path of the folder that the manifest's paths are relative to.
        input_id: Name of the staged folder on the share; the same for the same input.
        manifest: What it holds.
    """

    root: str
    input_id: str
    manifest: Manifest


def resolve(
    images: str, cache: Path, max_bytes: int = MAX_ZIP_BYTES, known: Callable[[str], Index] = lambda _: {}
) -> Source:
    """Find the images called ``images`` and list them.

    Args:
        images: Path of a folder, an image or a zip.
        cache: Folder in which zips are unpacked, each under a name that follows its content.
        max_bytes: Most bytes that a zip may unpack to.
        known: Returns what was known of an input the last time, by its ``input_id``.

    Raises:
        YoloError: There is no image, or the zip is damaged, encrypted, unsafe or too large.
        OSError: A file can't be read or written.
    """
    path = os.path.abspath(os.path.expanduser(images))
    name = os.path.basename(path)
    path_hash = hashlib.sha256(manifest.encode(path)).hexdigest()[:_HASH_LENGTH]
    input_id = f"{slug(name)}-{path_hash}"
    if os.path.isdir(path):
        source = Source(path, input_id, listing.build(path, known(input_id)))
    elif not os.path.exists(path):
        raise YoloError("no such images", images, _EXPECTED, "check the path given as images=")
    elif os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
        source = Source(os.path.dirname(path), input_id, listing.build_single(path, known(input_id)))
    else:
        folder, content_hash = unpack(Path(path), cache, max_bytes)
        stem = name[:-4] if name.lower().endswith(".zip") else name
        input_id = f"{slug(stem)}-{content_hash[:_HASH_LENGTH]}"
        source = Source(os.fspath(folder), input_id, listing.build(folder, known(input_id)))
    if not any(source.manifest.images):
        raise YoloError("no image to work on", _nothing(images, source.manifest), _EXPECTED)
    return source


def _nothing(images: str, found: Manifest) -> str:
    reasons = [f"{e.path} ({e.skip})" for e in found.entries[:3]]
    more = len(found.entries) - len(reasons)
    text = f"{images} holds {len(found.entries)} files, none of them an image"
    if reasons:
        text += ": " + ", ".join(reasons) + (f" and {more} more" if more else "")
    return text


def slug(name: str) -> str:
    """Return ``name`` as at most 40 letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:40].rstrip("-._") or "images"


def unpack(file: Path, cache: Path, max_bytes: int = MAX_ZIP_BYTES) -> tuple[Path, str]:
    """Unpack a zip into ``cache``, unless the same content was unpacked before.

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
            _unpack(file, temp, max_bytes)
            temp.rename(target)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise
    return target, content_hash


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # a way of packing that Python doesn't know
    ValueError,  # a name that is not the UTF-8 it says it is, an impossible offset
)


def _unpack(file: Path, folder: Path, max_bytes: int) -> None:
    remedy = "make the zip again, or unpack it by hand and give the folder"
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, file)
            _check_size(archive, members, file, max_bytes, folder.parent)
            folder.mkdir()
            for name, info in members.items():
                try:
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


def _members(archive: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files to unpack by their checked relative names; of equal names the last."""
    members = {}
    for info in archive.infolist():
        name = member_name(info)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
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
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if parts:
            members["/".join(parts)] = info
    return members


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


def write_files_from(source: Source, path: str | os.PathLike[str]) -> None:
    """Write the images' paths for ``rsync --from0 --files-from``.

    Each begins with ``./``, because rsync takes a line that begins with ``#`` for a comment.
    """
    _write_paths(path, (manifest.encode(entry.path) for entry in source.manifest.images))


def _write_paths(path: str | os.PathLike[str], names: Iterable[bytes]) -> int:
    count = 0
    with atomic_file(path) as file:
        for name in names:
            file.write(b"./" + name + b"\0")
            count += 1
    return count


def main(argv: Sequence[str] | None = None) -> int:
    """Write the manifest and the list for rsync; print as JSON where they are."""
    parser = argparse.ArgumentParser(prog="yolo.request.images", description=__doc__)
    parser.add_argument("images", help=_EXPECTED)
    parser.add_argument("--cache", type=Path, required=True, help="folder to unpack zips in")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets a folder with the two lists")
    parser.add_argument("--known", type=Path, help="folder with an index for each input that was sent before")
    parser.add_argument("--checksum", action="store_true", help="read all files, whatever the index says")
    parser.add_argument("--max-zip-bytes", type=int, default=MAX_ZIP_BYTES, help="default: %(default)s")
    args = parser.parse_args(argv)
    print(dumps(prepare(args.images, args.cache, args.out, args.known, args.checksum, args.max_zip_bytes)))
    return 0


def prepare(
    images: str,
    cache: Path,
    out: Path,
    known: Path | None = None,
    checksum: bool = False,
    max_bytes: int = MAX_ZIP_BYTES,
) -> dict[str, Any]:
    """Do what the command does, and return what it prints.

    Each call gets a folder of its own in ``out``, so that calls at the same time do not mix; those of the past days go.
    The new index stands there too. It may replace the one in ``known`` only after everything was sent: what the index
    says of a file is also what its copy on the share is taken for.
    """

    @cache_calls
    def read_known(input_id: str) -> Index:
        return {} if known is None or checksum else known_files.read_index(known / input_id)

    source = resolve(images, cache, max_bytes, read_known)
    before = read_known(source.input_id)
    out.mkdir(parents=True, exist_ok=True)
    _forget_old(out)
    listed = Path(tempfile.mkdtemp(dir=os.path.abspath(out)))
    manifest.write(source.manifest.entries, listed / "manifest.jsonl")
    write_files_from(source, listed / "files-from")
    known_files.write_index(listed / "index", source.manifest.index)
    index = source.manifest.index
    doubtful = (
        path
        for entry in source.manifest.images
        if known_files.needs_comparing(before.get(path := manifest.encode(entry.path)), index[path])
    )
    return {
        "root": source.root,
        "input_id": source.input_id,
        "manifest": str(listed / "manifest.jsonl"),
        "stamp": manifest.stamp(listed / "manifest.jsonl"),
        "files_from": str(listed / "files-from"),
        "doubtful": _write_paths(listed / "doubtful-from", doubtful),
        "doubtful_from": str(listed / "doubtful-from"),
        "index": str(listed / "index"),
        **source.manifest.summary(),
    }


def _forget_old(out: Path) -> None:
    for listed in out.iterdir():
        # Another call may remove it first.
        with suppress(FileNotFoundError):
            if listed.is_dir() and listed.stat().st_mtime < time.time() - _KEEP_LISTS:
                shutil.rmtree(listed, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(run_cli(main))
