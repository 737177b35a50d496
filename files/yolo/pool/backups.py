"""Backup jobs: a chunk whose job stands still is queued once more for another slot, and the first one counts.

A host that lost its power keeps its job in HTCondor's eyes until keepalive and lease have ended, minutes later, and one
that is merely slow keeps it for good. The backup does what has no record yet, in an attempt of its own; when it has
ended well the first job is removed, and the other way round. Source of the idea: Dean, Ghemawat: MapReduce, OSDI 2004,
section 3.6.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ..share import fsio
from ..share.layout import Pass, chunk_name
from . import ads
from .ads import Ad
from .condor import CommandFailed, Runner, condor_submit, run_command
from .status import Status, human_line
from .submit import BACKUP
from .tracker import Tracker

STILL_SECONDS = 15.0
"""A job stands still when it has finished no image for so long, or for the time of :data:`STILL_IMAGES` images.

Twice as long where other jobs wait: no slot is idle for it then.
"""

STILL_IMAGES = 4

SILENT_SECONDS = 10.0
"""When nothing has moved for so long, the line says what is waited for in place of a time that is left."""

_PRIORITY = 5

MOST = 2
"""Backups of a chunk, at most."""

SECONDS_BETWEEN_LOOKS = 3.0


@dataclass(slots=True)
class _Seen:
    """What a running job showed last.

    Attributes:
        shown: Its host and its heartbeat.
        since: When that was new, by the monotonic clock.
    """

    shown: tuple[str, bytes]
    since: float


class Backups:
    """Watches the running jobs of a submission, and has backups for those that stand still.

    Args:
        run_pass: The pass.
        submission: Its submission, whose submit file is there.
        tracker: Follows its jobs; is told of the backups.
        tell: Takes a text that stays.
        run: Runs HTCondor's commands.
        clock: Seconds of a monotonic clock.

    Raises:
        OSError: The share can't be read.
    """

    def __init__(
        self,
        run_pass: Pass,
        submission: str,
        tracker: Tracker,
        tell: Callable[[str], None],
        run: Runner = run_command,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pass, self._submission, self._tracker = run_pass, submission, tracker
        self._tell, self._run, self._clock = tell, run, clock
        self._seen: dict[int, _Seen] = {}
        self._look_at = float("-inf")
        self._made = dict[int, int]()
        self._note = run_pass.submission_dir(submission) / "backups.json"
        with suppress(FileNotFoundError, ValueError):
            # Of a wait that was cut off.
            for cluster, proc in fsio.read_json(self._note).items():
                self._take(int(cluster), int(proc))

    def _take(self, cluster: int, proc: int) -> None:
        self._tracker.add_backup(cluster, proc)
        self._made[proc] = self._made.get(proc, 0) + 1

    def update(self, status: Status) -> Status:
        """Look at the jobs; return the status with a line that says what is waited for where nothing moves."""
        now = self._clock()
        try:
            queued = self._tracker.queue()
        except CommandFailed:
            return status
        if now >= self._look_at:
            self._look_at = now + SECONDS_BETWEEN_LOOKS
            self._look(queued, now)
            self._settle()
            self._start(queued, status, now)
        silent = [now - seen.since for seen in self._seen.values()]
        if status.state != "waiting" or not silent or min(silent) < SILENT_SECONDS:
            return status
        hosts = sorted({_machine(seen.shown[0]) for seen in self._seen.values()})
        status = replace(status, eta_seconds=None)
        line = f"{human_line(status)}  waiting for {', '.join(hosts[:3])}{', ...' if len(hosts) > 3 else ''}"
        return replace(status, line=f"{line}, no image for {min(silent):.0f} s")

    def close(self) -> None:
        """Remove what is left of chunks that are done: first jobs whose backup was first, and backups."""
        self._settle()
        for cluster in self._tracker.backups():
            self._remove(str(cluster))

    def _look(self, queued: Sequence[Ad], now: float) -> None:
        running = {int(ad["ProcId"]): ad for ad in queued if ads.state(ad) == "running"}
        for proc in set(self._seen) - set(running):
            del self._seen[proc]
        for proc, ad in running.items():
            shown = ads.text(ad, "LastRemoteHost"), self._heartbeat(proc)
            if proc not in self._seen or self._seen[proc].shown != shown:
                self._seen[proc] = _Seen(shown, now)

    def _heartbeat(self, proc: int) -> bytes:
        try:
            return self._pass.progress(self._submission, chunk_name(proc)).read_bytes()
        except OSError:
            return b""

    def _start(self, queued: Sequence[Ad], status: Status, now: float) -> None:
        limit = STILL_SECONDS
        if status.rate:
            limit = max(limit, STILL_IMAGES * max(status.running, 1) / status.rate)
        # What waits in the queue takes a free slot by itself. The backup goes ahead of it: the chunk of a lost host is
        # one of the first, so the largest, and would be the last to be done.
        waits = any(ads.state(ad) == "idle" for ad in queued)
        if waits:
            limit *= 2
        active = set(self._tracker.backups().values())
        for proc, seen in self._seen.items():
            if now - seen.since < limit or proc in active or self._made.get(proc, 0) >= MOST:
                continue
            host = _machine(seen.shown[0])
            if waits or self._is_slot_free(host):
                self._submit(proc, host, now - seen.since)

    def _is_slot_free(self, other_than: str) -> bool:
        try:
            slots = self._tracker.slots()
        except CommandFailed:
            return False
        return any(_machine(ads.text(slot, "Machine")) != other_than and _is_free(slot) for slot in slots)

    def _submit(self, proc: int, host: str, still: float) -> None:
        folder, name = self._pass.submission_dir(self._submission), f"backup-{proc}-{self._made.get(proc, 0) + 1}"
        queue = folder / f"{name}.txt"
        text = (folder / "detect.sub").read_text()
        chunk = self._pass.queue(self._submission).read_text().splitlines()[proc]
        fsio.write_text(queue, f"{chunk}\n")
        text = re.sub(
            r"^chunks = .*$",
            lambda _: f"chunks = {queue}\npriority = {_PRIORITY}\n+{BACKUP} = True",
            text,
            count=1,
            flags=re.M,
        )
        # Of one job.
        text = re.sub(r"^max_idle = .*\n", "", text, flags=re.M)
        fsio.write_text(folder / f"{name}.sub", text)
        self._made[proc] = self._made.get(proc, 0) + 1
        try:
            cluster = condor_submit(folder / f"{name}.sub", self._run)
        except (CommandFailed, ValueError):
            return
        self._tracker.add_backup(cluster, proc)
        fsio.write_json(self._note, {str(number): of for number, of in self._tracker.backups().items()})
        self._tell(
            f"{host} has finished no image for {still:.0f} s: what is missing of its chunk is done on another host as "
            "well. What to do: nothing for this run; is the host up?"
        )

    def _settle(self) -> None:
        """Remove the slower one of a job and its backup once the other has ended well, and backups that failed."""
        for cluster, proc in self._tracker.backups().items():
            if self._tracker.backup_was_first(cluster):
                self._remove(f"{self._tracker.cluster}.{proc}")
            elif self._tracker.has_ended(proc) or self._tracker.backup_failed(cluster):
                self._remove(str(cluster))
            else:
                continue
            self._tracker.drop_backup(cluster)

    def _remove(self, job: str) -> None:
        # It is gone already, or the schedd is: the next run of the same name removes it.
        with suppress(CommandFailed):
            self._run(["condor_rm", job])


def _machine(name: str) -> str:
    """Return the short name of the host in a slot's or a machine's name."""
    return name.rpartition("@")[2].split(".")[0]


def _is_free(slot: Ad) -> bool:
    if slot.get("PartitionableSlot") is True:
        return (ads.number(slot, "Cpus") or 0) > 0 and ads.text(slot, "State") == "Unclaimed"
    # Kept for the next job.
    return ads.text(slot, "Activity") == "Idle"
