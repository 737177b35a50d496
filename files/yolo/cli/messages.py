"""What commands say to whoever runs them, one JSON object a line: progress, notices, and at the end the result."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..share.errors import YoloError
from ..share.fsio import dumps


def say(**message: Any) -> None:
    """Print a message at once: ``line`` (how far it is), ``notice`` (a text that stays) or ``result``."""
    print(dumps(message), flush=True)


def read_input(source: str) -> dict[str, Any]:
    """Return a JSON object from a file, or from standard input where ``source`` is ``-``.

    Raises:
        YoloError: It is none.
        OSError: It can't be read.
    """
    text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise YoloError(f"can't read the command's input ({error})", text[:80], "a JSON object") from None
    if not isinstance(value, dict):
        raise YoloError("can't read the command's input", text[:80], "a JSON object")
    return value
