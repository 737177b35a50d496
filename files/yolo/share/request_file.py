"""Read ``request.json`` in a run's folder, see ``yolo.request.request``."""

from __future__ import annotations

from typing import Any

from . import fsio
from .errors import YoloError
from .layout import Run

_REMEDY = "run the same run_id again: it is sent anew"


def read_request(run: Run) -> dict[str, Any]:
    """Return what a run is asked to do.

    Raises:
        YoloError: There is no request, or it is damaged.
        OSError: It can't be read.
    """
    try:
        value = fsio.read_json(run.request)
    except FileNotFoundError:
        raise YoloError("the run has no request", run.request, remedy=_REMEDY) from None
    except ValueError as error:
        raise YoloError(f"the run's request is damaged ({error})", run.request, remedy=_REMEDY) from None
    if not isinstance(value, dict):
        raise YoloError("the run's request is damaged", run.request, "a JSON object", _REMEDY)
    return value
