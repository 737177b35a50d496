"""The classes of a run's model: what they are called, and which id they have in results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..share import fsio, layout

_COCO_NAMES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe "
    "backpack umbrella handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat "
    "baseball_glove skateboard surfboard tennis_racket bottle wine_glass cup fork knife spoon "
    "bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave "
    "oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)
COCO_CLASSES = tuple(name.replace("_", " ") for name in _COCO_NAMES.split())
"""Names of COCO's 80 classes in the order in which models number them."""

_COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(number for number in range(1, 91) if number not in _COCO_UNUSED)
"""COCO's own ids of those classes: 1 to 90 with gaps."""


def read_names(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the model's classes, in order; empty if they can't be read.

    Args:
        settings: The run's settings; ``model_dir`` is the folder of the model.
    """
    try:
        names = fsio.read_json(Path(settings["model_dir"]) / layout.MODEL_JSON)["names"]
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        return [str(name) for name in names]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def label(names: Sequence[str], index: int) -> str:
    """Return what a class is called in a table: its name, with its index where another class has the same name."""
    if index >= len(names):
        return str(index)
    name = names[index]
    return name if names.count(name) == 1 else f"{name} (class {index})"


def category_ids(names: Sequence[str]) -> list[int]:
    """Return the category id of each class of a model: COCO's own if its names are COCO's."""
    return list(COCO_IDS) if tuple(names) == COCO_CLASSES else list(range(len(names)))
