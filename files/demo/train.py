"""Trains the demo model: a YOLOv5n from scratch on what samples.py makes.

Nothing is downloaded and no pretrained weights are used: the photos come from the installed
packages, the labels from photos.json. Writes ``yolov5n-demo.pt`` (fp16, without optimizer and
without paths) and ``yolov5n-demo.json`` (classes, checksum, accuracy, settings).

The accuracy is measured on a set that is not trained on. No checkpoint is chosen by it; the threshold
that is recommended in the JSON file is.

About torchvision: ultralytics reads its version at import and imports it for validation, though all
that detection needs of it is `nms`, which ultralytics also has in pure torch. Where torchvision is
not installed or does not load (its default build wants CUDA), `ensure_torchvision` puts a module
with that one function in its place.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
import types
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import samples

NAME = "yolov5n-demo"
SIZE_LIMIT = 6_000_000
NEEDED_MAP50 = 0.8
VAL_SEED = 0
TRAIN_SEED = 0


def ensure_torchvision() -> str:
    """Makes ``import torchvision`` work, with the real package or a stand-in that has only nms.

    Must run before ultralytics is imported.

    Returns:
        ``installed <version>`` or ``stand-in (nms in pure torch)``.
    """
    try:
        return f"installed {importlib.import_module('torchvision').__version__}"
    except (ImportError, RuntimeError):  # RuntimeError: its compiled operators did not load
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    import torch

    minor = int(torch.__version__.split(".")[1])
    pretended = f"0.{minor + 15}.0"  # the release that goes with this torch
    real_version = importlib.metadata.version

    def version(distribution: str) -> str:
        return pretended if distribution == "torchvision" else real_version(distribution)

    def nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
        from ultralytics.utils.nms import TorchNMS

        return TorchNMS.nms(boxes, scores, iou_threshold)

    importlib.metadata.version = version
    module = types.ModuleType("torchvision")
    module.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
    module.__version__ = pretended
    module.ops = types.ModuleType("torchvision.ops")
    module.ops.nms = nms
    sys.modules["torchvision"] = module
    sys.modules["torchvision.ops"] = module.ops
    return "stand-in (nms in pure torch)"


def quiet_environment(config: Path) -> None:
    """Keeps ultralytics off the network and its settings file out of the home directory."""
    config.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        YOLO_OFFLINE="true",
        YOLO_AUTOINSTALL="false",
        YOLO_CONFIG_DIR=str(config),
        MPLCONFIGDIR=str(config),
        WANDB_MODE="disabled",
    )


def write_data(work: Path, train_count: int, val_count: int, classes: Sequence[str]) -> Path:
    """Makes the training and held-out sets.

    Returns:
        The data file in ultralytics' format.
    """
    photos = samples.load_photos(samples.read_catalogue())
    samples.write_set(work / "train", train_count, TRAIN_SEED, "train", lambda: photos)
    samples.write_set(work / "val", val_count, VAL_SEED, "val", lambda: photos)
    data = {
        "path": str(work),
        "train": "train/images",
        "val": "val/images",
        "names": dict(enumerate(classes)),
    }
    file = work / "data.yaml"
    file.write_text(json.dumps(data))  # JSON is YAML, too
    return file


def strip(checkpoint: Path, target: Path, classes: Sequence[str], imgsz: int) -> None:
    """Writes a checkpoint that holds the averaged weights in fp16 and nothing of this machine.

    Args:
        checkpoint: What ultralytics saved.
        target: File to write.
        classes: Class names, in order.
        imgsz: Side of the training images in pixels.
    """
    import torch
    import ultralytics

    loaded = torch.load(checkpoint, map_location="cpu", weights_only=False)
    model = (loaded.get("ema") or loaded["model"]).float().eval()
    model.names = dict(enumerate(classes))
    settings = {"task": "detect", "imgsz": imgsz, "single_cls": False}
    model.args = dict(settings)
    model.yaml["yaml_file"] = "yolov5n.yaml"
    for unwanted in ("criterion", "pt_path", "optimizer"):
        if hasattr(model, unwanted):
            setattr(model, unwanted, None)
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.half()
    clean = {
        "epoch": -1,
        "best_fitness": None,
        "model": model,
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": {**settings, "model": "yolov5n.yaml", "data": "samples.py"},
        "version": ultralytics.__version__,
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
    }
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # torch names the root of the archive after the file.
        temporary = Path(folder) / target.name
        torch.save(clean, temporary)
        os.replace(temporary, target)


def find_traces(checkpoint: Path, words: Iterable[str]) -> list[str]:
    """Looks for words in everything that a checkpoint holds, tensor data aside.

    Returns:
        The words found.
    """
    with zipfile.ZipFile(checkpoint) as archive:
        names = archive.namelist()
        blobs = [name.encode() for name in names]
        blobs += [archive.read(name) for name in names if "/data/" not in name]
    return sorted({word for word in words if any(word.encode() in blob for blob in blobs)})


def traces_to_avoid(work: Path) -> list[str]:
    """Words that would tell of this machine: its name, its user's home, where things lie on it."""
    here = Path(__file__).resolve().parents[2]
    words = {socket.gethostname(), str(Path.home()), str(work), str(here), sys.prefix}
    words |= {"/tmp/", "/home/", "/root", "/opt/", "/mnt/", "/Users/", "\\Users\\"}
    return sorted(word for word in words if len(word) > 3 and word != "localhost")


def best_conf(metrics: Any) -> float:
    """The confidence threshold with the highest mean F1, to two digits."""
    return round(float(metrics.box.px[metrics.box.f1_curve.mean(0).argmax()]), 2)


def evaluate(weights: Path, data: Path, imgsz: int, work: Path) -> Any:
    """Validates weights on the held-out set.

    Returns:
        ultralytics' metrics.
    """
    from ultralytics import YOLO

    return YOLO(weights).val(
        data=str(data),
        imgsz=imgsz,
        batch=4,  # ultralytics drops boxes when its NMS takes long: small batches have more time
        device="cpu",
        workers=0,
        plots=False,
        project=str(work),
        name=f"val-{imgsz}",
        exist_ok=True,
        verbose=False,
    )


def train(data: Path, work: Path, args: argparse.Namespace) -> Path:
    """Trains from random weights.

    Args:
        data: What `write_data` returns.
        work: Scratch directory.
        args: The command line's epochs, stop_epoch, imgsz, batch and seed.

    Returns:
        The last checkpoint.
    """
    from ultralytics import YOLO

    def stop(trainer: Any) -> None:
        if trainer.epoch + 1 >= args.stop_epoch:
            trainer.stop = True

    model = YOLO("yolov5n.yaml")
    model.add_callback("on_fit_epoch_end", stop)
    model.train(
        data=str(data),
        epochs=args.epochs,
        imgsz=args.imgsz,
        batch=args.batch,
        nbs=args.batch,  # a step of the optimizer for each batch, no gathering up to 64 images
        seed=args.seed,
        pretrained=False,
        optimizer="AdamW",
        lr0=0.0015,
        cos_lr=True,
        warmup_epochs=2,
        # samples.py did most of the augmenting.
        mosaic=0.2,
        close_mosaic=8,
        scale=0.3,
        translate=0.1,
        hsv_h=0.01,
        hsv_s=0.3,
        hsv_v=0.3,
        fliplr=0.5,
        erasing=0.0,
        amp=False,
        cache="ram",
        workers=0,
        device="cpu",
        deterministic=True,
        val=False,
        plots=False,
        project=str(work),
        name="run",
        exist_ok=True,
    )
    return work / "run" / "weights" / "last.pt"


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    names = ("torch", "ultralytics", "scikit-image", "numpy", "pillow", "opencv-python-headless")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 1 when the model is not good or not clean enough to be kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    parser.add_argument("--work", type=Path, help="scratch directory (default: temporary)")
    parser.add_argument("--epochs", type=int, default=40, help="length of the learning rate's fall")
    parser.add_argument("--stop-epoch", type=int, default=30, help="end after this epoch already")
    parser.add_argument("--images", type=int, default=320, help="training images")
    parser.add_argument("--val-images", type=int, default=150, help="held-out images")
    parser.add_argument("--imgsz", type=int, default=256, help="training image side in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="seed of the training")
    parser.add_argument("--checkpoint", type=Path, help="finish this checkpoint, do not train")
    args = parser.parse_args(argv)

    work = (args.work or Path(tempfile.mkdtemp(prefix="yolo-demo-"))).resolve()
    quiet_environment(work / "config")
    catalogue = samples.read_catalogue()
    classes = catalogue["classes"]
    start = time.monotonic()
    try:
        data = write_data(work, args.images, args.val_images, classes)
    except samples.SampleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    torchvision = ensure_torchvision()
    print(f"torchvision: {torchvision}; data made in {time.monotonic() - start:.0f} s", flush=True)

    start = time.monotonic()
    checkpoint = args.checkpoint or train(data, work, args)
    print(f"trained in {time.monotonic() - start:.0f} s", flush=True)

    made = work / f"{NAME}.pt"
    strip(checkpoint, made, classes, args.imgsz)
    metrics = evaluate(made, data, args.imgsz, work)
    names = [classes[index] for index in metrics.box.ap_class_index]
    per_class = {n: round(float(v), 4) for n, v in zip(names, metrics.box.ap50, strict=True)}
    by_size = {
        str(size): round(float(evaluate(made, data, size, work).box.map50), 4)
        for size in (args.imgsz * 5 // 4, args.imgsz * 5 // 2)
    }
    result = {
        "model": "yolov5n.yaml (ultralytics, anchor-free head), trained from random weights",
        "classes": classes,
        "file": made.name,
        "sha256": hashlib.sha256(made.read_bytes()).hexdigest(),
        "bytes": made.stat().st_size,
        "imgsz": args.imgsz,
        "conf": best_conf(metrics),
        "iou": 0.7,
        "mAP50": round(float(metrics.box.map50), 4),
        "mAP50-95": round(float(metrics.box.map), 4),
        "mAP50_by_class": per_class,
        "mAP50_at_other_imgsz": by_size,
        "held_out": {"split": "val", "seed": VAL_SEED, "images": args.val_images},
        "training": {
            "split": "train",
            "sample_seed": TRAIN_SEED,
            "images": args.images,
            "epochs": args.epochs,
            "stop_epoch": args.stop_epoch,
            "batch": args.batch,
            "seed": args.seed,
        },
        "command": f"python files/demo/train.py --images {args.images} --epochs {args.epochs} "
        f"--stop-epoch {args.stop_epoch} --val-images {args.val_images} --imgsz {args.imgsz} --batch {args.batch} "
        f"--seed {args.seed}",
        "versions": versions(),
        "torchvision": torchvision,
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    problems = []
    if result["mAP50"] < NEEDED_MAP50:
        problems.append(f"mAP50 is {result['mAP50']}; expected {NEEDED_MAP50} or more.")
    if result["bytes"] > SIZE_LIMIT:
        problems.append(f"the file has {result['bytes']} bytes; expected {SIZE_LIMIT} or fewer.")
    found = find_traces(made, traces_to_avoid(work))
    if found:
        problems.append(f"the checkpoint tells of this machine: {', '.join(found)}.")
    for problem in problems:
        print(f"error: {problem} Nothing was kept; the result is in {work}.", file=sys.stderr)
    if problems:
        return 1
    shutil.copyfile(made, args.out / made.name)
    (args.out / f"{NAME}.json").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
