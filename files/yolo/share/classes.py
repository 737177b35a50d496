"""Classes by name or by index."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import YoloError

_SHOWN = 10


def class_indices(wanted: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Return the indices of classes given by name or index, each once, in order.

    Raises:
        YoloError: A class that the weights do not have.
    """
    by_name = {name.casefold(): index for index, name in reversed(list(enumerate(names)))}
    found = set()
    for item in wanted:
        text = str(item).strip()
        index = by_name.get(text.casefold())
        if index is None and text.isdecimal() and int(text) < len(names):
            index = int(text)
        if index is None:
            some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            raise YoloError(
                f"classes is '{item}'", expected=f"an index from 0 to {len(names) - 1} or a name of the weights: {some}"
            )
        found.add(index)
    return sorted(found)
