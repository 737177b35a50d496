"""Pack a results folder into one ``results.zip`` inside it. Runs on the control node."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from ..share import fsio
from ..share.containers import Stored
from ..share.errors import YoloError
from ..share.layout import CONTAINERS
from ..share.manifest import decode, encode
from ..share.zip_format import TIMESTAMP_FIELD

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


def contents(folder: Path, apart: Mapping[str, Stored]) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return what belongs into the zip: path relative to ``folder``, and name, date and size in the zip.

    Args:
        folder: The results folder.
        apart: What is not in it as a file, by path.

    Raises:
        OSError: A file can't be read.
    """
    paths = sorted([*members(folder), *apart], key=encode)
    return [
        (path, _info_of(apart[path], name) if path in apart else _info(folder, path, name))
        for path, name in zip(paths, _names(paths), strict=True)
    ]


def _names(paths: list[str]) -> list[str]:
    # Names that need no change first: one that has to be changed must not take theirs.
    taken = {path for path in paths if _is_utf8(path)}
    return [path if _is_utf8(path) else member_name(path, taken) for path in paths]


def current_members(folder: Path, stored: Iterable[Stored]) -> set[str]:
    """Return the paths of those files that ``results.zip`` has already, with their size and date."""
    try:
        with zipfile.ZipFile(folder / NAME) as archive:
            marks = {_mark(info) for info in archive.infolist()}
    except (OSError, zipfile.BadZipFile):
        return set()
    found = sorted(stored, key=lambda item: encode(item.path))
    names = _names([item.path for item in found])
    return {item.path for item, name in zip(found, names, strict=True) if _mark(_info_of(item, name)) in marks}


def is_current(folder: Path, wanted: list[tuple[str, zipfile.ZipInfo]]) -> bool:
    """Tell whether ``results.zip`` holds files of these names, dates and sizes and no others."""
    try:
        with zipfile.ZipFile(folder / NAME) as archive:
            found = archive.infolist()
    except (OSError, zipfile.BadZipFile):
        return False
    return [_mark(info) for info in found] == [_mark(info) for _, info in wanted]


def _mark(info: zipfile.ZipInfo) -> tuple[object, ...]:
    # A zip counts every two seconds.
    *minutes, seconds = info.date_time
    return info.filename, info.file_size, *minutes, seconds // 2


def pack(folder: Path, apart: Mapping[str, Stored] | None = None) -> bool:
    """Pack ``folder``, unless its zip is of the same files already, and tell whether it was packed.

    Photos are stored as they are, since they are packed already; the rest is deflated.

    Args:
        folder: Results folder. Its ``results.zip`` is replaced when the new one is complete.
        apart: What is not in it as a file, by path: it stands in a container, or in the zip of before.

    Raises:
        YoloError: There is no such folder, or a container is damaged.
        OSError: A file can't be read or written, e.g. the disk is full.
    """
    if not folder.is_dir():
        raise YoloError("no such results folder", folder, "results/<run_id>")
    apart = apart or {}
    wanted = contents(folder, apart)
    if is_current(folder, wanted):
        return False
    with (
        fsio.atomic_file(folder / NAME) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ExitStack() as sources,
    ):
        parts = _Parts(folder, sources)
        for path, info in wanted:
            with archive.open(info, "w") as target:
                if path in apart:
                    target.writelines(parts.read(apart[path], info.filename))
                else:
                    with open(real_path(folder, path), "rb") as source:
                        shutil.copyfileobj(source, target, 1 << 20)
    return True


class _Parts:
    """Reads files that stand in containers or in the zip of before.

    Args:
        folder: The results folder.
        sources: Closes the zip of before, which is opened once: to open it is to read the names of all its files.
    """

    def __init__(self, folder: Path, sources: ExitStack) -> None:
        self._folder, self._sources = folder, sources
        self._before: zipfile.ZipFile | None = None

    def read(self, stored: Stored, name: str) -> Iterator[bytes]:
        """Yield the content of a file in parts.

        Args:
            stored: Where it stands.
            name: Its name in the zip.

        Raises:
            YoloError: It is in neither.
            OSError: A file can't be read.
        """
        try:
            with open(self._folder / CONTAINERS / stored.container, "rb") as container:
                yield from stored.read(container)
            return
        except FileNotFoundError:
            # It was not pulled: the zip of before has it.
            pass
        try:
            if self._before is None:
                self._before = self._sources.enter_context(zipfile.ZipFile(self._folder / NAME))
            with self._before.open(name) as member:
                while part := member.read(1 << 20):
                    yield part
        except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
            raise YoloError(
                "a result is neither here nor in the zip",
                f"{stored.path} ({type(error).__name__})",
                remedy="run the same run_id again, which pulls it",
            ) from None


def real_path(folder: Path, path: str) -> bytes:
    """Return where a file of a results folder stands, whatever the locale makes of its name."""
    return os.path.join(os.fsencode(folder), encode(path))


def _is_utf8(path: str) -> bool:
    return not any("\udc80" <= c <= "\udcff" for c in path)


def _info(folder: Path, path: str, name: str) -> zipfile.ZipInfo:
    status = os.stat(real_path(folder, path))
    return _make_info(name, int(status.st_mtime), status.st_size)


def _info_of(stored: Stored, name: str) -> zipfile.ZipInfo:
    return _make_info(name, stored.written, stored.size)


def _make_info(name: str, seconds: int, size: int) -> zipfile.ZipInfo:
    # A zip's date has no time zone: UTC, so that every control node makes the same zip of the same files. Programs that
    # unpack go by the Unix time beside it, where it fits.
    date = time.gmtime(seconds)[:6]
    if not _ZIP_EPOCH[0] <= date[0] <= _ZIP_LAST_YEAR:
        date = _ZIP_EPOCH
    info = zipfile.ZipInfo(name, date)
    if -(1 << 31) <= seconds < 1 << 31:
        info.extra = struct.pack("<HHBi", TIMESTAMP_FIELD, 5, 1, seconds)
    stored = os.path.splitext(name)[1].lower() in _PACKED_ALREADY
    info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.file_size = size  # tells zipfile when it needs the 64-bit form
    return info
