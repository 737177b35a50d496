import os
import pickle
from collections import OrderedDict

import pytest
from make_checkpoint import name
from yolo.share.inert_pickle import PickleError, Record, UnknownNameError, read_pickle

DATA = {"a": [1, -2, 1 << 40, 1.5, True, None, "é", b"x"], (1, "t"): {2, 3}, "o": OrderedDict(x=(1, 2, 3, 4))}


def anything(_):
    return True


def nothing(_):
    return False


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_data_read_as_python_reads_them(protocol):
    found = read_pickle(
        pickle.dumps(DATA, protocol), lambda given: given.module in ("collections", "builtins", "_codecs")
    )
    if protocol == 2:  # it has no bytes: a call makes them
        assert isinstance(found["a"].pop(), Record)
        assert found == {**DATA, "a": DATA["a"][:-1]}
    else:
        assert found == DATA


def test_what_a_pickle_would_call_is_not_called(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/made",)

    data = pickle.dumps({"x": Hostile()})
    with pytest.raises(UnknownNameError) as error:
        read_pickle(data, nothing)
    assert error.value.name == "posix.system"
    # Even if its name is on the list, it stays a record.
    found = read_pickle(data, anything)["x"]
    assert (found.of, found.arguments) == (name("posix.system"), (f"touch {tmp_path}/made",))
    assert not (tmp_path / "made").exists()
    pickle.loads(data)  # so that the test can fail
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02}",
        b"\x80\x02e.",
        b"\x80\x02u.",
        b"\x80\x02]K\x01s.",
        b"\x80\x02h\x07.",
        b"\x80\x02(K\x01K\x02K\x03d.",
        b"\x80\x02}(]K\x01u.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02\x82\x01.",
        b"nonsense",
    ],
)
def test_a_damaged_pickle_is_an_error_of_one_kind(data):
    with pytest.raises(PickleError):
        read_pickle(data, anything)


def test_each_cut_of_a_pickle_is_an_error():
    data = pickle.dumps(DATA, 4)
    for length in range(len(data) - 1):
        with pytest.raises(PickleError):
            read_pickle(data[:length], anything)


def test_a_place_in_the_memo_costs_no_memory():
    # Python's own unpickler makes room for all places below.
    assert read_pickle(b"\x80\x02}r\xff\xff\xff\x7fr\x00\x00\x00\x00.", nothing) == {}
