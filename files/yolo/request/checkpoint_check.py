"""Check a checkpoint before anything is sent: that it is whole, is for detection, and asks for nothing but data."""

from __future__ import annotations

from pathlib import Path

from ..share.checkpoint_file import CLASSIC, CheckpointFile
from ..share.classic_network import check_network
from ..share.errors import YoloError
from ..share.task import check_task


def check_checkpoint(path: Path) -> list[str] | None:
    """Check a checkpoint; nothing in it is executed.

    Args:
        path: The ``.pt`` file.

    Returns:
        Its class names; None where they are not as a model has them.

    Raises:
        YoloError: It is no checkpoint, is damaged, is for another task, names what no weights need, or its
            network is not as it describes it.
        OSError: It can't be read.
    """
    with open(path, "rb") as stream:
        if stream.read(1) == b"\x80":
            raise YoloError(
                "a checkpoint in PyTorch's format of before 1.6, which can't be read safely",
                path.name,
                "a .pt file that is a zip",
                "where it was trained, load it and save it again with torch.save of PyTorch 1.6 or newer, or export it "
                "to ONNX",
            )
    file = CheckpointFile(path)
    check_task(path.name, file.task())
    file.check_tensors()
    if file.family() == CLASSIC:
        check_network(file)
    return file.names()
