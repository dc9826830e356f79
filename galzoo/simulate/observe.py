"""Noiseless galaxies as a survey would see them: its PSF, pixels, bands and noise."""

import logging

import numpy as np

from galzoo.errors import InputError, UnknownNameError

logger = logging.getLogger(__name__)

IN_FRAME = "noiseless, in the model frame"
"""What stamps hold that no survey has seen, as their ``content`` says."""


def observe(
    samples,
    survey=None,
    bands=None,
    noise=False,
    size=None,
    seed=0,
    depth=1.0,
    psf=None,
    psf_pixel_scale=None,
    vary_psf=True,
    psf_size=41,
):
    """Show samples through a survey's PSF, on its pixels, with its noise.

    Parameters
    ----------
    samples : Samples
        Noiseless galaxies in the model frame.
    survey : Survey or str, optional
        Who looks. Without one the galaxies stay on the pixels of the model and, without `psf` too, in the model frame.
    bands : sequence of str or str, optional
        Bands of the survey (of the model, where there is none), as a list or comma-separated. By default those that
        have the name of a band of the model; where none has, those nearest to the model's in wavelength.
    noise : bool
        Add the survey's noise: sky, read-out and the source's own.
    size : int, optional
        Pixels on a side; by default as many as cover the same field.
    seed : int
        Of PSFs and noise; object k depends on the seed and k alone.
    depth : float
        Exposure in units of the full survey's.
    psf : array (y, x) or (y, x, band), path or sequence of paths, optional
        An own PSF with the pixel response in it, for all objects, instead of the survey's; it is centred.
    psf_pixel_scale : float, optional
        Arcsec per pixel of `psf`; by default from PIXSCALE in the header of a file, else that of the result.
    vary_psf : bool
        Let the survey's PSF differ from object to object as in simulated stamps; else all have the nominal one.
    psf_size : int
        Pixels on a side of the PSF, odd.

    Returns
    -------
    Stamps
        In nJy with a survey, else in the unit of the samples. ``variance`` where there is noise; ``truth``, where the
        image is observed, is the noiseless image in the model frame of the new pixels (``meta["model_sigma"]`` of
        them: as many as in the samples, or more where the new pixels are finer, since nothing is sharpened). The
        catalogue has ``id``, the conditions, ``log_prob``, ``flux_<band>`` of the whole sample and, with noise,
        ``snr`` of the perfect matched filter, all bands together.

    Raises
    ------
    InputError
        If the samples have no flux scale, noise is asked for without a survey, or a size or PSF does not fit.
    UnknownNameError
        If there is no such survey or band.

    Notes
    -----
    A band in which the PSF resolves finer than the model frame keeps the resolution of the model frame: it is named in
    ``meta["kept_resolution"]`` and in a warning of the log. ``meta["bands_from"]`` says which band of the model each
    is made of.
    """
    from galzoo.simulate.other_telescope import Optics, View

    survey, picked = plan(samples, survey, bands, noise, psf)
    if size is not None and size < 1:
        raise InputError(f"size is {size}; give pixels, at least 1")
    if psf_size < 3 or psf_size % 2 == 0:
        raise InputError(f"psf_size is {psf_size}; give an odd number from 3, so that the PSF has a central pixel")
    if not samples.unit:
        return _pictures(samples, size)
    old = samples.image.shape[1:3]
    scale = survey.pixel_scale.to_value("arcsec") if survey else samples.pixel_scale
    new = (size, size) if size else tuple(max(1, round(n * samples.pixel_scale / scale)) for n in old)
    optics = None
    if survey or psf is not None:
        optics = Optics(survey, list(picked), scale, samples.pixel_scale, psf_size, psf, psf_pixel_scale, vary_psf)
    view = View(old, samples.pixel_scale, samples.model_sigma, new, scale, optics)
    kept = [] if optics is None else [name for name, sharp in zip(picked, view.kept, strict=True) if sharp]
    _warn(samples, survey, optics, kept)

    light = np.moveaxis(samples.image[..., list(picked.values())], -1, 1) * (_njy(samples) if survey else 1.0)
    planes = _look(view, light, seed)
    measured = {f"flux_{name}": light[:, band].sum(axis=(1, 2), dtype=float) for band, name in enumerate(picked)}
    if noise:
        planes, measured["snr"] = _with_noise(planes, survey, list(picked), seed, depth)
    meta = {
        "origin": "sampled",
        "content": "observed" if optics else IN_FRAME,
        "model_survey": samples.survey,
        "model_sigma": view.sigma,
        "bands_from": {name: samples.bands[index] for name, index in picked.items()},
        "kept_resolution": kept,
        "psf": "model frame" if optics is None else "own" if psf is not None else "varied" if vary_psf else "nominal",
        "noise": bool(noise),
        "seed": int(seed),
    } | ({"depth": float(depth)} if noise else {})
    return _stamps(samples, planes, tuple(picked), scale, survey, meta, measured)


def plan(source, survey=None, bands=None, noise=False, psf=None, say=True):
    """Say whether galaxies can be shown as asked; quick, so that it is called before sampling.

    Parameters
    ----------
    source : Samples or model
        Anything with ``bands``, ``unit`` and ``survey``.
    survey, bands, noise, psf
        As in `observe`.
    say : bool
        Warn in the log of bands that are far from their stand-ins.

    Returns
    -------
    survey : Survey or None
    picked : dict of str to int
        Bands of the result, and of which of the source's each is made.

    Raises
    ------
    InputError, UnknownNameError
        As `observe` does.
    """
    from galzoo.simulate.other_telescope import match_bands
    from galzoo.simulate.surveys import get_survey

    if noise and survey is None:
        raise InputError("noise is that of a survey; name it (--survey HSC) or leave out --noise")
    if not source.unit and not (survey is None and psf is None and bands is None):
        raise InputError(
            "the galaxies of this model are display-stretched pictures without a flux scale, so no other survey, PSF "
            "or band can be put on them; leave these out for the pictures themselves"
        )
    wanted = [name.strip() for name in bands.split(",")] if isinstance(bands, str) else list(bands or ())
    for name in wanted:
        if wanted.count(name) > 1:
            raise InputError(f"band {name!r} is asked for twice; name each once")
    if survey is not None:
        survey = get_survey(survey) if isinstance(survey, str) else survey
        return survey, match_bands(source.survey, source.bands, survey, wanted, say)
    for name in wanted:
        if name not in source.bands:
            raise UnknownNameError.of("band of the model", name, source.bands)
    return None, {name: list(source.bands).index(name) for name in wanted or source.bands}


def _njy(samples):
    """Return nJy per unit of the samples."""
    from galzoo.data.zeropoint import flux_scale

    try:
        return flux_scale({"BUNIT": samples.unit}, pixel_area=samples.pixel_scale**2)
    except InputError:
        raise InputError(f"samples are in {samples.unit!r}, whose zero point is not known; scale them to nJy") from None


def _warn(samples, survey, optics, kept):
    if optics and not samples.model_sigma:
        logger.warning("the samples are as observed, through a PSF that is not known; the new PSF comes on top of it")
    if kept:
        width = samples.model_sigma * samples.pixel_scale * np.sqrt(8 * np.log(2))
        name = survey.name if survey else "psf"
        logger.warning(
            "%s: the PSF of %s is sharper than the model frame, a Gaussian of %.2f arcsec FWHM: it stays that sharp",
            *(name, ", ".join(kept), width),
        )


def _look(view, light, seed):
    """Return the noiseless planes of images (n, band, y, x)."""
    from galzoo.simulate.other_telescope import sampled_gaussian

    if view.optics is None:
        planes = {"image": [view.frame(image) for image in light]}
        if view.sigma:
            psf = sampled_gaussian(41, view.sigma)[None, :, :, None]
            planes["psf"] = np.repeat(psf, light.shape[1], axis=-1)
    else:
        seen = [
            tuple(part.astype(np.float32) for part in view.look(image, _rng(seed, row, 0)))
            for row, image in enumerate(light)
        ]
        planes = {"image": [image for image, _ in seen]}
        planes["psf"] = np.stack([psf for _, psf in (seen[:1] if view.optics.fixed else seen)])
        if view.sigma:
            planes["truth"] = [view.frame(image).astype(np.float32) for image in light]
    frames = {key: np.moveaxis(np.stack(planes[key]), 1, -1) for key in ("image", "truth") if key in planes}
    return planes | frames


def _with_noise(planes, survey, bands, seed, depth):
    """Return the planes with noise and variance, and the signal-to-noise ratios (n,)."""
    from galzoo.simulate.surveys import electrons_per_njy, noise_sigma

    noiseless = planes["image"]
    sky = np.array([noise_sigma(survey, name, depth) ** 2 for name in bands])
    gain = np.array([electrons_per_njy(survey, name, depth) for name in bands])
    variance = sky + np.maximum(noiseless, 0) / gain
    image = noiseless + np.sqrt(variance) * [
        _rng(seed, row, 1).standard_normal(noiseless.shape[1:]) for row in range(len(noiseless))
    ]
    snr = np.sqrt((noiseless**2 / variance).sum(axis=(1, 2, 3)))
    return planes | {"image": image, "variance": variance}, snr


def _rng(seed, row, use):
    return np.random.default_rng(np.random.SeedSequence([seed, row, use]))


def _pictures(samples, size):
    """Return display-stretched pictures as they are."""
    if size not in (None, *samples.image.shape[1:3]):
        raise InputError(f"size is {size}; pictures stay {samples.image.shape[1]} pixels, as they were drawn")
    image = np.round(np.clip(samples.image, 0, 255)).astype(np.uint8)
    meta = {"origin": "sampled", "content": "pictures", "model_survey": samples.survey}
    return _stamps(samples, {"image": image}, samples.bands, samples.pixel_scale, None, meta, {})


def _stamps(samples, planes, bands, scale, survey, meta, measured):
    from astropy import units as u
    from astropy.table import QTable

    from galzoo.data.stamps import Stamps

    unit = "nJy" if survey else samples.unit
    table = QTable({"id": [str(row) for row in range(len(samples))]})
    for name, values in samples.condition.items():
        taken = name in measured or name in ("id", "log_prob")
        table[f"condition_{name}" if taken else name] = np.asarray(values)
    table["log_prob"] = samples.log_prob
    for name, values in measured.items():
        table[name] = values * u.Unit(unit) if name.startswith("flux_") else values
    name = survey.name if survey else samples.survey
    return Stamps(**planes, bands=bands, pixel_scale=scale, unit=unit, catalogue=table, survey=name, meta=meta)
