"""Take the images of a chunk through their steps, several images at a time.

One thread reads ahead, one infers, one draws and writes: over NFS reading and creating files is waiting, not work.
After a crash the job takes one image at a time, to find out which one causes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .crash_notes import MAX_CRASHES, CrashNotes
from .detector import Detector
from .settings import Settings
from .steps import Item, Output, find, finish, read
from .threads import AHEAD, Budget, Reader, Writer


@dataclass(frozen=True, slots=True)
class Steps:
    """What the steps of every image need.

    Attributes:
        settings: Of the run.
        detector: What finds the objects.
        names: Class names.
        notes: Where images in work are noted.
    """

    settings: Settings
    detector: Detector
    names: Sequence[str]
    notes: CrashNotes

    def read(self, item: Item, budget: Budget | None = None) -> None:
        """Note that an image is in work, then read it; fail it if it crashed earlier attempts."""
        if self.notes.begin(item.entry.key):
            read(item, self.settings, budget, self.detector.size if self.settings.decode == "fast" else None)
        else:
            reason = f"crashed the detector {MAX_CRASHES} times: the process died while this file was in work"
            item.record = replace(item.record, error=reason)

    def finish(self, item: Item) -> Output:
        """Draw and encode an image; only writing is left."""
        output = finish(item, self.names, self.settings)
        self.notes.end(item.entry.key)
        return output


def run_pipeline(
    items: Sequence[Item], steps: Steps, write: Callable[[Output], None], stopped: Callable[[], bool]
) -> None:
    """Take all images through their steps; begin no more once ``stopped``.

    Args:
        items: The images.
        steps: What to do with each.
        write: Takes each result, in a thread of its own.
        stopped: Asked before an image is inferred.

    Raises:
        Exception: What a step or ``write`` raised.
    """
    if steps.notes.crashed:
        with Writer(write) as writer:
            for item in items:
                if stopped():
                    return
                steps.read(item)
                find(item, steps.detector)
                writer.put(steps.finish(item))
        return

    budget = Budget()

    def end(item: Item) -> None:
        try:
            output = steps.finish(item)
        finally:
            budget.release(item.pixels)
        write(output)

    with Writer(end, AHEAD) as writer, Reader(lambda item: steps.read(item, budget), items, budget) as reader:
        writer.on_error = budget.open
        for item in reader:
            if stopped():
                return
            find(item, steps.detector)
            writer.put(item)
