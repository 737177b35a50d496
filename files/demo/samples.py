"""Makes sample images with YOLO labels out of the photos that two Python packages ship.

``photos.json`` names the photos (inside the wheels of ultralytics and scikit-image) and the boxes
drawn on them by hand. Every image made here is one, two or four crops of those photos: moved,
scaled, flipped, turned a little, re-lit, blurred, with noise, over a background.

The image is a function of three numbers and nothing else: split, seed and index. They are put
together to one integer (`image_seed`), each split in a range of its own, so no image of one split
can share its random numbers with an image of another one.

Needs numpy and Pillow. The photo packages are located but never imported, so their own
dependencies may be absent.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from PIL import __version__ as pillow_version

PHOTOS_FILE = Path(__file__).with_name("photos.json")
INSTALL = "pip install --no-deps -r files/demo/requirements.txt"

# A split's range of random seeds is [number * 2**40, (number + 1) * 2**40).
SPLITS = {"train": 0, "val": 1, "sample": 2}
MAX_SEED = 2**20
MAX_COUNT = 2**20

# Width and height in pixels; 640x480 comes most often.
SIZES = ((640, 480), (640, 480), (640, 480), (640, 427), (480, 640), (600, 600), (720, 540))

# A box is wanted either nearly whole or not at all: between these shares of its area it is neither
# a fair object to ask for nor a fair background, so such a crop is drawn again.
HIDDEN, VISIBLE = 0.02, 0.4
# Shortest side in pixels of an object that can be told at all; below SMALLEST it gets no label.
SHORTEST, SMALLEST = 14.0, 8.0
TRIES = 30

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, continuous coordinates."""


class SampleError(Exception):
    """Something the user can put right; the message says how."""


@dataclass(frozen=True)
class Photo:
    """One labelled photo, cut to its window.

    Attributes:
        scene: Name of the folder for images made of this photo.
        image: RGB image.
        boxes: Pairs of class index and box, in pixels of `image`. Empty for a background.
    """

    scene: str
    image: Image.Image
    boxes: tuple[tuple[int, Box], ...]


@dataclass(frozen=True)
class Sample:
    """One image made from photos.

    Attributes:
        folder: Folder below images/ and labels/, such as ``street/close``.
        image: RGB image.
        boxes: Pairs of class index and box in pixels, inside the image.
    """

    folder: str
    image: Image.Image
    boxes: tuple[tuple[int, Box], ...]


@dataclass(frozen=True)
class Affine:
    """Scale, mirror and turn about a point: photo pixels to canvas pixels.

    Attributes:
        scale: Canvas pixels per photo pixel.
        angle: Radians, clockwise on the screen.
        flip: Mirror left and right before turning.
        source: Point of the photo that comes to `target`.
        target: Point of the canvas.
    """

    scale: float
    angle: float
    flip: bool
    source: tuple[float, float]
    target: tuple[float, float]

    def matrix(self) -> tuple[float, float, float, float]:
        """The 2x2 matrix, row by row, from photo offsets to canvas offsets."""
        cos, sin = self.scale * math.cos(self.angle), self.scale * math.sin(self.angle)
        sign = -1.0 if self.flip else 1.0
        return cos * sign, -sin, sin * sign, cos

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the photo lies on the canvas."""
        a, b, c, d = self.matrix()
        dx, dy = x - self.source[0], y - self.source[1]
        return a * dx + b * dy + self.target[0], c * dx + d * dy + self.target[1]

    def hull(self, box: Box) -> Box:
        """The upright box around a turned one."""
        corners = [self.point(x, y) for x in (box[0], box[2]) for y in (box[1], box[3])]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)


# --- photos ---------------------------------------------------------------------------------------


def package_root(package: str, folder: str) -> Path:
    """Finds the directory that holds a package's import folder, without importing it.

    Args:
        package: Name on the package index, for the message, such as ``scikit-image``.
        folder: Name of its import folder, such as ``skimage``.

    Returns:
        The directory (site-packages) that `folder` lies in.

    Raises:
        SampleError: The package is not installed.
    """
    spec = importlib.util.find_spec(folder)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise SampleError(
            f"The Python package {package!r}, whose sample photos are needed, is not installed for "
            f"{sys.executable}. Install it with: {INSTALL}"
        )
    return Path(places[0]).parent


def read_catalogue(path: Path = PHOTOS_FILE) -> dict:
    """Reads photos.json.

    Returns:
        The decoded file: ``classes`` (list of names) and ``photos`` (list of objects).
    """
    return json.loads(path.read_text(encoding="utf-8"))


def load_photos(catalogue: dict, locate: Callable[[str, str], Path] = package_root) -> tuple[Photo, ...]:
    """Opens all photos of a catalogue and checks that they are the labelled ones.

    Args:
        catalogue: What `read_catalogue` returns.
        locate: Function from package and import folder to the directory that holds it.

    Returns:
        The photos in the catalogue's order, cut to their windows.

    Raises:
        SampleError: A package or photo is missing, or the photo is not the one that was labelled.
    """
    photos = []
    for entry in catalogue["photos"]:
        package, inside = entry["package"], entry["path"]
        file = locate(package, inside.split("/")[0]) / inside
        try:
            data = file.read_bytes()
        except OSError as error:
            raise SampleError(
                f"The installed {package!r} has no photo {inside} ({error.strerror}). "
                f"Install the pinned version with: {INSTALL}"
            ) from error
        found = hashlib.sha256(data).hexdigest()
        if found != entry["sha256"]:
            raise SampleError(
                f"{inside} of the installed {package!r} is not the photo that was labelled: its "
                f"sha256 is {found}, expected {entry['sha256']}. "
                f"Install the pinned version with: {INSTALL}"
            )
        left, top, right, bottom = entry["window"]
        boxes = []
        for item in entry["boxes"]:
            x0, y0, x1, y1 = item["box"]
            box = (float(x0 - left), float(y0 - top), float(x1 - left), float(y1 - top))
            boxes.append((catalogue["classes"].index(item["name"]), box))
        with Image.open(io.BytesIO(data)) as image:
            cut = image.convert("RGB").crop((left, top, right, bottom))
        photos.append(Photo(entry["scene"], cut, tuple(boxes)))
    return tuple(photos)


# --- geometry -------------------------------------------------------------------------------------


def clip(box: Box, frame: Box) -> tuple[Box, float]:
    """Cuts a box to a frame.

    Returns:
        The part inside (zero-sized at the border when nothing is) and its share of the area, 0..1.
    """
    x0, x1 = (min(max(v, frame[0]), frame[2]) for v in (box[0], box[2]))
    y0, y1 = (min(max(v, frame[1]), frame[3]) for v in (box[1], box[3]))
    area = (box[2] - box[0]) * (box[3] - box[1])
    return (x0, y0, x1, y1), (x1 - x0) * (y1 - y0) / area if area > 0 else 0.0


def place_boxes(boxes: Sequence[tuple[int, Box]], affine: Affine, frame: Box) -> tuple[list[tuple[int, Box]], bool]:
    """Moves a photo's boxes to the canvas.

    Args:
        boxes: Pairs of class and box, photo pixels.
        affine: From photo to canvas.
        frame: The part of the canvas that shows the photo.

    Returns:
        The labels in the frame, and whether all of them are fair: each object nearly whole or gone,
        none too small to tell, and at least one there.
    """
    kept, fair = [], True
    for index, box in boxes:
        inside, share = clip(affine.hull(box), frame)
        shortest = min(inside[2] - inside[0], inside[3] - inside[1])
        if share > HIDDEN and (share < VISIBLE or shortest < SHORTEST):
            fair = False
        if share >= VISIBLE and shortest >= SMALLEST:
            kept.append((index, inside))
    return kept, fair and bool(kept)


def draw_affine(rng: np.random.Generator, photo: Photo, cell: Box) -> tuple[Affine, str]:
    """Draws a crop of a photo: the whole of it, or one of its objects and what is around.

    Returns:
        The mapping from photo to canvas, and ``wide`` or ``close``.
    """
    width, height = photo.image.size
    close = bool(photo.boxes) and rng.random() < 0.4
    if close:
        focus = photo.boxes[int(rng.integers(len(photo.boxes)))][1]
        fill = rng.uniform(0.35, 0.95)
    else:
        focus = (0.0, 0.0, float(width), float(height))
        fill = rng.uniform(0.7, 1.5)
    cell_width, cell_height = cell[2] - cell[0], cell[3] - cell[1]
    fit = min(cell_width / (focus[2] - focus[0]), cell_height / (focus[3] - focus[1]))
    affine = Affine(
        scale=float(np.clip(fill * fit, 0.15, 2.5)),
        angle=math.radians(rng.uniform(-5.0, 5.0)) if rng.random() < 0.6 else 0.0,
        flip=bool(rng.random() < 0.5),
        source=((focus[0] + focus[2]) / 2, (focus[1] + focus[3]) / 2),
        target=(
            (cell[0] + cell[2]) / 2 + rng.uniform(-0.2, 0.2) * cell_width,
            (cell[1] + cell[3]) / 2 + rng.uniform(-0.2, 0.2) * cell_height,
        ),
    )
    return affine, "close" if close else "wide"


def split_cells(rng: np.random.Generator, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Cuts the canvas into one, two or four cells (left, top, right, bottom)."""
    width, height = size
    x = round(width * rng.uniform(0.4, 0.6))
    y = round(height * rng.uniform(0.4, 0.6))
    kind = rng.random()
    if kind < 0.66:
        return [(0, 0, width, height)]
    if kind < 0.82:
        if width >= height:
            return [(0, 0, x, height), (x, 0, width, height)]
        return [(0, 0, width, y), (0, y, width, height)]
    return [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]


# --- pixels ---------------------------------------------------------------------------------------


def paste(canvas: Image.Image, photo: Image.Image, affine: Affine) -> None:
    """Draws a photo on the canvas; what it does not cover stays as it is."""
    scale, (sx, sy) = affine.scale, affine.source
    if scale < 1.0:  # shrink with a proper filter first: an affine map alone would alias
        width = max(1, round(photo.width * scale))
        height = max(1, round(photo.height * scale))
        sx, sy = sx * width / photo.width, sy * height / photo.height
        photo, scale = photo.resize((width, height), Image.Resampling.LANCZOS), 1.0
    a, b, c, d = Affine(scale, affine.angle, affine.flip, (0, 0), (0, 0)).matrix()
    det = a * d - b * c
    ia, ib, ic, id_ = d / det, -b / det, -c / det, a / det
    tx, ty = affine.target
    back = (ia, ib, sx - ia * tx - ib * ty, ic, id_, sy - ic * tx - id_ * ty)
    how = {"method": Image.Transform.AFFINE, "data": back}
    drawn = photo.transform(canvas.size, resample=Image.Resampling.BICUBIC, **how)
    mask = Image.new("L", photo.size, 255).transform(canvas.size, **how)
    canvas.paste(drawn, (0, 0), mask)


def draw_background(
    rng: np.random.Generator, size: tuple[int, int], photo: Photo, textures: Sequence[Photo]
) -> Image.Image:
    """Makes what is seen beside a photo: a texture, a colour, or the photo itself out of focus."""
    kind = rng.random()
    if kind < 0.4 and textures:
        texture = textures[int(rng.integers(len(textures)))].image
        zoom = rng.uniform(0.4, 1.0)
        width, height = (max(8, int(side * zoom)) for side in texture.size)
        x = int(rng.integers(texture.width - width + 1))
        y = int(rng.integers(texture.height - height + 1))
        cut = texture.crop((x, y, x + width, y + height)).resize(size, Image.Resampling.BILINEAR)
        tint = tuple(int(v) for v in rng.integers(60, 256, 3))
        return Image.blend(cut, Image.new("RGB", size, tint), rng.uniform(0.0, 0.4))
    if kind < 0.65:
        return Image.new("RGB", size, tuple(int(v) for v in rng.integers(0, 256, 3)))
    small = photo.image.resize((24, 24), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(3))
    return small.resize(size, Image.Resampling.BICUBIC)


def relight(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Changes brightness, contrast and colour at random."""
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.65, 1.35))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.3))
    return ImageEnhance.Color(image).enhance(0.0 if rng.random() < 0.1 else rng.uniform(0.6, 1.4))


def degrade(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Adds blur to some images and sensor noise to some."""
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    if rng.random() < 0.3:
        pixels = np.asarray(image, dtype=np.float32)
        grain = rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(2.0, 12.0)
        image = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
    return image


# --- samples --------------------------------------------------------------------------------------


def image_seed(split: str, seed: int, index: int) -> int:
    """The one integer that an image is made of.

    Each split has a range of its own, and in it each seed: two images have equal numbers only if
    split, seed and index are all equal.

    Raises:
        SampleError: An argument is out of its range.
    """
    if split not in SPLITS:
        raise SampleError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
    if not 0 <= seed < MAX_SEED:
        raise SampleError(f"seed is {seed}; expected 0 to {MAX_SEED - 1}.")
    if not 0 <= index < MAX_COUNT:
        raise SampleError(f"the image's number is {index}; expected 0 to {MAX_COUNT - 1}.")
    return (SPLITS[split] * MAX_SEED + seed) * MAX_COUNT + index


def make_sample(photos: Sequence[Photo], split: str, seed: int, index: int) -> Sample:
    """Makes one image with its boxes.

    Args:
        photos: Labelled photos and backgrounds (photos without boxes), at least one labelled.
        split: ``train``, ``val`` or ``sample``.
        seed: Number of the set.
        index: Number of the image in the set.
    """
    rng = np.random.default_rng(image_seed(split, seed, index))
    objects = [photo for photo in photos if photo.boxes]
    textures = [photo for photo in photos if not photo.boxes]
    size = SIZES[int(rng.integers(len(SIZES)))]
    canvas = Image.new("RGB", size)
    if textures and rng.random() < 0.04:  # nothing to find: that has to be learnt, too
        canvas.paste(draw_background(rng, size, textures[0], textures))
        return Sample(textures[0].scene, degrade(rng, relight(rng, canvas)), ())
    boxes: list[tuple[int, Box]] = []
    cells = split_cells(rng, size)
    for cell in cells:
        photo = objects[int(rng.integers(len(objects)))]
        cell_size = (cell[2] - cell[0], cell[3] - cell[1])
        frame = (0.0, 0.0, float(cell_size[0]), float(cell_size[1]))
        for _ in range(TRIES):
            affine, folder = draw_affine(rng, photo, frame)
            placed, fair = place_boxes(photo.boxes, affine, frame)
            if fair:
                break
        else:  # no luck: the whole photo, upright
            width, height = photo.image.size
            scale = min(cell_size[0] / width, cell_size[1] / height)
            middle = (cell_size[0] / 2, cell_size[1] / 2)
            affine, folder = Affine(scale, 0.0, False, (width / 2, height / 2), middle), "wide"
            placed, _ = place_boxes(photo.boxes, affine, frame)
        part = draw_background(rng, cell_size, photo, textures)
        paste(part, photo.image, affine)
        canvas.paste(relight(rng, part), cell[:2])
        x, y = cell[:2]
        boxes += [(k, (b[0] + x, b[1] + y, b[2] + x, b[3] + y)) for k, b in placed]
    name = f"{photo.scene}/{folder}" if len(cells) == 1 else f"collage/{len(cells)} parts"
    return Sample(name, degrade(rng, canvas), tuple(boxes))


def yolo_lines(boxes: Sequence[tuple[int, Box]], size: tuple[int, int]) -> str:
    """Writes boxes as YOLO label lines: class, centre x and y, width, height as shares of the size.

    Args:
        boxes: Pairs of class and box in pixels.
        size: Width and height in pixels.
    """
    width, height = size
    lines = []
    for index, (x0, y0, x1, y1) in boxes:
        cx, cy = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
        lines.append(f"{index} {cx:.6f} {cy:.6f} {(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}")
    return "".join(line + "\n" for line in lines)


def encode(image: Image.Image) -> bytes:
    """Encodes an image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


# --- files ----------------------------------------------------------------------------------------


def write_if_other(path: Path, data: bytes) -> bool:
    """Writes a file under a temporary name and renames it, unless it has these bytes already.

    Returns:
        Whether it was written.
    """
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def recipe(split: str, seed: int) -> str:
    """Fingerprint of all that a set depends on: this file, labels, versions and numbers."""
    parts = [
        Path(__file__).read_bytes(),
        PHOTOS_FILE.read_bytes(),
        f"{np.__version__} {pillow_version} {split} {seed}".encode(),
    ]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def read_listing(path: Path) -> tuple[str, list[str]]:
    """Reads the recipe of an earlier run and the images that it made, in order."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        names = [str(name) for name in known["images"] if ".." not in Path(name).parts]
        return str(known["recipe"]), names
    except (OSError, ValueError, KeyError, TypeError):
        return "", []  # a list that is not there or cannot be read is made again


def write_set(out: Path, count: int, seed: int, split: str, photos: Callable[[], Sequence[Photo]]) -> int:
    """Writes a set of images to ``out/images`` and its labels to ``out/labels``.

    A list of what was made stays beside them as ``out/<split>-<seed>.json``. With that list valid,
    files that are there are neither made nor opened again. What the list names and the set
    no longer has (a smaller count, another version of this file) is removed.

    Args:
        out: Directory, made if need be.
        count: Number of images.
        seed: Number of the set.
        split: ``train``, ``val`` or ``sample``.
        photos: Gives the photos; called only when there is something to make.

    Returns:
        The number of images and labels written.

    Raises:
        SampleError: An argument is out of range, or photos are missing.
    """
    if count < 1:
        raise SampleError(f"count is {count}; expected 1 or more.")
    image_seed(split, seed, count - 1)
    listing = out / f"{split}-{seed}.json"
    fingerprint = recipe(split, seed)
    made_by, listed = read_listing(listing)
    names = listed[:count] if made_by == fingerprint else []
    written = 0
    source: Sequence[Photo] | None = None
    for index in range(count):
        if index < len(names):
            label = (out / "labels" / names[index]).with_suffix(".txt")
            if (out / "images" / names[index]).is_file() and label.is_file():
                continue
        if source is None:
            source = photos()
        sample = make_sample(source, split, seed, index)
        relative = f"{sample.folder}/{split}-{seed}-{index:05d}.jpg"
        names[index : index + 1] = [relative]
        text = yolo_lines(sample.boxes, sample.image.size)
        # The label first: an image that is there has its label.
        label = (out / "labels" / relative).with_suffix(".txt")
        written += write_if_other(label, text.encode())
        written += write_if_other(out / "images" / relative, encode(sample.image))
    for relative in set(listed) - set(names):
        (out / "images" / relative).unlink(missing_ok=True)
        (out / "labels" / relative).with_suffix(".txt").unlink(missing_ok=True)
    body = {"recipe": fingerprint, "split": split, "seed": seed, "images": names}
    write_if_other(listing, (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode())
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit code: 0, or 2 after an error that is told on stderr."""
    parser = argparse.ArgumentParser(description="Makes sample images with YOLO labels.")
    parser.add_argument("--out", type=Path, required=True, help="directory to write to")
    parser.add_argument("--count", type=int, required=True, help="number of images")
    parser.add_argument("--seed", type=int, default=0, help="number of the set (default 0)")
    parser.add_argument(
        "--split",
        choices=sorted(SPLITS),
        default="sample",
        help="which range of random numbers; no two share an image (default sample)",
    )
    args = parser.parse_args(argv)
    try:
        written = write_set(args.out, args.count, args.seed, args.split, lambda: load_photos(read_catalogue()))
    except (SampleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.count} images in {args.out / 'images'} ({written} files written)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
