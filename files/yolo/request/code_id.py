"""Name a version of this package by its content, so that a run's code never changes under it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..share.layout import ID_LENGTH


def code_id(package: Path | None = None) -> str:
    """Return 16 hex digits over the names and contents of the package's ``*.py`` files.

    Args:
        package: Folder of the package; this one by default.

    Raises:
        OSError: A file can't be read.
    """
    folder = package or Path(__file__).parents[1]
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py")):
        content = (folder / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:ID_LENGTH]
