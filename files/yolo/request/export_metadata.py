"""What ONNX files and OpenVINO folders say of themselves, as far as it can be read without a library.

What can't be read here is checked when the model is prepared. For checkpoints: see ``checkpoint_check``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from ..share.task import check_task

_END = 1 << 20


def check_export(kind: str, path: Path, files: Sequence[str] = ()) -> None:
    """Check that an export is for detection, or does not say what it is for.

    Args:
        kind: onnx or openvino.
        path: The file, or OpenVINO's folder.
        files: Files of the folder.

    Raises:
        YoloError: It is for another task, or of RT-DETR, whose boxes and input are others.
    """
    task = _entry("task", kind, path, files)
    if "rtdetr" in _entry("description", kind, path, files).lower().replace("-", ""):
        task = "detect with RT-DETR"
    check_task(path.name, task)


def _entry(key: str, kind: str, path: Path, files: Sequence[str]) -> str:
    """Return a line of text that an exporter of ultralytics wrote, empty where there is none."""
    if kind == "onnx":
        # Of a metadata entry: its key, then the field number and the length of its value, of less than 128 bytes here.
        head = b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12"
        tail = _tail(path)
        start = tail.rfind(head) + len(head)
        found = tail[start + 1 : start + 1 + tail[start]] if start >= len(head) and start < len(tail) else b""
        return found.decode("utf-8", "replace")
    if "metadata.yaml" not in files:
        return ""
    text = (path / "metadata.yaml").read_text("utf-8", "replace")
    match = re.search(rf"^{key}: (.*)$", text, re.MULTILINE)
    return match[1].strip("'\" ") if match else ""


def read_class_names(kind: str, path: Path, files: Sequence[str] = ()) -> list[str] | None:
    """Return the class names of weights in order, or None where they can't be read here.

    Args:
        kind: onnx or openvino; None for any other.
        path: The file, or OpenVINO's folder.
        files: Files of the folder.
    """
    try:
        if kind == "onnx":
            return _of_onnx(path)
        if kind != "openvino":
            return None
        return _of_yaml((path / "metadata.yaml").read_text("utf-8")) if "metadata.yaml" in files else None
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _of_onnx(path: Path) -> list[str] | None:
    # As in _entry, of any length.
    match = re.search(rb"\x0a\x05names\x12[\x80-\xff]*[\x00-\x7f](\{.*?\}|\[.*?\])", _tail(path), re.DOTALL)
    return _literal(match[1].decode("utf-8")) if match else None


def _tail(path: Path) -> bytes:
    """The end of a file, where ONNX has its metadata."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - _END, 0))
        return file.read()


def _literal(text: str) -> list[str] | None:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    if isinstance(value, dict):
        value = [value[index] for index in range(len(value))]
    return [str(name) for name in value] if isinstance(value, list) else None


def _of_yaml(text: str) -> list[str] | None:
    """Read ``names:`` as ultralytics writes it: a line for each, ``  0: person``."""
    block = re.search(r"^names:\n((?:  \d+: .*\n?)+)", text, re.MULTILINE)
    if not block:
        return None
    numbered = dict(re.findall(r"^  (\d+): (.*)$", block[1], re.MULTILINE))
    names = [numbered[str(index)] for index in range(len(numbered))]
    return [name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name for name in names]
