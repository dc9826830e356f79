"""Detection in observed and realistic fields with a list of what is there: completeness and purity by magnitude.

    python scripts/bench_detect.py ../shared/data -o /tmp/detect [--preset PRESET] [--deblend] [--only hsc]

Fields: an HSC tile (gri, 454 objects labelled by scarlet and cross-matched) and a coadd of LSST DESC's DC2 (ugrizy,
424 true objects). Methods: SEP's detection, what ``galzoo deblend`` finds with its second look (minutes), and a
preset, also cut to as many detections as SEP has, the most probable ones. Catalogues that are in the folder are not
made again without --restart. The lists are those of other programs, cut at their own depth: what is fainter or lies
in a blend that they did not take apart counts as false here.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table

from galzoo.evaluate.report import markdown_table
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
# FWHM in arcsec: of HSC's deep coadds in i, and of DC2's.
SEEING = {"hsc": 0.65, "dc2": 0.75}


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("detect_bench"))
    parser.add_argument("--preset", help="a detector")
    parser.add_argument("--deblend", action="store_true", help="also what galzoo deblend finds with its second look")
    parser.add_argument("--only", choices=("hsc", "dc2"))
    parser.add_argument("--restart", action="store_true", help="make catalogues anew that are there")
    parser.add_argument(
        "--json", type=Path, help="where the numbers are written; numbers.json in the folder by default"
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    text, numbers = [], {}
    for name, make in (("hsc", hsc_field), ("dc2", dc2_field)):
        if arguments.only not in (None, name):
            continue
        paths, options, truth = make(arguments.data, arguments.output)
        options = options | {"seeing": SEEING[name]}
        tables, folder = {}, arguments.output / name
        for method in ("SEP", arguments.preset):
            if method is None:
                continue
            out = folder / Path(method).name
            if arguments.restart or not (out / "catalogue.ecsv").is_file():
                preset = None if method == "SEP" else method
                detect_field(paths, out, preset=preset, settings=Settings(), restart=arguments.restart, **options)
            tables[method] = QTable.read(out / "catalogue.ecsv")
            if method != "SEP":
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
