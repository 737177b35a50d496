"""Find the weights that the user named: a file, a folder, a released model, or the demo.

Runs on the control node. A released model is fetched once; afterwards its checksum must stay the
same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..share.errors import YoloError
from ..share.fsio import read_json, write_json
from ..share.layout import ID_LENGTH
from .fetch import Progress, fetch_file
from .onnx_data import external_data

CLASSIC_URL = "https://github.com/ultralytics/yolov5/releases/download/v7.0"
"""Where ultralytics/yolov5 keeps the weights of its last release."""

PACKAGE_URL = "https://github.com/ultralytics/assets/releases/download/v8.3.0"
"""Where ultralytics' release keeps its weights."""

DEMO = Path(__file__).resolve().parents[2] / "demo" / "yolov5n-demo.pt"
"""The weights that come with this project."""

RELEASED = {
    f"yolov5{size}{p6}{u}": f"yolov5{size}{p6}{u}.pt" for size in "nsmlx" for p6 in ("", "6") for u in ("", "u")
}
"""Names of released models and their files.

``yolov5s`` is what ultralytics/yolov5 itself means by it, with anchors; ``yolov5su`` is ultralytics' model without.
"""

PUBLISHED_SHA256 = {"yolov5n.pt": "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3"}
"""Checksums by file name.

The releases publish none for the others. Such a file is checked against the checksum that was recorded when it was
first fetched.
"""

CHECKSUMS = "checksums.json"
_EXPECTED = (
    "the path of a .pt (any detection model of ultralytics/yolov5 or ultralytics, yolo11n.pt too), of an .onnx or of "
    "an OpenVINO folder (one .xml with its .bin); demo; or a released name, which is fetched: "
    + " ".join(name for name in RELEASED if not name.endswith("u"))
)


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """Weights on the control node.

    Attributes:
        kind: ``pt``, ``onnx`` or ``openvino``.
        path: Absolute path of the file or the folder.
        weights_id: First 16 hex digits of ``sha256``.
        sha256: Of the file; of several files, over the sorted names and contents of ``files``.
        name: What to call them in a report.
        files: Files to stage, relative to the folder; the file's own name if ``path`` is a file, and
            those of an ONNX file's external data.
        conf: Confidence below which detections of these weights are best left out; None where
            nobody measured it.
    """

    kind: str
    path: str
    weights_id: str
    sha256: str
    name: str
    files: tuple[str, ...]
    conf: float | None = None


def resolve(
    weights: str,
    cache: Path,
    base_url: str = "",
    demo: Path = DEMO,
    here: str | os.PathLike[str] = "",
    progress: Progress | None = None,
) -> WeightsSource:
    """Find the weights called ``weights``, fetching a released model if it is not in ``cache``.

    A released name or ``demo`` comes before a file of that name; write ``./demo`` for the file.

    Args:
        weights: Name, or path of a file or folder.
        cache: Folder for fetched files.
        base_url: Where released weights are fetched from instead of their releases: http(s)://... or s3://... with
            them, a folder, or one file.
        demo: The weights called ``demo``.
        here: Folder that a relative path is meant from; by default the working directory.
        progress: Is told how far a download is.

    Raises:
        YoloError: There are no such weights, or they can't be fetched, or are damaged.
    """
    if weights == "demo":
        if not demo.is_file():
            raise YoloError(
                "the demo weights are not there",
                demo,
                "the file that the repository holds",
                "restore it: git checkout files/demo",
            )
        return replace(_from_file(demo, name="demo"), conf=_best_conf(demo.with_suffix(".json")))
    if weights in RELEASED:
        return _from_file(fetch(RELEASED[weights], cache, base_url, progress), name=weights)
    path = Path(os.path.abspath(os.path.join(here, os.path.expanduser(weights))))
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path, name=path.name)
    bare = weights.removesuffix(".pt")
    if bare in RELEASED:
        return _from_file(fetch(RELEASED[bare], cache, base_url, progress), name=bare)
    value = path if os.sep in weights or path.suffix else weights
    raise YoloError("no such weights", value, _EXPECTED, "check the path, or take one of the names")


def _best_conf(card: Path) -> float | None:
    """Read from the demo weights' description at which confidence they do best."""
    try:
        value = read_json(card)
    except FileNotFoundError:
        return None
    except ValueError as error:
        remedy = "restore it: git checkout files/demo"
        raise YoloError(f"the demo weights' description can't be read ({error})", card, "JSON", remedy) from None
    conf = value.get("conf") if isinstance(value, dict) else None
    return float(conf) if isinstance(conf, int | float) else None


def fetch(file: str, cache: Path, base_url: str = "", progress: Progress | None = None) -> Path:
    """Return the released ``file`` in ``cache``, fetching it if it is not there.

    Raises:
        YoloError: It can't be fetched, or its checksum is not the published or recorded one.
    """
    path = cache / file
    base = base_url or (PACKAGE_URL if file.endswith("u.pt") else CLASSIC_URL)
    # One file is named as it is; all others are in a folder.
    url = base if base.endswith(".pt") or "://" not in base else f"{base.rstrip('/')}/{file}"
    recorded = _recorded(cache)
    wanted = PUBLISHED_SHA256.get(file) or recorded.get(file)
    origin = "published" if file in PUBLISHED_SHA256 else f"recorded in {cache / CHECKSUMS}"
    if path.exists():
        found = file_sha256(path)
        if wanted and found != wanted:
            raise YoloError(
                "the weights in the cache have changed",
                f"{path} has SHA-256 {found}",
                f"{wanted}, {origin}",
                f"remove {path} and run again",
            )
    else:
        found = fetch_file(url, path, wanted, origin, progress)
    if recorded.get(file) != found:
        write_json(cache / CHECKSUMS, {**recorded, file: found}, indent=2)
    return path


def _recorded(cache: Path) -> dict[str, str]:
    path = cache / CHECKSUMS
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise YoloError(f"the recorded checksums can't be read ({error})", path, "JSON", "remove that file") from None
    if not isinstance(value, dict):
        raise YoloError("the recorded checksums can't be read", path, "JSON", "remove that file")
    return value


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path, files: Iterable[str]) -> str:
    """Return the SHA-256 over the sorted names and contents of ``files`` in ``folder``, in hex."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{file_sha256(folder / name)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _from_file(path: Path, name: str) -> WeightsSource:
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("pt", "onnx"):
        raise YoloError("not a weights file", path, _EXPECTED)
    with open(path, "rb") as file:
        head = file.read(16)
    # A checkpoint is a zip, or a pickle if it is old. What people have instead of it is an error
    # page or a pointer of Git LFS, both of which are text.
    is_text = head.lstrip()[:1] in (b"<", b"v") if kind == "onnx" else False
    if not head or is_text or (kind == "pt" and head[:2] != b"PK" and head[:1] != b"\x80"):
        raise YoloError(
            f"the file holds no {kind} model",
            f"{path} begins with {head!r}",
            "a PyTorch checkpoint" if kind == "pt" else "an ONNX model",
            "fetch or export it again",
        )
    more = external_data(path) if kind == "onnx" else ()
    files = (path.name, *more)
    sha256 = folder_sha256(path.parent, files) if more else file_sha256(path)
    full = os.path.abspath(path)
    return WeightsSource(kind, full, sha256[:ID_LENGTH], sha256, name, files)


def _from_folder(path: Path) -> WeightsSource:
    xmls = sorted(file.name for file in path.glob("*.xml"))
    if len(xmls) != 1:
        raise YoloError(
            f"the folder holds {len(xmls)} .xml files",
            path,
            "an OpenVINO folder: one .xml with its .bin",
            "give the folder that the export made",
        )
    binary = Path(xmls[0]).with_suffix(".bin").name
    if not (path / binary).is_file():
        raise YoloError(
            f"the OpenVINO folder lacks {binary}",
            path,
            "the .bin beside the .xml",
            "export or copy the model again",
        )
    files = [xmls[0], binary]
    if (path / "metadata.yaml").is_file():
        files.append("metadata.yaml")
    inside = os.path.join(os.path.realpath(path), "")
    for name in files:
        # Whoever made the folder may have made it lead to a private key.
        if not os.path.realpath(path / name).startswith(inside):
            raise YoloError(
                "a file of the OpenVINO folder is a link that leads out of it",
                path / name,
                "files, or links within the folder",
                "if you trust it, copy the folder with cp -rL and give the copy",
            )
    sha256 = folder_sha256(path, files)
    full = os.path.abspath(path)
    name = os.path.basename(full)
    return WeightsSource("openvino", full, sha256[:ID_LENGTH], sha256, name, tuple(sorted(files)))


def to_dict(source: WeightsSource) -> dict[str, Any]:
    """Return what the command prints."""
    return asdict(source)
