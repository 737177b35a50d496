"""Tell from a file's first bytes what it is.

Suffixes lie: what is saved from the web as ``x.jpg`` may be an error page, and a link of that name may lead to a
private key. The control node looks before it sends, the job before it decodes. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HEAD_BYTES = 4096
"""So many of a file's first bytes are enough for the functions here."""

# What OpenCV may decode beside the formats that have a name here: Radiance and PNM. "P5" alone would match a text.
_OTHER_IMAGES = re.compile(rb"#\?R(?:ADIANCE|GBE)|P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s|P7\nWIDTH ")
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})


def _is_bmp(data: bytes) -> bool:
    # Two letters alone would also match a text.
    return data[:2] == b"BM" and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES)


_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO base media file, the major one and those it is compatible with."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), len(data))
    return {data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))}


def _is_heif(data: bytes, own: frozenset[bytes]) -> bool:
    # A general brand says nothing of the coding; the compatible ones do.
    return data[8:12] in own or (data[8:12] in (b"mif1", b"msf1", b"miaf") and bool(own & _brands(data)))


_KINDS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("JPEG", lambda data: data[:3] == b"\xff\xd8\xff"),
    ("PNG", lambda data: data[:8] == b"\x89PNG\r\n\x1a\n"),
    ("WEBP", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP"),
    ("BMP", _is_bmp),
    ("TIFF", lambda data: data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("GIF", lambda data: data[:6] in (b"GIF87a", b"GIF89a")),
    ("AVIF", lambda data: _is_heif(data, _AVIF_BRANDS)),
    ("HEIC", lambda data: _is_heif(data, _HEIC_BRANDS)),
    ("JPEG 2000", lambda data: data[:8] == b"\0\0\0\x0cjP  " or data[:4] == b"\xff\x4f\xff\x51"),
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
        return _describe_media(head[8:12])
    if head[:4] in (b"RIFF", b"FORM") and head[8:12] in _CHUNKED:
        return _CHUNKED[head[8:12]]
    # MPEG audio and AAC have no magic number: a frame's first eleven or twelve bits are set.
    if head[0] == 0xFF and head[1:2] and (head[1] & 0xF6 == 0xF0 or head[1] & 0xE6 == 0xE2):
        return "a sound file (MP3 or AAC)"
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


def _describe_media(brand: bytes) -> str:
    if brand in (b"mif1", b"msf1", b"miaf"):
        return "a HEIF picture of unknown coding; convert it to JPEG"
    if brand == b"crx ":
        return "a camera's raw picture (CR3); convert it to JPEG"
    if brand in (b"M4A ", b"M4B ", b"M4P "):
        return "a sound file (M4A)"
    return "an MP4 or QuickTime video"


def _looks_like_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut in two by the end of the sample is no proof against text.
        if error.start < len(head) - 3 or error.start == 0:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)


_CHUNKED = {
    b"WAVE": "a sound file (WAV)",
    b"AVI ": "an AVI video",
    b"AIFF": "a sound file (AIFF)",
    b"AIFC": "a sound file (AIFF)",
    b"RMID": "a sound file (MIDI)",
}
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
    (b"OggS", "a sound or video file (Ogg)"),
    (b"ID3", "a sound file (MP3)"),
    (b"fLaC", "a sound file (FLAC)"),
    (b"MThd", "a sound file (MIDI)"),
    (b"#!AMR", "a sound file (AMR)"),
    (b".snd", "a sound file (AU)"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (sound or video)"),
    (b"\xff\x0a", "a JPEG XL picture; convert it to JPEG or PNG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture; convert it to JPEG or PNG"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture; convert it to PNG"),
    (b"FUJIFILMCCD-RAW", "a camera's raw picture (RAF); convert it to JPEG"),
    (b"IIRO", "a camera's raw picture (ORF); convert it to JPEG"),
    (b"IIU\0", "a camera's raw picture (RW2); convert it to JPEG"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x00\x05\x16\x07", "macOS metadata (an AppleDouble file)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
)
