"""Which images are done: what the records in a pass's journals say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .bounded_map import batched_map
from .containers import list_containers
from .journal import find_records
from .layout import Pass
from .records import Entry, RecordHeader, fingerprint, is_same_file


@dataclass(frozen=True, slots=True)
class Done:
    """What the records of a pass say, for one settings digest.

    Attributes:
        good: Fingerprint (``records.fingerprint``) of the input behind each good record, by key.
        failed: Fingerprint of the input behind each record of a failure, by key.
    """

    good: dict[bytes, int]
    failed: dict[bytes, int]

    def has(self, entry: Entry) -> bool:
        """Whether there is a good record of that very file."""
        wanted = fingerprint(entry.size, entry.mtime_ns, entry.content)
        return is_same_file(self.good.get(_key(entry.key)), wanted)


def read_done(run_pass: Pass, paths: Iterable[Path], digest: str) -> Done:
    """Read what journals say, oldest first. A record whose container is gone is none.

    Args:
        run_pass: The pass.
        paths: The journals.
        digest: Settings digest of the run; the records of others do not count.

    Raises:
        OSError: A journal can't be read.
    """
    done, containers = Done({}, {}), list_containers(run_pass)

    def read(path: Path) -> list[tuple[bytes, dict[bytes, int] | None, int]]:
        return [
            (_key(found.key), place(found), fingerprint(found.size, found.mtime_ns, found.content))
            for found in find_records(path)
        ]

    def place(found: RecordHeader) -> dict[bytes, int] | None:
        if found.settings_digest != digest or not (found.failed or found.container in containers):
            return None
        return done.failed if found.failed else done.good

    for records in batched_map(read, paths):
        for key, kept, mark in records:
            # The newest counts, also if it is of other settings: its results have replaced the older ones.
            done.good.pop(key, None)
            done.failed.pop(key, None)
            if kept is not None:
                kept[key] = mark
    return done


def _key(key: str) -> bytes:
    return bytes.fromhex(key)
