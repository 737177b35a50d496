"""What a user may ask of a run: names, defaults and right values, checked all at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..share.errors import YoloError, one_line
from ..share.limits import ANNOTATED_SIZE, AUTO, DECODES, ENGINES, IMGSZ, MAX_DET, PRECISIONS, THREADS
from . import on_share, sources

MODES = {"parallel": ["parallel"], "single": ["single"], "compare": ["single", "parallel"]}
"""Values of the input ``mode``, and the passes of each in their order; see also ``request.passes_of``."""

ROLE = "inference_run_"
"""What the role's variables begin with: each input is also one of them."""

S3 = "s3://"
_S3_PATTERN = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?![.]{1,2}(/|$))[^/]+)*/?"
_S3_EXPECTED = "s3://BUCKET/PREFIX, without empty parts, . or .."
_RUN_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_TRUE, _FALSE = ("true", "yes", "on", "1", "y", "t"), ("false", "no", "off", "0", "n", "f")


class WrongInputsError(YoloError):
    """One or more inputs are wrong.

    Args:
        problems: A line for each.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(one_line(problem) for problem in problems)
        super().__init__("; ".join(self.problems))

    def __str__(self) -> str:
        return "\n".join(self.problems)


def number(low: float, high: float) -> Callable[[str], float]:
    """Return what reads a number from ``low`` to ``high``."""

    def read(text: str) -> float:
        # Not "nan", "1e-1" or "1_0".
        if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return read


def whole(allowed: Collection[int], *others: int) -> Callable[[str], int]:
    """Return what reads a whole number that is allowed, or one of ``others``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not (int(text) in others or int(text) in allowed):
            raise ValueError
        return int(text)

    return read


def one_of(*values: str) -> Callable[[str], str]:
    """Return what reads one of these words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return read


def matching(pattern: str) -> Callable[[str], str]:
    """Return what reads a text that fits a pattern as a whole."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return read


def boolean(text: str) -> bool:
    """Read yes or no as YAML and Ansible spell them."""
    if text.casefold() not in _TRUE + _FALSE:
        raise ValueError
    return text.casefold() in _TRUE


def _optional(read: Callable[[str], Any], absent: Any = None) -> Callable[[str], Any]:
    return lambda text: read(text) if text else absent


def _images(text: str) -> str:
    if text in ("", on_share.PREFIX) or (text.startswith(S3) and not re.fullmatch(_S3_PATTERN, text)):
        raise ValueError
    on_share.refuse_mixed(text)
    return text


def _classes(value: Any) -> list[int | str]:
    """Read names and indices of classes: a list, or a text with commas."""
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    texts = [str(item).strip() for item in items]
    return [int(text) if text.isascii() and text.isdigit() else text for text in texts if text]


_FROM_0_TO_1 = "a number from 0 to 1"
_FROM_1_ON = "a whole number from 1 on"
_MANY = range(1, 10**12)


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a run.

    Attributes:
        read: Turns a text into the value; ``ValueError`` if it is none.
        default: What stands for an input that is not given, as a text.
        expected: Right values, in words.
        variable: The role's variable, without :data:`ROLE`; empty if it is called as the input.
    """

    read: Callable[[Any], Any]
    default: Any
    expected: str
    variable: str = ""


INPUTS = {
    "images": Input(_images, "", f"{sources.EXPECTED}: -e images=PATH; {on_share.EXPECTED}; or {_S3_EXPECTED}"),
    "weights": Input(str, "demo", "a .pt or .onnx file, an OpenVINO folder, a released name such as yolov5s, or demo"),
    "weights_url": Input(str, "", "https://..., s3://... or a path: the folder of released weights, or one .pt"),
    "trust_weights": Input(boolean, "false", "true or false"),
    "conf": Input(_optional(number(0, 1)), "", _FROM_0_TO_1),
    "iou": Input(number(0, 1), "0.7", _FROM_0_TO_1),
    "imgsz": Input(
        whole(IMGSZ, 0), "0", f"a multiple of {IMGSZ.step} up to {IMGSZ[-1]}, or 0 for what the weights were made for"
    ),
    "classes": Input(_classes, "", "names or indices of classes such as person,car or 0,2"),
    "engine": Input(one_of(AUTO, *ENGINES), AUTO, f"{AUTO}, {', '.join(ENGINES[:-1])} or {ENGINES[-1]}"),
    "precision": Input(one_of(*PRECISIONS), "fp32", f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}"),
    "precision_limit": Input(number(0, 1), "0.15", _FROM_0_TO_1),
    "max_det": Input(whole(MAX_DET), "300", f"a whole number from {MAX_DET[0]} to {MAX_DET[-1]}"),
    "checksum": Input(boolean, "false", "true or false"),
    "save_images": Input(boolean, "true", "true or false"),
    "annotated_size": Input(
        whole(ANNOTATED_SIZE, 0),
        "0",
        f"a whole number from {ANNOTATED_SIZE[0]} to {ANNOTATED_SIZE[-1]}, or 0 for the size of the image",
    ),
    "decode": Input(one_of(*DECODES), "exact", f"{DECODES[0]} or {DECODES[1]}"),
    "unpack": Input(boolean, "true", "true or false"),
    "mode": Input(one_of(*MODES), "parallel", "parallel, single or compare"),
    "run_id": Input(
        _optional(matching(_RUN_ID), ""),
        "",
        "up to 64 letters, digits, dots, hyphens and underscores, a letter or a digit first",
        "id",
    ),
    "results": Input(matching(".+"), "results", "a folder"),
    "labels": Input(str, "", "a folder of YOLO label files, or a COCO JSON"),
    "results_to": Input(_optional(matching(_S3_PATTERN), ""), "", _S3_EXPECTED),
    "price_per_hour": Input(_optional(number(0, float("inf"))), "", "dollars an hour, such as 0.35"),
    "chunk_size": Input(whole(_MANY, 0), "0", "a whole number; 0 leaves it to the throughput of earlier jobs"),
    "cpus": Input(whole(THREADS), "1", _FROM_1_ON),
    "time_limit": Input(whole(_MANY), "86400", "seconds, " + _FROM_1_ON),
}
"""The inputs by the names that a user gives with ``-e``."""

OTHER_VARIABLES = ("memory", "disk", "reserve", "cache", "log_dir", "share", "user", "venv")
"""Variables of the role, without :data:`ROLE`, that are about the cluster or a job's size and have no short name."""


def read_inputs(
    given: Mapping[str, Any],
    named: Iterable[str] = (),
    prefixes: Collection[str] = (),
    checks: Mapping[str, Callable[[Any], object]] | None = None,
) -> dict[str, Any]:
    """Return the value of each input.

    Args:
        given: What was asked for, by the names in :data:`INPUTS`; what is absent has its default.
        named: Names of all variables on the user's command line.
        prefixes: What names of variables of the project's other parts begin with.
        checks: What else is checked of the values of some inputs; a ``YoloError`` says what is wrong.

    Raises:
        WrongInputsError: All that is wrong, together: values, and names that are no input's.
    """
    values, problems = {}, [unknown_name(name) for name in named if not is_known(name, prefixes)]
    for name, entry in INPUTS.items():
        value = given.get(name, entry.default)
        try:
            # YAML may have made a number or a truth value of it.
            values[name] = entry.read(value if name == "classes" else str(value).strip())
            if checks and name in checks:
                checks[name](values[name])
        except YoloError as error:
            problems.append(str(error))
        except ValueError:
            if name == "images" and not str(value).strip():
                problems.append(f"images is not set; expected {entry.expected}")
            else:
                problems.append(f"{name} is '{value}'; expected {entry.expected}")
    if problems:
        raise WrongInputsError(problems)
    return values


def is_known(name: str, prefixes: Collection[str] = ()) -> bool:
    """Whether a variable on the command line means something here."""
    return name in _variables() or any(name.startswith(prefix) for prefix in prefixes if prefix != ROLE)


def unknown_name(name: str) -> str:
    """Say that there is no such input, and what may be meant."""
    near = difflib.get_close_matches(name.removeprefix(ROLE).casefold(), INPUTS, n=1, cutoff=0.6)
    if near:
        return f"{name} is no input of a run; did you mean {near[0]}?"
    return (
        f"{name} is no input of a run; expected {', '.join(INPUTS)}. A variable of your own inventory belongs into the "
        "inventory"
    )


def _variables() -> frozenset[str]:
    of_role = {ROLE + (entry.variable or name) for name, entry in INPUTS.items()}
    return frozenset(INPUTS) | of_role | {ROLE + name for name in OTHER_VARIABLES}
