"""Pure functions on arrays: reading images, letterbox, non-maximum suppression, drawing."""
