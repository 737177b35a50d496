"""Tell what a user names as images: one path, several with commas, a pattern, a list in a text file, or none."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..share.errors import YoloError

_PATTERN = re.compile(r"[*?\[]")
_VIDEOS = frozenset((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".gifv", ".3gp"))
_MAX_LIST_BYTES = 1 << 30

EXPECTED = "a folder, an image, a zip or a tar; several with commas, a pattern, or a .txt with a path in each line"


def refuse_others(text: str) -> None:
    """Refuse what can't be images, with what to do.

    Raises:
        YoloError: It is a URL, a video or a PDF.
    """
    refuse_url(text)
    suffix = os.path.splitext(text)[1].lower()
    if suffix in _VIDEOS:
        raise YoloError(
            "a video is not an image", text, EXPECTED, _command("ffmpeg -i VIDEO -vf fps=1 FOLDER/%06d.jpg")
        )
    if suffix == ".pdf":
        raise YoloError("a PDF is not an image", text, EXPECTED, _command("pdftoppm -jpeg -r 150 PDF FOLDER/page"))


def refuse_url(text: str) -> None:
    """Refuse a URL; to be called before the text is made a path.

    Raises:
        YoloError: It is one.
    """
    if re.match(r"(https?|ftp|rtsp)://", text, re.IGNORECASE):
        raise YoloError("a URL is not fetched", text, EXPECTED, "download it first, or put it into a bucket: s3://...")


def _command(text: str) -> str:
    return f"take its images out first: {text}"


def several(text: str) -> list[Path] | None:
    """Return the files and folders that a text names, each once; None if it is one path.

    Args:
        text: An absolute path, or several with commas, each of which may be a pattern as of a shell; ``**`` stands for
            folders in folders. A ``.txt`` lists paths, relative to its folder; lines that begin with ``#`` and empty
            ones do not count.

    Raises:
        YoloError: One of them is not there, or a pattern fits nothing.
        OSError: The list can't be read.
    """
    path = Path(text)
    if path.suffix.lower() == ".txt" and path.is_file():
        return _there(_listed(path), f"listed in {path}")
    if os.path.lexists(text) or not ("," in text or _PATTERN.search(text)):
        return None
    named = (part.strip() for part in text.split(","))
    return _there((path for part in named if part for path in _matched(part)), f"of {text}")


def _listed(file: Path) -> Iterator[Path]:
    if file.stat().st_size > _MAX_LIST_BYTES:
        raise YoloError("the list of images is too large", file, f"at most {_MAX_LIST_BYTES >> 20} MiB")
    for line in file.read_bytes().splitlines():
        name = os.fsdecode(line.strip())
        if name and not name.startswith("#"):
            yield Path(os.path.normpath(os.path.join(file.parent, os.path.expanduser(name))))


def _matched(part: str) -> list[Path]:
    if os.path.lexists(part) or not _PATTERN.search(part):
        return [Path(os.path.normpath(part))]
    found = sorted(glob.glob(part, recursive=True))
    if not found:
        raise YoloError("no file fits the pattern", part, EXPECTED, "check the pattern given as images=")
    return [Path(os.path.normpath(path)) for path in found]


def _there(paths: Iterable[Path], where: str) -> list[Path]:
    found = list(dict.fromkeys(paths))
    absent = [path for path in found if not path.exists()]
    if absent:
        more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise YoloError("no such images", f"{absent[0]}{more}, {where}", EXPECTED, "check the paths given as images=")
    if not found:
        raise YoloError("no images are named", where.removeprefix("listed in "), EXPECTED)
    return found
