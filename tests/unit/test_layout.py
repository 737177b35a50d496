import hashlib
from pathlib import Path

import pytest
from yolo.layout import Share, chunk_name, image_key, plan_name


def test_the_key_of_a_name_that_is_not_utf8_follows_its_bytes():
    raw = b"a/caf\xe9.jpg"
    expected = hashlib.sha256(raw).hexdigest()[:16]
    assert image_key(raw.decode("utf-8", "surrogateescape")) == expected


def test_equal_names_in_two_folders_have_two_keys():
    assert image_key("a/x.jpg") != image_key("b/x.jpg")


def test_names_of_plans_and_chunks():
    assert (plan_name(1), plan_name(1000)) == ("p001", "p1000")
    assert (chunk_name(0), chunk_name(123456)) == ("c00000", "c123456")


def test_an_unknown_leg_is_refused():
    with pytest.raises(ValueError, match="parallel, single"):
        Share(Path("/s")).run("r").leg("../other")


def test_the_places_that_other_parts_rely_on():
    share = Share(Path("/srv/share"))
    leg = share.run("r1").leg("parallel")
    root = "/srv/share/runs/r1/parallel"
    assert str(share.run("r1").manifest) == "/srv/share/runs/r1/manifest.jsonl"
    assert str(leg.chunk("p001", "c00002")) == f"{root}/chunks/p001/c00002.jsonl"
    assert str(leg.queue("p001")) == f"{root}/chunks/p001/queue.txt"
    assert str(leg.progress("p001", "c00002")) == f"{root}/progress/p001-c00002.json"
    assert str(leg.job("p001", "c00002")) == f"{root}/jobs/p001-c00002.json"
    assert str(leg.stderr("p001", "c00002")) == f"{root}/logs/p001-c00002.err"
    assert str(leg.records("p001", "c00002", 1)) == f"{root}/records/p001-c00002-1.jsonl"
    assert str(leg.image("a/b.jpg")) == f"{root}/images/a/b.jpg"
    assert str(share.weights("w").model) == "/srv/share/weights/w/model"
    assert str(share.code("c")) == "/srv/share/code/c"
