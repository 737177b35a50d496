import os
import shutil
import time
from pathlib import Path

from make_model import constant_model, save
from make_weights import NAMES, anchor_free, openvino_folder, run
from yolo.model import folder
from yolo.model.info import load_info


def test_what_is_there_already_is_left_alone(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    first = run(source, tmp_path / "model")
    before = (tmp_path / "model" / "model.json").stat()
    (source / "best.xml").unlink()
    assert run(source, tmp_path / "model") == first
    assert (tmp_path / "model" / "model.json").stat().st_ino == before.st_ino


def test_a_folder_of_another_version_is_replaced(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text('{"format": 0}')
    (tmp_path / "model" / "old").touch()
    assert run(source, tmp_path / "model") == load_info(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.bin", "model.json", "model.xml"]
    assert sorted(os.listdir(tmp_path)) == ["model", "source"]


def test_the_folder_appears_whole(tmp_path, monkeypatch):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    seen = []
    rename = os.rename

    def poll(old, new):
        seen.append((sorted(p.name for p in Path(old).iterdir()), Path(new).exists()))
        rename(old, new)

    monkeypatch.setattr(os, "rename", poll)
    run(source, tmp_path / "model")
    assert seen == [(["model.bin", "model.json", "model.xml"], False)]


def test_of_two_jobs_at_the_same_time_the_first_wins(tmp_path, monkeypatch):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    other = run(source, tmp_path / "other")
    publish = folder._publish

    def late(temp, out):
        os.rename(tmp_path / "other", out)
        publish(temp, out)

    monkeypatch.setattr(folder, "_publish", late)
    before = (tmp_path / "other" / "model.json").stat().st_ino
    assert run(source, tmp_path / "model") == other
    assert (tmp_path / "model" / "model.json").stat().st_ino == before
    assert sorted(os.listdir(tmp_path)) == ["model", "source"]


def test_what_killed_jobs_left_is_removed_and_what_others_are_making_is_not(tmp_path):
    source = openvino_folder(tmp_path, constant_model(anchor_free()))
    for name in ("model.tmp-old", "model.tmp-new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").touch()
    long_ago = time.time() - 2 * 3600
    os.utime(tmp_path / "model.tmp-old", (long_ago, long_ago))
    run(source, tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == ["model", "model.tmp-new", "source"]


def test_the_digest_of_a_folder_covers_names_and_contents(tmp_path):
    digests = set()
    original = save(constant_model(anchor_free()), tmp_path / "original", "best", NAMES)
    for name, change in (("a", None), ("b", "best.bin"), ("c", "extra.txt"), ("d", None), ("e", "else.txt")):
        source = shutil.copytree(original, tmp_path / name / "source")
        if change:
            with open(source / change, "ab") as file:
                file.write(b"x")
        digests.add(run(source, tmp_path / name / "model").source_sha256)
    assert len(digests) == 4
