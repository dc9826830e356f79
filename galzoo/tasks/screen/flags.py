"""What is wrong with a screened source."""

FLAGS = {"off_field": 1, "edge": 2, "bad_pixels": 4, "saturated": 8, "no_light": 16}
"""Bits of the column ``flags``."""
