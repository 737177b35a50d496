"""Prepare the model of (a), in a process of its own: an exporter changes its environment and prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Make the model folder from weights."""
    parser = argparse.ArgumentParser(prog="bench.model", description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder with the weights")
    parser.add_argument("--kind", required=True, help="what the weights are: pt, onnx or openvino")
    parser.add_argument("--imgsz", type=int, required=True, help="side of the input, pixels")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make")
    args = parser.parse_args(argv)
    from yolo.model.prepare import prepare

    prepare(args.source, args.kind, args.out).input_size(args.imgsz)
    return 0


if __name__ == "__main__":
    sys.exit(main())
