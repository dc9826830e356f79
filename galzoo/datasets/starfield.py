"""Simulated star fields."""

from galzoo.registry import DataSet

DATASET = DataSet(
    name="starfield",
    title="simulated crowded star fields of any density, PSF and sky, with the truth of each star",
    build="galzoo.simulate.star_fields:make_star_fields",
    kind="scenes",
)
