"""Which packaged preset is used on a field where none is named: by bands, then by pixels."""

import logging

import numpy as np

from galzoo.data.bands import spelt
from galzoo.errors import InputError

logger = logging.getLogger(__name__)


def packaged_preset(task, field, every=False):
    """Return the packaged preset whose bands differ least from a field's, of these that of the nearest pixels.

    The log names it.

    Parameters
    ----------
    task : str
    field : Field
    every : bool
        The field must have every band of the preset, and may have others; by default the preset must have every band of
        the field, and goes without others.

    Raises
    ------
    InputError
        If no preset has such bands; the message says what the presets need.
    """
    from galzoo.presets import load_card, presets_for

    known = {name: load_card(name, metrics=False)["data"] for name in presets_for(task)}
    odd = {}
    for name, data in known.items():
        own, theirs = set(data["bands"]), set(spelt(field.bands, data["bands"]))
        if own <= theirs if every else theirs <= own:
            odd[name] = len(own ^ theirs), abs(np.log(data["pixel_scale_arcsec"] / (field.pixel_scale or 1)))
    if not odd:
        theirs = "; ".join(f"{name} has {', '.join(data['bands'])}" for name, data in known.items()) or "there is none"
        raise InputError(
            f"{field.name}: no packaged preset of `galzoo {task}` fits bands {', '.join(field.bands)} ({theirs}); name "
            "the files' bands with --bands, what the preset calls them with --as, or a run of your own with --preset"
        )
    name = min(odd, key=odd.get)
    logger.warning("%s: preset %s is used; --preset names another", field.name, name)
    return name


def say_absent(field, bands, preset):
    """Say in the log which bands of a preset a field lacks, where the preset goes without them."""
    theirs = spelt(field.bands, bands)
    absent = [band for band in bands if band not in theirs]
    if absent:
        logger.warning("%s: has no band %s; preset %s goes without", field.name, ", ".join(absent), preset)
