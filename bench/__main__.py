"""Runs the benchmark: ``make bench``. README.md says what each figure is."""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from . import candidates, image_folder, plot, stats
from .candidates import PROJECT, BenchError, Job, Measurement

SIZES = (10, 100, 1000)
NAIVE_IMAGES = 30
PARTS = {"rounds": 0, "photos": 60, "sizes": 190, "naive": 50, "scale": 350}
"""What is measured, and the seconds that it takes here: it is not begun with less time left."""
CANDIDATES = tuple(plot.LABELS)
VERSIONS = ("torch", "torchvision", "ultralytics-opencv-headless", "ray", "openvino", "numpy", "opencv-python-headless")


class Clock:
    """The time that the benchmark may take.

    Args:
        minutes: So many minutes from now.
    """

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds left, below 0 when there are none."""
        return self._end - time.monotonic()


def cpu_model() -> str:
    """Name of the processor; empty if the system does not say."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""


def setup(args: argparse.Namespace, images: int) -> dict[str, Any]:
    """Return what the figures were measured on and with."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True)
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": list(os.getloadavg()),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in VERSIONS},
        "images": images,
        "rounds": args.rounds,
        "imgsz": args.imgsz,
        "conf": args.conf,
        "iou": args.iou,
        "weights": args.weights.name,
    }


def measure_rounds(
    runners: dict[str, Callable[[str], Measurement]], count: int, tag: str, clock: Clock
) -> dict[str, list[Measurement]]:
    """Run the candidates in alternating order.

    A round that the clock does not leave time for is not begun; the first one always is.

    Args:
        runners: By name; each takes the name of its measurement.
        count: Rounds.
        tag: Makes the names new.
        clock: The time.

    Raises:
        BenchError: A candidate failed.
    """
    measurements: dict[str, list[Measurement]] = {name: [] for name in runners}
    longest = 0.0
    for number, order in enumerate(stats.rounds(list(runners), count), 1):
        if number > 1 and clock.left < longest:
            print(f"round {number} left out: {clock.left:.0f} s left, the longest took {longest:.0f} s")
            break
        start = time.monotonic()
        for name in order:
            measurement = runners[name](f"{tag}-{number}-{name.replace('_', '-')}")
            measurements[name].append(measurement)
            print(
                f"round {number}  {name:10} {measurement.rate:8.2f} images/s  ({measurement.command_seconds:.1f} s)",
                flush=True,
            )
        longest = max(longest, time.monotonic() - start)
    return measurements


def summarise(measurements: dict[str, list[Measurement]]) -> dict[str, Any]:
    """Return images/s of each candidate and the ratios that the project is judged by."""
    rates = {name: [measurement.rate for measurement in found] for name, found in measurements.items()}
    pairs = {
        "speed_up_2_hosts": ("ours_2", "ours_1"),
        "ours_2_of_limit": ("ours_2", "forward"),
        "ours_2_of_hosts_limit": ("ours_2", "forward_hosts"),
        "int8_to_fp32": ("ours_2_int8", "ours_2"),
        "ours_2_to_predict": ("ours_2", "predict"),
        "ours_2_to_detect_py": ("ours_2", "detect_py"),
        "ours_2_int8_to_detect_py": ("ours_2_int8", "detect_py"),
        "ours_2_to_ray_data": ("ours_2", "ray_data"),
    }
    return {
        "images_per_second": {name: stats.summary(found) for name, found in rates.items()},
        "ratios": {
            name: stats.ratio(rates[one], rates[other])
            for name, (one, other) in pairs.items()
            if one in rates and other in rates
        },
        "measurements": {name: [asdict(measurement) for measurement in found] for name, found in measurements.items()},
    }


def write(results: dict[str, Any], folder: Path) -> None:
    """Write the results and their plot; called after each part, so that an interruption leaves what there is."""
    folder.mkdir(parents=True, exist_ok=True)
    temp = folder / f".tmp-{secrets.token_hex(4)}"
    temp.write_text(json.dumps(results, indent=1) + "\n")
    temp.rename(folder / "results.json")
    if results.get("images_per_second"):
        plot.draw(results, folder / "results.svg")


def prepare(weights: Path, imgsz: int, scratch: Path, log: Path) -> Path:
    """Turn the weights into what our jobs read, for (a).

    Raises:
        BenchError: They can't be used.
    """
    source = scratch / "source"
    source.mkdir()
    shutil.copyfile(weights, source / weights.name)
    command = [sys.executable, "-m", "bench.model", "--source", source, "--kind", weights.suffix[1:]]
    candidates.run([*command, "--imgsz", str(imgsz), "--out", scratch / "model"], log)
    return scratch / "model"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder whose images are used, round and round")
    parser.add_argument("--count", type=int, default=200, help="images of the rounds")
    parser.add_argument("--weights", type=Path, default=PROJECT / "files/demo/yolov5n-demo.pt")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--iou", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20.0, help="begin nothing that would take longer")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--candidates", default=",".join(CANDIDATES), help=f"some of {','.join(CANDIDATES)}")
    parser.add_argument("--no-cluster", action="store_true", help="only what needs no cluster: (a), (b), (c), photos")
    parser.add_argument("--yolov5-dir", type=Path, help="checkout of ultralytics/yolov5, for its detect.py")
    parser.add_argument("--yolov5-weights", type=Path, help="weights of that project, of the same network")
    parser.add_argument("--out", type=Path, default=PROJECT / "bench/results")
    args = parser.parse_args(argv)
    for name, known in (("parts", PARTS), ("candidates", CANDIDATES)):
        asked = [word for word in getattr(args, name).split(",") if word]
        if unknown := set(asked) - set(known):
            parser.error(f"{name}: {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
        setattr(args, name, asked)
    if bool(args.yolov5_dir) != bool(args.yolov5_weights):
        parser.error("a checkout of ultralytics/yolov5 and weights of that project go together")
    if args.weights.suffix not in (".pt", ".onnx"):
        parser.error(f"weights: {args.weights}; expected a .pt or an .onnx")
    if not args.yolov5_dir:
        args.candidates = [name for name in args.candidates if name != "detect_py"]
    if args.no_cluster:
        args.candidates = [name for name in args.candidates if not name.startswith(("ours", "forward_hosts"))]
    if "forward_hosts" in args.candidates and "ours_2" not in args.candidates:
        parser.error("candidate forward_hosts takes model and images of a run of ours_2: name that too")
    if args.weights.suffix == ".onnx" and (wrong := {"predict", "ray_data"} & set(args.candidates)):
        # Ultralytics decodes the answers of an older network wrongly, without a word.
        parser.error(f"candidates: {', '.join(sorted(wrong))} need a .pt; name others")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; exit code 1 if one of them failed."""
    args = parse(argv)
    clock = Clock(args.minutes)
    log = args.out / "bench.log"
    args.out.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    tag = f"bench-{secrets.token_hex(3)}"
    results: dict[str, Any] = {"setup": setup(args, args.count), "problems": []}
    scratch = Path(tempfile.mkdtemp(prefix="bench-"))
    # What the playbook takes: the demo weights by their name, so that it knows where they come from.
    ours_weights = "demo" if args.weights == PROJECT / "files/demo/yolov5n-demo.pt" else str(args.weights.absolute())
    folders: dict[int, Path] = {}

    def job(count: int) -> Job:
        if count not in folders:
            folders[count] = scratch / f"images-{count}"
            image_folder.replicate(args.images, count, folders[count])
        return Job(folders[count], count, args.weights, model, args.imgsz, args.conf, args.iou, scratch, log)

    def ours(count: int, name: str, mode: str, extra: dict[str, str] | None = None) -> Measurement:
        return candidates.ours(job(count), name, mode, ours_weights, extra)

    def do_rounds() -> None:
        checkout = [path and path.absolute() for path in (args.yolov5_dir, args.yolov5_weights)]
        known: dict[str, Callable[[str], Measurement]] = {
            "forward": lambda name: candidates.forward(job(args.count), name),
            "forward_hosts": lambda name: candidates.forward_hosts(job(args.count), name, f"{tag}-warm-ours-2"),
            "predict": lambda name: candidates.predict(job(args.count), name),
            "detect_py": lambda name: candidates.detect_py(job(args.count), name, *checkout),
            "ray_data": lambda name: candidates.ray_data(job(args.count), name),
            "ours_1": lambda name: ours(args.count, name, "single"),
            "ours_2": lambda name: ours(args.count, name, "parallel"),
            "ours_2_int8": lambda name: ours(args.count, name, "parallel", {"precision": "int8"}),
        }
        runners = {name: known[name] for name in known if name in args.candidates}
        for name in ("ours_2", "ours_2_int8"):
            if name in runners:
                # Once before the clock counts: images, model and code are then on the share, and the pace is known.
                runners[name](f"{tag}-warm-{name.replace('_', '-')}")
        results.update(summarise(measure_rounds(runners, args.rounds, tag, clock)))
        results["setup"]["rounds"] = min(len(measurements) for measurements in results["measurements"].values())

    def do_sizes() -> None:
        results["sizes"] = {}
        for count in SIZES:
            found = {"parallel": asdict(ours(count, f"{tag}-{count}-parallel", "parallel"))}
            # One slot needs twice as long: only where the speed-up is judged.
            if count == max(SIZES) and clock.left > 3 * found["parallel"]["command_seconds"]:
                found["single"] = asdict(ours(count, f"{tag}-{count}-single", "single"))
            results["sizes"][str(count)] = found

    def do_naive() -> None:
        found = {}
        for name, extra in (("naive", {"chunk_size": "1"}), ("chunks", {})):
            found[name] = asdict(ours(NAIVE_IMAGES, f"{tag}-{name}", "parallel", extra))
        results["naive"] = found

    def do_scale() -> None:
        seconds = candidates.play("bench/scale.yml", {"bench_out": scratch / "scale.json"}, log)
        results["scale"] = {"command_seconds": seconds, "points": json.loads((scratch / "scale.json").read_text())}

    def do_photos() -> None:
        results["photos"] = candidates.photos(args.images, model, args.imgsz, log)

    steps = {"rounds": do_rounds, "photos": do_photos, "sizes": do_sizes, "naive": do_naive, "scale": do_scale}
    try:
        model = prepare(args.weights, args.imgsz, scratch, log)
        for part in args.parts:
            if part not in ("photos", "rounds") and args.no_cluster:
                continue
            if part != args.parts[0] and clock.left < PARTS[part]:
                results["problems"].append(
                    f"{part}: left out, {clock.left:.0f} s were left of {args.minutes:g} minutes"
                )
                continue
            start = time.monotonic()
            try:
                steps[part]()
            except (BenchError, OSError, ValueError, KeyError) as error:
                results["problems"].append(f"{part}: {type(error).__name__}: {error}")
            results["setup"].setdefault("seconds", {})[part] = round(time.monotonic() - start)
            write(results, args.out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for problem in results["problems"]:
        print(f"error: {problem}", file=sys.stderr)
    print(json.dumps({key: results.get(key) for key in ("images_per_second", "ratios")}, indent=1))
    print(f"Results: {args.out / 'results.json'}, {args.out / 'results.svg'}")
    return 1 if results["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
