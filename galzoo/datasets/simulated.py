"""Simulated single galaxies."""

from galzoo.registry import DataSet

DATASET = DataSet(
    name="simulated",
    title="galaxies drawn by GalSim in the bands of a survey",
    build="galzoo.simulate.stamps:make_simulated",
    kind="stamps",
)
