"""(a) Forward passes only, on all cores: the limit that no run on this machine can pass.

One process a core, pinned to it, one thread each. The images are read, letterboxed and turned into
tensors before the clock starts; boxes are not suppressed, nothing is drawn or written.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

DIFFERENT = 64
"""Tensors that a process holds: the passes go round and round them."""


def share(total: int, parts: int) -> list[int]:
    """Return ``parts`` numbers that add up to ``total`` and differ by at most one."""
    size, larger = divmod(total, parts)
    return [size + (number < larger) for number in range(parts)]


def _work(
    core: int, model_dir: Path, engine_name: str, images: list[Path], passes: int, imgsz: int, gate: Barrier, out: Queue
) -> None:
    os.sched_setaffinity(0, {core})
    from yolo.model.engines import load_engine
    from yolo.model.info import load_info
    from yolo.vision.decode import read_image
    from yolo.vision.letterbox import letterbox, to_tensor

    info = load_info(model_dir)
    engine = load_engine(model_dir, info, threads=1, engine=engine_name)
    size = info.input_size(imgsz)
    tensors = [
        to_tensor(letterbox(read_image(path), size, rectangular=engine.dynamic, stride=info.stride)) for path in images
    ]
    for tensor in {tensor.shape: tensor for tensor in tensors}.values():
        engine.infer(tensor)
    gate.wait()
    start = time.monotonic()
    for number in range(passes):
        engine.infer(tensors[number % len(tensors)])
    out.put((start, time.monotonic(), engine.versions()))


def measure(
    model_dir: Path, engine: str, images: Sequence[Path], count: int, imgsz: int, cores: Sequence[int]
) -> dict[str, object]:
    """Run so many forward passes, on all cores at once.

    Args:
        model_dir: What ``yolo.model.prepare`` made for the engine.
        engine: One of ``yolo.share.limits.ENGINES``.
        images: The images, taken round and round; each process takes its share of them.
        count: Passes of all processes together.
        imgsz: Side of the input, pixels.
        cores: Numbers of the processors.

    Raises:
        RuntimeError: A process died.
    """
    context = multiprocessing.get_context("spawn")
    gate, out = context.Barrier(len(cores)), context.Queue()
    workers = []
    for index, (core, passes) in enumerate(zip(cores, share(count, len(cores)), strict=True)):
        own = list(images[index :: len(cores)])[:DIFFERENT]
        workers.append(context.Process(target=_work, args=(core, model_dir, engine, own, passes, imgsz, gate, out)))
        workers[-1].start()
    results = []
    while len(results) < len(workers):
        if not out.empty():
            results.append(out.get())
        elif any(worker.exitcode for worker in workers):
            gate.abort()
            raise RuntimeError("a process of the forward passes died; its message stands above")
        else:
            time.sleep(0.05)
    for worker in workers:
        worker.join()
    seconds = max(end for _, end, _ in results) - min(start for start, _, _ in results)
    return {"images": count, "seconds": seconds, "cores": len(cores), "versions": results[0][2]}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the measurement as JSON."""
    parser = argparse.ArgumentParser(prog="bench.forward", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that yolo.model.prepare made")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--passes", type=int, help="default: one for each image")
    parser.add_argument("--imgsz", type=int, required=True)
    args = parser.parse_args(argv)
    images = sorted(args.images.iterdir())
    cores = sorted(os.sched_getaffinity(0))
    print(json.dumps(measure(args.model, args.engine, images, args.passes or len(images), args.imgsz, cores)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
