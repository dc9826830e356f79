"""A picture of what a detector finds in a simulated field that it never saw."""

import tempfile
from pathlib import Path

import numpy as np

# Training has seed 0.
_SEED = 2026
# A field as deep surveys have it, and the pixels of a star field that are shown.
_FIELD = {"stamp_size": 200, "density": 90.0, "stars_fraction": 0.1, "isolated": False, "split": "any"}
_MAGNITUDES = {"reference": "i", "magnitude_range": (18.0, 26.0)}
_STARS = 60
_SURE = 0.5


def preset_figure(model, card):
    """Draw a field as it is, beside what a preset finds in it.

    Parameters
    ----------
    model : galzoo.contracts.detections.Detector
    card : dict

    Returns
    -------
    figure : matplotlib Figure
    caption : str
        Markdown.

    None for a detector of what a first pass has missed, which needs one.
    """
    if getattr(model, "residual", False):
        return None
    stars = card["recipe"]["data"]["name"] == "starfield"
    scenes = _star_field(card) if stars else _field(card)
    batch = {key: value for key, value in scenes.batch([0]).items() if value is not None}
    true = batch["positions"][0, : batch["n_sources"][0]]
    given = {key: batch[key] for key in ("image", "variance", "mask", "psf", "gain", "sky") if key in batch}
    found = model.detect(given, _SURE)
    kept = found.probability[0] >= _SURE
    star = np.zeros(kept.sum(), bool)
    if found.class_probability is not None:
        star = np.argmax(found.class_probability[0][kept], axis=-1) == 1
    what = "crowded star field" if stars else "field of galaxies and stars"
    caption = (
        f"A simulated {what} that the preset `{card['name']}` ({card['title']}) never saw: as it is, and with true "
        f"sources as white crosses and detections of a probability of {_SURE:g} and more as circles"
        f"{'' if stars else ' (yellow: taken for stars)'}."
    )
    return _draw(scenes, true, found.positions[0][kept], star), caption


def _field(card):
    from galzoo.simulate.scenes import SceneSpec, simulate_scenes

    data = card["data"]
    spec = {"survey": data["survey"], "bands": data["bands"], "seed": _SEED, **_FIELD}
    if _MAGNITUDES["reference"] in data["bands"]:
        spec |= _MAGNITUDES
    return simulate_scenes(SceneSpec(**spec), range(1))


def _star_field(card):
    from galzoo.data.scenes import Scenes
    from galzoo.simulate.star_fields import make_star_fields

    options = card["recipe"]["data"]["options"] | {"n": 1, "seed": _SEED, "size": _STARS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.h5"
        make_star_fields(path, **options)
        return Scenes.load(path)


def _draw(scenes, true, places, star):
    from matplotlib.figure import Figure

    from galzoo.viz.colour import to_rgb
    from galzoo.viz.detections import mark_sources

    image = scenes.image[0]
    if len(scenes.bands) < 3:
        low, high = np.percentile(image[..., 0], (2, 99.8))
        picture, style = np.arcsinh(20 * (image[..., 0] - low) / (high - low)), {"cmap": "gray", "vmin": 0, "vmax": 3.5}
    else:
        picture, style = to_rgb(image, bands=scenes.bands, variance=scenes.variance[0]), {}
    figure = Figure(figsize=(9.6, 4.8), facecolor="white", layout="constrained")
    axes = figure.subplots(1, 2)
    for axis in axes:
        axis.imshow(picture, origin="lower", interpolation="nearest", **style)
        axis.set_axis_off()
    mark_sources(axes[1], true, places, star)
    side = len(picture)
    for axis in axes:
        axis.set(xlim=(-0.5, side - 0.5), ylim=(-0.5, side - 0.5))
    return figure
