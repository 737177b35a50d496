"""Read the pixels of those kinds of TIFF files that OpenCV gets wrong.

OpenCV reads 8-bit grey and RGB right. It puts the values of planar 16-bit files in the wrong places, loses tiles of
16-bit grey, multiplies colours with their transparency and does not look at Deflate's checksums, all without an error.
The kinds that are read here are therefore put together in numpy, from segments (strips or tiles) whose decoded size is
checked (``tiff_segments``); every other kind that OpenCV is not known to get right ends with its name.
"""

from __future__ import annotations

import numpy as np

from ..share.errors import BadImage
from .tiff_pages import Page, Tag
from .tiff_segments import (
    BLACK_IS_ZERO,
    CONVERT,
    DEFLATE,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    assemble,
    check_segments,
)

_JPEG = 7
#: What OpenCV's libtiff decodes.
_OF_OPENCV = {NONE, 2, 3, 4, LZW, _JPEG, DEFLATE, OLD_DEFLATE, PACKBITS}
_OF_OURS = {NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS}
_COMPRESSIONS = {
    6: "old-style JPEG",
    22610: "JPEG XR",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG (DNG)",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_WHITE_IS_ZERO, _RGB = 0, 2
#: Colour filter array and linear raw: what a camera's sensor saw.
_RAW = (32803, 34892)


def read_samples(data: bytes, page: Page) -> np.ndarray | None:
    """Read a page's pixels, if it is of a kind that is read here.

    Args:
        data: The file.
        page: Its first page.

    Returns:
        (height, width, 1 or 3): grey or RGB, in the file's own type of samples, not turned; None where OpenCV
        reads the page right.

    Raises:
        BadImage: Damaged, or of a kind that nothing here can read.
    """
    compression, photometric = page.get(Tag.COMPRESSION, NONE), page.get(Tag.PHOTOMETRIC, BLACK_IS_ZERO)
    if photometric in _RAW or (page.get(Tag.SUBFILE, 0) & 1 and page.tags.get(Tag.SUB_DIRECTORIES)):
        raise BadImage(
            f"unsupported TIFF: a camera's raw picture, of which only a small preview can be read; {CONVERT}"
        )
    if compression not in _OF_OPENCV:
        name = _COMPRESSIONS.get(compression, f"unknown ({compression})")
        raise BadImage(f"unsupported TIFF: compression {name}; {CONVERT}")
    colours = 3 if photometric == _RGB else 1
    if photometric in (_WHITE_IS_ZERO, BLACK_IS_ZERO) and page.samples > 2:
        raise BadImage(
            f"unsupported TIFF: {page.samples} channels, and nothing says which are red, green and blue; {CONVERT}"
        )
    plain = photometric in (_WHITE_IS_ZERO, BLACK_IS_ZERO, _RGB)
    if plain and page.dtype is not None and compression in _OF_OURS and page.get(Tag.FILL_ORDER, 1) == 1:
        if page.samples < colours:
            raise BadImage(f"corrupt TIFF: RGB of {page.samples} channels")
        samples = assemble(data, page, colours)
        if photometric == _WHITE_IS_ZERO:
            if samples.dtype.kind == "f":
                raise BadImage(f"unsupported TIFF: floating-point values in which white is zero; {CONVERT}")
            return np.iinfo(samples.dtype).max - samples
        return samples
    if page.get(Tag.SAMPLE_FORMAT, 1) not in (1, 4) or max(page.bits) > 8:
        kind = {2: "signed integers", 3: "floating-point numbers"}.get(page.get(Tag.SAMPLE_FORMAT, 1), "numbers")
        raise BadImage(f"unsupported TIFF: samples are {kind} of {max(page.bits)} bits; {CONVERT}")
    if (
        page.samples > 4
        or (page.samples == 2 and page.tags.get(Tag.TILE_WIDTH))
        or (page.get(Tag.PLANAR, 1) == 2 and page.samples not in (1, 3))
    ):
        raise BadImage(f"unsupported TIFF: {page.samples} channels in this layout; {CONVERT}")
    if compression in (DEFLATE, OLD_DEFLATE, PACKBITS):
        check_segments(data, page)
    return None
