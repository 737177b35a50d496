"""Object detection with YOLOv5 on an HTCondor pool: plan, watch, detect, collect."""

__version__ = "0.1.0"
