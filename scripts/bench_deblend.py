"""Time a deblender: CPU time of a scene beside SEP's in one process, and how that of a field grows with its sources.

    python scripts/bench_deblend.py --preset vae_deblender_lsst --output docs/benchmarks/bench_deblend.json

Scenes have 24 arcsec in the six LSST bands with 1 to 4 sources near the centre; whole batches are timed, from arrays to
fluxes, errors and images. Fields are one simulated field, cut or repeated side by side, so that their density is the
same; they are timed from FITS to the last product, after a first run that compiles what can be compiled. Times are of
cores that were busy with this process, as other processes share them.
"""

import argparse
import functools
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from rich.console import Console
from rich.table import Table

import galzoo
from galzoo.files import write_json
from galzoo.inference.deblend import deblend
from galzoo.simulate.scenes import SceneSpec, simulate_scenes
from galzoo.tasks.deblend.choose_preset import deblend_batch
from galzoo.tasks.deblend.deblenders import baselines
from galzoo.tasks.deblend.run import Settings, deblend_field

SCENES = SceneSpec(survey="LSST", reference="i", magnitude_range=(18.0, 25.3), split="any", seed=11)
FIELD = SceneSpec(
    survey="LSST", reference="i", magnitude_range=(18.0, 25.3), split="any", seed=12, density=60.0, stamp_size=480,
    isolated=False,
)  # fmt: skip


def memory():
    """Return the largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def time_scenes(model, count, repeats):
    """Return a row a method: CPU milliseconds a scene, and that over SEP's, timed in turns."""
    scenes = simulate_scenes(SCENES, range(count))
    batch = scenes.batch(slice(None))
    batch.pop("isolated")
    bench = {
        "SEP": baselines()["SEP"],
        "encoder": lambda batch: deblend(model, batch, method="encoder"),
        "map": lambda batch: deblend(model, batch, method="map"),
    }
    seconds = {name: [] for name in bench}
    for answer in bench.values():
        answer(batch)
    for _ in range(repeats):
        for name, answer in bench.items():
            start = time.process_time()
            answer(batch)
            seconds[name].append((time.process_time() - start) / count)
    ratio = {name: np.median(np.array(times) / np.array(seconds["SEP"])) for name, times in seconds.items()}
    return [
        {"method": name, "CPU ms a scene": 1e3 * float(np.median(times)), "over SEP": float(ratio[name])}
        for name, times in seconds.items()
    ]


def time_fields(model, sizes, method, folder):
    """Return a row a field: sources, CPU seconds, milliseconds a source, largest memory so far."""
    field = simulate_scenes(FIELD, range(1))
    unit = field.image[0], field.variance[0]
    names = list(field.bands)
    psf = field.psf_of([0])
    rows = []

    deblender = functools.partial(deblend_batch, model, method)
    for size in (*sizes[:1], *sizes):
        repeats = -(-size // unit[0].shape[0])
        paths = []
        for kind, plane in zip(("image", "variance"), unit, strict=True):
            whole = np.tile(plane, (repeats, repeats, 1))[:size, :size]
            hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(whole[..., b], name=name) for b, name in enumerate(names))]
            for hdu in hdus[1:]:
                hdu.header["MAGZERO"] = 31.4
                hdu.header["PIXSCALE"] = 0.2
            paths.append(folder / f"{kind}_{size}.fits")
            fits.HDUList(hdus).writeto(paths[-1], overwrite=True)
        settings = Settings(report=False, stamp_size=0)
        start = time.process_time()
        deblend_field(
            paths[0], folder / f"out_{size}_{len(rows)}", deblender=deblender,
            psf=psf, variance=paths[1], bands=names, zero_point=31.4, pixel_scale=0.2, settings=settings, restart=True,
        )  # fmt: skip
        seconds = time.process_time() - start
        found = len(fits.getdata(folder / f"out_{size}_{len(rows)}" / "catalogue.fits"))
        row = {
            "pixels": size,
            "sources": found,
            "CPU seconds": seconds,
            "CPU ms a source": 1e3 * seconds / max(found, 1),
        }
        rows.append(row | {"memory GiB": memory()})
    return rows[1:]


def main():
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="vae_deblender_lsst")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=[120, 480, 1440])
    parser.add_argument("--method", default="encoder", help="of the fields")
    arguments = parser.parse_args()
    model = galzoo.load(arguments.preset)
    results = {"scenes": time_scenes(model, arguments.scenes, arguments.repeats), "memory_after_scenes_gib": memory()}
    with tempfile.TemporaryDirectory() as folder:
        results["fields"] = time_fields(model, arguments.sizes, arguments.method, Path(folder))
    for rows in filter(None, (results["scenes"], results["fields"])):
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(value if isinstance(value, str) else f"{value:.4g}" for value in row.values()))
        Console(width=100).print(table)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "platform": platform.platform()}
    sizes = {"preset": str(arguments.preset), "scenes": arguments.scenes, "repeats": arguments.repeats}
    if arguments.output:
        write_json(arguments.output, {"machine": machine, "timed": sizes | {"fields by": arguments.method}, **results})


if __name__ == "__main__":
    main()
