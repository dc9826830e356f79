"""What maps that go with images say of themselves: which kind of noise, of which band, and which bits are bad."""

import logging
import re
import warnings
from pathlib import Path

import numpy as np

from galzoo.data import fits_keywords
from galzoo.data.fits_keywords import filter_of
from galzoo.data.hdus import split_extension
from galzoo.data.no_data import sky_of, some_rows
from galzoo.data.plain import check_whole
from galzoo.data.sky import largest_shift, read_wcs
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

OPTIONS = {"rms": "a standard deviation (--rms)", "variance": "a variance (--variance)",
           "weight": "an inverse variance (--weight)"}  # fmt: skip
"""What a noise map may hold, and the option that takes it."""
_TIME = "an exposure time"
_HOLDS = OPTIONS | {"time": _TIME}
_SECONDS = {"sec", "secs", "seconds", "ksec", "minutes", "mins", "hours", "hrs"}
# Words for the kinds: astropy's CCDData (UTYPE), ESO's and OGIP's data products (HDUCLAS3).
_STATED = {
    "UTYPE": {"stddevuncertainty": "rms", "std": "rms", "varianceuncertainty": "variance", "var": "variance",
              "inversevariance": "weight", "ivar": "weight"},
    "HDUCLAS3": {"rmse": "rms", "mse": "variance", "invmse": "weight"},
}  # fmt: skip
_POWERS = {"rms": 1, "variance": 2, "weight": -2}
_SAME_UNIT = 1e-6
# The largest weight is the exposure time if they differ by less than this part.
_SAME_TIME = 0.01
_NAMES = {
    "rms": re.compile(r"(?i)err(ors?)?|rms|sig(ma)?|std(dev)?|rms_?map|sigma_?map"),
    "variance": re.compile(r"(?i)var(iance)?(_(poisson|rnoise|flat))?|stat|var_?map"),
    "weight": re.compile(r"(?i)weights?|wht|wgt|ivar|inv_?var(iance)?|inverse_?variance|weight_?map"),
    "time": re.compile(r"(?i)(eff|tot|t)?_?exp(os|osure)?s?_?(time|map)?s?|x?posure"),
}
# Maps may be this many pixels off their image; those of other images are further.
_MOST_SHIFT = 1.0
# Variances above so many times that of the deepest pixels, this part of all, stand for no exposure, as 1e10 does in an
# rms map; the light of saturated stars reaches 1e5.
_NO_EXPOSURE, _DEEPEST = 1e8, 0.05
# Planes of masks of the LSST pipelines, HSC's among them, whose pixels hold no measurement; the others tell of sources,
# of neighbours or of how a coadd was made (`lsst.afw.image.Mask`; pipelines.lsst.io).
_NO_MEASUREMENT = ("BAD", "SAT", "CR", "NO_DATA", "UNMASKEDNAN", "STREAK")
# Of the bits of the Legacy Surveys' maskbits, those of saturation and of pixels without a good exposure
# (legacysurvey.org/dr10/bitmasks).
_BAD_MASKBITS = ("MB_SAT", "MB_ALL")
# Of the bits of JWST's data quality, the one that stands for all others (jwst-pipeline.readthedocs.io, DO_NOT_USE).
_JWST_BITS = 1
# Share of bad pixels above which something is odd, and of bright ones (of this significance, if they are so many) where
# few others are bad: the map tells of sources.
_MOST_BAD, _MOST_BRIGHT, _FEW, _BRIGHT, _LEAST = 0.5, 0.8, 0.2, 5.0, 50


def check_noise(plane, kind, image):
    """Raise `InputError` where a noise map says that it is of another kind; say so where only its file name does.

    Parameters
    ----------
    plane : Plane
    kind : {"weight", "rms", "variance"}
        What it was given as.
    image : Plane
        To which it belongs.
    """
    header, own = plane.header, None
    for key, words in _STATED.items():
        text = str(header.get(key) or "").strip()
        own = own or words.get(text.lower())
        if own is not None and own != kind:
            raise InputError(f"{plane.name}: {key} is {text}: it holds {OPTIONS[own]}, given as {OPTIONS[kind]}")
    if kind == "weight":
        _say_seconds(plane, image)
    if own is not None:
        return
    power, text = _power(header.get("BUNIT"), image.header.get("BUNIT")), str(header.get("BUNIT"))
    if _is_time(header.get("BUNIT")):
        raise InputError(
            f"{plane.name}: BUNIT is {text}: it holds {_TIME}, given as {OPTIONS[kind]}; leave it out, "
            "or give a map of the noise"
        )
    if power in (2, -2) and kind != (stated := {2: "variance", -2: "weight"}[power]):
        raise InputError(f"{plane.name}: BUNIT is {text}: it holds {OPTIONS[stated]}, given as {OPTIONS[kind]}")
    name = str(header.get("EXTNAME") or "").strip()
    stated = _kind_of(name)
    if stated is not None and stated != kind:
        raise InputError(
            f"{plane.name}: the extension is called {name}: it holds {_HOLDS[stated]}, given as {OPTIONS[kind]}; "
            "rename the extension if that is wrong"
        )
    if power == 1 and kind != "rms":
        logger.warning("%s: BUNIT is %s, that of the image, but it is taken as %s", plane.name, text, OPTIONS[kind])
    stem = Path(split_extension(plane.name)[0]).name.partition(".fits")[0]
    words = {_kind_of(word) for word in re.split(r"[._\-\s]+", stem)} - {None}
    if stated is None and words and kind not in words:
        logger.warning("%s: by its name %s, but it is taken as %s", plane.name, _HOLDS[min(words)], OPTIONS[kind])


def _say_seconds(plane, image):
    """Say in the log where the largest value of a weight map is the exposure time, as Hubble's have."""
    time = fits_keywords.seconds(image.header)
    values = some_rows(plane.read, plane.shape)
    largest = np.max(values, where=np.isfinite(values), initial=0)
    if time > 1 and abs(largest / time - 1) < _SAME_TIME:
        logger.warning(
            "%s: its largest value is the exposure time, %g s, so it may be no inverse variance, as which it is taken; "
            "leave it out, or give --rms", plane.name, time,
        )  # fmt: skip


def _is_time(unit):
    from astropy import units as u

    text = str(unit or "").strip().lower()
    with warnings.catch_warnings():
        # astropy warns of several slashes.
        warnings.simplefilter("ignore")
        # Small letters: S is a unit of another thing.
        return text in _SECONDS or u.Unit(text, parse_strict="silent").is_equivalent(u.s)


def _kind_of(word):
    return next((kind for kind, pattern in _NAMES.items() if pattern.fullmatch(word)), None)


def noise_factor(plane, kind, image):
    """Return by what a noise map is to be multiplied to be in the unit of its image (or the power that it is of).

    It is 1 where one of the two headers has no unit, or has another than the flux of the other.

    Parameters
    ----------
    plane, kind, image
        As in `check_noise`.
    """
    unit, base = _units(plane.header.get("BUNIT"), image.header.get("BUNIT"))
    wanted = None if base is None else base ** _POWERS[kind]
    if wanted is None or not unit.is_equivalent(wanted):
        return 1.0
    factor = float(unit.to(wanted))
    if abs(factor - 1) > _SAME_UNIT:
        logger.warning("%s: is in %s, brought to the unit of %s (%s)", plane.name, unit, image.name, base)
        return factor
    return 1.0


def _power(unit, base):
    """Return to which power a unit is another one, None where that is not known."""
    unit, base = _units(unit, base)
    return None if base is None else next((power for power in (1, 2, -2) if unit.is_equivalent(base**power)), None)


def _units(unit, base):
    """Return two units that headers state, None for both where one of them is none, or not known."""
    from astropy import units as u

    with warnings.catch_warnings():
        # What FITS discourages but astropy understands.
        warnings.simplefilter("ignore", u.UnitsWarning)
        try:
            unit, base = (u.Unit(str(one or ""), parse_strict="raise") for one in (unit, base))
        except (ValueError, TypeError):
            return None, None
    known = all(isinstance(one, u.UnitBase) and one != u.dimensionless_unscaled for one in (unit, base))
    return (unit, base) if known else (None, None)


def variance_of(noise, kind):
    """Return the variance that a noise map stands for, in its own unit; infinite where it is no number above 0.

    Parameters
    ----------
    noise : float64 array
    kind : {"weight", "rms", "variance"}
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        variance = {"weight": np.reciprocal, "rms": np.square, "variance": np.array}[kind](noise)
        # A negative rms has a positive square.
        return np.where(np.isfinite(variance) & (variance > 0) & (noise > 0), variance, np.inf)


def most_noise(plane, kind):
    """Return the variance, in the unit of a noise map, above which a pixel holds no data; infinite where not known."""
    values = variance_of(some_rows(plane.read, plane.shape).astype(np.float64), kind)
    values = values[np.isfinite(values)]
    return _NO_EXPOSURE * np.quantile(values, _DEEPEST) if len(values) else np.inf


def check_place(plane, image, wcs):
    """Raise `InputError` where a map is of the right shape, but of another place on the sky than its image."""
    own = read_wcs(plane.header, plane.name, plane.hdus)
    if own is None or wcs is None:
        return
    moved = largest_shift(wcs, own, image.shape)
    if moved > _MOST_SHIFT:
        far = f"{moved:.1f} px off" if np.isfinite(moved) else "nowhere near"
        raise InputError(f"{plane.name}: its WCS is {far} {image.name}; give the map of that image")


def check_bands(planes, bands, images=(), what="maps"):
    """Raise `InputError` where maps, one a band, are not in the order of the bands.

    Parameters
    ----------
    planes : sequence of Plane
    bands : sequence of str
    images : sequence of Plane, optional
        Whose headers may call the bands otherwise.
    what : str
        The maps, in the plural.
    """
    known = [{str(band).lower()} for band in bands]
    for names, called in zip(known, _called(images), strict=False):
        names.update(name.lower() for name in called)
    if len(planes) != len(known):
        return
    for number, (plane, called) in enumerate(zip(planes, _called(planes), strict=True)):
        for own in called:
            others = [band for band, names in zip(bands, known, strict=True) if own.lower() in names]
            if others and own.lower() not in known[number]:
                raise InputError(
                    f"{plane.name}: is of the band {own}, but comes in the place of {bands[number]}; give {what} in "
                    "the order of the bands"
                )
    for plane, image in zip(planes, images, strict=False):
        own, other = filter_of(plane.header), filter_of(image.header)
        if own and other and own.lower() != other.lower():
            logger.warning("%s: is of the filter %s, its image %s of %s", plane.name, own, image.name, other)


def say_filter(planes, bands, named=True):
    """Say in the log where the header of a lone image states another filter than the band that it is given as.

    Where bands are not `named`, say so if no header names them.
    """
    if not named and not all(filter_of(plane.header) in bands for plane in planes):
        called = ", ".join(map(str, bands))
        logger.warning("%s: its header has no filter; bands are called %s, --bands names them", planes[0].name, called)
    own = filter_of(planes[0].header) if len(planes) == 1 else ""
    # Words: HSC-I and r.MP9602 are i and r.
    if own and str(bands[0]).lower() not in [own.lower(), *re.split("[^a-z0-9]+", own.lower())]:
        logger.warning("%s: its header has the filter %s; taken as band %s", planes[0].name, own, bands[0])


def _called(planes):
    """Return what headers call the band of each plane, a list each: the filter, and the extension.

    The one header of a cube says nothing of its layers, nor does a filter that all extensions of a file inherit.
    """
    headers = [plane.header for plane in planes]
    several = len(planes) > 1
    if several and all(header is headers[0] for header in headers):
        return [[] for _ in planes]
    filters, names = [filter_of(header) for header in headers], [plane.name for plane in planes]
    one_file = len({split_extension(name)[0] for name in names}) == 1 and len(set(names)) == len(names)
    if several and one_file and len(set(filters)) == 1:
        filters = [""] * len(planes)
    extensions = [str(header.get("EXTNAME") or "").strip() for header in headers]
    return [[name for name in pair if name] for pair in zip(filters, extensions, strict=True)]


def bad_bits(plane):
    """Return the bits of a flag map that mean a bad pixel, None where all do."""
    header = plane.header
    planes = {str(key)[3:]: header[key] for key in header if str(key).startswith("MP_")}
    if planes:
        bad = [name for name in _NO_MEASUREMENT if name in planes]
        logger.warning("%s: of its planes %s are bad pixels, the others tell of something else", plane.name,
                       ", ".join(bad) or "none")  # fmt: skip
        return sum(1 << int(planes[name]) for name in bad)
    masks = {str(key): header[key] for key in header if str(key).startswith("MB_")}
    if masks:
        bad = [key for key in masks if key.startswith(_BAD_MASKBITS)]
        logger.warning("%s: of its bits %s are bad pixels, the others tell of what is near", plane.name,
                       ", ".join(bad) or "none")  # fmt: skip
        return int(np.bitwise_or.reduce([int(masks[key]) for key in bad] or [0]))
    if str(header.get("TELESCOP", "")).strip().upper() == "JWST":
        logger.warning("%s: of its bits only DO_NOT_USE is a bad pixel", plane.name)
        return _JWST_BITS
    return None


def flagged(flags, bits=None):
    """Return which pixels are bad, a bool array: those that are not 0, or have any of `bits`."""
    flags = np.asarray(flags)
    if bits is None:
        return flags != 0
    whole = np.nan_to_num(flags).clip(0, 2.0**63) if flags.dtype.kind == "f" else flags
    return (whole.astype(np.uint64) & np.uint64(bits)) != 0


def check_flags(plane, bits=None, image=None):
    """Say where most of a flag map is bad, as where 1 means a good pixel, or sources are, as where bits tell of them.

    Parameters
    ----------
    plane : Plane
    bits : int, optional
        See `bad_bits`.
    image : Plane, optional
        To which it belongs.
    """
    bad = flagged(some_rows(plane.read, plane.shape), bits)
    if bad.mean() > _MOST_BAD:
        logger.warning(
            "%s: %.0f %% of its pixels are not 0, which means bad; if 1 means good there, invert it",
            plane.name, 100 * bad.mean(),
        )  # fmt: skip
    elif image is not None and bad.any():
        middle, scatter, values = sky_of(image)
        bright = values > middle + _BRIGHT * scatter
        if bright.sum() >= _LEAST and bad[bright].mean() > _MOST_BRIGHT and bad[~bright].mean() < _FEW:
            logger.warning(
                "%s: flags %.0f %% of the bright pixels of %s and %.0f %% of the others; if its bits tell of sources, "
                "keep those of bad pixels alone",
                plane.name, 100 * bad[bright].mean(), image.name, 100 * bad[~bright].mean(),
            )  # fmt: skip


def labels_of(plane, window):
    """Return the labels of a segmentation map in a window y0, y1, x0, x1, 0 where there is no source.

    Raises
    ------
    InputError
        If they are below 0, no whole numbers, or larger than their type tells apart.
    """
    labels = np.asarray(plane.read(*window))
    if labels.dtype.kind == "f":
        labels = np.nan_to_num(labels)
        # Whole numbers beyond this are no longer told apart.
        if labels.dtype.itemsize == 4 and np.abs(labels).max(initial=0) >= 1 << 24:
            raise InputError(
                f"{plane.name}: labels of {np.abs(labels).max():.0f} as 32-bit floats have run into each other; write "
                "the map with whole numbers"
            )
        check_whole(labels, plane.name)
    if labels.min(initial=0) < 0:
        raise InputError(f"{plane.name}: labels below 0 ({labels.min():.0f}); write 0 where there is no source")
    return labels
