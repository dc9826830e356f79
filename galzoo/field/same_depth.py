"""Whether a field is of the depth that a network has learnt from."""

import logging

import numpy as np

from galzoo.data.bands import spelt
from galzoo.errors import GalzooError

logger = logging.getLogger(__name__)

# The noise of a pixel may be so many times that of training.
_MOST = 2.0


def trained_noise(card, pixel_scale):
    """Return the noise of a sky pixel of the images that a preset or run has learnt from, nJy, by band.

    Parameters
    ----------
    card : dict
        It is known of simulated surveys.
    pixel_scale : float
        Arcsec of the pixels that it is wanted for: of larger ones it is larger, by their side.

    Returns
    -------
    dict
        Empty where it is not known.
    """
    from galzoo.simulate.surveys import get_survey, noise_sigma

    data = (card.get("recipe") or {}).get("data") or {}
    made = ((card.get("data") or {}).get("meta") or {}).get("simulation") or data.get("options") or {}
    depths = made.get("depth", 1.0), (data.get("make") or {}).get("depth", 1.0)
    if not made.get("survey") or not all(isinstance(depth, int | float) for depth in depths):
        return {}
    try:
        survey = get_survey(made["survey"])
        factor = pixel_scale / survey.pixel_scale.to_value("arcsec")
        bands = made.get("bands") or survey.bands
        return {band: factor * noise_sigma(survey, band, depths[0] * depths[1]) for band in bands}
    except GalzooError:
        return {}


def say_depth(field, card, name):
    """Say in the log where the noise of a field's pixels is more than twice, or less than half, that of training.

    Parameters
    ----------
    field : Field
    card : dict
        Of the preset.
    name : str
        Of the preset.
    """
    known = trained_noise(card, field.pixel_scale)
    bands = spelt(field.bands, tuple(known))
    levels = {band: level for band, level in zip(bands, field.noise_levels(), strict=True) if band in known}
    worst = max(levels, key=lambda band: abs(np.log(levels[band] / known[band])), default=None)
    if worst is None or 1 / _MOST <= levels[worst] / known[worst] <= _MOST:
        return
    logger.warning(
        "%s: its noise is %.3g nJy a pixel in %s, %s learnt with %.3g: the image is too %s for it, so what it says "
        "is a guess; use a preset of that depth", field.name, levels[worst], worst, name, known[worst],
        "shallow" if levels[worst] > known[worst] else "deep",
    )  # fmt: skip
