"""Have the C library keep the memory of decoded photos.

What is larger than 32 MB it takes from the system anew each time and gives back at once: of the 60 ms that a photo of
12 megapixels took to decode, more than 20 went into 9,400 page faults. On User-Mode Linux one of them takes 56 us.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of mallopt(3), as in glibc's malloc.h."""

KEPT_BYTES = 64 << 20
"""The largest piece that is kept: a photo of 21 megapixels. Larger ones are rare, and slots have little memory."""

_FREE_BYTES = 2 * KEPT_BYTES


def keep_freed_memory() -> None:
    """Keep freed memory for the next photo, whichever thread decodes it; nothing where the C library is another."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
    mallopt(_TRIM_THRESHOLD, _FREE_BYTES)
