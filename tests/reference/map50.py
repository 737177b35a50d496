"""Score a run's `predictions.json` against labels, with the COCO project's own evaluation.

Needs pycocotools and Pillow::

    python map50.py --predictions results/RUN/predictions.json --images DIR --labels DIR

Prints mAP50, 0 to 1: the mean over classes of the average precision at an overlap (IoU) of 0.5. Run the detection
with a low ``conf`` (0.001), since what it leaves out can't be found.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def ground_truth(images: Path, labels: Path, ids: dict[str, int], category_ids: list[int]) -> dict[str, Any]:
    """Return YOLO labels (``class x y width height``, centre, parts of the image's size) in COCO's format.

    Args:
        images: Folder of the images.
        labels: Folder of the labels, with the same relative names.
        ids: Image id by relative path.
        category_ids: Category id of each class.
    """
    annotations = []
    for name, image_id in ids.items():
        width, height = Image.open(images / name).size
        for line in (labels / name).with_suffix(".txt").read_text().splitlines():
            class_id, x, y, w, h = map(float, line.split())
            box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_ids[int(class_id)],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": image_id} for image_id in ids.values()],
        "annotations": annotations,
        "categories": [{"id": category_id} for category_id in category_ids],
    }


def map50(predictions: list[dict[str, Any]], truth: dict[str, Any]) -> float:
    """Return mAP50."""
    with contextlib.redirect_stdout(sys.stderr):
        expected = COCO()
        expected.dataset = truth
        expected.createIndex()
        evaluation = COCOeval(expected, expected.loadRes(predictions), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])


def main() -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    args = parser.parse_args()
    predictions = json.loads(args.predictions.read_bytes())
    metrics = json.loads(args.predictions.with_name("metrics.json").read_bytes())
    # Images without a detection are not in the predictions, but count: each image of the set gets an id.
    ids = {item["file_name"]: item["image_id"] for item in predictions}
    for path in sorted(p.relative_to(args.images).as_posix() for p in args.images.rglob("*.jpg")):
        ids.setdefault(path, max(ids.values(), default=0) + 1_000_000)
    truth = ground_truth(args.images, args.labels, ids, [category["id"] for category in metrics["categories"]])
    print(f"{map50(predictions, truth):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
