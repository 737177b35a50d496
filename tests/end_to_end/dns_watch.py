"""Hears every name that the local hosts ask for, whoever answers: reads the packets on the cluster's own network.

Run inside that network's namespace, as root, it writes a line of JSON for each question::

    {"from": "10.93.0.13", "name": "example.org"}

A packet to the port of name servers that holds no question it can read is a line too, with a name in parentheses:
better one finding too many than one too few.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys

from power import AS_ROOT, local_cluster

PORT = 53
_EVERY_PROTOCOL = 0x0003
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP, _UDP = 6, 17
# Of Linux; Python has no names for them.
_BUFFER_FORCE = 33
_PACKETS, _STATISTICS = 263, 6


def question(message: bytes) -> str:
    """Return the name that a DNS message asks for, in lower case; in parentheses what it is if it asks for none."""
    labels, position = [], 12
    while position < len(message) and (size := message[position]):
        labels.append(message[position + 1 : position + 1 + size].decode("latin-1").lower())
        position += 1 + size
    return ".".join(labels) if labels and position < len(message) else "(no name)"


def asked(frame: bytes) -> tuple[str, str] | None:
    """Return who asks and for what, if an Ethernet frame goes to a name server's port."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    packet = frame[14:]
    if kind == _IPV4:
        protocol, source, rest = (
            packet[9],
            socket.inet_ntop(socket.AF_INET, packet[12:16]),
            packet[(packet[0] & 15) * 4 :],
        )
        rest = rest[: struct.unpack_from("!H", packet, 2)[0] - (packet[0] & 15) * 4]
    elif kind == _IPV6:
        protocol, source, rest = packet[6], socket.inet_ntop(socket.AF_INET6, packet[8:24]), packet[40:]
    else:
        return None
    if protocol not in (_TCP, _UDP) or len(rest) < 4 or struct.unpack_from("!H", rest, 2)[0] != PORT:
        return None
    if protocol == _UDP:
        return source, question(rest[8:])
    data = rest[(rest[12] >> 4) * 4 :]
    # The length of the message goes before it. Without data: a connection that begins, is confirmed or ends.
    opens = rest[13] & 0x12 == 0x02
    return (source, question(data[2:])) if data else (source, "(a connection)") if opens else None


def listen() -> None:
    """Write what is heard until standard input ends, then how many packets came too fast to be heard."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL)) as packets:
        packets.setsockopt(socket.SOL_SOCKET, _BUFFER_FORCE, 1 << 25)
        say({"listens": True})
        while sys.stdin not in select.select([packets, sys.stdin], [], [])[0]:
            # The beginning of a packet is enough. Each is seen where it comes in, and again where it goes out.
            frame, address = packets.recvfrom(2048)
            if address[2] != socket.PACKET_OUTGOING and len(frame) > 34 and (found := asked(frame)):
                say({"from": found[0], "name": found[1]})
        _, lost = struct.unpack("II", packets.getsockopt(_PACKETS, _STATISTICS, 8))
        say({"lost": lost})


def say(fact: dict[str, object]) -> None:
    """Write a line of JSON."""
    print(json.dumps(fact), flush=True)


class DnsWatch:
    """What a local cluster's hosts ask name servers for while the ``with`` block runs.

    Args:
        cluster: The cluster's name.

    Attributes:
        names: Once it has ended: for each host's address the names that it asked for.
    """

    def __init__(self, cluster: str = "") -> None:
        self._namespace = f"yolo-{cluster or local_cluster()}"
        self.names: dict[str, set[str]] = {}

    def __enter__(self) -> DnsWatch:
        self._process = subprocess.Popen(
            [*AS_ROOT, "ip", "netns", "exec", self._namespace, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert "listens" in self._process.stdout.readline(), f"cannot listen in the namespace {self._namespace}"
        return self

    def __exit__(self, *_: object) -> None:
        said, _ = self._process.communicate(timeout=30)
        *questions, end = map(json.loads, said.splitlines())
        assert end == {"lost": 0}, "packets came too fast to be heard: nothing is proven"
        for found in questions:
            self.names.setdefault(found["from"], set()).add(found["name"])


if __name__ == "__main__":
    listen()
