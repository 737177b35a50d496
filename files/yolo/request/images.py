"""Find the images that the user named: a folder, one image, or a zip.

Runs on the control node.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as cache_calls
from pathlib import Path
from typing import Any

from ..share import manifest
from ..share.errors import YoloError
from ..share.file_kind import HEAD_BYTES, kind_of
from ..share.fsio import atomic_file
from ..share.layout import WRITTEN_SUFFIXES
from . import known_files, listing
from .known_files import Index
from .listing import Manifest
from .sources import EXPECTED, refuse_others, several
from .tars import SUFFIXES as TAR_SUFFIXES
from .tars import unpack_tar
from .zips import MAX_ZIP_BYTES, read_left_out, unpack

_NAME_TOO_LONG = "its name is too long for a file; rename it in the archive"

_HASH_LENGTH = 10
_KEEP_LISTS = 7 * 86400  # seconds; sending the images takes less


@dataclass(frozen=True, slots=True)
class Source:
    """Images on the control node, or in a folder of the share.

    Attributes:
        root: Absolute path of the folder that the manifest's paths are relative to.
        input_id: Name of the staged folder on the share; the same for the same input.
        manifest: What it holds.
        on_share: Whether ``root`` is a path on the share, where the images are already.
    """

    root: str
    input_id: str
    manifest: Manifest
    on_share: bool = False


def resolve(
    images: str, cache: Path, max_bytes: int = MAX_ZIP_BYTES, known: Callable[[str], Index] = lambda _: {}
) -> Source:
    """Find the images called ``images`` and list them.

    Args:
        images: Path of a folder, an image, a zip or a tar; or several, see ``sources.several``.
        cache: Folder in which zips are unpacked, each under a name that follows its content.
        max_bytes: Most bytes that a zip may unpack to.
        known: Returns what was known of an input the last time, by its ``input_id``.

    Raises:
        YoloError: There is no image, or the archive is damaged, encrypted, unsafe or too large.
        OSError: A file can't be read or written.
    """
    path = os.path.abspath(os.path.expanduser(images))
    name = os.path.basename(path)
    input_id = f"{slug(name)}-{_short_hash(path)}"
    if (paths := several(path)) is not None:
        root = os.path.commonpath([file if file.is_dir() else file.parent for file in paths])
        source = Source(root, input_id, listing.build_several(root, paths, known(input_id)))
    elif os.path.isdir(path):
        source = Source(path, input_id, listing.build(path, known(input_id)))
    elif not os.path.exists(path):
        raise _missing(images)
    elif os.path.splitext(name)[1].lower() in WRITTEN_SUFFIXES or _is_image(path):
        source = Source(os.path.dirname(path), input_id, listing.build_single(path, known(input_id)))
    else:
        refuse_others(path)
        packed = next((suffix for suffix in (".zip", *TAR_SUFFIXES) if name.lower().endswith(suffix)), "")
        unpacker = unpack_tar if packed in TAR_SUFFIXES else None
        folder, content_hash = unpack(Path(path), cache, max_bytes, unpacker)
        stem = name[: len(name) - len(packed)]
        input_id = f"{slug(stem)}-{content_hash[:_HASH_LENGTH]}"
        left_out = dict.fromkeys(read_left_out(folder), _NAME_TOO_LONG)
        source = Source(os.fspath(folder), input_id, listing.build(folder, known(input_id), left_out))
    refuse_empty(images, source)
    return source


def refuse_missing(images: str) -> None:
    """Refuse images that are not there.

    Args:
        images: See :func:`resolve`; absolute.

    Raises:
        YoloError: They are not there.
        OSError: A list of paths can't be read.
    """
    if several(images) is None and not os.path.exists(images):
        raise _missing(images)


def _missing(images: str) -> YoloError:
    refuse_others(images)
    return YoloError("no such images", images, EXPECTED, "check the path given as images=")


def resolve_listed(images: str, listed: Mapping[str, Any]) -> Source:
    """Return the images of a folder on the share.

    Args:
        images: The folder, as the user named it.
        listed: See ``on_share.list_folder``.

    Raises:
        YoloError: There is no image.
    """
    root = listed["root"]
    input_id = f"{slug(os.path.basename(root))}-{_short_hash(root)}"
    source = Source(root, input_id, listing.from_rows(listed["files"], listed["ignored"]), on_share=True)
    refuse_empty(images, source)
    return source


def refuse_empty(images: str, source: Source) -> None:
    """Refuse a source without an image.

    Raises:
        YoloError: It has none.
    """
    if not any(source.manifest.images):
        raise YoloError("no image to work on", _nothing(images, source.manifest), EXPECTED)


def _short_hash(path: str) -> str:
    return hashlib.sha256(manifest.encode(path)).hexdigest()[:_HASH_LENGTH]


def _is_image(path: str) -> bool:
    with open(path, "rb") as file:
        return kind_of(file.read(HEAD_BYTES)) is not None


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


def list_images(
    images: str,
    cache: Path,
    out: Path,
    known: Path | None = None,
    checksum: bool = False,
    max_bytes: int = MAX_ZIP_BYTES,
) -> dict[str, Any]:
    """List the images of the control node for a run, see :func:`resolve` and :func:`write_lists`."""

    @cache_calls
    def read_known(input_id: str) -> Index:
        return {} if known is None or checksum else known_files.read_index(known / input_id)

    source = resolve(images, cache, max_bytes, read_known)
    return write_lists(source, out, read_known(source.input_id))


def write_lists(source: Source, out: Path, before: Index) -> dict[str, Any]:
    """Write the manifest and the lists for rsync; return where they are and what they hold.

    Each call gets a folder of its own in ``out``, so that calls at the same time do not mix; those of the past days go.
    The new index stands there too. It may replace the one in ``known`` only after everything was sent: what the index
    says of a file is also what its copy on the share is taken for.

    Args:
        source: The images.
        out: Folder on this host.
        before: What was known of them the last time.
    """
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
        if not source.on_share
        and known_files.needs_comparing(before.get(path := manifest.encode(entry.path)), index[path])
    )
    return {
        "root": source.root,
        "on_share": source.on_share,
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
