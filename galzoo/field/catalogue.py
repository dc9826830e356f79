"""Sources of a whole mosaic as a table, with a segment of pixels each.

References
----------
Bertin & Arnouts 1996, A&AS 117, 393. Barbary 2016, JOSS 1, 58.
"""

import numpy as np
from astropy import units as u
from astropy.table import QTable

from galzoo.data.extraction import extract
from galzoo.data.sky import pixel_to_sky
from galzoo.errors import InputError
from galzoo.field.background import CELL
from galzoo.field.coadd import coadd
from galzoo.field.field import Field
from galzoo.field.photometry import automatic_radius, ellipse_fluxes, ellipses, half_light_radius


def detect(mosaic, threshold=3.0, min_area=5, deblend_levels=32, deblend_contrast=0.005):
    """Detect sources on the sum of all bands, weighted by inverse variance of their sky.

    Parameters
    ----------
    mosaic : Mosaic
        It is read whole, band by band: two float images of its size are held.
    threshold : float
        In units of the sky noise of the sum, a pixel.
    min_area : int
        Least number of connected pixels above it.
    deblend_levels, deblend_contrast : int, float
        As in SExtractor.

    Returns
    -------
    table : QTable
        ``id, x, y`` (0-based pixels), ``flux, flux_err`` (Kron; weighted mean of the bands, unit of the mosaic),
        ``snr, r50, a, b`` (pixels), ``theta`` (radians from x to y), ``flags``, ``npix``, ``segment``, and ``ra, dec``
        where there is a WCS.
    segmentation : int32 array, (y, x)

    Raises
    ------
    InputError
        If nothing is found.
    """
    name = mosaic.planes[0].name
    image, mask, rms = _whole(mosaic)
    if not rms > 0:
        raise InputError(f"{name}: the sky has no noise, so there is no detection threshold; give a catalogue")
    contrast = deblend_contrast
    objects, labels = extract(image, threshold, rms, mask, min_area, deblend_levels, contrast, name=name)
    if not len(objects):
        raise InputError(f"{name}: no source above {threshold} sigma; lower the threshold or give a catalogue")
    return _measure(mosaic, image, mask, rms, objects, labels), labels


def _whole(mosaic):
    """Return the weighted mean of the bands without sky, float32 (y, x), where no band is good, and its noise."""
    field = Field(mosaic, saturation=np.inf, sky_passes=0)
    levels = field.noise_levels()
    if not levels.max() > 0:
        return None, None, 0.0
    weights = 1 / levels**2
    image, mask = np.zeros(field.shape, np.float32), np.zeros(field.shape, bool)
    for y0 in range(0, field.shape[0], CELL):
        rows = slice(y0, min(y0 + CELL, field.shape[0]))
        image[rows], _, mask[rows] = coadd(field.read(rows.start, rows.stop, 0, field.shape[1]), weights)
    return image, mask, float(1 / np.sqrt(weights.sum()))


def _measure(mosaic, image, mask, rms, objects, labels):
    ellipse = ellipses(*(objects[key] for key in ("x", "y", "a", "b", "theta")))
    x, y, a, b, theta = ellipse
    # Neighbours are left out of the apertures by their segments.
    radius = automatic_radius(image, mask, ellipse, labels)
    flux, error, flags = ellipse_fluxes(image[..., None], rms**2, mask[..., None], ellipse, radius, labels)
    flux, error = flux[:, 0], error[:, 0]
    r50 = half_light_radius(image, mask, x, y, 6 * a, flux, labels)
    segment = np.arange(1, len(objects) + 1)
    table = QTable({"id": segment.astype(str), "x": x * u.pix, "y": y * u.pix})
    unit = u.Unit(mosaic.unit) if mosaic.unit else u.dimensionless_unscaled
    table["flux"], table["flux_err"] = flux * unit, error * unit
    table["snr"] = flux / error
    for name, values in (("r50", r50), ("a", a), ("b", b)):
        table[name] = values * u.pix
    table["theta"] = theta * u.rad
    table["flags"] = np.asarray(objects["flag"]) | flags
    table["npix"], table["segment"] = np.asarray(objects["npix"]), segment
    if mosaic.wcs is not None:
        ra, dec = pixel_to_sky(mosaic.wcs, x, y)
        table["ra"], table["dec"] = ra * u.deg, dec * u.deg
    return table
