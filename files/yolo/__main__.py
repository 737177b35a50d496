"""Run a command: ``python -m yolo COMMAND``."""

import sys

from .cli.main import run

sys.exit(run())
