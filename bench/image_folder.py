"""A folder of exactly so many images, out of fewer: copies under different names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def find(folder: Path) -> list[Path]:
    """Return the images below a folder, sorted.

    Raises:
        ValueError: There are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f"no images in {folder}; expected files ending in {' '.join(SUFFIXES)}")
    return found


def replicate(source: Path, count: int, target: Path) -> list[Path]:
    """Make a flat folder of ``count`` images by going round and round those of ``source``.

    Hard links where the file system allows them. What else is in the folder is removed.

    Raises:
        ValueError: There are no images to take, or ``count`` is below 1.
        OSError: The folder can't be written.
    """
    if count < 1:
        raise ValueError(f"images: {count}; expected 1 or more")
    images = find(source)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    made = []
    for number in range(count):
        path = images[number % len(images)]
        copy = target / f"image_{number:06d}{path.suffix.lower()}"
        try:
            os.link(path.resolve(), copy)
        except OSError:
            shutil.copyfile(path, copy)
        made.append(copy)
    return made
