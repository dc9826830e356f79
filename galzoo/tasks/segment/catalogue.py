"""The catalogue of a segmented field: position, fluxes and flux-weighted classes of each source."""

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy import ndimage

from galzoo.data.sky import pixel_to_sky
from galzoo.data.zeropoint import AB_NJY, njy_to_magnitude
from galzoo.field.provenance import made_by

FLAGS = {"rim": 1, "bad_pixels": 2, "no_light": 4}
"""Bits of the column ``flags``: the segment touches where nothing voted; has bad pixels; has no positive flux in the
band that its classes are weighted by, so that they are plain means."""

_COLUMNS = {
    "id": "number of the segment in segmentation.fits",
    "x": "centroid of the light in {band}, pixels counted from 0",
    "y": "centroid of the light in {band}, pixels counted from 0",
    "ra": "right ascension, ICRS",
    "dec": "declination, ICRS",
    "x_peak": "brightest pixel in {band}, counted from 0",
    "y_peak": "brightest pixel in {band}, counted from 0",
    "npix": "pixels of the segment",
    "snr": "signal-to-noise ratio of the flux in {band}",
    "class": "the most probable class",
    "flags": "sum of: " + ", ".join(f"{bit} {name}" for name, bit in FLAGS.items()),
}


def make_catalogue(field, segmented, band):
    """Return the catalogue of a segmented field.

    Parameters
    ----------
    field : galzoo.field.field.Field
        It is read once, segment by segment.
    segmented : galzoo.contracts.segmentation.Segmented
    band : str
        Band of the field that classes and positions are weighted by.

    Returns
    -------
    QTable
        ``id, x, y`` (centroid of the light, 0-based pixels), ``ra, dec`` where there is a WCS, ``x_peak, y_peak``,
        ``npix``, ``snr`` (of the flux in `band`), ``class`` (the most probable), ``p_<class>`` of each class but the
        background (sum to 1),
        ``flux_<band>, flux_err_<band>`` (sum over the segment), ``mag_<band>, mag_err_<band>`` (AB) and ``flags``.
    """
    names, labels = segmented.classes[:-1], segmented.segmentation
    weighing = field.bands.index(band)
    rows = []
    for number, box in enumerate(ndimage.find_objects(np.maximum(labels, 0)), 1):
        planes = field.read(box[0].start, box[0].stop, box[1].start, box[1].stop)
        votes = segmented.votes[(slice(None), *box)]
        rows.append(_measure(planes, labels, box, number, votes, weighing))
    table = QTable()
    table["id"] = np.arange(1, len(rows) + 1)
    values = {key: np.array([row[key] for row in rows]) for key in (rows[0] if rows else ())}
    for key in ("x", "y"):
        table[key] = values.get(key, np.zeros(0)) * u.pix
    if field.wcs is not None:
        ra, dec = pixel_to_sky(field.wcs, table["x"].value, table["y"].value)
        table["ra"], table["dec"] = ra * u.deg, dec * u.deg
    for key in ("x_peak", "y_peak"):
        table[key] = values.get(key, np.zeros(0, int)) * u.pix
    table["npix"] = values.get("npix", np.zeros(0, int))
    flux = values.get("flux", np.zeros((0, len(field.bands))))
    error = np.sqrt(values.get("variance", flux))
    with np.errstate(divide="ignore", invalid="ignore"):
        table["snr"] = flux[:, weighing] / error[:, weighing]
    classes = values.get("classes", np.zeros((0, len(names))))
    table["class"] = np.array(names)[classes.argmax(axis=1)] if rows else np.zeros(0, "U1")
    for index, name in enumerate(names):
        table[f"p_{name}"] = classes[:, index]
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = njy_to_magnitude(flux)
        mag_error = np.where(flux > 0, 2.5 / np.log(10) * error / np.where(flux > 0, flux, 1), np.nan)
    for index, name in enumerate(field.bands):
        table[f"flux_{name}"], table[f"flux_err_{name}"] = flux[:, index] * u.nJy, error[:, index] * u.nJy
        table[f"mag_{name}"], table[f"mag_err_{name}"] = mag[:, index] * u.mag, mag_error[:, index] * u.mag
    table["flags"] = values.get("flags", np.zeros(0, int))
    for name in table.colnames:
        table[name].info.description = description(name, band)
    table.meta |= made_by()
    table.meta |= {"zero_point_ab": AB_NJY, "pixel_scale_arcsec": field.pixel_scale, "flag_bits": dict(FLAGS)}
    return table


def description(name, band):
    """Return what a column is in words.

    Parameters
    ----------
    name : str
    band : str
        Of the light that classes and positions are weighted by.
    """
    if name in _COLUMNS:
        return _COLUMNS[name].format(band=band)
    kind, _, rest = name.partition("_")
    if kind == "p":
        return f"share of {rest} in the classes of its pixels, weighted by light in {band}"
    what = {"flux": "sum of the pixels of the segment", "mag": "AB magnitude of that"}[kind]
    if rest.startswith("err_"):
        return f"standard deviation of {kind}_{rest[4:]}"
    return f"{what}, band {rest}"


def _measure(planes, labels, box, number, votes, weighing):
    own = labels[box] == number
    line, column = np.nonzero(own)
    image, bad = planes["image"][own].astype(float), planes["mask"][own]
    light = np.maximum(image[:, weighing], 0)
    dark = not light.sum() > 0
    weight = np.ones(len(light)) if dark else light
    peak = int(np.argmax(image[:, weighing]))
    classes = votes[:-1][:, own].astype(float) @ weight
    total = classes.sum()
    around = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    grown = ndimage.binary_dilation(labels[around] == number)
    variance = np.where(bad, 0, planes["variance"][own])
    return {
        "x": box[1].start + np.average(column, weights=weight),
        "y": box[0].start + np.average(line, weights=weight),
        "x_peak": box[1].start + column[peak],
        "y_peak": box[0].start + line[peak],
        "npix": len(light),
        "classes": classes / total if total > 0 else np.full(len(classes), 1 / len(classes)),
        "flux": image.sum(axis=0),
        "variance": variance.sum(axis=0, dtype=float),
        "flags": FLAGS["rim"] * bool((labels[around][grown] < 0).any())
        + FLAGS["bad_pixels"] * bool(bad.any())
        + FLAGS["no_light"] * dark,
    }
