"""Make sample images with YOLO labels out of the real photos that two packages ship.

    python files/demo/samples.py --out DIR --count 48 [--seed 0] [--split sample|train|val]

writes ``DIR/images/<folder>/<index>.jpg``, ``DIR/labels/<folder>/<index>.txt`` and
``DIR/samples.json``, which says what was made. The same arguments give the same bytes, and a second
run rewrites nothing; other arguments replace what an earlier run made in ``DIR``.

The photos and their hand-made boxes stand in ``photos.json``. Their packages are only looked for,
never imported, so ``pip install --no-deps -r files/demo/requirements.txt`` is enough.

Each image has a seed of its own. The three splits own disjoint ranges of seeds, so the held-out
images of ``val`` are augmentations that ``train`` can't contain, whatever ``--seed`` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import io
import json
import math
import os
import random
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import PIL
from PIL import Image, ImageFilter

T = TypeVar("T")

CATALOG = Path(__file__).with_name("photos.json")
"""The photos, their checksums and their boxes."""

SPLITS = ("sample", "train", "val")
MAX_SEED = 999
MAX_COUNT = 100_000
DEFAULT_COUNT = 48

STATE = "samples.json"
_TEMP_PREFIX = ".samples-"
_INSTALL = "pip install --no-deps -r files/demo/requirements.txt"

_SIZES = ((640, 480), (640, 480), (640, 480), (640, 427), (640, 360), (600, 600), (480, 640))
"""Width and height of the images, pixels; drawn from evenly."""

_MAX_ANGLE = math.radians(8)
_MIN_VISIBLE = 0.4
"""A cropped object counts from this fraction of its box on."""
_MAX_HIDDEN = 0.03
"""Up to this fraction it may be in the picture without a label; a crop between the two is drawn
again, because nobody could say whether the object is there."""
_MIN_SIDE = 12.0
"""Shortest side of a box, pixels."""
_TRIES = 60


class DemoError(Exception):
    """Something the user can mend; its text says what was wrong and what to do."""


class Box(NamedTuple):
    """An object: index of its class, and its edges in pixels of the picture's top left origin."""

    cls: int
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)


@dataclass(frozen=True)
class Photo:
    """A photo of the catalogue.

    Attributes:
        name: Its name, e.g. ``bus``.
        folder: Folder of the images whose main photo it is.
        package: The package to import, e.g. ``skimage``.
        path: Path of the file inside the package.
        size: Width and height, pixels.
        sha256: Of the file.
        boxes: The objects.
    """

    name: str
    folder: str
    package: str
    path: str
    size: tuple[int, int]
    sha256: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Catalog:
    """All photos: those with objects, and the backgrounds, which have none."""

    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    backgrounds: tuple[Photo, ...]


@dataclass(frozen=True)
class Picture:
    """A photo with its pixels: an RGB image."""

    photo: Photo
    image: Image.Image


@dataclass(frozen=True)
class Pictures:
    """The whole catalogue, read."""

    classes: tuple[str, ...]
    photos: tuple[Picture, ...]
    backgrounds: tuple[Picture, ...]


@dataclass(frozen=True)
class Sample:
    """A sample image.

    Attributes:
        path: Relative path of the image, with ``/``.
        image: RGB.
        boxes: The objects, all inside the image.
    """

    path: str
    image: Image.Image
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Summary:
    """What :func:`write_samples` did, as numbers of images."""

    written: int
    kept: int
    removed: int


# The catalogue


def read_catalog(path: Path = CATALOG) -> Catalog:
    """Read ``photos.json``."""
    data = json.loads(path.read_text(encoding="utf-8"))
    classes = tuple(data["classes"])

    def photo(entry: dict[str, Any]) -> Photo:
        return Photo(
            name=entry["name"],
            folder=entry["folder"],
            package=entry["package"],
            path=entry["path"],
            size=(entry["size"][0], entry["size"][1]),
            sha256=entry["sha256"],
            boxes=tuple(Box(classes.index(b["class"]), *b["xyxy"]) for b in entry["boxes"]),
        )

    return Catalog(
        classes,
        tuple(photo(entry) for entry in data["photos"]),
        tuple(photo(entry) for entry in data["backgrounds"]),
    )


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        DemoError: It is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DemoError(
            f"the sample photos of the package {package!r} are not installed for {sys.executable}; "
            f"run: {_INSTALL}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def read_picture(photo: Photo) -> Picture:
    """Read a photo from its package.

    Raises:
        DemoError: The package is not installed, or has another photo there.
    """
    path = package_folder(photo.package) / photo.path
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DemoError(
            f"the package {photo.package!r} has no photo {photo.path} (looked for {path}); "
            f"run: {_INSTALL}"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != photo.sha256:
        raise DemoError(
            f"{path} is not the photo whose boxes photos.json has: SHA-256 {found}, "
            f"expected {photo.sha256}; install the pinned version: {_INSTALL}"
        )
    return Picture(photo, Image.open(io.BytesIO(content)).convert("RGB"))


def read_pictures(catalog: Catalog) -> Pictures:
    """Read all photos of the catalogue.

    Raises:
        DemoError: A package is not installed, or has another photo.
    """
    return Pictures(
        catalog.classes,
        tuple(read_picture(photo) for photo in catalog.photos),
        tuple(read_picture(photo) for photo in catalog.backgrounds),
    )


# Chance


def image_seed(split: str, seed: int, index: int) -> int:
    """Return the seed of one image: a different one for each of all possible arguments.

    Raises:
        DemoError: An argument is out of range.
    """
    if split not in SPLITS:
        raise DemoError(f"unknown split: {split!r}; expected one of {', '.join(SPLITS)}")
    if not 0 <= seed <= MAX_SEED:
        raise DemoError(f"seed out of range: {seed}; expected 0 to {MAX_SEED}")
    if not 0 <= index < MAX_COUNT:
        raise DemoError(f"too many images: index {index}; expected fewer than {MAX_COUNT}")
    return (SPLITS.index(split) * (MAX_SEED + 1) + seed) * MAX_COUNT + index


class Dice:
    """Random numbers that stay the same in all versions of Python and numpy.

    Only what both promise to keep is used: ``random.Random.random`` and a bit generator's raw
    output.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed).random

    def uniform(self, low: float, high: float) -> float:
        """Return a number from ``low`` to ``high``."""
        return low + (high - low) * self._random()

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random() < probability

    def choice(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[int(self._random() * len(items))]

    def noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return roughly normal noise of deviation 1, float32 of this shape."""
        count = math.prod(shape)
        raw = np.random.PCG64(self._seed).random_raw((count + 1) // 2)
        octets = np.asarray(raw, dtype="<u8").view(np.uint8).reshape(-1, 4)[:count]
        total = octets.sum(axis=1, dtype=np.int32).astype(np.float32)
        # A byte has the mean 127.5 and the variance (256² - 1) / 12; four are added here.
        return ((total - 510.0) / math.sqrt(65535 / 3)).reshape(shape)


# Pictures


class Window(NamedTuple):
    """A part of a photo: centre and sides in the photo's pixels, turned by ``angle`` radians."""

    x: float
    y: float
    width: float
    height: float
    angle: float
    flip: bool


def largest_window(size: tuple[int, int], aspect: float, angle: float) -> tuple[float, float]:
    """Return the sides of the largest window of this aspect that fits into a photo.

    Args:
        size: Width and height of the photo, pixels.
        aspect: Width of the window over its height.
        angle: Radians by which the window is turned.
    """
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    width = min(size[0] / (cos + sin / aspect), size[1] / (sin + cos / aspect))
    return width, width / aspect


def draw_window(dice: Dice, photo: Photo, size: tuple[int, int]) -> Window:
    """Draw a window that lies inside the photo, roughly of the aspect of ``size``."""
    angle = dice.uniform(-_MAX_ANGLE, _MAX_ANGLE) if dice.chance(0.5) else 0.0
    aspect = size[0] / size[1] * dice.uniform(0.87, 1.15)
    scale = dice.uniform(0.5, 1.0)
    width, height = (side * scale for side in largest_window(photo.size, aspect, angle))
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    reach_x, reach_y = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
    return Window(
        dice.uniform(reach_x, photo.size[0] - reach_x),
        dice.uniform(reach_y, photo.size[1] - reach_y),
        width,
        height,
        angle,
        dice.chance(0.5),
    )


def to_photo(window: Window, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the matrix ``(a, b, c, d)`` that turns steps in the cut-out into steps in the photo.

    Args:
        window: The part of the photo.
        size: Width and height of the cut-out, pixels.
    """
    cos, sin = math.cos(window.angle), math.sin(window.angle)
    step_x, step_y = window.width / size[0], window.height / size[1]
    if window.flip:
        step_x = -step_x
    return cos * step_x, -sin * step_y, sin * step_x, cos * step_y


def move_box(box: Box, window: Window, size: tuple[int, int]) -> Box:
    """Return where a photo's box lies in the cut-out, not clipped.

    A turned box takes the bounds of its inscribed ellipse: the bounds of its corners would be too
    wide for nearly any object.
    """
    a, b, c, d = to_photo(window, size)
    det = a * d - b * c
    x, y = (box.x0 + box.x1) / 2 - window.x, (box.y0 + box.y1) / 2 - window.y
    centre_x = (d * x - b * y) / det + size[0] / 2
    centre_y = (a * y - c * x) / det + size[1] / 2
    half_x, half_y = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    reach_x = math.hypot(d * half_x, b * half_y) / abs(det)
    reach_y = math.hypot(c * half_x, a * half_y) / abs(det)
    return Box(
        box.cls, centre_x - reach_x, centre_y - reach_y, centre_x + reach_x, centre_y + reach_y
    )


def clip(box: Box, size: tuple[int, int]) -> Box:
    """Return the part of the box that lies inside a picture of this width and height."""
    return Box(
        box.cls,
        min(max(box.x0, 0.0), size[0]),
        min(max(box.y0, 0.0), size[1]),
        min(max(box.x1, 0.0), size[0]),
        min(max(box.y1, 0.0), size[1]),
    )


def visible_boxes(
    boxes: Sequence[Box], window: Window, size: tuple[int, int]
) -> tuple[tuple[Box, ...], bool]:
    """Return the boxes that a cut-out shows, and whether there is no doubt about any.

    Args:
        boxes: The photo's.
        window: The part of the photo.
        size: Width and height of the cut-out, pixels.
    """
    shown = []
    certain = True
    for box in boxes:
        moved = move_box(box, window, size)
        inside = clip(moved, size)
        part = inside.area / moved.area
        if part >= _MIN_VISIBLE:
            shown.append(inside)
            certain &= min(inside.x1 - inside.x0, inside.y1 - inside.y0) >= _MIN_SIDE
        else:
            certain &= part <= _MAX_HIDDEN
    return tuple(shown), certain


def cut(image: Image.Image, window: Window, size: tuple[int, int]) -> Image.Image:
    """Return the part of an RGB image in the window, scaled to ``size`` without aliasing."""
    shrink_x = min(1.0, size[0] / window.width)
    shrink_y = min(1.0, size[1] / window.height)
    small = image.resize(
        (max(1, round(image.width * shrink_x)), max(1, round(image.height * shrink_y))),
        Image.Resampling.LANCZOS,
    )
    scale_x, scale_y = small.width / image.width, small.height / image.height
    a, b, c, d = to_photo(window, size)
    left = window.x - a * size[0] / 2 - b * size[1] / 2
    top = window.y - c * size[0] / 2 - d * size[1] / 2
    return small.transform(
        size,
        Image.Transform.AFFINE,
        (a * scale_x, b * scale_x, left * scale_x, c * scale_y, d * scale_y, top * scale_y),
        Image.Resampling.BICUBIC,
    )


def recolour(dice: Dice, image: Image.Image) -> Image.Image:
    """Change brightness, contrast, saturation and tint of an RGB image."""
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    saturation = 0.0 if dice.chance(0.07) else dice.uniform(0.6, 1.4)
    pixels = grey[..., None] + (pixels - grey[..., None]) * saturation
    tint = np.array([dice.uniform(0.9, 1.1) for _ in range(3)], dtype=np.float32)
    contrast = dice.uniform(0.7, 1.3)
    brightness = dice.uniform(-0.12, 0.12)
    pixels = (pixels * tint - 0.5) * contrast + 0.5 + brightness
    return _to_image(pixels * 255.0)


def degrade(dice: Dice, image: Image.Image) -> Image.Image:
    """Blur an RGB image or make it noisy, at times."""
    if dice.chance(0.25):
        image = image.filter(ImageFilter.GaussianBlur(dice.uniform(0.4, 1.5)))
    if dice.chance(0.3):
        pixels = np.asarray(image, dtype=np.float32)
        image = _to_image(pixels + dice.uniform(3.0, 12.0) * dice.noise(pixels.shape))
    return image


def _to_image(pixels: np.ndarray) -> Image.Image:
    """Return float pixels of 0 to 255, (height, width, 3), as an RGB image."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def draw_cutout(
    dice: Dice, picture: Picture, size: tuple[int, int]
) -> tuple[Image.Image, tuple[Box, ...]]:
    """Return an augmented part of a photo, and what it shows.

    The part is drawn again until it shows an object and there is no doubt about any.
    """
    photo = picture.photo
    window, shown = draw_window(dice, photo, size), ()
    for _ in range(_TRIES):
        window = draw_window(dice, photo, size)
        shown, certain = visible_boxes(photo.boxes, window, size)
        if certain and (shown or not photo.boxes):
            break
    else:
        # So small a cut-out that thin objects can't be had: take as much as there is.
        width, height = largest_window(photo.size, size[0] / size[1], 0.0)
        window = Window(photo.size[0] / 2, photo.size[1] / 2, width, height, 0.0, window.flip)
        shown, _ = visible_boxes(photo.boxes, window, size)
    return recolour(dice, cut(picture.image, window, size)), shown


def shift(boxes: Sequence[Box], x: float, y: float) -> tuple[Box, ...]:
    """Return the boxes moved by ``x`` and ``y`` pixels."""
    return tuple(Box(b.cls, b.x0 + x, b.y0 + y, b.x1 + x, b.y1 + y) for b in boxes)


def make_sample(pictures: Pictures, split: str, seed: int, index: int) -> Sample:
    """Make one image; the same arguments give the same image.

    Most images are a part of one photo; some are collages of two or four, some are a photo that
    lies on a background, and a few are a background without any object.

    Args:
        pictures: The photos.
        split: One of :data:`SPLITS`.
        seed: 0 to :data:`MAX_SEED`.
        index: Number of the image in its split and seed, below :data:`MAX_COUNT`.

    Raises:
        DemoError: An argument is out of range.
    """
    dice = Dice(image_seed(split, seed, index))
    # All photos take turns, so that even few images show all classes.
    main = pictures.photos[index % len(pictures.photos)]
    size = dice.choice(_SIZES)
    kind = dice.uniform(0.0, 1.0)
    if kind < 0.55:
        folder = main.photo.folder
        image, boxes = draw_cutout(dice, main, size)
    elif kind < 0.80:
        folder = "collages"
        image, boxes = _collage(dice, pictures, main, size)
    elif kind < 0.95:
        folder = f"prints/{main.photo.folder}"
        image, boxes = _print(dice, pictures, main, size)
    else:
        folder = "empty"
        image, boxes = draw_cutout(dice, dice.choice(pictures.backgrounds), size)
    return Sample(f"{folder}/{index:05d}.jpg", degrade(dice, image), boxes)


def _collage(
    dice: Dice, pictures: Pictures, main: Picture, size: tuple[int, int]
) -> tuple[Image.Image, tuple[Box, ...]]:
    """Put two or four photos side by side, with their edges at a random place."""
    width, height = size
    x, y = round(width * dice.uniform(0.4, 0.6)), round(height * dice.uniform(0.4, 0.6))
    if dice.chance(0.5):
        tiles = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    elif width >= height:
        tiles = [(0, 0, x, height), (x, 0, width, height)]
    else:
        tiles = [(0, 0, width, y), (0, y, width, height)]
    turn = int(dice.uniform(0, len(tiles)))
    canvas = Image.new("RGB", size)
    boxes: list[Box] = []
    for number, (x0, y0, x1, y1) in enumerate(tiles):
        picture = main if number == turn else dice.choice(pictures.photos)
        tile, shown = draw_cutout(dice, picture, (x1 - x0, y1 - y0))
        canvas.paste(tile, (x0, y0))
        boxes.extend(shift(shown, x0, y0))
    return canvas, tuple(boxes)


def _print(
    dice: Dice, pictures: Pictures, main: Picture, size: tuple[int, int]
) -> tuple[Image.Image, tuple[Box, ...]]:
    """Lay a photo with a white border on a background."""
    canvas, _ = draw_cutout(dice, dice.choice(pictures.backgrounds), size)
    scale = dice.uniform(0.5, 0.8)
    inner = round(size[0] * scale), round(size[1] * scale)
    border = round(dice.uniform(0, 8))
    x = round(dice.uniform(border, size[0] - inner[0] - border))
    y = round(dice.uniform(border, size[1] - inner[1] - border))
    photo, shown = draw_cutout(dice, main, inner)
    paper = Image.new("RGB", (inner[0] + 2 * border, inner[1] + 2 * border), "white")
    paper.paste(photo, (border, border))
    canvas.paste(paper, (x - border, y - border))
    return canvas, shift(shown, x, y)


# Files


def label_text(boxes: Sequence[Box], size: tuple[int, int]) -> str:
    """Return a YOLO label file: a line ``class cx cy width height`` for each box, as fractions."""
    width, height = size
    return "".join(
        f"{b.cls} {(b.x0 + b.x1) / 2 / width:.6f} {(b.y0 + b.y1) / 2 / height:.6f} "
        f"{(b.x1 - b.x0) / width:.6f} {(b.y1 - b.y0) / height:.6f}\n"
        for b in boxes
    )


def jpeg(image: Image.Image) -> bytes:
    """Return the image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def recipe(split: str, seed: int) -> str:
    """Return a fingerprint of all that decides what the images look like."""
    parts = [
        Path(__file__).read_bytes(),
        CATALOG.read_bytes(),
        f"{split} {seed} pillow {PIL.__version__}".encode(),
    ]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def write_samples(out: Path, count: int, seed: int, split: str) -> Summary:
    """Make ``count`` images with labels in ``out``, and leave alone what is there already.

    Images that an earlier run made with other arguments are replaced or removed; no other file is
    touched.

    Raises:
        DemoError: An argument is out of range, or a photo is not there.
        OSError: A file can't be read or written.
    """
    if count < 1:
        raise DemoError(f"number of images: {count}; expected 1 or more")
    image_seed(split, seed, count - 1)
    fingerprint = recipe(split, seed)
    old = _read_state(out)
    good = {
        path: digest
        for path, digest in old["files"].items()
        if digest and old["recipe"] == fingerprint and _digest(out / path) == digest
    }
    made = {index: image for index, image in _by_index(good).items() if index < count}
    if len(made) == count and len(good) == len(old["files"]) == 2 * count:
        return Summary(0, count, 0)
    pictures = read_pictures(read_catalog())
    files = {path: good[path] for image in made.values() for path in (image, _label_path(image))}
    # Whatever happens from here on, the next run knows all files that may be there.
    _remove_temporary(out)
    state = {"recipe": fingerprint, "files": {**dict.fromkeys(old["files"]), **files}}
    for index in range(count):
        if index in made:
            continue
        sample = make_sample(pictures, split, seed, index)
        image = f"images/{sample.path}"
        contents = {
            image: jpeg(sample.image),
            _label_path(image): label_text(sample.boxes, sample.image.size).encode(),
        }
        state["files"].update(dict.fromkeys(contents))
        _write(out / STATE, _dumps(state))
        for path, content in contents.items():
            _write(out / path, content)
            files[path] = state["files"][path] = hashlib.sha256(content).hexdigest()
    gone = [path for path in old["files"] if path not in files]
    for path in gone:
        _remove(out, path)
    _write(out / STATE, _dumps({"recipe": fingerprint, "files": dict(sorted(files.items()))}))
    return Summary(count - len(made), len(made), sum(p.startswith("images/") for p in gone))


def _label_path(image: str) -> str:
    return "labels/" + image.removeprefix("images/").removesuffix(".jpg") + ".txt"


def _by_index(files: dict[str, str]) -> dict[int, str]:
    """Return the images that are there with their label file, by their number."""
    return {
        int(Path(path).stem): path
        for path in files
        if path.startswith("images/") and _label_path(path) in files
    }


def _read_state(out: Path) -> dict[str, Any]:
    """Read what the last run said it made; a damaged file says nothing."""
    try:
        state = json.loads((out / STATE).read_text(encoding="utf-8"))
        files = {
            path: digest
            for path, digest in state["files"].items()
            if _is_ours(path) and isinstance(digest, str | None)
        }
        return {"recipe": state["recipe"], "files": files}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {"recipe": None, "files": {}}


def _is_ours(path: str) -> bool:
    """Tell whether a path of the state is one that a run could have made."""
    parts = path.split("/")
    return (
        len(parts) >= 3
        and ".." not in parts
        and "" not in parts
        and parts[-1][:5].isdecimal()
        and (parts[0], parts[-1][5:]) in {("images", ".jpg"), ("labels", ".txt")}
    )


def _dumps(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then give it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.parent / f"{_TEMP_PREFIX}{secrets.token_hex(4)}"
    try:
        temp.write_bytes(content)
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def _remove_temporary(out: Path) -> None:
    """Remove what a killed run left."""
    for path in out.rglob(f"{_TEMP_PREFIX}*"):
        path.unlink(missing_ok=True)


def _remove(out: Path, path: str) -> None:
    """Remove a file, and its folders as far as they are empty."""
    (out / path).unlink(missing_ok=True)
    for parent in Path(path).parents[:-2]:
        with contextlib.suppress(OSError):
            (out / parent).rmdir()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(
        description="Make sample images with YOLO labels from photos that two packages ship."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--count", type=int, default=DEFAULT_COUNT, help="how many images (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help=f"0 to {MAX_SEED} (default: 0)")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="sample",
        help="for the demo's run, for training, or held out from it (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    done = write_samples(args.out, args.count, args.seed, args.split)
    print(
        f"{args.count} images in {args.out / 'images'}: {done.written} written, "
        f"{done.kept} kept, {done.removed} of an earlier run removed"
    )
    return 0


def run_cli() -> int:
    """Run :func:`main`; an error that the user can mend becomes one line and exit code 2."""
    try:
        return main()
    except DemoError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.strerror or error}: {error.filename}; check the path and the free space"
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(run_cli())
