import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from yolo.cli import publish
from yolo.results import archive, unpack
from yolo.share import fsio
from yolo.share.containers import Container, Stored, read_contents
from yolo.share.errors import YoloError
from yolo.share.layout import CONTAINERS, CONTENTS
from yolo.share.manifest import decode

WRITTEN = 1_790_000_001
FILES = {
    "images/a/x.jpg": b"A" * 3000,
    "labels/a/x.txt": b"0 1 2\n",
    "images/ü \udce9.png": b"B",
    "labels/empty.txt": b"",
}


class Pulled:
    """A run's containers on a pretended share, and a results folder that pulls what it lacks."""

    def __init__(self, root: Path) -> None:
        self.share, self.folder = root / "share", root / "results"
        self.folder.mkdir()
        self.contents: list[Stored] = []
        (self.folder / "metrics.json").write_text("{}")

    def put(self, name: str, files: dict[str, bytes], written: int = WRITTEN) -> None:
        container = Container(self.share / name)
        spans = container.add(list(files.items()), written)
        container.close()
        replaced = [stored for stored in self.contents if stored.path not in files]
        self.contents = replaced + [Stored(path, name, *span, written) for path, span in zip(files, spans, strict=True)]

    def publish(self, zip_only: bool = False) -> tuple[list[str], bool]:
        """Pull and publish as the playbook does; return the containers that were pulled, and whether the zip is new."""
        text = "".join(stored.to_json() + "\n" for stored in self.contents)
        fsio.write_text(self.folder / CONTENTS, text, keep_equal=True)
        needed = unpack.list_needed(self.folder, zip_only)
        assert (self.folder / unpack.NEEDED).read_text().split("\0")[:-1] == needed
        for name in needed:
            (self.folder / CONTAINERS).mkdir(exist_ok=True)
            shutil.copy(self.share / name, self.folder / CONTAINERS / name)
        apart = unpack.unpack(self.folder, read_contents(self.folder / CONTENTS), zip_only)
        packed = archive.pack(self.folder, apart)
        unpack.remove_leftovers(self.folder, zip_only)
        return needed, packed

    def files(self) -> dict[str, bytes]:
        base = os.fsencode(self.folder)
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(base) for name in names]
        found = {decode(os.path.relpath(path, base)): Path(os.fsdecode(path)).read_bytes() for path in paths}
        return {name: data for name, data in found.items() if name not in ("metrics.json", "results.zip", CONTENTS)}

    def packed(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.folder / "results.zip") as packed:
            assert packed.testzip() is None
            found = {info.filename: packed.read(info) for info in packed.infolist()}
        assert found.pop("metrics.json") == b"{}"
        return found


def in_zip(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("\udce9", "%E9"): data for name, data in files.items()}


@pytest.fixture
def pulled(tmp_path):
    made = Pulled(tmp_path)
    made.put("s001-c00000-1.tar", FILES)
    return made


def test_containers_become_files_and_a_zip_and_nothing_else(pulled):
    assert pulled.publish() == (["s001-c00000-1.tar"], True)
    assert pulled.files() == FILES
    assert pulled.packed() == in_zip(FILES)
    assert {os.stat(pulled.folder / "images/a/x.jpg").st_mtime for _ in "x"} == {WRITTEN}


def test_the_second_time_nothing_is_pulled_and_nothing_written(pulled):
    pulled.publish()
    before = {path: path.lstat().st_mtime_ns for path in pulled.folder.rglob("*")}
    assert pulled.publish() == ([], False)
    assert {path: path.lstat().st_mtime_ns for path in before} == before


def test_only_the_containers_of_what_is_missing_or_other_are_pulled(pulled):
    pulled.publish()
    pulled.put("s002-c00000-1.tar", {"images/new.jpg": b"new"})
    assert pulled.publish() == (["s002-c00000-1.tar"], True)
    (pulled.folder / "labels/a/x.txt").unlink()
    assert pulled.publish() == (["s001-c00000-1.tar"], False)
    # As large as before, but of a later attempt.
    pulled.put("s003-c00000-1.tar", {"images/a/x.jpg": b"C" * 3000}, WRITTEN + 60)
    assert pulled.publish() == (["s003-c00000-1.tar"], True)
    expected = {**FILES, "images/new.jpg": b"new", "images/a/x.jpg": b"C" * 3000}
    assert (pulled.files(), pulled.packed()) == (expected, in_zip(expected))


def test_what_is_no_result_any_more_is_removed(pulled):
    pulled.publish()
    pulled.contents = [stored for stored in pulled.contents if "/a/" not in stored.path]
    assert pulled.publish() == ([], True)
    expected = {name: data for name, data in FILES.items() if "/a/" not in name}
    assert (pulled.files(), pulled.packed()) == (expected, in_zip(expected))
    assert not (pulled.folder / "images/a").exists()


def test_a_zip_alone_is_made_kept_and_added_to(pulled):
    assert pulled.publish(zip_only=True) == (["s001-c00000-1.tar"], True)
    assert (pulled.files(), pulled.packed()) == ({}, in_zip(FILES))
    assert sorted(os.listdir(pulled.folder)) == [CONTENTS, "metrics.json", "results.zip"]
    assert pulled.publish(zip_only=True) == ([], False)
    # The others are taken from the zip of before.
    pulled.put("s002-c00000-1.tar", {"images/new.jpg": b"new"})
    assert pulled.publish(zip_only=True) == (["s002-c00000-1.tar"], True)
    assert pulled.packed() == in_zip({**FILES, "images/new.jpg": b"new"})


def test_between_files_and_a_zip_alone_one_may_change(pulled):
    pulled.publish()
    assert pulled.publish(zip_only=True) == ([], False)
    assert (pulled.files(), pulled.packed()) == ({}, in_zip(FILES))
    assert pulled.publish() == (["s001-c00000-1.tar"], False)
    assert pulled.files() == FILES


def test_a_name_that_is_too_long_for_a_file_stands_in_the_zip(pulled):
    long = {f"labels/{'n' * 252}.txt": b"0\n"}
    pulled.put("s002-c00000-1.tar", long)
    assert pulled.publish() == (["s001-c00000-1.tar", "s002-c00000-1.tar"], True)
    assert (pulled.files(), pulled.packed()) == (FILES, in_zip({**FILES, **long}))
    assert pulled.publish() == ([], False)


def test_a_container_that_is_cut_off_is_named_and_leaves_no_half_file(pulled):
    whole = (pulled.share / "s001-c00000-1.tar").read_bytes()
    (pulled.share / "s001-c00000-1.tar").write_bytes(whole[:2000])
    with pytest.raises(YoloError, match=r"container of results is cut off: s001-c00000-1.tar: images/a/x.jpg; remove"):
        pulled.publish()
    assert not [name for name in pulled.files() if name.startswith("images")]


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "../evil.txt"}, {"path": "images/../../evil"}, {"path": "/etc/passwd"}, {"path": "images"},
        {"path": "images//x"}, {"path": "metrics.json"}, {"path": "images/\0"}, {"container": "../x.tar"},
        {"container": "/x.tar"}, {"at": -1}, {"size": "9"}, {"written": None},
    ],
)  # fmt: skip
def test_a_list_of_contents_that_reaches_elsewhere_is_refused(pulled, changes):
    pulled.contents[0] = replace(pulled.contents[0], **changes)
    with pytest.raises(YoloError, match="the list of results is damaged"):
        pulled.publish()
    assert not any(name.startswith(("images", "labels")) for name in pulled.files())


def test_what_is_published_again_by_hand_stays_where_it_is(pulled):
    pulled.publish(zip_only=True)
    contents = read_contents(pulled.folder / CONTENTS)
    apart = unpack.unpack(pulled.folder, contents, False)
    assert not archive.pack(pulled.folder, apart)
    assert (pulled.files(), pulled.packed()) == ({}, in_zip(FILES))
    (pulled.folder / "results.zip").unlink()
    with pytest.raises(YoloError, match=r"neither here nor in the zip: images/a/x.jpg .*; run the same run_id again"):
        archive.pack(pulled.folder, apart)


def test_a_link_in_the_results_folder_is_replaced_and_not_followed(pulled, tmp_path):
    (tmp_path / "secret").write_bytes(b"mine")
    (pulled.folder / "images" / "a").mkdir(parents=True)
    (pulled.folder / "images" / "a" / "x.jpg").symlink_to(tmp_path / "secret")
    pulled.publish()
    assert (tmp_path / "secret").read_bytes() == b"mine"
    assert pulled.files() == FILES


def test_the_command_lists_what_is_needed(pulled, capsys):
    text = "".join(stored.to_json() + "\n" for stored in pulled.contents)
    fsio.write_text(pulled.folder / CONTENTS, text)
    assert publish.main(["--list-needed", str(pulled.folder)]) == 0
    assert '"needed": 1' in capsys.readouterr().out.replace('":1', '": 1')


def test_the_zip_of_before_is_opened_once_whatever_is_taken_from_it(pulled, monkeypatch):
    many = {f"images/{number:03}.jpg": b"%d" % number for number in range(40)}
    pulled.put("s001-c00001-1.tar", many)
    pulled.publish(zip_only=True)
    pulled.put("s002-c00000-1.tar", {"images/new.jpg": b"new"})
    opened = []
    zip_file = zipfile.ZipFile

    class Counted(zip_file):
        def __init__(self, file, *options, **more):
            opened.append(file)
            super().__init__(file, *options, **more)

    monkeypatch.setattr(archive.zipfile, "ZipFile", Counted)
    assert pulled.publish(zip_only=True) == (["s002-c00000-1.tar"], True)
    assert pulled.packed() == in_zip({**FILES, **many, "images/new.jpg": b"new"})
    # To see what it has, twice, and to take from it what was not pulled.
    assert opened.count(pulled.folder / "results.zip") <= 4
