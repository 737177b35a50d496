"""Make a checkpoint of the ultralytics package that is safe to load, from one that may not be.

Loading a checkpoint runs what its pickle asks for. Here it is read as data (``share.checkpoint_file``); its modules are
made as objects of the classes that it names, all of torch and ultralytics, with their tensors and settings but without
hooks; and that is saved anew for ultralytics to load. No byte of the original pickle is executed. Needs torch and
ultralytics.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from ..share.checkpoint_file import CheckpointFile
from ..share.errors import YoloError, one_line
from ..share.inert_pickle import Global, Record, Reference
from .tensors import read_tensor

_DEEPEST = 64
_PLAIN = (bool, int, float, str, bytes, type(None))


def save_safe(file: CheckpointFile, out: Path) -> None:
    """Write a checkpoint's model and its training's settings, and nothing else, to a new checkpoint.

    Args:
        file: The checkpoint.
        out: The file to write.

    Raises:
        YoloError: The model can't be made.
    """
    try:
        maker = _Maker(file)
        model = maker.make(file.model())
        if not isinstance(model, nn.Module):
            raise TypeError(f"the model is an object of {file.model().of}")
        arguments = maker.make(file.content.get("train_args") or {})
        torch.save({"epoch": -1, "model": model, "ema": None, "train_args": arguments}, out)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, RuntimeError) as error:
        raise YoloError(
            "the checkpoint's model can't be made with the ultralytics that is installed",
            f"{file.name}: {type(error).__name__}: {one_line(error)[:200]}",
            "a model of classes that it knows, with all their tensors",
            "export it to ONNX where it was trained and give the .onnx file",
        ) from None


class _Maker:
    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self._made: dict[int, Any] = {}
        self._deep = 0

    def make(self, value: Any) -> Any:
        """Return a value of the checkpoint as the object that it stands for; None for what no model needs."""
        if isinstance(value, _PLAIN):
            return value
        if id(value) in self._made:
            return self._made[id(value)]
        self._deep += 1
        if self._deep > _DEEPEST:
            raise ValueError("its parts are within each other without end")
        try:
            return self._container(value) if not isinstance(value, Record) else self._record(value)
        finally:
            self._deep -= 1

    def _container(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            made: dict[Any, Any] = {}
            self._made[id(value)] = made
            made.update({self.make(key): self.make(item) for key, item in value.items()})
            return made
        if isinstance(value, list):
            items: list[Any] = []
            self._made[id(value)] = items
            items.extend(self.make(item) for item in value)
            return items
        if isinstance(value, tuple | set):
            return type(value)(self.make(item) for item in value)
        if isinstance(value, Global):
            if value.module == "torch" and isinstance(getattr(torch, value.name, None), torch.dtype):
                return getattr(torch, value.name)
            return _module_class(value)
        if isinstance(value, Reference):
            return None
        raise TypeError(f"a {type(value).__name__}")

    def _record(self, record: Record) -> Any:
        name = str(record.of)
        made: Any = None
        if name.startswith("torch._utils._rebuild_tensor"):
            made = read_tensor(self._file, record)
        elif name in ("torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter"):
            tensor = self.make(record.arguments[0])
            made = nn.Parameter(tensor, requires_grad=tensor.is_floating_point() and bool(record.arguments[1]))
        elif name == "torch.Size":
            made = torch.Size(self.make(record.arguments[0]))
        elif name == "torch.device":
            made = torch.device("cpu")
        elif record.of.module == "pathlib":
            made = "/".join(str(part) for part in record.arguments)
        elif name.endswith("SimpleNamespace"):
            made = SimpleNamespace(**{str(key): self.make(item) for key, item in record.state.items()})
        else:
            return self._module(record)
        self._made[id(record)] = made
        return made

    def _module(self, record: Record) -> Any:
        of = _module_class(record.of)
        if of is None:
            self._made[id(record)] = None
            return None
        # Not called: how a class is set up is for its training. torch's own modules complete what older ones lack.
        module: nn.Module = object.__new__(of)
        self._made[id(record)] = module
        state = {str(key): self.make(item) for key, item in record.state.items() if not _is_hook(key)}
        nn.Module.__init__(module)
        module.__setstate__(module.__dict__ | state)
        return module


def _is_hook(key: Any) -> bool:
    return str(key).startswith("_") and "hooks" in str(key)


def _module_class(name: Global) -> type[nn.Module] | None:
    """Return a class of torch's or ultralytics' modules; None for any other name.

    Raises:
        ValueError: It should be one, but there is none of this name.
    """
    if not name.module.startswith(("torch.nn.modules.", "ultralytics.nn.modules.", "ultralytics.nn.tasks")):
        return None
    found = getattr(importlib.import_module(name.module), name.name, None)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise ValueError(f"{name} is not known here")
    return found
