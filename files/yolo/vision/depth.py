"""Bring samples of any type to 8 bits, where it is clear what their values mean."""

from __future__ import annotations

import numpy as np

from ..share.errors import BadImage

#: Bits that cameras and scanners put into samples of 16.
_DEPTHS = (8, 10, 12, 14)

#: Floating-point values between 1 and this may be either of 0..1, too bright, or of 0..255, very dark.
_LEAST_OF_255 = 32.0


def to_8_bits(samples: np.ndarray, kind: str, max_value: int = 0) -> tuple[np.ndarray, str | None]:
    """Return samples as uint8, and a warning where their range had to be inferred.

    Args:
        samples: uint8, uint16 or floating point, any shape.
        kind: Name of the format, for messages.
        max_value: Largest value that the file says a sample may have; 0 where it does not.

    Raises:
        BadImage: Another type, or values that may mean different things.
    """
    if samples.dtype == np.uint8:
        return samples, None
    if samples.dtype == np.uint16:
        return _from_16(samples, max_value)
    if samples.dtype.kind != "f":
        raise BadImage(
            f"unsupported {kind}: samples are {samples.dtype}, expected 8 or 16 bits or floating point; convert it"
        )
    low, high = float(samples.min()), float(samples.max())
    if not 0 <= low <= high <= 255:  # also where one of them is no number
        raise BadImage(
            f"unsupported {kind}: floating-point values from {low:g} to {high:g}, expected 0 to 1 or 0 to 255; "
            "convert the file"
        )
    if high <= 1:
        samples = samples * 255
    elif high < _LEAST_OF_255:
        raise BadImage(
            f"unsupported {kind}: floating-point values up to {high:g} may be of 0 to 1 or of 0 to 255; convert it"
        )
    return np.rint(samples).astype(np.uint8), None


def _from_16(samples: np.ndarray, max_value: int) -> tuple[np.ndarray, str | None]:
    if 255 <= max_value < 65535 and int(samples.max()) <= max_value:
        return (samples >> (max_value.bit_length() - 8)).astype(np.uint8), None
    highest = int(samples.max())
    for bits in _DEPTHS:
        if 0 < highest < 1 << bits:
            warning = f"its 16-bit values end at {highest}: taken for values of {bits} bits"
            return (samples >> (bits - 8)).astype(np.uint8), warning
    return (samples >> 8).astype(np.uint8), None
