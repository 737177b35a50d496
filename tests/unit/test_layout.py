import hashlib
from pathlib import Path

import pytest
from yolo.share.layout import Share, chunk_name, container_name, image_key, submission_name


def test_the_key_of_a_name_that_is_not_utf8_follows_its_bytes():
    raw = b"a/caf\xe9.jpg"
    expected = hashlib.sha256(raw).hexdigest()[:16]
    assert image_key(raw.decode("utf-8", "surrogateescape")) == expected


def test_equal_names_in_two_folders_have_two_keys():
    assert image_key("a/x.jpg") != image_key("b/x.jpg")


def test_names_of_plans_and_chunks():
    assert (submission_name(1), submission_name(1000)) == ("s001", "s1000")
    assert (chunk_name(0), chunk_name(123456)) == ("c00000", "c123456")


def test_an_unknown_leg_is_refused():
    with pytest.raises(ValueError, match="parallel, single"):
        Share(Path("/s")).run("r").get_pass("../other")


def test_the_places_that_other_parts_rely_on():
    share = Share(Path("/srv/share"))
    run_pass = share.run("r1").get_pass("parallel")
    root = "/srv/share/runs/r1/parallel"
    assert str(share.run("r1").manifest) == "/srv/share/runs/r1/manifest.jsonl"
    assert str(run_pass.chunks_file("s001")) == f"{root}/chunks/s001/chunks.jsonl"
    assert str(run_pass.chunks_index("s001")) == f"{root}/chunks/s001/chunks.index"
    assert str(run_pass.queue("s001")) == f"{root}/chunks/s001/queue.txt"
    assert str(run_pass.progress("s001", "c00002")) == f"{root}/progress/s001-c00002.json"
    assert str(run_pass.stderr("s001", "c00002")) == f"{root}/logs/s001-c00002.err"
    assert str(run_pass.records("s001", "c00002", 1)) == f"{root}/records/s001-c00002-1.jsonl"
    assert str(run_pass.container(container_name("s001", "c00002", 1))) == f"{root}/containers/s001-c00002-1.tar"
    assert str(share.weights("w").model) == "/srv/share/weights/w/model"
    assert str(share.code("c")) == "/srv/share/code/c.zip"
