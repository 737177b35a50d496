"""Tell from a file's first bytes what it is.

Suffixes lie: what is saved from the web as ``x.jpg`` may be an error page, and a link of that name may lead to a
private key. The control node looks before it sends, the job before it decodes. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HEAD_BYTES = 4096
"""So many of a file's first bytes are enough for the functions here."""

# What OpenCV may decode beside the formats that have a name here, whatever the suffix says: JPEG 2000,
# Radiance, PNM and AVIF, depending on its build.
_OTHER_IMAGES = re.compile(rb"\0\0\0\x0cjP|\xff\x4f\xff\x51|#\?R|P[1-7]\s|.{4}ftypavi[fs]", re.DOTALL)
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})


def _is_bmp(data: bytes) -> bool:
    # Two letters alone would also match a text.
    return data[:2] == b"BM" and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES)


_KINDS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("JPEG", lambda data: data[:3] == b"\xff\xd8\xff"),
    ("PNG", lambda data: data[:8] == b"\x89PNG\r\n\x1a\n"),
    ("WEBP", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP"),
    ("BMP", _is_bmp),
    ("TIFF", lambda data: data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("GIF", lambda data: data[:4] == b"GIF8"),
)


def kind_of(data: bytes) -> str | None:
    """Return an image's format by its first bytes: "JPEG", "PNG" ..., "image" where OpenCV may know it; else None."""
    for kind, is_kind in _KINDS:
        if is_kind(data):
            return kind
    return "image" if _OTHER_IMAGES.match(data) else None


def describe_bytes(data: bytes) -> str:
    """Say in a few words what a file with these first bytes looks like.

    Args:
        data: First bytes of the file; a few hundred suffice.

    Returns:
        For instance "an HTML page", "text" or "unknown content that starts with 00 01 02 03".
    """
    head = data[:512]
    if not head:
        return "an empty file"
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _HEIF_BRANDS:
            return "an HEIC photo; convert it to JPEG"
        return "an AVIF picture" if brand in (b"avif", b"avis") else "an MP4 or QuickTime video"
    if not any(head):
        return "zeros (an interrupted download or copy)"
    lower = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if lower.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a download that went wrong?)"
    if lower.startswith(b"<svg") or (lower.startswith(b"<?xml") and b"<svg" in data[:4096].lower()):
        return "an SVG drawing; convert it to PNG"
    if lower.startswith(b"<?xml"):
        return "an XML file"
    if _looks_like_text(head):
        return "text"
    return f"unknown content that starts with {head[:4].hex(' ')}"


def _looks_like_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut in two by the end of the sample is no proof against text.
        if error.start < len(head) - 3 or error.start == 0:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)


_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a Git LFS pointer (the real file was never fetched)"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"8BPS", "a Photoshop document; export it as JPEG or PNG"),
    (b"\x7fELF", "a program"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x00\x05\x16\x07", "macOS metadata (an AppleDouble file)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
)
