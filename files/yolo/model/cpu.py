"""What the processor of this host is and can do."""

from __future__ import annotations

import re
from pathlib import Path


def read_cpuinfo(field: str) -> str:
    """Return a field of the first processor in /proc/cpuinfo; empty if the system does not say."""
    try:
        match = re.search(rf"^{field}\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return match[1].strip() if match else ""


def cpu_model() -> str:
    """Name of the processor; empty if the system does not say."""
    return read_cpuinfo("model name")


def cpu_flags() -> frozenset[str]:
    """Instruction flags of the processor."""
    return frozenset(read_cpuinfo("flags").split())
