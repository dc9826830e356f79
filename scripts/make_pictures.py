"""Draw the pictures of the documentation: each shipped preset on stamps that it never saw, each prior by its samples.

    python scripts/make_pictures.py [--only PRESET]

A preset that was trained on simulated stamps is shown new ones, of another seed and with their truth; a preset of
colour pictures is shown galaxies of the Hubble Deep Field, which the scikit-image package carries.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage

import galzoo
from galzoo.data.stamps import Stamps
from galzoo.field.cutouts import cutouts_from_files
from galzoo.files import write_text
from galzoo.inference.deblend import deblend
from galzoo.registry import get_family
from galzoo.tasks.reconstruct.run import reconstruct
from galzoo.tasks.sample.run import observe
from galzoo.viz.page import page
from galzoo.viz.panels import reconstruction_panel, save

ROOT = Path(__file__).parents[1]
START, END = "<!-- picture: made by scripts/make_pictures.py -->", "<!-- end of picture -->"
# The first of these that is there is at the top of the README.
FIRST = ("vqvae_lsst", "vqvae_candels_h", "vqvae_sdss_rgb")
# The prior whose samples are shown below it, by Hubble type, and how many galaxies other priors are shown beside.
SAMPLES, T_TYPES, GALAXIES = "pixelcnn_sdss_rgb", (-5, -2, 1, 4, 7, 10), 24
SAMPLES_MARKS = "<!-- samples: made by scripts/make_pictures.py -->", "<!-- end of samples -->"
# The deblender whose scene is in the README, and the numbers of the scenes that others are drawn from.
BLENDS, SCENES = "vae_deblender_lsst", range(40)
BLENDS_MARKS = "<!-- blends: made by scripts/make_pictures.py -->", "<!-- end of blends -->"
# What is shown of more than three bands: the deep ones of a ground-based survey.
SHOWN = ("g", "r", "i")
# Training has seed 0.
SEED, DRAWN, ROWS, DPI = 2026, 60, 5, 110
MOST_BYTES = 400_000
# What a specification takes from local files is left out, so that the pictures need none.
LOCAL = ("n", "catalogue", "real_galaxies", "real_fraction", "psf_paths", "psf_pixel_scale")


def example_stamps(card):
    """Return stamps for a preset that it was not trained on, from faint to bright."""
    data = card["recipe"]["data"]
    if data["name"] == "simulated":
        from galzoo.simulate.stamps import StampSpec, simulate_stamps

        options = {key: value for key, value in data["options"].items() if key not in LOCAL}
        stamps = simulate_stamps(StampSpec(**{**options, "seed": SEED}), range(DRAWN))
    else:
        stamps = deep_field(card["data"]["stamp_size"][0])
    snr = np.asarray(stamps.catalogue["snr"])
    wanted = np.geomspace(max(np.percentile(snr, 15), 15), np.percentile(snr, 97), ROWS)
    rows = []
    for value in wanted:
        distance = np.abs(np.log(np.maximum(snr, 1e-3) / value))
        distance[rows] = np.inf
        rows.append(int(np.argmin(distance)))
    return stamps[np.array(rows)]


def deep_field(size):
    """Return stamps of large, isolated galaxies of the Hubble Deep Field picture."""
    picture = Path(skimage.__file__).parent / "data" / "hubble_deep_field.jpg"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stamps.h5"
        cutouts_from_files([str(picture)], path, size=size, pixel_scale=0.08, where="snr>100, r50>4")
        stamps = Stamps.load(path)
    stamps = stamps[np.flatnonzero(np.asarray(stamps.catalogue["bad_fraction"]) < 0.2)]
    # The presets learnt from pictures with all that is in them, so neighbours stay.
    return dataclasses.replace(stamps, mask=None)


def three_bands(stamps, result):
    """Return stamps and reconstruction in the bands that are shown."""
    chosen = [stamps.bands.index(band) for band in SHOWN]
    planes = {key: getattr(stamps, key) for key in ("image", "variance", "mask", "truth", "psf")}
    planes = {key: None if plane is None else plane[..., chosen] for key, plane in planes.items()}
    images = {key: getattr(result, key)[..., chosen] for key in ("image", "deconvolved")}
    return dataclasses.replace(stamps, bands=SHOWN, **planes), dataclasses.replace(result, **images)


def draw(name, path):
    """Draw one preset's picture."""
    stamps = example_stamps(galzoo.load_card(name))
    result = reconstruct(galzoo.load(name), stamps)
    if len(stamps.bands) > len(SHOWN):
        stamps, result = three_bands(stamps, result)
    save(reconstruction_panel(stamps, result, rows=ROWS), path, dpi=DPI)
    report_size(path)


def report_size(path):
    """Say how large a picture is, and stop if it is too large to be committed."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"error: {path}: {size} bytes, more than {MOST_BYTES}; lower DPI or ROWS")
    sys.stdout.write(f"{path} {size // 1000} kB\n")


def caption(name):
    """Return the README's picture and what it shows, as Markdown."""
    card = galzoo.load_card(name)
    if card["recipe"]["data"]["name"] == "simulated":
        what = "New simulated galaxies from faint to bright"
        if len(card["data"]["bands"]) > len(SHOWN):
            what += f", shown in {', '.join(SHOWN)},"
        sharp = (
            "*Deconvolved*: the model before the PSF, in the resolution of *truth*, which is what GalSim drew and the "
            "model never sees. "
        )
    else:
        what, sharp = "Galaxies of the Hubble Deep Field, a colour picture,", ""
    return (
        f"![Stamps beside what {name} makes of them](docs/images/{name}.png)\n\n"
        f"{what} seen by the preset `{name}` ({card['title']}). *Image*: the stamp. *Reconstruction*: the model as the "
        f"telescope would see it without noise. *Residual*: their difference over the noise. {sharp}"
        f"*Codes*: the entry of the codebook in each cell."
    )


def draw_prior(name, path):
    """Draw a prior's samples: below new galaxies of the same conditions where those can be simulated, else by type."""
    model, card = galzoo.load(name), galzoo.load_card(name)
    data = card["recipe"]["data"]
    if data["name"] != "simulated":
        types = np.repeat(T_TYPES, 8)
        samples = model.sample(len(types), {"t_type": types}, seed=SEED)
        shown = {"T": samples.condition["t_type"]}
        figure = page(observe(samples), shown, title=f"samples of {name} by Hubble type T")
    else:
        from galzoo.simulate.stamps import StampSpec, simulate_stamps

        options = {key: value for key, value in data["options"].items() if key not in LOCAL}
        stamps = simulate_stamps(StampSpec(**{**options, "seed": SEED}), range(DRAWN))
        bright = np.argsort(-np.asarray(stamps.catalogue["snr"]))[:GALAXIES]
        stamps = stamps[np.sort(bright)]
        wanted = {column: np.asarray(stamps.catalogue[column], float) for column in model.columns}
        drawn = model.sample(len(stamps), wanted, seed=SEED)
        chosen = [stamps.bands.index(band) for band in SHOWN] if len(stamps.bands) > len(SHOWN) else slice(None)
        both = Stamps(
            np.concatenate([stamps.truth, drawn.image])[..., chosen],
            bands=SHOWN if isinstance(chosen, list) else stamps.bands,
            pixel_scale=stamps.pixel_scale,
            unit=stamps.unit,
        )
        figure = page(
            both, title=f"above: GalSim's galaxies, below: samples of {name} for the same magnitudes and sizes"
        )
    save(figure, path, dpi=DPI)
    report_size(path)


def draw_blend(name, path):
    """Draw the scene of most sources whose light overlaps, as it is and as the deblender has it."""
    from galzoo.simulate.scenes import SceneSpec, simulate_scenes
    from galzoo.tasks.deblend.score_figures import scene_figure

    data = galzoo.load_card(name)["data"]
    spec = {"survey": data["survey"], "bands": data["bands"], "seed": SEED, "split": "any"}
    if "i" in data["bands"]:
        spec |= {"reference": "i", "magnitude_range": (18.0, 24.0)}
    scenes = simulate_scenes(SceneSpec(**spec, n_sources=(4, 4), max_radius=15 * data["pixel_scale_arcsec"]), SCENES)
    blended = np.array(scenes.sources[f"blendedness_{scenes.bands[len(scenes.bands) // 2]}"]).reshape(len(scenes), 4)
    # Neither hopeless nor easy.
    row = int(np.argmin(np.abs(np.sort(blended, axis=1)[:, -1] - 0.5)))
    batch = scenes.batch([row])
    found = deblend(galzoo.load(name), batch)
    example = {key: batch[key][0] for key in ("positions", "image", "variance", "mask", "isolated")}
    figure = scene_figure(example | {"count": 4, "methods": {"galzoo": found.image[0]}}, list(scenes.bands))
    save(figure, path, dpi=DPI)
    report_size(path)


def put(readme, start, end, text):
    """Put a text between two marks of the README."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    write_text(readme, f"{before}{start}\n{text}\n{end}{after}")


def main():
    """Draw all pictures, or one, and put the first into the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one preset")
    only = parser.parse_args().only
    for name in galzoo.list_presets():
        if only in (None, name):
            tasks = get_family(galzoo.load_card(name)["family"]).tasks
            path = ROOT / "docs" / "images" / f"{name}.png"
            if "deblend" not in tasks:
                (draw_prior if "sample" in tasks else draw)(name, path)
            elif galzoo.load_card(name)["data"]["unit"]:
                draw_blend(name, path)
    first = next((name for name in FIRST if (ROOT / "docs" / "images" / f"{name}.png").is_file()), None)
    readme = ROOT / "README.md"
    put(readme, START, END, caption(first))
    if (ROOT / "docs" / "images" / f"{BLENDS}.png").is_file():
        title = galzoo.load_card(BLENDS)["title"]
        text = (
            f"A simulated blend that the preset `{BLENDS}` ({title}) never saw. Top: what the telescope sees. Middle: "
            "the true galaxies. Bottom: what the deblender makes of the image; residuals are in units of the noise."
        )
        put(readme, *BLENDS_MARKS, f"![A blend taken apart by {BLENDS}](docs/images/{BLENDS}.png)\n\n{text}")
    if (ROOT / "docs" / "images" / f"{SAMPLES}.png").is_file():
        title = galzoo.load_card(SAMPLES)["title"]
        text = f"None of these galaxies exists: samples of the preset `{SAMPLES}` ({title}), by Hubble type."
        put(readme, *SAMPLES_MARKS, f"![Samples of {SAMPLES}](docs/images/{SAMPLES}.png)\n\n{text}")


if __name__ == "__main__":
    main()
