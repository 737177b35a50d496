"""Lay out what a run needs beside its images as it will stand on the share, so that one rsync sends all of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def lay_out(parcel: Path, share: Path, files: Mapping[Path, Path], folders: Iterable[Path]) -> None:
    """Make a tree of links to files of this host.

    Args:
        parcel: Folder that stands for the share; made here.
        share: The share's path on the hosts.
        files: By the path that a file gets on the share, the file on this host.
        folders: Paths of folders on the share, which stay empty.

    Raises:
        OSError: A file can't be written.
        ValueError: A path is not on the share.
    """
    for folder in folders:
        (parcel / folder.relative_to(share)).mkdir(parents=True)
    for path, here in files.items():
        link = parcel / path.relative_to(share)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.abspath(here))
