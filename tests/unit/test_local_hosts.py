import os
import stat

import pytest
from ansible.module_utils.local_hosts import (
    ClusterNames,
    CommandError,
    existing_namespaces,
    run_checked,
    write_whole,
)


def test_names_are_the_same_in_every_run():
    # If this fails, clusters that are up now can't be taken down any more.
    names = ClusterNames("local")
    assert names.namespace == "yolo-local"
    assert names.machine_side == "yl25bf8e1am"
    assert names.cluster_side == "yl25bf8e1ac"
    assert names.firewall_table == "yolo_local_25bf8e1a"


def test_interface_names_fit_the_kernel_however_long_the_clusters_name_is():
    for cluster in ("a", "molecule-inference-run-and-more"):
        names = ClusterNames(cluster)
        assert len(names.machine_side) <= 15
        assert len(names.cluster_side) <= 15


def test_two_clusters_share_no_name():
    one, other = ClusterNames("local"), ClusterNames("local2")
    parts = ("namespace", "machine_side", "cluster_side", "firewall_table")
    assert len({getattr(names, part) for names in (one, other) for part in parts}) == 8


def test_a_command_that_works_gives_its_output():
    ran = []

    def run(arguments):
        ran.append(arguments)
        return 0, "out\n", "warning\n"

    assert run_checked(run, "ip", "link") == "out\n"
    assert ran == [["ip", "link"]]


@pytest.mark.parametrize(("out", "err", "said"), [("x", "no such device\n", "no such device"), ("half\n", "", "half")])
def test_a_command_that_fails_says_which_and_why(out, err, said):
    with pytest.raises(CommandError) as error:
        run_checked(lambda _: (2, out, err), "ip", "link", "show", "eth9")
    assert str(error.value) == f"Failed to run `ip link show eth9` (exit 2): {said}"


def test_only_the_namespaces_of_local_clusters_count():
    listing = "yolo-local (id: 3)\nyolo-other\ndocker (id: 1)\nmy-yolo-x\n"
    assert existing_namespaces(lambda _: (0, listing, "")) == {"yolo-local", "yolo-other"}
    assert existing_namespaces(lambda _: (0, "", "")) == set()


def test_a_file_is_written_whole_with_its_mode_and_replaces_another(tmp_path):
    path = tmp_path / "seed.tar"
    path.write_text("old, and longer than the new one")
    before = path.stat().st_ino
    write_whole(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["seed.tar"]


def test_what_a_killed_attempt_left_is_no_obstacle(tmp_path):
    (tmp_path / f".seed.tar.{os.getpid()}").write_text("half")
    write_whole(tmp_path / "seed.tar", b"new")
    assert os.listdir(tmp_path) == ["seed.tar"]
