"""The class names of weights, as far as they can be read without running anything.

A checkpoint is a Python pickle: its opcodes are read, nothing is built from them. What can't be read here is checked
when the model is prepared.
"""

from __future__ import annotations

import ast
import pickletools
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

MOST_BYTES = 64 << 20
"""Of a checkpoint's pickle without its tensors, or of the end of an ONNX file: larger ones are not looked into."""

_END = 1 << 20


def read_class_names(kind: str, path: Path, files: Sequence[str] = ()) -> list[str] | None:
    """Return the class names of weights in order, or None where they can't be read here.

    Args:
        kind: pt, onnx or openvino.
        path: The file, or OpenVINO's folder.
        files: Files of the folder.
    """
    try:
        if kind == "pt":
            return _of_pickle(path)
        if kind == "onnx":
            return _of_onnx(path)
        return _of_yaml((path / "metadata.yaml").read_text("utf-8")) if "metadata.yaml" in files else None
    except (OSError, ValueError, zipfile.BadZipFile, KeyError, IndexError, NotImplementedError):
        return None


def _of_pickle(path: Path) -> list[str] | None:
    with zipfile.ZipFile(path) as archive:
        member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        if archive.getinfo(member).file_size > MOST_BYTES:
            return None
        steps = _steps(archive.read(member))
    found = None
    for name, value in steps:
        if value == "names" and name.endswith("UNICODE"):
            # The last one counts: the model's own; a checkpoint may hold its training's too.
            found = _collection(steps) or found
    return found


def _steps(pickle: bytes) -> Iterator[tuple[str, object]]:
    for opcode, value, _ in pickletools.genops(pickle):
        # What only fills the memo.
        if not opcode.name.endswith("PUT") and opcode.name != "MEMOIZE":
            yield opcode.name, value


def _collection(steps: Iterator[tuple[str, object]]) -> list[str] | None:
    """Return the texts of a list, or of a dictionary with the keys 0, 1, 2 and so on."""
    kind, _ = next(steps, ("", None))
    if kind not in ("EMPTY_LIST", "EMPTY_DICT") or next(steps, ("", None))[0] != "MARK":
        return None
    values = []
    for name, value in steps:
        if name in ("APPENDS", "SETITEMS"):
            break
        values.append(value)
    if kind == "EMPTY_DICT":
        if values[::2] != list(range(len(values) // 2)):
            return None
        values = values[1::2]
    return [str(value) for value in values] if values and all(isinstance(v, str) for v in values) else None


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
