"""The settings of a run, ``run.json``: what its submissions compute with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import fsio, manifest
from .errors import YoloError
from .layout import FLOAT, Run, Weights
from .records import settings_digest


def read_settings(run: Run, pass_name: str) -> dict[str, Any]:
    """Return the settings that a pass of a run computes with.

    Raises:
        YoloError: They are damaged.
        OSError: They can't be read.
    """
    settings = _read(run)
    if pass_name != FLOAT:
        return settings
    try:
        return in_float(settings)
    except (KeyError, TypeError) as error:
        raise YoloError(f"the run's settings are damaged ({error})", run.settings) from None


def in_float(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings for its float pass: the model that the weights were quantised from, no images drawn.

    Raises:
        KeyError, TypeError: They name no model.
    """
    model = Weights(Path(settings["model_dir"]).parent).model
    computed = {"engine": "openvino", "precision": "fp32", "precision_difference": {}, "model_dir": str(model)}
    return {**settings, **computed, "save_images": False}


def _read(run: Run) -> dict[str, Any]:
    try:
        settings = fsio.read_json(run.settings)
    except ValueError as error:
        raise YoloError(f"the run's settings are damaged ({error})", run.settings) from None
    if not isinstance(settings, dict):
        raise YoloError("the run's settings are damaged", run.settings, "a JSON object")
    return settings


def check_manifest(run: Run) -> None:
    """Check that the manifest is the one that the run's settings name, and that it names an image.

    Raises:
        YoloError: It is not, or names none; or the settings are damaged.
        OSError: They can't be read.
    """
    expected = _read(run).get("manifest")
    if not isinstance(expected, dict):
        raise YoloError("the run's settings lack a value", f"{run.settings}: manifest")
    manifest.check(run.manifest, expected)
    if not expected.get("lines"):
        raise YoloError("the run has no images", run.manifest, "a line for each file")


def read_digest(run: Run, pass_name: str) -> str:
    """Return the settings digest of a pass.

    Raises:
        YoloError: The settings are damaged or lack a value.
        OSError: They can't be read.
    """
    try:
        return settings_digest(read_settings(run, pass_name))
    except KeyError as error:
        raise YoloError("the run's settings lack a value", f"{run.settings}: {error}") from None
    except (TypeError, ValueError) as error:
        raise YoloError(f"the run's settings are damaged ({error})", run.settings) from None


def run_at(path: Path) -> Run:
    """Return the run in a folder given on a command line, as an absolute path."""
    return Run(Path(os.path.abspath(path)))
