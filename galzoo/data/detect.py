"""Find sources in a mosaic with SEP (SExtractor's algorithms).

References
----------
Bertin & Arnouts 1996, A&AS 117, 393. Barbary 2016, JOSS 1, 58.
"""

import numpy as np
from astropy import units as u
from astropy.table import QTable

from galzoo.errors import InputError

# SExtractor's automatic aperture: 2.5 Kron radii, and not below 3.5 pixels across (Bertin & Arnouts 1996).
_KRON_FACTOR = 2.5
_LEAST_RADIUS = 1.75


def detect(mosaic, threshold=3.0, min_area=5, deblend_levels=32, deblend_contrast=0.005, background_pixels=64):
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
    background_pixels : int
        Mesh of the background.

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
    import sep

    image, mask = coadd(mosaic, background_pixels)
    name = mosaic.planes[0].name
    background = sep.Background(image, mask=mask, bw=background_pixels, bh=background_pixels)
    image -= background.back()
    rms = background.globalrms
    if not rms > 0:
        raise InputError(f"{name}: the sky has no noise, so there is no detection threshold; give a catalogue")
    try:
        objects, labels = sep.extract(
            image, threshold, err=rms, mask=mask, minarea=min_area, deblend_nthresh=deblend_levels,
            deblend_cont=deblend_contrast, segmentation_map=True,
        )  # fmt: skip
    except Exception as error:  # sep raises plain Exception, e.g. when its pixel buffer is full
        raise InputError(f"{name}: SEP could not extract sources ({error}); raise the threshold") from None
    if not len(objects):
        raise InputError(f"{name}: no source above {threshold} sigma; lower the threshold or give a catalogue")
    return _measure(mosaic, image, mask, rms, objects, labels), labels


def coadd(mosaic, background_pixels=64):
    """Return the weighted mean of the bands without sky, float32 (y, x), and the mask of pixels that no band has."""
    import sep

    height, width = mosaic.shape
    total, weights = np.zeros(mosaic.shape, np.float32), np.zeros(mosaic.shape, np.float32)
    for band, plane in enumerate(mosaic.planes):
        image = np.array(plane.read(0, height, 0, width), dtype=np.float32) * np.float32(mosaic.scales[band])
        bad = ~np.isfinite(image)
        if mosaic.noise is not None:
            noise = np.asarray(mosaic.noise[band].read(0, height, 0, width))
            bad |= ~np.isfinite(noise) | (noise <= 0)
        if mosaic.flags is not None:
            bad |= np.asarray(mosaic.flags[band].read(0, height, 0, width)) != 0
        image[bad] = 0
        background = sep.Background(image, mask=bad, bw=background_pixels, bh=background_pixels)
        weight = 1 / max(background.globalrms, np.finfo(np.float32).tiny ** 0.4) ** 2
        total += np.where(bad, 0, (image - background.back()) * np.float32(weight))
        weights += np.where(bad, 0, np.float32(weight))
    mask = weights == 0
    return total / np.where(mask, 1, weights), mask


def _measure(mosaic, image, mask, rms, objects, labels):
    import sep

    x, y, a, b = (np.asarray(objects[key], float) for key in ("x", "y", "a", "b"))
    a, b = np.maximum(a, 0.3), np.maximum(b, 0.3)
    theta = np.clip(objects["theta"], -np.pi / 2, np.pi / 2)
    segment = np.arange(1, len(objects) + 1)
    # Neighbours are left out of the apertures by their segments.
    shared = {"mask": mask, "seg_id": segment, "segmap": labels}
    kron, _ = sep.kron_radius(image, x, y, a, b, theta, 6.0, **shared)
    radius = _KRON_FACTOR * np.where(np.isfinite(kron) & (kron > 0), kron, 1)
    radius = np.maximum(radius, _LEAST_RADIUS / np.sqrt(a * b))
    flux, error, flags = sep.sum_ellipse(image, x, y, a, b, theta, radius, err=rms, subpix=5, **shared)
    r50, _ = sep.flux_radius(image, x, y, 6 * a, 0.5, normflux=np.maximum(flux, 1e-30), subpix=5, **shared)
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
        ra, dec = mosaic.wcs.all_pix2world(x, y, 0)
        table["ra"], table["dec"] = ra * u.deg, dec * u.deg
    return table
