"""Fetch a file: from the web, going on where an earlier try stopped; from S3; or from a folder."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..share.errors import YoloError, one_line
from ..share.fsio import atomic_file, write_text

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here, and all that are to come or None."""

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60
_PARTIAL = 206


def fetch_file(source: str, path: Path, wanted: str | None, origin: str, progress: Progress | None = None) -> str:
    """Fetch a file; it appears whole and with the right checksum, or not at all.

    Args:
        source: http(s)://... or s3://... of the file, or its path or that of the folder that it is in.
        path: The file to make.
        wanted: Its SHA-256, in hex; None if that is not known.
        origin: Where ``wanted`` is from.
        progress: Is told how far it is.

    Returns:
        Its SHA-256, in hex.

    Raises:
        YoloError: It can't be fetched, or is not the one that is wanted.
        OSError: It can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if "://" in source and not source.startswith("s3://"):
        _from_web(source, part, path.name, progress or (lambda here, total: None))
    elif source.startswith("s3://"):
        _from_s3(source, part, path.name)
    else:
        _from_folder(source, part, path.name)
    with open(part, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if wanted and found != wanted:
        _forget(part)
        raise YoloError(
            "the weights have the wrong checksum",
            f"{source}: SHA-256 {found}",
            f"{wanted}, {origin}",
            "don't use them unless you know why the release changed",
        )
    # Copied, so that the name comes with a flushed file.
    with atomic_file(path, fsync=True) as out, open(part, "rb") as file:
        shutil.copyfileobj(file, out, _BLOCK)
    _forget(part)
    return found


def _from_web(url: str, part: Path, name: str, progress: Progress) -> None:
    remedy = _remedy(name)
    tag = _tag(part)
    try:
        request = urllib.request.Request(url)
        mark = tag.read_text("utf-8") if tag.is_file() and part.is_file() else ""
        if mark:
            # If it is another file meanwhile, the server sends all of it.
            request.add_header("Range", f"bytes={part.stat().st_size}-")
            request.add_header("If-Range", mark)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as reply:
            goes_on = reply.status == _PARTIAL
            found = reply.headers.get("ETag") or ""
            if not goes_on:
                _forget(part)
            if found and not found.startswith("W/"):
                write_text(tag, found)
            with open(part, "ab") as file:
                _receive(reply, file, url, progress, remedy)
    except urllib.error.HTTPError as error:
        _forget(part)
        raise YoloError(f"can't fetch the weights (HTTP {error.code} {error.reason})", url, remedy=remedy) from None
    except urllib.error.URLError as error:
        raise YoloError(f"can't fetch the weights ({error.reason})", url, remedy=remedy) from None
    except (http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError) as error:
        reason = str(error) or type(error).__name__
        raise YoloError(f"can't fetch the weights ({reason})", url, remedy=f"run again, or {remedy}") from None
    except ValueError as error:
        raise YoloError(f"not a URL ({error})", url, "https://...", remedy) from None
    finally:
        # Where nothing names the file's version, the rest could be of another one.
        if sys.exc_info()[0] is not None and not tag.is_file():
            _forget(part)


def _receive(reply: http.client.HTTPResponse, file: BinaryIO, url: str, progress: Progress, remedy: str) -> None:
    size = file.tell()
    length = reply.headers.get("Content-Length")
    total = size + int(length) if length is not None else None
    while block := reply.read(_BLOCK):
        file.write(block)
        size += len(block)
        progress(size, total)
    if total is not None and size != total:
        raise YoloError(
            "the weights arrived incomplete", f"{url}: {size} bytes", f"{total} bytes", f"run again, or {remedy}"
        )


def _from_s3(source: str, part: Path, name: str) -> None:
    # The AWS client stands beside ansible-playbook, whose Python runs this.
    beside = Path(sys.executable).with_name("aws")
    command = [str(beside) if beside.exists() else "aws", "s3", "cp", "--only-show-errors", source, str(part)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise YoloError("can't fetch the weights: no AWS client", one_line(error), remedy=_remedy(name)) from None
    if done.returncode:
        _forget(part)
        reason = one_line(" ".join(done.stderr.split()))[-300:]
        raise YoloError(f"can't fetch the weights ({reason})", source, remedy=_remedy(name))


def _from_folder(source: str, part: Path, name: str) -> None:
    path = Path(os.path.expanduser(source))
    found = path / name if path.is_dir() else path
    if not found.is_file():
        raise YoloError(
            "no such weights", found, f"https://..., s3://..., or a folder with {name}", f"check weights_url={source}"
        )
    shutil.copyfile(found, part)


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def _remedy(name: str) -> str:
    return f"fetch it by hand and give its path: -e weights=/path/to/{name}"
