"""CANDELS: mosaics, catalogue and PSF brought to stamps."""

from galzoo.registry import DataSet

DATASET = DataSet(
    name="candels",
    title="CANDELS mosaics with catalogue and PSF, from local files",
    build="galzoo.data.candels:make_candels",
    kind="stamps",
)
