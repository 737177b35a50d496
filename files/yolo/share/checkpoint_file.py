"""Read a checkpoint of PyTorch (``.pt``), as data: nothing that it names is imported or called.

It is a zip with a pickle (``data.pkl``) and a member with the values of each tensor. The pickle is read by
``inert_pickle``; values are read only when they are asked for, so that an optimizer's state costs nothing.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import YoloError, one_line
from .inert_pickle import PickleError, Record, Reference, UnknownNameError, read_pickle

CLASSIC = "ultralytics/yolov5"
PACKAGE = "ultralytics"

MOST_BYTES = 64 << 20
"""Of the pickle, which holds no values of tensors. That of yolov5n has 83 kB."""

ITEM_BYTES = {
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
"""Kinds of values, and the bytes of each."""

_MOST_NUMBERS = 1 << 16
_FORMATS = {"HalfStorage": "<e", "FloatStorage": "<f", "DoubleStorage": "<d", "LongStorage": "<q", "IntStorage": "<i"}

TASKS = {
    "detect": ("DetectionModel", "Model", "YOLOv10DetectionModel", "WorldModel", "YOLOEModel"),
    "rt-detr": ("RTDETRDetectionModel",),
    "segment": ("SegmentationModel", "YOLOESegModel"),
    "pose": ("PoseModel",),
    "obb": ("OBBModel",),
    "classify": ("ClassificationModel",),
}
"""What a model is for, by the name of its class."""

# getattr: a model whose layers were fused holds their other method. Like all names here it stays a record.
_NAMES = re.compile(
    r"""
    collections\.OrderedDict | builtins\.(getattr|set|frozenset|object|dict|list|tuple|int|float|str|bool|slice|complex)
  | torch\.\w+Storage | torch\.(Size|device|float16|float32|float64|bfloat16|int64|int32|uint8|bool)
  | torch\._utils\._rebuild_(parameter|tensor|tensor_v2) | torch\.nn\.parameter\.Parameter
  | torch\.nn\.modules\.\w+\.[A-Z]\w* | torch\.nn\.modules\.linear\._LinearWithBias
  | models\.(common|experimental|yolo)\.[A-Z]\w*
  | ultralytics\.nn\.(tasks|modules\.(conv|block|head|transformer|activation|utils))\.[A-Z]\w*
  | ultralytics\.utils\.(IterableSimpleNamespace|loss\.\w+|tal\.\w+)
  | numpy\.(dtype|ndarray|(core|_core)\.multiarray\.(scalar|_reconstruct)) | _codecs\.encode
  | pathlib\.(Pure)?(Posix|Windows)?Path | argparse\.Namespace | types\.SimpleNamespace
  | datetime\.(datetime|date|timedelta|timezone)
    """,
    re.VERBOSE,
)
_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, KeyError)
_CORRUPT = "copy or download it again"


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor's values are.

    Attributes:
        storage: Name of its values' member.
        kind: One of :data:`ITEM_BYTES`.
        count: Values in the member.
        offset: Of the first value.
        size: Of each axis.
        stride: From one value to the next on each axis, in values.
    """

    storage: str
    kind: str
    count: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class CheckpointFile:
    """A checkpoint.

    Args:
        path: The file.

    Attributes:
        name: The file's name.
        content: What the pickle holds: see ``inert_pickle``.

    Raises:
        YoloError: It is none, is damaged, or names what weights do not need.
        OSError: It can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, path.name
        try:
            with zipfile.ZipFile(path) as archive:
                pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
                if len(pickles) != 1:
                    raise YoloError(
                        "a zip, but not a PyTorch checkpoint",
                        f"{path.name} has {len(pickles)} members called data.pkl",
                        "a .pt file written by ultralytics or ultralytics/yolov5",
                        "give the file that the training wrote, not a zip of it",
                    )
                self._folder = pickles[0].removesuffix("data.pkl")
                self._bytes = {item.filename: item.file_size for item in archive.infolist()}
                if self._bytes[pickles[0]] > MOST_BYTES:
                    raise self._error(f"its pickle has {self._bytes[pickles[0]]} bytes, at most {MOST_BYTES} are read")
                data = archive.read(pickles[0])
        except _DAMAGED as error:
            raise self._error(str(error)) from None
        try:
            self.content: Any = read_pickle(data, lambda name: _NAMES.fullmatch(str(name)) is not None)
        except UnknownNameError as error:
            raise YoloError(
                "the checkpoint names what no weights of YOLO need, and loading it could run that",
                f"{path.name}: {error.name}",
                "names of torch, ultralytics and ultralytics/yolov5 only",
                "export it to ONNX where it was trained; or, only if you trust whoever made it, give "
                "-e trust_weights=yes, which lets code in the file run on the execute hosts",
            ) from None
        except PickleError as error:
            raise self._error(str(error)) from None

    def model(self) -> Record:
        """Return the model: the averaged one (EMA) of a training, else the model itself.

        Raises:
            YoloError: There is none.
        """
        content = self.content
        if not isinstance(content, Mapping):
            raise self._no_model(f"it holds {_kind(content)}")
        found = content.get("ema") or content.get("model")
        if isinstance(found, tuple) and found:
            found = found[0]
        if not isinstance(found, Record) or not isinstance(found.state.get("_modules"), Mapping):
            keys = ", ".join(str(key) for key in content)
            raise self._no_model(f"it holds {one_line(keys)[:100]}; its model is {_kind(found)}")
        return found

    def family(self) -> str:
        """Return :data:`CLASSIC` or :data:`PACKAGE`: who wrote the model."""
        return CLASSIC if self.model().of.module.startswith("models.") else PACKAGE

    def task(self) -> str:
        """Return what the model is for, one of :data:`TASKS`, or the name of its class."""
        name = self.model().of.name
        found = next((task for task, classes in TASKS.items() if name in classes), name)
        if self.family() == CLASSIC and found == "detect":
            # Releases before v7.0 have one class of model for detection and segmentation.
            heads = {record.of.name for record in _children(self.model())}
            return "segment" if "Segment" in heads else found
        return found

    def names(self) -> list[str] | None:
        """Return the class names in order; None where they are not as a model has them."""
        found = self.model().state.get("names")
        if isinstance(found, Mapping):
            if set(found) != set(range(len(found))):
                return None
            found = [found[index] for index in range(len(found))]
        return [str(name) for name in found] if isinstance(found, list | tuple) and found else None

    def tensor(self, value: Any) -> Tensor:
        """Return where a tensor's values are; checked, so that a reader of them can trust it.

        Raises:
            YoloError: It is no tensor, or its values are not in the file as it says.
        """
        while isinstance(value, Record) and str(value.of) == "torch._utils._rebuild_parameter" and value.arguments:
            value = value.arguments[0]
        try:
            if not isinstance(value, Record) or not str(value.of).startswith("torch._utils._rebuild_tensor"):
                raise ValueError(f"{_kind(value)} in place of a tensor")
            reference, offset, size, stride = value.arguments[:4]
            if not isinstance(reference, Reference):
                raise ValueError("a tensor without values")
            _, kind, key, _, count = reference.of
            tensor = Tensor(f"{self._folder}data/{key}", kind.name, count, offset, _sizes(size), _sizes(stride))
            self._check(tensor)
        except (ValueError, TypeError, AttributeError) as error:
            raise self._error(str(error)) from None
        return tensor

    def values(self, tensor: Tensor) -> bytes:
        """Return the values of a tensor's member.

        Raises:
            YoloError: They are damaged.
        """
        try:
            with zipfile.ZipFile(self._path) as archive:
                return archive.read(tensor.storage)
        except _DAMAGED as error:
            raise self._error(str(error)) from None

    def numbers(self, tensor: Tensor) -> list[float]:
        """Return the values of a tensor in the order of its axes; for few.

        Raises:
            YoloError: They are damaged, or of a kind that is not read here.
        """
        if tensor.kind not in _FORMATS or max(math.prod(tensor.size), tensor.count) > _MOST_NUMBERS:
            raise self._error(f"{tensor.count} values of the kind {tensor.kind} in place of a few numbers")
        data, width = self.values(tensor), ITEM_BYTES[tensor.kind]
        places = [tensor.offset]
        for size, step in zip(tensor.size, tensor.stride, strict=True):
            places = [place + index * step for place in places for index in range(size)]
        return [float(struct.unpack_from(_FORMATS[tensor.kind], data, place * width)[0]) for place in places]

    def check_tensors(self) -> None:
        """Check that the file has the values of all of the model's tensors, and that their checksums are right.

        Raises:
            YoloError: It has not, or they are not.
        """
        storages: set[str] = set()
        for record in _children(self.model()):
            for part in ("_parameters", "_buffers"):
                for value in (record.state.get(part) or {}).values():
                    if value is not None:
                        storages.add(self.tensor(value).storage)
        try:
            with zipfile.ZipFile(self._path) as archive:
                for name in sorted(storages):
                    with archive.open(name) as values:
                        while values.read(_CHUNK):
                            pass
        except _DAMAGED as error:
            raise self._error(str(error)) from None

    def _check(self, tensor: Tensor) -> None:
        if tensor.kind not in ITEM_BYTES:
            raise ValueError(f"values of the unknown kind {tensor.kind}")
        found, wanted = self._bytes.get(tensor.storage), tensor.count * ITEM_BYTES[tensor.kind]
        if found is None:
            raise ValueError(f"the values of a tensor are missing ({tensor.storage})")
        if found != wanted:
            raise ValueError(f"the values of a tensor ({tensor.storage}) have {found} bytes, not {wanted}")
        if len(tensor.size) != len(tensor.stride) or min((*tensor.size, *tensor.stride, tensor.offset), default=0) < 0:
            raise ValueError("a tensor's shape is wrong")
        total = math.prod(tensor.size)
        last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.size, tensor.stride, strict=True))
        if total > tensor.count or (total and last >= tensor.count):
            raise ValueError(f"a tensor of the shape {tensor.size} is larger than its {tensor.count} values")

    def _error(self, reason: str) -> YoloError:
        return YoloError(
            "the checkpoint is damaged",
            f"{self._path.name}: {one_line(reason)[:200]}",
            "a .pt file as PyTorch writes it",
            _CORRUPT,
        )

    def _no_model(self, reason: str) -> YoloError:
        return YoloError(
            "the checkpoint holds no model",
            f"{self._path.name}: {reason}",
            "a .pt of ultralytics or ultralytics/yolov5, which has the model beside its weights",
            "give best.pt or last.pt of the training, not a state_dict or an export",
        )


def _children(record: Record) -> Iterator[Record]:
    """Walk over a module and all below it, each once: modules may be shared, or within themselves."""
    seen, left = {id(record)}, [record]
    while left:
        found = left.pop()
        yield found
        modules = found.state.get("_modules")
        for child in modules.values() if isinstance(modules, Mapping) else ():
            if isinstance(child, Record) and id(child) not in seen:
                seen.add(id(child))
                left.append(child)


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not all(type(item) is int for item in value):
        raise ValueError("a tensor's shape is wrong")
    return value


def _kind(value: Any) -> str:
    return f"an object of {value.of}" if isinstance(value, Record) else type(value).__name__
