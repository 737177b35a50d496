import os
from dataclasses import replace
from pathlib import Path

import pytest
from yolo.request import listing
from yolo.share import manifest
from yolo.share.errors import YoloError

JPEG = b"\xff\xd8\xff\xe0 begins like a JPEG"


def put(folder, name, data=JPEG):
    path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path


def paths(folder):
    return [entry.path for entry in listing.build(folder).entries]


def labels(folder):
    return {entry.path: entry.label for entry in listing.build(folder).entries}


def reasons(folder):
    return {entry.path: entry.skip for entry in listing.build(folder).entries}


def test_any_name_is_listed_and_can_be_opened_again(tmp_path):
    names = [
        b"caf\xe9.jpg",
        "ü/b c/歩行者.PNG".encode(),
        b"new\nline.jpeg",
        b'quote".jpg',
        b"#hash;.jpg",
        b"-dash.jpg",
        b"dots..jpg",
        b"tab\t.webp",
        b"x" * 251 + b".jpg",
    ]
    for name in names:
        put(tmp_path, name)
    found = listing.build(tmp_path)
    assert [manifest.encode(e.path) for e in found.entries] == sorted(names)
    assert [e.index for e in found.entries] == list(range(len(names)))
    assert len({e.key for e in found.entries}) == len(names)
    for entry in found.entries:
        assert os.path.exists(os.path.join(os.fsencode(tmp_path), manifest.encode(entry.path)))


def test_the_file_reads_back(tmp_path):
    put(tmp_path / "in", b"caf\xe9\n.jpg")
    put(tmp_path / "in", "a.txt")
    found = listing.build(tmp_path / "in")
    manifest.write(found.entries, tmp_path / "m.jsonl")
    assert tuple(manifest.read(tmp_path / "m.jsonl")) == found.entries


def test_the_order_follows_the_bytes_of_the_whole_path(tmp_path):
    for name in ("b/x.jpg", "a.jpg", "a/z.jpg", "a-b.jpg", "B.jpg", "é.jpg", "z.jpg"):
        put(tmp_path, name)
    assert paths(tmp_path) == [
        "B.jpg", "a-b.jpg", "a.jpg", "a/z.jpg", "b/x.jpg", "z.jpg", "é.jpg",
    ]  # fmt: skip


def test_what_cannot_be_an_image_is_listed_with_its_reason(tmp_path):
    put(tmp_path, "a.txt", b"hello")
    put(tmp_path, "README", b"hello")
    put(tmp_path, "empty.jpg", b"")
    put(tmp_path, b"b.j\xe9g", b"hello")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = reasons(tmp_path)
    assert found["a.txt"] == "not an image: text"
    assert found["README"] == "not an image: text"
    assert found["empty.jpg"] == "empty file: 0 bytes"
    assert found["pipe.jpg"] == "not an image: not a regular file"
    assert found["b.j\udce9g"].startswith("not an image")


def test_suffixes_count_in_any_case(tmp_path):
    for name in ("a.JPG", "b.Jpeg", "c.TIF", "d.tiff", "e.bmp", "f.WebP", "g.png"):
        put(tmp_path, name)
    assert set(reasons(tmp_path).values()) == {None}


def test_what_begins_like_an_image_is_one_whatever_its_name(tmp_path):
    for name in ("key-without-suffix", "a.jfif", "b.jpe", "c.txt", "d.heic", b"e.j\xe9g"):
        put(tmp_path, name)
    assert set(reasons(tmp_path).values()) == {None}


def test_annotated_images_of_formats_that_are_not_written_stand_beside_as_jpegs(tmp_path):
    for name in ("a.jpg", "b.heic", "c.heic", "c.heic.jpg", "d/key", "e.jfif", "x" * 254, "x" * 249 + ".heic"):
        put(tmp_path, name)
    found = {entry.path: entry.annotated for entry in listing.build(tmp_path).entries}
    assert {name: found[name] for name in ("a.jpg", "b.heic", "c.heic.jpg", "d/key", "e.jfif")} == {
        "a.jpg": "a.jpg",
        "b.heic": "b.heic.jpg",
        "c.heic.jpg": "c.heic.jpg",
        "d/key": "d/key.jpg",
        "e.jfif": "e.jfif",
    }
    assert len(set(found.values())) == len(found)
    assert found["c.heic"].startswith("c.heic-")
    assert all(len(name) <= 255 and name.endswith((".jpg", ".jfif")) for name in found.values())


def test_a_file_that_was_no_image_by_older_rules_is_looked_at_again(tmp_path):
    put(tmp_path, "a.heic")
    index = {
        path: replace(known, reason="not an image", rules=0) for path, known in listing.build(tmp_path).index.items()
    }
    assert [entry.skip for entry in listing.build(tmp_path, index).entries] == [None]


def test_hidden_files_and_folders_and_leavings_are_ignored_and_counted(tmp_path):
    put(tmp_path, ".hidden.jpg")
    put(tmp_path, ".git/a.jpg")
    put(tmp_path, "__MACOSX/a.jpg")
    put(tmp_path, "sub/Thumbs.db")
    put(tmp_path, "sub/a.jpg")
    found = listing.build(tmp_path)
    assert [e.path for e in found.entries] == ["sub/a.jpg"]
    assert found.ignored == 4


def test_links_to_files_are_followed_and_links_to_folders_are_named(tmp_path):
    folder = tmp_path / "in"
    put(folder, "sub/a.jpg")
    (folder / "link.jpg").symlink_to(folder / "sub" / "a.jpg")
    (folder / "broken.jpg").symlink_to(tmp_path / "nothing")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "folder").symlink_to(folder / "sub")
    found = {e.path: e for e in listing.build(folder).entries}
    assert (found["link.jpg"].skip, found["link.jpg"].size) == (None, len(JPEG))
    assert found["broken.jpg"].skip.startswith("broken link")
    assert found["loop.jpg"].skip.startswith("broken link")
    assert "not followed" in found["folder"].skip
    assert len(found) == 5


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    put(tmp_path, "outside/a.jpg")
    put(tmp_path, "in/real.jpg")
    put(tmp_path, "in-other/b.jpg")
    folder = tmp_path / "in"
    (folder / "x.jpg").symlink_to(tmp_path / "outside" / "a.jpg")
    (folder / "relative.jpg").symlink_to("../in-other/b.jpg")
    (folder / "twice.jpg").symlink_to(folder / "x.jpg")
    found = {e.path: e for e in listing.build(folder).entries}
    for name in ("x.jpg", "relative.jpg", "twice.jpg"):
        assert "link out of the folder: not followed" in found[name].skip
        assert found[name].content is None
    # The folder itself may be reached by a link, and one image that is named by hand may be one.
    (tmp_path / "photos").symlink_to(folder)
    assert {e.path for e in listing.build(tmp_path / "photos").images} == {"real.jpg"}
    assert [e.skip for e in listing.build_single(folder / "x.jpg").entries] == [None]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n", "not an image: text"),
        (b"<!DOCTYPE html><html>", "not an image: an HTML page"),
        (bytes(100), "not an image: zeros"),
    ],
)
def test_what_is_no_image_inside_is_not_sent(tmp_path, data, reason):
    put(tmp_path, "x.jpg", data)
    (entry,) = listing.build(tmp_path).entries
    assert entry.skip.startswith(reason)
    assert entry.content is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path):
    Path(os.fsdecode(put(tmp_path, "a.jpg"))).chmod(0)
    put(tmp_path, "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    found = reasons(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert found["a.jpg"] == "can't be read: Permission denied"
    assert found["closed"] == "folder can't be read: Permission denied"


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    put(tmp_path, "open/a.jpg")
    put(tmp_path, "closed/b.jpg")
    scandir = os.scandir

    def guarded(path):
        if os.fsencode(path).endswith(b"closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert reasons(tmp_path) == {
        "closed": "folder can't be read: Permission denied",
        "open/a.jpg": None,
    }


def test_a_label_follows_the_stem(tmp_path):
    put(tmp_path, "a/b.c.jpg")
    put(tmp_path, "b/b.c.jpg")
    assert labels(tmp_path) == {"a/b.c.jpg": "a/b.c.txt", "b/b.c.jpg": "b/b.c.txt"}


def test_labels_of_equal_stems_keep_the_suffix(tmp_path):
    put(tmp_path, "a.jpg")
    put(tmp_path, "a.png")
    put(tmp_path, "sub/a.jpg")
    put(tmp_path, "a.txt")
    found = labels(tmp_path)
    assert found["a.jpg"] == "a.jpg.txt"
    assert found["a.png"] == "a.png.txt"
    assert found["sub/a.jpg"] == "sub/a.txt"


def test_no_two_labels_are_equal_even_where_names_look_like_labels(tmp_path):
    names = ["a.jpg", "a.png", "a.jpg.jpg", "a.jpg.jpg.jpg", "a.jpg.png", "b.jpg", "b.jpg.jpg"]
    for name in names:
        put(tmp_path, name)
    found = labels(tmp_path)
    assert len(set(found.values())) == len(names)


def test_a_file_that_is_no_image_does_not_change_the_labels_of_images(tmp_path):
    put(tmp_path, "a.jpg")
    put(tmp_path, "a.xml", b"<?xml version='1.0'?>")
    assert labels(tmp_path)["a.jpg"] == "a.txt"


def test_a_label_fits_into_255_bytes(tmp_path):
    stem = "x" + "ü" * 125
    put(tmp_path, f"{stem}.jpg")
    put(tmp_path, f"{stem}.png")
    found = labels(tmp_path)
    assert len(set(found.values())) == 2
    for label in found.values():
        assert len(label.encode()) <= 255
        assert label.endswith(".txt")
        assert label.isprintable(), "cut in the middle of a character"
        (tmp_path / label).touch()


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(YoloError, match=r"No such file or directory.*nothing; expected a folder"):
        listing.build(tmp_path / "nothing")


def test_an_empty_folder_is_an_empty_manifest(tmp_path):
    found = listing.build(tmp_path)
    assert found.entries == ()
    assert found.summary() == {"count": 0, "skipped": 0, "ignored": 0, "bytes": 0}


def test_a_damaged_line_is_named_with_its_number(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"index":0,"key":"a","path":"a","label":"a","size":1,"mtime_ns":1}\n{"index"')
    lines = manifest.read(path)
    next(lines)
    with pytest.raises(YoloError, match=r"m\.jsonl line 2"):
        next(lines)
