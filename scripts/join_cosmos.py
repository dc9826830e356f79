"""Join the bright galaxies of two small COSMOS catalogues, with images and PSFs, for GalSim: DIR/catalog.fits.

    python scripts/join_cosmos.py --data ROOT --output DIR

DIR/whole.fits has those galaxies alone whose light does not go on at the edge of their image, for scenes.
"""

import argparse
import shutil
from pathlib import Path

import galsim
import numpy as np
from astropy.table import Table, vstack

# COSMOS galaxies fainter than this are mostly noise.
FAINTEST = 25.0
# Mean surface brightness at the edge of a galaxy's image, over that of the whole, above which it is cut off.
CUT_OFF = 0.1


def join(root, folder):
    """Copy images and PSFs to `folder` and write its ``catalog.fits``."""
    folder.mkdir(parents=True, exist_ok=True)
    extension, bright = root / "hst/cosmos_btk_ext", root / "hst/cosmos_paltas10"
    images = [*extension.glob("real_galaxy_*_images_extension.fits"), *extension.glob("real_galaxy_images_*.fits")]
    images += [extension / "acs_I_unrot_sci_20_cf.fits", bright / "real_galaxy_images_23.5_n1.fits"]
    images += [extension / "real_galaxy_PSF_images_extension.fits", root / "psf/real_galaxy_PSF_images.fits"]
    for image in images:
        shutil.copyfile(image, folder / image.name)
    tables = [
        Table.read(bright / "real_galaxy_catalog_23.5.fits"),
        Table.read(extension / "real_galaxy_catalog_26_extension_example.fits"),
    ]
    tables[0]["PSF_FILENAME"] = "real_galaxy_PSF_images.fits"
    tables[1] = tables[1][tables[1]["MAG"] < FAINTEST]
    for table in tables:
        for name in table.colnames:
            if table[name].dtype.kind in "SU":
                table[name] = np.char.strip(np.asarray(table[name]).astype(str))
    vstack(tables, join_type="inner").write(folder / "catalog.fits", overwrite=True)


def write_whole(folder):
    """Write ``whole.fits``: galaxies that are cut off would be square."""
    table = Table.read(folder / "catalog.fits")
    catalogue = galsim.RealGalaxyCatalog("catalog.fits", dir=str(folder))
    kept = []
    for row in range(len(table)):
        image = catalogue.getGalImage(row).array
        edge = np.concatenate([image[:2].ravel(), image[-2:].ravel(), image[:, :2].ravel(), image[:, -2:].ravel()])
        kept.append(edge.mean() < CUT_OFF * image.mean())
    table[kept].write(folder / "whole.fits", overwrite=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public images and catalogues")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder to write, WORK/cosmos for make_pretrained.py"
    )
    options = parser.parse_args()
    join(options.data, options.output)
    write_whole(options.output)
