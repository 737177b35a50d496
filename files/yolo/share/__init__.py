"""What the parts of a run hand to each other on the share: places, formats, atomic files, and the error type."""
