"""Run ultralytics' own predictor over a folder in one process and write what it finds.

The answer that the cluster's must equal. Needs ultralytics and torch, and nothing of this project::

    python ultralytics_reference.py --images DIR --model yolov5nu_int8_openvino_model \
        --imgsz 320 --conf 0.25 --iou 0.7 --out predictions.json

Output: ``{"images/relative/path.jpg": [[class, score, x1, y1, x2, y2], ...], ...}``, pixels of the
original image, best first. A file that ultralytics cannot read is ``null``.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import os
import sys
import tempfile
import types
from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def quieten(scratch: str) -> None:
    """Keep ultralytics and its engines from the network, from pip and from the home directory."""
    os.environ |= {
        "ORT_DISABLE_TELEMETRY": "1",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": scratch,
        "MPLCONFIGDIR": scratch,
        "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1",
    }
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def keep_float32() -> None:
    """Let OpenVINO reckon in float32, as the project does.

    Where the processor has bfloat16, OpenVINO takes that unless told otherwise, and boxes come in halves of a pixel.
    """
    try:
        import openvino
    except ImportError:
        return
    compile_model = openvino.Core.compile_model

    def exactly(core: object, *args: object, config: dict | None = None, **more: object) -> object:
        return compile_model(core, *args, config=(config or {}) | {"INFERENCE_PRECISION_HINT": "f32"}, **more)

    openvino.Core.compile_model = exactly


def ensure_torchvision() -> str:
    """Let ultralytics run where torchvision lacks the operators of its compiled part.

    The predictor imports torchvision for one function, ``ops.nms``. Where the import fails (there
    is no build for every torch), that function is ultralytics' own ``TorchNMS``, made for it.

    Returns:
        Which of the two is used.
    """
    try:
        import torchvision
    except Exception:
        from ultralytics.utils.nms import TorchNMS

        package = types.ModuleType("torchvision")
        package.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
        package.__version__ = "0"
        package.ops = types.SimpleNamespace(nms=TorchNMS.nms)
        sys.modules["torchvision"] = package
        return "ultralytics TorchNMS"
    return f"torchvision {torchvision.__version__}"


def predict(
    images: Path,
    model: Path,
    *,
    imgsz: int,
    conf: float,
    iou: float,
    max_det: int = 300,
    classes: list[int] | None = None,
) -> dict[str, list[list[float]] | None]:
    """Run the predictor over all images of a folder, nested ones included, one at a time."""
    from ultralytics import YOLO

    paths = sorted(p for p in images.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    found: dict[str, list[list[float]] | None] = {}
    with tempfile.TemporaryDirectory(prefix="reference-") as scratch:
        if model.is_dir() and not model.name.endswith("_openvino_model"):
            # ultralytics tells the format by the folder's name.
            link = Path(scratch) / "weights_openvino_model"
            link.symlink_to(model.absolute())
            model = link
        yolo = YOLO(str(model), task="detect")
        for path in paths:
            name = path.relative_to(images).as_posix()
            found[name] = None
            for result in yolo.predict(
                str(path),
                imgsz=imgsz,
                conf=conf,
                iou=iou,
                max_det=max_det,
                classes=classes,
                device="cpu",
                verbose=False,
                save=False,
                project=scratch,
            ):
                boxes = result.boxes
                found[name] = [
                    [int(index), float(score), *map(float, box)]
                    for index, score, box in zip(
                        boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True
                    )
                ]
    return found


def main() -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--model", type=Path, required=True, help=".pt, .onnx or OpenVINO folder")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--iou", type=float, default=0.7)
    parser.add_argument("--max-det", type=int, default=300)
    parser.add_argument("--classes", type=int, nargs="*", help="class indices to keep")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reference-config-") as scratch:
        quieten(scratch)
        keep_float32()
        nms = ensure_torchvision()
        found = predict(
            args.images,
            args.model,
            imgsz=args.imgsz,
            conf=args.conf,
            iou=args.iou,
            max_det=args.max_det,
            classes=args.classes,
        )
    args.out.write_text(json.dumps(found, indent=0) + "\n", encoding="ascii")
    import torch
    import ultralytics

    print(
        f"{len(found)} images, {sum(len(d or ()) for d in found.values())} detections, "
        f"ultralytics {ultralytics.__version__}, torch {torch.__version__}, NMS by {nms}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
