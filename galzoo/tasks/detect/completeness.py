"""How complete and pure a search is: by a list of what is there, or by artificial sources of known flux."""

import logging
import os

import numpy as np
from astropy import units as u
from astropy.table import QTable

from galzoo.data.columns import find_columns, plain, read_table
from galzoo.data.cutouts import positions as catalogue_positions
from galzoo.data.zeropoint import magnitude_to_njy, njy_to_magnitude
from galzoo.errors import InputError
from galzoo.field.star_light import StarLight
from galzoo.metrics.binned import bin_masks, scatter68
from galzoo.metrics.detection import OUTCOMES, outcome_shares, outcomes, share
from galzoo.metrics.matching import match
from galzoo.metrics.star_catalogues import nearest_stars

logger = logging.getLogger(__name__)

# A star brighter than an artificial one by more than this is another (Stetson & Harris 1988, AJ 96, 909).
_BLENDED = 0.75
# Pixels within which a star must be found.
_STAR_REACH = 1.0
# An artificial source has the colours of one of so many that were found, those nearest to it in magnitude.
_LIKE = 20
# Values that are no AB magnitude stand for a missing one: -99, -1, 0, 99.
_MAGNITUDE_RANGE = 0.0, 50.0
_MAGNITUDES = ("mag", "magnitude", "mag_auto", "mag_i", "imag", "mag_r", "rmag", "i_mag", "r_mag")


def read_truth(truth, columns, field):
    """Return positions (n, 2) in pixels, magnitudes (n,) and their band, of the rows of a list that are on the field.

    Magnitudes that are missing are NaN: such a source is there, though in no bin of magnitude.

    Parameters
    ----------
    truth : path or Table
    columns : dict or None
        As of `galzoo.data.columns.find_columns`, and ``mag``.
    field : Field

    Raises
    ------
    InputError
        If it cannot be read, no row is on the field, or none of those has a magnitude.
    """
    name = str(truth) if isinstance(truth, str | os.PathLike) else "truth"
    table = read_table(truth) if isinstance(truth, str | os.PathLike) else truth
    columns = dict(columns or {})
    wanted = columns.pop("mag", None)
    found = find_columns(table, columns, name)
    x, y = catalogue_positions(field.mosaic, table, found, columns, name)
    lower = {column.lower(): column for column in table.colnames}
    band = _middle(field)
    known = (wanted,) if wanted else (f"mag_{band.lower()}", *_MAGNITUDES)
    column = next((lower[one.lower()] for one in known if one.lower() in lower), None)
    if column is None:
        mend = f"no column {wanted!r}" if wanted else "no magnitude"
        raise InputError(f"{name}: {mend}; name one with --columns mag=..., it has {', '.join(table.colnames)}")
    magnitude, unit = plain(table[column]), str(getattr(table[column], "unit", None) or "mag")
    if magnitude.ndim != 1 or magnitude.dtype.kind not in "fiu" or "mag" not in unit.lower():
        held = f"is in {unit}" if "mag" not in unit.lower() else "holds no numbers"
        raise InputError(f"{name}: column {column} {held}, so no magnitudes; name another (--columns mag=...)")
    magnitude = magnitude.astype(float)
    height, width = field.shape
    inside = np.isfinite(x) & np.isfinite(y)
    inside &= (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    if not inside.any():
        raise InputError(f"{name}: none of {len(x)} rows is on the field ({width}x{height}); check WCS and columns")
    low, high = _MAGNITUDE_RANGE
    magnitude = np.where((magnitude > low) & (magnitude < high), magnitude, np.nan)
    lost = int(np.isnan(magnitude[inside]).sum())
    if lost == inside.sum():
        raise InputError(
            f"{name}: {column} has no magnitude from {low:g} to {high:g} on the field; name another (--columns mag=...)"
        )
    if lost:
        logger.warning(
            "%s: %d of %d sources have no magnitude between %g and %g in %s; they are in no bin of magnitude",
            name, lost, inside.sum(), low, high, column,
        )  # fmt: skip
    named = [one for one in field.bands if column.lower() in (f"mag_{one}".lower(), f"{one}mag".lower())]
    return np.stack([x[inside], y[inside]], axis=-1), magnitude[inside], (named or [band])[0]


def against_truth(field, rows, listed, arcsec, fwhm):
    """Return completeness and purity by magnitude, beside a list of what is there.

    Parameters
    ----------
    field : Field
    rows : dict of arrays
        What was detected.
    listed : (array (n, 2), array (n,), str)
        Of `read_truth`.
    arcsec : float
        Of the matching.
    fwhm : float
        Of the PSF, pixels.

    Returns
    -------
    dict
        ``table`` (QTable, a row a magnitude), ``summary`` (rows for a report), ``outcomes`` (the same).
    """
    places, magnitude, band = listed
    distance = arcsec / field.pixel_scale
    found = np.stack([rows["x"], rows["y"]], axis=-1)
    pair = match(found, places, distance)
    flux = flux_in(rows, field.bands.index(band))
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = njy_to_magnitude(flux)
    edges = _edges(np.append(magnitude, measured))
    hit, true = pair.found_of_truth >= 0, pair.truth_of_found >= 0
    table = _by_magnitude(edges, magnitude, hit, measured, true)
    named = outcomes(found, places, distance, found_reach=_reach(rows, fwhm))
    values = [share(hit), share(true)]
    summary = [{
        "listed": len(places), "detected": len(found), "matched": len(pair.found), "completeness": values[0],
        "purity": values[1], "median distance (arcsec)": float(np.median(pair.distance) * field.pixel_scale)
        if len(pair.distance) else None,
    }]  # fmt: skip
    parts = [
        {"mag": f"{row['low']:g} to {row['high']:g}", "n": row["n"]}
        | {name: (row[name], row[f"{name}_error"]) for name in OUTCOMES}
        for row in outcome_shares(named, magnitude, edges)
        if row["n"]
    ]
    return {"table": table, "summary": summary, "outcomes": parts}


def _reach(rows, fwhm):
    """Return the radius in pixels within which light is a detection's: two sigma of its ellipse, at least a FWHM."""
    return np.maximum(2 * rows["a"], fwhm)


def _by_magnitude(edges, magnitude, hit, measured=None, true=None):
    table = {key: [] for key in ("low", "high", "n", "completeness", "completeness_err")}
    table |= {} if measured is None else {key: [] for key in ("n_detected", "purity", "purity_err")}
    for low, high, members in bin_masks(magnitude, edges):
        value, error = share(hit[members])
        new = {"low": low, "high": high, "n": int(members.sum()), "completeness": value, "completeness_err": error}
        if measured is not None:
            within = (measured >= low) & (measured < high)
            value, error = share(true[within])
            new |= {"n_detected": int(within.sum()), "purity": value, "purity_err": error}
        for key, value in new.items():
            table[key].append(value)
    table = QTable({key: np.array(values) for key, values in table.items()})
    said = {
        "low": "brighter limit of the bin, AB magnitude", "high": "fainter limit", "n": "true sources",
        "completeness": "share of them that was found", "completeness_err": "its standard error",
        "n_detected": "detections of that measured magnitude", "purity": "share of them that is true",
        "purity_err": "its standard error",
    }  # fmt: skip
    for key in table.colnames:
        table[key].info.description = said[key]
    for key in ("low", "high"):
        table[key] = table[key] * u.mag
    return table


def _edges(magnitude):
    # The fainter limit of the last bin is not in it.
    finite = magnitude[np.isfinite(magnitude)]
    low, high = np.floor(finite.min()), np.floor(finite.max()) + 1
    step = 0.5 if high - low <= 12 else 1.0
    return np.arange(low, high + step / 2, step)


def _middle(field):
    return "i" if "i" in field.bands else field.bands[len(field.bands) // 2]


def flux_in(rows, band):
    """Return the fluxes in band number `band`, (n,): the detector's, else those in apertures."""
    return np.where(np.isfinite(rows["flux"][:, band]), rows["flux"][:, band], rows["aperture_flux"][:, band])


class WithSources:
    """A field with artificial sources in it.

    Parameters
    ----------
    field : Field
    corners : int array, (n, 2)
        x, y of the first pixel of each image.
    images : list of arrays, (y, x, band)
    """

    def __init__(self, field, corners, images):
        self._field, self._corners, self._images = field, corners, images

    def __getattr__(self, name):
        return getattr(self._field, name)

    def read(self, y0, y1, x0, x1):
        """Return pixels as `Field.read`, with the sources' light."""
        planes = self._field.read(y0, y1, x0, x1)
        image = planes["image"]
        for (left, low), source in zip(self._corners, self._images, strict=True):
            high, right = low + source.shape[0], left + source.shape[1]
            top, bottom, first, last = max(y0, low), min(y1, high), max(x0, left), min(x1, right)
            if top < bottom and first < last:
                part = source[top - low : bottom - low, first - left : last - left]
                image[top - y0 : bottom - y0, first - x0 : last - x0] += part
        planes["image"] = np.where(planes["mask"], np.float32(0), image)
        return planes


def by_injection(search, rows, settings, pieces=None, progress=False):
    """Add artificial sources to a field, search it again, and see which are found and how well they are measured.

    They are points, exponential discs of about the sizes of faint galaxies, or half of either, each in the colours of a
    source of about its magnitude that was found (of equal magnitude in all bands where fewer than 20 were); they lie on
    a jittered grid, so that they do not blend with each other, though with what is there. Where the gain is
    known they have photon noise of their own. Points must be found within a pixel and .75 mag of what they are, as in
    artificial-star tests of crowded fields; a fainter star nearby does not take a detection of that brightness.

    Parameters
    ----------
    search : galzoo.tasks.detect.run.Search
    rows : dict of arrays
        What was detected without them.
    settings : galzoo.tasks.detect.run.Settings
    pieces : galzoo.tasks.detect.find.Pieces, optional
    progress : bool

    Returns
    -------
    dict
        ``table``: a row a magnitude with completeness, and median and scatter of the measured magnitude less the true
        one; ``summary``, ``sources`` (QTable of what was put in).
    """
    field = search.field
    random = np.random.default_rng(settings.seed)
    places = _grid(field.shape, settings.inject, random)
    limits = settings.inject_magnitudes or _depth(field, search.fwhm)
    magnitude = random.uniform(*limits, len(places))
    kind = np.where(np.arange(len(places)) % 2 == 0, "star", "galaxy")
    if settings.inject_kind != "both":
        kind[:] = settings.inject_kind
    ratios = _colours(rows, field.bands.index(_middle(field)), magnitude, random)
    corners, images, radius = _draw(search, places, magnitude, ratios, kind, random)
    images = [_with_photons(one, field.gain, random) for one in images]
    found, _ = search.run(settings.tile, pieces, progress, field=WithSources(field, corners, images))
    # What was there before takes its own detections first.
    known = np.concatenate([places, np.stack([rows["x"], rows["y"]], axis=-1)])
    at, middle = np.stack([found["x"], found["y"]], axis=-1), field.bands.index(_middle(field))
    flux, put_in = flux_in(found, middle), magnitude_to_njy(magnitude)
    if settings.inject_kind == "star":
        known_flux = np.concatenate([put_in, flux_in(rows, middle)])
        of = nearest_stars(at, flux, known, known_flux, _STAR_REACH, _BLENDED)
    else:
        of = match(at, known, max(settings.match / field.pixel_scale, _STAR_REACH)).found_of_truth
    of = of[: len(places)]
    difference, hit = np.full(len(places), np.nan), of >= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        difference[hit] = njy_to_magnitude(flux)[of[hit]] - magnitude[hit]
    edges = limits[0] + 0.5 * np.arange(int(np.ceil(np.ptp(limits) / 0.5)) + 1)
    table = _by_magnitude(edges, magnitude, of >= 0)
    for name, function, said in (
        ("bias", np.median, "median of the measured magnitude less the true one"),
        ("scatter", scatter68, "half of its 68 % interval"),
    ):
        values = []
        for _, _, members in bin_masks(magnitude, edges):
            good = difference[members][np.isfinite(difference[members])]
            values.append(function(good) if len(good) > 1 else np.nan)
        table[name] = np.array(values) * u.mag
        table[name].info.description = said
    sources = QTable({"x": places[:, 0], "y": places[:, 1], "magnitude": magnitude, "kind": kind, "radius": radius})
    sources["found"], sources["difference"] = of >= 0, difference
    summary = [{"kind": one, "n": int((kind == one).sum()), "completeness": share((of >= 0)[kind == one])}
               for one in ("star", "galaxy") if (kind == one).any()]  # fmt: skip
    return {"table": table, "summary": summary, "sources": sources}


def _with_photons(image, gain, random):
    """Return light with the noise of its photons in the bands whose gain (electrons per unit) is known."""
    variance = np.maximum(image, 0) * np.where(gain > 0, 1 / np.where(gain > 0, gain, 1), 0)
    return (image + np.sqrt(variance) * random.standard_normal(image.shape)).astype(np.float32)


def _grid(shape, n, random):
    """Return n places, a jittered grid over the field, (n, 2); `InputError` where they do not fit."""
    step = np.sqrt(shape[0] * shape[1] / n)
    if step < 12:
        most = int(shape[0] * shape[1] / 144)
        raise InputError(f"--inject is {n}; at most {most} artificial sources fit without touching each other")
    rows, columns = max(1, int(np.ceil(shape[0] / step))), max(1, int(np.ceil(shape[1] / step)))
    cells = random.permutation(rows * columns)[:n]
    y, x = np.divmod(cells, columns)
    places = np.stack([x, y], axis=-1) + random.uniform(0.2, 0.8, (len(cells), 2))
    return places * [shape[1] / columns, shape[0] / rows] - 0.5


def _depth(field, fwhm):
    """Return magnitudes about the depth of the middle band: of 100 sigma to 2 sigma of a point source."""
    noise = field.noise_levels()[field.bands.index(_middle(field))]
    sigma = noise * np.sqrt(4 * np.pi) * fwhm / 2.3548
    return float(njy_to_magnitude(100 * sigma)), float(njy_to_magnitude(2 * sigma))


def _colours(rows, middle, magnitude, random):
    """Return the fluxes of artificial sources in units of that in band number `middle`, (n, band)."""
    flux = np.stack([flux_in(rows, band) for band in range(rows["flux"].shape[1])], axis=-1)
    flux = flux[np.isfinite(flux).all(axis=1) & (flux > 0).all(axis=1)]
    if len(flux) < _LIKE:
        return np.ones((len(magnitude), flux.shape[1]))
    flux = flux[np.argsort(-flux[:, middle], kind="stable")]
    first = np.searchsorted(njy_to_magnitude(flux[:, middle]), magnitude) - _LIKE // 2
    chosen = flux[np.clip(first, 0, len(flux) - _LIKE) + random.integers(_LIKE, size=len(magnitude))]
    return chosen / chosen[:, [middle]]


def _draw(search, places, magnitude, ratios, kind, random):
    """Return corners, images (y, x, band) in nJy of sources, and their half-light radii in arcsec (0: a point)."""
    scale, flux = search.field.pixel_scale, magnitude_to_njy(magnitude)
    radius = np.where(kind == "star", 0.0, np.clip(0.35 * np.exp(random.normal(0, 0.4, len(places))), 0.1, 1.5))
    ratio, angle = random.uniform(0.3, 1, len(places)), random.uniform(0, np.pi, len(places))
    corners, images = [], []
    for row, (x, y) in enumerate(places):
        psfs = np.asarray(search.psf_of(np.array([x]), np.array([y])), float)[0]
        if radius[row] > 0:
            corner, image = _disc(psfs, (x, y), radius[row] / scale, ratio[row], angle[row])
        else:
            light = StarLight(psfs)
            corner, image = light.corners([(x, y)])[0], light.stamps([(x, y)])[0]
        corners.append(corner)
        images.append((image * flux[row] * ratios[row]).astype(np.float32))
    return np.array(corners), images, radius


def _disc(psfs, place, radius, ratio, angle):
    """Return the corner and the image (y, x, band), of unit flux, of an exponential disc through PSFs (p, p, band).

    Place and half-light radius are in pixels.
    """
    import galsim

    side = psfs.shape[0] + 2 * int(np.ceil(6 * radius))
    side += 1 - side % 2
    corner = np.round(place).astype(int) - side // 2
    disc = galsim.Exponential(half_light_radius=radius).shear(q=ratio, beta=angle * galsim.radians)
    image = np.zeros((side, side, psfs.shape[-1]), np.float32)
    for band in range(psfs.shape[-1]):
        # The PSF has the pixel response already.
        light = galsim.Convolve(galsim.InterpolatedImage(galsim.Image(psfs[..., band].copy()), scale=1.0), disc)
        offset = galsim.PositionD(*(np.array(place) - corner - side // 2))
        drawn = light.withFlux(1.0).drawImage(nx=side, ny=side, scale=1.0, offset=offset, method="no_pixel")
        image[..., band] = drawn.array
    return corner, image
