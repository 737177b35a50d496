import json
import os

import numpy as np
import pytest
from make_model import COLOURS, SCORE, Size, colour_model, constant_model, onnx_model, openvino, ops, save
from make_weights import CELLS, NAMES, anchor_free, classic, end_to_end, failure, openvino_folder, request_model, run
from yolo.cli import prepare_model
from yolo.model.engines import load_engine
from yolo.model.info import EmbeddedNms, load_info
from yolo.model.output_layout import guess_layout
from yolo.share.errors import YoloError
from yolo.share.layout import Share
from yolo.vision import nms

# --- what comes out ----------------------------------------------------------------------------------------


def test_an_openvino_folder_becomes_a_model_that_jobs_can_run(tmp_path):
    names = "stride: 32\ntask: detect\nimgsz: [96, 64]\nversion: 8.4.190\nnames:\n  0: red\n  1: green\n  2: blue\n"
    source = openvino_folder(tmp_path, colour_model(), names)
    info = run(source, tmp_path / "id" / "model")
    assert info == load_info(tmp_path / "id" / "model")
    assert (info.names, info.stride, info.imgsz, info.dynamic) == (COLOURS, 32, (96, 64), True)
    assert (info.layout, info.precision, info.nms) == (nms.ANCHOR_FREE, "fp32", None)
    assert (info.source_kind, info.source_name, len(info.source_sha256)) == ("openvino", "best.xml", 64)
    assert info.versions["exporter"] == "8.4.190"
    assert info.versions["openvino"] == openvino.__version__
    assert sorted(p.name for p in (tmp_path / "id" / "model").iterdir()) == ["model.bin", "model.json", "model.xml"]
    assert os.listdir(tmp_path / "id") == ["model"]
    # A red square of 16 pixels.
    picture = np.zeros((1, 3, 64, 64), np.float32)
    picture[0, 0, 8:24, 16:32] = 1
    found = nms.detect(load_engine(tmp_path / "id" / "model", info).infer(picture), info.layout)
    assert found.boxes.tolist() == [[16, 8, 32, 24]]
    assert found.scores.tolist() == [SCORE]


def test_an_onnx_file_becomes_an_ir_of_full_precision(tmp_path):
    # Half precision has no such number.
    answer = anchor_free()
    answer[0, 0, 0] = 1 / 3
    (tmp_path / "source").mkdir()
    file = tmp_path / "source" / "best.onnx"
    file.write_bytes(onnx_model(answer, None, {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "imgsz": "[64, 64]"}))
    info = run(tmp_path / "source", tmp_path / "model", "onnx")
    assert (info.names, info.imgsz, info.dynamic, info.layout) == (("cat", "dog"), (64, 64), True, nms.ANCHOR_FREE)
    assert (info.source_kind, info.source_name, info.precision) == ("onnx", "best.onnx", "fp32")
    found = load_engine(tmp_path / "model", info).infer(np.zeros((1, 3, 64, 64), np.float32))
    np.testing.assert_array_equal(found, answer)


def test_weights_whose_suffix_is_in_capitals(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "BEST.ONNX").write_bytes(onnx_model(anchor_free()))
    assert run(tmp_path / "source", tmp_path / "model", "onnx").source_name == "BEST.ONNX"


def test_an_ir_is_copied_as_it_is(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    run(source, tmp_path / "model")
    assert (tmp_path / "model" / "model.bin").read_bytes() == (source / "best.bin").read_bytes()


@pytest.mark.parametrize(
    ("answer", "metadata", "layout", "names"),
    [
        (anchor_free(), NAMES, nms.ANCHOR_FREE, ("cat", "dog")),
        (anchor_free(3), None, nms.ANCHOR_FREE, ("class0", "class1", "class2")),
        (classic(), NAMES, nms.CLASSIC, ("cat", "dog")),
        (classic(1), "names: [cat]", nms.CLASSIC, ("cat",)),
        (end_to_end(), NAMES, nms.END_TO_END, ("cat", "dog")),
    ],
)
def test_the_layout_is_seen_in_the_output(tmp_path, answer, metadata, layout, names):
    info = run(openvino_folder(tmp_path, constant_model(answer), metadata), tmp_path / "model")
    assert (info.layout, info.names) == (layout, names)


@pytest.mark.parametrize(
    ("shape", "size", "nc", "layout"),
    [
        ((84, 8400), (640, 640), 80, nms.ANCHOR_FREE),
        ((84, 8400), (640, 640), None, nms.ANCHOR_FREE),
        ((85, 34000), (1280, 1280), None, nms.ANCHOR_FREE),  # four scales, 8 to 64
        ((25200, 85), (640, 640), 80, nms.CLASSIC),
        ((102000, 85), (1280, 1280), 80, nms.CLASSIC),
        ((25200, 6), (640, 640), 1, nms.CLASSIC),
        ((25200, 6), (640, 640), None, nms.CLASSIC),
        ((5, 8400), (640, 640), 1, nms.ANCHOR_FREE),
        ((300, 6), (640, 640), 80, nms.END_TO_END),
        ((300, 6), (640, 640), 1, nms.END_TO_END),
        ((84, 1000), (640, 640), 80, nms.ANCHOR_FREE),  # strides that nobody has thought of
        ((1000, 85), (640, 640), 80, nms.CLASSIC),
        ((6, 6300), (480, 640), 2, nms.ANCHOR_FREE),
    ],
)
def test_layouts_of_known_detectors(shape, size, nc, layout):
    assert guess_layout(shape, size, nc) == layout


@pytest.mark.parametrize(
    ("shape", "nc"),
    [
        ((8400, 84), 80),
        ((84, 1000), None),
        ((116, 8400), 80),
        ((4, 8400), None),
        ((25200, 85), 81),
        ((8400, 6), 2),
    ],
)
def test_an_output_of_no_known_layout_is_refused(shape, nc):
    with pytest.raises(YoloError, match=r"unknown layout: the model: .* for an input of 640x640; expected .*; give"):
        guess_layout(shape, (640, 640), nc)


@pytest.mark.parametrize(("shape", "nc"), [((300, 84), 80), ((300, 5), 1)])
def test_an_output_of_rtdetr_is_called_that(shape, nc):
    with pytest.raises(YoloError, match="looks like RT-DETR's"):
        guess_layout(shape, (640, 640), nc)


def test_rtdetr_of_two_classes_is_not_taken_for_an_end_to_end_model(tmp_path):
    # Boxes in parts of the image and two scores: as many columns as a box, a score and a class.
    answer = np.full((1, 300, 6), 0.3, np.float32)
    assert failure(openvino_folder(tmp_path, constant_model(answer))).startswith(
        "the model's output looks like RT-DETR's"
    )


@pytest.mark.parametrize(
    ("size", "metadata", "asked", "expected", "dynamic"),
    [
        # A fixed model has its own size whatever is said.
        ((64, 64), "imgsz: 128", 0, (64, 64), False),
        (None, "imgsz: 128", 0, (128, 128), True),
        (None, "imgsz: [128, 160]", 0, (128, 160), True),
        (None, "imgsz: 128", 256, (256, 256), True),
        (None, "imgsz: 100", 0, (128, 128), True),
        (None, "imgsz: 100\nstride: 64", 70, (128, 128), True),
        (None, "imgsz: 1", 0, (640, 640), True),
        (None, "", 0, (640, 640), True),
        (None, "", 320, (320, 320), True),
    ],
)
def test_the_size_is_the_one_asked_for_then_the_models_own_then_the_one_it_was_made_for(
    tmp_path, size, metadata, asked, expected, dynamic
):
    # With its names known the answer's layout is known at any size.
    source = openvino_folder(tmp_path, constant_model(anchor_free(2, 1000), size), NAMES + metadata)
    info = run(source, tmp_path / "model")
    assert (info.input_size(asked), info.dynamic) == (expected, dynamic)


def test_a_batch_is_made_one_and_other_types_are_made_float(tmp_path):
    # Each picture of the batch has its own answer, so a batch of one has one answer.
    images = ops.parameter([2, 3, 64, 64], np.float16, name="images")
    brightest = ops.reduce_max(images, [1, 2, 3])
    answer = ops.broadcast(
        ops.reshape(brightest, np.array([-1, 1, 1]), False),
        ops.concat([ops.shape_of(brightest, "i64"), ops.constant(np.array([6, CELLS]))], 0),
    )
    model = openvino.Model([answer], [images])
    info = run(openvino_folder(tmp_path, model), tmp_path / "model")
    found = load_engine(tmp_path / "model", info).infer(np.full((1, 3, 64, 64), 0.25, np.float32))
    assert openvino.Core().read_model(tmp_path / "model" / "model.xml").input().element_type == openvino.Type.f32
    assert found.dtype == np.float32
    assert found.shape == (1, 6, CELLS)
    assert (found == 0.25).all()


def test_raw_feature_maps_behind_the_detections_are_left_out(tmp_path):
    images = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    nothing = ops.multiply(ops.reduce_max(images, [0, 1, 2, 3]), np.float32(0))
    maps = ops.add(ops.constant(np.zeros((1, 3, 8, 8, 7), np.float32)), nothing)
    model = openvino.Model([ops.add(ops.constant(classic()), nothing), maps], [images])
    info = run(openvino_folder(tmp_path, model), tmp_path / "model")
    assert info.layout == nms.CLASSIC
    engine = load_engine(tmp_path / "model", info)
    np.testing.assert_array_equal(engine.infer(np.zeros((1, 3, 64, 64), np.float32)), classic())


def suppressing_model(boxes: int, conf: float, iou: float) -> object:
    """A model with thresholds where exports with nms=True have them."""
    images = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    nothing = ops.multiply(ops.reduce_max(images, [0, 1, 2, 3]), np.float32(0))
    scores = ops.add(ops.constant(np.full((1, 1, boxes), 0.9, np.float32)), nothing)
    kept = ops.non_max_suppression(
        ops.constant(np.zeros((1, boxes, 4), np.float32)),
        scores,
        max_output_boxes_per_class=ops.constant(np.int64(boxes)),
        iou_threshold=ops.constant(np.float32(iou)),
        score_threshold=ops.constant(np.float32(0)),
    )
    above = ops.convert(ops.greater(scores, ops.constant(np.float32(conf))), "f32")
    rest = ops.multiply(ops.convert(ops.reduce_max(kept.output(0), [0, 1]), "f32"), np.float32(0))
    nothing_more = ops.add(ops.multiply(ops.reduce_max(above, [0, 1, 2]), np.float32(0)), rest)
    return openvino.Model([ops.add(ops.constant(end_to_end(boxes)), nothing_more)], [images])


def test_the_limits_of_a_model_that_suppresses_by_itself_are_read(tmp_path):
    source = openvino_folder(tmp_path, suppressing_model(100, 0.125, 0.625))
    info = run(source, tmp_path / "model")
    assert info.nms == EmbeddedNms(conf=0.125, iou=0.625, max_det=100)


def test_a_model_that_needs_no_suppression_has_no_thresholds(tmp_path):
    info = run(openvino_folder(tmp_path, constant_model(end_to_end(77))), tmp_path / "model")
    assert info.nms == EmbeddedNms(conf=None, iou=None, max_det=77)


def test_an_end_to_end_model_that_finds_nothing_in_grey_is_no_bad_model(tmp_path):
    # As many boxes as the picture has bright columns.
    images = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    bright = ops.non_zero(ops.less(np.float32(0.9), ops.reduce_max(images, [0, 1, 2])), "i64")
    count = ops.gather(ops.shape_of(bright, "i64"), np.int64(1), np.int64(0))
    shape = ops.concat([ops.constant(np.array([1])), ops.unsqueeze(count, [0]), ops.constant(np.array([6]))], 0)
    model = openvino.Model([ops.broadcast(ops.constant(np.float32(0.5)), shape)], [images])
    info = run(openvino_folder(tmp_path, model), tmp_path / "model")
    assert (info.layout, info.nms) == (nms.END_TO_END, EmbeddedNms(None, None, nms.MAX_CANDIDATES))


def test_the_precision_is_that_of_the_weights(tmp_path):
    images = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    nothing = ops.multiply(ops.reduce_max(images, [0, 1, 2, 3]), np.float32(0))
    half = ops.convert(ops.constant(anchor_free().astype(np.float16)), "f32")
    quantised = ops.fake_quantize(half, np.float32(0), np.float32(1), np.float32(0), np.float32(1), 256)
    for name, answer in (("fp16", half), ("int8", quantised)):
        model = openvino.Model([ops.add(answer, nothing)], [images])
        source = save(model, tmp_path / name / "source", "best", NAMES)
        assert run(source, tmp_path / name / "model").precision == name


# --- what can't be used ----------------------------------------------------------------------------------------


def test_no_folder(tmp_path):
    assert failure(tmp_path / "source").startswith("no folder of weights: ")


@pytest.mark.parametrize(("files", "named"), [([], "none"), (["a.xml", "b.xml"], "a.xml, b.xml")])
def test_none_or_two_weights_files(tmp_path, files, named):
    (tmp_path / "source").mkdir()
    for file in files:
        (tmp_path / "source" / file).touch()
    assert failure(tmp_path / "source").endswith(f"must hold one .xml file: {named}; expected exactly one .xml")


def test_an_openvino_folder_without_its_weights(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    (source / "best.bin").unlink()
    assert failure(source).startswith("OpenVINO folder without its weights: best.xml; expected best.bin beside it; ")


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("best.onnx", b"", "cannot be read as ONNX: best.onnx: it is an empty file; copy or export them again"),
        ("best.onnx", b"<html>not found", "best.onnx: it is an HTML page (a download that went wrong?)"),
        ("best.onnx", b"\x08\x08\x3a\x7f\x0a", "best.onnx: corrupt, truncated or not ONNX: "),
        ("best.xml", b"<net", "cannot be read as OpenVINO: best.xml: "),
        ("best.xml", b"", "best.xml: it is an empty file"),
        ("best.xml", b"\0" * 99, "best.xml: it is zeros (an interrupted download or copy)"),
        ("best.pt", b"hello", "not a PyTorch checkpoint: best.pt is text; expected a .pt file written by ultralytics"),
        ("best.pt", b"", "not a PyTorch checkpoint: best.pt is an empty file"),
    ],
    ids=lambda value: value.hex()[:8] if isinstance(value, bytes) else value[:9],
)
def test_files_that_hold_no_weights(tmp_path, file, content, text):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / file).write_bytes(content)
    (tmp_path / "source" / "best.bin").touch()
    assert text in failure(tmp_path / "source", {"onnx": "onnx", "xml": "openvino", "pt": "pt"}[file[5:]])


def test_an_onnx_file_that_was_cut_off(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "best.onnx").write_bytes(onnx_model(anchor_free())[:-40])
    assert "best.onnx: corrupt, truncated or not ONNX: " in failure(tmp_path / "source", "onnx")


def test_truncated_openvino_weights(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    data = (source / "best.bin").read_bytes()
    (source / "best.bin").write_bytes(data[:100])
    assert failure(source).startswith("the weights cannot be read as OpenVINO: best.xml: ")


def test_a_corrupt_metadata_file(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()), "names: {0: cat")
    assert failure(source).startswith("metadata.yaml is corrupt: ")
    (source / "metadata.yaml").write_bytes(b"names: {0: caf\xe9}")
    assert failure(source).startswith("metadata.yaml is corrupt: ")


def test_weights_for_another_task(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()), "task: segment")
    assert failure(source) == (
        "the weights are for another task: best.xml: segment; expected weights for detection; "
        "give others, such as yolov5n or your own best.pt of a detection training"
    )


def test_names_that_do_not_fit(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free(2)), "names: [a, b, c]")
    assert "with 3 classes has an unknown layout: best.xml: (1, 6, 84) for an input of 64x64" in failure(source)


def many_inputs() -> object:
    one, two = (ops.parameter([1, 3, 64, 64], np.float32, name=name) for name in ("a", "b"))
    return openvino.Model([ops.reduce_max(ops.add(one, two), [3])], [one, two])


def no_input() -> object:
    return openvino.Model([ops.constant(anchor_free())], [])


def shaped(shape: list[int]) -> object:
    images = ops.parameter(shape, np.float32, name="images")
    return openvino.Model([ops.reduce_max(images, np.array([len(shape) - 1]))], [images])


def segmenter() -> object:
    """Boxes, and prototypes of masks beside them."""
    images = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    return openvino.Model([ops.reduce_max(images, [3]), ops.multiply(images, np.float32(1))], [images])


def any_rank() -> object:
    """One output of a rank that is known at run time only."""
    images = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    bright = ops.non_zero(ops.greater(ops.reduce_max(images, [0, 1, 2]), np.float32(0.9)), "i64")
    return openvino.Model([ops.broadcast(np.float32(1), ops.squeeze(bright, [0]))], [images])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (many_inputs, "inputs ['[1,3,64,64]', '[1,3,64,64]']"),
        (no_input, "inputs []"),
        (segmenter, "outputs ['[1,3,64]', '[1,3,64,64]']"),
        (any_rank, "outputs ['[...]']"),
        (lambda: shaped([1, 3, 64]), "inputs ['[1,3,64]']"),
        (lambda: shaped([1, 1, 64, 64]), "input [1,1,64,64]; expected colour images as (batch, 3, height, width)"),
        (lambda: constant_model(np.zeros((1, 1000), np.float32)), "outputs ['[1,1000]']"),
        (lambda: constant_model(np.zeros((1, 3, 8, 8), np.float32)), "outputs ['[1,3,8,8]']"),
        (lambda: constant_model(np.zeros((2, 6, CELLS), np.float32)), "output (2, 6, 84)"),
        (lambda: shaped([1, 3, -1, 64]), "height and width both fixed or both free"),
    ],
)
def test_models_that_are_no_detectors(tmp_path, make, found):
    text = failure(openvino_folder(tmp_path, make()))
    assert text.startswith("the weights do not look like a YOLO detector: best.xml: ")
    assert found in text


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, "0 to 1.5 on"), (-0.5, "-0.5 to 0 on"), (np.nan, "nan"), (np.inf, "inf")]
)
@pytest.mark.parametrize("answer", [anchor_free(), classic(), end_to_end()])
def test_scores_that_are_no_probabilities(tmp_path, answer, value, text):
    answer = np.zeros_like(answer)
    answer[0, -1, -1 if answer.shape[2] != 6 else 4] = value
    found = failure(openvino_folder(tmp_path, constant_model(answer)))
    assert found.startswith("the model's scores are not between 0 and 1: best.xml: ")
    assert text in found


def test_a_model_that_fails_on_its_first_picture(tmp_path):
    # Says that it takes any size, but parts the picture in seven.
    images = ops.parameter([1, 3, -1, -1], np.float32, name="images")
    sevenths = ops.reshape(ops.reduce_max(images, [1]), np.array([1, 7, -1]), False)
    text = failure(openvino_folder(tmp_path, openvino.Model([sevenths], [images]), "imgsz: 128"))
    assert text.startswith("the model fails on an input of 128x128: best.xml: ")


@pytest.mark.parametrize(
    ("size", "asked", "input_size"),
    [((64, 64), 0, [64, 64]), ((64, 96), 0, [64, 96]), (None, 0, [128, 128]), (None, 320, [320, 320])],
)
def test_the_command_prints_what_it_made(tmp_path, capsys, size: Size | None, asked, input_size):
    weights = Share(tmp_path).weights("0" * 16)
    save(constant_model(anchor_free(2, 1000), size), weights.source, "best", NAMES + "imgsz: 128")
    arguments = request_model(weights, Share(tmp_path).run("r"), tmp_path, "openvino", imgsz=asked)
    assert prepare_model.main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("sentence") == "engine openvino, precision fp32"
    assert answer == {
        "made": True,
        "model": str(weights.model),
        "input": input_size,
        "layout": "anchor-free",
        "classes": 2,
        "engine": "openvino",
        "precision": "fp32",
        "measured": {},
        "difference": {},
        "decode_difference": {},
        "dynamic": size is None,
    }
