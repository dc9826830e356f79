"""Non-parametric morphology of single galaxies: Gini, M20, concentration, asymmetry, smoothness, size, ellipticity.

Conventions are those of statmorph (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140), against which the tests compare,
except that pixels whose partner in the half turn is off the stamp do not count for the asymmetry, and that a radius
which the stamp cannot hold is NaN.
"""

import numpy as np

from galzoo.errors import InputError
from galzoo.metrics.cas import (
    ANNULUS,
    APERTURE,
    asymmetry_centre,
    fraction_radius,
    growth_curve,
    petrosian_radius,
    sky_asymmetry,
    sky_box,
    sky_smoothness,
    smoothness,
)
from galzoo.metrics.shape import adaptive_moments

STATISTICS = (
    "half_light_radius",
    "ellipticity",
    "e1",
    "e2",
    "sigma",
    "gini",
    "m20",
    "concentration",
    "asymmetry",
    "smoothness",
)
# Pixels of the smoothed image this many sky sigmas up belong to the object, for its centroid and orientation only.
DETECTION = 1.5
DETECTION_SMOOTHING = 1.0
# A noiseless picture still has an edge at this share of its peak.
FLOOR = 1e-3
# Of the image that defines the pixels of Gini and M20, in Petrosian radii (Lotz, Primack & Madau 2004).
SEGMENT_SMOOTHING = 0.2


def morphology(image, mask=None, sky_sigma=None):
    """Measure the structure of the galaxy at the centre of each stamp, in one band.

    Parameters
    ----------
    image : array, (n, y, x)
        Background-subtracted, in any unit.
    mask : bool array, same shape, optional
        True = bad, or a neighbour's; NaN pixels are bad as well.
    sky_sigma : float or array, (n,), optional
        Standard deviation of white noise in a pixel, 0 for noiseless images. By default it is measured, and what the
        sky adds to asymmetry and smoothness is taken from a box of sky on the stamp.

    Returns
    -------
    dict of arrays, (n,)
        ``half_light_radius`` (pixels; circles about the centre of least asymmetry, within 1.5 Petrosian radii, or
        within the stamp where it cannot hold the Petrosian radius), ``e1, e2, ellipticity, sigma`` (distortion, its
        modulus, and pixels, by adaptive moments), ``gini, m20, concentration, asymmetry, smoothness``. NaN where a
        number cannot be measured.

    Raises
    ------
    InputError
        If shapes do not match or the sky sigma is negative.

    References
    ----------
    Lotz, Primack & Madau 2004, AJ 128, 163 (Gini, M20, and equations 10 and 11 for asymmetry and smoothness); Conselice
    2003, ApJS 147, 1; Bershady, Jangren & Conselice 2000, AJ 119, 2645 (concentration). Conselice's smoothness is ten
    times this one.
    """
    from galzoo.data.source import sky_variance

    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 3:
        raise InputError(f"image has shape {image.shape}; give one band as (n, y, x)")
    good = np.isfinite(image)
    if mask is not None:
        if np.shape(mask) != image.shape:
            raise InputError(f"mask has shape {np.shape(mask)}, the image {image.shape}")
        good &= ~np.asarray(mask, dtype=bool)
    if not image.size:
        return {name: np.full(len(image), np.nan) for name in STATISTICS}
    if sky_sigma is None:
        noise = np.sqrt(sky_variance(np.where(good, image, np.nan)[..., None])[:, 0, 0, 0].astype(np.float64))
        sky = [None] * len(image)
    else:
        if np.shape(sky_sigma) not in ((), (len(image),)) or not np.all(np.asarray(sky_sigma) >= 0):
            raise InputError(f"sky_sigma is {sky_sigma}; give a number or ({len(image)},), not negative")
        noise = sky = np.broadcast_to(np.asarray(sky_sigma, dtype=np.float64), len(image))
    image = np.where(good, image, 0.0)
    moments = adaptive_moments(image[..., None], mask=~good[..., None])
    result = {name: np.full(len(image), np.nan) for name in STATISTICS}
    for name in ("e1", "e2", "sigma"):
        result[name] = moments[name][:, 0]
    result["ellipticity"] = np.hypot(result["e1"], result["e2"])
    for stamp in range(len(image)):
        for name, value in _measure(image[stamp], good[stamp], noise[stamp], sky[stamp]).items():
            result[name][stamp] = value
    return result


def _measure(image, good, noise, sky_sigma):
    """Return what can be measured on one stamp."""
    found = _detect(image, good, noise)
    if found is None:
        return {}
    segment, detected = found
    light = np.where(segment, image, 0.0)
    if not light.sum() > 0:
        return {}
    centroid = _centroid(light)
    radius = petrosian_radius(growth_curve(image, good, centroid))
    if not radius > 0:
        inscribed = min(min(c, size - 1 - c) for c, size in zip(centroid, image.shape[::-1], strict=True)) + 0.5
        size = fraction_radius(growth_curve(image, good, centroid), 0.5, inscribed)
        return {"half_light_radius": size}
    box = None if sky_sigma is not None else sky_box(good & ~detected)
    sky = sky_asymmetry(image, box, sky_sigma)
    peak = np.unravel_index(np.argmax(light), light.shape)[::-1]
    centre, asymmetric = asymmetry_centre(image, good, centroid, np.array(peak, float), radius, sky)
    result = {"asymmetry": asymmetric}

    curve = growth_curve(image, good, centre)
    radius = petrosian_radius(curve)
    if radius > 0:
        r20, r50, r80 = (fraction_radius(curve, fraction, APERTURE * radius) for fraction in (0.2, 0.5, 0.8))
        result["half_light_radius"] = r50
        if r20 > 0:
            result["concentration"] = 5 * np.log10(r80 / r20)
        result["smoothness"] = smoothness(image, centre, radius, good, sky_smoothness(image, box, sky_sigma, radius))
    segment = _gini_segment(image, good, light, centroid, centre)
    if segment is not None:
        result["gini"] = gini(image[segment & good])
        result["m20"] = m20(image, segment)
    return result


def _detect(image, good, noise):
    """Return the object nearest the centre of the stamp, and all pixels that are not sky; None without an object."""
    from scipy import ndimage

    threshold = max(DETECTION * noise, FLOOR * image.max(initial=0.0))
    if not 0 < threshold < np.inf:
        return None
    bright = (ndimage.gaussian_filter(image, DETECTION_SMOOTHING, mode="constant") > threshold) & good
    labels, count = ndimage.label(bright, np.ones((3, 3)))
    if not count:
        return None
    y, x = (np.arange(size) - (size - 1) / 2 for size in image.shape)
    distance = np.where(bright, y[:, None] ** 2 + x**2, np.inf)
    return labels == labels.flat[np.argmin(distance)], bright


def _centroid(light):
    total = light.sum()
    centre = np.array([light.sum(0) @ np.arange(light.shape[1]), light.sum(1) @ np.arange(light.shape[0])]) / total
    return np.clip(centre, 0, np.array(light.shape[::-1]) - 1)


def _gini_segment(image, good, light, centroid, centre):
    """Return the pixels brighter than the elliptical Petrosian radius's; None where it cannot be measured."""
    from scipy import ndimage

    y, x = (np.arange(size) - c for size, c in zip(image.shape, centre[::-1], strict=True))
    xx, yy, xy = light.sum(0) @ x**2, light.sum(1) @ y**2, y @ light @ x
    covariance = np.array([[xx, xy], [xy, yy]]) / light.sum()
    small, large = np.linalg.eigvalsh(covariance)
    # Objects thinner than a pixel get its width (SExtractor manual, "infinitely thin" objects).
    if small < 1 / 12:
        covariance += (1 / 12 - min(small, 0.0)) * np.eye(2)
        small, large = np.linalg.eigvalsh(covariance)
    shape, axis_ratio = large * np.linalg.inv(covariance), np.sqrt(small / large)
    radius = petrosian_radius(growth_curve(image, good, centre, shape), axis_ratio)
    if not radius > 0:
        return None
    smooth = ndimage.gaussian_filter(image, SEGMENT_SMOOTHING * radius, mode="constant")
    y, x = np.arange(image.shape[0])[:, None] - centroid[1], np.arange(image.shape[1]) - centroid[0]
    a = np.sqrt(np.maximum(shape[0, 0] * x**2 + shape[1, 1] * y**2 + 2 * shape[0, 1] * y * x, 0.0))
    ring = np.abs(a - radius) <= 0.5 * ANNULUS
    if not ring.any():
        return None
    labels, count = ndimage.label(smooth >= smooth[ring].mean(), np.ones((3, 3)))
    segment = labels == labels.flat[np.argmax(smooth)]
    return segment if count and not segment.all() else None


def gini(values):
    """Measure how unequally light is shared among pixels: 0 for equal pixels, 1 for all light in one.

    Parameters
    ----------
    values : array, any shape
        Absolute values count.

    Returns
    -------
    float
        NaN for fewer than two pixels or no light.

    References
    ----------
    Lotz, Primack & Madau 2004, AJ 128, 163, equation 6.
    """
    values = np.sort(np.abs(np.asarray(values, dtype=np.float64)), axis=None)
    n, total = len(values), values.sum()
    if n < 2 or not total > 0:
        return np.nan
    return float((2 * np.arange(1, n + 1) - n - 1) @ values / ((n - 1) * total))


def m20(image, segment):
    """Measure the second moment of the brightest 20 % of the light, in units of the total's, as a logarithm.

    Parameters
    ----------
    image : array, (y, x)
    segment : bool array, (y, x)
        Pixels of the galaxy.

    Returns
    -------
    float
        log10(M20 / Mtot); NaN without light or for a point.

    References
    ----------
    Lotz, Primack & Madau 2004, AJ 128, 163, equations 7 and 8.
    """
    light = np.where(segment, image, 0.0)
    if not light.sum() > 0:
        return np.nan
    x0, y0 = _centroid(light)
    moment = light * ((np.arange(light.shape[0])[:, None] - y0) ** 2 + (np.arange(light.shape[1]) - x0) ** 2)
    pixels = np.sort(light, axis=None)
    threshold = pixels[np.argmax(np.cumsum(pixels) >= 0.8 * pixels.sum())]
    bright, total = moment[light >= threshold].sum(), moment.sum()
    return float(np.log10(bright / total)) if bright > 0 and total > 0 else np.nan
