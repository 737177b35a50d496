"""Fonts that labels are written in, whatever the machine has."""

from collections.abc import Sequence

import pytest
from yolo.vision import letters


def use_fonts(monkeypatch: pytest.MonkeyPatch, paths: Sequence[str]) -> None:
    """Let labels be written in the first font that is there."""
    monkeypatch.setattr(letters, "FONTS", tuple(paths))
    for kept in (letters.printable, letters._path, letters._font):
        kept.cache_clear()
