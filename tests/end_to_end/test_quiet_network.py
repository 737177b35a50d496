"""Nothing is reported: no host asks for a name while a model is prepared and used, and no library leaves an identity.

A library that reports asks a name server first, here in vain or not; and it gives the user an identity first of all.
"""

from __future__ import annotations

import secrets
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import PROJECT, Cluster
from dns_watch import DnsWatch

DEMO_WEIGHTS = PROJECT / "files/demo/yolov5n-demo.pt"
JOB_USER = "yolo"
# What libraries that report leave behind: identities, and ONNX Runtime its queue and its session too.
TRACES = ("deviceid", "*onnxruntime*", ".ses", "openvino_ga_cid", "intel")
PLACES = ("/root", "/home", "/tmp", "/var/tmp", "/var/lib/condor/execute")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's weights as a file that no host has seen: they are prepared anew."""
    weights = tmp_path_factory.mktemp("weights") / "fresh.pt"
    shutil.copyfile(DEMO_WEIGHTS, weights)
    with zipfile.ZipFile(weights, "a") as archive:
        archive.comment = secrets.token_hex(8).encode()
    return weights


def copies(samples: Path, folder: Path, count: int) -> Path:
    """So many images, of the samples, round and round."""
    folder.mkdir()
    photos = sorted(samples.rglob("*.jpg"))
    for number in range(count):
        shutil.copyfile(photos[number % len(photos)], folder / f"{number}.jpg")
    return folder


def traces(cluster: Cluster, host: str) -> list[str]:
    """Files and folders of TRACES on a host's own disk."""
    names = [word for name in TRACES for word in ("-o", "-name", name)][1:]
    return cluster.on(host, "find", *PLACES, "-xdev", "(", *names, ")").split()


def test_the_watch_hears_what_a_host_asks_for(cluster):
    with DnsWatch() as heard:
        for name, way in (("by-udp.invalid", ""), ("by-tcp.invalid", "use-vc ")):
            options = f"RES_OPTIONS={way}timeout:1 attempts:1"
            cluster.on("execute1", "env", options, "sh", "-c", f"getent hosts {name} || true", user=JOB_USER)
    (names,) = heard.names.values()
    assert "by-udp.invalid" in names
    # Where the name server takes no connections, no more than the attempt is heard.
    assert names & {"by-tcp.invalid", "(a connection)"}


@pytest.mark.parametrize(
    ("engine", "images", "inputs"),
    [
        ("auto", 12, {}),
        # ONNX Runtime reports ten seconds after its start: a job that takes longer.
        ("onnxruntime", 36, {"mode": "single", "imgsz": 1280}),
    ],
)
def test_no_name_is_asked_for_while_a_model_is_prepared_and_used(
    cluster, samples, weights, tmp_path, engine, images, inputs
):
    folder = copies(samples, tmp_path / "images", images)
    with DnsWatch() as heard:
        outcome = cluster.infer(folder, run_id=f"quiet-{engine}", engine=engine, weights=str(weights), **inputs)
    assert outcome.code == 0
    assert outcome.metrics["counts"]["ok"] == images
    assert heard.names == {}
    # Where it was prepared, where the environment was verified, and where it was used.
    hosts = {"execute1", *(slot["host"].split(".")[0] for slot in outcome.metrics["slots"])}
    assert {host: traces(cluster, host) for host in hosts} == {host: [] for host in hosts}
