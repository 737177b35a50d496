"""(c) Ray Data, by the pattern of its documentation: read_images, then a class on two actors.

https://docs.ray.io/en/latest/data/working-with-images.html ("Performing inference") and
https://docs.ray.io/en/latest/data/batch_inference.html. The class holds ultralytics' model, one
thread for each actor; it writes the same files as the others: image with boxes, label file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BATCH = 16
ACTORS = 2


class Detector:
    """What an actor holds.

    Args:
        weights: ``.pt`` file.
        out: Folder for ``images/`` and ``labels/``.
        options: For ultralytics' ``predict``.
    """

    def __init__(self, weights: str, out: str, options: dict[str, Any]) -> None:
        import torch
        from ultralytics import YOLO

        # Ray sets OMP_NUM_THREADS from the actor's cpus; said once more for those who set it otherwise.
        torch.set_num_threads(1)
        self._model, self._out, self._options = YOLO(weights), Path(out), options

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Detect in a batch of RGB images and write what was found."""
        import cv2
        import numpy as np

        images = [np.ascontiguousarray(image[..., ::-1]) for image in batch["image"]]
        counts = []
        for path, result in zip(batch["path"], self._model(images, verbose=False, **self._options), strict=True):
            stem = Path(path).stem
            cv2.imwrite(str(self._out / "images" / f"{stem}.jpg"), result.plot())
            result.save_txt(str(self._out / "labels" / f"{stem}.txt"), save_conf=True)
            counts.append(len(result.boxes))
        return {"path": batch["path"], "detections": np.array(counts)}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the measurement as JSON."""
    parser = argparse.ArgumentParser(prog="bench.ray_data", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--imgsz", type=int, required=True)
    parser.add_argument("--conf", type=float, required=True)
    parser.add_argument("--iou", type=float, required=True)
    args = parser.parse_args(argv)
    for folder in ("images", "labels"):
        (args.out / folder).mkdir(parents=True)
    import ray
    from ray.data import ActorPoolStrategy

    # One more than there are: two actors with a cpu each would leave none for the tasks that read.
    cpus = len(os.sched_getaffinity(0)) + 1
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    start = time.monotonic()
    options = {"imgsz": args.imgsz, "conf": args.conf, "iou": args.iou, "device": "cpu"}
    data = ray.data.read_images(str(args.images), include_paths=True, mode="RGB").map_batches(
        Detector,
        fn_constructor_args=(str(args.weights.absolute()), str(args.out.absolute()), options),
        batch_size=BATCH,
        compute=ActorPoolStrategy(size=ACTORS),
        num_cpus=1,
    )
    images = detections = 0
    for row in data.iter_rows():
        images += 1
        detections += int(row["detections"])
    seconds = time.monotonic() - start
    ray.shutdown()
    print(json.dumps({"images": images, "detections": detections, "pipeline_seconds": seconds, "ray": ray.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
