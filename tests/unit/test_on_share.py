import os

import pytest
from yolo.request import listing, on_share
from yolo.share.errors import YoloError

JPEG = b"\xff\xd8\xff\xe0"
LONG_AGO = 10**18


@pytest.fixture
def share(tmp_path):
    """A share with a folder of images, and what else runs and people put there."""
    share = tmp_path / "share"
    for name in ("photos/in", "photos/.hidden", "runs/x/parallel/images", "weights/w", "code/c"):
        (share / name).mkdir(parents=True)
    photos = os.fsencode(share / "photos")
    for name in (b"a.jpg", b"in/#b\n.jpg", b"in/\xff.png", b".hidden/c.jpg"):
        with open(os.path.join(photos, name), "wb") as file:
            file.write(JPEG + name)
    (share / "photos" / "notes.txt").write_text("hello")
    (share / "photos" / "empty.jpg").touch()
    (share / "photos" / "key.jpg").symlink_to("/etc/passwd")
    (share / "photos" / "link.jpg").symlink_to("in/#b\n.jpg")
    (share / "file.jpg").write_bytes(JPEG)
    (share / "out").symlink_to("/")
    (share / "latest").symlink_to("photos")
    (share / "photos" / "results").symlink_to(share / "runs" / "x")
    return share


def list_again(share, name="photos", before=None):
    folder = on_share.folder_of(f"share:{name}", str(share))
    return on_share.list_folder(folder, str(share), before or {})


def test_the_list_is_that_of_the_same_folder_on_the_control_node(share):
    listed = list_again(share)
    assert listed["root"] == str(share / "photos")
    assert listing.from_rows(listed["files"], listed["ignored"]) == listing.build(share / "photos")
    skipped = {row[0]: row[3] for row in listed["files"] if row[3]}
    assert skipped.keys() == {"empty.jpg", "key.jpg", "notes.txt", "results"}


def test_the_folder_may_be_given_from_the_share_or_the_root_and_by_a_link(share):
    named = ["photos", "photos/", "./photos/in/..", f"{share}/photos", "latest"]
    assert {list_again(share, name)["root"] for name in named} == {str(share / "photos")}


def test_a_share_that_is_itself_a_link_keeps_its_name(share, tmp_path):
    (tmp_path / "srv").symlink_to(share)
    assert list_again(tmp_path / "srv", "latest/in")["root"] == str(tmp_path / "srv" / "photos" / "in")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", r"no such folder on the share \(No such file or directory\): {share}/gone; expected share:FOLDER"),
        ("file.jpg/x", r"no such folder on the share \(Not a directory\)"),
        ("file.jpg", "images is a file on the share: {share}/file.jpg"),
        (".", "images is the share itself"),
        ("../elsewhere", "lies outside the share: .*/elsewhere; expected a folder below {share}"),
        ("/etc", "lies outside the share: /etc"),
        ("out/etc", "lies outside the share: {share}/out/etc, which leads to /etc"),
        ("runs/x/parallel/images", "runs write to {share}/runs"),
        ("weights", "runs write to {share}/weights"),
        ("code/c", "runs write to {share}/code"),
        ("photos/results/parallel/images", "runs write to {share}/runs, .* which leads to {share}/runs/x"),
    ],
)  # fmt: skip
def test_what_is_no_folder_for_images_is_one_clear_error(share, name, said):
    with pytest.raises(YoloError, match=said.format(share=share)) as caught:
        list_again(share, name)
    assert caught.value.expected and caught.value.remedy
    assert "\n" not in str(caught.value)


def test_another_file_system_is_refused(share, monkeypatch):
    real = os.stat

    def stat(path, *args, **options):
        found = list(real(path, *args, **options))
        found[2] += str(path).endswith("photos")
        return os.stat_result(found)

    monkeypatch.setattr(on_share.os, "stat", stat)
    with pytest.raises(YoloError, match="another file system is mounted there"):
        list_again(share)


def test_what_the_job_user_cant_read_is_named_before_the_run(share, monkeypatch):
    may, hidden = os.access, os.fsencode(share / "photos" / "a.jpg")
    monkeypatch.setattr(listing.os, "access", lambda path, mode: path != hidden and may(path, mode))
    listed = list_again(share)
    said = on_share.unreadable(listed)
    assert said.startswith(f"{listed['user']}, the user that jobs run as, can't read a.jpg; to include them, `chmod ")
    monkeypatch.setattr(listing.os, "access", may)
    assert on_share.unreadable(list_again(share)) is None
    monkeypatch.setattr(on_share.os, "access", lambda path, mode: False)
    with pytest.raises(YoloError, match=r"the user that jobs run as, can't read the folder .* `chmod -R a\+rX /"):
        list_again(share)


def test_a_file_that_was_not_touched_is_not_read_again(share, monkeypatch):
    monkeypatch.setattr(on_share, "TICK_NS", 0)
    before = list_again(share)
    read = []
    examine = listing.examine
    monkeypatch.setattr(listing, "examine", lambda path: read.append(os.path.basename(path)) or examine(path))
    assert list_again(share, before=before)["files"] == before["files"]
    assert read == []
    (share / "photos" / "a.jpg").write_bytes(JPEG + b"other")
    assert list_again(share, before=before)["files"] != before["files"]
    assert read == [b"a.jpg"]


@pytest.mark.parametrize("damage", [{"listed_ns": None}, {"files": [["a.jpg"]]}, {"files": None}])
def test_a_damaged_list_of_before_means_reading_again(share, damage):
    before = list_again(share)
    assert list_again(share, before=before | damage)["files"] == before["files"]
