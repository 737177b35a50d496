"""Check a checkpoint before anything is sent: that it is whole, is for detection, and asks for nothing but data."""

from __future__ import annotations

from pathlib import Path

from ..share.checkpoint_file import CheckpointFile
from ..share.errors import YoloError


def check_checkpoint(path: Path) -> list[str] | None:
    """Check a checkpoint; nothing in it is executed.

    Args:
        path: The ``.pt`` file.

    Returns:
        Its class names; None where they are not as a model has them.

    Raises:
        YoloError: It is no checkpoint, is damaged, is for another task, or names what no weights need.
        OSError: It can't be read.
    """
    with open(path, "rb") as stream:
        if stream.read(1) == b"\x80":
            raise YoloError(
                "a checkpoint of PyTorch before 1.6, whose format can't be read safely",
                path.name,
                "a .pt file that is a zip",
                "load and save it once with a newer PyTorch; or, only if you trust whoever made it, give "
                "-e trust_weights=yes, which lets code in the file run on the execute hosts",
            )
    file = CheckpointFile(path)
    task = file.task()
    if task != "detect":
        raise YoloError(
            "the weights are for another task",
            f"{path.name}: {task}",
            "weights for detection",
            "give others, such as yolov5n or your own best.pt of a detection training",
        )
    file.check_tensors()
    return file.names()
