"""Images and labels of a pass that no image of the run stands behind any more.

The same run_id may come again with other images, or with ``save_images=no``. What jobs wrote for the inputs of before
must not stay among the results. One small file says which inputs the jobs of a pass wrote for, so that the folders,
which may hold a million files, are only searched when there is something to find.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import fsio
from .layout import Pass
from .manifest import decode, encode

_UNKNOWN = "unknown"


def signature(settings: Mapping[str, Any]) -> str:
    """Return 16 hex digits that change when other files have to be among the results."""
    value = [settings.get("manifest"), bool(settings.get("save_images", True))]
    return hashlib.sha256(fsio.dumps(value).encode("ascii")).hexdigest()[:16]


def _read(run_pass: Pass) -> list[str]:
    try:
        found = fsio.read_json(run_pass.outputs)
    except FileNotFoundError:
        return [_UNKNOWN] if run_pass.images_dir.exists() or run_pass.labels_dir.exists() else []
    except ValueError:
        return [_UNKNOWN]
    return [str(item) for item in found] if isinstance(found, list) else [_UNKNOWN]


def expect(run_pass: Pass, settings: Mapping[str, Any]) -> None:
    """Note that jobs are about to write for these inputs.

    Raises:
        OSError: That can't be written.
    """
    found, own = _read(run_pass), signature(settings)
    if own not in found or not run_pass.outputs.exists():
        fsio.write_json(run_pass.outputs, [*found, *([] if own in found else [own])])


def is_stale(run_pass: Pass, settings: Mapping[str, Any]) -> bool:
    """Whether files of other inputs may be among the results."""
    return any(item != signature(settings) for item in _read(run_pass))


def settle(run_pass: Pass, settings: Mapping[str, Any]) -> None:
    """Note that only files of these inputs are left.

    Raises:
        OSError: That can't be written.
    """
    fsio.write_json(run_pass.outputs, [signature(settings)], keep_equal=True)


def prune(folder: Path, wanted: Iterable[str]) -> set[str]:
    """Remove all files below ``folder`` but the wanted ones, and folders that are left empty.

    Args:
        folder: May be absent.
        wanted: Relative paths; bytes that are not UTF-8 as surrogates.

    Returns:
        Those of the wanted ones that are not there.

    Raises:
        OSError: A folder can't be read, a file can't be removed.
    """
    base = os.fsencode(folder)
    missing = {encode(path) for path in wanted}
    for path in list(_files(base)):
        relative = os.path.relpath(path, base)
        if relative in missing:
            missing.discard(relative)
        else:
            os.unlink(path)
    for path, _, _ in os.walk(base, topdown=False):
        with suppress(OSError):
            os.rmdir(path)
    return {decode(path) for path in missing}


def present(folder: Path) -> set[bytes]:
    """Return the relative paths of the files below a folder, which may be absent.

    Raises:
        OSError: A folder can't be read.
    """
    base = os.fsencode(folder)
    return {os.path.relpath(path, base) for path in _files(base)}


def _files(base: bytes) -> Iterator[bytes]:
    for folder, _, names in os.walk(base):
        for name in names:
            yield os.path.join(folder, name)
