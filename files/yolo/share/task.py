"""What weights are for: only those that detect are of use here."""

from __future__ import annotations

from .errors import YoloError


def check_task(name: str, task: str | None) -> None:
    """Check that weights are for detection, or do not say what they are for.

    Args:
        name: Of the weights.
        task: What they say; None or empty where they do not.

    Raises:
        YoloError: They are for another task.
    """
    if task and task != "detect":
        raise YoloError(
            "the weights are for another task",
            f"{name}: {task}",
            "weights for detection",
            "give others, such as yolov5n or your own best.pt of a detection training",
        )
