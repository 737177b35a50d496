from __future__ import annotations

import copy
import hashlib
import importlib.util
import itertools
import math
from pathlib import Path

import pytest

pytest.importorskip("PIL", reason="files/demo/requirements.txt is not installed")
np = pytest.importorskip("numpy")

from demo import samples  # noqa: E402
from PIL import Image  # noqa: E402


def photo(seed: int, boxes: tuple = ()) -> samples.Photo:
    pixels = np.random.default_rng(seed).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    return samples.Photo(f"scene {seed}", Image.fromarray(pixels), boxes)


PHOTOS = (
    photo(1, ((0, (20.0, 30.0, 200.0, 280.0)), (1, (150.0, 100.0, 399.0, 300.0)))),
    photo(2, ((2, (100.0, 10.0, 140.0, 290.0)),)),
    photo(3),
)


@pytest.fixture(scope="session")
def real_photos() -> tuple[samples.Photo, ...]:
    for package in ("ultralytics", "skimage"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (files/demo/requirements.txt)")
    return samples.load_photos(samples.read_catalogue())


def tree(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """What is below a directory: content, inode (a rename changes it) and time of change."""
    return {
        str(file.relative_to(root)): (
            file.read_bytes(),
            file.stat().st_ino,
            file.stat().st_mtime_ns,
        )
        for file in root.rglob("*")
        if file.is_file()
    }


# --- labels ---------------------------------------------------------------------------------------


def test_catalogue_boxes_lie_in_their_windows():
    catalogue = samples.read_catalogue()
    assert len(set(catalogue["classes"])) == len(catalogue["classes"])
    used = set()
    for entry in catalogue["photos"]:
        left, top, right, bottom = entry["window"]
        assert 0 <= left < right <= entry["size"][0]
        assert 0 <= top < bottom <= entry["size"][1]
        assert entry["licence"]
        for item in entry["boxes"]:
            x0, y0, x1, y1 = item["box"]
            assert left <= x0 < x1 <= right, entry["path"]
            assert top <= y0 < y1 <= bottom, entry["path"]
            used.add(item["name"])
    assert used == set(catalogue["classes"])


def test_real_photos_load(real_photos):
    entries = samples.read_catalogue()["photos"]
    assert len(real_photos) == len(entries)
    for loaded, entry in zip(real_photos, entries, strict=True):
        left, top, right, bottom = entry["window"]
        assert loaded.image.size == (right - left, bottom - top)
        assert len(loaded.boxes) == len(entry["boxes"])


# --- images ---------------------------------------------------------------------------------------


def same(one: samples.Sample, two: samples.Sample) -> bool:
    return (one.folder, one.boxes, one.image.tobytes()) == (
        two.folder,
        two.boxes,
        two.image.tobytes(),
    )


@pytest.mark.parametrize("index", range(6))
def test_same_numbers_same_image(index):
    one = samples.make_sample(PHOTOS, "sample", 3, index)
    assert same(one, samples.make_sample(PHOTOS, "sample", 3, index))
    assert not same(one, samples.make_sample(PHOTOS, "sample", 4, index))


def test_an_image_does_not_depend_on_the_ones_before_it(tmp_path):
    samples.write_set(tmp_path / "many", 5, 0, "sample", lambda: PHOTOS)
    alone = samples.make_sample(PHOTOS, "sample", 0, 4)
    file = tmp_path / "many" / "images" / alone.folder / "sample-0-00004.jpg"
    assert file.read_bytes() == samples.encode(alone.image)


@pytest.mark.parametrize("split", sorted(samples.SPLITS))
def test_boxes_lie_inside_the_image(split):
    found = 0
    for index in range(30):
        sample = samples.make_sample(PHOTOS, split, 0, index)
        width, height = sample.image.size
        assert sample.image.size in samples.SIZES
        for kind, (x0, y0, x1, y1) in sample.boxes:
            found += 1
            assert kind in (0, 1, 2)
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            assert min(x1 - x0, y1 - y0) >= samples.SMALLEST
    assert found > 30


def test_real_samples_show_every_class_and_some_show_nothing(real_photos):
    made = [samples.make_sample(real_photos, "sample", 0, index) for index in range(60)]
    assert {kind for sample in made for kind, _ in sample.boxes} == set(range(7))
    assert any(not sample.boxes for sample in made)
    assert len({sample.folder for sample in made}) > 8


def test_label_lines_are_shares_of_the_size():
    text = samples.yolo_lines([(2, (0.0, 0.0, 320.0, 480.0)), (0, (10.0, 20.0, 30.0, 60.0))], (640, 480))
    first, second = (line.split() for line in text.splitlines())
    assert first == ["2", "0.250000", "0.500000", "0.500000", "1.000000"]
    assert [float(v) for v in second[1:]] == pytest.approx([20 / 640, 40 / 480, 20 / 640, 40 / 480], abs=1e-6)
    assert samples.yolo_lines([], (640, 480)) == ""


# --- geometry -------------------------------------------------------------------------------------


def test_flip_mirrors_about_the_source_point():
    affine = samples.Affine(2.0, 0.0, True, (100.0, 50.0), (300.0, 200.0))
    assert affine.hull((110.0, 50.0, 120.0, 60.0)) == (260.0, 200.0, 280.0, 220.0)


def test_a_turned_box_gets_the_upright_hull():
    affine = samples.Affine(1.0, math.pi / 2, False, (0.0, 0.0), (0.0, 0.0))
    assert affine.hull((0.0, 0.0, 10.0, 4.0)) == pytest.approx((-4.0, 0.0, 0.0, 10.0))


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_pixels_go_where_the_boxes_go(scale, flip, degrees):
    image = Image.new("RGB", (200, 150))
    image.paste((255, 255, 255), (40, 30, 100, 70))
    canvas = Image.new("RGB", (500, 400))
    affine = samples.Affine(scale, math.radians(degrees), flip, (100.0, 75.0), (250.0, 200.0))
    samples.paste(canvas, image, affine)
    drawn = canvas.convert("L").point(lambda value: 255 if value > 127 else 0).getbbox()
    assert drawn == pytest.approx(affine.hull((40.0, 30.0, 100.0, 70.0)), abs=1.6)


def test_a_cut_object_is_not_fair():
    boxes = [(0, (0.0, 0.0, 100.0, 100.0))]
    frame = (0.0, 0.0, 200.0, 200.0)
    shift = {x: samples.Affine(1.0, 0.0, False, (0.0, 0.0), (x, 0.0)) for x in (0.0, 180.0, 500.0)}
    assert samples.place_boxes(boxes, shift[0.0], frame) == (boxes, True)
    assert samples.place_boxes(boxes, shift[180.0], frame) == ([], False)  # a fifth is seen
    assert samples.place_boxes(boxes, shift[500.0], frame) == ([], False)  # nothing is seen


# --- splits ---------------------------------------------------------------------------------------


def test_no_two_splits_or_seeds_share_a_number():
    top_seed, top_index = samples.MAX_SEED - 1, samples.MAX_COUNT - 1
    spans = sorted(
        (samples.image_seed(split, 0, 0), samples.image_seed(split, top_seed, top_index)) for split in samples.SPLITS
    )
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end < start
    assert samples.image_seed("train", 0, top_index) < samples.image_seed("train", 1, 0)


def test_train_and_held_out_images_differ(real_photos):
    hashes = {
        split: {
            hashlib.sha256(samples.make_sample(real_photos, split, 0, i).image.tobytes()).digest() for i in range(20)
        }
        for split in samples.SPLITS
    }
    assert not hashes["train"] & hashes["val"]
    assert not hashes["train"] & hashes["sample"]
    assert not hashes["val"] & hashes["sample"]


@pytest.mark.parametrize(
    ("split", "seed", "index", "told"),
    [
        ("test", 0, 0, "'test'"),
        ("train", -1, 0, "-1"),
        ("train", samples.MAX_SEED, 0, str(samples.MAX_SEED)),
        ("train", 0, samples.MAX_COUNT, str(samples.MAX_COUNT)),
    ],
)
def test_a_number_out_of_range_is_refused(split, seed, index, told):
    with pytest.raises(samples.SampleError, match=told):
        samples.image_seed(split, seed, index)


# --- files ----------------------------------------------------------------------------------------


def test_every_image_has_its_label(tmp_path):
    assert samples.write_set(tmp_path, 8, 0, "val", lambda: PHOTOS) == 16
    images = {f.relative_to(tmp_path / "images").with_suffix("") for f in tmp_path.rglob("*.jpg")}
    labels = {f.relative_to(tmp_path / "labels").with_suffix("") for f in tmp_path.rglob("*.txt")}
    assert len(images) == 8
    assert images == labels
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_second_run_rewrites_nothing_and_needs_no_photos(tmp_path):
    samples.write_set(tmp_path, 8, 0, "sample", lambda: PHOTOS)
    before = tree(tmp_path)
    assert samples.write_set(tmp_path, 8, 0, "sample", lambda: pytest.fail("photos read")) == 0
    assert tree(tmp_path) == before


def test_only_what_is_missing_is_made_again(tmp_path):
    samples.write_set(tmp_path, 6, 0, "sample", lambda: PHOTOS)
    before = tree(tmp_path)
    lost = sorted(tmp_path.rglob("*.jpg"))[2]
    lost.unlink()
    assert samples.write_set(tmp_path, 6, 0, "sample", lambda: PHOTOS) == 1
    after = tree(tmp_path)
    changed = {name for name in before if before[name][1:] != after[name][1:]}
    assert changed == {str(lost.relative_to(tmp_path))}
    assert {n: v[0] for n, v in before.items()} == {n: v[0] for n, v in after.items()}


def test_a_larger_count_keeps_the_first_images(tmp_path):
    samples.write_set(tmp_path, 4, 0, "sample", lambda: PHOTOS)
    before = tree(tmp_path / "images")
    assert samples.write_set(tmp_path, 6, 0, "sample", lambda: PHOTOS) == 4
    after = tree(tmp_path / "images")
    assert len(after) == 6
    assert before.items() <= after.items()


def test_a_smaller_count_removes_its_own_images_and_no_others(tmp_path):
    samples.write_set(tmp_path, 6, 0, "sample", lambda: PHOTOS)
    other = tmp_path / "images" / "mine.jpg"
    other.write_bytes(b"not made here")
    samples.write_set(tmp_path, 4, 0, "sample", lambda: pytest.fail("photos read"))
    assert len(list((tmp_path / "images").rglob("sample-*.jpg"))) == 4
    assert len(list((tmp_path / "labels").rglob("*.txt"))) == 4
    assert other.read_bytes() == b"not made here"


def test_images_of_another_recipe_are_replaced(tmp_path, monkeypatch):
    samples.write_set(tmp_path, 4, 0, "sample", lambda: PHOTOS)
    monkeypatch.setattr(samples, "recipe", lambda split, seed: "changed")
    samples.write_set(tmp_path, 4, 0, "sample", lambda: PHOTOS[1:])
    expected = [samples.make_sample(PHOTOS[1:], "sample", 0, index) for index in range(4)]
    found = {file.read_bytes() for file in (tmp_path / "images").rglob("*.jpg")}
    assert found == {samples.encode(sample.image) for sample in expected}


def test_an_unreadable_listing_is_made_again(tmp_path):
    samples.write_set(tmp_path, 3, 0, "sample", lambda: PHOTOS)
    before = tree(tmp_path / "images")
    (tmp_path / "sample-0.json").write_text("{")
    assert samples.write_set(tmp_path, 3, 0, "sample", lambda: PHOTOS) == 0
    assert tree(tmp_path / "images") == before


def test_a_file_that_cannot_be_written_leaves_no_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(samples.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        samples.write_if_other(tmp_path / "a.txt", b"x")
    assert not list(tmp_path.iterdir())


def test_count_must_be_positive(tmp_path):
    with pytest.raises(samples.SampleError, match="count is 0"):
        samples.write_set(tmp_path, 0, 0, "sample", lambda: PHOTOS)


# --- packages -------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(samples.importlib.util, "find_spec", lambda name: None)
    code = samples.main(["--out", str(tmp_path), "--count", "1"])
    told = capsys.readouterr().err
    assert code == 2
    assert "'ultralytics'" in told
    assert "pip install --no-deps -r files/demo/requirements.txt" in told
    assert not list(tmp_path.iterdir())


def test_a_package_without_the_photo_is_named(tmp_path):
    with pytest.raises(samples.SampleError, match=r"'ultralytics' has no photo .*bus\.jpg"):
        samples.load_photos(samples.read_catalogue(), lambda package, folder: tmp_path)


def test_another_photo_under_the_same_name_is_refused(tmp_path):
    catalogue = copy.deepcopy(samples.read_catalogue())
    del catalogue["photos"][1:]
    file = tmp_path / catalogue["photos"][0]["path"]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"another one")
    with pytest.raises(samples.SampleError, match="is not the photo that was labelled"):
        samples.load_photos(catalogue, lambda package, folder: tmp_path)
