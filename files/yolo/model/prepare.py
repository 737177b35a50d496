"""Turn any weights into the first form that jobs read: an OpenVINO IR and a description.

Runs once per weights, on an execute host, mostly by hand of ``yolo.model.selector``::

    python -m yolo.model.prepare --source DIR --kind pt|onnx|openvino --out DIR/model

What the weights are is read from the IR, so it is always made; ``yolo.model.export_formats`` makes the others.

``.pt`` needs torch and ultralytics, and **loading one runs code that it contains** (a checkpoint is
a Python pickle): use only weights whose origin you trust. ``.onnx`` and OpenVINO folders are plain
data. Nothing is downloaded, installed or reported anywhere.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..share.errors import YoloError, one_line, run_cli
from ..share.file_kind import describe_bytes
from ..share.fsio import dumps, write_json
from ..share.layout import MODEL_BIN, MODEL_JSON, MODEL_XML
from ..share.limits import IMGSZ_MAX, IMGSZ_MIN, KINDS
from ..vision import nms
from ..vision.letterbox import PADDING, round_size
from .model import EmbeddedNms, ModelInfo, import_openvino, is_prepared, load_info, openvino_reason, run_request

if TYPE_CHECKING:
    import openvino

#: Cells of these strides make up the rows of a detector's output.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
_ANCHORS = 3
_ABANDONED_AFTER = 3600.0
#: Side of the input for weights of dynamic size that name none: what released YOLO models have.
_USUAL_SIDE = 640


@dataclass
class Metadata:
    """What the weights say about themselves; everything may be missing."""

    names: list[str] | None = None
    stride: int | None = None
    imgsz: tuple[int, int] | None = None
    task: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Metadata:
        """Read the keys that exporters write; values may be strings holding Python literals.

        Raises:
            YoloError: The class names are not numbered as a model numbers its classes.
        """
        parsed = cls(names=_read_names(values.get("names")), imgsz=read_size(values.get("imgsz")))
        stride = _literal(values.get("stride"))
        if isinstance(stride, int | float) and stride >= 1:
            parsed.stride = int(stride)
        if values.get("task"):
            parsed.task = str(values["task"])
        if values.get("version"):
            parsed.versions["exporter"] = str(values["version"])
        return parsed


def _literal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return None


def _read_names(value: Any) -> list[str] | None:
    names = _literal(value)
    if isinstance(names, dict):
        try:
            numbered = {int(key): name for key, name in names.items()}
        except (TypeError, ValueError):
            numbered = {}
        # A gap would give every class behind it the name of its neighbour.
        if set(numbered) != set(range(len(names))):
            found = one_line(list(names))[:200]
            raise YoloError("the weights' class names are not numbered 0, 1, 2 and so on", found)
        names = [numbered[index] for index in range(len(numbered))]
    return [str(name) for name in names] if isinstance(names, list) and names else None


def read_size(value: Any) -> tuple[int, int] | None:
    """Read the size of the input from what weights say about themselves.

    Args:
        value: A number, or a list of height and width, or the text of one of these.

    Returns:
        (height, width), or ``None`` for anything else and for sizes that make no sense.
    """
    size = _literal(value)
    if not isinstance(size, list | tuple):
        size = [size]
    sides = [side for side in size if isinstance(side, int) and IMGSZ_MIN <= side <= IMGSZ_MAX]
    if not size or len(sides) != len(size) or len(sides) > 2:
        return None
    return sides[0], sides[-1]


def prepare(source: Path, kind: str, imgsz: int, out: Path) -> ModelInfo:
    """Make the model folder ``out`` from weights, unless it is there already.

    Args:
        source: Folder with one ``.pt`` or ``.onnx`` file, or the content of an OpenVINO folder.
        kind: One of :data:`KINDS`.
        imgsz: Default side of the input for a model of dynamic size, pixels; 0 for the size that
            the weights were made for.
        out: Folder to make; appears whole or not at all.

    Returns:
        The model's description.

    Raises:
        YoloError: The weights cannot be used; the text says why and what to do.
        OSError: The share cannot be read or written.
    """
    if is_prepared(out):
        return load_info(out)
    path = find_weights(source, kind)

    def make(folder: Path) -> ModelInfo:
        with tempfile.TemporaryDirectory(prefix="yolo-prepare-") as scratch:
            if kind == "pt":
                exported, metadata = _export_openvino(path, imgsz, Path(scratch))
                info = _normalise(exported, metadata, imgsz, folder)
            elif kind == "onnx":
                info = _normalise(path, None, imgsz, folder)
            else:
                info = _normalise(path, _read_metadata_yaml(path.parent), imgsz, folder)
        return replace(
            info,
            source_kind=kind,
            source_name=path.name,
            source_sha256=_digest(source if kind == "openvino" else path),
        )

    return make_folder(out, make)


def make_folder(out: Path, make: Callable[[Path], ModelInfo]) -> ModelInfo:
    """Make a model folder, unless it is there already; it appears whole or not at all.

    Args:
        out: The folder.
        make: Writes the model into a folder that it is given; returns its description.

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


def find_weights(source: Path, kind: str) -> Path:
    """Return the one weights file in a folder.

    Raises:
        YoloError: None or several, or its partner is missing.
    """
    suffix = {"pt": ".pt", "onnx": ".onnx", "openvino": ".xml"}[kind]
    if not source.is_dir():
        raise YoloError("no folder of weights", source, "a folder", "stage the weights again")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() == suffix and p.is_file())
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise YoloError(f"{source} must hold one {suffix} file", names, f"exactly one {suffix}")
    if kind == "openvino" and not found[0].with_suffix(".bin").is_file():
        raise YoloError(
            "OpenVINO folder without its weights",
            found[0].name,
            f"{found[0].stem}.bin beside it",
            "give the whole folder that the export wrote",
        )
    return found[0]


def _export_openvino(path: Path, imgsz: int, scratch: Path) -> tuple[Path, Metadata]:
    exported, versions = export_pt(path, imgsz, scratch, "openvino")
    metadata = _read_metadata_yaml(exported)
    metadata.versions |= versions
    return find_weights(exported, "openvino"), metadata


def export_pt(path: Path, imgsz: int, scratch: Path, form: str) -> tuple[Path, dict[str, str]]:
    """Export a checkpoint with ultralytics' own exporter: FP32, dynamic size, no NMS inside.

    Args:
        path: The checkpoint.
        imgsz: Side of the input, pixels; 0 for the one that it was trained with.
        scratch: Folder for everything that is written meanwhile.
        form: ultralytics' name of the form: "openvino", "onnx" or "torchscript".

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
    # A fixed name: ultralytics takes names such as yolov5n.pt for its own and would fetch them.
    weights = scratch / "weights.pt"
    shutil.copyfile(path, weights)
    # It would want another package to make an ONNX graph smaller, which engines do by themselves.
    more = {"simplify": False} if form == "onnx" else {}
    try:
        model = ultralytics.YOLO(str(weights))
        if model.task != "detect":
            raise _wrong_task(path.name, str(model.task))
        # The size of its training; where the checkpoint does not say, ultralytics has its default here.
        size = imgsz or read_size(model.overrides.get("imgsz")) or _USUAL_SIDE
        exported = model.export(format=form, imgsz=size, dynamic=True, batch=1, device="cpu", verbose=False, **more)
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


def _wrong_task(name: str, task: str) -> YoloError:
    return YoloError("the weights are for another task", f"{name}: {task}", "detection weights")


def _read_metadata_yaml(folder: Path) -> Metadata:
    path = folder / "metadata.yaml"
    if not path.is_file():
        return Metadata()
    try:
        import yaml

        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except ImportError as error:
        raise YoloError("reading metadata.yaml needs PyYAML", str(error)) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise YoloError("metadata.yaml is corrupt", " ".join(str(error).split())[:200]) from error
    return Metadata.parse(value if isinstance(value, dict) else {})


def _normalise(path: Path, metadata: Metadata | None, imgsz: int, folder: Path) -> ModelInfo:
    """Write the IR into ``folder`` and find out how to use it."""
    openvino = import_openvino()
    core = openvino.Core()
    model = _read_model(core, path)
    if metadata is None:
        metadata = Metadata.parse(_onnx_metadata(model))
    if metadata.task not in (None, "detect"):
        raise _wrong_task(path.name, str(metadata.task))
    model, changed = _one_float_input_and_output(model, path.name)
    fixed = _fixed_size(model, path.name)
    stride = metadata.stride or 32
    size = fixed or round_size(imgsz or metadata.imgsz or _USUAL_SIDE, stride)
    raw = _probe(core, model, size, path.name)
    nc = len(metadata.names) if metadata.names else None
    layout = guess_layout(raw.shape, size, nc, name=path.name)
    _check_scores(raw, layout, path.name)
    if path.suffix.lower() == ".onnx" or changed:
        # Not compressed: half precision would change every score a little.
        openvino.save_model(model, folder / MODEL_XML, compress_to_fp16=False)
    else:
        shutil.copyfile(path, folder / MODEL_XML)
        shutil.copyfile(path.with_suffix(".bin"), folder / MODEL_BIN)
    return ModelInfo(
        names=tuple(_class_names(metadata.names, raw.shape, layout, path.name)),
        stride=stride,
        imgsz=size,
        dynamic=fixed is None,
        layout=layout,
        precision=_precision(model),
        nms=_embedded_nms(model) if layout == nms.END_TO_END else None,
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "openvino": openvino.__version__,
            **metadata.versions,
        },
    )


def _read_model(core: openvino.Core, path: Path) -> openvino.Model:
    what = "ONNX" if path.suffix.lower() == ".onnx" else "OpenVINO"
    try:
        return core.read_model(path)
    except RuntimeError as error:
        with open(path, "rb") as file:
            looks = describe_bytes(file.read(512))
        reason = openvino_reason(error)
        if not looks.startswith(("unknown", "an XML")):
            reason = f"it is {looks}"
        elif what == "ONNX":
            reason = f"corrupt, truncated or not ONNX: {reason}"
        raise YoloError(
            f"the weights cannot be read as {what}",
            f"{path.name}: {reason}",
            remedy="copy or export them again",
        ) from error


def _onnx_metadata(model: openvino.Model) -> dict[str, str]:
    """Return the ONNX file's ``metadata_props``, which OpenVINO keeps as runtime information."""
    return {
        key: str(model.get_rt_info(["framework", key]).value)
        for key in ("names", "stride", "imgsz", "task", "version")
        if model.has_rt_info(["framework", key])
    }


def _one_float_input_and_output(model: openvino.Model, name: str) -> tuple[openvino.Model, bool]:
    """Leave one float32 NCHW input of batch 1 and the detection output.

    Returns:
        The model, and whether it had to be changed.
    """
    openvino = import_openvino()
    shapes = [i.partial_shape for i in model.inputs]
    if [_rank(shape) for shape in shapes] != [4]:
        raise _wrong_shape(name, f"inputs {[str(shape) for shape in shapes]}")
    shape = shapes[0]
    if shape[1].is_static and shape[1].get_length() != 3:
        raise _wrong_shape(name, f"input {shape}", "colour images as (batch, 3, height, width)")
    changed = False
    if shape[0].is_static and shape[0].get_length() != 1:
        shape[0] = 1
        try:
            model.reshape(shape)
        except RuntimeError as error:
            raise _wrong_shape(name, f"input {shape}", "a batch of 1 or a dynamic batch") from error
        changed = True
    detections = [o for o in model.outputs if _rank(o.partial_shape) == 3]
    if not detections or any(_rank(o.partial_shape) == 4 for o in model.outputs):
        raise _wrong_shape(name, f"outputs {[str(o.partial_shape) for o in model.outputs]}")
    if len(model.outputs) > 1:
        # Old YOLOv5 exports append the raw feature maps of each scale.
        model = openvino.Model([detections[0].get_node()], model.get_parameters())
        changed = True
    f32 = openvino.Type.f32
    if model.input().element_type != f32 or model.output().element_type != f32:
        from openvino.preprocess import PrePostProcessor

        processor = PrePostProcessor(model)
        processor.input().tensor().set_element_type(f32)
        processor.output().tensor().set_element_type(f32)
        model = processor.build()
        changed = True
    return model, changed


def _rank(shape: openvino.PartialShape) -> int | None:
    return None if shape.rank.is_dynamic else shape.rank.get_length()


def _wrong_shape(name: str, found: str, expected: str = "") -> YoloError:
    return YoloError(
        "the weights do not look like a YOLO detector",
        f"{name}: {found}",
        expected or "one input (1, 3, height, width) and one output of rank 3",
        "give detection weights exported by ultralytics or ultralytics/yolov5",
    )


def _fixed_size(model: openvino.Model, name: str) -> tuple[int, int] | None:
    height, width = model.input().partial_shape[2], model.input().partial_shape[3]
    if height.is_dynamic != width.is_dynamic:
        raise _wrong_shape(name, f"input {model.input().partial_shape}", "height and width both fixed or both free")
    return None if height.is_dynamic else (height.get_length(), width.get_length())


def _probe(core: openvino.Core, model: openvino.Model, size: tuple[int, int], name: str) -> np.ndarray:
    """Run the model once on a grey picture; return its output, float32 (rows, columns)."""
    grey = np.full((1, 3, *size), PADDING / 255, np.float32)
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": _threads()}
    try:
        # A copy: the view would not outlive the request.
        raw = run_request(core.compile_model(model, "CPU", config).create_infer_request(), grey).copy()
    except RuntimeError as error:
        raise YoloError(
            f"the model fails on an input of {size[0]}x{size[1]}",
            f"{name}: {openvino_reason(error)}",
        ) from error
    if raw.ndim != 3 or raw.shape[0] != 1:
        raise _wrong_shape(name, f"output {raw.shape}")
    return raw[0]


def _threads() -> int:
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() and int(value) else 1


def guess_layout(shape: tuple[int, ...], size: tuple[int, int], nc: int | None, *, name: str = "the model") -> str:
    """Tell the layout of a raw output from its shape.

    Args:
        shape: (rows, columns) of the output for one image.
        size: (height, width) of the input that gave it.
        nc: Number of classes, if known.
        name: For messages.

    Returns:
        One of ``nms.LAYOUTS``.

    Raises:
        YoloError: None fits.
    """
    rows, columns = shape
    cells = {sum((size[0] // s) * (size[1] // s) for s in strides) for strides in _STRIDES}
    if rows in {_ANCHORS * n for n in cells} and columns >= 6 and nc in (None, columns - 5):
        return nms.CLASSIC
    # Also with a single class: a classic model would have had three rows per cell.
    if columns == 6 and rows not in cells:
        return nms.END_TO_END
    if columns in cells and rows >= 5 and nc in (None, rows - 4):
        return nms.ANCHOR_FREE
    if nc is not None and columns == nc + 5 and rows > columns:
        return nms.CLASSIC
    if nc is not None and rows == nc + 4 and columns > rows:
        return nms.ANCHOR_FREE
    classes = f" with {nc} classes" if nc is not None else ""
    raise YoloError(
        f"the model's output{classes} has an unknown layout",
        f"{name}: (1, {rows}, {columns}) for an input of {size[0]}x{size[1]}",
        "(1, 4 + classes, boxes), (1, boxes, 5 + classes) or (1, boxes, 6)",
        "give detection weights exported by ultralytics or ultralytics/yolov5",
    )


def _check_scores(raw: np.ndarray, layout: str, name: str) -> None:
    scores = {nms.END_TO_END: raw[:, 4], nms.ANCHOR_FREE: raw[4:], nms.CLASSIC: raw[:, 4:]}[layout]
    # An end-to-end model may find nothing at all in a grey picture.
    low, high = scores.min(initial=0), scores.max(initial=0)
    if not np.isfinite(raw).all() or low < 0 or high > 1:
        raise YoloError(
            "the model's scores are not between 0 and 1",
            f"{name}: {low:g} to {high:g} on a grey picture",
            remedy="export the weights again, for inference and not for training",
        )


def _class_names(names: list[str] | None, shape: tuple[int, ...], layout: str, file: str) -> list[str]:
    count = {nms.ANCHOR_FREE: shape[0] - 4, nms.CLASSIC: shape[1] - 5}.get(layout)
    if names is None:
        # An end-to-end output does not say how many classes there are.
        return [f"class{index}" for index in range(count or 1000)]
    if count is not None and count != len(names):
        raise YoloError(
            "the class names do not fit the model",
            f"{file}: {len(names)} names for {count} classes",
        )
    return names


def _precision(model: openvino.Model) -> str:
    sizes: dict[str, int] = {}
    for op in model.get_ops():
        if op.get_type_name() == "FakeQuantize":
            return "int8"
        if op.get_type_name() == "Constant":
            kind = op.get_output_element_type(0).get_type_name()
            sizes[kind] = sizes.get(kind, 0) + int(np.prod(op.get_output_shape(0)))
    return "fp16" if sizes.get("f16", 0) > sizes.get("f32", 0) else "fp32"


def _embedded_nms(model: openvino.Model) -> EmbeddedNms:
    """Read the limits that an export with ``nms=True`` wrote into the graph."""
    conf = iou = None
    for op in model.get_ops():
        kind = op.get_type_name()
        if kind == "NonMaxSuppression":
            iou = _scalar(op, 3)
        elif kind == "Greater":
            value = _scalar(op, 1)
            if value is not None and 0 < value < 1:
                conf = value
    rows = model.output().partial_shape[1]
    # Without a fixed number of rows the model itself sets no limit.
    return EmbeddedNms(conf, iou, rows.get_length() if rows.is_static else nms.MAX_CANDIDATES)


def _scalar(op: Any, port: int) -> float | None:
    node = op.input_value(port).get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    data = np.asarray(node.get_data())
    return round(float(data.ravel()[0]), 6) if data.size == 1 else None


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their relative names."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for item in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{item.relative_to(path).as_posix()}\0{_digest(item)}\n".encode())
    return total.hexdigest()


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


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what exporters print to stderr: stdout is this command's own answer."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m yolo.model.prepare",
        description="Turn weights into the OpenVINO model folder that jobs read.",
    )
    parser.add_argument("--source", type=Path, required=True, help="folder with the weights")
    parser.add_argument("--kind", choices=KINDS, required=True, help="what the weights are")
    parser.add_argument(
        "--imgsz",
        type=int,
        default=0,
        help="default input side of a model of dynamic size; 0 (the default): what the weights were made for",
    )
    parser.add_argument("--run-imgsz", type=int, default=0, help="input side that a run asks for; 0: the model's own")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make")
    parser.add_argument("--dry-run", action="store_true", help="make nothing, say whether it would be made")
    args = parser.parse_args(argv)
    for name in ("imgsz", "run_imgsz"):
        if (side := getattr(args, name)) and not IMGSZ_MIN <= side <= IMGSZ_MAX:
            raise YoloError(f"{name} out of range", side, f"0, or {IMGSZ_MIN} to {IMGSZ_MAX}")
    missing = not is_prepared(args.out)
    answer: dict[str, Any] = {"made": missing, "model": str(args.out)}
    if missing and args.dry_run:
        print(dumps(answer))
        return 0
    with stdout_to_stderr():
        info = prepare(args.source, args.kind, args.imgsz, args.out)
    answer |= {
        # (height, width) of what the run's images are fitted into.
        "input": info.input_size(args.run_imgsz),
        "layout": info.layout,
        "classes": len(info.names),
        "precision": info.precision,
        "dynamic": info.dynamic,
    }
    print(dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
