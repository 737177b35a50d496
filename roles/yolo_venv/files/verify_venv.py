"""Prove that this virtual environment does its work: run it with the environment's own Python.

Every finding is one line on standard output, with what was expected, and the exit code is 1.
On success the versions stand there, as JSON. Libraries chatter on standard error.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import runpy
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

# Builds of OpenCV that need the libraries of a desktop, or that overwrite the headless one's files.
OTHER_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")


class Finding(Exception):
    """Something is not as it has to be; the text says what was found and what is expected."""


def own_distributions() -> set[str]:
    """Names of the packages in the environment itself, without those of the system."""
    site = sysconfig.get_path("purelib")
    found = importlib.metadata.distributions(path=[site])
    return {distribution.metadata["Name"].lower() for distribution in found}


def check_no_cuda() -> str:
    """The installed torch must be a CPU build.

    Looked up before the import: without CUDA's libraries, that fails in words that help nobody.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise Finding("torch is missing; expected a CPU build of torch")
    version_file = Path(spec.origin).with_name("version.py")
    facts = runpy.run_path(str(version_file)) if version_file.is_file() else {}
    for name in ("cuda", "hip", "xpu"):
        if facts.get(name) is not None:
            raise Finding(
                f"torch {facts.get('__version__')} in {version_file.parent} is a build for {name}"
                f" {facts[name]}; expected a CPU build: set yolo_venv_torch_source to 'debian', or"
                " to 'index' or 'wheels' with a version that ends in +cpu"
            )
    nvidia = sorted(name for name in own_distributions() if name.startswith(("nvidia-cu", "cuda-")))
    if nvidia:
        raise Finding(f"packages of CUDA are installed: {', '.join(nvidia)}; expected none")
    import torch

    if torch.version.cuda is not None:
        raise Finding(f"torch.version.cuda is {torch.version.cuda}; expected None, a CPU build")
    if (torch.ones(2, 2) @ torch.ones(2, 2)).sum().item() != 8:
        raise Finding("torch can't multiply matrices on this processor")
    return str(torch.__version__)


def check_headless_opencv() -> str:
    """OpenCV must be the headless build, and the environment's own."""
    others = sorted(own_distributions() & set(OTHER_OPENCV))
    if others:
        raise Finding(f"{', '.join(others)} is installed; expected opencv-python-headless alone")
    import cv2

    if not Path(cv2.__file__).is_relative_to(sys.prefix):
        raise Finding(f"cv2 comes from {cv2.__file__}; expected the one in {sys.prefix}")
    lines = [line.split() for line in cv2.getBuildInformation().splitlines()]
    gui = next((words[1] for words in lines if words[:1] == ["GUI:"]), "unknown")
    if gui != "NONE":
        raise Finding(f"cv2 was built with the GUI {gui}; expected a headless build (GUI: NONE)")
    return str(cv2.__version__)


def check_heif() -> str:
    """HEIC photos need a decoder of HEVC."""
    import pillow_heif

    if "libde265" not in pillow_heif.libheif_info()["decoders"]:
        raise Finding("pillow-heif has no decoder for HEIC; expected libde265 in its wheel")
    return str(pillow_heif.__version__)


def check_openvino() -> str:
    """OpenVINO must be able to compile and run a model on the CPU."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    core = ov.Core()
    if "CPU" not in core.available_devices:
        raise Finding(f"OpenVINO's devices are {core.available_devices}; expected CPU among them")
    data = ops.parameter([1, 3], np.float32)
    compiled = core.compile_model(ov.Model([ops.relu(data)], [data], "check"), "CPU")
    answer = compiled(np.array([[-1, 0, 2]], np.float32))[0].tolist()
    if answer != [[0, 0, 2]]:
        raise Finding(f"OpenVINO computed relu([-1, 0, 2]) as {answer}; expected [[0, 0, 2]]")
    return str(ov.__version__)


def check_onnxruntime() -> str:
    """ONNX Runtime must be able to run on the CPU a model that onnx wrote, and to quantise, and report nothing."""
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper
    from onnxruntime import quantization  # noqa: F401  (its import is the check)

    data, answer = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "check", [data], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.array([[-1, 0, 2]], np.float32)})[0].tolist()
    if found != [[0, 0, 2]]:
        raise Finding(f"ONNX Runtime computed relu([-1, 0, 2]) as {found}; expected [[0, 0, 2]]")
    # Where it reports, it first gives the user an identity. A release with another switch is found here.
    if kept := sorted(path.name for path in Path.home().rglob("*") if "onnxruntime" in str(path) and path.is_file()):
        raise Finding(
            f"ONNX Runtime {ort.__version__} writes {', '.join(kept)} to report its use; expected nothing:"
            " yolo_venv_environment has to have ORT_DISABLE_TELEMETRY: '1'"
        )
    return f"{ort.__version__} (onnx {onnx.__version__})"


def check_ultralytics() -> str:
    """Building a detector imports all that loading, predicting and exporting need."""
    import torchvision
    import ultralytics
    from ultralytics.utils import AUTOINSTALL, ONLINE

    if os.environ.get("YOLO_OFFLINE") == "true" and ONLINE:
        raise Finding("ultralytics goes online in spite of YOLO_OFFLINE")
    if os.environ.get("YOLO_AUTOINSTALL") == "false" and AUTOINSTALL:
        raise Finding("ultralytics installs packages by itself in spite of YOLO_AUTOINSTALL")
    ultralytics.YOLO("yolov5n.yaml", task="detect")
    return f"{ultralytics.__version__} (torchvision {torchvision.__version__})"


CHECKS: dict[str, Callable[[], str]] = {
    "torch": check_no_cuda,
    "opencv": check_headless_opencv,
    "pillow-heif": check_heif,
    "openvino": check_openvino,
    "onnxruntime": check_onnxruntime,
    "ultralytics": check_ultralytics,
}


def main() -> int:
    """Run all checks; exit code."""
    versions = {}
    findings = []
    with tempfile.TemporaryDirectory() as settings:
        # Where ultralytics writes its settings at its first start, and without a word about it. A home of its own shows
        # what a library leaves in one.
        os.environ.update(HOME=settings, YOLO_CONFIG_DIR=settings, YOLO_VERBOSE="false")
        os.environ.pop("XDG_CACHE_HOME", None)
        for name, check in CHECKS.items():
            if name == "ultralytics" and "torch" not in versions:
                continue  # It can't work, and its complaint would hide the cause.
            try:
                versions[name] = check()
            except Finding as finding:
                findings.append(f"{name}: {finding}")
            except Exception as error:  # whatever an import can throw is a finding too
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                findings.append(f"{name}: {reason}; expected it to import and to work")
    for line in findings:
        print(line)
    if not findings:
        print(json.dumps(versions))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
