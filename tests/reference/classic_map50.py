"""Check a checkpoint of ultralytics/yolov5 against its project's own ONNX export, on labelled images.

Needs torch, OpenVINO, pycocotools and Pillow (an execute host's environment has the first two)::

    PYTHONPATH=files:tests/reference python classic_map50.py --weights yolov5n.pt --onnx yolov5n.onnx \\
        --images DIR --labels DIR

Prints how the detections at a confidence of 0.25 differ, and mAP50 of the checkpoint at its own rectangles, with the
confidence 0.001 and the overlap 0.6 of ultralytics/yolov5's val.py. For its released yolov5n on coco128, 0.568.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from compare_predictions import compare
from map50 import ground_truth, map50
from yolo.detector.detector import Detector, to_detections
from yolo.detector.settings import Settings
from yolo.model.engines import load_engine
from yolo.model.prepare import prepare
from yolo.vision.decode import read_image


def detector(weights: Path, folder: Path, images: Path, conf: float, iou: float, square: bool) -> Detector:
    """Return a detector with prepared weights.

    Args:
        weights: The file.
        folder: For the model.
        images: Folder of the images.
        conf: Confidence below which boxes are left out.
        iou: Overlap above which the worse box is.
        square: Whether each input is of the model's own size.
    """
    source = folder / f"source-{weights.suffix[1:]}"
    if not source.exists():
        source.mkdir()
        shutil.copy(weights, source)
    info = prepare(source, weights.suffix[1:], folder / f"model-{weights.suffix[1:]}")
    engine = load_engine(folder / f"model-{weights.suffix[1:]}", info, threads=1)
    engine.dynamic = engine.dynamic and not square
    return Detector(info, engine, Settings(images, folder, conf=conf, iou=iou))


def detect(found: Detector, images: Path, names: list[str]) -> dict[str, list[list[float]]]:
    """Return class, score and box (x1, y1, x2, y2; pixels) of each detection, by image."""
    return {
        name: [[d.class_id, d.score, *d.box] for d in to_detections(found.detect(read_image(images / name)))]
        for name in names
    }


def main() -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--weights", "--onnx", "--images", "--labels"):
        parser.add_argument(option, type=Path, required=True)
    args = parser.parse_args()
    # One without labels is left out: map50.py reads a file for each.
    names = sorted(
        path.name for path in args.images.iterdir() if (args.labels / path.name).with_suffix(".txt").exists()
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pair = [
            detect(detector(weights, folder, args.images, 0.25, 0.45, True), args.images, names)
            for weights in (args.onnx, args.weights)
        ]
        result = compare(*pair, box=0.01, score=1e-4)
        print(result.report())
        found = detect(detector(args.weights, folder, args.images, 0.001, 0.6, False), args.images, names)
    ids = {name: number for number, name in enumerate(names, 1)}
    classes = list(range(80))
    predictions = [
        {
            "image_id": ids[name],
            "category_id": int(class_id),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for name, boxes in found.items()
        for class_id, score, x1, y1, x2, y2 in boxes
    ]
    print(f"mAP50 {map50(predictions, ground_truth(args.images, args.labels, ids, classes)):.4f}")
    return 0 if result.agrees else 1


if __name__ == "__main__":
    raise SystemExit(main())
