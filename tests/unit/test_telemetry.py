"""What libraries would report is switched off wherever they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ultralytics_reference
import verify_venv
import yaml

from bench import candidates

PROJECT = Path(__file__).resolve().parents[2]
SESSION = """
import onnxruntime
from onnx import TensorProto, helper
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize("module", ["yolo.model.engine_onnxruntime", "yolo.model.calibrate", "yolo.detector.job"])
def test_onnxruntime_leaves_nothing_in_the_home_of_who_uses_our_package(module, tmp_path):
    # The identity is there as soon as a session is; what is sent under it follows ten seconds later.
    environment = {
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(PROJECT / "files"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run([sys.executable, "-c", f"import {module}\n{SESSION}"], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_the_environment_of_the_execute_hosts_switches_it_off_for_every_process():
    defaults = yaml.safe_load((PROJECT / "roles/yolo_venv/defaults/main.yml").read_text())
    assert defaults["yolo_venv_environment"]["ORT_DISABLE_TELEMETRY"] == "1"
    assert defaults["yolo_venv_environment"]["YOLO_OFFLINE"] == "true"


def test_an_environment_that_reports_is_not_fit_for_use(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert verify_venv.check_onnxruntime()
    identity = tmp_path / ".cache/Microsoft/DeveloperTools/.onnxruntime/deviceid"
    identity.parent.mkdir(parents=True)
    identity.touch()
    with pytest.raises(verify_venv.Finding, match="writes deviceid to report its use; expected nothing"):
        verify_venv.check_onnxruntime()


def test_the_benchmark_and_the_reference_report_nothing(tmp_path, monkeypatch):
    switches = {"ORT_DISABLE_TELEMETRY": "1", "YOLO_OFFLINE": "true"}
    assert candidates.environment().items() >= (switches | {"RAY_USAGE_STATS_ENABLED": "0"}).items()
    monkeypatch.setattr(os, "environ", {})
    ultralytics_reference.quieten(str(tmp_path))
    assert os.environ.items() >= switches.items()
