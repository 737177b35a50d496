"""Plan a pass: which images still need work, and which job does which of them.

An image is done when its record is good and belongs to that very file (its content, or where that
is not known its size and date) and to the run's settings. The rest is cut into chunks, one job each. Runs on the submit
host as the job user.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex

from ..share import fsio
from ..share.chunks import write_chunks
from ..share.done import Done, read_done
from ..share.errors import YoloError
from ..share.journal import journals
from ..share.layout import Pass, Run, chunk_name, submission_name
from ..share.records import JSON_STRING, fingerprint, is_same_file
from ..share.settings import check_manifest, read_digest, read_settings
from .throughput import DEFAULT, Throughput, recall

STARTS_HIDDEN = 3
"""A chunk's work lasts at least so many starts of a job.

With chunks that get half as large from batch to batch a slot starts about log2(images / smallest)
jobs, and at the end half of the slots' last chunks, on average, is waiting for the slowest. The sum
of both is least where the last chunk lasts 2 / ln 2 = 2.9 starts.
"""

FIRST_SHARE = 3
"""A chunk is at most this part of a slot's fair share: a slot of a third of the others' speed is in time."""

LONGEST_SECONDS = 300.0
"""A chunk's work lasts at most about this long: so long does a host that leaves the pool wait for its job."""

_TODO, _DONE, _FAILED, _SKIPPED = range(4)


@dataclass(frozen=True, slots=True)
class Submission:
    """A pass over the images that need work.

    Attributes:
        submission: Name, ``s001``; None when there is nothing to do or nothing was written.
        chunks: Number of chunks.
        images: Images in them.
        done_before: Images that had a good result already.
        failed_before: Images that failed before and are tried again.
        skipped: Files that can't be images.
        queue: Path of the queue file; None as ``submission``.
        throughput: How fast a slot is expected to work, from which the sizes of the chunks follow.
    """

    submission: str | None
    chunks: int
    images: int
    done_before: int
    failed_before: int
    skipped: int
    queue: str | None = None
    throughput: Throughput = DEFAULT


def chunk_sizes(images: int, slots: int, throughput: Throughput = DEFAULT, chunk_size: int | None = None) -> list[int]:
    """Return the sizes of the chunks in the order in which they are to start, the largest first.

    Factoring (Hummel, Schonberg, Flynn: Factoring: A Method for Scheduling Parallel Loops, CACM
    35(8), 1992, doi:10.1145/135226.135232): in batches, each slot gets a chunk of half of its part
    of what is left. Large chunks hide the start of their jobs, small ones at the end let the
    others even out what a slow or lost host did not do. Different from it are a smallest size, so
    that no job mostly starts, and a largest one.

    When there is too little work for two batches of the smallest size, each slot gets one chunk:
    slots start at the same time, so that one more always pays.

    Args:
        images: Images to do.
        slots: Slots of the pool.
        throughput: How fast a slot works.
        chunk_size: Images a chunk, at most, if the user wants a limit.

    Raises:
        YoloError: ``slots`` or ``chunk_size`` is below 1.
    """
    if slots < 1:
        raise YoloError("no slots to plan for", slots, "a number above 0", "see condor_status")
    if chunk_size is None:
        chunk_size = max(images, 1)
    if chunk_size < 1:
        raise YoloError("bad chunk size", chunk_size, "a number above 0")
    smallest = min(
        max(math.ceil(STARTS_HIDDEN * throughput.start_seconds * throughput.images_per_second), 1), chunk_size
    )
    largest = min(
        math.ceil(images / (FIRST_SHARE * slots)), int(LONGEST_SECONDS * throughput.images_per_second), chunk_size
    )
    largest = max(largest, smallest)
    sizes: list[int] = []
    left = images
    while left:
        size = min(-(-left // (2 * slots)), largest)
        if size <= smallest:
            return sizes + _even(left, _last_chunks(left, slots, smallest, chunk_size, first=not sizes))
        batch = [size] * min(slots, left // size)
        sizes += batch
        left -= sum(batch)
    return sizes


def _last_chunks(left: int, slots: int, smallest: int, limit: int, first: bool) -> int:
    """Return how many chunks to cut the last images into: whole batches."""
    batches = max(left // (slots * smallest), 1)
    if first and batches == 1 and left >= slots * smallest:
        # In a single batch nobody could take anything over from a slow slot.
        batches = 2
    return max(min(batches * slots, left), -(-left // limit))


def _even(images: int, count: int) -> list[int]:
    size, larger = divmod(images, count)
    return [size + 1] * larger + [size] * (count - larger)


def _read_lines(manifest: Path) -> Iterator[bytes]:
    with open(manifest, "rb") as file:
        yield from file


def classify(manifest: Path, done: Done) -> bytearray:
    """Return the state of each line of the manifest, one byte a line.

    Raises:
        YoloError: A line is not a manifest entry.
    """
    states = bytearray()
    for line in _read_lines(manifest):
        try:
            key, wanted, skipped = parse_line(line)
        except (ValueError, TypeError, KeyError) as error:
            raise YoloError(
                f"not a manifest entry ({error})",
                f"{manifest} line {len(states) + 1}",
                remedy="remove that file and run again: the manifest is made anew",
            ) from None
        if skipped:
            states.append(_SKIPPED)
        elif is_same_file(done.good.get(key), wanted):
            states.append(_DONE)
        elif is_same_file(done.failed.get(key), wanted):
            states.append(_FAILED)
        else:
            states.append(_TODO)
    return states


_LINE = re.compile(
    rb'\{"index":\d+,"key":"([0-9a-f]{16})","path":%b,"label":%b,'
    rb'"size":(\d+),"mtime_ns":(-?\d+),"skip":(?:null|(%b)),"content":(?:null|"([0-9a-f]{32})"),'
    rb'"image":(?:null|%b)\}\n' % (JSON_STRING, JSON_STRING, JSON_STRING, JSON_STRING)
)


def parse_line(line: bytes) -> tuple[bytes, int, bool]:
    """Return the key, the fingerprint (``records.fingerprint``) and whether to skip it, of a manifest's line.

    Raises:
        ValueError, TypeError, KeyError: It is not a manifest entry.
    """
    # Three times as fast as JSON, for lines as this package writes them.
    if match := _LINE.fullmatch(line):
        key, size, mtime_ns, skip, content = match.groups()
        found = content.decode("ascii") if content is not None else None
        mark = fingerprint(int(size), int(mtime_ns), found)
        return bytes.fromhex(key.decode("ascii")), mark, skip is not None
    entry = json.loads(line)
    mark = fingerprint(int(entry["size"]), int(entry["mtime_ns"]), entry.get("content"))
    return bytes.fromhex(entry["key"]), mark, entry["skip"] is not None


def plan_submission(
    run: Run,
    pass_name: str,
    slots: int,
    chunk_size: int | None = None,
    single_chunk: bool = False,
    dry_run: bool = False,
) -> Submission:
    """Write the next submission of a pass, unless nothing is left to do.

    Args:
        run: The run; its manifest and settings must be there.
        pass_name: One of ``layout.PASSES``.
        slots: Slots of the pool.
        chunk_size: Images a chunk, at most; None for no such limit.
        single_chunk: Put all images into one chunk.
        dry_run: Write nothing; the submission gets no name. Settings may be missing: all is to do then.

    Raises:
        YoloError: The manifest or the settings are damaged, or an argument is out of range.
        OSError: A file can't be read or written.
    """
    run_pass = run.get_pass(pass_name)
    fresh = dry_run and not run.settings.exists()
    if not dry_run:
        check_manifest(run)
    states = classify(
        run.manifest, Done({}, {}) if fresh else read_done(run_pass, journals(run_pass), read_digest(run, pass_name))
    )
    images = states.count(_TODO) + states.count(_FAILED)
    throughput = DEFAULT if fresh else recall(run, read_settings(run, pass_name))
    sizes = chunk_sizes(images, slots, throughput, chunk_size)
    if single_chunk and sizes:
        sizes = [images]
    done, failed, skipped = (states.count(state) for state in (_DONE, _FAILED, _SKIPPED))
    if not sizes or dry_run:
        return Submission(None, len(sizes), images, done, failed, skipped, throughput=throughput)
    for folder in (run_pass.progress_dir, run_pass.logs_dir, run_pass.records_dir, run_pass.chunks):
        folder.mkdir(parents=True, exist_ok=True)
    temp = run_pass.chunks / f"{fsio.TEMP_PREFIX}{token_hex(6)}"
    temp.mkdir()
    try:
        lines = zip(_read_lines(run.manifest), states, strict=True)
        write_chunks(temp, (line for line, state in lines if state in (_TODO, _FAILED)), sizes)
        number = _last_submission(run_pass) + 1
        while True:
            name = submission_name(number)
            queue = run_pass.queue(name)
            submission = Submission(name, len(sizes), images, done, failed, skipped, str(queue), throughput)
            # No fsync and no renames here: the folder as a whole takes its name at the end.
            (temp / queue.name).write_text("".join(f"{chunk_name(i)}\n" for i in range(len(sizes))))
            (temp / run_pass.submission_summary(name).name).write_text(fsio.dumps(asdict(submission)) + "\n")
            try:
                temp.rename(run_pass.submission_dir(name))
            except OSError:
                # Another submission was planned meanwhile: a folder that is not empty can't be replaced.
                if not run_pass.submission_dir(name).exists():
                    raise
                number += 1
            else:
                return submission
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise


def _last_submission(run_pass: Pass) -> int:
    numbers = (re.fullmatch(r"s(\d{3,})", name) for name in os.listdir(run_pass.chunks))
    return max((int(match[1]) for match in numbers if match), default=0)


def last_submission(run_pass: Pass) -> str | None:
    """Return the name of a pass's newest submission, or None if it has none."""
    try:
        number = _last_submission(run_pass)
    except FileNotFoundError:
        return None
    return submission_name(number) if number else None
