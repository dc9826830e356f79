"""Make the sets of real images that models are judged on, from public survey data laid out as the paths below say.

python scripts/make_real_sets.py --data ROOT --output DIR
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from galzoo.data.candels import read_candels_stamps
from galzoo.data.conform import LSST_BANDS, conform, read_survey
from galzoo.data.cosmos import make_cosmos
from galzoo.data.cutouts import cut
from galzoo.data.fits import open_mosaic
from galzoo.data.planes import Plane
from galzoo.data.psf import psf_from_stars, read_psf, stack_psf
from galzoo.data.sdss_frames import make_sdss_frames
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.field.catalogue import detect

# What a model for LSST expects, and which band of another survey stands for each of its.
PIXEL_SCALE, SIZE = 0.2, 64
MAPPINGS = {
    "hsc": ("hsc_gri", {"g": "G", "r": "R", "i": "I"}),
    "hsc_i": ("hsc_i_c11", {"i": "I"}),
    "kids": ("kids_viking_9band", {"u": "u", "g": "g", "r": "r", "i": "i", "z": "Z", "y": "Y"}),
    "legacy": ("legacy_r", {"r": "r"}),
}
# Half-light radius of stars in the KiDS r mosaic, pixels.
STAR_R50 = 1.74
KIDS_BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")

# The CEERS PSFs were drizzled to 0.04 arcsec: F160W has a FWHM of 4.6 pixels, 0.18 arcsec (WFC3 handbook, section 7.6).
HST_PSF, HST_PSF_SCALE = "psf/hst_grizli_ceers_f160w.fits", 0.04


def candels_h(data):
    """CANDELS GOODS-S F160W, 84 pixels of 0.06 arcsec."""
    path = data / "candels_gds/gds_vzjh_stamps.h5"
    return read_candels_stamps(path, ("F160W",), data / HST_PSF, psf_scale=HST_PSF_SCALE)


def xdf_h(data):
    """HST XDF F160W, 64 pixels of 0.06 arcsec; crowded, so all objects, neighbours masked."""
    psf = read_psf(data / HST_PSF, ("f160w",), 64, 0.06, HST_PSF_SCALE)
    full = read_survey(data / "linear_stamps.h5", "xdf_9band", psf.repeat(9, axis=-1), isolated=False)
    return conform(full, ("F160W",), full.pixel_scale, full.shape[0], {"F160W": "f160w"})


def kids_psf(data):
    """Stack of the stars of the KiDS and VIKING mosaics, one PSF a band, at 0.339 arcsec."""
    paths = [data / f"kids_viking_gama/multiband_{band}.fits.fz" for band in KIDS_BANDS]
    with open_mosaic(paths[2], ["r"], zero_point=22.5, pixel_scale=0.339) as mosaic:
        table, labels = detect(mosaic, threshold=10)
    r50 = table["r50"].value
    # The locus of point sources in r; fainter than saturation, bright enough for the wings.
    stars = (np.abs(r50 - STAR_R50) < 0.2) & (table["snr"] > 150) & (table["flags"] == 0)
    x, y = table["x"].value[stars], table["y"].value[stars]
    with open_mosaic(paths, KIDS_BANDS, unit="", pixel_scale=0.339) as mosaic:
        mosaic.segmentation = Plane("detected", labels, {})
        planes = cut(mosaic, x, y, 41)
    sys.stdout.write(f"{len(x)} stars for the KiDS PSF\n")
    image = np.where(planes["mask"], 0, planes["image"])
    alone = planes["mask"][:, 12:29, 12:29].mean(axis=(1, 2, 3)) < 0.01
    return stack_psf([psf_from_stars(image[alone, ..., band]) for band in range(len(KIDS_BANDS))])[None]


def ground(name):
    """Return the builder of a ground-based survey on LSST's bands and pixels."""
    group, mapping = MAPPINGS[name]

    def build(data):
        psf = kids_psf(data) if name == "kids" else None
        return conform(read_survey(data / "linear_stamps.h5", group, psf), LSST_BANDS, PIXEL_SCALE, SIZE, mapping)

    build.__doc__ = f"{group} on LSST's bands and pixels."
    return build


def main():
    """Make all sets, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public survey data")
    parser.add_argument("--output", type=Path, required=True, help="folder for the stamp files")
    parser.add_argument("--only", nargs="*", help="names of sets")
    options = parser.parse_args()
    builders = {"candels_h": candels_h, "xdf_h": xdf_h, **{name: ground(name) for name in MAPPINGS}}
    lines = []
    for name in options.only or [*builders, "cosmos", "sdss_frames"]:
        path = options.output / f"real_{name}.h5"
        if name == "cosmos":
            make_cosmos(path, options.data / "hst/cosmos_btk_ext/real_galaxy_catalog_26_extension_example.fits")
        elif name == "sdss_frames":
            frames = sorted((options.data / "sdss_frames").glob("frame-*.fits.bz2"))
            field = options.data / "sdss_frames/psField-000094-1-0012.fit"
            catalogue = options.data / "sdss_frames/photoObj-000094-1-0012_cols.fits"
            make_sdss_frames(path, frames, catalogue, field, where="OBJC_TYPE=3, NCHILD=0")
        else:
            builders[name](options.data).save(path)
        lines.append(f"{name:12s} {len(Stamps.load(path)):5d} stamps  {path}")
        sys.stdout.write(lines[-1] + "\n")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
