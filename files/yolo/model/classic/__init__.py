"""Checkpoints of ultralytics/yolov5, rebuilt in torch from their own description, and exported.

The modules that a checkpoint records say what the network is made of and how it is wired; ``share.classic_network``
has checked that. No code of the checkpoint or of ultralytics/yolov5 is needed.
"""
