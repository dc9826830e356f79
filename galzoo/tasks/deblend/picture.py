"""A picture of a blend that a preset takes apart."""

import numpy as np

# Training has seed 0; scenes to choose from, galaxies in each, and pixels about the centre that these lie within.
_SEED, _SCENES, _SOURCES, _REACH = 2026, range(40), 4, 15
# Magnitudes at which the galaxies of a deep ground-based survey are seen well.
_MAGNITUDES = {"reference": "i", "magnitude_range": (18.0, 24.0)}


def preset_figure(model, card):
    """Draw a scene of sources whose light overlaps, as it is and as a preset has it.

    Parameters
    ----------
    model : galzoo.contracts.galaxy_model.GalaxyModel
    card : dict

    Returns
    -------
    figure : matplotlib Figure
    caption : str
        Markdown.
    """
    from galzoo.inference.deblend import deblend
    from galzoo.simulate.scenes import SceneSpec, simulate_scenes
    from galzoo.tasks.deblend.score_figures import scene_figure

    data = card["data"]
    spec = {"survey": data["survey"], "bands": data["bands"], "seed": _SEED, "split": "any"}
    if _MAGNITUDES["reference"] in data["bands"]:
        spec |= _MAGNITUDES
    reach = _REACH * data["pixel_scale_arcsec"]
    scenes = simulate_scenes(SceneSpec(**spec, n_sources=(_SOURCES, _SOURCES), max_radius=reach), _SCENES)
    band = scenes.bands[len(scenes.bands) // 2]
    blended = np.array(scenes.sources[f"blendedness_{band}"]).reshape(len(scenes), _SOURCES)
    # Neither hopeless nor easy.
    row = int(np.argmin(np.abs(np.sort(blended, axis=1)[:, -1] - 0.5)))
    batch = scenes.batch([row])
    found = deblend(model, batch)
    example = {key: batch[key][0] for key in ("positions", "image", "variance", "mask", "isolated")}
    example |= {"count": _SOURCES, "methods": {"galzoo": found.image[0]}}
    caption = (
        f"A simulated blend that the preset `{card['name']}` ({card['title']}) never saw. Top: what the telescope "
        "sees. Middle: the true galaxies. Bottom: what the deblender makes of the image; residuals are in units of the "
        "noise."
    )
    return scene_figure(example, list(scenes.bands)), caption
