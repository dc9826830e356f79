"""Sampled galaxies as another telescope would see them, and the files that hold them."""

import logging
from pathlib import Path

import numpy as np

from galzoo.errors import InputError, UnknownNameError
from galzoo.files import atomic_path

logger = logging.getLogger(__name__)

_IN_FRAME = "noiseless, in the model frame"


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
    from galzoo.simulate.view import Optics, View

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
        "content": "observed" if optics else _IN_FRAME,
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
    from galzoo.simulate.surveys import get_survey
    from galzoo.simulate.view import match_bands

    if noise and survey is None:
        raise InputError("noise is that of a survey; name it (--survey HSC) or leave out --noise")
    if not source.unit and not (survey is None and psf is None and bands is None):
        raise InputError(
            "the galaxies of this model are display-stretched pictures without a flux scale, so no other survey, PSF "
            "or band can be put on them; leave these out for the pictures themselves"
        )
    wanted = bands.split(",") if isinstance(bands, str) else list(bands or ())
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
    from galzoo.simulate.view import sampled_gaussian

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


def write_samples(samples, stamps, folder):
    """Write samples and what `observe` made of them into a folder.

    Parameters
    ----------
    samples : Samples
    stamps : Stamps
        Of the same galaxies.
    folder : str or Path
        Made if absent.

    Returns
    -------
    list of Path
        ``stamps.h5`` (Stamps), ``samples.fits`` (extensions IMAGE and, with noise, VARIANCE as stamp, band, y, x on the
        pixels of the stamps; MODEL_FRAME as stamp, band, y, x on those of the model; CODES where there are any; the
        table CATALOGUE) and ``samples.png``.
    """
    from galzoo.viz.page import page
    from galzoo.viz.panels import save

    if len(samples) != len(stamps):
        raise InputError(f"{len(stamps)} stamps for {len(samples)} samples; they must be the same galaxies")
    paths = [Path(folder) / name for name in ("stamps.h5", "samples.fits", "samples.png")]
    stamps.save(paths[0])
    with atomic_path(paths[1]) as path:
        _fits(samples, stamps).writeto(path, overwrite=True)
    save(page(stamps, samples.condition), paths[2])
    return paths


def _fits(samples, stamps):
    from astropy.io import fits
    from astropy.table import QTable

    def image(name, plane, source, sigma):
        plane = np.asarray(plane)
        plane = np.moveaxis(plane if plane.dtype == np.uint8 else plane.astype(np.float32), -1, 1)
        hdu = fits.ImageHDU(np.ascontiguousarray(plane), name=name)
        hdu.header["BUNIT"] = f"{source.unit}2" if name == "VARIANCE" and source.unit else source.unit
        hdu.header["PIXSCALE"] = source.pixel_scale, "arcsec per pixel"
        if sigma:
            hdu.header["MSIGMA"] = sigma, "pixels, Gaussian PSF"
        for index, band in enumerate(source.bands):
            hdu.header[f"BAND{index}"] = band
        return hdu

    primary = fits.PrimaryHDU()
    primary.header["SURVEY"] = stamps.survey, "who sees the galaxies"
    primary.header["PRIOR"] = samples.survey, "whose galaxies the model was trained on"
    sigma = stamps.meta["model_sigma"] if stamps.meta.get("content") == _IN_FRAME else None
    hdus = [primary, image("IMAGE", stamps.image, stamps, sigma)]
    if stamps.variance is not None:
        hdus.append(image("VARIANCE", stamps.variance, stamps, None))
    hdus.append(image("MODEL_FRAME", samples.image, samples, samples.model_sigma))
    if samples.codes is not None:
        hdus.append(fits.ImageHDU(samples.codes.astype(np.int32), name="CODES"))
    table = fits.table_to_hdu(QTable(stamps.catalogue, copy=True))
    table.name = "CATALOGUE"
    return fits.HDUList([*hdus, table])


def parse_conditions(texts, model, n=1, seed=0):
    """Read what galaxies are asked for.

    Parameters
    ----------
    texts : sequence of str
        Each "column=value", "column=low:high" for values drawn uniformly from a range, or "column=class".
    model : prior
        With ``columns`` and ``condition_ranges``, which maps a column to the (low, high) it had in training, or to the
        list of its classes.
    n : int
        How many values to draw from a range.
    seed : int
        Of those draws.

    Returns
    -------
    dict
        Column to a value or an (n,) array, as ``model.sample`` takes it.

    Raises
    ------
    InputError
        If a text, value or class cannot be understood.
    UnknownNameError
        If the model has no such column.

    Notes
    -----
    Values outside the range of the training are passed on with a warning in the log.
    """
    condition = {}
    for text in texts:
        column, equals, value = (part.strip() for part in text.partition("="))
        if not (column and equals and value):
            raise InputError(f"condition {text!r} cannot be read; give column=value or column=low:high, e.g. mag=22:24")
        if not model.columns:
            raise InputError(f"condition {text!r}: this model has no conditions; leave it out")
        if column not in model.columns:
            raise UnknownNameError.of("condition", column, model.columns)
        if column in condition:
            raise InputError(f"condition {column!r} is given twice; give it once, or a range as low:high")
        known = model.condition_ranges.get(column)
        if isinstance(known, list):
            condition[column] = _class(column, value, known)
        else:
            generator = np.random.default_rng([seed, *column.encode()])
            condition[column] = _number(text, column, value, known, n, generator)
    return condition


def _class(column, value, classes):
    for name in classes:
        if value == str(name) or (isinstance(name, int | float) and value == f"{name:g}"):
            return name
    raise InputError(f"{column}={value}: no such class; known are {', '.join(map(str, classes))}")


def _number(text, column, value, known, n, generator):
    try:
        ends = [float(end) for end in value.split(":")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2) or not np.all(np.isfinite(ends)) or sorted(ends) != ends:
        raise InputError(f"condition {text!r} cannot be read; give a number, or a range as low:high, e.g. mag=22:24")
    if known is not None and not (known[0] <= ends[0] and ends[-1] <= known[1]):
        logger.warning(
            "%s=%s is outside what the model was trained on, %g to %g: its galaxies there are a guess",
            *(column, value, *known),
        )
    return ends[0] if len(ends) == 1 else generator.uniform(*ends, size=n)
