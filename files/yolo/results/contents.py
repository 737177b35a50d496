"""Where the files of a pass's results stand: what the records that count name, and the containers that none names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from ..share.containers import Stored, list_containers
from ..share.layout import Pass, image_path, label_path
from ..share.records import Entry, Record


def stored_files(entry: Entry, record: Record) -> Iterator[Stored]:
    """Yield an image's files, under the names that they have with the images of this run.

    Args:
        entry: The image.
        record: Its record, a good one.
    """
    places = ((image_path(entry.annotated), record.image_at), (label_path(entry.label), record.label_at))
    for path, place in places:
        if place is not None:
            yield Stored(path, record.container, *place, record.written)


def remove_unused_containers(run_pass: Pass, used: set[str]) -> None:
    """Remove the containers that no record names that counts: of other images or settings under the same run_id.

    Raises:
        OSError: One can't be removed.
    """
    for name in list_containers(run_pass) - used:
        with suppress(FileNotFoundError):
            run_pass.container(name).unlink()
