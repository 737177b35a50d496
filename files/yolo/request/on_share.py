"""Images in a folder that lies on the share already: which folder is meant, and its list, made where the disk is.

The central manager lists the folder as the user that jobs run as, so that what jobs may not read is known before there
is one. The list comes to the control node; the images go nowhere.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..share.errors import YoloError, one_line
from ..share.layout import Share
from . import listing
from .known_files import TICK_NS, Index

PREFIX = "share:"
EXPECTED = f"{PREFIX}FOLDER, one folder that lies on the share"

_CHECK = "check the path given as images="


def is_on_share(images: str) -> bool:
    """Whether the input ``images`` names a folder on the share."""
    return images.startswith(PREFIX)


def refuse_mixed(images: str) -> None:
    """Refuse a folder on the share among other sources.

    Raises:
        YoloError: There are several sources.
    """
    parts = [part.strip() for part in images.split(",")]
    if len(parts) > 1 and any(map(is_on_share, parts)):
        raise YoloError(
            "a folder on the share can't be one of several sources",
            images,
            f"{EXPECTED}, without a comma",
            "make one run of each, or put all images into one folder of the share",
        )


def folder_of(images: str, share: str) -> str:
    """Return the absolute path, without ``..``, of the folder that ``share:FOLDER`` means.

    Args:
        images: The input. The folder is absolute, or relative to the share.
        share: Path of the share.

    Raises:
        YoloError: It is outside the share, or among what runs write there.
    """
    folder = os.path.normpath(os.path.join(share, images.removeprefix(PREFIX)))
    _check_place(folder, os.path.normpath(share), folder)
    return folder


def _check_place(folder: str, share: str, named: str) -> None:
    leads = f"{named}, which leads to {folder}" if folder != named else folder
    expected = f"a folder below {share}, such as {PREFIX}photos/holiday"
    if folder == share:
        raise YoloError("images is the share itself, which holds other things too", leads, expected, _CHECK)
    if os.path.commonpath([folder, share]) != share:
        raise YoloError(
            "the folder of images lies outside the share",
            leads,
            expected,
            "a folder of the control node is given without share:",
        )
    own = Share(Path(share))
    # A run that goes on or is done again replaces and removes files there, maybe those that it would read.
    for place in (own.run("x").root.parent, own.weights("x").root.parent, own.code("x").parent):
        if Path(folder).is_relative_to(place):
            raise YoloError(
                f"runs write to {place}, it is no place for images",
                leads,
                expected,
                "copy the images to another folder",
            )


def list_folder(folder: str, share: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """List a folder of the share, on the host whose disk it is.

    Args:
        folder: See :func:`folder_of`.
        share: Path of the share.
        before: What this returned the last time, or empty. Files that were not changed since are not read again.

    Returns:
        ``root`` (path of the folder on all hosts, without links), ``user`` (who listed it), ``listed_ns``, ``ignored``
        and ``files`` (see ``listing.to_rows``).

    Raises:
        YoloError: It is no folder, can't be read, or leads out of the share.
        OSError: The share can't be read.
    """
    here = os.path.realpath(share)
    user = pwd.getpwuid(os.geteuid()).pw_name
    try:
        real = os.path.realpath(folder, strict=True)
    except PermissionError:
        raise _unreadable(folder, user) from None
    except OSError as error:
        raise YoloError(
            f"no such folder on the share ({error.strerror})", folder, EXPECTED, f"{_CHECK}: it is meant from {share}"
        ) from None
    _check_place(real, here, folder)
    if not os.path.isdir(real):
        raise YoloError("images is a file on the share", folder, EXPECTED, "give the folder that holds it")
    if os.stat(real).st_dev != os.stat(here).st_dev:
        raise YoloError(
            "another file system is mounted there, which execute hosts don't see",
            folder,
            f"a folder on the file system of {share} itself",
            "copy the images there",
        )
    if not os.access(real, os.R_OK | os.X_OK):
        raise _unreadable(folder, user)
    found = listing.build(real, _known(before))
    return {
        "root": os.path.join(share, os.path.relpath(real, here)),
        "user": user,
        "listed_ns": time.time_ns(),
        "ignored": found.ignored,
        "files": listing.to_rows(found),
    }


def _known(before: Mapping[str, Any]) -> Index:
    try:
        sure = before["listed_ns"] - TICK_NS
        index = listing.from_rows(before["files"], 0).index
        return {name: file for name, file in index.items() if file.ctime_ns < sure}
    except (KeyError, TypeError, ValueError):
        # None yet, or of another version of this package: files are read again then.
        return {}


def unreadable(listed: Mapping[str, Any]) -> str | None:
    """Say which files and folders jobs can't read, and what to do; None if there are none."""
    denied = os.strerror(errno.EACCES)
    names = [row[0] for row in listed["files"] if str(row[3]).endswith(f"can't be read: {denied}")]
    if not names:
        return None
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    return one_line(
        f"{listed['user']}, the user that jobs run as, can't read {shown}; to include them, `{_grant(listed['root'])}` "
        "on the central manager"
    )


def _grant(folder: str) -> str:
    return f"chmod -R a+rX {shlex.quote(folder)}"


def _unreadable(folder: str, user: str) -> YoloError:
    return YoloError(
        f"{user}, the user that jobs run as, can't read the folder of images",
        folder,
        "a folder that it may list, below folders that it may enter",
        f"`{_grant(folder)}` on the central manager, and a+x for the folders above it",
    )
