"""Where a job runs: host, slot and processors, as HTCondor or the system tells."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .settings import Settings


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the job runs.

    Attributes:
        host: Name of the execute host.
        name: Name of the slot, e.g. "slot1_1"; empty outside HTCondor.
        cpus: CPUs that the job may use.
    """

    host: str
    name: str
    cpus: int


def find_slot(environ: Mapping[str, str]) -> Slot:
    """Find out where the job runs from what HTCondor tells it, else from the system."""
    ad: dict[str, str] = {}
    with contextlib.suppress(KeyError, OSError):
        text = Path(environ["_CONDOR_MACHINE_AD"]).read_text(encoding="utf-8", errors="replace")
        ad = dict(re.findall(r'^(\w+) = "?(.*?)"?$', text, re.MULTILINE))
    cpus = ad.get("Cpus", "")
    return Slot(
        host=ad.get("Machine") or socket.gethostname(),
        name=environ.get("_CONDOR_SLOT") or ad.get("Name", "").partition("@")[0],
        cpus=int(cpus) if cpus.isdecimal() and int(cpus) else len(os.sched_getaffinity(0)),
    )


def choose_threads(wanted: int, settings: Settings, slot: Slot, environ: Mapping[str, str]) -> int:
    """Return the number of threads: ``wanted``, else what is set for the run, else the slot's cpus.

    HTCondor puts the slot's cpus into OMP_NUM_THREADS, which an administrator may change.
    """
    omp = environ.get("OMP_NUM_THREADS", "")
    return wanted or settings.threads or (int(omp) if omp.isdecimal() else 0) or slot.cpus
