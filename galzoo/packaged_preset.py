"""Which packaged preset is used on a field where none is named: by bands, then by pixels."""

import logging

import numpy as np

from galzoo.data.bands import spelt
from galzoo.errors import InputError

logger = logging.getLogger(__name__)


def packaged_preset(task, field, every=False, ratios=(0, np.inf), mend="resample the field"):
    """Return the packaged preset whose bands differ least from a field's, of these that of the nearest pixels.

    The log names it.

    Parameters
    ----------
    task : str
    field : Field
    every : bool
        The field must have every band of the preset, and may have others; by default the preset must have every band of
        the field, and goes without others.
    ratios : (float, float)
        Least and most that the pixels of a preset may be of those of the field.
    mend : str
        What can be done where those of all are less or more.

    Raises
    ------
    InputError
        If no preset has such bands or pixels; the message says what the presets need.
    """
    from galzoo.presets import load_card, presets_for

    cards = {name: load_card(name, metrics=False) for name in presets_for(task)}
    known = {name: card["data"] for name, card in cards.items()}
    odd, scale = {}, field.pixel_scale or 1
    for name, data in known.items():
        own, theirs = set(data["bands"]), set(spelt(field.bands, data["bands"]))
        if own <= theirs if every else theirs <= own:
            odd[name] = len(own ^ theirs), abs(np.log(data["pixel_scale_arcsec"] / scale))
    if not odd:
        theirs = "; ".join(f"{name} has {', '.join(data['bands'])}" for name, data in known.items()) or "there is none"
        raise InputError(
            f"{field.name}: no packaged preset of `galzoo {task}` fits bands {', '.join(field.bands)} ({theirs}); name "
            "the files' bands with --bands, what the preset calls them with --as, or a run of your own with --preset"
        )
    scales = {name: known[name]["pixel_scale_arcsec"] for name in odd}
    fits = {name: odd[name] for name in odd if not field.pixel_scale or ratios[0] <= scales[name] / scale <= ratios[1]}
    if not fits:
        theirs = "; ".join(f"{name} knows {own:.4g}" for name, own in scales.items())
        train = " or ".join(dict.fromkeys(f"galzoo train {cards[name].get('family', 'FAMILY')}" for name in odd))
        raise InputError(
            f"{field.name}: no packaged preset of `galzoo {task}` takes pixels of {scale:.4g} arcsec ({theirs}); "
            f"{mend}, or train one on such pixels ({train}) and name it with --preset"
        )
    name = min(fits, key=fits.get)
    logger.warning("%s: preset %s is used; --preset names another", field.name, name)
    return name


def say_absent(field, bands, preset):
    """Say in the log which bands of a preset a field lacks, where the preset goes without them."""
    theirs = spelt(field.bands, bands)
    absent = [band for band in bands if band not in theirs]
    if absent:
        logger.warning("%s: has no band %s; preset %s goes without", field.name, ", ".join(absent), preset)
