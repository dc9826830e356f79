"""Simulated scenes: blends and fields with the truth of each source."""

from galzoo.registry import DataSet

DATASET = DataSet(
    name="scenes",
    title="scenes of several sources, drawn by GalSim or pasted from a bank of stamps, with truth",
    build="galzoo.simulate.scene_files:make_scene_set",
    kind="scenes",
)
