"""The commands of a run, one after the other, with programs in place of HTCondor's."""

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from make_checkpoint import Values, classic, hostile, package, write
from make_run import make_run, put_job, put_record
from yolo.cli import main as cli
from yolo.model.info import ModelInfo
from yolo.request import weights
from yolo.request.code_id import code_id
from yolo.results import beside
from yolo.share import fsio, manifest
from yolo.share.chunks import read_chunk
from yolo.share.layout import Share
from yolo.share.settings import read_digest

PACKAGE = Path(cli.__file__).parents[2]
JPEG = b"\xff\xd8\xff\xe0"

SLOTS = [
    {
        "Name": f"slot1@e{number}", "Machine": f"e{number}", "PartitionableSlot": True, "State": "Unclaimed", "Cpus": 2,
        "Memory": 2000, "Disk": 9000000, "TotalSlotCpus": 2, "TotalSlotMemory": 2000, "TotalSlotDisk": 9000000,
    }
    for number in (1, 2)
]  # fmt: skip


def yolo(*arguments, given=None, **environment):
    """Run a command as a process; return its exit code, what it said and its error."""
    command = [sys.executable, "-m", "yolo", *map(str, arguments), *(["--from", "-"] if given is not None else [])]
    done = subprocess.run(
        command,
        input=None if given is None else json.dumps(given),
        env={"PYTHONPATH": str(PACKAGE), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line], done.stderr


class Htcondor:
    """Programs called as HTCondor's, that print what is told and note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.answer("condor_q", [])
        self.answer("condor_history", [])
        self.answer("condor_status", SLOTS)
        self.script("condor_submit", "echo 7.0 - 7.1")
        self.script("condor_rm", "true")
        self.environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    def script(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "$0 $@" >> {self.folder}/calls\n{text}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def answer(self, name: str, ads: list) -> None:
        fsio.write_json(self.folder / f"{name}.json", ads)
        self.script(name, f"cat {self.folder}/{name}.json")

    def calls(self, name: str) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines() if (self.folder / "calls").exists() else []
        return [line for line in lines if line.startswith(f"{self.folder}/{name} ")]


@pytest.fixture
def htcondor(tmp_path):
    return Htcondor(tmp_path / "bin")


# --- the control node -------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "my photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(b"hello" if name == "notes.txt" else JPEG + name.encode())
    return folder


def ask(tmp_path, *arguments, **context):
    return yolo("request", *arguments, given={"cache": str(tmp_path / "cache"), **context})


def test_a_request_names_all_that_later_commands_need(tmp_path, photos):
    code, said, _ = ask(tmp_path, here=str(tmp_path), inputs={"images": "my photos", "classes": "cat,0", "run_id": "r"})
    assert code == 0
    found = said[-1]["result"]
    assert (found["id"], found["mode"], found["passes"]) == ("r", "parallel", ["parallel"])
    assert (found["source"]["count"], found["source"]["skipped"], found["source"]["ignored"]) == (2, 1, 1)
    assert found["settings"]["classes"] == [0, 3]
    assert found["settings"]["conf"] == fsio.read_json(weights.DEMO.with_suffix(".json"))["conf"]
    assert found["places"]["run"] == "/srv/share/runs/r"
    assert found["results"] == str(tmp_path / "results" / "r")
    assert found["changed"] is False
    file = Path(found["parcel"], "runs/r/request.json")
    kept = json.loads(file.read_text())
    assert kept["source"]["stamp"] == manifest.stamp(found["source"]["manifest"])
    assert str(tmp_path / "cache") not in file.read_text()
    _, said, _ = ask(tmp_path, here=str(tmp_path), inputs={"images": "my photos", "classes": "cat,0", "run_id": "r"})
    assert json.loads(Path(said[-1]["result"]["parcel"], "runs/r/request.json").read_text()) == kept
    assert found["lines"][1].endswith("; 1 file that can't be images; 1 hidden file or folder left out")


def test_each_of_several_paths_is_meant_from_where_the_user_is(tmp_path, photos):
    code, said, error = ask(tmp_path, here=str(tmp_path), inputs={"images": "my photos/a.jpg, my photos/b.*"})
    assert code == 0, error
    found = said[-1]["result"]["source"]
    assert (found["root"], found["count"]) == (str(photos), 2)


@pytest.mark.parametrize("kind", ["pt", "openvino"])
def test_what_is_sent_beside_the_images_is_laid_out_as_on_the_share(tmp_path, photos, kind):
    values = Values()
    checkpoint = write(tmp_path / "any", classic(values), values).read_bytes()
    weights_files = (
        {"w.pt": checkpoint} if kind == "pt" else {"m.xml": b"<net/>", "m.bin": b"x", "metadata.yaml": b"names: {}"}
    )
    folder = tmp_path / "w"
    folder.mkdir()
    for name, content in weights_files.items():
        (folder / name).write_bytes(content)
    (folder / "not of the weights").write_text("x")
    asked = folder / "w.pt" if kind == "pt" else folder
    code, said, error = ask(tmp_path, inputs={"images": str(photos), "weights": str(asked), "run_id": "r"})
    assert code == 0, error
    found = said[-1]["result"]
    share = tmp_path / "share"
    subprocess.run(["rsync", "--recursive", "--copy-links", f"{found['parcel']}/", f"{share}/"], check=True)
    sent = {path.relative_to(share).as_posix() for path in share.rglob("*") if path.is_file()}
    places = {name: place.removeprefix("/srv/share/") for name, place in found["places"].items()}
    assert sent == {
        places["code"],
        *(f"runs/r/{name}" for name in ("manifest.jsonl", "request.json")),
        *(f"{places['weights']}/source/{name}" for name in weights_files),
    }
    assert code_id() == Path(places["code"]).stem
    assert list((share / places["input"]).iterdir()) == []


def _cut(path):
    values = Values()
    path.write_bytes(write(path, classic(values), values).read_bytes()[:-200])


def _no_values(path):
    values = Values()
    content = classic(values)
    del values.members["0"]
    write(path, content, values)


def _few_values(path):
    values = Values()
    content = classic(values)
    values.members["0"] = values.members["0"][:-4]
    write(path, content, values)


def _too_large(path):
    values = Values()
    content = classic(values)
    layers = content["model"].state["_modules"]["model"].state["_modules"]
    tensor = layers["1"].state["_buffers"]["anchors"]
    tensor.arguments = (*tensor.arguments[:2], (10**9, 2), (0, 1), *tensor.arguments[4:])
    write(path, content, values)


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best.txt", "x")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_cut, "the checkpoint is damaged: w.pt: File is not a zip file; expected"),
        (_zip, "a zip, but not a PyTorch checkpoint: w.pt has 0 members called data.pkl; expected"),
        (_no_values, "the checkpoint is damaged: w.pt: the values of a tensor are missing (best/data/"),
        (_few_values, "the checkpoint is damaged: w.pt: the values of a tensor (best/data/0) have 428 bytes, not 432"),
        (
            _too_large,
            "damaged: w.pt: a tensor of the shape (1000000000, 2) is larger than its 4 values",
        ),
        (lambda path: write(path, b"\x80\x02}q"), "the checkpoint is damaged: w.pt: the pickle is damaged ("),
        (
            lambda path: write(path, {"a": 1, "b": 2}),
            "the checkpoint holds no model: w.pt: it holds a, b; its model",
        ),
        (lambda path: write(path, [1]), "the checkpoint holds no model: w.pt: it holds list; expected"),
        (
            lambda path: path.write_bytes(b"\x80\x02}."),
            "a checkpoint in PyTorch's format of before 1.6",
        ),
        (
            lambda path: write(path, package("models.yolo.SegmentationModel")),
            "the weights are for another task: w.pt: segment; expected weights for detection",
        ),
        (
            lambda path: hostile(path, path.with_name("made")),
            "the checkpoint names what no weights of YOLO need, and loading it could run that: w.pt: posix.system; ",
        ),
    ],
)
def test_a_wrong_checkpoint_is_named_before_anything_is_sent(tmp_path, photos, make, said):
    make(tmp_path / "w.pt")
    code, _, error = ask(tmp_path, inputs={"images": str(photos), "weights": str(tmp_path / "w.pt")})
    assert code == 2
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "cache" / "staging").exists()


@pytest.mark.parametrize("trust", ["no", "yes"])
def test_a_request_says_what_it_means_to_trust_weights(tmp_path, photos, trust):
    values = Values()
    write(tmp_path / "w.pt", classic(values), values)
    hostile(tmp_path / "h.pt", tmp_path / "made")
    weights = str(tmp_path / ("h.pt" if trust == "yes" else "w.pt"))
    inputs = {"images": str(photos), "weights": weights, "trust_weights": trust, "run_id": "r"}
    code, said, error = ask(tmp_path, inputs=inputs)
    assert code == 0, error
    found = said[-1]["result"]
    sent = json.loads(Path(found["parcel"], "runs/r/request.json").read_text())
    assert sent["weights"]["trusted"] is (trust == "yes")
    warned = [line for line in found["lines"] if "code in the weights may run on the execute hosts" in line]
    assert len(warned) == (trust == "yes")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("inputs", "passes"),
    [
        ({"precision": "int8", "labels": "."}, ["float", "parallel"]),
        ({"precision": "int8", "labels": ".", "mode": "compare"}, ["float", "single", "parallel"]),
        ({"precision": "int8", "labels": ".", "mode": "single"}, ["float", "single"]),
        ({"precision": "int8"}, ["parallel"]),
        ({"labels": ".", "mode": "compare"}, ["single", "parallel"]),
    ],
)
def test_int8_with_labels_costs_a_pass_and_says_so(tmp_path, photos, inputs, passes):
    code, said, error = ask(tmp_path, here=str(tmp_path), inputs={"images": str(photos), **inputs})
    assert code == 0, error
    found = said[-1]["result"]
    assert found["passes"] == passes
    warned = [line for line in found["lines"] if "one pass more, with the float model" in line]
    assert len(warned) == ("float" in passes)


def test_classes_can_be_named_by_the_names_of_a_checkpoint(tmp_path, photos):
    values = Values()
    write(tmp_path / "w.pt", classic(values, {0: "cat", 1: "a dog"}), values)
    inputs = {"images": str(photos), "weights": str(tmp_path / "w.pt"), "classes": "a dog"}
    _, said, _ = ask(tmp_path, inputs=inputs)
    assert said[-1]["result"]["settings"]["classes"] == [1]
    _, _, error = ask(tmp_path, inputs=inputs | {"classes": "cow"})
    assert "cow" in error


def test_all_that_is_wrong_is_said_together_and_nothing_is_written(tmp_path, photos):
    inputs = {"images": str(photos), "conf": "7", "save_images": "maybe", "max_det": 50000, "mode": "fast"}
    code, said, error = ask(tmp_path, inputs=inputs, named=["imagez", "images", "ec2_region"], prefixes=["ec2_"])
    assert (code, said) == (2, [])
    assert error.splitlines() == [
        "error: imagez is no input of a run; did you mean images?",
        "conf is '7'; expected a number from 0 to 1",
        "max_det is '50000'; expected a whole number from 1 to 30000",
        "save_images is 'maybe'; expected true or false",
        "mode is 'fast'; expected parallel, single or compare",
    ]
    assert not (tmp_path / "cache").exists()


def test_images_and_labels_that_are_not_there_are_said_together_with_what_else_is_wrong(tmp_path):
    code, _, error = ask(tmp_path, here="/x", inputs={"images": "nowhere", "conf": "7", "labels": "nothing"})
    assert code == 2
    assert [line.partition(";")[0] for line in error.splitlines()] == [
        "error: no such images: /x/nowhere",
        "conf is '7'",
        "no such labels: /x/nothing",
    ]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "images is not set; expected a folder, an image, a zip or a tar; several with commas"),
        ({"images": "-E"}, "no such images: {here}/-E; expected"),
        ({"images": "/nowhere at all"}, "no such images: /nowhere at all"),
        ({"images": "https://example.org/a.jpg?x=1,2"}, "a URL is not fetched: https://example.org/a.jpg?x=1,2"),
        ({"images": "share:"}, "images is 'share:'; expected a folder, an image"),
        ({"images": "in,share:photos"}, "a folder on the share can't be one of several sources: in,share:photos"),
        ({"images": "share:../photos"}, "the folder of images lies outside the share: /srv/photos"),
        ({"images": "share:photos"}, "the folder on the share was not listed: /srv/share/photos"),
        ({"images": "empty"}, "no image to work on: {here}/empty holds 0 files"),
        ({"images": "s3://bucket//x"}, "a path in each line: -e images=PATH; share:FOLDER"),
        ({"images": "in", "classes": "99"}, "classes is '99'; expected an index from 0 to 6 or a name of the weights"),
        ({"images": "in", "classes": ["zebra"]}, "classes is 'zebra'; expected an index from 0 to 6"),
        ({"images": "in", "imgsz": "333"}, "imgsz is '333'; expected a multiple of 32"),
        ({"images": "in", "run_id": "../up"}, "run_id is '../up'; expected"),
        ({"images": "in", "weights": "yolov8n"}, "no such weights: yolov8n; expected the path of a .pt (any "),
        ({"images": "in", "weights": "/nowhere.pt"}, "no such weights: /nowhere.pt"),
        ({"images": "in", "cpus": "0"}, "cpus is '0'; expected a whole number from 1 on"),
        ({"images": "in", "time_limit": "1h"}, "time_limit is '1h'; expected seconds, a whole number from 1 on"),
        ({"images": "in", "engine": "tensorrt"}, "engine is 'tensorrt'; expected auto, openvino, onnxruntime or torch"),
        ({"images": "in", "precision": "fp16"}, "precision is 'fp16'; expected fp32, int8 or bf16"),
        ({"images": "in", "price_per_hour": "cheap"}, "price_per_hour is 'cheap'; expected dollars an hour"),
        ({"images": "in", "results_to": "s3://Bad_Bucket"}, "results_to is 's3://Bad_Bucket'; expected s3://BUCKET/PREFIX"),
    ],
)  # fmt: skip
def test_a_wrong_input_is_one_clear_error(tmp_path, inputs, said):
    for name in ("in", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    code, _, error = ask(tmp_path, here=str(tmp_path), inputs=inputs)
    assert code == 2
    assert said.format(here=tmp_path) in error
    assert error.count("\n") == 1


def test_a_person_at_a_shell_gives_inputs_as_arguments(tmp_path, photos):
    code, said, _ = yolo("request", f"images={photos}", "run_id=x", HOME=str(tmp_path))
    assert code == 0
    assert said[-1]["result"]["id"] == "x"
    assert (tmp_path / ".cache" / "condor-yolo").is_dir()
    code, _, error = yolo("request", "imgages=x", HOME=str(tmp_path))
    assert code == 2
    assert "did you mean images?" in error


def test_validating_does_no_more(tmp_path):
    code, said, _ = ask(tmp_path, "--validate", inputs={"images": "s3://my-bucket/photos"})
    assert (code, said) == (0, [{"result": {"from_s3": True, "on_share": None, "changed": False}}])


def test_a_folder_on_the_share_is_listed_there_and_not_sent(tmp_path, photos):
    share = tmp_path / "share"
    share.mkdir()
    shutil.copytree(photos, share / "photos")
    inputs = {"images": "share:photos", "run_id": "r"}
    asked = {"share": str(share), "inputs": inputs}
    _, said, _ = ask(tmp_path, "--validate", **asked)
    place = said[-1]["result"]["on_share"]
    assert place["folder"] == str(share / "photos")
    code, said, error = yolo("list", "--share", share, place["folder"])
    assert code == 0, error
    listed = Path(place["listed"])
    listed.parent.mkdir(parents=True)
    listed.write_text(json.dumps(said[-1]["result"]["kept"]))

    found = {}
    for name, images in (("share", inputs["images"]), ("same", f"share:{share}/photos/"), ("sent", str(photos))):
        code, said, error = ask(tmp_path, share=str(share), inputs=inputs | {"images": images})
        assert code == 0, error
        found[name] = said[-1]["result"]
    request, sent = found["share"], found["sent"]
    assert request["places"]["input"] == str(share / "photos")
    assert (request["source"]["on_share"], request["source"]["doubtful"]) == (True, 0)
    assert not Path(request["parcel"], "photos").exists(), "rsync would set the folder's mode"
    assert not Path(request["parcel"], "inputs").exists()
    kept = [Path(found[name]["parcel"], "runs/r/request.json").read_bytes() for name in ("share", "same")]
    assert kept[0] == kept[1]

    def entries(request):
        return [replace(entry, mtime_ns=0) for entry in manifest.read(request["source"]["manifest"])]

    assert entries(request) == entries(sent)
    assert [entry.path for entry in entries(request) if entry.skip is None] == ["a.jpg", "b.jpg"]
    assert request["lines"][1].endswith("; 1 file that can't be images; 1 hidden file or folder left out")


def test_commands_and_their_help():
    done = subprocess.run(
        [sys.executable, "-m", "yolo"], env={"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    for name in cli.COMMANDS:
        assert f"  {name} " in done.stdout
        module = PACKAGE / "yolo" / "cli" / f"{name.replace('-', '_')}.py"
        assert module.is_file()
    code, _, error = yolo("no-such")
    assert code == 2
    assert error.startswith("error: no such command: no-such; expected one of request, ")


# --- the submit host --------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """A run of eight images whose request is on the share, and whose model was prepared before."""
    run, _ = make_run(tmp_path / "share", [f"{i}.jpg" for i in range(8)])
    share = Share(tmp_path / "share")
    weights = share.weights("0123456789abcdef")
    fsio.write_bytes(weights.source / "best.pt", b"x" * 1000)
    fsio.write_json(
        weights.model / "model.json", ModelInfo(("cat", "dog"), 32, (640, 640), True, "classic", "fp32").to_dict()
    )
    request = {
        "id": run.root.name, "mode": "parallel", "passes": ["parallel"], "prices": {}, "chunk_size": 2,
        "image_bytes": 0, "source": {"stamp": manifest.stamp(run.manifest), "ignored": 0},
        "weights": {"kind": "pt", "name": "best.pt", "weights_id": "0123456789abcdef"},
        "settings": {
            "conf": 0.25, "iou": 0.7, "imgsz": 0, "engine": "openvino", "precision": "fp32", "precision_limit": 0.15,
            "max_det": 300, "classes": ["dog"], "save_images": True, "annotated_size": 0, "decode": "exact",
        },
        "job": {"cpus": 1, "memory": "800M", "disk": "100M", "time_limit": 60},
        "places": {"weights": str(weights.root), "input": str(share.input("in")), "run": str(run.root), "code": "/c"},
    }  # fmt: skip
    fsio.write_json(run.request, request)
    kept = {
        "weights_id": "0123456789abcdef", "engine_asked": "openvino", "engine": "openvino", "precision": "fp32",
        "imgsz": 0, "model_dir": str(weights.model), "engine_measured": {}, "precision_difference": {},
    }  # fmt: skip
    fsio.write_json(run.settings, kept)
    return run


def test_a_kept_selection_is_written_with_the_indices_of_the_classes_and_nothing_is_submitted(run, htcondor):
    code, said, error = yolo("prepare", "--run-dir", run.root, "--expected", "e1,e2", **htcondor.environment)
    assert code == 0, error
    result = said[-1]["result"]
    assert (result["slots"], result["machines"], result["changed"]) == (4, [["e1", 2], ["e2", 2]], True)
    assert fsio.read_json(run.settings)["classes"] == [1]
    assert htcondor.calls("condor_submit") == []
    code, said, _ = yolo("prepare", "--run-dir", run.root, **htcondor.environment)
    assert said[-1]["result"]["changed"] is False


def test_what_weights_that_suppress_boxes_themselves_cannot_obey_is_said(run, htcondor):
    weights = Path(fsio.read_json(run.settings)["model_dir"])
    info = fsio.read_json(weights / "model.json")
    fsio.write_json(weights / "model.json", info | {"nms": {"conf": 0.6, "iou": 0.45, "max_det": 300}})
    code, said, _ = yolo("prepare", "--run-dir", run.root, **htcondor.environment)
    assert code == 0
    notices = [line["notice"] for line in said if "notice" in line]
    assert [notice.partition(": ")[2].split("=")[0] for notice in notices] == ["conf", "iou"]
    assert "the weights suppress boxes themselves" in notices[0]


def test_a_class_that_only_the_prepared_model_tells_is_refused(run, htcondor):
    request = fsio.read_json(run.request)
    request["settings"]["classes"] = ["zebra"]
    fsio.write_json(run.request, request)
    code, _, error = yolo("prepare", "--run-dir", run.root, **htcondor.environment)
    assert code == 2
    assert error == "error: classes is 'zebra'; expected an index from 0 to 1 or a name of the weights: cat, dog\n"


def test_a_check_says_what_is_known_and_submits_nothing(run, htcondor):
    run.settings.unlink()
    code, said, _ = yolo("prepare", "--dry-run", "--run-dir", run.root, **htcondor.environment)
    assert code == 0
    assert "a job of the pool; the model is there" in said[-1]["result"]["sentence"]
    assert htcondor.calls("condor_submit") == []
    assert not run.settings.exists()


def test_the_model_is_prepared_by_a_job_whose_failure_is_one_error(run, htcondor, tmp_path):
    run.settings.unlink()
    job = {"ClusterId": 7, "ProcId": 0, "JobStatus": 4, "ExitCode": 2, "ExitBySignal": False}
    htcondor.answer("condor_history", [job])
    fsio.write_text(run.prepare_dir / "7.err", "error: the weights are corrupt\n")
    code, _, error = yolo(
        "prepare", "--run-dir", run.root, "--log-dir", tmp_path / "logs", given={"submit_file": "queue\n"},
        **htcondor.environment,
    )  # fmt: skip
    assert (code, error) == (2, "error: the weights are corrupt\n")
    assert htcondor.calls("condor_rm")[0].endswith("condor_rm 7")


@pytest.fixture
def prepared(run, htcondor):
    assert yolo("prepare", "--run-dir", run.root, **htcondor.environment)[0] == 0
    return run


def submit(run, htcondor, *options):
    return yolo(
        "submit", "--run-dir", run.root, "--pass", "parallel", "--slots", "2", "--log-dir", run.root / "logs", *options,
        given={"submit_file": "log = $(event_log)\nqueue chunk from $(chunks)\n"}, **htcondor.environment,
    )  # fmt: skip


def test_what_is_missing_is_submitted_once(prepared, htcondor):
    code, said, error = submit(prepared, htcondor)
    assert code == 0, error
    result = said[-1]["result"]
    assert (result["submission"], result["cluster"], result["images"], result["changed"]) == ("s001", 7, 8, True)
    written = (prepared.get_pass("parallel").submission_dir("s001") / "detect.sub").read_text()
    assert written.splitlines() == [
        "submission = s001",
        f"event_log = {prepared.root}/logs/r1-parallel-s001.log",
        f"chunks = {prepared.get_pass('parallel').queue('s001')}",
        "log = $(event_log)",
        "queue chunk from $(chunks)",
    ]


def test_a_check_submits_nothing(prepared, htcondor):
    code, said, _ = submit(prepared, htcondor, "--dry-run")
    assert code == 0
    assert (said[-1]["result"]["images"], said[-1]["result"]["cluster"]) == (8, None)
    assert htcondor.calls("condor_submit") == []
    assert not prepared.get_pass("parallel").chunks.exists()


def test_jobs_of_an_earlier_call_are_waited_for_before_what_is_missing_is_submitted(prepared, htcondor):
    submit(prepared, htcondor)
    run_pass = prepared.get_pass("parallel")
    # The first chunk is done by the jobs that are found in the queue; they end at the first poll.
    for entry in read_chunk(run_pass, "s001", "c00000"):
        put_record(run_pass, entry, settings_digest=read_digest(prepared, "parallel"))
    htcondor.answer("condor_history", [
        {"ClusterId": 7, "ProcId": number, "JobStatus": 4, "ExitCode": 0, "ExitBySignal": False} for number in range(4)
    ])  # fmt: skip
    listed = json.dumps([{"ClusterId": 7, "YoloSubmission": "s001"}])
    htcondor.script("condor_q", f"case \"$*\" in *-constraint*) echo '{listed}';; *) echo '[]';; esac")
    code, said, error = submit(prepared, htcondor)
    assert code == 0, error
    assert any("images" in message.get("line", "") for message in said)
    result = said[-1]["result"]
    assert (result["submission"], result["images"], result["done_before"]) == ("s002", 6, 2)


def test_the_status_once_and_followed(prepared, htcondor):
    submit(prepared, htcondor)
    arguments = ["--run-dir", prepared.root, "--pass", "parallel"]
    htcondor.answer("condor_q", [{"ClusterId": 7, "ProcId": 0, "JobStatus": 2, "JobStartDate": 1000}])
    code, said, _ = yolo("status", *arguments, **htcondor.environment)
    result = said[-1]["result"]
    assert (code, result["state"], result["running"], result["images_total"]) == (0, "waiting", 1, 8)
    htcondor.answer("condor_q", [])
    ended = [{"ClusterId": 7, "ProcId": n, "JobStatus": 4, "ExitCode": 0, "ExitBySignal": False} for n in range(4)]
    htcondor.answer("condor_history", ended)
    code, said, _ = yolo("status", *arguments, "--follow", **htcondor.environment)
    assert [list(message) for message in said] == [["line"], ["result"]]
    assert (said[-1]["result"]["state"], said[-1]["result"]["ended"]) == ("done", True)


def test_a_wait_that_failed_says_so_and_leaves_no_job(prepared, htcondor):
    submit(prepared, htcondor)
    held = {"ClusterId": 7, "JobStatus": 5, "HoldReasonCode": 7, "HoldReasonSubCode": 13, "HoldReason": "no permission"}
    htcondor.answer("condor_q", [{**held, "ProcId": number} for number in range(4)])
    code, said, _ = yolo("status", "--run-dir", prepared.root, "--pass", "parallel", "--follow", **htcondor.environment)
    result = said[-1]["result"]
    assert (code, result["failed"]) == (0, True)
    assert result["msg"].startswith("Run r1 (parallel) stopped: job 7.0 was held: ")
    assert htcondor.calls("condor_rm")[-1].endswith("condor_rm 7")


def test_a_status_of_nothing_is_one_error(prepared):
    code, _, error = yolo("status", "--run-dir", prepared.root, "--pass", "single")
    assert code == 2
    assert error.startswith("error: nothing was submitted: ")


def test_finishing_merges_and_names_what_jobs_left_undone(prepared, htcondor):
    submit(prepared, htcondor)
    run_pass = prepared.get_pass("parallel")
    put_job(run_pass, "s001")
    entries = list(manifest.read(prepared.manifest))
    for entry in entries[:6]:
        put_record(run_pass, entry, settings_digest=read_digest(prepared, "parallel"))
    arguments = ["finish", "--run-dir", prepared.root, "--pass", "parallel"]
    code, _, error = yolo(*arguments, given={})
    assert code == 2
    assert error.startswith("error: 2 of 8 images have no result: ")
    given = {"worked": True, "unfinished": {"s001-c00003": "its job was held"}, "reason": "held", "remedy": "release"}
    code, said, error = yolo(*arguments, given=given)
    assert code == 0, error
    assert said[-1]["result"] == {
        "pass": "parallel", "images": 8, "unfinished": 2, "reason": "held", "remedy": "release", "changed": True,
        "beside": beside.files(["parallel"], None),
    }  # fmt: skip
    assert fsio.read_json(run_pass.metrics_json)["counts"]["ok"] == 6


def test_what_belongs_beside_the_results_is_said_after_the_last_pass(prepared):
    request = fsio.read_json(prepared.request) | {"mode": "compare", "passes": ["float", "single", "parallel"]}
    fsio.write_json(prepared.request, request)
    said = {}
    for name in request["passes"]:
        for entry in manifest.read(prepared.manifest):
            put_record(prepared.get_pass(name), entry, settings_digest=read_digest(prepared, name))
        put_job(prepared.get_pass(name), images=8)
        code, messages, error = yolo("finish", "--run-dir", prepared.root, "--pass", name, given={})
        assert code == 0, error
        said[name] = messages[-1]["result"].get("beside")
    assert said == {
        "float": None,
        "single": None,
        "parallel": {
            "compare.json": "compare.json",
            "metrics-single.json": "single/metrics.json",
            "predictions-float.json": "float/predictions.json",
            "metrics-float.csv": "float/metrics.csv",
            # They are identical.
            "predictions-single.json": None,
            "metrics-single.csv": None,
        },
    }
    assert all((prepared.root / path).is_file() for path in said["parallel"].values() if path)
    differing = beside.files(request["passes"], identical=False)
    assert differing["predictions-single.json"] == "single/predictions.json"
    assert set(beside.files(["parallel"], None).values()) == {None}
    # The last pass has the results themselves.
    assert beside.files(["float", "single"], None)["predictions-single.json"] is None


def test_what_a_wait_for_execute_hosts_found_is_said(run, htcondor):
    # The first answer has none; the next has both.
    more = htcondor.folder / "later"
    fsio.write_json(more, SLOTS)
    htcondor.script(
        "condor_status",
        f'case "$*" in *Partitionable*) if [ -e {more}.seen ]; then cat {more}; else touch {more}.seen; fi;; esac',
    )
    code, said, error = yolo("prepare", "--run-dir", run.root, "--expected", "e1,e2", **htcondor.environment)
    assert code == 0, error
    lines = [message["line"] for message in said if "line" in message]
    assert lines[0].startswith("waiting for the execute hosts")
    assert [message["notice"] for message in said if "notice" in message] == [
        "2 execute hosts with 4 processors in the pool"
    ]
