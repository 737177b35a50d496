"""Object detection with YOLOv5 on an HTCondor pool: request, prepare, submit, detect, merge, report."""

import os

# ONNX Runtime would write an identity into the user's cache and report each session under it. It looks once, when it is
# imported; its function for the purpose comes too late. Here, because whatever imports it imports this first.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
