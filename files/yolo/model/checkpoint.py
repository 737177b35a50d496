"""Export a checkpoint (``.pt``) with ultralytics' own exporter.

It needs torch and ultralytics, and **loading a checkpoint runs code that it contains** (it is a Python pickle): use
only weights whose origin you trust. Nothing is downloaded, installed or reported anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ..share.errors import YoloError, one_line
from ..share.file_kind import describe_bytes
from .metadata import USUAL_SIDE, check_task, read_size
from .openvino_runtime import import_openvino


def export_pt(path: Path, imgsz: int, scratch: Path, export_format: str) -> tuple[Path, dict[str, str]]:
    """Export a checkpoint with ultralytics' own exporter: FP32, dynamic size, no NMS inside.

    Args:
        path: The checkpoint.
        imgsz: Side of the input, pixels; 0 for the one that it was trained with.
        scratch: Folder for everything that is written meanwhile.
        export_format: ultralytics' name of the format: "openvino", "onnx" or "torchscript".

    Returns:
        The file or folder, and the versions of what made it.

    Raises:
        YoloError: torch or ultralytics are missing, or the checkpoint cannot be exported.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    if not head.startswith((b"PK\x03\x04", b"\x80")):
        raise YoloError(
            "not a PyTorch checkpoint",
            f"{path.name} is {describe_bytes(head)}",
            "a .pt file written by ultralytics",
            "download or copy it again",
        )
    _quieten_ultralytics(scratch)
    import_openvino(tools=True)  # before ultralytics does
    try:
        import torch
        import ultralytics
    except Exception as error:
        raise YoloError(
            "weights in .pt need torch and ultralytics on the execute host",
            f"{type(error).__name__}: {one_line(error)}",
            remedy="run site.yml again, or export the weights to ONNX and give the .onnx file",
        ) from error
    # A fixed name: ultralytics takes a name such as yolov5n.pt for one of its own weights and would download it.
    weights = scratch / "weights.pt"
    shutil.copyfile(path, weights)
    # To simplify an ONNX graph it would need another package; engines simplify graphs by themselves.
    more = {"simplify": False} if export_format == "onnx" else {}
    try:
        model = ultralytics.YOLO(str(weights))
        check_task(path.name, str(model.task))
        # The size that it was trained with; where the checkpoint does not say, ultralytics puts its default here.
        size = imgsz or read_size(model.overrides.get("imgsz")) or USUAL_SIDE
        exported = model.export(
            format=export_format, imgsz=size, dynamic=True, batch=1, device="cpu", verbose=False, **more
        )
    except YoloError:
        raise
    except Exception as error:
        raise _pt_error(path.name, error) from error
    return Path(exported), {"torch": str(torch.__version__), "ultralytics": ultralytics.__version__}


def _quieten_ultralytics(scratch: Path) -> None:
    """Keep ultralytics from the network, from pip and from the home directory."""
    os.environ |= {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(scratch),
        "MPLCONFIGDIR": str(scratch),
        "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1",
        # HTCondor gives jobs no HOME.
        "HOME": os.environ.get("HOME") or str(scratch),
    }


def _pt_error(name: str, error: Exception) -> YoloError:
    text = one_line(" ".join(str(error).encode("ascii", "ignore").decode().split()))
    text = re.sub(r"\S*/weights\.pt\b", name, text).removeprefix("ERROR ")
    if "ultralytics/yolov5" in text:
        return YoloError(
            "a checkpoint of the classic ultralytics/yolov5 needs that project's own code to load",
            name,
            "a .pt of the ultralytics package (e.g. yolov5nu.pt), an .onnx or an OpenVINO folder",
            "in a checkout of ultralytics/yolov5 run `python export.py --include onnx --dynamic "
            f"--weights {name}` and give the .onnx file",
        )
    if isinstance(error, ModuleNotFoundError):
        return YoloError(
            "the checkpoint is a pickle that needs a Python module which is not installed",
            f"{name} needs {error.name}",
            "a .pt written by ultralytics",
            "export it to ONNX where that module is installed and give the .onnx file",
        )
    return YoloError(
        "the checkpoint cannot be loaded and exported: it is corrupt, or not a detection model of ultralytics",
        f"{name}: {type(error).__name__}: {text[:200]}",
        remedy="copy or download it again, or give an ONNX export",
    )
