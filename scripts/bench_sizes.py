"""Compare half-light radii of simulated HSC galaxies with those of real ones, measured alike on the images as observed.

    python scripts/bench_sizes.py STAMPS.h5 LINEAR_STAMPS.h5 --output docs/benchmarks/bench_sizes.json

Simulated stamps are those of the recipe `hsc_i` of the score prior. Real ones are the isolated, extended sources of
HSC PDR3 in a file of groups with ``images`` (n, y, x, band), ``cat`` and the attributes ``bands, zeropoint, star_r50``.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np
import sep

from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import AB_NJY
from galzoo.files import plain, write_json
from galzoo.metrics.calibration import resample

GROUPS = {"hsc_i_c11": "I", "hsc_gri": "I"}
# Pixels within which the light is summed up: both sets fit into it, and it fits on both kinds of stamps.
APERTURE = 15.0
# A source counts as extended if its radius is so many times a star's.
EXTENDED = 1.15
EDGES = 20.0, 21.0, 22.0, 23.0, 24.0


def measure(images):
    """Return the flux within `APERTURE` and the radius in pixels with half of it, of images (n, y, x), each (n,)."""
    found = []
    for image in images:
        image = np.ascontiguousarray(image, "float64")
        rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        image = image - np.median(rim)
        middle = [(image.shape[0] - 1) / 2]
        flux, _, _ = sep.sum_circle(image, middle, middle, APERTURE)
        radius, _ = sep.flux_radius(image, middle, middle, [APERTURE], 0.5, normflux=flux, subpix=5)
        found.append((flux[0], radius[0]))
    return np.array(found).T


def real(path):
    """Return magnitudes, radii (arcsec) and the radius of a star (arcsec) of real galaxies."""
    magnitudes, radii, stars = [], [], []
    with h5py.File(path) as file:
        for name, band in GROUPS.items():
            group = file[name]
            bands = [each.strip().upper() for each in str(group.attrs["bands"]).replace(",", " ").split()]
            index = bands.index(band) if band in bands else [each[-1] for each in bands].index(band)
            keep = (group["cat/is_extended"][:] > 0) & (group["cat/is_isolated"][:] > 0)
            flux, radius = measure(group["images"][:][keep][..., index])
            scale = float(group.attrs["pixel_scale"])
            magnitudes.append(float(group.attrs["zeropoint"]) - 2.5 * np.log10(np.maximum(flux, 1e-9)))
            radii.append(radius * scale)
            stars.append(float(group.attrs["star_r50"]) * scale)
    return np.concatenate(magnitudes), np.concatenate(radii), float(np.mean(stars))


def simulated(path, most):
    """Return the same of simulated galaxies; a star is the PSF."""
    stamps = Stamps.load(path)[:most]
    flux, radius = measure(stamps.image[..., 0])
    star = measure(np.pad(stamps.psf[:8, :, :, 0], ((0, 0), (8, 8), (8, 8))))[1].mean()
    scale = stamps.pixel_scale
    return AB_NJY - 2.5 * np.log10(np.maximum(flux, 1e-9)), radius * scale, float(star * scale)


def main():
    """Measure both, and write a row a bin of magnitude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stamps", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("--number", type=int, default=3000)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    sets = {"real": real(options.real), "simulated": simulated(options.stamps, options.number)}
    rows = []
    for low, high in zip(EDGES, EDGES[1:], strict=False):
        row = {"i magnitude": f"{low:g} to {high:g}"}
        for name, (magnitude, radius, star) in sets.items():
            here = radius[(magnitude >= low) & (magnitude < high) & (radius > EXTENDED * star)]
            row[f"{name}, galaxies"] = len(here)
            row[f"{name}, median radius"], row[f"{name}, error"] = resample(np.median, here, draws=500)
            inner = np.sqrt(np.square(here) - star**2)
            row[f"{name}, less a star's"], row[f"{name}, less a star's, error"] = resample(np.median, inner, draws=500)
        rows.append(row)
    stars = {name: each[2] for name, each in sets.items()}
    write_json(options.output, plain({"aperture, pixels": APERTURE, "star, arcsec": stars, "sizes": rows}, digits=4))


if __name__ == "__main__":
    main()
