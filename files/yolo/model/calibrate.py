"""INT8: a sample of the user's images, and post-training quantisation that is calibrated with it.

Static quantisation by ONNX Runtime, in its "QDQ" form, which OpenVINO reads: weights of convolutions to int8
for each channel, their inputs to uint8 with the ranges seen in the sample. Their outputs stay in float: OpenVINO
applies the activation to them within the convolution and rounds only what comes out of it for the next one. With
the outputs rounded as well it took 1.2 times as long on coco128 and found less (F1 0.91 instead of 0.94).
"""

from __future__ import annotations

import hashlib
import logging
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..share.errors import BadImage, YoloError, one_line
from ..share.layout import MODEL_ONNX, MODEL_XML
from ..share.records import Entry
from ..vision.container import fast_scale
from ..vision.decode import decode_photo, read_file, read_image
from ..vision.letterbox import letterbox, to_tensor
from .openvino_runtime import import_openvino

#: Fewer images say too little about the ranges; more take longer and change next to nothing.
MIN_IMAGES, MAX_IMAGES = 32, 128
_SEED = 0
#: Changes with what :func:`quantise` makes of the same weights and sample.
_VERSION = 2


def pick(manifest: Path, count: int = MAX_IMAGES) -> list[Entry]:
    """Pick images from a manifest, the same ones each time.

    Args:
        manifest: Of the run.
        count: How many.

    Returns:
        At most twice as many entries, in the order in which to try them: some may be no images.
    """
    with open(manifest, "rb") as file:
        lines = [number for number, line in enumerate(file) if b'"skip":null' in line]
    wanted = random.Random(_SEED).sample(lines, min(2 * count, len(lines)))
    places = {number: place for place, number in enumerate(wanted)}
    with open(manifest, "rb") as file:
        found = [(places[number], Entry.from_json(line)) for number, line in enumerate(file) if number in places]
    return [entry for _, entry in sorted(found, key=lambda item: item[0])]


def sample_id(entries: Sequence[Entry], size: tuple[int, int]) -> str:
    """Return 16 hex digits that change with the sample, its files or the size of the input."""
    text = repr([_VERSION, size, *((e.key, e.content or (e.size, e.mtime_ns)) for e in entries)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_sample(
    entries: Sequence[Entry],
    input_dir: Path,
    size: tuple[int, int],
    *,
    rectangular: bool,
    stride: int,
    purpose: str,
    minimum: int = MIN_IMAGES,
    count: int = MAX_IMAGES,
) -> list[np.ndarray]:
    """Read images and letterbox them.

    Args:
        entries: What to try, in this order.
        input_dir: Folder of the staged images.
        size: (height, width) of the network's input.
        rectangular: See ``letterbox.fit``.
        stride: Of the model.
        purpose: For the message: what they are needed for.
        minimum: At least so many have to be readable.
        count: Stop after so many.

    Returns:
        uint8 (height, width, 3) each, BGR.

    Raises:
        YoloError: Too few can be read.
    """
    images: list[np.ndarray] = []
    for entry in entries:
        if len(images) == count:
            break
        try:
            image = read_image(input_dir / entry.path)
        except BadImage:
            continue  # the run will name it
        images.append(letterbox(image, size, rectangular=rectangular, stride=stride))
    if len(images) < minimum:
        raise YoloError(
            f"too few images for {purpose}",
            f"{len(images)} that can be read",
            f"at least {minimum}",
            "give more images, or leave precision out",
        )
    return images


def read_photos(
    entries: Sequence[Entry], input_dir: Path, size: tuple[int, int], *, rectangular: bool, stride: int, count: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the photos that fast decoding changes, both ways, and letterbox them.

    Args:
        entries: What to try, in this order.
        input_dir: Folder of the staged images.
        size: (height, width) of the network's input.
        rectangular: See ``letterbox.fit``.
        stride: Of the model.
        count: Stop after so many.

    Returns:
        Of each, decoded exactly and fast: uint8 (height, width, 3), BGR. Fewer than ``count`` where there are no more.
    """
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for entry in entries:
        if len(pairs) == count:
            break
        try:
            data = read_file(input_dir / entry.path)
            if fast_scale(data, size) == 1:
                continue
            exact, fast = decode_photo(data), decode_photo(data, needed=size)
        except (BadImage, struct.error, IndexError):
            continue  # the run will name it
        one, other = (letterbox(photo.image, size, rectangular=rectangular, stride=stride) for photo in (exact, fast))
        pairs.append((one, other))
    return pairs


def quantise(model: Path, images: Sequence[np.ndarray], folder: Path) -> None:
    """Quantise an ONNX model to INT8 and write it as an OpenVINO IR.

    Args:
        model: The ONNX file, float32.
        images: Letterboxed sample; uint8 (height, width, 3), BGR.
        folder: Folder that gets the IR.

    Raises:
        YoloError: The packages are missing, or the model cannot be quantised.
    """
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as error:
        raise YoloError(
            "precision int8 needs onnx and onnxruntime on the execute host",
            one_line(error),
            remedy="run site.yml again, or leave precision out",
        ) from error

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._name, self._left = name, iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._left, None)
            return None if image is None else {self._name: to_tensor(image)}

    openvino = import_openvino(tools=True)
    # Each call logs a recommendation of another tool.
    logging.getLogger().setLevel(logging.ERROR)
    out = folder / MODEL_ONNX
    try:
        graph = onnx.load(str(model)).graph
        quantization.quantize_static(
            str(model),
            str(out),
            Reader(graph.input[0].name),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=box_convolutions(graph),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
        )
        done = [node for node in onnx.load(str(out)).graph.node if node.op_type == "QuantizeLinear"]
        # The converter joins an activation's parts, which reading the file does not: apart they are not
        # computed within the convolution.
        openvino.save_model(openvino.convert_model(str(out)), folder / MODEL_XML, compress_to_fp16=False)
        out.unlink()
    except Exception as error:  # whatever the tools throw at a strange graph
        raise YoloError(
            "the weights cannot be quantised",
            f"{model.name}: {type(error).__name__}: {one_line(' '.join(str(error).split()))[:200]}",
            remedy="leave precision out, or give other weights",
        ) from error
    if not done:
        raise YoloError(
            "the weights have nothing to quantise",
            model.name,
            "convolutions in float32",
            "leave precision out (weights that are INT8 already run as they are)",
        )


def box_convolutions(graph: Any) -> list[str]:
    """Return the names of the convolutions that add up a box's distribution (ultralytics' DFL), behind a softmax.

    Their weights are 0 to 15 cells, which int8 would round to eighths: up to two pixels.

    Args:
        graph: ``onnx.GraphProto``.
    """
    maker = {output: node for node in graph.node for output in node.output}

    def behind_softmax(node: Any) -> bool:
        before = maker.get(node.input[0])
        while before is not None and before.op_type in ("Transpose", "Reshape"):
            before = maker.get(before.input[0])
        return before is not None and before.op_type == "Softmax"

    return sorted(node.name for node in graph.node if node.op_type == "Conv" and behind_softmax(node))
