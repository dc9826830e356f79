"""Values that are given once for all bands, or band by band, such as zero points."""

import math
from collections.abc import Mapping

import numpy as np

from galzoo.errors import InputError


def parse(text, option):
    """Return the value of an option: a number, a list of numbers, or a dict of band to number.

    Parameters
    ----------
    text : str or None
        ``27``, ``27,27.1`` (in the order of the bands) or ``g=27,r=27.1``.
    option : str
        What to call it in errors.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if text is None:
        return None
    pairs = [part.strip().rpartition("=") for part in str(text).split(",")]
    names = [name.strip() for name, _, _ in pairs]
    try:
        values = [float(value) for _, _, value in pairs]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)) or any(names) != all(names):
        raise InputError(f"{option} is {text}; give one number, one a band (27,27.1), or by name (g=27,r=27.1)")
    if any(names):
        doubled = [name for name in names if names.count(name) > 1]
        if doubled:
            raise InputError(f"{option} names {doubled[0]} twice; give each band one value")
        return dict(zip(names, values, strict=True))
    return values if len(values) > 1 else values[0]


def one_a_band(value, bands, what):
    """Return a list of one value a band.

    Parameters
    ----------
    value : number, sequence, mapping of band to number, or None
        One for all, one a band in their order, or by name, where bands that are not named have None. Names of
        extensions are often in capitals, so another case does where only one band fits.
    bands : sequence of str
    what : str
        In errors, in the plural.

    Raises
    ------
    InputError
        If there are more or fewer values than bands, or a name is none of them.
    """
    if isinstance(value, Mapping):
        found = {_band(name, bands, what): one for name, one in value.items()}
        return [found.get(band) for band in bands]
    values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
    values = values * len(bands) if len(values) == 1 else values
    if len(values) != len(bands):
        raise InputError(f"{len(values)} {what} for {len(bands)} bands; give one, one a band, or by name (g=27,r=27.1)")
    return values


def _band(name, bands, what):
    near = [name] if name in bands else [band for band in bands if band.lower() == name.lower()]
    if len(near) != 1:
        raise InputError(f"{what} name the band {name}; the bands are {', '.join(bands)}")
    return near[0]
