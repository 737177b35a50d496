"""List a folder of images: one entry a file, the same order and names every time.

What can't be an image is listed too, with the reason, so that nothing vanishes silently.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..share.bounded_map import bounded_map
from ..share.errors import YoloError
from ..share.layout import NAME_MAX, WRITTEN_SUFFIXES, image_key
from ..share.manifest import decode, encode
from ..share.records import Entry
from .known_files import Index, Known, examine

_IGNORED_NAMES = (b"__macosx", b"thumbs.db")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds.

    Attributes:
        entries: Sorted by the bytes of their paths; ``index`` counts them from 0.
        ignored: Hidden files and folders, ``__MACOSX`` and ``Thumbs.db``, not looked into.
        index: What was found in the files that were looked into, for the next time.
    """

    entries: tuple[Entry, ...]
    ignored: int = 0
    index: Index = field(default_factory=dict)

    @property
    def images(self) -> Iterator[Entry]:
        """The entries that may be images."""
        return (entry for entry in self.entries if entry.skip is None)

    def summary(self) -> dict[str, int]:
        """Return ``count``, ``skipped``, ``ignored`` and ``bytes`` (of the images)."""
        sizes = [entry.size for entry in self.images]
        return {
            "count": len(sizes),
            "skipped": len(self.entries) - len(sizes),
            "ignored": self.ignored,
            "bytes": sum(sizes),
        }


@dataclass(frozen=True, slots=True)
class _Found:
    path: bytes
    size: int = 0
    mtime_ns: int = 0
    skip: str | None = None
    content: str | None = None


def build(
    root: str | os.PathLike[str], index: Index | None = None, left_out: Mapping[str, str] | None = None
) -> Manifest:
    """List all files below ``root``, and look into them: an image is what begins like one, whatever its name.

    Links to files below ``root`` are followed. Others, and links to folders, are listed with a reason: a link called
    ``x.jpg`` may lead to a private key.

    Args:
        root: Folder of images.
        index: What was found the last time; files that were not changed since are not read again.
        left_out: Why files that belong to it are not there, by their paths.

    Raises:
        YoloError: ``root`` is not a folder that can be read.
    """
    base = os.fsencode(root)
    try:
        found, ignored = _walk(base)
    except OSError as error:
        raise YoloError(
            f"can't read the folder of images ({error.strerror})",
            os.fspath(root),
            "a folder",
            "check the path given as images= and who may read it",
        ) from None
    found += [_Found(encode(path), skip=reason) for path, reason in (left_out or {}).items()]
    return _manifest(base, found, ignored, index or {})


def build_single(path: str | os.PathLike[str], index: Index | None = None) -> Manifest:
    """Return the manifest of the folder of ``path`` as if that one file were all it holds.

    A link is followed wherever it leads: it was named by hand.
    """
    file = os.fsencode(path)
    folder, name = os.path.split(file)
    return _manifest(folder, [_look(file, name)], 0, index or {})


def build_several(root: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]], index: Index) -> Manifest:
    """List the files and folders that were named by hand, as if ``root``, which holds them all, held no others.

    Raises:
        YoloError: A folder can't be read.
    """
    base, found, ignored = os.fsencode(root), {}, 0
    for path in map(os.fsencode, paths):
        relpath = os.path.relpath(path, base)
        if not os.path.isdir(path):
            found[relpath] = _look(path, relpath)
            continue
        try:
            below, hidden = _walk(path)
        except OSError as error:
            raise YoloError(f"can't read a folder of images ({error.strerror})", os.fsdecode(path)) from None
        ignored += hidden
        for item in below:
            whole = os.path.normpath(os.path.join(relpath, item.path))
            found.setdefault(whole, replace(item, path=whole))
    return _manifest(base, found.values(), ignored, index)


def to_rows(manifest: Manifest) -> list[list[Any]]:
    """Return what :func:`from_rows` makes the manifest of again, as JSON has it.

    Returns:
        For each file its path, size, ``mtime_ns``, ``skip`` and ``content``, and of one that was looked into also
        ``ctime_ns``, inode and rules, see ``known_files.Known``.
    """
    rows: list[list[Any]] = []
    for entry in manifest.entries:
        known = manifest.index.get(encode(entry.path))
        marks = [] if known is None else [known.ctime_ns, known.inode, known.rules]
        rows.append([entry.path, entry.size, entry.mtime_ns, entry.skip, entry.content, *marks])
    return rows


def from_rows(rows: Iterable[Sequence[Any]], ignored: int) -> Manifest:
    """Undo :func:`to_rows`."""
    found: list[_Found] = []
    index: dict[bytes, Known] = {}
    for path, size, mtime_ns, skip, content, *marks in rows:
        name = encode(path)
        found.append(_Found(name, size, mtime_ns, skip, content))
        if marks:
            ctime_ns, inode, rules = marks
            index[name] = Known(size, mtime_ns, ctime_ns, inode, content, skip, rules)
    return Manifest(tuple(_entries(found)), ignored, index)


def _manifest(base: bytes, found: Iterable[_Found], ignored: int, index: Index) -> Manifest:
    known: dict[bytes, Known] = {}

    def look_into(item: _Found) -> _Found:
        if item.skip is not None:
            return item
        file = os.path.join(base, item.path)
        try:
            before = index.get(item.path)
            looked = before if before is not None and before.is_same(os.stat(file)) else examine(file)
        except OSError as error:
            return replace(item, skip=f"can't be read: {error.strerror}")
        known[item.path] = looked
        return replace(item, size=looked.size, mtime_ns=looked.mtime_ns, skip=looked.reason, content=looked.content)

    return Manifest(tuple(_entries(bounded_map(look_into, found))), ignored, known)


def _walk(base: bytes) -> tuple[list[_Found], int]:
    found: list[_Found] = []
    ignored = 0
    inside = os.path.join(os.path.realpath(base), b"")
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(base, folder)) as scan:
                items = list(scan)
        except OSError as error:
            if not folder:
                raise
            found.append(_Found(folder, skip=f"folder can't be read: {error.strerror}"))
            continue
        for item in items:
            relpath = os.path.join(folder, item.name)
            if item.name.startswith(b".") or item.name.lower() in _IGNORED_NAMES:
                ignored += 1
            elif item.is_dir(follow_symlinks=False):
                folders.append(relpath)
            elif item.is_symlink() and not os.path.realpath(item.path).startswith(inside):
                found.append(_Found(relpath, skip=_outside(item.path)))
            else:
                found.append(_look(item.path, relpath))
    return found, ignored


def _outside(link: bytes) -> str:
    if not os.path.exists(link):
        return "broken link: No such file or directory"
    if os.path.isdir(link):
        return "link to a folder: links to folders are not followed"
    return "link out of the folder: not followed; copy the file here if it shall be sent"


def _look(file: bytes, relpath: bytes) -> _Found:
    try:
        info = os.stat(file)
    except OSError as error:
        broken = os.path.islink(file)
        what = "broken link" if broken else "can't be read"
        return _Found(relpath, skip=f"{what}: {error.strerror}")
    if stat.S_ISDIR(info.st_mode):
        return _Found(relpath, skip="link to a folder: links to folders are not followed")
    if not stat.S_ISREG(info.st_mode):
        return _Found(relpath, skip="not an image: not a regular file")
    return _Found(relpath, info.st_size, info.st_mtime_ns, _reason(file, info.st_size))


def _reason(file: bytes, size: int) -> str | None:
    if size == 0:
        return "empty file: 0 bytes"
    if not os.access(file, os.R_OK):
        return "can't be read: Permission denied"
    return None


def _entries(found: Iterable[_Found]) -> Iterator[Entry]:
    files = sorted(found, key=lambda item: item.path)
    # What has an image's suffix counts too, so that a name does not change when a damaged file is mended.
    images = {item.path for item in files if item.skip is None or _is_written(item.path)}
    stems = Counter(os.path.splitext(path)[0] for path in images)
    for index, item in enumerate(files):
        stem = os.path.splitext(item.path)[0]
        # The second case: beside a.jpg and a.png, whose labels carry their full names, the label
        # of a.jpg.jpg would be a.jpg.txt too.
        clash = stems[stem] > 1 or stem in images
        path = decode(item.path)
        key = image_key(path)
        label = _label(item.path if clash else stem, key)
        image = None if item.skip or _is_written(item.path) else decode(_image_beside(item.path, key, images))
        yield Entry(index, key, path, decode(label), item.size, item.mtime_ns, item.skip, item.content, image)


def _is_written(path: bytes) -> bool:
    """Whether the annotated image is written in the format that the suffix names."""
    return decode(os.path.splitext(path)[1]).lower() in WRITTEN_SUFFIXES


def _image_beside(path: bytes, key: str, images: Container[bytes]) -> bytes:
    """Return the name of the JPEG that is the annotated image of a file of another format."""
    beside = path + b".jpg"
    if beside not in images and len(os.path.basename(beside)) <= NAME_MAX:
        return beside
    return _shorten(path, f"-{key}.jpg".encode("ascii"))


def _label(stem: bytes, key: str) -> bytes:
    whole = stem + b".txt"
    if len(os.path.basename(whole)) <= NAME_MAX:
        return whole
    return _shorten(stem, f"-{key}.txt".encode("ascii"))


def _shorten(path: bytes, tail: bytes) -> bytes:
    """Return a path that ends in ``tail`` and whose name is not too long."""
    folder, name = os.path.split(path)
    if len(name) + len(tail) > NAME_MAX:
        # Not in the middle of a character.
        name = name[: NAME_MAX - len(tail)].decode("utf-8", "ignore").encode("utf-8")
    return os.path.join(folder, name) + tail
