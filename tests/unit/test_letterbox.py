import numpy as np
import pytest
from yolo.vision.letterbox import PADDING, Fit, fit, letterbox, round_size, scale_boxes, to_tensor


@pytest.mark.parametrize(
    ("shape", "size", "rectangular", "expected"),
    [
        # 640/1280 = 0.5: 640 x 360, and 280 rows of padding, 140 on each side.
        ((720, 1280), (640, 640), False, Fit((360, 640), 140, 140, 0, 0)),
        # Of these 280 rows only 280 mod 32 = 24 are needed: 384 is a multiple of 32.
        ((720, 1280), (640, 640), True, Fit((360, 640), 12, 12, 0, 0)),
        # Upright: 1280/720; the padding goes to the sides.
        ((1280, 720), (640, 640), True, Fit((640, 360), 0, 0, 12, 12)),
        # Already of the input's size.
        ((640, 640), (640, 640), False, Fit((640, 640), 0, 0, 0, 0)),
        # 640/427 x 500... the longer side decides: 640/500 = 1.28; 427 x 1.28 = 546.56, rounded 547.
        # 93 rows are missing: 46 above, the odd one below.
        ((427, 500), (640, 640), False, Fit((547, 640), 46, 47, 0, 0)),
        ((500, 427), (640, 640), False, Fit((640, 547), 0, 0, 46, 47)),
        # A picture smaller than the input is enlarged.
        ((10, 20), (640, 640), True, Fit((320, 640), 0, 0, 0, 0)),
        # An input that is no square: 320/100 = 3.2 is less than 640/150 = 4.27.
        ((100, 150), (320, 640), False, Fit((320, 480), 0, 0, 80, 80)),
        # A line: its height would round to 0.
        ((1, 10_000), (640, 640), True, Fit((1, 640), 15, 16, 0, 0)),
        ((10_000, 1), (640, 640), True, Fit((640, 1), 0, 0, 15, 16)),
    ],
)
def test_the_plan_against_values_worked_out_by_hand(shape, size, rectangular, expected):
    submission = fit(shape, size, rectangular=rectangular)
    assert submission == expected
    if not rectangular:
        assert submission.shape == size


@pytest.mark.parametrize("stride", [32, 64])
def test_a_rectangular_input_is_a_multiple_of_the_stride_and_no_larger_than_asked(stride):
    random = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(random.integers(1, 3000, 2).tolist())
        height, width = fit(shape, (640, 640), rectangular=True, stride=stride).shape
        assert height % stride == width % stride == 0
        assert max(height, width) == 640
        assert min(height, width) >= stride


def test_the_picture_lies_in_the_middle_of_grey():
    image = np.full((4, 8, 3), (1, 2, 3), np.uint8)
    found = letterbox(image, (64, 64), rectangular=False)
    assert found.shape == (64, 64, 3)
    assert (found[16:48] == (1, 2, 3)).all()
    assert (found[:16] == PADDING).all()
    assert (found[48:] == 114).all()


def test_a_picture_of_the_right_size_is_not_touched():
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(letterbox(image, (64, 64), rectangular=True), image)


def test_scaling_is_bilinear():
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 100
    # Centres of the four new pixels: -0.25, 0.25, 0.75, 1.25 of the old ones, the ends held.
    row = letterbox(image, (4, 4), rectangular=False, stride=1)[1, :, 0]
    assert row.tolist() == [0, 25, 75, 100]


def test_the_network_gets_rgb_from_0_to_1_plane_by_plane():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = (51, 102, 255)  # blue, green, red
    tensor = to_tensor(image)
    assert tensor.dtype == np.float32
    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor[0, :, 0, 1], np.float32([1, 102 / 255, 51 / 255]))
    assert np.count_nonzero(tensor) == 3


def test_all_256_values_are_divided_and_not_multiplied_by_the_rounded_reciprocal():
    values = np.arange(256, dtype=np.uint8)
    tensor = to_tensor(np.repeat(values[None, :, None], 3, axis=2))
    np.testing.assert_array_equal(tensor[0, 0, 0], values.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("box", "input_shape", "image_shape", "expected"),
    [
        # 1280 x 720 in 640 x 384: less 12 rows of padding, times 2.
        ([100, 112, 200, 312], (384, 640), (720, 1280), [200, 200, 400, 600]),
        # The same in a square: 140 rows of padding.
        ([100, 240, 200, 440], (640, 640), (720, 1280), [200, 200, 400, 600]),
        # 500 x 427: 46 rows above; across by 500/640, down by 427/547.
        ([64, 46, 640, 593], (640, 640), (427, 500), [50, 0, 500, 427]),
        # Into the padding and past the edges: clipped to the picture.
        ([-10, 0, 700, 384], (384, 640), (720, 1280, 3), [0, 0, 1280, 720]),
        # Wholly in the padding: nothing is left of it.
        ([0, 0, 10, 5], (384, 640), (720, 1280), [0, 0, 20, 0]),
    ],
)
def test_boxes_are_carried_back_and_clipped(box, input_shape, image_shape, expected):
    found = scale_boxes(np.float32([box]), input_shape, image_shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected], atol=1e-3)


def test_no_boxes():
    assert scale_boxes(np.zeros((0, 4), np.float32), (640, 640), (10, 10)).shape == (0, 4)


@pytest.mark.parametrize("rectangular", [True, False])
def test_boxes_find_back_to_where_they_came_from_in_pictures_of_any_shape(rectangular):
    random = np.random.default_rng(1)
    for _ in range(200):
        height, width = (int(side) for side in random.integers(1, 2000, 2))
        submission = fit((height, width), (640, 640), rectangular=rectangular)
        box = np.float32([0.1 * width, 0.2 * height, 0.9 * width, height])
        across, down = submission.resized[1] / width, submission.resized[0] / height
        there = box * np.float32([across, down] * 2) + np.float32([submission.left, submission.top] * 2)
        # Like ultralytics it knows the input's shape only, from which the scale may be off by one pixel's worth.
        tolerance = 1 / min(across, down) if rectangular else 0.02
        np.testing.assert_allclose(scale_boxes(there[None], submission.shape, (height, width))[0], box, atol=tolerance)


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [
        (640, 32, (640, 640)),
        (641, 32, (672, 672)),
        (1, 32, (32, 32)),
        (0, 32, (32, 32)),
        ((100, 640), 64, (128, 640)),
    ],
)
def test_sizes_are_rounded_up_to_the_stride(size, stride, expected):
    assert round_size(size, stride) == expected
