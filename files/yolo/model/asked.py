"""What a run's request asks of its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..share.errors import YoloError
from ..share.layout import Run, Weights
from ..share.request_file import read_request
from .selection import ModelRequest


def model_request(run: Run, request: Mapping[str, Any] | None = None) -> ModelRequest:
    """Return what a run wants of its model.

    Args:
        run: The run.
        request: Its request, if it was read before.

    Raises:
        YoloError: The request is damaged.
        OSError: It can't be read.
    """
    request = read_request(run) if request is None else request
    try:
        settings = request["settings"]
        return ModelRequest(
            weights=Weights(Path(request["places"]["weights"])),
            kind=request["weights"]["kind"],
            run=run,
            input_dir=Path(request["places"]["input"]),
            engine=settings["engine"],
            precision=settings["precision"],
            imgsz=settings["imgsz"],
            threads=request["job"]["cpus"],
            limit=settings["precision_limit"],
            decode=settings["decode"],
            trust=request["weights"].get("trusted") is True,
        )
    except (KeyError, TypeError) as error:
        raise YoloError(f"the run's request lacks a value ({error})", run.request) from None
