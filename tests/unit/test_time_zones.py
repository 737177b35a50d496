"""A control node may stand in any time zone: its clock is right all the same, and so is what follows from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import zipfile
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from yolo.request import zips
from yolo.results import archive

PROJECT = Path(__file__).resolve().parents[2]


def repeated_hour() -> str:
    """A zone, as POSIX writes it, whose clocks were put back half an hour ago: local times of this hour come twice."""
    ended = time.gmtime(time.time() + 3600 - 1800)
    began = time.gmtime(time.time() - 20 * 86400)
    return f"WIN0SUM,{began.tm_yday - 1}/0,{ended.tm_yday - 1}/{ended.tm_hour}:{ended.tm_min:02}:{ended.tm_sec:02}"


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/Los_Angeles", "repeated hour"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", repeated_hour() if request.param == "repeated hour" else request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=["Asia/Tokyo", "America/Los_Angeles"])
def other_zone(request):
    return os.environ | {"TZ": request.param}


def values_of(name: str, node: object) -> Iterator[str]:
    """What a role's tasks give a variable."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == name)
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from values_of(name, part)


def expression(role: str, name: str) -> str:
    """The only value that a role's tasks give a variable."""
    files = sorted((PROJECT / "roles" / role / "tasks").glob("*.yml"))
    (found,) = [value for file in files for value in values_of(name, yaml.safe_load(file.read_text()))]
    return found


def template(text: str, **variables: object) -> Any:
    """What Ansible makes of it."""
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text))


def test_the_repeated_hour_is_one(monkeypatch):
    monkeypatch.setenv("TZ", repeated_hour())
    time.tzset()
    now = time.time()
    assert time.localtime(now)[:6] == time.localtime(now - 3600)[:6]  # noqa: TID251
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("hours", ["8", "0.5"])
def test_an_ec2_host_ends_so_many_hours_from_now(zone, hours):
    ends = template(expression("ec2", "__ec2_new_end"), ec2_ttl_hours=hours)
    seconds = timegm(time.strptime(ends, "%Y-%m-%d %H:%M:%S")) - time.time()
    assert seconds == pytest.approx(float(hours) * 3600, abs=10)


@pytest.mark.parametrize(("hours", "left"), [(-0.1, False), (0.1, True)])
def test_no_host_joins_a_cluster_whose_time_is_up(zone, hours, left):
    ends = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + hours * 3600))  # noqa: TID251
    condition = yaml.safe_load((PROJECT / "roles/ec2/tasks/time_left.yml").read_text())[0]["ansible.builtin.assert"]
    templar = Templar(loader=DataLoader(), variables={"__ec2_ends": ends})
    assert templar.evaluate_conditional(trust_as_template(condition["that"])) is left


def test_a_run_counts_from_the_time_that_the_jobs_count_from(zone):
    # It is set against what a job on another host writes, which is in UTC.
    began = template(expression("inference_run", "__inference_run_stage_began"))
    assert float(began) == pytest.approx(time.time(), abs=10)


def test_sending_takes_no_hours(zone):
    began = template(expression("inference_run", "__inference_run_stage_began"))
    taken = expression("inference_run", "__inference_run_stage_seconds")
    assert 0 <= float(template(taken, __inference_run_stage_began=began)) < 10


def test_a_zip_of_results_is_the_same_in_every_zone_and_has_the_files_times(zone, tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    changed = timegm((2026, 7, 1, 12, 0, 1))
    os.utime(tmp_path / "metrics.json", (changed, changed))
    assert archive.pack(tmp_path)
    with zipfile.ZipFile(tmp_path / "results.zip") as packed:
        (info,) = packed.infolist()
    assert info.date_time == (2026, 7, 1, 12, 0, 0)
    assert zips.member_mtime(info) == changed


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unpacked_elsewhere_the_files_have_their_times(other_zone, tmp_path):
    folder, unpacked = tmp_path / "results", tmp_path / "unpacked"
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    os.utime(folder / "metrics.json", (1_800_000_000, 1_800_000_000))
    archive.pack(folder)
    subprocess.run(["unzip", "-q", folder / "results.zip", "-d", unpacked], env=other_zone, check=True)
    assert (unpacked / "metrics.json").stat().st_mtime == 1_800_000_000


def test_no_text_of_ansible_asks_for_a_time_that_depends_on_the_zone():
    files = subprocess.run(["git", "ls-files", "*.yml", "*.j2"], cwd=PROJECT, text=True, capture_output=True).stdout
    wrong = {
        # timestamp() takes what now(utc=true) says for local time; so does anything that is formatted without utc.
        r"now\([^)]*utc[^)]*\)\s*\.\s*timestamp": "now().timestamp()",
        r"now\(\s*\)(?!\s*\.\s*timestamp\(\))": "now().timestamp(), or now(utc=true, fmt=...)",
        r"now\(\s*fmt": "now(utc=true, fmt=...)",
        r"\bstrftime\b(?![^\n]*utc=true)": "strftime(..., utc=true)",
        r"\bto_datetime\b": "seconds since the epoch",
        r"ansible_date_time|ansible_facts[.\[']+date_time": "now().timestamp()",
        r"OnCalendar=(?![^\n]* UTC$)": "OnCalendar=... UTC",
    }
    found = {}
    for name in files.split():
        text = (PROJECT / name).read_text()
        # A comment may name them.
        text = "\n".join("" if line.lstrip().startswith("#") else line for line in text.splitlines())
        found |= {f"{name}: {m[0]}": better for form, better in wrong.items() for m in re.finditer(form, text, re.M)}
    assert files
    assert found == {}
