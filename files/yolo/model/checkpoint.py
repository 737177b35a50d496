"""Export a checkpoint (``.pt``): of ultralytics/yolov5, or of the ultralytics package with that package's own exporter.

It needs torch, and for the package's checkpoints ultralytics. Loading a checkpoint as PyTorch does runs code that it
contains (it is a Python pickle). Here none of it is run, unless the user trusts the weights: see ``classic`` and
``package_checkpoint``. Nothing is downloaded, installed or reported anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..share.checkpoint_file import CLASSIC, CheckpointFile
from ..share.errors import YoloError, one_line
from ..share.file_kind import describe_bytes
from ..share.task import check_task
from .metadata import USUAL_SIDE, Metadata, read_size
from .openvino_runtime import import_openvino


@dataclass(frozen=True, slots=True)
class Exported:
    """What a checkpoint was exported to.

    Attributes:
        path: The file or folder.
        versions: Of what made it.
        metadata: What the checkpoint says about itself; None where the export says it.
    """

    path: Path
    versions: dict[str, str]
    metadata: Metadata | None = None


def export_pt(path: Path, imgsz: int, scratch: Path, export_format: str, trust: bool = False) -> Exported:
    """Export a checkpoint: FP32, dynamic size, no NMS inside.

    Args:
        path: The checkpoint.
        imgsz: Side of the input, pixels; 0 for the one that it was trained with.
        scratch: Folder for everything that is written meanwhile.
        export_format: ultralytics' name of the format: "openvino", "onnx" or "torchscript". A classic checkpoint
            becomes an ONNX file for "openvino" too.
        trust: Whether code in the checkpoint may run, where it can't be read as data.

    Raises:
        YoloError: torch or ultralytics are missing, or the checkpoint cannot be exported.
    """
    with open(path, "rb") as stream:
        head = stream.read(512)
    if not head.startswith((b"PK\x03\x04", b"\x80")):
        raise YoloError(
            "not a PyTorch checkpoint",
            f"{path.name} is {describe_bytes(head)}",
            "a .pt file written by ultralytics",
            "download or copy it again",
        )
    file = _read(path, trust)
    if file is not None:
        check_task(path.name, file.task())
        if file.family() == CLASSIC:
            return _export_classic(file, imgsz, scratch, export_format)
    return _export_package(path, file, imgsz, scratch, export_format)


def _read(path: Path, trust: bool) -> CheckpointFile | None:
    """Return a checkpoint read as data; None where that can't be and it is trusted."""
    try:
        return CheckpointFile(path)
    except YoloError:
        if trust:
            return None
        raise


def _export_classic(file: CheckpointFile, imgsz: int, scratch: Path, export_format: str) -> Exported:
    try:
        import torch
    except Exception as error:
        raise _missing("torch", error) from error
    # Only here: it needs torch.
    from .classic.build import build
    from .classic.export import export, training_size

    network = build(file)
    size = (imgsz, imgsz) if imgsz else training_size(file)
    made = "torchscript" if export_format == "torchscript" else "onnx"
    out = scratch / f"weights.{made}"
    export(network, size, made, out)
    metadata = Metadata(names=file.names(), stride=network.stride, imgsz=size, task="detect")
    return Exported(out, {"torch": str(torch.__version__)}, metadata)


def _export_package(path: Path, file: CheckpointFile | None, imgsz: int, scratch: Path, export_format: str) -> Exported:
    _quieten_ultralytics(scratch)
    import_openvino(tools=True)  # before ultralytics does
    try:
        import torch
        import ultralytics
    except Exception as error:
        raise _missing("torch and ultralytics", error) from error
    # A fixed name: ultralytics takes a name such as yolov5n.pt for one of its own weights and would download it.
    weights = scratch / "weights.pt"
    if file is None:
        shutil.copyfile(path, weights)
    else:
        # Only here: it needs torch.
        from .package_checkpoint import save_safe

        save_safe(file, weights)
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
    return Exported(Path(exported), {"torch": str(torch.__version__), "ultralytics": ultralytics.__version__})


def _missing(what: str, error: Exception) -> YoloError:
    return YoloError(
        f"weights in .pt need {what} on the execute host",
        f"{type(error).__name__}: {one_line(error)}",
        remedy="run site.yml again, or export the weights to ONNX and give the .onnx file",
    )


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
    if isinstance(error, ModuleNotFoundError):
        return YoloError(
            "the checkpoint is a pickle that needs a Python module which is not installed",
            f"{name} needs {error.name}",
            "a .pt written by ultralytics",
            "export it to ONNX where that module is installed and give the .onnx file",
        )
    if isinstance(error, TypeError) and "originally trained with" in text:
        # What ultralytics says of a checkpoint of the other project, which it does not run.
        return YoloError(
            "a checkpoint of ultralytics/yolov5 that has more than that project's own layers",
            name,
            "one that is read without trust_weights=yes: only the code that made it can load this one",
            "export it there with export.py --include onnx --dynamic and give the .onnx file",
        )
    return YoloError(
        "the checkpoint cannot be loaded and exported: it is corrupt, or not a detection model of ultralytics",
        f"{name}: {type(error).__name__}: {text[:200]}",
        remedy="copy or download it again, or give an ONNX export",
    )
