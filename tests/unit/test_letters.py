"""Class names in any script, in pictures."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from make_fonts import use_fonts
from yolo.vision import draw, letters

# Has Latin, Greek, Cyrillic, Arabic; the execute hosts' font has all the others too.
DEJAVU = str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")


@pytest.fixture
def fonts(monkeypatch):
    yield lambda *paths: use_fonts(monkeypatch, paths)
    use_fonts(monkeypatch, ())


@pytest.mark.parametrize(
    ("name", "with_font", "without"),
    [
        ("traffic light", "traffic light", "traffic light"),
        ("cafe\u0301", "café", "cafe"),
        ("Fußgänger", "Fußgänger", "Fuganger"),
        ("歩行者", "歩行者", ""),
        (" a\tb\n", "ab", "ab"),
        ("", "", ""),
        ("a\x1b[31mb", "a[31mb", "a[31mb"),
        ("\u202egpj.exe", "gpj.exe", "gpj.exe"),
    ],
)
def test_names_are_whole_where_there_is_a_font(fonts, name, with_font, without):
    fonts("/nowhere.otf", DEJAVU)
    assert letters.printable(name) == with_font
    fonts("/nowhere.otf")
    assert letters.printable(name) == without


def written(text, origin=(10, 40), scale=0.5, shape=(60, 200)):
    image = np.zeros((*shape, 3), np.uint8)
    letters.write(image, text, origin, scale, 1, (255, 255, 255))
    return image


def test_letters_that_opencv_lacks_are_written_where_they_are_said_to_be(fonts):
    fonts(DEJAVU)
    (width, height), below = letters.size("Ёжик", 0.5, 1)
    rows, columns = np.nonzero(written("Ёжик").any(axis=2))
    assert 40 - height <= rows.min() < 40 <= rows.max() + 1 <= 40 + below
    assert 10 <= columns.min() < columns.max() < 10 + width
    # Not boxes in place of letters: each word looks another way.
    assert (written("Ёжик") != written("Кижё")).any()


@pytest.mark.parametrize("origin", [(-20, 40), (190, 40), (10, 2), (10, 65), (500, 500), (-500, 10)])
def test_what_does_not_fit_into_the_image_is_cut(fonts, origin):
    fonts(DEJAVU)
    whole = written("Ёжик", (origin[0] + 600, origin[1] + 600), shape=(1400, 1400))[600:660, 600:800]
    np.testing.assert_array_equal(written("Ёжик", origin), whole)


def test_small_letters_stay_legible(fonts):
    fonts(DEJAVU)
    assert letters.size("Ёжик", 0.1, 1) == letters.size("Ёжик", 0.3, 1)


def test_a_label_in_a_picture_has_them(fonts):
    def label(name):
        image = np.full((200, 300, 3), 90, np.uint8)
        boxes = np.float32([[50, 80, 250, 180]])
        return draw.draw(image, boxes, np.float32([0.9]), np.array([0]), [name])

    fonts()
    number = label("Ёжик")
    np.testing.assert_array_equal(number, label("class 0"))
    fonts(DEJAVU)
    assert (label("Ёжик") != number).any()
    assert (label("Ёжик") != label("Жёжик")).any()
