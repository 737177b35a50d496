import cv2
import numpy as np
import pytest
from make_fonts import use_fonts
from yolo.share.layout import WRITTEN_SUFFIXES
from yolo.vision.draw import EncodeError, colour, draw, encode, line_width, text_colour

GREY = 90
NAMES = ("person", "Fußgänger", "歩行者", "a name much longer than a small picture is wide")


@pytest.fixture(autouse=True)
def no_fonts(monkeypatch):
    use_fonts(monkeypatch, ())


def grey(height: int = 400, width: int = 600) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def drawn(image: np.ndarray, *found: tuple[tuple[float, ...], float, int]) -> np.ndarray:
    boxes = np.float32([box for box, _, _ in found]).reshape(-1, 4)
    scores = np.float32([score for _, score, _ in found])
    return draw(image, boxes, scores, np.array([index for _, _, index in found], np.int64), NAMES)


def is_colour(pixels: np.ndarray, index: int) -> np.ndarray:
    return (np.abs(pixels.astype(int) - colour(index)) < 3).all(axis=-1)


def label_rows(image: np.ndarray, index: int) -> np.ndarray:
    """Rows in which a run of 12 pixels in a row has the class's colour: of a label, not of an upright line."""
    runs = np.lib.stride_tricks.sliding_window_view(is_colour(image, index), 12, axis=1).all(axis=2)
    return np.flatnonzero(runs.any(axis=1))


# --- boxes ------------------------------------------------------------------------------------------------


def test_nothing_found_leaves_the_picture_as_it_was():
    assert (drawn(grey()) == GREY).all()


def test_a_box_is_drawn_into_the_picture_that_was_given():
    image = grey()
    assert drawn(image, ((100.4, 120.6, 299.6, 250.2), 0.9, 0)) is image
    # Corners rounded: 100, 121, 300, 250.
    assert is_colour(image[200, 99:102], 0).any()
    assert is_colour(image[200, 299:302], 0).any()
    assert is_colour(image[249:252, 200], 0).any()
    assert is_colour(image[120:123, 280], 0).any()
    inside, outside = image[135:240, 110:290], image[262:, :]
    assert (inside == GREY).all()
    assert (outside == GREY).all()
    assert (image[:, :90] == GREY).all()


def test_corners_are_rounded_and_not_cut():
    image = drawn(grey(100, 100), ((10.4, 20.6, 50.6, 60.4), 0.9, 1))
    distance = np.abs(image.astype(int) - colour(1)).sum(axis=-1)
    # Lines are smoothed: the middle has most of the colour.
    assert (distance[50, :30].argmin(), 30 + distance[50, 30:].argmin()) == (10, 51)
    assert 50 + distance[50:, 30].argmin() == 60


def test_the_lines_have_a_dark_edge():
    image = np.full((400, 600, 3), colour(0), np.uint8)
    drawn(image, ((100, 120, 300, 250), 0.9, 0))
    assert (image[200, 95:106].sum(axis=1) < 200).any()


def test_a_better_box_lies_on_top_of_a_worse_one():
    # They share their left side.
    image = drawn(grey(), ((100, 100, 300, 250), 0.9, 0), ((100, 150, 300, 350), 0.5, 1))
    assert is_colour(image[200, 99:102], 0).any()
    assert not is_colour(image[200, 99:102], 1).any()
    assert is_colour(image[300, 99:102], 1).any()


@pytest.mark.parametrize(("shape", "width"), [((480, 640), 2), ((100, 100), 1), ((4000, 6000), 15), ((1, 1), 1)])
def test_lines_grow_with_the_picture(shape, width):
    assert line_width(shape) == width


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (12, 12), (40, 33)])
def test_pictures_too_small_for_a_label_are_drawn_all_the_same(size):
    image = grey(*size)
    drawn(image, ((0, 0, size[1], size[0]), 0.5, 3), ((0, 0, 0, 0), 0.4, 2))
    assert image.shape == (*size, 3)
    assert (image != GREY).any()


# --- labels -----------------------------------------------------------------------------------------------


def test_the_label_stands_above_its_box_and_begins_at_its_side():
    image = drawn(grey(), ((100, 120, 300, 250), 0.9, 0))
    top = label_rows(image, 0)[0]
    # Its lower edge is the box's upper one.
    assert 12 < 120 - top < 25
    assert (image[:top] == GREY).all()
    columns = np.flatnonzero(is_colour(image[top + 1], 0))
    assert columns[0] == 99
    # "person 0.90" is 11 letters.
    assert 60 < columns[-1] - columns[0] < 130


def test_at_the_upper_edge_the_label_stays_inside_the_picture():
    image = drawn(grey(), ((100, 0, 300, 250), 0.9, 0))
    assert label_rows(image, 0)[0] == 0
    # Its lower edge, below the box's upper line.
    assert is_colour(image[18, 99:190], 0).all()
    assert (image[30:240, 110:290] == GREY).all()


def test_at_the_right_edge_the_label_moves_to_the_left():
    image = drawn(grey(), ((580, 120, 600, 250), 0.9, 0))
    row = image[112]
    assert is_colour(row[-1], 0)
    assert 60 < is_colour(row, 0).sum() + (~is_colour(row, 0) & (row != GREY).any(axis=-1)).sum() < 130


def test_two_labels_at_the_same_box_do_not_cover_each_other():
    one = label_rows(drawn(grey(), ((100, 120, 300, 250), 0.9, 0)), 0)
    both = drawn(grey(), ((100, 120, 300, 250), 0.9, 0), ((100, 120, 300, 250), 0.5, 1))
    assert label_rows(both, 0).tolist() == one.tolist()
    second = label_rows(both, 1)
    # Inside the box, below its upper line.
    assert 10 < len(second) < 40
    assert second[0] > 118
    assert second[-1] < 160


def test_labels_side_by_side_are_not_in_each_others_way():
    image = drawn(grey(), ((300, 120, 400, 250), 0.9, 0), ((50, 120, 150, 250), 0.5, 1), ((480, 120, 580, 250), 0.4, 2))
    assert label_rows(image, 0)[0] == label_rows(image, 1)[0] == label_rows(image, 2)[0] < 110


def test_of_a_label_wider_than_the_picture_the_beginning_is_shown():
    narrow, wide = (drawn(grey(80, width), ((0, 40, 40, 75), 0.9, 3)) for width in (60, 600))
    np.testing.assert_array_equal(narrow[:39], wide[:39, :60])


def test_the_score_is_left_out_where_the_picture_is_too_narrow_for_it():
    # 60 pixels hold "person" and not "person 0.90"; the rest of the label's row tells its width.
    image = drawn(grey(80, 60), ((5, 40, 55, 75), 0.9, 0))
    columns = np.flatnonzero((image[33] != GREY).any(axis=-1))
    assert columns[-1] - columns[0] < 58
    assert len(columns) > 30


def test_a_name_without_such_letters_is_shown_as_its_number():
    number = drawn(grey(), ((100, 120, 300, 250), 0.9, 2))
    names = ("", "", "class 2")
    named = draw(grey(), np.float32([[100, 120, 300, 250]]), np.float32([0.9]), np.array([2]), names)
    np.testing.assert_array_equal(number, named)


# --- colours ----------------------------------------------------------------------------------------------


def test_neighbouring_classes_have_clearly_different_colours():
    colours = np.array([colour(index) for index in range(80)])
    assert len(np.unique(colours, axis=0)) == 80
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60


def test_a_class_has_the_same_colour_in_every_run():
    assert [colour(0), colour(1), colour(79)] == [(255, 186, 25), (89, 255, 254), (130, 255, 89)]


def test_letters_can_be_read_on_every_colour():
    for index in range(200):
        background = colour(index)
        letters = text_colour(background)
        light = np.dot(background, (0.114, 0.587, 0.299))
        assert abs(light - letters[0]) > 100
    assert text_colour((255, 255, 255)) == (0, 0, 0)
    assert text_colour((255, 0, 0)) == (255, 255, 255)


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*WRITTEN_SUFFIXES, ".JPG", ".Png"])
def test_every_suffix_of_an_input_can_be_written(suffix):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = (200, 100, 50)
    data = encode(image, suffix)
    magic = {"p": b"\x89PNG", "j": b"\xff\xd8\xff", "b": b"BM", "t": b"II*\0", "w": b"RIFF"}[suffix[1].lower()]
    assert data.startswith(magic)
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    tolerance = 0 if suffix.lower() in (".png", ".bmp", ".tif", ".tiff") else 12
    assert np.abs(found.astype(int) - image)[:, 4:28].max() <= tolerance


@pytest.mark.parametrize(("one", "other"), [(".png", ".PNG"), (".jpg", ".JPEG"), (".tif", ".TIFF"), (".webp", ".WebP")])
def test_suffixes_of_one_format_mean_the_same(one, other):
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert encode(noise, one) == encode(noise, other)


def test_a_picture_too_large_for_its_format_is_named():
    with pytest.raises(EncodeError, match=r"the annotated image of 16384x1 cannot be written as \.webp") as error:
        encode(np.zeros((1, 16384, 3), np.uint8), ".webp")
    assert str(error.value).isprintable()
    with pytest.raises(EncodeError, match=r"of 70000x1 cannot be written as \.jpg"):
        encode(np.zeros((1, 70000, 3), np.uint8), ".jpg")


def test_an_unknown_suffix_is_named():
    with pytest.raises(EncodeError, match=r"cannot be written as \.xyz"):
        encode(np.zeros((4, 4, 3), np.uint8), ".xyz")
