"""Whether stamps are of the bands and pixels that a preset was trained on, and bringing them there."""

import dataclasses
import functools
import logging

import numpy as np

from galzoo.data.bands import spelt
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

# Pixel scales that differ by less than this part are the same.
_SAME_SCALE = 0.05
# A larger share of masked pixels is odd; so many stamps are looked at for their noise.
_MOST_MASKED, _LOOKED_AT = 0.8, 64


def in_domain(stamps, card, conform=False):
    """Return stamps for a preset, and say in the log where they are of other pixels than its own.

    Parameters
    ----------
    stamps : Stamps
    card : dict
        Of the preset; a run has no data section, and nothing is said.
    conform : bool
        Bring them to the bands and the pixel scale of the preset (`galzoo.data.conform.conform`) and keep their field.

    Returns
    -------
    Stamps

    Raises
    ------
    InputError
        If they cannot be brought there, or are of other bands and need not be.
    """
    data = card.get("data")
    if data is None:
        return stamps
    bands, scale = tuple(data["bands"]), data["pixel_scale_arcsec"]
    ratio = stamps.pixel_scale / scale
    if (named := spelt(stamps.bands, bands)) != tuple(stamps.bands):
        stamps = dataclasses.replace(stamps, bands=named)
    said = f"stamps have bands {', '.join(stamps.bands)}, {card['name']} has {', '.join(bands)}"
    if not set(stamps.bands) & set(bands):
        raise InputError(f"{said}: none in common; {_of_colours(stamps, data) or 'use a preset that has one'}")
    other = sorted(stamps.bands) != sorted(bands)
    if other and not conform:
        mend = _of_colours(stamps, data) or "--conform brings them to these, absent ones without weight"
        raise InputError(f"{said}; {mend}, or use a preset of the same bands (galzoo list)")
    stamps, unit = _in_unit(stamps, data.get("unit"))
    if unit is not None:
        wanted = data["unit"] or "display-stretched pictures"
        logger.warning("stamps are %s where %s has %s: what it makes of them is a guess", unit, card["name"], wanted)
    _check_planes(stamps)
    resampled = abs(ratio - 1) > _SAME_SCALE
    if not other and not resampled:
        return stamps
    pictures = stamps.image.dtype == np.uint8 or not data["unit"]
    if not conform:
        mend = "ask for pictures of that scale" if pictures else "--conform resamples"
        logger.warning(
            "stamps have pixels of %.3g arcsec where %s has %.3g: what the model makes of them is a guess; %s",
            stamps.pixel_scale, card["name"], scale, mend,
        )  # fmt: skip
        return stamps
    if pictures:
        whose = "stamps are" if stamps.image.dtype == np.uint8 else f"{card['name']} is for"
        raise InputError(f"{whose} 8-bit pictures, which have no other bands or pixels to go to; leave out --conform")
    from galzoo.data.conform import conform as bring
    from galzoo.data.source import clean_planes

    if stamps.variance is None:
        # What models are given in its place.
        planes = {"image": stamps.image} | ({} if stamps.mask is None else {"mask": stamps.mask})
        stamps = dataclasses.replace(stamps, variance=clean_planes(planes, estimate=True)["variance"])
    return bring(stamps, bands, scale, int(round(min(stamps.shape) * ratio)))


def _of_colours(stamps, data):
    """Return what to do where stamps or what a preset has learnt from are pictures, which --conform refuses."""
    if not data["unit"]:
        return f"name the colours so when pictures are cut (--bands {','.join(data['bands'])})"
    return "8-bit pictures need a preset of pictures" if stamps.image.dtype == np.uint8 else None


def _check_planes(stamps):
    """Say where most pixels of stamps are masked, or their variance is not that of their sky by far."""
    if stamps.mask is not None and stamps.mask.mean() > _MOST_MASKED:
        logger.warning(
            "%.0f %% of the pixels of the stamps are masked; True means bad, so invert it if 1 means good there",
            100 * stamps.mask.mean(),
        )  # fmt: skip
        return
    if stamps.variance is None or stamps.unit != "nJy":
        return
    from galzoo.data.noise_scatter import compare_noise
    from galzoo.data.source import clean_planes

    keys = [key for key in ("image", "mask") if getattr(stamps, key) is not None]
    sky = clean_planes({key: getattr(stamps, key)[:_LOOKED_AT] for key in keys}, estimate=True)["variance"]
    for band, name in enumerate(stamps.bands):
        seen = sky[..., band][np.isfinite(sky[..., band])]
        if len(seen):
            scatter = float(np.sqrt(np.median(seen)))
            variance, pixels = stamps.variance[:_LOOKED_AT, ..., band], functools.partial(_pixels, stamps, band)
            compare_noise(f"stamps, band {name}", scatter, variance, "variance", pixels)


def _pixels(stamps, band):
    """Return the pixels of a band of the first stamps, NaN where bad."""
    pixels = stamps.image[:_LOOKED_AT, ..., band]
    return pixels if stamps.mask is None else np.where(stamps.mask[:_LOOKED_AT, ..., band], np.nan, pixels)


def _in_unit(stamps, unit):
    """Return stamps in a unit of flux, and what to say of theirs where it cannot be brought to it, else None."""
    from astropy import units as u

    if unit is None or stamps.unit == unit:
        return stamps, None
    said = f"in {stamps.unit}" if stamps.unit else "display-stretched pictures"
    try:
        factor = u.Unit(stamps.unit).to(unit) if stamps.unit and unit else None
    except (ValueError, TypeError, u.UnitConversionError):
        factor = None
    if factor is None:
        return stamps, said
    powers = {"image": 1, "variance": 2, "truth": 1, "model": 1}
    planes = {key: getattr(stamps, key) for key in powers}
    brought = {key: plane * np.float32(factor ** powers[key]) for key, plane in planes.items() if plane is not None}
    return dataclasses.replace(stamps, unit=unit, **brought), None
