"""Remove what jobs wrote for other inputs of the same run; see ``share.outputs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..share import fsio, manifest, outputs
from ..share.journal import read_records
from ..share.layout import Pass, Run
from ..share.records import label_text
from ..share.settings import read_digest
from .tally import is_current


def remove_stale_outputs(run: Run, run_pass: Pass, settings: Mapping[str, Any]) -> None:
    """Remove images and labels of other inputs, if there may be any; write labels whose names changed with the inputs.

    Raises:
        YoloError: The manifest or the settings are damaged.
        OSError: A file can't be read, written or removed.
    """
    if not outputs.is_stale(run_pass, settings):
        return
    digest, images, labels = read_digest(run, run_pass.root.name), [], {}
    entries = [entry for entry in manifest.read(run.manifest) if entry.skip is None]
    for entry, record in zip(entries, read_records(run_pass, (entry.key for entry in entries)), strict=True):
        if record is None or record.error is not None or not is_current(record, entry, digest):
            continue
        labels[entry.label] = entry
        if settings.get("save_images", True):
            images.append(entry.annotated)
    outputs.prune(run_pass.images_dir, images)
    renamed = [labels[label] for label in sorted(outputs.prune(run_pass.labels_dir, labels))]
    for entry, record in zip(renamed, read_records(run_pass, (entry.key for entry in renamed)), strict=True):
        if record is not None:
            fsio.write_text(run_pass.label(entry.label), label_text(record.detections, record.width, record.height))
    outputs.settle(run_pass, settings)
