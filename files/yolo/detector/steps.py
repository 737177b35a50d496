"""The steps of one image: read, find, finish (draw and encode), write. Each fills in the image's record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import cv2
import numpy as np

from ..share import contents
from ..share.attempt import Attempt
from ..share.errors import BadImage, YoloError, one_line
from ..share.layout import image_path, label_path
from ..share.records import Entry, Record, label_text
from ..vision import draw, nms
from ..vision.container import count_pixels
from ..vision.decode import decode_photo, read_file
from .detector import Detector, to_detections
from .settings import Settings
from .threads import Budget


@dataclass(slots=True)
class Item:
    """One image on its way through the job.

    Attributes:
        entry: The image.
        record: Filled in by the steps; once it has an error, the steps that are left do nothing.
        image: uint8 (height, width, 3), BGR, once it is read.
        found: Its detections, once they are known.
        pixels: What it holds of the :class:`Budget`.
    """

    entry: Entry
    record: Record
    image: np.ndarray | None = None
    found: nms.Detections | None = None
    pixels: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be written for one image.

    Attributes:
        entry: The image.
        record: Its record, complete but for ``write_ms``.
        image: Annotated image, encoded; None if there is none.
        label: Content of the label file; None if the image failed.
    """

    entry: Entry
    record: Record
    image: bytes | None = None
    label: str | None = None


def read(item: Item, settings: Settings, budget: Budget | None = None, needed: tuple[int, int] | None = None) -> None:
    """Read and decode an image.

    Args:
        item: The image.
        settings: Of the run.
        budget: Decoding waits until it has room for the image's pixels.
        needed: (height, width) of the network's input where a photo is decoded no larger than that needs, see
            ``decode_photo``.
    """
    data = b""
    with _step(item, "read"):
        data = read_file(settings.input_dir / item.entry.path)
        item.record = replace(item.record, content=check_content(data, item.entry))
    if item.record.error is not None:
        return
    if budget is not None:
        item.pixels = budget.acquire(count_pixels(data))
    waited = item.record.times["read_ms"]
    photo = None
    with _step(item, "read"):
        photo = decode_photo(data, needed=needed)
    if photo is not None:
        item.image = photo.image
        times = item.record.times
        item.record = replace(
            item.record,
            width=photo.size[0],
            height=photo.size[1],
            warning=photo.warning,
            times=times | {"read_ms": round(times["read_ms"] + waited, 3)},
        )
    else:
        item.record = replace(item.record, times={})


def check_content(data: bytes, entry: Entry) -> str:
    """Return the digest of an image's bytes.

    Raises:
        BadImage: They are not what was listed: the file was changed while it was sent.
    """
    found = contents.digest(data)
    if entry.content is not None and found != entry.content:
        raise BadImage(
            "changed: the copy on the share is not the file that was listed; run the same run_id again, "
            "with checksum=yes if it happens again"
        )
    return found


def find(item: Item, detector: Detector) -> None:
    """Find the objects of an image that was read."""
    if item.image is None:
        return
    with _step(item, "infer"):
        item.found = detector.detect(item.image)


def finish(item: Item, names: Sequence[str], settings: Settings) -> Output:
    """Draw and encode an image; return what to write for it, a failure if it cannot be used."""
    encoded = None
    if item.image is not None and item.found is not None and settings.save_images:
        with _step(item, "draw"):
            copy, boxes = draw.shrink(item.image, item.found.boxes, settings.annotated_size)
            draw.draw(copy, boxes, item.found.scores, item.found.classes, names)
            encoded = draw.encode(copy, PurePosixPath(item.entry.annotated).suffix)
    shown = (item.image.shape[1], item.image.shape[0]) if item.image is not None else (0, 0)
    item.image = None
    record, found = item.record, item.found
    if record.error is not None or found is None:
        return Output(item.entry, replace(record, width=0, height=0))
    record = replace(record, detections=to_detections(_to_original(found, shown, (record.width, record.height))))
    return Output(item.entry, record, encoded, label_text(record.detections, record.width, record.height))


def _to_original(found: nms.Detections, shown: tuple[int, int], size: tuple[int, int]) -> nms.Detections:
    """Carry boxes from a picture that was scaled down to the original; sizes are width, height."""
    if shown == size:
        return found
    scale = np.array([size[0] / shown[0], size[1] / shown[1]] * 2, np.float32)
    return replace(found, boxes=found.boxes * scale)


def write_output(attempt: Attempt, output: Output) -> Record:
    """Hand an image's results to the attempt, and the record that names them; return that.

    Raises:
        OSError: The share does not take it: full, gone, not permitted.
    """
    entry, record = output.entry, output.record
    start = time.perf_counter()
    if output.label is not None:
        files = [(label_path(entry.label), output.label.encode())]
        if output.image is not None:
            files.append((image_path(entry.annotated), output.image))
        written = int(time.time())
        label_at, *image_at = attempt.store(files, written)
        image = image_at[0] if image_at else None
        record = replace(record, container=attempt.container, image_at=image, label_at=label_at, written=written)
    took = time.perf_counter() - start + attempt.take_flush_seconds()
    record = replace(record, times=record.times | {"write_ms": round(took * 1000, 3)})
    attempt.add(record)
    return record


@contextlib.contextmanager
def _step(item: Item, name: str) -> Iterator[None]:
    """Time a step of an image, and turn what fails that image alone into its reason."""
    start = time.perf_counter()
    reason = None
    try:
        yield
    except YoloError as error:
        # The image, its file type, or the engine on this image. An engine that fails on all images makes as many
        # named failures.
        reason = str(error)
    except MemoryError:
        reason = "too large: not enough memory in this slot"
    except cv2.error as error:
        reason = f"OpenCV failed: {one_line(' '.join(str(error).split()))[:200]}"
    if reason is not None:
        item.image = None
        item.record = replace(item.record, error=reason)
    else:
        took = round((time.perf_counter() - start) * 1000, 3)
        item.record = replace(item.record, times=item.record.times | {f"{name}_ms": took})
