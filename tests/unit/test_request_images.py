import hashlib
import io
import os
import shutil
import struct
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from yolo.request import images, known_files, listing, zips
from yolo.share import contents, manifest
from yolo.share.errors import YoloError

JPEG = b"\xff\xd8\xff\xe0 begins like a JPEG"


def make_zip(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            info.compress_type = archive.compression
            archive.writestr(info, data)
    return path


def raw_name_zip(path, raw, data=JPEG, system=3):
    """Make a zip with one member, whose name is these bytes and is not said to be UTF-8."""
    placeholder = "n" * len(raw)
    buffer = io.BytesIO()
    info = zipfile.ZipInfo(placeholder)
    info.create_system = system
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, data)
    path.write_bytes(buffer.getvalue().replace(placeholder.encode(), raw))
    return path


def unpack(path, tmp_path, **options):
    folder, _ = images.unpack(path, tmp_path / "cache", **options)
    return {os.fsdecode(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(path, tmp_path, match, **options):
    with pytest.raises(YoloError, match=match):
        images.unpack(path, tmp_path / "cache", **options)
    left = [p.name for p in (tmp_path / "cache").glob("*") if not p.name.startswith(".lock")]
    assert left == [], "a refused zip left something behind"


@pytest.mark.parametrize("name", ["../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "C:/a.jpg", "a/..", "..\\a.jpg"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    info = zipfile.ZipInfo(name)
    info.create_system = 0  # where a backslash parts folders
    path = make_zip(tmp_path / "a.zip", {"good.jpg": JPEG, info: JPEG})
    refused(path, tmp_path, "unsafe zip: a name leads out")
    assert not (tmp_path / "b.jpg").exists()


def test_dots_inside_a_name_are_no_way_out(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a..b/c...jpg": JPEG, "./d.jpg": b"y"})
    assert unpack(path, tmp_path) == {"a..b/c...jpg": JPEG, "d.jpg": b"y"}


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o060644])
def test_a_link_or_a_device_is_refused(tmp_path, mode):
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = mode << 16
    refused(make_zip(tmp_path / "a.zip", {info: b"/etc/passwd"}), tmp_path, "a link or a device")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"secret"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    refused(path, tmp_path, "encrypted.*unpack it by hand")


@pytest.mark.skipif(shutil.which("zip") is None, reason="no zip program here")
def test_a_zip_with_a_password_made_by_zip_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    subprocess.run(["zip", "-q", "-P", "pw", "a.zip", "a.jpg"], cwd=tmp_path, check=True)
    refused(tmp_path / "a.zip", tmp_path, "encrypted")


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                                  zipfile.ZIP_LZMA])  # fmt: skip
def test_a_damaged_member_is_named(tmp_path, kind):
    path = make_zip(tmp_path / "a.zip", {"good.jpg": JPEG, "bad.jpg": os.urandom(5000)},
                    compression=kind)  # fmt: skip
    data = bytearray(path.read_bytes())
    middle = data.index(b"bad.jpg") + 2000
    data[middle : middle + 200] = bytes(b ^ 0xFF for b in data[middle : middle + 200])
    path.write_bytes(data)
    refused(path, tmp_path, r"damaged zip .*bad\.jpg.*unpack it by hand")


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_zip_is_refused(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", tmp_path, "neither an image nor a sound zip")


def test_a_zip_that_was_cut_short_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": os.urandom(2000)})
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, tmp_path, "neither an image nor a sound zip")


def test_a_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "RATIO_FREE_BYTES", 1 << 20)
    path = make_zip(tmp_path / "a.zip", {"a.bmp": bytes(3 << 20)},
                    compression=zipfile.ZIP_DEFLATED)  # fmt: skip
    refused(path, tmp_path, "looks like a zip bomb.*3145728")


def test_a_small_zip_of_flat_pictures_is_no_bomb(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.bmp": bytes(3 << 20)},
                    compression=zipfile.ZIP_DEFLATED)  # fmt: skip
    assert len(unpack(path, tmp_path)["a.bmp"]) == 3 << 20


def test_a_zip_over_the_limit_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"12345", "b.jpg": b"12345"})
    refused(path, tmp_path, "10 bytes; expected at most 9 bytes", max_bytes=9)


def test_a_zip_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"12345"})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 5, 4))
    refused(path, tmp_path, "too little disk")


def test_a_name_that_is_a_file_and_a_folder_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": JPEG, "a/b.jpg": JPEG})
    refused(path, tmp_path, "both a file and a folder")


def test_a_member_that_lies_about_its_size_unpacks_no_more_than_it_says(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": bytes(100_000)}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 10)
    path.write_bytes(data)
    refused(path, tmp_path, "damaged zip")


def test_names_of_unix_zips_are_utf8_without_saying_so(tmp_path):
    path = raw_name_zip(tmp_path / "a.zip", "Fußgänger.jpg".encode())
    assert list(unpack(path, tmp_path)) == ["Fußgänger.jpg"]


def test_other_names_are_code_page_437(tmp_path):
    path = raw_name_zip(tmp_path / "a.zip", "Fußgänger.jpg".encode("cp437"), system=0)
    assert list(unpack(path, tmp_path)) == ["Fußgänger.jpg"]


def test_names_that_say_they_are_utf8_are(tmp_path):
    assert list(unpack(make_zip(tmp_path / "a.zip", {"ü/歩.jpg": JPEG}), tmp_path)) == ["ü/歩.jpg"]


def test_names_with_backslashes_are_folders_only_if_made_on_windows(tmp_path):
    dos = raw_name_zip(tmp_path / "a.zip", b"a\\b.jpg", system=0)
    unix = raw_name_zip(tmp_path / "b.zip", b"a\\b.jpg", system=3)
    assert list(unpack(dos, tmp_path)) == ["a/b.jpg"]
    assert list(unpack(unix, tmp_path)) == ["a\\b.jpg"]


def test_of_equal_names_the_last_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a.jpg", b"old")
        archive.writestr("a.jpg", b"new")
    assert unpack(tmp_path / "a.zip", tmp_path) == {"a.jpg": b"new"}


def test_the_time_of_a_member_is_kept(tmp_path):
    plain = zipfile.ZipInfo("a.jpg", (2020, 1, 2, 3, 4, 6))
    exact = zipfile.ZipInfo("b.jpg", (2020, 1, 2, 3, 4, 6))
    exact.extra = struct.pack("<HHH", 0x9999, 2, 0) + struct.pack("<HHBi", 0x5455, 5, 1, 1234567891)
    undated = zipfile.ZipInfo("c.jpg")
    undated.date_time = (1980, 0, 0, 0, 0, 0)
    path = make_zip(tmp_path / "a.zip", {plain: JPEG, exact: JPEG, undated: JPEG})
    folder, _ = images.unpack(path, tmp_path / "cache")
    assert (folder / "a.jpg").stat().st_mtime == 1577934246
    assert (folder / "b.jpg").stat().st_mtime == 1234567891
    assert (folder / "c.jpg").stat().st_mtime == 0


def test_a_zip_is_unpacked_once(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": JPEG})
    first = images.unpack(path, tmp_path / "cache")
    monkeypatch.setattr(zips, "_unpack", lambda *_: pytest.fail("unpacked again"))
    shutil.copy(path, tmp_path / "copy.zip")
    assert images.unpack(tmp_path / "copy.zip", tmp_path / "cache") == first


def test_another_content_under_the_same_name_is_unpacked(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": JPEG})
    first, _ = images.unpack(path, tmp_path / "cache")
    make_zip(path, {"a.jpg": b"y"})
    second, _ = images.unpack(path, tmp_path / "cache")
    assert first != second
    assert (second / "a.jpg").read_bytes() == b"y"


def test_what_a_killed_run_left_is_cleared(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": JPEG})
    _, content_hash = images.unpack(path, tmp_path / "elsewhere")
    stale = tmp_path / "cache" / f".tmp-{content_hash[:16]}-dead"
    stale.mkdir(parents=True)
    (stale / "half.jpg").write_bytes(JPEG)
    assert unpack(path, tmp_path) == {"a.jpg": JPEG}
    assert not stale.exists()


def test_a_full_disk_leaves_no_half_folder(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": JPEG, "b.jpg": JPEG})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", full)
    with pytest.raises(OSError, match="No space"):
        images.unpack(path, tmp_path / "cache")
    assert [p.name[:5] for p in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_folder_of_images(tmp_path):
    (tmp_path / "My photos" / "sub").mkdir(parents=True)
    (tmp_path / "My photos" / "sub" / "a.jpg").write_bytes(JPEG)
    found = images.resolve(str(tmp_path / "My photos"), tmp_path / "cache")
    assert found.root == str(tmp_path / "My photos")
    assert found.input_id.startswith("My-photos-")
    assert len(found.input_id) == len("My-photos-") + 10
    assert not (tmp_path / "cache").exists()


def test_the_id_of_a_folder_does_not_depend_on_how_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    monkeypatch.chdir(tmp_path)
    ids = {images.resolve(text, tmp_path / "cache").input_id for text in ("in", "in/", "./in", str(tmp_path / "in"))}
    assert len(ids) == 1


def test_folders_of_equal_name_have_different_ids(tmp_path):
    for parent in ("a", "b"):
        (tmp_path / parent / "in").mkdir(parents=True)
        (tmp_path / parent / "in" / "x.jpg").write_bytes(JPEG)
    first, second = (images.resolve(str(tmp_path / p / "in"), tmp_path).input_id for p in ("a", "b"))
    assert first != second


def test_one_image_is_the_only_one_of_its_folder(tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "b.jpg").write_bytes(JPEG)
    found = images.resolve(str(tmp_path / "b.jpg"), tmp_path / "cache")
    assert found.root == str(tmp_path)
    assert [e.path for e in found.manifest.entries] == ["b.jpg"]
    assert found.input_id.startswith("b.jpg-")


@pytest.mark.parametrize("name", ["photo", "photo.jpe", "photo.of.my.cat"])
def test_one_image_is_known_by_its_content(tmp_path, name):
    (tmp_path / name).write_bytes(JPEG)
    found = images.resolve(str(tmp_path / name), tmp_path / "cache")
    assert [e.path for e in found.manifest.images] == [name]


def test_a_zip_has_the_id_of_its_content(tmp_path):
    first = make_zip(tmp_path / "Holiday.ZIP", {"a.jpg": JPEG})
    found = images.resolve(str(first), tmp_path / "cache")
    assert found.input_id.startswith("Holiday-")
    (tmp_path / "moved").mkdir()
    second = shutil.move(first, tmp_path / "moved" / "Holiday.zip")
    assert images.resolve(str(second), tmp_path / "cache").input_id == found.input_id


def test_a_zip_may_be_called_anything(tmp_path):
    path = make_zip(tmp_path / "photos.backup", {"a.jpg": JPEG})
    assert images.resolve(str(path), tmp_path / "cache").input_id.startswith("photos.backup-")


@pytest.mark.parametrize("files", [{}, {"a.txt": b"hello"}, {"a.jpg": b""}, {".a.jpg": JPEG}])
def test_no_image_at_all_is_one_clear_error(tmp_path, files):
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    make_zip(tmp_path / "in.zip", files)
    for path in ("in", "in.zip"):
        with pytest.raises(YoloError, match=r"no image to work on.*expected a folder, an image, a zip or a tar"):
            images.resolve(str(tmp_path / path), tmp_path / "cache")


def test_one_empty_image_is_no_image(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(YoloError, match="empty file: 0 bytes"):
        images.resolve(str(tmp_path / "a.jpg"), tmp_path / "cache")


def test_a_path_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(YoloError, match=r"no such images.*check the path given as images="):
        images.resolve(str(tmp_path / "nothing"), tmp_path / "cache")


def test_a_file_of_another_kind_is_one_clear_error(tmp_path):
    (tmp_path / "a.doc").write_bytes(b"%DOC")
    with pytest.raises(YoloError, match="neither an image nor a sound zip"):
        images.resolve(str(tmp_path / "a.doc"), tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My photos (2)", "My-photos-2"),
        ("ü歩行者", "images"),
        ("", "images"),
        ("..", "images"),
        (".hidden", "hidden"),
        ("a" * 60, "a" * 40),
        ("a\nb/c", "a-b-c"),
    ],
)
def test_a_slug_is_a_plain_name(name, expected):
    assert images.slug(name) == expected


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync here")
def test_the_lists_give_rsync_what_it_needs_whatever_the_names(tmp_path):
    folder = os.fsencode(tmp_path / "in")
    names = [b"a b/caf\xe9.jpg", b"#x.jpg", b";y.jpg", b"n\nl.jpg", b"-d.jpg", "ü.jpg".encode()]
    for name in [*names, b"skipped.txt", b".hidden.jpg"]:
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"hello" if name.endswith(b".txt") else JPEG)
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "in" / "ü.jpg")
    printed = images.list_images(str(tmp_path / "in"), tmp_path / "cache", tmp_path / "out")
    assert printed == {
        "root": str(tmp_path / "in"),
        "on_share": False,
        "input_id": printed["input_id"],
        "manifest": printed["manifest"],
        "stamp": {"lines": 8, "sha256": hashlib.sha256(Path(printed["manifest"]).read_bytes()).hexdigest()},
        "files_from": printed["files_from"],
        "doubtful": 7,
        "doubtful_from": printed["doubtful_from"],
        "index": printed["index"],
        "count": 7,
        "skipped": 1,
        "ignored": 1,
        "bytes": 7 * len(JPEG),
    }
    command = ["rsync", "-rtL", "--from0", f"--files-from={printed['files_from']}"]
    subprocess.run([*command, f"{printed['root']}/", f"{tmp_path}/staged/"], check=True)
    staged = os.fsencode(tmp_path / "staged")
    found = [
        os.path.relpath(os.path.join(parent, name), staged) for parent, _, files in os.walk(staged) for name in files
    ]
    assert sorted(found) == sorted([*names, b"link.jpg"])
    assert not (tmp_path / "staged" / "link.jpg").is_symlink()


def test_calls_at_the_same_time_do_not_mix(tmp_path):
    printed = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.jpg").write_bytes(JPEG)
        printed.append(images.list_images(str(folder), tmp_path / "cache", tmp_path / "out"))
    assert [Path(said["files_from"]).read_bytes() for said in printed] == [b"./one.jpg\0", b"./two.jpg\0"]
    listed = [[entry.path for entry in manifest.read(said["manifest"])] for said in printed]
    assert listed == [["one.jpg"], ["two.jpg"]]


def test_lists_of_the_past_weeks_go(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(JPEG)
    old, recent = (
        Path(images.list_images(str(folder), tmp_path / "cache", tmp_path / "out")["manifest"]).parent for _ in range(2)
    )
    past = time.time() - 8 * 86400
    os.utime(old, (past, past))
    images.list_images(str(folder), tmp_path / "cache", tmp_path / "out")
    assert not old.exists()
    assert recent.exists()


def test_nothing_is_written_where_there_are_no_images(tmp_path):
    with pytest.raises(YoloError, match="no such images"):
        images.list_images(str(tmp_path / "nothing"), tmp_path / "cache", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def listed(folder, tmp_path, **options):
    """What the command prints, after the index took its place as the playbook does when all is sent."""
    said = images.list_images(str(folder), tmp_path / "cache", tmp_path / "out", tmp_path / "known", **options)
    (tmp_path / "known").mkdir(exist_ok=True)
    shutil.copy(said["index"], tmp_path / "known" / said["input_id"])
    entries = {entry.path: entry for entry in manifest.read(said["manifest"])}
    return said, entries, Path(said["doubtful_from"]).read_bytes()


def settle(path):
    """Let a file look as if it was last changed long ago, as far as a program can."""
    os.utime(path, ns=(10**18, 10**18))


@pytest.fixture
def no_tick(monkeypatch):
    """Files of a test are always new: the index takes them all the same."""
    monkeypatch.setattr(known_files, "TICK_NS", 0)


def test_a_file_of_the_same_size_and_date_is_another_one(tmp_path, no_tick):
    photo = tmp_path / "in" / "a.jpg"
    photo.parent.mkdir()
    for data in (JPEG + b"1", JPEG + b"2"):
        photo.write_bytes(data)
        settle(photo)
        said, entries, doubtful = listed(photo.parent, tmp_path)
        assert entries["a.jpg"].content == contents.digest(data)
        # rsync would take the copy on the share for it.
        assert (said["doubtful"], doubtful) == (1, b"./a.jpg\0")
    assert listed(photo.parent, tmp_path)[0]["doubtful"] == 0


def test_a_file_that_was_not_touched_is_not_read_again(tmp_path, no_tick, monkeypatch):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(JPEG)
    _, first, _ = listed(tmp_path / "in", tmp_path)
    (tmp_path / "in" / "b.jpg").write_bytes(JPEG + b"longer")
    read = []
    examine = known_files.examine
    monkeypatch.setattr(listing, "examine", lambda path: read.append(os.path.basename(path)) or examine(path))
    said, second, doubtful = listed(tmp_path / "in", tmp_path)
    assert read == [b"b.jpg"]
    assert second["a.jpg"] == first["a.jpg"]
    assert second["b.jpg"].content == contents.digest(JPEG + b"longer")
    assert doubtful == b"", "its size tells rsync that it is another one"
    read.clear()
    said, third, doubtful = listed(tmp_path / "in", tmp_path, checksum=True)
    assert sorted(read) == [b"a.jpg", b"b.jpg"]
    assert said["doubtful"] == 2
    assert third == second


def test_a_file_that_was_changed_just_now_is_read_again(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    said, _, _ = listed(tmp_path / "in", tmp_path)
    assert Path(said["index"]).read_bytes() == b""


@pytest.mark.parametrize("damage", [b"", b"{", b"[]\n", b'["a.jpg"]\n', b"1\n"])
def test_a_damaged_index_means_reading_again(tmp_path, no_tick, damage):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    said, _, _ = listed(tmp_path / "in", tmp_path)
    (tmp_path / "known" / said["input_id"]).write_bytes(damage)
    said, entries, _ = listed(tmp_path / "in", tmp_path)
    assert entries["a.jpg"].content == contents.digest(JPEG)
    assert said["doubtful"] == 1


def test_a_name_that_is_not_utf8_stands_in_the_index(tmp_path, no_tick):
    (tmp_path / "in").mkdir()
    with open(os.path.join(os.fsencode(tmp_path / "in"), b"caf\xe9\n.jpg"), "wb") as file:
        file.write(JPEG)
    listed(tmp_path / "in", tmp_path)
    assert listed(tmp_path / "in", tmp_path)[0]["doubtful"] == 0


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_are_too_long_for_a_file_are_named_and_the_others_are_done(tmp_path, kind):
    long = f"a/{'x' * 260}.jpg"
    if kind == "zip":
        path = make_zip(tmp_path / "a.zip", {long: JPEG, "ok.jpg": JPEG})
    else:
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as archive:
            for name in (long, "ok.jpg"):
                info = tarfile.TarInfo(name)
                info.size = len(JPEG)
                archive.addfile(info, io.BytesIO(JPEG))
    for _ in range(2):
        source = images.resolve(str(path), tmp_path / "cache")
        assert [(entry.path, entry.skip) for entry in source.manifest.entries] == [
            (long, "its name is too long for a file; rename it in the archive"),
            ("ok.jpg", None),
        ]
