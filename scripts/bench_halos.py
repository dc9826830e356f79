"""Measure what deblending finds about bright stars: point sources of a known flux, added to an HSC tile.

    python scripts/bench_halos.py ROOT/hsc [-o docs/benchmarks/bench_halos.json]

ROOT/hsc has hsc_10054_0-2_c1_{G,R,I}.fits.fz. About three bright stars of the tile sources of one flux are
added on a ring at 22 to 60 pixels, through the PSF that the tile's own stars have; a cut-out about each is deblended.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.field import tiles
from galzoo.field.detection import detection_for
from galzoo.field.open_field import open_field
from galzoo.field.psf import measured_psf
from galzoo.field.star_light import StarLight
from galzoo.files import plain, write_json
from galzoo.metrics.binned import scatter68
from galzoo.metrics.calibration import resample
from galzoo.tasks.deblend.run import Settings, deblend_field

OUTPUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "bench_halos.json"
_BANDS, _ZERO_POINT, _SCALE = ("g", "r", "i"), 27.0, 0.168
# Cut-outs, as x0, x1, y0, y1, and the bright source in each.
_PLACES = (((790, 1025, 780, 1040), (934, 915)), ((800, 1025, 150, 420), (940, 290)), ((300, 600, 0, 260), (487, 159)))
_FLUX, _NUMBER, _NEAR, _FAR, _MATCH = 1500.0, 14, 22, 60, 2.0


def psf_of(paths):
    """Return the PSF of a tile by its stars, (1, p, p, band)."""
    with open_field(paths, bands=_BANDS, zero_point=_ZERO_POINT, pixel_scale=_SCALE) as field:
        found = tiles.detect_tile(field, (0, field.shape[0], 0, field.shape[1]), detection_for(field, 3.0, 5.0))
        return measured_psf(field, tiles.collect([found])[0])


def added(planes, psf, box, middle, random):
    """Return the cut-out of each band with sources, and their places (n, 2)."""
    x0, x1, y0, y1 = box
    angle = (np.arange(_NUMBER) + random.uniform(0, 0.6, _NUMBER)) * 2 * np.pi / _NUMBER
    radius = random.uniform(_NEAR, _FAR, _NUMBER)
    places = np.stack([middle[0] - x0 + radius * np.cos(angle), middle[1] - y0 + radius * np.sin(angle)], axis=-1)
    inside = ((places > 0) & (places < [x1 - x0 - 1, y1 - y0 - 1])).all(axis=1)
    light = StarLight(psf[0]).add(
        np.zeros((y1 - y0, x1 - x0, len(_BANDS))), places[inside], np.full((inside.sum(), len(_BANDS)), _FLUX)
    )
    light /= magnitude_to_njy(_ZERO_POINT)
    return [plane[y0:y1, x0:x1] + light[..., band] for band, plane in enumerate(planes)], places[inside]


def measure(paths, number, planes, psf):
    """Return a row a source that was added about one bright place: distance, relative error and error bar in i."""
    box, middle = _PLACES[number]
    images, places = added(planes, psf, box, middle, np.random.default_rng(number))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for band, image in zip(_BANDS, images, strict=True):
            fits.writeto(folder / f"{band}.fits", image.astype(np.float32))
        deblend_field(
            [folder / f"{band}.fits" for band in _BANDS], folder / "out", psf=psf, bands=_BANDS,
            zero_point=_ZERO_POINT, pixel_scale=_SCALE, settings=Settings(stamp_size=0, report=False),
        )  # fmt: skip
        table = QTable.read(folder / "out" / "catalogue.ecsv")
    rows, found = [], np.stack([table["x"].value, table["y"].value], axis=-1)
    for place in places:
        apart = np.hypot(*(found - place).T)
        nearest = int(np.argmin(apart))
        seen = bool(apart[nearest] < _MATCH)
        row = {"distance": float(np.hypot(*(place - np.subtract(middle, box[::2])))), "found": seen}
        row["error"] = float(table["flux_i"].value[nearest] / _FLUX - 1) if seen else np.nan
        row["bar"] = float(table["flux_err_i"].value[nearest] / _FLUX) if seen else np.nan
        rows.append(row)
    return rows


def summary(rows):
    """Return shares and errors; errors of them by bootstrap."""
    found = np.array([row["found"] for row in rows])
    error, bar = (np.array([row[name] for row in rows])[found] for name in ("error", "bar"))
    share, share_error = resample(np.mean, found.astype(float))
    median, median_error = resample(np.median, error)
    scatter, scatter_error = resample(scatter68, error)
    return {
        "added": len(rows), "found": share, "found, error": share_error, "median error of the flux": median,
        "median, error": median_error, "scatter": scatter, "scatter, error": scatter_error,
        "scatter of pulls": float(scatter68(error / bar)),
    }  # fmt: skip


def main():
    """Measure all three places."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    paths = [options.folder / f"hsc_10054_0-2_c1_{band.upper()}.fits.fz" for band in _BANDS]
    planes = []
    for path in paths:
        with fits.open(path) as hdus:
            planes.append(next(hdu.data for hdu in hdus if hdu.data is not None).astype(float))
    psf = psf_of(paths)
    rows = [row for number in range(len(_PLACES)) for row in measure(paths, number, planes, psf)]
    result = {"flux in nJy": _FLUX, "pixels from the bright source": [_NEAR, _FAR], **summary(rows), "rows": rows}
    write_json(options.output, plain(result, digits=4))
    sys.stdout.write(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
