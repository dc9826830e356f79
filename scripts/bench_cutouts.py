"""Time the cutting of stamps against a loop of `astropy.nddata.Cutout2D`, in one process, and measure the memory.

python scripts/bench_cutouts.py --side 20000 --stamps 5000 --output bench_cutouts.json
"""

import argparse
import resource
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import Table
from astropy.wcs import WCS

from galzoo.data.cutouts import cut, make_cutouts
from galzoo.data.fits import open_mosaic
from galzoo.files import write_json

STRIP = 500
BATCH = 500


def make_mosaic(path, side):
    """Write noise strip by strip, so that making the file does not need more memory than reading it."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [side / 2, side / 2], [-0.2 / 3600, 0.2 / 3600]
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side})
    header.update(wcs.to_header())
    header["MAGZERO"] = 31.4
    strip = np.random.default_rng(0).normal(size=(STRIP, side)).astype(np.float32)
    stream = fits.StreamingHDU(str(path), header)
    for _ in range(side // STRIP):
        stream.write(strip)
    stream.close()
    return wcs


def compare(functions, repeat):
    """Time functions in turn, so that a busy machine slows all alike; return seconds (repeat, function) and results."""
    times = np.empty((repeat, len(functions)))
    for row in range(repeat):
        results = []
        for column, function in enumerate(functions):
            start = time.perf_counter()
            results.append(function())
            times[row, column] = time.perf_counter() - start
    return times, results


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=8000, help="pixels of the mosaic a side, a multiple of 500")
    parser.add_argument("--stamps", type=int, default=5000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("bench_cutouts.json"))
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    x, y = rng.uniform(options.size, options.side - options.size, (2, options.stamps))
    parts = [slice(start, start + BATCH) for start in range(0, options.stamps, BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosaic.fits"
        wcs = make_mosaic(path, options.side)

        def loop():
            with fits.open(path) as hdus:
                data, full = hdus[0].data, WCS(hdus[0].header)
                return [
                    np.stack(
                        [
                            Cutout2D(data, place, options.size, wcs=full).data
                            for place in zip(x[part], y[part], strict=True)
                        ]
                    )
                    for part in parts
                ]

        def ours():
            with open_mosaic(path, ["r"]) as mosaic:
                return [cut(mosaic, x[part], y[part], options.size)["image"][..., 0] for part in parts]

        times, results = compare((loop, ours), options.repeat)
        same = all(np.array_equal(*pair) for pair in zip(*results, strict=True))
        del results
        ra, dec = wcs.all_pix2world(x, y, 0)
        table = Table({"ra": ra, "dec": dec})
        tracemalloc.start()
        start = time.perf_counter()
        with open_mosaic(path, ["r"]) as mosaic:
            make_cutouts(mosaic, table, Path(folder) / "stamps.h5", options.size)
        whole = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    result = {
        "side": options.side,
        "stamps": options.stamps,
        "size": options.size,
        "cutout2d_seconds": float(np.median(times[:, 0])),
        "galzoo_seconds": float(np.median(times[:, 1])),
        "ratio": float(np.median(times[:, 0] / times[:, 1])),
        "same_pixels": same,
        "catalogue_to_hdf5_seconds": whole,
        "peak_allocated_mib": peak / 2**20,
        "mosaic_mib": options.side**2 * 4 / 2**20,
        "peak_resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    write_json(options.output, result)
    for name, value in result.items():
        sys.stdout.write(f"{name:28s} {value:.4g}\n" if isinstance(value, float) else f"{name:28s} {value}\n")


if __name__ == "__main__":
    main()
