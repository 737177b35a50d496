"""Prove that an HTCondor pool is whole and works.

`run`, on the submit host as the job user: waits until exactly the expected hosts offer a slot, then runs one small job
(a canary) pinned to each of them, which writes to the share who it was and where. Prints a JSON object and leaves the
results on the share.

`verify`, on the host that exports the share: reads those results from its own disk, checks them and removes them.

Standard library only; Ansible feeds it to `python3 -`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: States of a job, by the number of its event in the job's log.
EVENTS = {"001": "running", "004": "evicted", "005": "done", "009": "removed", "012": "held", "013": "idle"}

#: Jobs get no PATH from HTCondor.
JOB = """\
PATH=/usr/bin:/bin
set -e
umask 022
printf '{"machine": "%s", "node": "%s", "uid": %d, "gid": %d, "filesystem": "%s"}\\n' \\
    "$2" "$(uname -n)" "$(id -u)" "$(id -g)" "$(stat -f -c %T .)" > "$1.tmp"
mv "$1.tmp" "$1.json"
"""

SUBMIT = """\
universe = vanilla
executable = /bin/sh
transfer_executable = false
should_transfer_files = NO
initialdir = {directory}
arguments = "job.sh $(host) $$(Machine)"
requirements = TARGET.Machine == "$(host).{domain}"
request_cpus = 1
request_memory = 64M
request_disk = 1M
priority = 1000
batch_name = pool_check
error = $(host).err
log = {log}
queue host in ({hosts})
"""


class CheckError(Exception):
    """The pool is not as expected; the message says what, and what to do."""


@dataclass(frozen=True)
class Slots:
    """What the pool offers against what is expected; all are host names without the domain, sorted."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    drained: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether each expected host, and no other, offers one slot."""
        return not (self.missing or self.unexpected or self.repeated or self.drained)


def compare_slots(ads: Iterable[Mapping[str, Any]], expected: Iterable[str], domain: str) -> Slots:
    """Compare the partitionable slots' ads (Machine, State, Cpus) with the expected hosts' short names.

    A host whose processors are all in use is `busy`: the jobs that it runs are the proof, a canary would only wait.
    """
    ads = list(ads)
    names = Counter(str(ad.get("Machine", "")).removesuffix(f".{domain}") for ad in ads)
    wanted = set(expected)

    def having(condition: Any) -> list[str]:
        found = {str(ad.get("Machine", "")).removesuffix(f".{domain}") for ad in ads if condition(ad)}
        return sorted(found & wanted)

    return Slots(
        missing=sorted(wanted - set(names)),
        unexpected=sorted(set(names) - wanted),
        repeated=sorted(name for name, count in names.items() if count > 1),
        drained=having(lambda ad: str(ad.get("State")) == "Drained"),
        busy=having(lambda ad: int(ad.get("Cpus", 1)) < 1),
    )


def explain_slots(slots: Slots, seconds: float) -> str:
    """Say what is wrong with the slots, and where to look."""
    lines = [f"The pool is not whole after {seconds:.0f} s."]
    if slots.missing:
        lines.append(
            f"No slot from: {', '.join(slots.missing)}. Look there at `systemctl status condor`, `findmnt` (HTCondor "
            "waits for the share), the clock (a token is not valid before it was issued) and the logs "
            "/var/log/condor/MasterLog and StartLog; "
            "and whether tcp/9618 of the manager can be reached from there."
        )
    if slots.unexpected:
        lines.append(
            f"Slots from hosts that are not in the inventory's group: {', '.join(slots.unexpected)}. Add them to it, "
            "or on the manager drain them (`condor_drain HOST`) and stop them (`condor_off -master -name HOST`). "
            "A host that has just gone is forgotten within three minutes."
        )
    if slots.repeated:
        lines.append(
            f"More than one slot from: {', '.join(slots.repeated)}. Expected one partitionable slot: look at "
            "/etc/condor/config.d and at other hosts with the same name."
        )
    if slots.drained:
        lines.append(
            f"Drained: {', '.join(slots.drained)}. `condor_drain -cancel HOST` on the manager lets them work again."
        )
    return "\n".join(lines)


def read_events(log: str) -> dict[int, tuple[str, str]]:
    """Read a job event log: for each process its last state (a value of EVENTS) and that event's detail."""
    states: dict[int, tuple[str, str]] = {}
    for event in re.split(r"^\.\.\.$\n?", log, flags=re.MULTILINE):
        head = re.match(r"(\d{3}) \(\d+\.(\d+)\.\d+\)", event)
        if head and head[1] in EVENTS:
            lines = [line.strip() for line in event.splitlines()]
            states[int(head[2])] = (EVENTS[head[1]], lines[1] if len(lines) > 1 else "")
    return states


def check_result(
    host: str, text: str | None, owner: tuple[int, int] | None, uid: int, gid: int, domain: str
) -> list[str]:
    """Check what a canary wrote; returns what is wrong with it.

    Args:
        host: the short name of the host to which the job was pinned.
        text: what the job wrote, None where there is no file.
        owner: (uid, gid) of the file on the exporting host's own disk.
        uid: the job user's id, as expected.
        gid: its group's id, as expected.
        domain: the cluster's domain.
    """
    if text is None or owner is None:
        return [f"{host}: the job is done, but its result is not in the folder that the manager exports"]
    try:
        record = json.loads(text)
        found = {key: record[key] for key in ("machine", "uid", "gid", "filesystem")}
    except (ValueError, KeyError, TypeError) as error:
        return [f"{host}: cannot read the job's result {text!r}: {error}"]
    problems = []
    if found["machine"] != f"{host}.{domain}":
        problems.append(f"{host}: the job ran on {found['machine']}, expected {host}.{domain}")
    if (found["uid"], found["gid"]) != (uid, gid):
        problems.append(f"{host}: the job ran as {found['uid']}:{found['gid']}, expected {uid}:{gid}")
    if owner != (uid, gid):
        problems.append(f"{host}: its file belongs to {owner[0]}:{owner[1]} on the manager, expected {uid}:{gid}")
    if found["filesystem"] not in ("nfs", "nfs4"):
        problems.append(f"{host}: the job saw a {found['filesystem']} file system, expected NFS")
    return problems


def call(*argv: str) -> str:
    """Run a program and return what it prints.

    Raises:
        CheckError: it cannot be run or it fails.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckError(f"Failed to run {argv[0]}: {error}") from error
    if done.returncode:
        raise CheckError(f"{' '.join(argv)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_for_slots(hosts: Sequence[str], domain: str, deadline: float, started: float) -> Slots:
    """Wait until the pool is exactly the hosts.

    Raises:
        CheckError: it is not, within the time.
    """
    while True:
        slots, failure = Slots(missing=sorted(hosts)), ""
        try:
            text = call(
                "condor_status",
                "-json",
                "-constraint",
                "PartitionableSlot =?= True",
                "-attributes",
                "Machine,State,Cpus",
            )
            slots = compare_slots(json.loads(text.strip() or "[]"), hosts, domain)
        except CheckError as error:
            # The collector may be starting; a token that is refused stays so, and is told at the end.
            failure = f"\n{error}\nLook at `systemctl status condor` on the manager."
        if slots.exact:
            return slots
        if time.monotonic() > deadline:
            raise CheckError(explain_slots(slots, time.monotonic() - started) + failure)
        time.sleep(1)


def run_canaries(share: Path, hosts: Sequence[str], domain: str, deadline: float) -> Path:
    """Run a job pinned to each host; returns the folder of the results.

    Raises:
        CheckError: a job is held or removed, fails, or is not done within the time.
    """
    for old in share.glob(".pool_check-*"):
        # Left by a run that was killed before its results were read.
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > 3600:
                shutil.rmtree(old)
    directory = Path(tempfile.mkdtemp(prefix=".pool_check-", dir=share))
    cluster = ""
    with tempfile.TemporaryDirectory(prefix="pool_check-") as local:
        log = Path(local, "log")
        try:
            (directory / "job.sh").write_text(JOB, encoding="ascii")
            submit = Path(local, "submit")
            submit.write_text(
                SUBMIT.format(directory=directory, domain=domain, log=log, hosts=" ".join(hosts)), encoding="utf-8"
            )
            cluster = call("condor_submit", "-terse", str(submit)).split(".")[0].strip()
            while True:
                events = read_events(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "")
                states = {host: events.get(number, ("idle", "")) for number, host in enumerate(hosts)}
                bad = {host: state for host, state in states.items() if state[0] in ("held", "removed")}
                # "(1) Normal termination (return value 0)" is the only good end.
                bad |= {h: s for h, s in states.items() if s[0] == "done" and not s[1].endswith("(return value 0)")}
                if bad:
                    raise CheckError("\n".join(explain_job(directory, host, *state) for host, state in bad.items()))
                waiting = {host: state for host, state in states.items() if state[0] != "done"}
                if not waiting:
                    return directory
                if time.monotonic() > deadline:
                    lines = [
                        f"{host}: its job is still {state[0]}. {REMEDY[state[0]]}" for host, state in waiting.items()
                    ]
                    raise CheckError("Not all canary jobs were done in time.\n" + "\n".join(lines))
                time.sleep(0.2)
        except BaseException:
            if cluster:
                with contextlib.suppress(CheckError):
                    call("condor_rm", cluster)
            shutil.rmtree(directory, ignore_errors=True)
            raise


REMEDY = {
    "idle": "No match, or the match was refused: on the manager look at /var/log/condor/NegotiatorLog, "
    "on that host at /var/log/condor/StartLog.",
    "evicted": "The host gave the job back: look at /var/log/condor/StarterLog.slot1_1 there.",
    "running": "It hangs: is the share answering there (`ls` of it)?",
}


def explain_job(directory: Path, host: str, state: str, detail: str) -> str:
    """Say how a canary went wrong, with what it wrote to its standard error."""
    said = ""
    with contextlib.suppress(OSError):
        said = (directory / f"{host}.err").read_text(encoding="utf-8", errors="replace").strip()
    return (
        f"{host}: its job is {state}: {detail or 'no reason given'}{'; it says: ' + said if said else ''}. "
        f"Look at /var/log/condor/StarterLog.slot1_1 there."
    )


def verify(directory: Path, hosts: Sequence[str], uid: int, gid: int, domain: str) -> list[str]:
    """Read, check and remove the canaries' results; returns what is wrong with them."""
    problems = []
    for host in hosts:
        path, text, owner = directory / f"{host}.json", None, None
        with contextlib.suppress(FileNotFoundError):
            text, status = path.read_text(encoding="utf-8", errors="replace"), path.stat()
            owner = (status.st_uid, status.st_gid)
        problems += check_result(host, text, owner, uid, gid, domain)
    shutil.rmtree(directory)
    return problems


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Prove that an HTCondor pool is whole and works.")
    commands = parser.add_subparsers(dest="command", required=True)
    run, check = commands.add_parser("run"), commands.add_parser("verify")
    for command in (run, check):
        command.add_argument("--hosts", required=True, help="short names of the execute hosts, with commas")
        command.add_argument("--domain", required=True)
    run.add_argument("--share", type=Path, required=True)
    run.add_argument("--timeout", type=float, default=300, help="seconds for each of: the slots, the jobs")
    run.add_argument("--slots-only", action="store_true", help="change nothing: run no job")
    check.add_argument("--directory", type=Path, required=True, help="as printed by run")
    check.add_argument("--uid", type=int, required=True)
    check.add_argument("--gid", type=int, required=True)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the command; returns 0, or 1 with the reason on standard error."""
    options = arguments(argv)
    hosts = options.hosts.split(",")
    try:
        if options.command == "verify":
            problems = verify(options.directory, hosts, options.uid, options.gid, options.domain)
            if problems:
                raise CheckError("\n".join(problems))
            return 0
        started = time.monotonic()
        slots = wait_for_slots(hosts, options.domain, started + options.timeout, started)
        free = [host for host in hosts if host not in slots.busy]
        directory = None
        if free and not options.slots_only:
            directory = run_canaries(options.share, free, options.domain, time.monotonic() + options.timeout)
        outcome = {"hosts": free, "busy": slots.busy, "directory": os.fspath(directory) if directory else None}
        print(json.dumps(outcome | {"seconds": round(time.monotonic() - started, 1)}))
    except (CheckError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
