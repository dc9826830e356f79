"""Simulated scenes with the class of every pixel."""

from galzoo.registry import DataSet

DATASET = DataSet(
    name="morphology",
    title="scenes of spheroids, disks, irregulars and point sources, every pixel with its class",
    build="galzoo.simulate.morphology:make_morphology",
    kind="scenes",
)
