"""Compare detections of this project with those of a reference, image by image.

Standard library only::

    python compare_predictions.py --expected reference.json --found results/RUN/predictions.json
    python compare_predictions.py --expected reference.json --found <share>/runs/RUN/parallel

``--expected`` is the output of ``ultralytics_reference.py``. ``--found`` is either of the same
form, or a pass of a run (its records are read), or a ``predictions.json`` in COCO's format with its
``metrics.json`` beside it. Exit code 0 when they agree, 1 when not.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

Detections = dict[str, list[list[float]] | None]

MAX_LISTED = 20


@dataclass
class Comparison:
    """What was compared, how far it differs, and what does not agree."""

    images: int = 0
    detections: int = 0
    box: float = 0.0
    score: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether there is nothing that does not agree, and something that does."""
        return not self.problems and self.images > 0

    def report(self) -> str:
        """Return lines for a person."""
        lines = [
            f"{self.images} images, {self.detections} detections matched by class; largest "
            f"difference: box {self.box:.3g} px, score {self.score:.3g}"
        ]
        lines += self.problems[:MAX_LISTED]
        if len(self.problems) > MAX_LISTED:
            lines.append(f"... and {len(self.problems) - MAX_LISTED} more")
        lines.append("they agree" if self.agrees else f"{len(self.problems)} differences")
        return "\n".join(lines)


def compare(expected: Detections, found: Detections, *, box: float, score: float) -> Comparison:
    """Match detections one to one: same image, same class, boxes and scores within tolerance.

    Args:
        expected: By image.
        found: By image.
        box: Largest difference of a coordinate, pixels.
        score: Largest difference of a score.
    """
    result = Comparison()
    for name in sorted(expected.keys() | found.keys()):
        if name not in expected or name not in found:
            result.problems.append(f"{name}: not in {'found' if name in expected else 'expected'}")
            continue
        wanted, got = expected[name], found[name]
        if wanted is None or got is None:
            if wanted is not got:
                result.problems.append(
                    f"{name}: {'unreadable' if wanted is None else 'read'} by the reference, "
                    f"{'failed' if got is None else 'read'} here"
                )
            else:
                result.images += 1
            continue
        result.images += 1
        _compare_image(name, wanted, list(got), box, score, result)
    if not result.images and not result.problems:
        result.problems.append("there is no image to compare")
    return result


def _compare_image(
    name: str,
    wanted: list[list[float]],
    got: list[list[float]],
    box: float,
    score: float,
    result: Comparison,
) -> None:
    for detection in wanted:
        same = [other for other in got if other[0] == detection[0]]
        if not same:
            result.problems.append(f"{name}: missing {_text(detection)}")
            continue
        nearest = min(same, key=lambda other: _box_difference(detection, other))
        box_difference = _box_difference(detection, nearest)
        score_difference = abs(detection[1] - nearest[1])
        if box_difference > box or score_difference > score:
            result.problems.append(
                f"{name}: {_text(detection)} expected, nearest is {_text(nearest)} "
                f"({box_difference:.3g} px, score {score_difference:.3g})"
            )
            continue
        got.remove(nearest)
        result.detections += 1
        result.box = max(result.box, box_difference)
        result.score = max(result.score, score_difference)
    result.problems += [f"{name}: not expected: {_text(detection)}" for detection in got]


def _box_difference(a: list[float], b: list[float]) -> float:
    return max(abs(x - y) for x, y in zip(a[2:], b[2:], strict=True))


def _text(detection: list[float]) -> str:
    box = ", ".join(f"{x:.2f}" for x in detection[2:])
    return f"class {detection[0]:g} {detection[1]:.4f} [{box}]"


def read(path: Path) -> Detections:
    """Read detections in any of the forms that the module's text names.

    Raises:
        ValueError: The file has none of these forms.
    """
    if path.is_dir():
        return read_records(path / "records" if (path / "records").is_dir() else path)
    value = json.loads(path.read_bytes())
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return from_coco(value, path.with_name("metrics.json"))
    raise ValueError(f"{path}: expected detections by image or COCO results")


def read_records(folder: Path) -> Detections:
    """Read the records of a pass; a failed image is None."""
    found: Detections = {}
    # Plan, chunk, attempt: the newest record counts.
    for path in sorted(folder.glob("p*.jsonl"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.stem)]):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            found[record["path"]] = record["detections"] if record["error"] is None else None
    return found


def from_coco(results: list[dict], metrics: Path) -> Detections:
    """Read COCO results, which know categories for classes and are silent on empty images."""
    if not metrics.is_file():
        raise ValueError(f"{metrics}: needed to translate categories into classes")
    value = json.loads(metrics.read_bytes())
    classes = {category["id"]: index for index, category in enumerate(value["categories"])}
    failed = [failure["path"] for failure in value["failures"]]
    found: Detections = dict.fromkeys([*failed, *value["missing"]])
    for result in results:
        x, y, width, height = result["bbox"]
        found.setdefault(result["file_name"], []).append(
            [classes[result["category_id"]], result["score"], x, y, x + width, y + height]
        )
    return found


def main() -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expected", type=Path, required=True)
    parser.add_argument("--found", type=Path, required=True)
    parser.add_argument("--box", type=float, default=0.01, help="tolerance in pixels")
    parser.add_argument("--score", type=float, default=0.001, help="tolerance of the score")
    args = parser.parse_args()
    expected, found = read(args.expected), read(args.found)
    if args.found.is_file():
        # COCO results do not name images without detections.
        found |= {name: [] for name in expected if name not in found}
    result = compare(expected, found, box=args.box, score=args.score)
    print(result.report())
    return 0 if result.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
