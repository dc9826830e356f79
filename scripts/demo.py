"""The main job, end to end: take a field apart; cut galaxies, train on them, reconstruct them, and draw new ones.

    python scripts/demo.py --output demo

The field is simulated for LSST. The galaxies are those of the Hubble Deep Field as a colour picture, which the
scikit-image package carries. Everything lands in the output folder; open ``report.html`` there.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage
from astropy.table import QTable
from rich.console import Console
from scipy.spatial import cKDTree

import galzoo
from galzoo.data.scenes_fits import write_fits
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.errors import GalzooError, InputError
from galzoo.evaluate.report import Report, rich_table
from galzoo.field.cutouts import cutouts_from_files
from galzoo.metrics.codebook import codebook_usage
from galzoo.recipe import load_recipe
from galzoo.simulate.scenes import SceneSpec, simulate_scenes
from galzoo.tasks.deblend import deblend_field
from galzoo.tasks.reconstruct import catalogue, reconstruct, write_reconstruction
from galzoo.tasks.reconstruct.products import shown_rows
from galzoo.tasks.sample import observe, write_samples
from galzoo.train import train
from galzoo.viz.panels import panel, reconstruction_panel, save

PRESET, PRIOR, DEBLENDER = "vqvae_sdss_rgb", "pixelcnn_sdss_rgb", "vae_deblender_lsst"
# The field: a crowded one of 200 pixels.
FIELD = SceneSpec(
    survey="LSST",
    reference="i",
    magnitude_range=(19.0, 25.3),
    split="any",
    density=50.0,
    stamp_size=200,
    isolated=False,
)
# Hubble types that galaxies are drawn for, elliptical to irregular, and how many of each.
T_TYPES, EACH = (-5, -2, 1, 3, 5, 9), 4
SIZE = 64
# What the preset's pictures show in red, green and blue; the Hubble picture's colours are called the same.
BANDS = ("i", "r", "g")
# Rows and steps of the model that is trained here; the preset had a hundred times more of each.
EPOCHS, STEPS = 4, 30


def picture_path():
    """Return the Hubble Deep Field picture of the scikit-image package."""
    path = Path(skimage.__file__).parent / "data" / "hubble_deep_field.jpg"
    if not path.is_file():
        raise InputError(f"{path}: scikit-image came without the Hubble Deep Field; install scikit-image from PyPI")
    return path


def cut(folder):
    """Find the sources, cut a stamp of each, and return the stamps of galaxies that a stamp holds well."""
    path = folder / "stamps.h5"
    cutouts_from_files([str(picture_path())], path, size=SIZE, bands=BANDS, pixel_scale=0.08, unit="", progress=True)
    stamps = Stamps.load(path)
    table = stamps.catalogue
    bright = np.asarray(table["snr"]) > 20
    inside = stamps.mask.mean(axis=(1, 2, 3)) < 0.5
    stamps = stamps[np.flatnonzero(bright & inside)]
    stamps.save(path)
    return path, stamps


def deblend(folder):
    """Simulate a field, deblend it, and return its folder and rows that say how near the fluxes come to the truth."""
    scenes = simulate_scenes(FIELD, range(1))
    files = write_fits(scenes, 0, folder / "field")
    out = folder / "deblended"
    deblend_field(
        files["image"], out, DEBLENDER, variance=files["variance"], psf=files["psf"], progress=True, restart=True
    )
    found, true = QTable.read(out / "catalogue.ecsv"), scenes.sources
    places = [np.stack([np.asarray(table[axis], float) for axis in ("x", "y")], axis=-1) for table in (found, true)]
    distance, nearest = cKDTree(places[1]).query(places[0])
    same = distance < 3
    truth = true["flux_i"].to_value("nJy")[nearest]
    rows = []
    for title, column in (("deblended", "flux_i"), ("aperture on the blend", "aperture_flux_i")):
        error = found[column].to_value("nJy")[same] / truth[same] - 1
        low, high = np.percentile(error, [16, 84])
        row = {"flux in i": title, "sources": int(same.sum()), "median error": f"{np.median(error):+.3f}"}
        rows.append(row | {"68 % scatter": f"{(high - low) / 2:.3f}"})
    return out, rows


def main():
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()

    console.rule(f"1 of 5: take a field apart with the preset {DEBLENDER}")
    deblended, fluxes = deblend(folder)
    console.print(rich_table(fluxes))

    console.rule("2 of 5: find and cut galaxies")
    path, stamps = cut(folder)
    save(panel(stamps[:40]), folder / "stamps.png")
    console.print(f"{len(stamps)} stamps of {SIZE} pixels in {path}")

    console.rule("3 of 5: train a small VQ-VAE on them")
    recipe = load_recipe(
        "vqvae",
        "sdss_rgb",
        [
            f"data.path={path}",
            f"stages=[{{epochs: {EPOCHS}, steps_per_epoch: {STEPS}, batch_size: 16, clip_norm: 1.0}}]",
            "model.hidden=32",
            "model.codebook_size=128",
            "data.split.valid=0.15",
            "data.split.test=0.2",
        ],
    )
    run = folder / "run"
    small = train(recipe.resolved(), path, run, resume=(run / "state.h5").exists())

    console.rule(f"4 of 5: reconstruct held-out stamps with the preset {PRESET}")
    splits = recipe.data.split.model_dump()
    columns = {
        name: np.asarray(stamps.catalogue[name]) for name in stamps.catalogue.colnames if name in ("id", "ra", "dec")
    }
    test = stamps[np.flatnonzero(split_names(columns, **splits) == "test")]
    preset = galzoo.load(PRESET)
    made = {f"trained here, {EPOCHS * STEPS} steps": (small, reconstruct(small, test))}
    made[f"preset {PRESET}"] = (preset, reconstruct(preset, test, progress=True))
    result = made[f"preset {PRESET}"][1]
    products = write_reconstruction(test, result, folder)
    rows = [
        {
            "model": name,
            "held-out stamps": len(test),
            "chi2 per pixel, median": f"{np.nanmedian(part.chi2):.2f}",
            "perplexity of codes": f"{codebook_usage(part.codes, model.codebook_size)['perplexity']:.0f}",
            "of": model.codebook_size,
        }
        for name, (model, part) in made.items()
    ]
    console.print(rich_table(rows))

    console.rule(f"5 of 5: draw new galaxies from the prior {PRIOR}")
    samples = galzoo.load(PRIOR).sample(len(T_TYPES) * EACH, {"t_type": np.repeat(T_TYPES, EACH)}, seed=1)
    drawn = write_samples(samples, observe(samples), folder / "samples")
    console.print(f"{len(samples)} galaxies of types {', '.join(map(str, T_TYPES))} in {folder / 'samples'}")
    write_report(folder, (deblended, fluxes), stamps, test, made, rows, products, drawn)
    console.print(f"open {folder / 'report.html'}")


def write_report(folder, deblended, stamps, test, made, rows, products, drawn):
    """Write ``report.html``: the field, what was found, both models, new galaxies, and the catalogue's first rows."""
    report = Report("galzoo demo", "A simulated LSST field, and galaxies of the Hubble Deep Field (NASA)")
    report.section("A field taken apart").table(deblended[1])
    report.figure(deblended[0] / "field.png", "The field, the sum of the deblended sources, and the residual.")
    report.text(f"Catalogue, images, stamps and a report of their own are in {deblended[0].relative_to(folder)}.")
    report.section("What was found").text(
        f"{len(stamps)} sources of the picture have a stamp of {SIZE} pixels; {len(test)} were held out. "
        "The picture is 8-bit and display-stretched, so there is no photometry to be had from it."
    )
    report.figure(folder / "stamps.png", "Some of the stamps.")
    report.section("Reconstruction of held-out stamps").table(rows)
    report.text("The preset never saw this telescope: it was trained on SDSS pictures, ground-based and much coarser.")
    rows_shown = shown_rows(test, 8)
    for name, (_, part) in reversed(made.items()):
        report.figure(reconstruction_panel(test, part, rows=rows_shown), f"Model: {name}.")
    report.section("New galaxies").text(
        f"Drawn from the prior {PRIOR} for Hubble types (t_type) from elliptical, below 0, to spiral and irregular."
    )
    report.figure(drawn[-1], "Each was drawn for the type that is written into it.")
    table = catalogue(test, made[f"preset {PRESET}"][1])[:10]
    shown = [name for name in ("id", "x", "y", "snr", "chi2") if name in table.colnames]
    plain = {name: np.asarray(table[name]) for name in shown}
    rows = [{name: values[row] for name, values in plain.items()} for row in range(len(table))]
    report.section("Catalogue").table(rows, "The first rows.")
    report.text("Files: " + ", ".join(str(path.relative_to(folder)) for path in (*products, *drawn)))
    report.write(folder / "report.html")


if __name__ == "__main__":
    try:
        main()
    except GalzooError as error:
        sys.exit(f"error: {error}")
