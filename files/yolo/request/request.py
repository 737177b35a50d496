"""One object for all that a run is asked to do: ``request.json``.

The control node makes it before the first change. It is sent to the run's folder with the manifest, so that the
commands on the submit host need no more than that folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..share import fsio
from ..share.classes import class_indices
from ..share.errors import YoloError
from ..share.layout import FLOAT, ID_LENGTH, Share
from ..share.words import plural
from . import images, on_share, parcel, sources, weights
from .checkpoint_check import check_checkpoint
from .code_id import code_id, pack_code
from .export_metadata import check_export, read_class_names
from .fetch import Progress
from .inputs import INPUTS, MODES, S3
from .prices import prices_of

DEFAULT_CONF = 0.25
"""Confidence below which detections are left out where neither the user nor the weights say one."""

_MIB = 1 << 20
_FOR_PUBLISHING = ("known", "results", "results_to", "labels", "unpack", "lines")
_OF_CONTROL_NODE = ("root", "on_share", "manifest", "files_from", "doubtful", "doubtful_from", "index")


def resolve(
    values: Mapping[str, Any],
    here: Path,
    cache: Path,
    share: str,
    site: str = "",
    copy: str = "",
    hosts: Sequence[Mapping[str, Any]] = (),
    price_table: Mapping[str, Any] | None = None,
    job: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """List the images, find the weights, and lay out what is to be sent beside the images, ``request.json`` among it.

    Args:
        values: The inputs' values.
        here: Folder that relative paths are meant from.
        cache: Folder on this host for unpacked zips, fetched weights and lists of images.
        share: Path of the share, on all hosts.
        site: What tells this cluster's share from others', for what was sent to it before.
        copy: Where the images of S3 were copied to.
        hosts: Of the cluster, see ``prices.prices_of``.
        price_table: See ``prices.prices_of``.
        job: What a job asks for beside ``cpus``: ``memory``, ``disk`` as HTCondor takes them.
        progress: Is told how far the download of weights is.

    Raises:
        YoloError: There are no such images or weights, or the weights lack a class that was asked for.
        OSError: A file can't be read or written.
    """
    url = values["weights_url"]
    mirror = _path(url, here) if url and "://" not in url else url
    found = weights.resolve(values["weights"], cache / "weights", mirror, here=here, progress=progress)
    trusted = found.kind == "pt" and values["trust_weights"]
    if found.kind == "pt":
        names = None if trusted else check_checkpoint(Path(found.path))
    else:
        check_export(found.kind, Path(found.path), found.files)
        names = read_class_names(found.kind, Path(found.path), found.files)
    classes = values["classes"] if names is None else class_indices(values["classes"], names)
    known = cache / "known" / hashlib.sha256(site.encode()).hexdigest()[:ID_LENGTH]
    asked = values["images"]
    warning = None
    if on_share.is_on_share(asked):
        path = on_share.PREFIX + on_share.folder_of(asked, share)
        listed = _listed(place_on_share(values, cache, share, site))
        warning = on_share.unreadable(listed)
        source = images.write_lists(images.resolve_listed(path, listed), cache / "staging", {})
    else:
        path = copy or _paths(asked, here)
        source = images.list_images(path, cache / "zips", cache / "staging", known, values["checksum"])
    run_id = values["run_id"] or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    places = Share(Path(share))
    code = code_id()
    conf = values["conf"] if values["conf"] is not None else found.conf if found.conf is not None else DEFAULT_CONF
    request = {
        "id": run_id,
        "new_id": not values["run_id"],
        "mode": values["mode"],
        "passes": passes_of(values),
        "images": asked if copy else path,
        "source": source,
        "known": str(known / source["input_id"]),
        "weights": asdict(found) | {"trusted": trusted},
        "code_id": code,
        "settings": {
            **{name: values[name] for name in ("iou", "imgsz", "engine", "precision", "precision_limit", "max_det")},
            "conf": conf,
            "classes": classes,
            **{name: values[name] for name in ("save_images", "annotated_size", "decode")},
        },
        "job": {"cpus": values["cpus"], "time_limit": values["time_limit"], **(job or {})},
        "chunk_size": values["chunk_size"],
        # An annotated copy is about as large as what it was drawn on.
        "image_bytes": source["bytes"] // max(source["count"], 1) if values["save_images"] else 0,
        "prices": prices_of(values["price_per_hour"], hosts, price_table or {}),
        "places": {
            "run": str(places.run(run_id).root),
            "input": source["root"] if source["on_share"] else str(places.input(source["input_id"])),
            "weights": str(places.weights(found.weights_id).root),
            "code": str(places.code(code)),
        },
        "results": os.path.join(_path(values["results"], here), run_id),
        "results_to": values["results_to"],
        "labels": check_labels(values["labels"], here),
        "unpack": values["unpack"],
    }
    request["lines"] = describe(request) + ([warning] if warning else [])
    lists = Path(source["manifest"]).parent
    fsio.write_json(lists / "request.json", for_the_share(request), indent=1)
    place = {name: Path(path) for name, path in request["places"].items()}
    weights_folder = Path(found.path) if found.kind == "openvino" else Path(found.path).parent
    files = {place["run"] / name: lists / name for name in ("manifest.jsonl", "request.json")}
    files |= {place["weights"] / "source" / name: weights_folder / name for name in found.files}
    pack_code(lists / "code.zip")
    files[place["code"]] = lists / "code.zip"
    parcel.lay_out(lists / "parcel", Path(share), files, folders=[] if source["on_share"] else [place["input"]])
    return request | {"parcel": str(lists / "parcel")}


def passes_of(values: Mapping[str, Any]) -> list[str]:
    """Return the passes of a run in their order; the results are those of the last one."""
    with_float = values["labels"] and values["precision"] == "int8"
    return [*([FLOAT] if with_float else []), *MODES[values["mode"]]]


def for_the_share(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without what is only of use on the control node: the same run has the same file again."""
    source = {name: value for name, value in request["source"].items() if name not in _OF_CONTROL_NODE}
    found = {name: value for name, value in request["weights"].items() if name != "path"}
    kept = {name: value for name, value in request.items() if name not in _FOR_PUBLISHING}
    return kept | {"source": source, "weights": found}


def describe(request: Mapping[str, Any]) -> list[str]:
    """Say what a run is about to do, in lines for the terminal."""
    source, found = request["source"], request["weights"]
    line = f"{plural(source['count'], 'image')} ({source['bytes'] / _MIB:.1f} MiB) in {request['images']}"
    if source["skipped"]:
        line += f"; {plural(source['skipped'], 'file')} that can't be images"
    if source["ignored"]:
        line += f"; {plural(source['ignored'], 'hidden file or folder', 'hidden files or folders')} left out"
    lines = [f"Run {request['id']}, mode {request['mode']}, weights {found['name']} ({found['kind']})", line]
    if FLOAT in request["passes"]:
        lines.append(
            "labels with precision=int8: one pass more, with the float model, to show what int8 costs in quality"
        )
    if found.get("trusted"):
        lines.append("trust_weights=yes: code in the weights may run on the execute hosts, as the jobs' user")
    return lines


def check_images(text: str, here: Path, share: str) -> None:
    """Check what can be checked of the input ``images`` without reading much.

    Raises:
        YoloError: It is a URL, a path that is not there, or on the share no place for images.
        OSError: A list of paths can't be read.
    """
    if on_share.is_on_share(text):
        on_share.folder_of(text, share)
    elif not text.startswith(S3):
        sources.refuse_url(text)
        images.refuse_missing(_paths(text, here))


def check_labels(text: str, here: Path) -> str:
    """Return the absolute path of the labels; empty if none were given.

    Raises:
        YoloError: They are not there.
    """
    if not text:
        return ""
    path = _path(text, here)
    if not (os.path.isdir(path) or (os.path.isfile(path) and path.lower().endswith(".json"))):
        raise YoloError("no such labels", path, INPUTS["labels"].expected, "check the path given as labels=")
    return path


def _paths(text: str, here: Path) -> str:
    """Return a path, or each of several with commas, as an absolute one."""
    whole = _path(text, here)
    if "," not in text or os.path.lexists(whole):
        return whole
    return ",".join(_path(part.strip(), here) for part in text.split(",") if part.strip())


def _path(text: str, here: Path) -> str:
    return os.path.normpath(os.path.join(here, os.path.expanduser(text)))


def place_on_share(values: Mapping[str, Any], cache: Path, share: str, site: str) -> dict[str, str] | None:
    """Return the folder of the share that the images are in, and where its list belongs on this host.

    Returns:
        ``folder`` and ``listed``; None if the images are elsewhere.

    Raises:
        YoloError: It is no place for images.
    """
    if not on_share.is_on_share(values["images"]):
        return None
    folder = on_share.folder_of(values["images"], share)
    name = hashlib.sha256(f"{site}\0{folder}".encode("utf-8", "surrogateescape")).hexdigest()[:ID_LENGTH]
    return {"folder": folder, "listed": str(cache / "on-share" / f"{name}.json")}


def _listed(place: Mapping[str, str] | None) -> Any:
    assert place is not None, "the images are on the share"
    try:
        return fsio.read_json(place["listed"])
    except (FileNotFoundError, ValueError):
        raise YoloError(
            "the folder on the share was not listed", place["folder"], remedy="run_inference.yml does that first"
        ) from None


def is_on_s3(values: Mapping[str, Any]) -> bool:
    """Whether the images have to be copied from S3 first."""
    return str(values["images"]).startswith(S3)
