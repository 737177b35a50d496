from yolo.pool.explain import Explanation
from yolo.pool.notices import Notices


class Told:
    """What notices tell, and a clock to move on."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.now = 50.0
        self.notices = Notices(self.texts.append, lambda: self.now)

    def for_seconds(self, seconds: int, *reasons: str) -> None:
        for _ in range(seconds):
            self.notices.update([Explanation(reason, "wait") for reason in reasons])
            self.now += 1


def test_what_stays_is_told_once():
    told = Told()
    told.for_seconds(4, "no slot is free")
    assert told.texts == []
    told.for_seconds(99, "no slot is free")
    assert told.texts == ["no slot is free. What to do: wait"]
    told.for_seconds(9, "no slot is free", "job 7.1 is held")
    assert told.texts[1:] == ["job 7.1 is held. What to do: wait"]


def test_another_figure_is_no_news():
    told = Told()
    told.for_seconds(9, "1.5 MiB free")
    told.for_seconds(9, "1.4 MiB free")
    assert told.texts == ["1.5 MiB free. What to do: wait"]


def test_what_was_gone_for_long_is_told_again():
    told = Told()
    told.for_seconds(9, "no slot is free")
    told.for_seconds(30)
    told.for_seconds(9, "no slot is free")
    assert len(told.texts) == 1
    told.for_seconds(70)
    told.for_seconds(5, "no slot is free")
    assert len(told.texts) == 1
    told.for_seconds(1, "no slot is free")
    assert len(told.texts) == 2
