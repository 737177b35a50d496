"""Checkpoints of the ultralytics package, made anew; needs torch and ultralytics, which execute hosts have."""

import pytest
from make_checkpoint import Values, hostile, module, name, package, write
from yolo.share.checkpoint_file import CheckpointFile
from yolo.share.errors import YoloError
from yolo.share.inert_pickle import Record

torch = pytest.importorskip("torch", reason="torch is only on execute hosts; the end-to-end test does this there")
pytest.importorskip("ultralytics", reason="ultralytics is only on execute hosts; the end-to-end test does this there")

from yolo.model.package_checkpoint import save_safe  # noqa: E402
from yolo.request.weights import DEMO  # noqa: E402


def test_the_model_that_is_saved_anew_answers_as_the_original(tmp_path):
    save_safe(CheckpointFile(DEMO), tmp_path / "safe.pt")
    # The project's own file: it may be loaded as it is.
    expected, found = (
        torch.load(path, weights_only=False)["model"].float().eval() for path in (DEMO, tmp_path / "safe.pt")
    )
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(expected(image)[0], found(image)[0])
    assert dict(expected.names) == dict(found.names)
    assert expected.state_dict().keys() == found.state_dict().keys()


def test_hooks_and_what_is_no_module_are_left_out(tmp_path):
    values = Values()
    content = package(train_args={"imgsz": 320})
    content["model"].state["_forward_hooks"] = {0: name("torch.nn.modules.activation.SiLU")}
    content["model"].state["criterion"] = Record(name("ultralytics.utils.loss.v8DetectionLoss"), (), {"x": 1})
    content["model"].state["stride"] = values.tensor([8.0, 16.0], 2)
    write(tmp_path / "best.pt", content, values)
    save_safe(CheckpointFile(tmp_path / "best.pt"), tmp_path / "safe.pt")
    found = torch.load(tmp_path / "safe.pt", weights_only=False)
    assert len(found["model"]._forward_hooks) == 0
    assert found["model"].criterion is None
    assert found["model"].stride.tolist() == [8, 16]
    assert found["model"].names == {0: "cat", 1: "dog"}
    assert found["train_args"] == {"imgsz": 320}


@pytest.mark.parametrize("of", ["torch.nn.modules.conv.Nothing", "ultralytics.nn.modules.block.Nothing"])
def test_a_class_that_is_not_installed_is_named(tmp_path, of):
    content = package()
    content["model"].state["_modules"] = {"0": module(of)}
    write(tmp_path / "best.pt", content)
    with pytest.raises(YoloError, match=f"can't be made with the ultralytics .*best.pt: ValueError: {of} is not known"):
        save_safe(CheckpointFile(tmp_path / "best.pt"), tmp_path / "safe.pt")


def test_a_hostile_checkpoint_makes_a_file_only_where_it_is_loaded_as_torch_does(tmp_path):
    path = hostile(tmp_path / "h.pt", tmp_path / "made")
    with pytest.raises(YoloError, match=r"posix\.system"):
        CheckpointFile(path)
    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)  # so that the test can fail
    assert (tmp_path / "made").exists()
