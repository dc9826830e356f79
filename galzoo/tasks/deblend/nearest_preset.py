"""Which packaged preset deblends data of some bands and pixels."""

import numpy as np

from galzoo.data.bands import spelt
from galzoo.errors import GalzooError


def nearest_preset(bands, pixel_scale):
    """Return the packaged preset that deblends some bands, of these that of the nearest pixels (arcsec); or None."""
    from galzoo.presets import load_card, presets_for

    fits = {}
    for name in presets_for("deblend"):
        card = load_card(name, metrics=False)
        known, scale = card.get("data", {}).get("bands") or (), scale_of(card) or pixel_scale
        if set(spelt(bands, known)) <= set(known):
            fits[name] = abs(np.log(scale / pixel_scale))
    return min(fits, key=fits.get, default=None)


def scale_of(card):
    """Return the pixel scale in arcsec that a preset or run was trained at, None where it is not known."""
    if "data" in card:
        return card["data"].get("pixel_scale_arcsec")
    from galzoo.data import hdf5

    try:
        return hdf5.read_header(card["recipe"]["data"]["path"])["pixel_scale"]
    except (GalzooError, KeyError, TypeError):
        return None
