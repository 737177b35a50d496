import os
import zipfile

import pytest
from yolo.results import archive
from yolo.share.errors import YoloError


def put(folder, files):
    for name, data in files.items():
        path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def pack(folder):
    archive.pack(folder)
    with zipfile.ZipFile(folder / "results.zip") as packed:
        assert packed.testzip() is None
        return {info.filename: (info, packed.read(info)) for info in packed.infolist()}


def test_a_results_folder_is_packed_in_order(tmp_path):
    files = {
        "predictions.json": b"[]",
        "metrics.json": b"{}",
        "metrics.csv": b"path\n",
        "labels/a/x.txt": b"0 1 2",
        "images/b/x.jpg": b"B",
        "images/a/x.jpg": b"A",
        "images/ü b.jpg": b"C",
    }
    put(tmp_path, files)
    found = pack(tmp_path)
    assert {name: data for name, (_, data) in found.items()} == files
    assert list(found) == sorted(files, key=str.encode)


def test_the_zip_does_not_hold_itself_nor_what_is_temporary(tmp_path):
    put(tmp_path, {"a.json": b"1", "results.zip": b"old", ".tmp-1": b"x", "images/.tmp-2": b"x",
                   ".rsync/x": b"x"})  # fmt: skip
    assert list(pack(tmp_path)) == ["a.json"]
    assert list(pack(tmp_path)) == ["a.json"]
    put(tmp_path, {"images/results.zip": b"the user's own"})
    assert list(pack(tmp_path)) == ["a.json", "images/results.zip"]


def test_photos_are_stored_and_the_rest_is_deflated(tmp_path):
    put(tmp_path, {"a.JPG": b"x" * 999, "a.png": b"x" * 999, "a.txt": b"x" * 999})
    kinds = {name: info.compress_type for name, (info, _) in pack(tmp_path).items()}
    assert kinds == {
        "a.JPG": zipfile.ZIP_STORED,
        "a.png": zipfile.ZIP_STORED,
        "a.txt": zipfile.ZIP_DEFLATED,
    }


def test_names_that_are_not_utf8_are_kept_apart(tmp_path):
    put(tmp_path, {b"caf\xe9.jpg": b"1", b"caf\xe8.jpg": b"2", "caf%E9.jpg": b"3", b"\xe9/a": b"4"})
    found = {name: data for name, (_, data) in pack(tmp_path).items()}
    assert found == {
        "caf%E9.jpg": b"3", "caf%E9-2.jpg": b"1", "caf%E8.jpg": b"2", "%E9/a": b"4",
    }  # fmt: skip


def test_odd_names_and_dates_are_packed(tmp_path):
    put(tmp_path, {"n\nl.txt": b"1", "back\\slash.txt": b"2", "歩.txt": b"3", "empty.txt": b""})
    os.utime(tmp_path / "歩.txt", (0, 0))
    os.utime(tmp_path / "empty.txt", (2**33, 2**33))
    assert set(pack(tmp_path)) == {"n\nl.txt", "back\\slash.txt", "歩.txt", "empty.txt"}


def test_the_same_folder_gives_the_same_zip(tmp_path):
    put(tmp_path, {f"images/{i}.jpg": b"x" for i in range(20)})
    assert archive.pack(tmp_path)
    first = (tmp_path / "results.zip").read_bytes()
    (tmp_path / "results.zip").unlink()
    assert archive.pack(tmp_path)
    assert (tmp_path / "results.zip").read_bytes() == first


def test_a_folder_that_did_not_change_is_not_packed_again(tmp_path):
    put(tmp_path, {"images/a.jpg": b"x", "metrics.json": b"{}"})
    assert archive.pack(tmp_path)
    assert not archive.pack(tmp_path)
    put(tmp_path, {"metrics.json": b"{1}"})
    assert archive.pack(tmp_path)
    assert pack(tmp_path)["metrics.json"][1] == b"{1}"
    (tmp_path / "results.zip").write_bytes(b"PK cut off")
    assert archive.pack(tmp_path)


def test_a_link_is_not_followed(tmp_path):
    put(tmp_path, {"a.txt": b"1"})
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    assert list(pack(tmp_path)) == ["a.txt"]


def test_a_zip_that_could_not_be_finished_leaves_the_last_one(tmp_path, monkeypatch):
    put(tmp_path, {"a.txt": b"1"})
    archive.pack(tmp_path)
    before = (tmp_path / "results.zip").read_bytes()
    put(tmp_path, {"a.txt": b"22"})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        archive.pack(tmp_path)
    assert (tmp_path / "results.zip").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "results.zip"]


def test_files_beyond_the_old_limits_are_packed(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    put(tmp_path, {"a.jpg": b"x" * 500, "b.jpg": b"1", "c.jpg": b"2"})
    assert [len(data) for _, data in pack(tmp_path).values()] == [500, 1, 1]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(YoloError, match="no such results folder"):
        archive.pack(tmp_path / "nothing")
