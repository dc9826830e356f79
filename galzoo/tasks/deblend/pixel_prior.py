"""Deblending with a prior over pixels, on top of another deblender's answer."""

import functools

import numpy as np

from galzoo.data.zeropoint import AB_NJY
from galzoo.errors import InputError
from galzoo.inference.deblend import deblend
from galzoo.inference.pixels import deblend_pixels
from galzoo.presets import load_for
from galzoo.tasks.deblend.adapt_deblender import with_bands
from galzoo.tasks.deblend.nearest_preset import nearest_preset

# Pixel scales may differ by this factor: a prior knows sizes in pixels.
_SAME_SCALE = 1.25


def load_prior(name, bands, pixel_scale):
    """Return the prior of a preset or run, if it can serve data of some bands and pixels.

    Parameters
    ----------
    name : str or Path
    bands : sequence of str
        Of the data.
    pixel_scale : float
        Of the data, arcsec.

    Raises
    ------
    InputError
        If it is not over noiseless pixels in nJy, or for other bands or pixels.
    """
    # What can be drawn from is a prior; whether it is one over pixels the model says, not its family.
    prior = load_for("sample", name)
    if prior.space != "pixels":
        raise InputError(f"{name}: a prior over {prior.space}, which has no score; deblending needs one over pixels")
    if prior.unit != "nJy" or not prior.model_sigma:
        raise InputError(
            f"{name}: a prior of images as observed or of pictures; deblending needs noiseless ones in nJy"
        )
    if len(prior.bands) > 1 and tuple(prior.bands) != tuple(bands):
        raise InputError(
            f"{name}: a prior of bands {', '.join(prior.bands)}, the data have {', '.join(bands)}; use one of these "
            "bands or of one band"
        )
    if not 1 / _SAME_SCALE <= prior.pixel_scale / pixel_scale <= _SAME_SCALE:
        raise InputError(
            f"{name}: a prior of pixels of {prior.pixel_scale:.4g} arcsec, the data have {pixel_scale:.4g}; use one "
            f"within a factor of {_SAME_SCALE:g}"
        )
    return prior


def told_by(prior, first):
    """Return what a prior of one band may be told by another deblender's answer: magnitude and half-light radius.

    Parameters
    ----------
    prior : Prior
        Of one band, in nJy.
    first : Deblended
        In that band alone.

    Returns
    -------
    dict of str to array
        One value a source that is present, within what the prior was trained on; NaN where it is not known.
    """
    ranges, found = getattr(prior, "condition_ranges", {}), {}
    if "mag" in ranges:
        flux = first.flux[first.present][:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            found["mag"] = AB_NJY - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    if "half_light_radius" in ranges and first.shape is not None:
        found["half_light_radius"] = first.shape[first.present][:, 2] * prior.pixel_scale
    return {name: np.clip(values, *ranges[name]).astype("float32") for name, values in found.items()}


def with_prior(deblend, prior, told=False, **options):
    """Return a deblender that starts from the answer of `deblend` and fits pixels under a prior.

    Batches that ask for smooth answers, by which missing sources are looked for, are left to `deblend`.

    Parameters
    ----------
    deblend : callable
        Takes a batch, returns `Deblended`.
    prior : Prior
    told : bool
        Tell the prior the magnitudes and sizes of that answer (`told_by`).
    **options
        Of `galzoo.inference.pixels.deblend_pixels`.
    """

    def run(batch):
        smooth = batch.get("smooth", False)
        first = deblend(batch)
        if smooth:
            return first
        known = told_by(prior, first) if told else None
        return deblend_pixels(prior, first, batch, prior.model_sigma, condition=known, **options)

    return run


def first_deblender(bands, pixel_scale):
    """Return the name of the packaged preset that a prior for some bands and pixels is started from, and its deblender.

    The deblender takes batches in these bands, as they are.

    Raises
    ------
    InputError
        If none has these bands.
    """
    name = nearest_preset(bands, pixel_scale)
    if name is None:
        raise InputError(f"no packaged preset deblends bands {', '.join(bands)}, so there is nothing to start from")
    model = load_for("deblend", name)
    return name, with_bands(functools.partial(deblend, model, method="map"), bands, model.bands)
