"""Make the shipped presets again: data, training, evaluation, card.

    python scripts/make_pretrained.py vqvae_lsst --data ROOT --work DIR

`ROOT` holds the public images and catalogues (see docs/data.md for its layout). Every step keeps what is done: a data
file or run that exists in `DIR` is used, and an interrupted training goes on.
"""

import argparse
import datetime
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from galzoo import resources
from galzoo.cards import write_readme
from galzoo.data.hdf5 import read_header
from galzoo.errors import GalzooError
from galzoo.evaluate.run import evaluate
from galzoo.presets import write_preset
from galzoo.recipe import load_recipe
from galzoo.train import train

# Family and recipe of each preset, and the real sets (made by make_real_sets.py) that it is judged on beside its own
# held-out stamps. A prior is made after the VQ-VAE whose codes it is over, from the same stamps.
PRESETS = {
    "vqvae_sdss_rgb": ("vqvae", "sdss_rgb", ()),
    "vqvae_candels_h": ("vqvae", "candels_h", ("candels_h", "xdf_h", "cosmos")),
    "vqvae_lsst": ("vqvae", "lsst", ("hsc", "kids", "legacy")),
    "pixelcnn_sdss_rgb": ("pixelcnn", "sdss_rgb", ()),
    "pixelcnn_candels_h": ("pixelcnn", "candels_h", ()),
    "pixelcnn_lsst": ("pixelcnn", "lsst", ()),
    "vae_deblender_lsst": ("vae_deblender", "lsst", ()),
    "vae_deblender_candels_h": ("vae_deblender", "candels_h", ()),
    "branched_gan_sdss_rgb": ("branched_gan", "sdss_rgb", ()),
}
# Scenes that deblenders are judged on, by recipe: 1 to 4 sources near the centre. The seed is none of a training set.
SCENES, SCENES_SEED = 200, 2024
FWHMS = (0.6, 0.7, 0.85, 0.95, 1.1)
# COSMOS galaxies fainter than this are mostly noise.
FAINTEST_REAL = 25.0
# Mean surface brightness at the edge of a real galaxy's image, over that of the whole, above which it is cut off.
CUT_OFF = 0.1


def make_data(recipe, root, work):
    """Make the stamp file that a recipe trains on and return its path."""
    from galzoo.data.named import make_named

    path = work / f"{recipe}.h5"
    if path.exists():
        return path
    if recipe == "sdss_rgb":
        make_named("sdss", path, {"source": str(root / "jpeg_sets")})
        return path
    options = dict(load_recipe("vqvae", recipe).data.options)
    if recipe == "candels_h":
        options["real_galaxies"] = str(real_galaxies(root, work / "cosmos"))
        options["psf_paths"] = {"F160W": str(root / "psf/hst_grizli_ceers_f160w.fits")}
    else:
        options["catalogue"] = str(root / "catalogs/catsim_onedegsq_10000.fits")
    make_named("simulated", path, options)
    return path


def make_scene_sets(recipe, root, work):
    """Make the scene files that a deblender is judged on and return their paths.

    For LSST: galaxies of the catalogue's test split, real galaxies from HST, which no LSST model is trained on, and the
    first of these sets' scenes under narrower and wider PSFs. For HST: new galaxies of the built-in population.
    """
    from galzoo.simulate.scenes import SceneSpec, make_scenes

    if recipe == "candels_h":
        psf = {"F160W": str(root / "psf/hst_grizli_ceers_f160w.fits")}
        limits = {"magnitude_range": (18.0, 25.5), "stamp_size": 120, "max_radius": 1.2, "psf_paths": psf}
        spec = SceneSpec(survey="CANDELS", bands=["F160W"], seed=SCENES_SEED, split="any", **limits)
        sets = {"f160w": {}}
    else:
        catalogue = str(root / "catalogs/catsim_onedegsq_10000.fits")
        limits = {"reference": "i", "magnitude_range": (15.0, 25.3)}
        spec = SceneSpec(survey="LSST", catalogue=catalogue, split="test", seed=SCENES_SEED, **limits)
        real = {"real_fraction": 1.0, "real_magnitude_limit": FAINTEST_REAL, "split": "any"}
        galaxies = whole_galaxies(real_galaxies(root, work / "cosmos_whole"))
        sets = {"catsim": {}, "hst": real | {"real_galaxies": str(galaxies)}}
        sets |= {f"fwhm_{value:g}": {"psf_fwhm": value, "n": SCENES // 2} for value in FWHMS}
    paths = []
    for name, changes in sets.items():
        paths.append(work / f"scenes_{recipe}" / f"scenes_{name}.h5")
        if not paths[-1].exists():
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            make_scenes(paths[-1], changes.pop("n", SCENES), spec, **changes)
    return paths


def real_galaxies(root, folder):
    """Join the bright galaxies of two small COSMOS catalogues, with their images and PSFs, in one folder."""
    from astropy.table import Table, vstack

    folder.mkdir(parents=True, exist_ok=True)
    extension, bright = root / "hst/cosmos_btk_ext", root / "hst/cosmos_paltas10"
    images = [*extension.glob("real_galaxy_*_images_extension.fits"), *extension.glob("real_galaxy_images_*.fits")]
    images += [extension / "acs_I_unrot_sci_20_cf.fits", bright / "real_galaxy_images_23.5_n1.fits"]
    for image in [
        *images,
        extension / "real_galaxy_PSF_images_extension.fits",
        root / "psf/real_galaxy_PSF_images.fits",
    ]:
        shutil.copyfile(image, folder / image.name)
    tables = [
        Table.read(bright / "real_galaxy_catalog_23.5.fits"),
        Table.read(extension / "real_galaxy_catalog_26_extension_example.fits"),
    ]
    tables[0]["PSF_FILENAME"] = "real_galaxy_PSF_images.fits"
    tables[1] = tables[1][tables[1]["MAG"] < FAINTEST_REAL]
    for table in tables:
        for name in table.colnames:
            if table[name].dtype.kind in "SU":
                table[name] = np.char.strip(np.asarray(table[name]).astype(str))
    vstack(tables, join_type="inner").write(folder / "catalog.fits", overwrite=True)
    return folder / "catalog.fits"


def whole_galaxies(path):
    """Leave those galaxies out of a catalogue whose light goes on at the edge of their image: they would be square."""
    import galsim
    from astropy.table import Table

    table = Table.read(path)
    catalogue = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
    kept = []
    for row in range(len(table)):
        image = catalogue.getGalImage(row).array
        edge = np.concatenate([image[:2].ravel(), image[-2:].ravel(), image[:, :2].ravel(), image[:, -2:].ravel()])
        kept.append(edge.mean() < CUT_OFF * image.mean())
    table[kept].write(path, overwrite=True)
    return path


def main():
    """Make one preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", choices=sorted(PRESETS))
    parser.add_argument("--data", type=Path, required=True, help="folder of the public images and catalogues")
    parser.add_argument("--work", type=Path, required=True, help="folder for stamp files, runs and evaluations")
    parser.add_argument("--limit", type=int, default=600, help="held-out stamps to score")
    parser.add_argument("--set", action="append", default=[], help="change the recipe, as in galzoo train")
    options = parser.parse_args()
    family, name, real = PRESETS[options.preset]
    path = make_data(name, options.data, options.work)
    run = options.work / "runs" / options.preset
    if not (run / "model.keras").exists():
        recipe = load_recipe(family, name, [f"data.path={path}", *options.set])
        train(recipe.resolved(), path, run, resume=(run / "state.h5").exists())
    sets = [options.work / f"real_{item}.h5" for item in real]
    judged = make_scene_sets(name, options.data, options.work) if family == "vae_deblender" else path
    lines = evaluate(run, judged, [item for item in sets if item.exists()], run / "evaluation", limit=options.limit)
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    folder = resources.pretrained_dir() / options.preset
    card = write_preset(run, folder, metrics, read_header(path), datetime.date.today().isoformat())
    write_readme(folder, card)
    sys.stdout.write("\n".join([*lines, str(folder)]) + "\n")


if __name__ == "__main__":
    try:
        main()
    except GalzooError as error:
        sys.exit(f"error: {error}")
