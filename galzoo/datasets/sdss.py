"""SDSS: colour pictures of galaxies."""

from galzoo.registry import DataSet

DATASET = DataSet(
    name="sdss",
    title="SDSS colour pictures (EFIGI, Galaxy Zoo 1 or a folder), 8-bit",
    build="galzoo.data.sdss:make_sdss",
    kind="stamps",
)
