"""Pictures of reconstructions: of a batch while a model trains, and of what a preset does."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from galzoo.data.stamps import Stamps
from galzoo.tasks.reconstruct.run import reconstruct

# Training has seed 0; new stamps to choose from, rows that are shown, and what is shown of more than three bands: the
# deep ones of a ground-based survey.
SEED, DRAWN, ROWS, SHOWN = 2026, 60, 5, ("g", "r", "i")


def draw_batch(model, batch, path, pixel_scale):
    """Draw a batch beside its reconstruction; the picture that training leaves behind every few epochs."""
    from galzoo.viz.panels import reconstruction_panel, save

    planes = {key: batch[key] for key in ("image", "variance", "mask", "truth", "psf") if key in batch}
    stamps = Stamps(**planes, bands=model.bands, pixel_scale=pixel_scale, unit="")
    save(reconstruction_panel(stamps, reconstruct(model, stamps, refine_steps=0)), path)


def preset_figure(model, card):
    """Draw what a preset makes of stamps that it never saw, from faint to bright.

    Parameters
    ----------
    model : galzoo.contracts.codec.Reconstructor
    card : dict

    Returns
    -------
    figure : matplotlib Figure
    caption : str
        Markdown.
    """
    from galzoo.viz.panels import reconstruction_panel

    simulated = card["recipe"]["data"]["name"] == "simulated"
    stamps = from_faint_to_bright(
        new_stamps(card) if simulated else deep_field(card["data"]["stamp_size"][0], model.bands)
    )
    result = reconstruct(model, stamps)
    what, sharp = "Galaxies of the Hubble Deep Field, a colour picture,", ""
    if simulated:
        what = "New simulated galaxies from faint to bright"
        sharp = (
            "*Deconvolved*: the model before the PSF, in the resolution of *truth*, which is what GalSim drew and the "
            "model never sees. "
        )
    if len(stamps.bands) > len(SHOWN):
        stamps, result = _three_bands(stamps, result)
        what += f", shown in {', '.join(SHOWN)},"
    caption = (
        f"{what} seen by the preset `{card['name']}` ({card['title']}). *Image*: the stamp. *Reconstruction*: the "
        f"model as the telescope would see it without noise. *Residual*: their difference over the noise. {sharp}"
    )
    if result.codes is not None:
        caption += "*Codes*: the entry of the codebook in each cell."
    return reconstruction_panel(stamps, result, rows=ROWS), caption.strip()


def new_stamps(card):
    """Return `DRAWN` stamps by the recipe of a preset, of another seed, from no local files."""
    from galzoo.simulate.stamps import StampSpec, simulate_stamps

    # What a specification takes from local files is left out, so that the picture needs none.
    local = ("n", "catalogue", "real_galaxies", "real_fraction", "psf_paths", "psf_pixel_scale")
    options = {key: value for key, value in card["recipe"]["data"]["options"].items() if key not in local}
    return simulate_stamps(StampSpec(**{**options, "seed": SEED}), range(DRAWN))


def deep_field(size, bands):
    """Return stamps of large, isolated galaxies of the Hubble Deep Field picture, which scikit-image carries.

    Its red, green and blue are called by the names in `bands`: what a model of pictures shows in these colours.
    """
    import skimage

    from galzoo.field.cutouts import cutouts_from_files

    picture = Path(skimage.__file__).parent / "data" / "hubble_deep_field.jpg"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stamps.h5"
        cutouts_from_files([str(picture)], path, size=size, bands=bands, pixel_scale=0.08, where="snr>100, r50>4")
        stamps = Stamps.load(path)
    stamps = stamps[np.flatnonzero(np.asarray(stamps.catalogue["bad_fraction"]) < 0.2)]
    # Models of pictures learnt from them with all that is in them, so neighbours stay.
    return dataclasses.replace(stamps, mask=None)


def from_faint_to_bright(stamps):
    """Return `ROWS` of some stamps, evenly spread over the logarithm of their signal-to-noise ratio."""
    snr = np.asarray(stamps.catalogue["snr"])
    rows = []
    for value in np.geomspace(max(np.percentile(snr, 15), 15), np.percentile(snr, 97), ROWS):
        distance = np.abs(np.log(np.maximum(snr, 1e-3) / value))
        distance[rows] = np.inf
        rows.append(int(np.argmin(distance)))
    return stamps[np.array(rows)]


def _three_bands(stamps, result):
    chosen = [stamps.bands.index(band) for band in SHOWN]
    planes = {key: getattr(stamps, key) for key in ("image", "variance", "mask", "truth", "psf")}
    planes = {key: None if plane is None else plane[..., chosen] for key, plane in planes.items()}
    images = {key: getattr(result, key)[..., chosen] for key in ("image", "deconvolved")}
    return dataclasses.replace(stamps, bands=SHOWN, **planes), dataclasses.replace(result, **images)
