"""Flux, size and ellipticity of single objects on stamps."""

import numpy as np

from galzoo.errors import InputError

# Sub-pixels per pixel and axis where an aperture's edge must be finer than a pixel.
OVERSAMPLING = 5


def _stack(image):
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 4:
        raise InputError(f"image has shape {image.shape}; stamps are (n, y, x, band)")
    return image


def _centres(image, centre):
    """Return centres as x, y with shape (n, band, 2); the stamp's centre where none is given or it is not finite."""
    n, height, width, bands = image.shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    if centre is None:
        return np.broadcast_to(middle, (n, bands, 2))
    centre = np.asarray(centre, dtype=np.float64)
    if centre.shape == (n, 2):
        centre = centre[:, None]
    if centre.shape not in ((n, 1, 2), (n, bands, 2)):
        raise InputError(f"centre has shape {centre.shape}; give x, y as ({n}, 2) or ({n}, {bands}, 2)")
    return np.broadcast_to(np.where(np.isfinite(centre).all(-1, keepdims=True), centre, middle), (n, bands, 2))


def aperture_flux(image, radius=None, centre=None, mask=None):
    """Sum the pixels of each stamp, all of them or those in a circle.

    Parameters
    ----------
    image : array, (n, y, x, band)
    radius : float or array, (n,), optional
        Radius of the circle in pixels; pixels on its edge count by the share of their sub-pixels inside.
    centre : array, (n, 2) or (n, band, 2), optional
        x, y in pixels, 0-based; the centre of the stamp by default.
    mask : bool array, same shape, optional
        True = bad; such pixels count as zero.

    Returns
    -------
    array, (n, band)
        In the unit of the image; NaN where a pixel that counts is NaN.
    """
    image = _stack(image)
    if mask is not None:
        image = np.where(mask, 0.0, image)
    if radius is None:
        return image.sum(axis=(1, 2))
    radius = np.broadcast_to(radius, len(image))
    if not np.all(radius > 0):
        raise InputError(f"aperture radius is {np.min(radius)}; give pixels, above 0")
    offsets = (np.arange(OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5
    y = (np.arange(image.shape[1])[:, None] + offsets).ravel()
    x = (np.arange(image.shape[2])[:, None] + offsets).ravel()
    centres = _centres(image, centre)
    result = np.empty((len(image), image.shape[-1]))
    for stamp, band in np.ndindex(result.shape):
        x0, y0 = centres[stamp, band]
        distance = np.hypot(y[:, None] - y0, x - x0)
        # Sub-pixels on the edge count by how far inside they are.
        inside = np.clip((radius[stamp] - distance) * OVERSAMPLING + 0.5, 0.0, 1.0)
        share = inside.reshape(image.shape[1], OVERSAMPLING, image.shape[2], OVERSAMPLING).mean(axis=(1, 3))
        result[stamp, band] = np.sum(np.where(share > 0, share * image[stamp, :, :, band], 0.0))
    return result


def half_light_radius(image, centre=None, e1=0.0, e2=0.0, limit=None):
    """Measure the radius that holds half of the light, from the growth curve.

    The total is the light in the largest aperture that fits the stamp, or in one of radius `limit`. The image is taken
    as samples of a smooth profile, interpolated by cubic splines; it should not be undersampled.

    Parameters
    ----------
    image : array, (n, y, x, band)
    centre : array, (n, 2) or (n, band, 2), optional
        x, y in pixels, 0-based; the centre of the stamp by default and where it is NaN.
    e1, e2 : float or array, (n,)
        Distortion (a^2 - b^2) / (a^2 + b^2) of elliptical apertures; 0 for circles.
    limit : float or array, (n,), optional
        Circularised radius in pixels of the aperture that holds the total.

    Returns
    -------
    array, (n, band)
        Pixels; for ellipses the circularised radius, sqrt(a b). NaN where the light is not positive or not finite.
    """
    image = _stack(image)
    centres = _centres(image, centre)
    limit = np.inf if limit is None else limit
    e1, e2, limit = (np.broadcast_to(value, len(image)) for value in (e1, e2, limit))
    result = np.full((len(image), image.shape[-1]), np.nan)
    for stamp, band in np.ndindex(result.shape):
        pixels, centre = image[stamp, :, :, band], centres[stamp, band]
        result[stamp, band] = _half_light(pixels, centre, e1[stamp], e2[stamp], limit[stamp])
    return result


def _half_light(image, centre, e1, e2, limit):
    from scipy import ndimage

    if not (np.isfinite(image).all() and e1**2 + e2**2 < 1):
        return np.nan
    step = 1 / OVERSAMPLING
    axes = [np.arange(-0.5 + step / 2, size - 0.5, step) for size in image.shape]
    y, x = np.meshgrid(*axes, indexing="ij")
    dx, dy = x - centre[0], y - centre[1]
    # On the ellipse of circularised radius r this equals r^2.
    distance = ((1 - e1) * dx**2 + (1 + e1) * dy**2 - 2 * e2 * dx * dy) / np.sqrt(1 - e1**2 - e2**2)
    rim = np.concatenate([distance[0], distance[-1], distance[:, 0], distance[:, -1]])
    inside = distance < min(rim.min(), limit**2)
    order = np.argsort(distance[inside], kind="stable")
    fine = ndimage.map_coordinates(image, [y[inside][order], x[inside][order]], order=3, mode="nearest")
    growth = np.cumsum(fine)
    if not len(growth) or not growth[-1] > 0:
        return np.nan
    # The radius is that of a circle with the area of the sub-pixels so far, which is smoother than their distances.
    above = int(np.argmax(growth >= 0.5 * growth[-1]))
    before = growth[above - 1] if above else 0.0
    area = above + (0.5 * growth[-1] - before) / (growth[above] - before)
    return step * np.sqrt(area / np.pi)


def adaptive_moments(image, mask=None, guess_sigma=3.0):
    """Measure centre, size and ellipticity by adaptive moments (GalSim's HSM).

    Parameters
    ----------
    image : array, (n, y, x, band)
    mask : bool array, same shape, optional
        True = bad.
    guess_sigma : float
        First guess of the size in pixels.

    Returns
    -------
    dict of arrays, (n, band)
        ``e1, e2`` (distortion (a^2 - b^2) / (a^2 + b^2), axes x and y of the image), ``sigma`` (pixels), ``x, y``
        (pixels, 0-based) and ``flag`` (True where the measurement failed; its numbers are NaN).

    References
    ----------
    Hirata & Seljak 2003, MNRAS 343, 459; Mandelbaum et al. 2005, MNRAS 361, 1287.
    """
    image = _stack(image)
    if mask is not None and np.shape(mask) != image.shape:
        raise InputError(f"mask has shape {np.shape(mask)}, the image {image.shape}")
    shape = (len(image), image.shape[-1])
    result = {key: np.full(shape, np.nan) for key in ("e1", "e2", "sigma", "x", "y")}
    result["flag"] = np.ones(shape, bool)
    for stamp, band in np.ndindex(shape):
        bad = None if mask is None else np.asarray(mask, dtype=bool)[stamp, :, :, band]
        measured = _moments(image[stamp, :, :, band], bad, guess_sigma)
        if measured is not None:
            for key, value in measured.items():
                result[key][stamp, band] = value
            result["flag"][stamp, band] = False
    return result


def _moments(image, bad, guess_sigma):
    import galsim

    if bad is None:
        bad = np.zeros(image.shape, bool)
    bad = bad | ~np.isfinite(image)
    if bad.all() or not np.any(image[~bad] > 0):
        return None
    # HSM's convergence depends on the scale of the pixel values through its absolute tolerances.
    scaled = np.where(bad, 0.0, image)
    scaled = scaled / np.abs(scaled).max()
    badpix = galsim.Image(bad.astype(np.int32), xmin=0, ymin=0) if bad.any() else None
    try:
        fit = galsim.hsm.FindAdaptiveMom(
            galsim.Image(scaled, xmin=0, ymin=0), badpix=badpix, guess_sig=guess_sigma, strict=False
        )
    except galsim.GalSimError:
        return None
    if fit.error_message or fit.moments_status != 0 or not fit.moments_sigma > 0:
        return None
    return {
        "e1": fit.observed_e1,
        "e2": fit.observed_e2,
        "sigma": fit.moments_sigma,
        "x": fit.moments_centroid.x,
        "y": fit.moments_centroid.y,
    }
