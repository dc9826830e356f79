"""COSMOS: the real galaxies that GalSim distributes."""

from galzoo.registry import DataSet

DATASET = DataSet(
    name="cosmos",
    title="HST COSMOS galaxies of GalSim, redrawn at any pixel scale",
    build="galzoo.data.cosmos:make_cosmos",
    kind="stamps",
)
