"""Read labels that a user has: YOLO's files, or one COCO JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...share.errors import YoloError

MAX_BYTES = 1 << 30
"""A label file is no larger."""


@dataclass(frozen=True, slots=True)
class Label:
    """An object that is known to be in an image.

    Attributes:
        class_id: Index of its class in the weights' list.
        box: ``x y width height`` in pixels, the corner at the top left.
        crowd: Whether the box holds many of them: a detection in it is neither right nor wrong.
    """

    class_id: int
    box: tuple[float, float, float, float]
    crowd: bool = False


Sizes = Mapping[str, tuple[int, int]]
"""Width and height in pixels of the images that have a result, by relative path."""


def read_labels(path: Path, sizes: Sizes, names: Sequence[str]) -> dict[str, list[Label]]:
    """Return the labels of images; an image of a folder without a label file holds nothing.

    Args:
        path: A folder of YOLO label files, or a COCO JSON.
        sizes: The images.
        names: The weights' classes.

    Raises:
        YoloError: There are no labels, or none of these images, or they are damaged.
        OSError: A file can't be read.
    """
    if path.is_dir():
        return _read_yolo(path, sizes, len(names))
    if path.suffix.lower() == ".json" and path.is_file():
        return _read_coco(path, sizes, names)
    raise YoloError("no such labels", path, "a folder of YOLO label files, or a COCO JSON", "check labels=")


def _read_yolo(folder: Path, sizes: Sizes, classes: int) -> dict[str, list[Label]]:
    found: dict[str, list[Label]] = {}
    files = 0
    for image, size in sizes.items():
        file = folder / (os.path.splitext(image)[0] + ".txt")
        try:
            text = _read(file).decode("utf-8", "replace")
        except FileNotFoundError:
            found[image] = []
            continue
        files += 1
        found[image] = [
            _yolo_label(line, size, classes, f"{file}:{number}")
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
    if not files:
        example = os.path.splitext(next(iter(sizes), "a.jpg"))[0] + ".txt"
        raise YoloError("no label file fits an image", folder, f"one with the image's relative name, such as {example}")
    return found


def _yolo_label(line: str, size: tuple[int, int], classes: int, where: str) -> Label:
    """Return the label in a line: ``class x y width height``, centre, parts of the image's size.

    A polygon, ``class x1 y1 x2 y2 x3 y3 ...``, counts as the box around it. Source: ultralytics' format of datasets.
    """
    try:
        class_id, *numbers = map(float, line.split())
        if not class_id.is_integer() or not all(map(math.isfinite, numbers)):
            raise ValueError
        if len(numbers) == 4:
            x, y, width, height = numbers
            left, top = x - width / 2, y - height / 2
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            left, top = min(numbers[::2]), min(numbers[1::2])
            width, height = max(numbers[::2]) - left, max(numbers[1::2]) - top
        else:
            raise ValueError
    except ValueError:
        raise YoloError(
            "a label is damaged", f"{where}: {line.strip()[:80]}", "class x y width height, parts of the image's size"
        ) from None
    if not 0 <= class_id < classes:
        raise YoloError(
            "a label is of a class that the weights do not have", f"{where}: {class_id:g}", f"0 to {classes - 1}"
        )
    return Label(int(class_id), (left * size[0], top * size[1], width * size[0], height * size[1]))


def _read_coco(file: Path, sizes: Sizes, names: Sequence[str]) -> dict[str, list[Label]]:
    """Read a COCO JSON. Source: https://cocodataset.org/#format-data, "Object Detection"."""
    try:
        data = json.loads(_read(file))
        class_of = {entry["id"]: _class_of(str(entry["name"]), names, file) for entry in data["categories"]}
        image_of = dict(_coco_images(data["images"], sizes))
        found: dict[str, list[Label]] = {image: [] for image in image_of.values()}
        for entry in data["annotations"]:
            if (image := image_of.get(entry["image_id"])) is not None:
                x, y, width, height = map(float, entry["bbox"])
                label = Label(class_of[entry["category_id"]], (x, y, width, height), bool(entry.get("iscrowd")))
                found[image].append(label)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise YoloError(
            "the labels are damaged",
            f"{file}: {type(error).__name__}: {error}",
            "COCO's images, annotations, categories",
        ) from None
    if not found:
        raise YoloError("no image of the labels is one of this run", file, "the same relative paths or file names")
    return found


def _class_of(name: str, names: Sequence[str], file: Path) -> int:
    if name not in names:
        raise YoloError(
            "a label is of a class that the weights do not have", f"{file}: {name}", f"one of {', '.join(names[:20])}"
        )
    return names.index(name)


def _coco_images(entries: Sequence[Mapping[str, Any]], sizes: Sizes) -> Iterator[tuple[Any, str]]:
    """Yield the id and the path of each image of this run: of the same relative path, else of a name that is unique."""
    by_name: dict[str, str | None] = {}
    for image in sizes:
        name = os.path.basename(image)
        by_name[name] = None if name in by_name else image
    for entry in entries:
        path = str(entry["file_name"])
        found = path if path in sizes else by_name.get(os.path.basename(path))
        if found is not None:
            yield entry["id"], found


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise YoloError("a label file is too large", file, f"at most {MAX_BYTES >> 20} MiB")
    return content
