"""Count what `galzoo deblend` finds by itself on simulated scenes, with and without the second look at the residual.

    python scripts/bench_detection.py scenes.h5 --output docs/benchmarks/bench_detection.json

Each scene is a field of its own, with its PSF and variance. A detection within 3 pixels of a true source is that
source; completeness and purity have binomial errors.
"""

import argparse
import functools
import logging
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from rich.console import Console
from rich.table import Table

import galzoo
from galzoo.data.scenes import Scenes
from galzoo.files import write_json
from galzoo.metrics.deblending import blendedness
from galzoo.metrics.matching import match
from galzoo.progress import track
from galzoo.tasks.deblend.choose_preset import deblend_batch
from galzoo.tasks.deblend.run import Settings, deblend_field

HARD = 0.3
MATCH_PIXELS = 3.0


def find(model, scenes, batch, row, add_sources):
    """Return the positions (n, 2) of what the task finds in a scene."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for kind in ("image", "variance"):
            planes = zip(np.moveaxis(batch[kind][row], -1, 0), scenes.bands, strict=True)
            hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(plane, name=band) for plane, band in planes)]
            fits.HDUList(hdus).writeto(folder / f"{kind}.fits")
        deblend_field(
            folder / "image.fits",
            folder / "out",
            deblender=functools.partial(deblend_batch, model, "map"),
            psf=batch["psf"][row : row + 1],
            variance=folder / "variance.fits",
            bands=list(scenes.bands),
            zero_point=31.4,
            pixel_scale=scenes.pixel_scale,
            settings=Settings(report=False, stamp_size=0, add_sources=add_sources),
        )
        table = fits.getdata(folder / "out" / "catalogue.fits")
        return np.stack([table["x"], table["y"]], axis=-1) if len(table) else np.zeros((0, 2))


def count(model, scenes, add_sources):
    """Return a row of the table, with binomial errors."""
    batch = scenes.batch(slice(None))
    hidden = blendedness(batch["isolated"])[..., len(scenes.bands) // 2] > HARD
    found, hard, true_detections = [], [], []
    for row in track(range(len(scenes)), "second look" if add_sources else "first look"):
        here = slice(0, batch["n_sources"][row])
        places = find(model, scenes, batch, row, add_sources)
        matches = match(places, batch["positions"][row, here], MATCH_PIXELS)
        found += list(matches.found_of_truth >= 0)
        hard += list(hidden[row, here])
        true_detections += list(matches.truth_of_found >= 0)
    values = {
        "completeness": found,
        f"completeness, blendedness > {HARD}": np.array(found)[np.array(hard)],
        "purity": true_detections,
    }
    result = {"second look": add_sources, "scenes": len(scenes), "sources": len(found)}
    for name, hits in values.items():
        share = float(np.mean(hits))
        result |= {name: share, f"{name}, error": float(np.sqrt(share * (1 - share) / len(hits)))}
    return result


def main():
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", type=Path, nargs="+", help="Scenes files with truth")
    parser.add_argument("--preset", default="vae_deblender_lsst")
    parser.add_argument("--limit", type=int, default=100, help="scenes of each file")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    model = galzoo.load(arguments.preset)
    rows = []
    for path in arguments.scenes:
        scenes = Scenes.load(path, slice(0, arguments.limit))
        rows += [{"set": path.stem} | count(model, scenes, add) for add in (False, True)]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=160).print(table)
    if arguments.output:
        write_json(arguments.output, {"preset": str(arguments.preset), "sets": rows})


if __name__ == "__main__":
    main()
