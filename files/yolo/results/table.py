"""``metrics.csv``: a line for each file of the manifest. No cell is a formula to a spreadsheet."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..share.errors import YoloError
from ..share.records import STAGES, Entry, Record
from .latency import total_ms

COLUMNS = (
    "path",
    "status",
    "width",
    "height",
    "detections",
    *(f"{stage}_ms" for stage in STAGES),
    "total_ms",
    "host",
    "slot",
    "job",
    "error",
    "warning",
)
"""Names of the columns, the first line of the table."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def neutral(cell: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe before what would begin one.

    Source: OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def plain(cell: str) -> str:
    """Return the text that :func:`neutral` made a cell of."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell


def row(entry: Entry, record: Record | None, status: str, reason: str | None = None) -> list[object]:
    """Return the cells of a file.

    Args:
        entry: The file.
        record: What became of it; None where there is no record.
        status: ``ok``, ``failed``, ``skipped`` or ``missing``.
        reason: Why there is no record, if that is known and the file was not skipped.
    """
    if record is None:
        return [entry.path, status, *[""] * (len(COLUMNS) - 4), entry.skip or reason or "", ""]
    times = [record.times.get(f"{stage}_ms", "") for stage in STAGES]
    size = [record.width, record.height] if record.width else ["", ""]
    total = total_ms(record.times) if record.times else ""
    found = [len(record.detections), *times, total, record.host, record.slot, record.job, record.error or ""]
    return [entry.path, status, *size, *found, record.warning or ""]


def writer(file: BinaryIO) -> Callable[[Iterable[object]], None]:
    """Return a function that writes a row to ``file``, after it wrote the names of the columns."""
    buffer = io.StringIO(newline="")
    lines = csv.writer(buffer)

    def write(cells: Iterable[object]) -> None:
        lines.writerow([neutral(cell) if isinstance(cell, str) else cell for cell in cells])
        # A name that is not UTF-8 goes out as the bytes it came as.
        file.write(buffer.getvalue().encode("utf-8", "surrogateescape"))
        buffer.seek(0)
        buffer.truncate()

    write(COLUMNS)
    return write


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the images that are ok.

    Raises:
        YoloError: It is no such table.
        OSError: It can't be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            for cells in csv.DictReader(file):
                if cells["status"] == "ok":
                    yield cells
    except (KeyError, csv.Error) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> YoloError:
    return YoloError(
        f"the table of images is damaged or of an older version ({type(error).__name__}: {error})",
        path,
        remedy="run the same run_id again, which merges and pulls it anew",
    )


def read_milliseconds(path: Path) -> tuple[array[float], array[float]]:
    """Return the milliseconds of all stages and of ``infer`` of each image in a table that is ok.

    Raises:
        YoloError: It is no such table.
        OSError: It can't be read.
    """
    total, infer = array("d"), array("d")
    try:
        for cells in _rows(path):
            if cells["total_ms"]:
                total.append(float(cells["total_ms"]))
                infer.append(float(cells["infer_ms"] or 0))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    return total, infer


def read_sizes(path: Path) -> dict[str, tuple[int, int]]:
    """Return width and height in pixels of each image in a table that is ok, by its relative path.

    Raises:
        YoloError: It is no such table.
        OSError: It can't be read.
    """
    try:
        return {plain(row["path"]): (int(row["width"]), int(row["height"])) for row in _rows(path)}
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
