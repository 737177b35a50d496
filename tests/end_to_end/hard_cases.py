"""Good images under hard names, and files that are no images."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

GOOD = ("a b/same.jpg", "c/same.jpg", "ünï/日本 фото.JPG", '"quoted" $HOME;`x`.jpg', "new\nline.jpg", "-rf.jpg")
BROKEN = {"truncated.jpg": "truncated"}
SKIPPED = {"zero.jpg": "empty", "notes.txt": "text", "noise.jpg": "not an image", "text.png": "text"}


def make_folder(photos: list[Path], out: Path) -> Path:
    """Fill ``out`` with copies of photos under the names of GOOD, and with what BROKEN and SKIPPED name."""
    for name, photo in zip(GOOD, photos, strict=False):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, out / name)
    (out / "truncated.jpg").write_bytes(photos[-1].read_bytes()[:3000])
    (out / "noise.jpg").write_bytes(bytes((i * i * 37 + 11) % 251 for i in range(20000)))
    (out / "text.png").write_text("hello\n")
    (out / "zero.jpg").write_bytes(b"")
    (out / "notes.txt").write_text("These are photos.\n")
    return out


def make_zip(photos: list[Path], out: Path) -> Path:
    """Pack photos, one folder deep."""
    with zipfile.ZipFile(out, "w") as archive:
        for photo in photos:
            archive.write(photo, f"in a zip/{photo.name}")
    return out
