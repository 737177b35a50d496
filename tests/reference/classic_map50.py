"""Check a checkpoint of ultralytics/yolov5 against its project's own ONNX export, on labelled images.

Needs torch, OpenVINO, pycocotools and Pillow (an execute host's environment has the first two)::

    PYTHONPATH=files:tests/reference python classic_map50.py --weights yolov5n.pt --onnx yolov5n.onnx \\
        --images DIR --labels DIR

Prints how the detections at a confidence of 0.25 differ, and mAP50 of the checkpoint with the settings of val.py of
ultralytics/yolov5: rectangles, conf 0.001, iou 0.6, each box for all its classes that score high enough, not
only for its best one. The evaluation is pycocotools', not val.py's own, and the input of an image has no more edge than
it needs. The released yolov5n on coco128 gets 0.553 here. val.py of v7.0 itself gives, by its batch, whose images share
one size of input: 0.560 (1, 32), 0.559 (8), 0.566 (16); for the square ONNX export 0.550, which gets 0.551 here.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from compare_predictions import compare
from map50 import ground_truth, map50
from yolo.detector.detector import Detector, to_detections
from yolo.detector.settings import Settings
from yolo.model.engines import Engine, load_engine
from yolo.model.prepare import prepare
from yolo.vision import nms
from yolo.vision.decode import read_image


class EachClass:
    """An engine that gives a box once for each of its classes, as the layout ``anchor-free``.

    Args:
        engine: Of the layout ``classic``.
        conf: Score below which a class of a box is left out.
    """

    def __init__(self, engine: Engine, conf: float) -> None:
        self.engine, self.conf = engine, conf
        self.name, self.dynamic = engine.name, engine.dynamic

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """Return float32 (1, 4 + classes, boxes), in each column one class."""
        raw = self.engine.infer(batch)[0]
        raw = raw[raw[:, 4] > self.conf]
        scores = raw[:, 5:] * raw[:, 4:5]
        boxes, classes = np.nonzero(scores > self.conf)
        out = np.zeros((1, 4 + scores.shape[1], len(boxes)), np.float32)
        out[0, :4] = raw[boxes, :4].T
        out[0, 4 + classes, np.arange(len(boxes))] = scores[boxes, classes]
        return out

    def versions(self) -> dict[str, str]:
        """Return the engine's."""
        return self.engine.versions()


def detector(weights: Path, folder: Path, images: Path, conf: float, iou: float, square: bool) -> Detector:
    """Return a detector with prepared weights.

    Args:
        weights: The file.
        folder: For the model.
        images: Folder of the images.
        conf: Confidence below which boxes are left out.
        iou: Overlap above which the worse box is.
        square: Whether each input is of the model's own size and each box of one class; else as val.py does it.
    """
    source = folder / f"source-{weights.suffix[1:]}"
    if not source.exists():
        source.mkdir()
        shutil.copy(weights, source)
    info = prepare(source, weights.suffix[1:], folder / f"model-{weights.suffix[1:]}")
    engine = load_engine(folder / f"model-{weights.suffix[1:]}", info, threads=1)
    if not square:
        each = EachClass(engine, conf)
        return Detector(replace(info, layout=nms.ANCHOR_FREE), each, Settings(images, folder, conf=conf, iou=iou))
    engine.dynamic = False
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
    names = sorted(path.name for path in args.images.iterdir())
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
    # An image without a label file is background.
    labelled = {name: number for name, number in ids.items() if (args.labels / name).with_suffix(".txt").exists()}
    truth = ground_truth(args.images, args.labels, labelled, classes)
    truth["images"] = [{"id": number} for number in ids.values()]
    print(f"mAP50 {map50(predictions, truth):.4f}")
    return 0 if result.agrees else 1


if __name__ == "__main__":
    raise SystemExit(main())
