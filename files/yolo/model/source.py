"""The weights as the user gave them: find the file in its folder on the share, and its digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..share.errors import YoloError


def find_weights(source: Path, kind: str) -> Path:
    """Return the one weights file in a folder.

    Raises:
        YoloError: None or several, or its partner is missing.
    """
    suffix = {"pt": ".pt", "onnx": ".onnx", "openvino": ".xml"}[kind]
    if not source.is_dir():
        raise YoloError("no folder of weights", source, "a folder", "stage the weights again")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() == suffix and p.is_file())
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise YoloError(f"{source} must hold one {suffix} file", names, f"exactly one {suffix}")
    if kind == "openvino" and not found[0].with_suffix(".bin").is_file():
        raise YoloError(
            "OpenVINO folder without its weights",
            found[0].name,
            f"{found[0].stem}.bin beside it",
            "give the whole folder that the export wrote",
        )
    return found[0]


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their relative names."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for item in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{item.relative_to(path).as_posix()}\0{digest(item)}\n".encode())
    return total.hexdigest()
