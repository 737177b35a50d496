"""The command line, ``python -m yolo COMMAND``."""
