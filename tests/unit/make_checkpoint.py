"""Checkpoints as PyTorch writes them, made without torch: a zip with a pickle and the tensors' values."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

from yolo.share.inert_pickle import Global, Record, Reference


def name(dotted: str) -> Global:
    module, _, last = dotted.rpartition(".")
    return Global(module, last)


def dump(value: Any) -> bytes:
    """Return the pickle of plain values, names, records and references."""
    return b"\x80\x02" + opcodes(value) + b"."


def opcodes(value: Any) -> bytes:
    """Return the opcodes that put a value onto the unpickler's stack; bytes are such opcodes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Record):
        made = opcodes(value.of) + opcodes(value.arguments)
        made += b"R" if value.of.name[0] in "_abcdefghijklmnopqrstuvwxyz" else b"\x81"
        return made + (opcodes(value.state) + b"b" if value.state else b"")
    if isinstance(value, Reference):
        return opcodes(value.of) + b"Q"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(opcodes, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(opcodes, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(opcodes(part) for item in value.items() for part in item) + b"u"
    return pickle.dumps(value, 2)[2:-1]


def module(dotted: str, modules: dict[str, Record] | None = None, **state: Any) -> Record:
    parameters = state.pop("parameters", {})
    buffers = state.pop("buffers", {})
    base = {"_parameters": parameters, "_buffers": buffers, "_modules": modules or {}, "training": False}
    return Record(name(dotted), (), base | state)


class Values:
    """The tensors' values of a checkpoint."""

    def __init__(self) -> None:
        self.members: dict[str, bytes] = {}

    def tensor(self, values: list[float], *size: int) -> Record:
        key = str(len(self.members))
        self.members[key] = struct.pack(f"<{len(values)}f", *values)
        reference = Reference(("storage", name("torch.FloatStorage"), key, "cpu", len(values)))
        steps = []
        step = 1
        for length in reversed(size):
            steps.insert(0, step)
            step *= length
        arguments = (reference, 0, tuple(size), tuple(steps), False, Record(name("collections.OrderedDict")))
        return Record(name("torch._utils._rebuild_tensor_v2"), arguments)


def write(path: Path, content: Any, values: Values | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", content if isinstance(content, bytes) else dump(content))
        archive.writestr("best/version", "3\n")
        for key, data in (values.members if values else {}).items():
            archive.writestr(f"best/data/{key}", data)
    return path


def conv2d(values: Values, inputs: int, outputs: int, side: int = 1, stride: int = 1) -> Record:
    count = outputs * inputs * side * side
    return module(
        "torch.nn.modules.conv.Conv2d",
        parameters={
            "weight": values.tensor([(index % 7 - 3) / 50 for index in range(count)], outputs, inputs, side, side),
            "bias": values.tensor([index / 100 for index in range(outputs)], outputs),
        },
        in_channels=inputs,
        out_channels=outputs,
        kernel_size=(side, side),
        stride=(stride, stride),
        padding=(side // 2, side // 2),
        dilation=(1, 1),
        groups=1,
        padding_mode="zeros",
    )


def classic(values: Values, names: Any = ("cat", "dog"), model: str = "models.yolo.Model") -> dict[str, Any]:
    """Return the content of a checkpoint of ultralytics/yolov5 with one convolution and one level."""
    conv = module(
        "models.common.Conv",
        {"conv": conv2d(values, 3, 4, 3, 8), "act": module("torch.nn.modules.activation.SiLU")},
        i=0, f=-1, type="models.common.Conv",
    )  # fmt: skip
    detect = module(
        "models.yolo.Detect",
        {"m": module("torch.nn.modules.container.ModuleList", {"0": conv2d(values, 4, 2 * (5 + len(names)))})},
        buffers={"anchors": values.tensor([1.25, 1.625, 2.0, 3.75], 1, 2, 2)},
        i=1, f=[0], nc=len(names), stride=values.tensor([8.0], 1),
    )  # fmt: skip
    layers = module("torch.nn.modules.container.Sequential", {"0": conv, "1": detect})
    names = names if isinstance(names, dict) else list(names)
    return {"epoch": -1, "model": module(model, {"model": layers}, names=names), "ema": None, "opt": {"imgsz": 320}}


def package(model: str = "ultralytics.nn.tasks.DetectionModel", **more: Any) -> dict[str, Any]:
    """Return the content of a checkpoint of ultralytics, without layers."""
    return {"epoch": -1, "model": module(model, {}, names={0: "cat", 1: "dog"}), "ema": None} | more


def hostile(path: Path, target: Path, **more: Any) -> Path:
    """Write a checkpoint that makes a file when Python's unpickler loads it."""
    call = Record(name("posix.system"), (f"touch {target}",))
    return write(path, package(**more) | {"license": call})
