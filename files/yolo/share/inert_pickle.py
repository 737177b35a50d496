"""Read a Python pickle without running anything that it asks for.

Python's own unpickler imports and calls what a pickle names, and takes memory that a pickle merely claims. This one
knows the opcodes that data need. A name becomes a :class:`Global`, an object a :class:`Record`, which hold what the
pickle says and do nothing. A name that is not on the caller's list ends the reading.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any


class PickleError(ValueError):
    """The bytes are no pickle of the kind that is read here; the text says why."""


class UnknownNameError(PickleError):
    """The pickle names something that is not on the list.

    Args:
        name: Module and name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the pickle names {name}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Global:
    """A name of a module, as the pickle spells it; nothing was imported."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return module and name with a dot between."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Record:
    """An object, not made: what it would be made of.

    Attributes:
        of: Its class, or the function that would make it.
        arguments: What that would be called with.
        state: Its attributes.
    """

    of: Global
    arguments: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Something outside of the pickle, such as a tensor's values.

    Attributes:
        of: What the pickle says about it.
    """

    of: Any


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = frozenset(("INT", "FLOAT", "BINFLOAT", "UNICODE", "STRING")).union(
    ("BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    ("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(data: bytes, is_known: Callable[[Global], bool]) -> Any:
    """Return what a pickle holds: numbers, texts, lists, tuples, dictionaries, records and references.

    Args:
        data: The pickle.
        is_known: Whether a name may occur.

    Raises:
        UnknownNameError: Another name occurs.
        PickleError: The pickle is damaged, or does what data need not.
    """
    try:
        return _Machine(is_known).run(pickletools.genops(data))
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise PickleError(f"the pickle is damaged ({error})") from None


class _Machine:
    def __init__(self, is_known: Callable[[Global], bool]) -> None:
        self._is_known = is_known
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, steps: Iterator[tuple[Any, Any, int | None]]) -> Any:
        for opcode, value, _ in steps:
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _VALUES:
                self._stack.append(value)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _TUPLES:
                self._stack[-_TUPLES[name] :] = [tuple(self._stack[-_TUPLES[name] :])]
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                self._memo[value] = self._stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self._stack.append(self._memo[value])
            else:
                step = _STEPS.get(name)
                if step is None:
                    raise PickleError(f"the pickle has the opcode {name}, which weights have not")
                step(self, value)
        raise PickleError("the pickle has no end")

    def _nothing(self, value: Any) -> None:
        """Do nothing: the opcode is about how the pickle is read."""

    def _memoize(self, value: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _mark(self, value: Any) -> None:
        self._stack.append(_MARK)

    def _pop(self, value: Any) -> None:
        self._stack.pop()

    def _to_mark(self, value: Any = None) -> list[Any]:
        """Take everything down to the last mark off the stack."""
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise PickleError("the pickle is damaged (a mark is missing)")
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def _new_list(self, value: Any) -> None:
        self._stack.append([])

    def _new_dict(self, value: Any) -> None:
        self._stack.append({})

    def _new_set(self, value: Any) -> None:
        self._stack.append(set())

    def _add_items(self, value: Any) -> None:
        items = self._to_mark()
        _expect(self._stack[-1], set).update(items)

    def _frozen_set(self, value: Any) -> None:
        self._stack.append(frozenset(self._to_mark()))

    def _tuple(self, value: Any) -> None:
        self._stack.append(tuple(self._to_mark()))

    def _list(self, value: Any) -> None:
        self._stack.append(self._to_mark())

    def _dict(self, value: Any) -> None:
        self._stack.append(_pairs(self._to_mark()))

    def _append(self, value: Any) -> None:
        item = self._stack.pop()
        _expect(self._stack[-1], list).append(item)

    def _appends(self, value: Any) -> None:
        items = self._to_mark()
        _expect(self._stack[-1], list).extend(items)

    def _set_item(self, value: Any) -> None:
        item, key = self._stack.pop(), self._stack.pop()
        _expect(self._stack[-1], dict).update(_pairs([key, item]))

    def _set_items(self, value: Any) -> None:
        items = self._to_mark()
        _expect(self._stack[-1], dict).update(_pairs(items))

    def _name(self, value: str) -> None:
        self._push_name(*value.split(" ", 1))

    def _stack_name(self, value: Any) -> None:
        name, module = _expect(self._stack.pop(), str), _expect(self._stack.pop(), str)
        self._push_name(module, name)

    def _push_name(self, module: str, name: str) -> None:
        found = Global("builtins" if module == "__builtin__" else module, name)
        if not self._is_known(found):
            raise UnknownNameError(str(found))
        self._stack.append(found)

    def _call(self, value: Any) -> None:
        arguments, of = _expect(self._stack.pop(), tuple), _expect(self._stack.pop(), Global)
        self._stack.append(_made(of, arguments))

    def _build(self, value: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, dict):  # an OrderedDict with attributes, such as a state_dict's _metadata
            return
        record = _expect(target, Record)
        # __slots__ make it a pair: the dictionary, if any, and the slots.
        for part in state if isinstance(state, tuple) else (state,):
            record.state.update(part if isinstance(part, dict) else {} if part is None else {"": part})

    def _reference(self, value: Any) -> None:
        self._stack.append(Reference(self._stack.pop()))


_STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": _Machine._nothing,
    "FRAME": _Machine._nothing,
    "MEMOIZE": _Machine._memoize,
    "MARK": _Machine._mark,
    "POP": _Machine._pop,
    "POP_MARK": _Machine._to_mark,
    "EMPTY_LIST": _Machine._new_list,
    "EMPTY_DICT": _Machine._new_dict,
    "EMPTY_SET": _Machine._new_set,
    "ADDITEMS": _Machine._add_items,
    "FROZENSET": _Machine._frozen_set,
    "TUPLE": _Machine._tuple,
    "LIST": _Machine._list,
    "DICT": _Machine._dict,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "GLOBAL": _Machine._name,
    "STACK_GLOBAL": _Machine._stack_name,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._reference,
}


def _made(of: Global, arguments: tuple[Any, ...]) -> Any:
    """Return containers as what they are, and anything else as a record."""
    if of == Global("collections", "OrderedDict"):
        return dict(arguments[0]) if arguments else {}
    if of in (Global("builtins", "set"), Global("builtins", "frozenset")):
        return set(arguments[0]) if arguments else set()
    return Record(of, arguments)


def _pairs(items: list[Any]) -> dict[Hashable, Any]:
    if len(items) % 2:
        raise PickleError("the pickle is damaged (a key without a value)")
    return dict(zip(items[::2], items[1::2], strict=True))


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise PickleError(f"the pickle is damaged ({type(value).__name__} in place of {kind.__name__})")
    return value
