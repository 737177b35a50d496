#!/usr/bin/python3
"""Hand this host's jobs back to the pool as soon as EC2 says that it takes the instance away.

Asks the instance metadata service (version 2, with a session token) every few seconds for the interruption notice,
which comes two minutes before the end. Then it stops HTCondor the fast way: the submit host has the jobs back at once
and gives them to other hosts, instead of finding out minutes later that this one is gone.

Source of the formats: AWS, "Spot Instance interruption notices" and "Use the Instance Metadata Service".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

TOKEN_SECONDS = 21600
REQUEST_SECONDS = 2
# A notice says terminate, stop or hibernate; each of them ends the jobs.
ACTIONS = ("terminate", "stop", "hibernate")


def request(endpoint: str, path: str, headers: dict[str, str], method: str = "GET") -> str | None:
    """Return what the metadata service says, or None where it has no such entry.

    Raises:
        OSError: It does not answer, or answers with an error other than 404.
    """
    asked = urllib.request.Request(f"{endpoint}{path}", headers=headers, method=method)
    # Never through a proxy: the address is the host's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=REQUEST_SECONDS) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def parse(notice: str | None) -> tuple[str, str] | None:
    """Return action and time of a notice, or None where there is none.

    Args:
        notice: ``{"action": "terminate", "time": "2026-11-24T12:00:00Z"}``, or None.

    Raises:
        ValueError: It is something else.
    """
    if notice is None:
        return None
    said = json.loads(notice)
    if not isinstance(said, dict) or said.get("action") not in ACTIONS:
        raise ValueError(f"not an interruption notice: {notice[:200]!r}")
    return said["action"], str(said.get("time", "an unknown time"))


class Watcher:
    """Asks one metadata service.

    Args:
        endpoint: ``http://169.254.169.254``.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._token = ""
        self._token_ends = 0.0

    def notice(self) -> tuple[str, str] | None:
        """Return action and time of the notice, or None.

        Raises:
            OSError: The service does not answer.
            ValueError: It answers nonsense.
        """
        if time.monotonic() > self._token_ends:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            self._token = request(self.endpoint, "/latest/api/token", headers, "PUT") or ""
            # Renewed well before its end.
            self._token_ends = time.monotonic() + TOKEN_SECONDS / 2
        headers = {"X-aws-ec2-metadata-token": self._token}
        try:
            return parse(request(self.endpoint, "/latest/meta-data/spot/instance-action", headers))
        except OSError:
            self._token_ends = 0.0
            raise


def watch(watcher: Watcher, seconds: float) -> tuple[str, str]:
    """Ask every ``seconds`` until there is a notice, and return it; trouble is told once, when it begins."""
    trouble = ""
    while True:
        try:
            found = watcher.notice()
            trouble = ""
            if found:
                return found
        except (OSError, ValueError) as error:
            if str(error) != trouble:
                print(f"no answer from {watcher.endpoint}: {error}; asking on", file=sys.stderr, flush=True)
            trouble = str(error)
        time.sleep(seconds)


def main() -> int:
    """Watch, then run the command once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", required=True, help="base address of the metadata service")
    parser.add_argument("--seconds", type=float, required=True, help="between two questions")
    parser.add_argument("command", nargs="+", help="what hands the jobs back")
    args = parser.parse_args()
    action, when = watch(Watcher(args.endpoint), args.seconds)
    print(f"EC2 will {action} this instance at {when}: handing its jobs back", flush=True)
    return subprocess.run(args.command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
