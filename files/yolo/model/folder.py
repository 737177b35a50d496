"""Publish a model folder: it appears whole or not at all, even if two jobs make the same one."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ..share.errors import YoloError
from ..share.fsio import write_json
from ..share.layout import MODEL_JSON
from .info import ModelInfo, is_prepared, load_info

_ABANDONED_AFTER = 3600.0


def make_folder(out: Path, make: Callable[[Path], ModelInfo]) -> ModelInfo:
    """Make a model folder, unless it is there already; it appears whole or not at all.

    Args:
        out: The folder.
        make: Writes the model into the folder that it is called with; returns the model's description.

    Raises:
        YoloError: From ``make``.
        OSError: The share cannot be read or written.
    """
    if is_prepared(out):
        return load_info(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    temp = out.parent / f"{out.name}.tmp-{secrets.token_hex(4)}"
    temp.mkdir()
    try:
        info = make(temp)
        write_json(temp / MODEL_JSON, info.to_dict(), indent=1, fsync=True)
        _publish(temp, out)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return load_info(out)


def _remove_abandoned(out: Path) -> None:
    """Remove what earlier jobs left when they were killed."""
    for path in out.parent.glob(f"{out.name}.tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(path)


def _publish(temp: Path, out: Path) -> None:
    """Give the finished folder its name; another job may have been faster."""
    try:
        os.rename(temp, out)
        return
    except OSError:
        if not out.is_dir():
            raise
    with contextlib.suppress(YoloError):
        load_info(out)
        return
    # What stands there is of an older format or was spoilt: set it aside, then replace it.
    aside = out.parent / f"{out.name}.tmp-{secrets.token_hex(4)}"
    os.rename(out, aside)
    os.rename(temp, out)
    shutil.rmtree(aside, ignore_errors=True)
