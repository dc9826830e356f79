"""Sampled galaxies as another telescope would see them, and the files that hold them."""

import logging
import math
import re
from pathlib import Path

import numpy as np

from galzoo.data.hdus import ascii_columns, ascii_text
from galzoo.errors import InputError, UnknownNameError
from galzoo.field.provenance import CREATOR
from galzoo.files import atomic_path
from galzoo.simulate.observe import IN_FRAME
from galzoo.values import split_numbers

logger = logging.getLogger(__name__)


def write_samples(samples, stamps, folder, names=None):
    """Write samples and what `observe` made of them into a folder.

    Parameters
    ----------
    samples : Samples
    stamps : Stamps
        Of the same galaxies.
    folder : str or Path
        Made if absent.
    names : dict, optional
        Of classes, see `class_names`; the picture has them in place of numbers.

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
    save(page(stamps, samples.condition, names=names), paths[2])
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
    primary.header["CREATOR"] = CREATOR
    primary.header["SURVEY"] = ascii_text(stamps.survey), "who sees the galaxies"
    primary.header["PRIOR"] = ascii_text(samples.survey), "whose galaxies the model was trained on"
    sigma = stamps.meta["model_sigma"] if stamps.meta.get("content") == IN_FRAME else None
    hdus = [primary, image("IMAGE", stamps.image, stamps, sigma)]
    if stamps.variance is not None:
        hdus.append(image("VARIANCE", stamps.variance, stamps, None))
    hdus.append(image("MODEL_FRAME", samples.image, samples, samples.model_sigma))
    if samples.codes is not None:
        hdus.append(fits.ImageHDU(samples.codes.astype(np.int32), name="CODES"))
    table = fits.table_to_hdu(ascii_columns(QTable(stamps.catalogue, copy=True)))
    table.name = "CATALOGUE"
    return fits.HDUList([*hdus, table])


def class_names(card):
    """Return what the classes of a preset's conditions are called, by column and number, as its card says."""
    named = card.get("data", {}).get("meta", {}).get("class_names", {})
    return {column: {float(value): name for value, name in names.items()} for column, names in named.items()}


def parse_conditions(texts, model, n=1, seed=0, names=None):
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
    names : dict, optional
        Of classes, see `class_names`; they can be asked for by name.

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
            condition[column] = _class(column, value, known, (names or {}).get(column, {}))
        else:
            generator = np.random.default_rng([seed, *column.encode()])
            condition[column] = _number(text, column, value, known, n, generator)
    return condition


def _class(column, value, classes, names):
    for number in classes:
        if value in (str(number), _plain(number), names.get(number)):
            return number
    known = (f"{_plain(number)} ({names[number]})" if number in names else _plain(number) for number in classes)
    raise InputError(f"{column}={value}: no such class; known are {', '.join(known)}")


def _plain(value):
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _number(text, column, value, known, n, generator):
    ends = split_numbers(value)
    if len(ends) not in (1, 2) or not np.all(np.isfinite(ends)) or sorted(ends) != ends:
        raise InputError(f"condition {text!r} cannot be read; give a number, or a range as low:high, e.g. mag=22:24")
    if known is not None and not (known[0] <= ends[0] and ends[-1] <= known[1]):
        # Ends that are rounded inwards can be typed: the exact ones would look like those that were asked for.
        outside = [f"below {_inside(known[0], math.ceil)}"] if ends[0] < known[0] else []
        outside += [f"above {_inside(known[1], math.floor)}"] if ends[-1] > known[1] else []
        logger.warning(
            "%s=%s goes %s, outside what the model was trained on, %g to %g: its galaxies there are a guess",
            *(column, value, " and ".join(outside), *known),
        )
    return ends[0] if len(ends) == 1 else generator.uniform(*ends, size=n)


def _inside(end, rounded):
    """Return an end of a range with four digits, rounded into the range."""
    step = 10.0 ** (math.floor(math.log10(abs(end))) - 3) if end else 1.0
    return f"{rounded(end / step) * step:g}"


def warnings_of(card):
    """Return the sentences of a card's limits that call its samples a toy."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(card.get("limits", "").split()))
    return [sentence for sentence in sentences if re.search(r"\btoy\b", sentence, re.IGNORECASE)]
