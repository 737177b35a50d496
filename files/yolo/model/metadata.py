"""What weights say about themselves: class names, stride, input size, task."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..share.errors import YoloError, one_line
from ..share.limits import IMGSZ_MAX, IMGSZ_MIN

#: Side of the input for weights of dynamic size that name none: what released YOLO models have.
USUAL_SIDE = 640


@dataclass
class Metadata:
    """What the weights say about themselves; everything may be missing."""

    names: list[str] | None = None
    stride: int | None = None
    imgsz: tuple[int, int] | None = None
    task: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Metadata:
        """Read the keys that exporters write; values may be strings holding Python literals.

        Raises:
            YoloError: The class names are not numbered as a model numbers its classes.
        """
        parsed = cls(names=_read_names(values.get("names")), imgsz=read_size(values.get("imgsz")))
        stride = _literal(values.get("stride"))
        if isinstance(stride, int | float) and stride >= 1:
            parsed.stride = int(stride)
        if values.get("task"):
            parsed.task = str(values["task"])
        if values.get("version"):
            parsed.versions["exporter"] = str(values["version"])
        return parsed


def read_size(value: Any) -> tuple[int, int] | None:
    """Read the size of the input from what weights say about themselves.

    Args:
        value: A number, or a list of height and width, or the text of one of these.

    Returns:
        (height, width), or ``None`` for anything else and for sizes that make no sense.
    """
    size = _literal(value)
    if not isinstance(size, list | tuple):
        size = [size]
    sides = [side for side in size if isinstance(side, int) and IMGSZ_MIN <= side <= IMGSZ_MAX]
    if not size or len(sides) != len(size) or len(sides) > 2:
        return None
    return sides[0], sides[-1]


def read_metadata_yaml(folder: Path) -> Metadata:
    """Read the ``metadata.yaml`` that ultralytics writes beside an OpenVINO IR; empty where there is none.

    Raises:
        YoloError: It is corrupt, or PyYAML is missing.
    """
    path = folder / "metadata.yaml"
    if not path.is_file():
        return Metadata()
    try:
        import yaml

        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except ImportError as error:
        raise YoloError("reading metadata.yaml needs PyYAML", str(error)) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise YoloError("metadata.yaml is corrupt", " ".join(str(error).split())[:200]) from error
    return Metadata.parse(value if isinstance(value, dict) else {})


def _literal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return None


def _read_names(value: Any) -> list[str] | None:
    names = _literal(value)
    if isinstance(names, dict):
        try:
            numbered = {int(key): name for key, name in names.items()}
        except (TypeError, ValueError):
            numbered = {}
        # A gap would give every class behind it the name of its neighbour.
        if set(numbered) != set(range(len(names))):
            found = one_line(list(names))[:200]
            raise YoloError("the weights' class names are not numbered 0, 1, 2 and so on", found)
        names = [numbered[index] for index in range(len(numbered))]
    return [str(name) for name in names] if isinstance(names, list) and names else None
