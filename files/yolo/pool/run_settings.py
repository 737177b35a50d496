"""Make ``run.json``: the request's settings, and what preparing the model settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..share.classes import class_indices


def run_settings(request: Mapping[str, Any], answer: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run.

    Args:
        request: What the run is asked to do, see ``request.request``.
        answer: What preparing the model came to, see ``model.selection.answer``.
        names: Class names of the model.

    Raises:
        YoloError: A class that the model does not have.
    """
    asked, source = request["settings"], request["source"]
    return {
        "run_id": request["id"],
        "mode": request["mode"],
        # Lines and digest of the manifest: planning and merging stop where another one is on the share.
        "manifest": source["stamp"],
        "ignored": source["ignored"],
        "weights_name": request["weights"]["name"],
        "weights_id": request["weights"]["weights_id"],
        "conf": asked["conf"],
        "iou": asked["iou"],
        "imgsz": asked["imgsz"],
        # What was asked for, what the jobs take, how that was measured, and how far it changes the detections.
        "engine_asked": asked["engine"],
        "engine": answer["engine"],
        "engine_measured": answer["measured"],
        "precision": asked["precision"],
        "precision_difference": answer["difference"],
        # (height, width) of the network's input, pixels.
        "input_size": list(answer["input"]),
        "classes": class_indices(asked["classes"], names),
        "max_det": asked["max_det"],
        "save_images": asked["save_images"],
        "annotated_size": asked["annotated_size"],
        # And how far fast decoding changes the detections.
        "decode": asked["decode"],
        "decode_difference": answer["decode_difference"],
        "input_dir": request["places"]["input"],
        "model_dir": answer["model"],
        "threads": request["job"]["cpus"],
    }
