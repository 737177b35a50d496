"""What a checkpoint of ultralytics/yolov5 says its network is, checked before anything is sent; needs no torch."""

import math

import pytest
from make_checkpoint import Values, classic, module, name, opcodes, write
from yolo.request.checkpoint_check import check_checkpoint
from yolo.share.errors import YoloError
from yolo.share.inert_pickle import Record


@pytest.mark.parametrize("names", [("cat", "dog"), {0: "cat", 1: "dog"}, ("one",)])
def test_a_whole_one(tmp_path, names):
    values = Values()
    write(tmp_path / "best.pt", classic(values, names), values)
    assert check_checkpoint(tmp_path / "best.pt") == list(names.values() if isinstance(names, dict) else names)


@pytest.mark.parametrize("method", ["forward_fuse", "fuseforward"])
def test_a_fused_one(tmp_path, method):
    values = Values()
    content = classic(values)
    _layers(content)["0"].state["forward"] = Record(name("builtins.getattr"), ("conv", method))
    write(tmp_path / "best.pt", content, values)
    assert check_checkpoint(tmp_path / "best.pt") == ["cat", "dog"]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_one_that_is_cut(tmp_path, part):
    values = Values()
    path = write(tmp_path / "best.pt", classic(values), values)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(YoloError, match=r"^the checkpoint is damaged: best\.pt: "):
        check_checkpoint(path)


def test_one_without_the_values_of_a_tensor(tmp_path):
    values = Values()
    content = classic(values)
    values.members.pop(sorted(values.members)[0])
    with pytest.raises(YoloError, match="the values of a tensor are missing"):
        check_checkpoint(write(tmp_path / "best.pt", content, values))


def test_one_with_a_changed_byte_in_a_tensor(tmp_path):
    values = Values()
    path = write(tmp_path / "best.pt", classic(values), values)
    data = path.read_bytes()
    member = max(values.members.values(), key=len)
    place = data.index(member) + len(member) // 2
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(YoloError, match=r"^the checkpoint is damaged: best\.pt: Bad CRC-32"):
        check_checkpoint(path)


def test_a_state_dict_alone(tmp_path):
    values = Values()
    content = {"model.0.conv.weight": values.tensor([1.0], 1)}
    with pytest.raises(
        YoloError, match=r"^the checkpoint holds no model: .*give best\.pt or last\.pt .* not a state_dict"
    ):
        check_checkpoint(write(tmp_path / "best.pt", content, values))


@pytest.mark.parametrize(
    ("model", "task"), [("models.yolo.SegmentationModel", "segment"), ("models.yolo.ClassificationModel", "classify")]
)
def test_one_for_another_task(tmp_path, model, task):
    values = Values()
    content = classic(values, model=model)
    with pytest.raises(
        YoloError, match=rf"^the weights are for another task: best\.pt: {task}; expected .*; give others"
    ):
        check_checkpoint(write(tmp_path / "best.pt", content, values))


def test_a_checkpoint_of_before_pytorch_1_6(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
    with pytest.raises(YoloError, match=r"^a checkpoint in PyTorch's format of before 1\.6.*; where it was trained"):
        check_checkpoint(tmp_path / "best.pt")


def _layers(content):
    return content["model"].state["_modules"]["model"].state["_modules"]


def _no_weight(content, values):
    del _layers(content)["0"].state["_modules"]["conv"].state["_parameters"]["weight"]


def _other_shape(content, values):
    _layers(content)["0"].state["_modules"]["conv"].state["out_channels"] = 5


def _other_classes(content, values):
    _layers(content)["1"].state["nc"] = 3


def _anchors(content, values):
    _layers(content)["1"].state["_buffers"]["anchors"] = values.tensor([1.0, 2.0, 3.0], 1, 1, 3)


def _negative_anchors(content, values):
    _layers(content)["1"].state["_buffers"]["anchors"] = values.tensor([1.0, 2.0, -3.0, 1.0], 1, 2, 2)


def _levels(content, values):
    _layers(content)["1"].state["stride"] = values.tensor([8.0, 16.0], 2)


def _not_a_number(content, values):
    _layers(content)["1"].state["_buffers"]["anchors"] = values.tensor([math.nan] * 4, 1, 2, 2)


def _unknown_layer(content, values):
    _layers(content)["0"] = module("models.common.CBAM")


def _wired_ahead(content, values):
    _layers(content)["0"].state["f"] = 1


def _endless(content, values):
    inner = _layers(content)["0"].state["_modules"]
    for _ in range(40):
        inner["conv"] = module("torch.nn.modules.container.Sequential", {"0": inner["conv"]})


def _no_layers(content, values):
    _layers(content).clear()


def _one_more_part(content, values):
    _layers(content)["0"].state["_modules"]["attention"] = module("torch.nn.modules.activation.SiLU")


def _one_more_tensor(content, values):
    _layers(content)["0"].state["_parameters"]["gain"] = values.tensor([2.0], 1)


def _no_activation(content, values):
    del _layers(content)["0"].state["_modules"]["act"]


def _other_method(content, values):
    conv = _layers(content)["0"]
    conv.state["forward"] = Record(name("builtins.getattr"), ("conv", "forward_of_mine"))


def _within_itself(content, values):
    # As a pickle may have it: a list of layers that is one of them.
    inner = _layers(content)["0"].state["_modules"]
    inner["conv"] = (
        b"ctorch.nn.modules.container\nSequential\n)\x81q\x63}("
        + opcodes("_modules")
        + b"}("
        + opcodes("0")
        + b"h\x63uub"
    )


def _scaled(content, values):
    _layers(content)["1"].state["stride"] = values.tensor([8.5], 1)


def _not_the_head(content, values):
    del _layers(content)["1"]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_one_more_part, "a models.common.Conv has a part that the published one has not, attention"),
        (_one_more_tensor, "a models.common.Conv has a part that the published one has not, gain"),
        (_no_activation, "models.common.Conv lacks its act"),
        (_other_method, "a models.common.Conv runs other code than its own"),
        (_within_itself, "its layers are within each other without end"),
        (_scaled, "its strides are [8.5]"),
        (_not_the_head, "the last layer is models.common.Conv, not Detect"),
        (_no_weight, "torch.nn.modules.conv.Conv2d lacks its weight"),
        (_other_shape, "weight of torch.nn.modules.conv.Conv2d is (4, 3, 3, 3), not (5, 3, 3, 3)"),
        (_other_classes, "its head does not give 16 values, for 2 anchors and 3 classes"),
        (_anchors, "its anchors have the shape (1, 1, 3), not (levels, anchors, 2)"),
        (_negative_anchors, "an anchor has the side -3: anchors that were not set by a training"),
        (_levels, "its head has 1 levels, 2 strides and anchors of 1"),
        (_not_a_number, "a tensor holds values that are no numbers"),
        (_unknown_layer, "it has a models.common.CBAM, a layer that is not supported"),
        (_wired_ahead, "layer 0 takes the output of layer 1"),
        (_endless, "its layers are within each other without end"),
        (_no_layers, "the checkpoint's network can't be rebuilt: best.pt"),
    ],
)
def test_a_state_that_does_not_fit_its_description(tmp_path, spoil, text):
    values = Values()
    content = classic(values)
    spoil(content, values)
    write(tmp_path / "best.pt", content, values)
    with pytest.raises(YoloError) as error:
        check_checkpoint(tmp_path / "best.pt")
    assert str(error.value).startswith("the checkpoint's network can't be rebuilt: best.pt: ")
    assert text in str(error.value)
