"""Name a version of this package by its content, so that a run's code never changes under it, and pack it for hosts."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from ..share import fsio
from ..share.layout import ID_LENGTH

PACKAGE = Path(__file__).parents[1]
"""Folder of this package."""


def code_files(package: Path = PACKAGE) -> list[str]:
    """Return the ``*.py`` files of a package, sorted, relative to its folder."""
    return sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))


def code_id(package: Path = PACKAGE) -> str:
    """Return 16 hex digits over the names and contents of the package's ``*.py`` files.

    Args:
        package: Folder of the package.

    Raises:
        OSError: A file can't be read.
    """
    digest = hashlib.sha256()
    for name in code_files(package):
        content = (package / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:ID_LENGTH]


def pack_code(path: Path, package: Path = PACKAGE) -> None:
    """Write a package into one file that Python imports from, the same bytes for the same code.

    Over NFS a start costs some calls for each module that is a file of its own.

    Args:
        path: The zip.
        package: Folder of the package.

    Raises:
        OSError: A file can't be read or written.
    """
    # Not compressed: Python reads it at every start.
    with fsio.atomic_file(path, keep_equal=True) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in code_files(package):
            archive.writestr(zipfile.ZipInfo(f"{package.name}/{name}"), (package / name).read_bytes())
