from dataclasses import replace
from types import SimpleNamespace

from yolo.detector import tally
from yolo.share.records import Progress, Record


def test_the_heartbeat_beats_every_two_seconds_and_at_the_end(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(tally, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: 5000 + now[0]))
    counted = tally.Tally(tmp_path / "beat", 10, "h")
    record = Record("k", "a", 1, 1, "d", times={"read_ms": 500.0, "infer_ms": 250.0})
    seen = []
    for error in (None, "bad", None, None):
        counted.add(replace(record, error=error))
        seen.append(Progress.from_json((tmp_path / "beat").read_text()).done)
        now[0] += 0.8
    assert seen == [1, 1, 1, 4]
    counted.add(None)
    counted.beat(now=True)
    assert Progress.from_json((tmp_path / "beat").read_text()) == Progress(5, 10, 1, "h", 5103.2)
    assert counted.seconds == {"start": 0, "read": 2, "infer": 1, "draw": 0, "write": 0}
