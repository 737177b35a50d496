"""Names and ranges of the inputs that the request checks before a run and the jobs check again when they read them."""

from __future__ import annotations

ENGINES = ("openvino", "onnxruntime", "torch")
"""What can run a model."""

AUTO = "auto"
"""Leaves the engine to a measurement, see ``yolo.model.selector``."""

PRECISIONS = ("fp32", "int8", "bf16")
"""What jobs compute in. "fp32" runs weights as they are, INT8 ones too."""

DECODES = ("exact", "fast")
"""How JPEGs are decoded: whole, or at a half, a quarter or an eighth of their size where the network needs no more."""

ANNOTATED_SIZE = range(32, 65_535 + 1)
"""Longer side of an annotated copy, pixels; JPEG ends there. 0 asks for that of what was decoded."""

IMGSZ_MIN, IMGSZ_MAX = 32, 8192
"""Smallest and largest side of a network's input, pixels."""

IMGSZ = range(IMGSZ_MIN, IMGSZ_MAX + 1, 32)
"""Sides that a user may ask for: multiples of the largest stride of most models. 0 asks for the model's own."""

MAX_DET = range(1, 30_000 + 1)
"""Most boxes of an image: suppression takes no more candidates."""

THREADS = range(1, 1024 + 1)
"""Threads of a job's engine. 0 asks for all processors of the slot."""
