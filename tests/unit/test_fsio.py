import errno
import json
import os

import pytest
from yolo.share import fsio


def listing(folder):
    return sorted(os.listdir(folder))


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), fsio.atomic_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        fsio.write_bytes(path, b"new", fsync=True)
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.json"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with fsio.atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert listing(tmp_path) == ["a"]


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 125 + "a.txt")
    assert len(os.fsencode(path.name)) == 255
    fsio.write_text(path, "x")
    assert path.read_text() == "x"


def test_missing_folders_are_made(tmp_path):
    fsio.write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_the_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        fsio.write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_names_that_are_not_utf8_go_through_json_and_back(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    fsio.write_json(tmp_path / "a.json", {"path": name})
    assert fsio.read_json(tmp_path / "a.json") == {"path": name}
    (tmp_path / "a.json").read_bytes().decode("ascii")


def test_nan_is_refused_because_json_has_none(tmp_path):
    with pytest.raises(ValueError):
        fsio.write_json(tmp_path / "a.json", {"score": float("nan")})
    assert listing(tmp_path) == []


def test_json_lines_keep_newlines_inside_values(tmp_path):
    values = [{"path": "a\nb"}, {"path": "c"}]
    assert fsio.write_jsonl(tmp_path / "a.jsonl", values) == 2
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == 2
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_bytes().splitlines()] == values


def test_an_equal_file_is_kept_where_asked(tmp_path):
    path = tmp_path / "metrics.json"
    fsio.write_json(path, {"a": 1}, keep_equal=True)
    os.utime(path, (1, 1))
    fsio.write_json(path, {"a": 1}, keep_equal=True)
    assert path.stat().st_mtime == 1
    fsio.write_json(path, {"a": 2}, keep_equal=True)
    assert fsio.read_json(path) == {"a": 2}
    os.utime(path, (1, 1))
    fsio.write_json(path, {"a": 2})
    assert path.stat().st_mtime != 1
    assert os.listdir(tmp_path) == ["metrics.json"]
