"""Whether a field has the pixels that a network has learnt from."""

import numpy as np

from galzoo.errors import InputError

# A network knows how large sources are in its own pixels.
_SAME_SCALE = 0.25
RATIOS = 1 / (1 + _SAME_SCALE), 1 + _SAME_SCALE
"""Least and most that the pixels of a network may be of those of a field."""
RESAMPLE = f"resample the field to within {100 * _SAME_SCALE:.0f} %"
"""What to do with others."""


def same_pixels(field, model, name, mend="use another preset"):
    """Raise `InputError` where the pixel scales of a field and a model differ by more than a quarter.

    Parameters
    ----------
    field : Field
    model : object
        With ``pixel_scale`` in arcsec, None where it is not known: nothing is checked then.
    name : str
        Of the model.
    mend : str
        What can be done beside resampling the field.
    """
    known = getattr(model, "pixel_scale", None)
    if known is None or field.pixel_scale is None:
        return
    if abs(np.log(known / field.pixel_scale)) > np.log(1 + _SAME_SCALE):
        raise InputError(
            f"{field.name}: pixels of {field.pixel_scale:.4g} arcsec, {name} knows {known:.4g}; {RESAMPLE}, or {mend}"
        )
