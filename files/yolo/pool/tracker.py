"""The jobs of one cluster, followed through their event log.

HTCondor appends what happens to a job to a log on the submit host's own disk. Reading it costs nothing, while each
``condor_q`` costs the schedd and this host. So the schedd is asked for what the log does not say, and at long
intervals, because a power cut may have lost the log's end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from . import ads
from .ads import Ad
from .condor import CommandFailed, Condor

SECONDS_BETWEEN_QUERIES = 10.0
"""The schedd is asked no more often."""

SECONDS_TRUSTED = 60.0
"""So long the log alone is believed while jobs run."""

_ENDED = (ads.COMPLETED, ads.REMOVED)

Event = Mapping[str, Any]
"""An event: its ``type`` by name, ``cluster``, ``proc``, ``time`` (epoch seconds), and what HTCondor says in it."""


class EventSource(Protocol):
    """Where new events of a cluster come from."""

    def read(self) -> Iterable[Event]:
        """Return the events since the last call.

        Raises:
            OSError: The log can't be read.
        """
        ...


class EventLog:
    """The event log of a submission, through HTCondor's own reader.

    Args:
        path: The log.

    Raises:
        OSError: There is no such log, or HTCondor's Python package is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import htcondor2
        except ImportError as error:
            raise OSError(f"HTCondor's Python package can't be imported: {error}") from error
        if not path.is_file():
            raise FileNotFoundError(path)
        self._log = htcondor2.JobEventLog(str(path))

    def read(self) -> Iterable[Event]:
        """See :meth:`EventSource.read`."""
        try:
            return [
                {
                    **dict(event),
                    "type": event.type.name,
                    "cluster": event.cluster,
                    "proc": event.proc,
                    "time": event.timestamp,
                }
                for event in self._log.events(stop_after=0)
            ]
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise OSError(f"the event log can't be read: {error}") from error


def apply(event: Event, ad: Ad) -> dict[str, Any]:
    """Return a job's ClassAd after an event."""
    kind, new = event["type"], dict(ad)
    if kind == "EXECUTE":
        new |= {"JobStatus": ads.RUNNING, "LastRemoteHost": event.get("SlotName") or event.get("ExecuteHost", "")}
        new.setdefault("JobStartDate", int(event["time"]))
    elif kind in ("SUBMIT", "JOB_RELEASED", "JOB_EVICTED", "SHADOW_EXCEPTION", "JOB_RECONNECT_FAILED"):
        new["JobStatus"] = ads.IDLE
    elif kind == "JOB_SUSPENDED":
        new["JobStatus"] = ads.SUSPENDED
    elif kind == "JOB_UNSUSPENDED":
        new["JobStatus"] = ads.RUNNING
    elif kind == "JOB_HELD":
        names = ("HoldReason", "HoldReasonCode", "HoldReasonSubCode")
        new |= {"JobStatus": ads.HELD, **{name: event[name] for name in names if name in event}}
    elif kind == "JOB_ABORTED":
        new |= {"JobStatus": ads.REMOVED, "RemoveReason": event.get("Reason", "")}
    elif kind == "JOB_TERMINATED":
        by_signal = not event.get("TerminatedNormally", True)
        end = {"ExitSignal": event.get("TerminatedBySignal")} if by_signal else {"ExitCode": event.get("ReturnValue")}
        new |= {"JobStatus": ads.COMPLETED, "ExitBySignal": by_signal, **end}
    if new.get("JobStatus") != ad.get("JobStatus"):
        new["EnteredCurrentStatus"] = int(event["time"])
    return new


class Tracker:
    """Answers as :class:`Condor` does, mostly from the event log.

    Args:
        condor: Asks HTCondor about the cluster.
        open_log: Opens the event log; tried again until there is one.
        clock: Seconds of a monotonic clock.

    Attributes:
        cluster: ClusterId.
    """

    def __init__(
        self, condor: Condor, open_log: Callable[[], EventSource], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cluster = condor.cluster
        self._condor, self._open_log, self._clock = condor, open_log, clock
        self._log: EventSource | None = None
        self._jobs: dict[int, Ad] = {}
        self._asked = self._history_at = float("-inf")
        self._missed = False
        self._failure: CommandFailed | None = None
        self._slots: list[dict[str, Any]] = []
        self._slots_at = float("-inf")
        self._backups: dict[int, int] = {}
        self._backup_ads: dict[int, Ad] = {}
        self._superseded: set[int] = set()

    def add_backup(self, cluster: int, proc: int) -> None:
        """Follow a cluster of one job that does the same as one of the jobs: where it ends well first, that one has."""
        self._backups[cluster] = proc
        self._supersede(cluster, self._backup_ads.get(cluster, {}))

    def drop_backup(self, cluster: int) -> None:
        """Follow a backup no longer."""
        self._backups.pop(cluster, None)

    def backups(self) -> dict[int, int]:
        """Return the ProcId that each backup is of, by ClusterId."""
        return dict(self._backups)

    def backup_was_first(self, cluster: int) -> bool:
        """Whether a backup ended well before the job that it is of."""
        return _went_well(self._backup_ads.get(cluster, {})) and self._backups[cluster] in self._superseded

    def backup_failed(self, cluster: int) -> bool:
        """Whether a backup will do nothing more, and did not end well."""
        ad = self._backup_ads.get(cluster, {})
        return (_has_ended(ad) or ads.state(ad) == "held") and not _went_well(ad)

    def has_ended(self, proc: int) -> bool:
        """Whether a job has ended."""
        return _has_ended(self._jobs.get(proc, {}))

    def queue(self) -> list[Ad]:
        """Return the jobs in the queue.

        Raises:
            CommandFailed: The schedd did not answer when it was asked the last time.
        """
        logged = self._read_log()
        if self._clock() - self._asked >= (self._patience() if logged else SECONDS_BETWEEN_QUERIES):
            self._ask()
        if self._failure is not None:
            raise self._failure
        return [ad for ad in self._jobs.values() if not _has_ended(ad)]

    def history(self, limit: int) -> list[Ad]:
        """Return at most ``limit`` jobs that left the queue.

        Raises:
            CommandFailed: HTCondor's history can't be read.
        """
        ended = [ad for ad in self._jobs.values() if _has_ended(ad)]
        known = len(ended) == len(self._jobs)
        # What is missing has mostly not been made yet: then the log has all that ended.
        missed = known or self._missed or self._log is None
        if len(ended) < limit and missed and (known or self._clock() - self._history_at >= SECONDS_BETWEEN_QUERIES):
            self._history_at = self._clock()
            self._keep(self._condor.history(limit))
            ended = [ad for ad in self._jobs.values() if _has_ended(ad)]
        return ended

    def is_making(self) -> bool:
        """Whether the schedd will make more of the jobs.

        Raises:
            CommandFailed: The schedd does not answer.
        """
        return self._condor.is_making()

    def slots(self) -> list[dict[str, Any]]:
        """Return all slots of the pool.

        Raises:
            CommandFailed: The central manager does not answer.
        """
        if self._clock() - self._slots_at >= SECONDS_BETWEEN_QUERIES:
            self._slots = self._condor.slots()
            self._slots_at = self._clock()
        return self._slots

    def _patience(self) -> float:
        states = {ads.state(ad) for ad in self._jobs.values()}
        # Only the schedd knows why jobs wait.
        waits = not self._jobs or ("running" not in states and states & {"idle", "held"}) or self._failure
        return SECONDS_BETWEEN_QUERIES if waits else SECONDS_TRUSTED

    def _read_log(self) -> bool:
        try:
            if self._log is None:
                self._log = self._open_log()
            for event in self._log.read():
                if event["proc"] < 0:
                    continue
                if event["cluster"] == self.cluster:
                    self._apply(event)
                else:
                    self._apply_to_backup(event)
        except OSError:
            self._log = None
            return False
        return True

    def _apply(self, event: Event) -> None:
        proc = event["proc"]
        if proc not in self._superseded:
            blank = {"ClusterId": self.cluster, "ProcId": proc, "JobStatus": ads.IDLE}
            self._jobs[proc] = apply(event, self._jobs.get(proc, blank))

    def _apply_to_backup(self, event: Event) -> None:
        # It may have been submitted a moment ago, and not be known yet.
        cluster = event["cluster"]
        ad = self._backup_ads[cluster] = apply(event, self._backup_ads.get(cluster, {"JobStatus": ads.IDLE}))
        self._supersede(cluster, ad)

    def _supersede(self, cluster: int, ad: Ad) -> None:
        """Let the job that a backup is of have ended as that did."""
        proc = self._backups.get(cluster)
        if proc is None or not _went_well(ad) or _has_ended(self._jobs.get(proc, {})):
            return
        self._superseded.add(proc)
        names = ("JobStatus", "ExitCode", "ExitBySignal", "LastRemoteHost", "EnteredCurrentStatus")
        self._jobs[proc] = {**self._jobs.get(proc, {}), **{name: ad[name] for name in names if name in ad}}

    def _ask(self) -> None:
        self._asked = self._clock()
        try:
            queued = self._condor.queue()
        except CommandFailed as error:
            self._failure = error
            return
        self._failure = None
        gone = set(self._jobs) - {ads.number(ad, "ProcId") for ad in queued}
        for proc in gone:
            if not _has_ended(self._jobs[proc]):
                # The log missed its end: the history has it.
                del self._jobs[proc]
                self._missed = True
        self._keep(queued)

    def _keep(self, found: Iterable[Ad]) -> None:
        for ad in found:
            proc = ads.number(ad, "ProcId")
            if proc is not None and proc not in self._superseded:
                self._jobs[proc] = {**self._jobs.get(proc, {}), **ad}


def _has_ended(ad: Ad) -> bool:
    return ads.number(ad, "JobStatus") in _ENDED


def _went_well(ad: Ad) -> bool:
    return ads.number(ad, "JobStatus") == ads.COMPLETED and ads.failed_exit(ad) is None
