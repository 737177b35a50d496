"""Which images are done: what the records in a pass's journals say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .bounded_map import bounded_map
from .containers import list_containers
from .journal import find_records
from .layout import Pass
from .records import Entry, fingerprint, is_same_file


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
    for found in bounded_map(lambda path: list(find_records(path)), paths):
        for record in found:
            key = _key(record.key)
            # The newest counts, also if it is of other settings: its results have replaced the older ones.
            done.good.pop(key, None)
            done.failed.pop(key, None)
            if record.settings_digest == digest and (record.failed or record.container in containers):
                kept = done.failed if record.failed else done.good
                kept[key] = fingerprint(record.size, record.mtime_ns, record.content)
    return done


def _key(key: str) -> bytes:
    return bytes.fromhex(key)
