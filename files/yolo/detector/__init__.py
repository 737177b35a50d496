"""The job: detect objects in the images of one chunk."""
