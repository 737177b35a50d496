"""The job: detect objects in the images of one chunk."""

from ..detector.detect import main

__all__ = ["main"]
