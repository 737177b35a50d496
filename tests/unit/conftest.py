"""Lets tests import what Ansible would put in its place when it runs a module, and keeps libraries from reporting."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ansible.module_utils
import pytest

# Before a test module imports one of them by itself.
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

ROLES = Path(__file__).resolve().parents[2] / "roles"

# A role's module_utils/x.py is ansible.module_utils.x for the role's modules.
for folder in sorted(ROLES.glob("*/module_utils")):
    ansible.module_utils.__path__.append(str(folder))


@pytest.fixture
def outside_a_pool(monkeypatch):
    """A job that HTCondor tells nothing, and OpenCV's threads as they were."""
    import cv2

    for name in ("_CONDOR_MACHINE_AD", "_CONDOR_SLOT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    threads = cv2.getNumThreads()
    yield
    cv2.setNumThreads(threads)
