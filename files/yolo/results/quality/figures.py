"""The figures of ``quality.json``."""

from __future__ import annotations

NAME = "quality.json"
"""Name of the figures in the results folder."""

FIGURES = {"map50": "mAP50", "map": "mAP50-95", "precision": "precision", "recall": "recall"}
"""The figures, of all classes and of each, and what people call them."""

LOW_CONF = 0.01
"""With detections left out above this confidence, mAP is lower than the validation of ultralytics/yolov5 would say."""
