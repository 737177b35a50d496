"""Find the files beside an ONNX file that hold its tensors' values (external data), without a library."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from ..share.errors import YoloError

# An entry of external_data: its key (field 1) and its value (field 2, of less than 128 bytes or of up to 16 kB).
_LOCATION = re.compile(rb"\x0a\x08location\x12(?:([\x01-\x7f])|([\x80-\xff])([\x01-\x7f]))")


def external_data(path: Path) -> tuple[str, ...]:
    """Return the names of the files that an ONNX file needs, relative to its folder, sorted.

    Raises:
        YoloError: One is missing, or lies outside of the folder.
        OSError: The file can't be read.
    """
    inside = os.path.join(os.path.realpath(path.parent), "")
    names = sorted(_locations(path))
    for name in names:
        place = os.path.realpath(path.parent / name)
        if os.path.isabs(name) or not place.startswith(inside):
            raise YoloError(
                "the ONNX file has data outside of its folder",
                f"{path.name}: {name}",
                "data in files beside it",
                "export it again, or save it as one file with onnx.save",
            )
        if not os.path.isfile(place):
            raise YoloError(
                "the ONNX file lacks its data",
                f"{path.name} needs {name}",
                "that file beside it",
                "copy it too; newer exporters write both",
            )
    return tuple(names)


def _locations(path: Path) -> set[str]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = set()
        for match in _LOCATION.finditer(data):
            short, low, high = match.groups()
            length = short[0] if short else (low[0] & 0x7F) | high[0] << 7
            found.add(data[match.end() : match.end() + length].decode("utf-8", "surrogateescape"))
    # Not a name: bytes among values that look like an entry.
    return {name for name in found if name.isprintable()}
