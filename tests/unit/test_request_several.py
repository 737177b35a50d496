"""Images named in other ways than as one folder, one image or a zip."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from yolo.request import images, tars
from yolo.share.errors import YoloError

zstd = tars.zstandard()

JPEG = b"\xff\xd8\xff\xe0 not more than its beginning"


@pytest.fixture
def photos(tmp_path):
    for name in ("in/a.jpg", "in/b.png.jpg", "in/deep/c.jpg", "in/notes.txt", "other/d.jpg", "in/x,y.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG + name.encode())
    return tmp_path


def paths(text, tmp_path):
    source = images.resolve(str(text), tmp_path / "cache")
    return [str(Path(source.root, entry.path).relative_to(tmp_path)) for entry in source.manifest.images]


def test_several_with_commas_are_files_and_folders(photos):
    assert paths(f"{photos}/in/deep, {photos}/other/d.jpg,{photos}/in/a.jpg", photos) == [
        "in/a.jpg", "in/deep/c.jpg", "other/d.jpg"
    ]  # fmt: skip
    assert paths(f"{photos}/in/a.jpg,{photos}/in", photos).count("in/a.jpg") == 1
    assert paths(f"{photos}/in/x,y.jpg", photos) == ["in/x,y.jpg"], "a name with a comma that is there"


def test_patterns(photos):
    assert paths(f"{photos}/in/*.jpg", photos) == ["in/a.jpg", "in/b.png.jpg", "in/x,y.jpg"]
    assert paths(f"{photos}/**/[cd].jpg", photos) == ["in/deep/c.jpg", "other/d.jpg"]


def test_a_list_is_relative_to_its_own_folder(photos):
    (photos / "list.txt").write_text(f"# of the best\nin/a.jpg\n\n{photos}/other/d.jpg\r\nin/deep\n")
    assert paths(photos / "list.txt", photos) == ["in/a.jpg", "in/deep/c.jpg", "other/d.jpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{here}/in/*.webp", "no file fits the pattern"),
        ("{here}/in/a.jpg,{here}/in/gone.jpg,{here}/in/z.jpg", r"no such images: .*gone\.jpg and 1 more"),
        ("{here}/empty.txt", "no images are named: .*empty.txt"),
        ("https://example.org/a.jpg", "a URL is not fetched.*bucket"),
        ("{here}/film.MP4", "a video is not an image.*ffmpeg"),
        ("{here}/scan.pdf", "a PDF is not an image.*pdftoppm"),
        ("{here}/some.tar.zst", "damaged tar"),
    ],
)
def test_what_cant_be_images_is_said_in_one_line_with_what_to_do(photos, text, said):
    for name in ("film.MP4", "scan.pdf", "some.tar.zst"):
        (photos / name).write_bytes(b"x")
    (photos / "empty.txt").write_text("# nothing yet\n")
    with pytest.raises(YoloError, match=said) as caught:
        images.resolve(text.format(here=photos), photos / "cache")
    assert "\n" not in str(caught.value)


def make_tar(file, *members, mode="w"):
    with tarfile.open(file, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file


@pytest.mark.parametrize(
    ("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("X.TGZ", "w:gz"), ("x.tar.xz", "w:xz")]
)
def test_a_tar_is_unpacked_once(tmp_path, name, mode):
    file = make_tar(tmp_path / name, ("p/a.jpg", JPEG), ("b.jpg", JPEG), mode=mode)
    first = images.resolve(str(file), tmp_path / "cache")
    assert [entry.path for entry in first.manifest.images] == ["b.jpg", "p/a.jpg"]
    assert first.input_id.lower().startswith("x-")
    assert images.resolve(str(file), tmp_path / "cache").root == first.root


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (("../out.jpg", JPEG), "unsafe tar"),
        (("link.jpg", None), "it holds a link or a device"),
        (("large.jpg", bytes(2000)), "unpacks to too much"),
    ],
)
def test_an_unsafe_tar_leaves_nothing_behind(tmp_path, member, said):
    file = make_tar(tmp_path / "x.tar", ("a.jpg", JPEG), member)
    with pytest.raises(YoloError, match=said):
        images.resolve(str(file), tmp_path / "cache", max_bytes=1000)
    assert not (tmp_path / "out.jpg").exists()
    assert [path.name for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".lock")] == []


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd.compress)])
def test_a_damaged_tar_is_named(tmp_path, suffix, compress):
    whole = compress(make_tar(tmp_path / "x.tar", ("a.jpg", os.urandom(9000))).read_bytes())
    cut = tmp_path / f"cut.tar{suffix}"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(YoloError, match="damaged tar"):
        images.resolve(str(cut), tmp_path / "cache")


@pytest.mark.parametrize("suffix", [".tar.zst", ".TZST"])
def test_a_tar_of_zstandard_is_unpacked(tmp_path, suffix):
    plain = make_tar(tmp_path / "x.tar", ("p/a.jpg", JPEG), ("b.jpg", JPEG)).read_bytes()
    # In two frames, as several threads of `zstd` write it.
    (tmp_path / f"x{suffix}").write_bytes(zstd.compress(plain[:700]) + zstd.compress(plain[700:]))
    found = images.resolve(str(tmp_path / f"x{suffix}"), tmp_path / "cache")
    assert [entry.path for entry in found.manifest.images] == ["b.jpg", "p/a.jpg"]
    assert Path(found.root, "p/a.jpg").read_bytes() == JPEG


def test_a_tar_of_zstandard_that_grows_too_much_is_refused(tmp_path):
    plain = make_tar(tmp_path / "x.tar", ("a.jpg", bytes(10_000_000))).read_bytes()
    (tmp_path / "x.tar.zst").write_bytes(zstd.compress(plain))
    with pytest.raises(YoloError, match="unpacks to too much"):
        images.resolve(str(tmp_path / "x.tar.zst"), tmp_path / "cache", max_bytes=1_000_000)
