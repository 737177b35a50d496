"""Where photos and weights are that tests take from beside the project, and that most machines do not have."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TEST_DATA") or PROJECT.parent / "shared")
