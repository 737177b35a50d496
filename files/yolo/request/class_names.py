"""The class names of ONNX files and OpenVINO folders, as far as they can be read without a library.

What can't be read here is checked when the model is prepared. Those of a checkpoint: see ``checkpoint_check``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path

_END = 1 << 20


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
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - _END, 0))
        tail = file.read()
    # Of a metadata entry: its key, then the field number and the length of its value.
    match = re.search(rb"\x0a\x05names\x12[\x80-\xff]*[\x00-\x7f](\{.*?\}|\[.*?\])", tail, re.DOTALL)
    return _literal(match[1].decode("utf-8")) if match else None


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
