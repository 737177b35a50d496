import json
import os
import shutil
import sys
import types
from pathlib import Path

import pytest
from make_checkpoint import Values, classic, hostile, package, write
from make_model import constant_model, save
from make_weights import NAMES, anchor_free, failure, request_model, run
from yolo.cli import prepare_model
from yolo.model.checkpoint import export_pt
from yolo.model.prepare import prepare
from yolo.request.weights import DEMO
from yolo.share.errors import YoloError
from yolo.share.layout import Share
from yolo.vision import nms


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    write(folder / "best.pt", package())
    return folder


@pytest.fixture
def exporter(monkeypatch):
    """Stands for torch and ultralytics: it exports a real model, of the size that it is asked for."""

    class Exporter:
        task = "detect"
        overrides: dict[str, object] = {}  # noqa: RUF012
        error: Exception | None = None
        asked: dict[str, object] = {}  # noqa: RUF012

        def __init__(self, weights: str) -> None:
            Exporter.weights = Path(weights)
            if self.error:
                raise self.error

        def export(self, **options: object) -> str:
            Exporter.asked = options
            size = options["imgsz"]
            height, width = (size, size) if isinstance(size, int) else size
            folder = self.weights.parent / "weights_openvino_model"
            save(constant_model(anchor_free(2, 1000), None), folder, "weights")
            (folder / "metadata.yaml").write_text(f"{NAMES}imgsz: [{height}, {width}]\nversion: 8.4.190\n")
            return str(folder)

    # What is saved anew needs torch: see test_package_checkpoint.py.
    again = types.SimpleNamespace(save_safe=lambda file, out: out.write_bytes(b""))
    monkeypatch.setitem(sys.modules, "yolo.model.package_checkpoint", again)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.14.0+cpu"))
    monkeypatch.setitem(sys.modules, "ultralytics", types.SimpleNamespace(__version__="8.4.190", YOLO=Exporter))
    # It changes the process's environment, which is a job's own.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return Exporter


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (256, (256, 256)),
        (640, (640, 640)),
        ([256, 320], (256, 320)),
        (None, (640, 640)),
        (0, (640, 640)),
    ],
)
def test_a_checkpoint_runs_at_the_size_of_its_training(checkpoint, exporter, trained, expected):
    exporter.overrides = {"imgsz": trained}
    info = run(checkpoint, checkpoint.parent / "model", "pt")
    assert info.imgsz == expected
    assert info.dynamic
    assert (info.source_kind, info.source_name) == ("pt", "best.pt")
    assert info.versions["torch"] == "2.14.0+cpu"
    assert info.versions["ultralytics"] == "8.4.190"
    asked_for = exporter.asked["imgsz"]
    assert (asked_for if isinstance(asked_for, tuple) else (asked_for, asked_for)) == expected
    assert (exporter.asked["dynamic"], exporter.asked["batch"], exporter.asked["device"]) == (True, 1, "cpu")


def test_a_checkpoint_is_exported_at_the_size_that_is_asked_for(checkpoint, exporter, tmp_path):
    exporter.overrides = {"imgsz": 256}
    export_pt(checkpoint / "best.pt", 320, tmp_path, "openvino")
    assert exporter.asked["imgsz"] == 320


def test_what_exporters_print_is_no_part_of_the_answer(checkpoint, exporter, tmp_path, capsys):
    export = exporter.export
    exporter.export = lambda self, **options: print("noise") or export(self, **options)
    weights = Share(tmp_path).weights("0" * 16)
    shutil.copytree(checkpoint, weights.source)
    arguments = request_model(weights, Share(tmp_path).run("r"), tmp_path, "pt", engine="openvino")
    assert prepare_model.main(arguments) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["made"]
    assert captured.out.count("\n") == 1
    assert "noise" in captured.err


def test_ultralytics_works_in_a_folder_of_its_own_and_without_the_network(checkpoint, exporter, monkeypatch):
    monkeypatch.delitem(os.environ, "HOME", raising=False)
    run(checkpoint, checkpoint.parent / "model", "pt")
    scratch = exporter.weights.parent
    # Not yolov5n.pt or the like, which ultralytics would fetch.
    assert exporter.weights.name == "weights.pt"
    assert not scratch.exists()
    assert os.environ["YOLO_CONFIG_DIR"] == os.environ["MPLCONFIGDIR"] == os.environ["HOME"] == str(scratch)
    assert os.environ["YOLO_OFFLINE"] == "true"
    assert os.environ["YOLO_AUTOINSTALL"] == "false"
    assert sorted(p.name for p in checkpoint.iterdir()) == ["best.pt"]


def test_a_checkpoint_for_another_task(checkpoint, exporter):
    exporter.task = "classify"
    assert failure(checkpoint, "pt").startswith("the weights are for another task: best.pt: classify")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ModuleNotFoundError("No module named 'mylab'", name="mylab"),
            "needs a Python module which is not installed: best.pt needs mylab; expected a .pt written by ultralytics",
        ),
        (
            TypeError("ERROR x.pt appears to be an Ultralytics YOLOv5 model originally trained with yolov5"),
            "a checkpoint of ultralytics/yolov5 that has more than that project's own layers: best.pt; expected one",
        ),
        (RuntimeError("PytorchStreamReader failed\n/tmp/x/weights.pt"), "best.pt: RuntimeError: PytorchStreamReader"),
        (EOFError(), "cannot be loaded and exported: it is corrupt, or not a detection model of ultralytics: best.pt"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_cannot_be_loaded(checkpoint, exporter, error, text):
    exporter.error = error
    found = failure(checkpoint, "pt")
    assert text in found
    assert "weights.pt" not in found


def test_a_checkpoint_where_torch_is_missing(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    text = failure(checkpoint, "pt")
    assert text.startswith("weights in .pt need torch and ultralytics on the execute host: ModuleNotFoundError: ")
    assert text.endswith("run site.yml again, or export the weights to ONNX and give the .onnx file")


def test_the_demo_weights_run_at_256(tmp_path, monkeypatch):
    for needed in ("torch", "torchvision", "ultralytics"):
        pytest.importorskip(needed, reason=f"{needed} is only on execute hosts; the end-to-end test does this there")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / DEMO.name).write_bytes(DEMO.read_bytes())
    info = run(tmp_path / "source", tmp_path / "model", "pt")
    card = json.loads(DEMO.with_suffix(".json").read_text())
    assert info.imgsz == (card["imgsz"], card["imgsz"]) == (256, 256)
    assert list(info.names) == card["classes"]
    assert info.source_sha256 == card["sha256"]
    assert (info.dynamic, info.layout) == (True, nms.ANCHOR_FREE)


@pytest.mark.parametrize("trust", [False, True])
def test_a_checkpoint_with_unknown_names_is_only_loaded_if_it_is_trusted(checkpoint, exporter, tmp_path, trust):
    hostile(checkpoint / "best.pt", tmp_path / "made")
    if trust:
        prepare(checkpoint, "pt", tmp_path / "model", trust=True)
        assert exporter.weights.name == "weights.pt"
        return
    text = failure(checkpoint, "pt")
    assert text.startswith(
        "the checkpoint names what no weights of YOLO need, and loading it could run that: best.pt: "
    )
    assert "best.pt: posix.system; expected names of torch, ultralytics and ultralytics/yolov5 only; export it" in text
    assert "give -e trust_weights=yes, which lets code in the file run on the execute hosts" in text
    assert not hasattr(exporter, "weights")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("ultralytics.nn.tasks.SegmentationModel", "segment"),
        ("ultralytics.nn.tasks.PoseModel", "pose"),
        ("ultralytics.nn.tasks.OBBModel", "obb"),
        ("ultralytics.nn.tasks.ClassificationModel", "classify"),
        ("ultralytics.nn.tasks.RTDETRDetectionModel", "rt-detr"),
        ("models.yolo.SegmentationModel", "segment"),
        ("models.yolo.ClassificationModel", "classify"),
    ],
)
def test_a_checkpoint_for_another_task_is_refused_before_it_is_loaded(checkpoint, model, task):
    write(checkpoint / "best.pt", package(model))
    assert failure(checkpoint, "pt").startswith(f"the weights are for another task: best.pt: {task}")


def test_a_classic_checkpoint_where_torch_is_missing(checkpoint, monkeypatch):
    values = Values()
    write(checkpoint / "best.pt", classic(values), values)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert failure(checkpoint, "pt").startswith("weights in .pt need torch on the execute host: ModuleNotFoundError: ")


@pytest.mark.parametrize("trust", [False, True])
def test_trust_changes_nothing_for_a_checkpoint_that_can_be_read_as_data(checkpoint, tmp_path, monkeypatch, trust):
    values = Values()
    write(checkpoint / "best.pt", classic(values), values)
    monkeypatch.setitem(sys.modules, "torch", None)
    # Not "torch and ultralytics": nothing is given to ultralytics, whose loader runs code.
    with pytest.raises(YoloError, match=r"need torch on the execute host"):
        prepare(checkpoint, "pt", tmp_path / "model", trust=trust)
