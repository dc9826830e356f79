"""Detection in observed and realistic fields with a list of what is there: completeness and purity by magnitude.

    python scripts/bench_detect.py ../shared/data -o /tmp/detect [--preset PRESET] [--deblend] [--only hsc]

Fields: an HSC tile (gri, 454 objects labelled by scarlet and cross-matched) and a coadd of LSST DESC's DC2 (ugrizy,
424 true objects). Methods: SEP's detection, ``galzoo detect`` without a preset, which finds what SEP leaves to brighter
light too, what ``galzoo deblend`` finds with its second look (minutes), and a preset, also cut to as many detections as
SEP has, the most probable ones. Catalogues that are in the folder are not
made again without --restart. The lists are those of other programs, cut at their own depth: what is fainter or lies
in a blend that they did not take apart counts as false here.

    python scripts/bench_detect.py --memory 2048,4096,8192 -o /tmp/detect [--preset PRESET]

Most resident memory and CPU seconds of a search of one band of so many pixels a side, each in a process of its own: a
piece of 1024 pixels with noise and 460 sources, side by side.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table

from galzoo.evaluate.report import markdown_table
from galzoo.field.detection import detection_for
from galzoo.field.open_field import open_field
from galzoo.files import write_json, write_text
from galzoo.metrics.binned import bin_masks
from galzoo.metrics.detection import outcome_shares, outcomes, share
from galzoo.metrics.matching import match
from galzoo.tasks.deblend.run import Settings as DeblendSettings
from galzoo.tasks.deblend.run import deblend_field
from galzoo.tasks.detect.report import picture
from galzoo.tasks.detect.run import Settings, detect_field
from galzoo.viz.panels import save

EDGES = (16, 20, 21, 22, 23, 24, 25, 26, 28)
# Arcsec; centres of boxes are good to a few tenths.
MATCH = 1.0
WITHOUT_PRESET = "galzoo detect"
# FWHM in arcsec: of HSC's deep coadds in i, and of DC2's.
SEEING = {"hsc": 0.65, "dc2": 0.75}


def sep_alone():
    """Let fields be searched without a look for what stands out of the halos of bright sources."""

    def alone(field, fwhm, threshold, halos):
        return detection_for(field, fwhm, threshold)

    return mock.patch("galzoo.tasks.detect.run.detection_for", alone)


def hsc_field(data, folder):
    """Return paths, options and the list of objects of the HSC tile."""
    paths = [str(data / "hsc" / f"hsc_10054_0-2_c1_{band}.fits.fz") for band in "GRI"]
    with h5py.File(data / "hsc" / "hsc_c1_instances.h5") as file:
        x, y, w, h = file["coco_bbox_xywh"][...].T
        table = Table({"x": x + (w - 1) / 2, "y": y + (h - 1) / 2, "mag_i": file["coco_imag"][...]})
        table["reach"] = np.maximum(w, h) / 2
    return paths, {"bands": ["g", "r", "i"], "zero_point": 27.0, "pixel_scale": 0.168}, table


def dc2_field(data, folder):
    """Return path, options and the list of objects of the first DC2 field."""
    path = folder / "dc2.fits"
    with h5py.File(data / "dc2" / "deepdisc_dc2_fields.h5") as file:
        group = file["3828_2_2_12_images"]
        hdus = [fits.ImageHDU(plane, name=band) for plane, band in zip(group["image"][...], "ugrizy", strict=True)]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
        x, y, w, h = group["bbox_xywh"][...].T
        table = Table({"x": x + (w - 1) / 2, "y": y + (h - 1) / 2, "mag_i": group["mag_i"][...]})
        table["reach"] = np.maximum(w, h) / 2
    return str(path), {"bands": list("ugrizy"), "zero_point": 27.0, "pixel_scale": 0.2}, table


def scored(table, truth, scale):
    """Return rows by magnitude and a summary of what a method found."""
    found = np.stack([np.asarray(getattr(table[key], "value", table[key])) for key in "xy"], axis=-1)
    places = np.stack([truth["x"], truth["y"]], axis=-1)
    pair = match(found, places, MATCH / scale)
    hit, true = pair.found_of_truth >= 0, pair.truth_of_found >= 0
    measured = np.asarray(table["mag_i"].value)
    rows = []
    for low, high, members in bin_masks(truth["mag_i"], EDGES):
        within = (measured >= low) & (measured < high)
        rows.append({"i": f"{low:g} to {high:g}", "listed": int(members.sum()), "completeness": share(hit[members]),
                     "detected": int(within.sum()), "purity": share(true[within])})  # fmt: skip
    named = outcomes(found, places, MATCH / scale, truth_reach=np.asarray(truth["reach"]))
    summary = {"detected": len(found), "completeness": share(hit), "purity": share(true)}
    return rows, summary | {key: value for key, value in outcome_shares(named)[0].items() if not key.endswith("_error")}


def write_mosaic(path, side):
    """Write a FITS image of `side` pixels, row by row, of pieces of 1024 that are all alike."""
    piece, random = 1024, np.random.default_rng(3)
    image = random.normal(size=(piece, piece)).astype(">f4")
    y, x = np.mgrid[-12:13, -12:13]
    for row, column in random.integers(12, piece - 12, (460, 2)):
        width = random.uniform(1.7, 3.5)
        profile = random.uniform(3, 60) * np.exp(-(x**2 + y**2) / (2 * width**2))
        image[row - 12 : row + 13, column - 12 : column + 13] += profile
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side})
    with open(path, "wb") as file:
        file.write(header.tostring().encode())
        wide = np.tile(image, (1, -(-side // piece)))[:, :side]
        for start in range(0, side, piece):
            file.write(wide[: min(piece, side - start)].tobytes())
        file.write(b"\0" * (-file.tell() % 2880))


def search_of(path, output, preset):
    """Search a mosaic in this process and return what that took."""
    start, begin = time.process_time(), time.perf_counter()
    options = {"bands": ["i"], "zero_point": 31.4, "pixel_scale": 0.2, "seeing": 0.8}
    detect_field(path, output, preset=preset, settings=Settings(report=False), restart=True, **options)
    # In KiB on Linux; pages of mapped files are in it.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = {"cpu_s": time.process_time() - start, "wall_s": time.perf_counter() - begin}
    return {"peak_mib": peak, **spent, "detected": fits.getval(output / "catalogue.fits", "NAXIS2", 1)}


def memory(sides, output, preset):
    """Return peak memory and seconds of searches of mosaics of some sizes, each in a process of its own."""
    rows = []
    for side in sides:
        path = output / "mosaic.fits"
        write_mosaic(path, side)
        command = [sys.executable, __file__, "--search", str(path), "-o", str(output / "searched")]
        text = subprocess.check_output([*command, *(["--preset", preset] if preset else [])], text=True)
        rows.append({"side": side, "image_mib": path.stat().st_size / 2**20, **json.loads(text.splitlines()[-1])})
        print(rows[-1], flush=True)
        path.unlink()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("-o", "--output", type=Path, default=Path("detect_bench"))
    parser.add_argument("--preset", help="a detector")
    parser.add_argument("--deblend", action="store_true", help="also what galzoo deblend finds with its second look")
    parser.add_argument("--only", choices=("hsc", "dc2"))
    parser.add_argument("--restart", action="store_true", help="make catalogues anew that are there")
    parser.add_argument(
        "--json", type=Path, help="where the numbers are written; numbers.json in the folder by default"
    )
    parser.add_argument("--memory", help="measure memory on mosaics of so many pixels a side, e.g. 2048,4096")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.search:
        print(json.dumps(search_of(arguments.search, arguments.output, arguments.preset)))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.memory:
        rows = memory(map(int, arguments.memory.split(",")), arguments.output, arguments.preset)
        write_json(arguments.json or arguments.output / "memory.json", {"preset": arguments.preset, "rows": rows})
        print(markdown_table(rows))
        return
    if arguments.data is None:
        parser.error("name the folder of the fields, or --memory")
    text, numbers = [], {}
    for name, make in (("hsc", hsc_field), ("dc2", dc2_field)):
        if arguments.only not in (None, name):
            continue
        paths, options, truth = make(arguments.data, arguments.output)
        options = options | {"seeing": SEEING[name]}
        tables, folder = {}, arguments.output / name
        for method in ("SEP", WITHOUT_PRESET, arguments.preset):
            if method is None:
                continue
            out = folder / Path(method).name
            if arguments.restart or not (out / "catalogue.ecsv").is_file():
                preset = None if method in ("SEP", WITHOUT_PRESET) else method
                with sep_alone() if method == "SEP" else contextlib.nullcontext():
                    detect_field(paths, out, preset=preset, settings=Settings(), restart=arguments.restart, **options)
            tables[method] = QTable.read(out / "catalogue.ecsv")
            if method == arguments.preset:
                order = np.argsort(-np.asarray(tables[method]["probability"]), kind="stable")
                tables[f"{method}, as many as SEP"] = tables[method][order[: len(tables["SEP"])]]
        if arguments.deblend:
            settings = DeblendSettings(stamp_size=0, report=False)
            if arguments.restart or not (folder / "deblend" / "catalogue.ecsv").is_file():
                deblend_field(paths, folder / "deblend", settings=settings, restart=arguments.restart, **options)
            tables["galzoo deblend"] = QTable.read(folder / "deblend" / "catalogue.ecsv")
        summaries = []
        for method, table in tables.items():
            rows, summary = scored(table, truth, options["pixel_scale"])
            summaries.append({"method": method, **summary})
            text.append(f"## {name}: {method}\n\n{markdown_table(rows)}")
            numbers[f"{name}: {method}"] = {"rows": rows, "summary": summary}
        text.append(f"## {name}: all\n\n{len(truth)} listed\n\n{markdown_table(summaries)}")
        del options["seeing"]
        with open_field(paths, **options) as field:
            figure = picture(field, tables["SEP"], ("galaxy", "star"), np.stack([truth["x"], truth["y"]], axis=-1))
            save(figure, folder / "listed.png")
    write_text(arguments.output / "tables.md", "\n".join(text))
    write_json(arguments.json or arguments.output / "numbers.json", numbers)
    print("\n".join(text))


if __name__ == "__main__":
    main()
