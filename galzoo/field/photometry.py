"""Fluxes in apertures whose size is the source's own, and their errors.

References
----------
Kron 1980, ApJS 43, 305. Bertin & Arnouts 1996, A&AS 117, 393. Barbary 2016, JOSS 1, 58.
"""

import numpy as np

KRON_FACTOR, LEAST_RADIUS = 2.5, 1.75
"""SExtractor's automatic aperture: 2.5 Kron radii, and not below 3.5 pixels across."""
KRON_REACH = 6.0
"""The Kron radius is measured within so many semi-axes."""
# Kron radius of most galaxies and its scatter, in semi-axes of their light above the noise: exponential discs have 1.6.
_KRON_USUAL, _KRON_SCATTER = 1.6, 0.5
# A Gaussian has 1.25 of its own semi-axes and a disc of even light 1.33: what is measured below is noise.
_KRON_LEAST = 1.0
# Semi-axes in pixels below which a source has no shape.
_LEAST_AXIS = 0.3


def ellipses(x, y, a, b, theta):
    """Return what SEP takes for ellipses: x, y, semi-axes (pixels) and angle (radians from x to y), float64 (n,)."""
    x, y, a, b, theta = (np.array(values, float) for values in (x, y, a, b, theta))
    a, b = (np.maximum(np.nan_to_num(values), _LEAST_AXIS) for values in (a, b))
    return x, y, a, b, np.clip(np.nan_to_num(theta), -np.pi / 2, np.pi / 2)


def moment_axes(xx, yy, xy):
    """Return semi-axes and angle (radians from x to y) of second moments, numbers or arrays."""
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, 0)), np.arctan2(2 * xy, xx - yy) / 2


def kron_radius(image, mask, ellipse, reach=KRON_REACH, labels=None):
    """Return the Kron radius of sources in units of their semi-axes, (n,); NaN or not positive where noise rules.

    Parameters
    ----------
    image : array, (y, x)
    mask : bool array, (y, x)
        True = bad.
    ellipse : tuple of arrays, (n,)
        Of `ellipses`.
    reach : float or array, (n,)
        How far light is looked at, in units of the semi-axes.
    labels : int32 array, (y, x), optional
        Number of the source + 1; pixels of other sources are left out.
    """
    import sep

    return sep.kron_radius(np.ascontiguousarray(image), *ellipse, reach, mask=mask, **_segments(ellipse, labels))[0]


def automatic_radius(image, mask, ellipse, labels=None, noise=None):
    """Return the radius of SExtractor's automatic aperture in units of the semi-axes, (n,).

    Parameters
    ----------
    image, mask, ellipse, labels
        As of `kron_radius`.
    noise : float or array, (n,), optional
        Standard deviation of a pixel. With it the Kron radius is the mean of the one that is measured, with its error,
        and of that of most galaxies: the light of a faint source says nothing of it, and may open its aperture wide.
    """
    kron = kron_radius(image, mask, ellipse, labels=labels)
    known = np.isfinite(kron) & (kron > 0)
    kron = np.where(known, np.clip(kron, _KRON_LEAST, KRON_REACH), _KRON_LEAST)
    if noise is not None:
        # Of sum(r I) / sum(I) over an ellipse of n pixels, where r^2 is half of the square of the reach in the mean.
        full, axes = np.full(len(kron), KRON_REACH), ellipse[2] * ellipse[3]
        light = ellipse_fluxes(image[..., None], 0.0, mask[..., None], ellipse, full, labels)[0][:, 0]
        away = KRON_REACH**2 / 2 - 4 / 3 * KRON_REACH * kron + kron**2
        error = np.asarray(noise) * np.sqrt(np.pi * axes * away) * KRON_REACH
        precision = np.where(known & (light > 0), light, 0.0) ** 2 / np.maximum(error, 1e-30) ** 2
        usual = 1 / _KRON_SCATTER**2
        kron = (precision * kron + usual * _KRON_USUAL) / (precision + usual)
    return np.maximum(KRON_FACTOR * kron, LEAST_RADIUS / np.sqrt(ellipse[2] * ellipse[3]))


def ellipse_fluxes(image, variance, mask, ellipse, radius, labels=None):
    """Return fluxes and their errors in ellipses, (n, band) each, NaN in a band without a good pixel, and SEP's flags.

    Parameters
    ----------
    image, variance : array, (y, x, band)
        Without sky, and its square; `variance` may be one number.
    mask : bool array, (y, x, band)
        True = bad; the part of an ellipse that is bad counts by the mean of the rest.
    ellipse, labels
        As of `kron_radius`.
    radius : array, (n,)
        In units of the semi-axes.
    """
    import sep

    flags = np.zeros(len(ellipse[0]), np.int16)
    flux, error = np.full((2, len(ellipse[0]), image.shape[-1]), np.nan)
    variance = np.broadcast_to(np.asarray(variance, image.dtype), image.shape)
    for band in range(image.shape[-1]):
        bad = mask[..., band] | ~np.isfinite(variance[..., band])
        if bad.all():
            continue
        noise = np.where(bad, 0, variance[..., band]).astype(image.dtype, copy=False)
        flux[:, band], error[:, band], found = sep.sum_ellipse(
            np.ascontiguousarray(image[..., band]), *ellipse, radius, var=noise, mask=np.ascontiguousarray(bad),
            subpix=5, **_segments(ellipse, labels),
        )  # fmt: skip
        flags |= found
    return flux, error, flags


def half_light_radius(image, mask, x, y, reach, flux=None, labels=None):
    """Return the radii in pixels of circles about positions that hold half of the light, (n,).

    Parameters
    ----------
    image : array, (y, x)
    mask : bool array, (y, x), or None
    x, y : array, (n,)
    reach : float or array, (n,)
        How far light is looked at, pixels.
    flux : array, (n,), optional
        All of the light; what is within `reach` by default.
    labels
        As of `kron_radius`.
    """
    import sep

    options = {} if flux is None else {"normflux": np.asarray(flux, float)}
    reach = np.zeros(len(x)) + reach
    return sep.flux_radius(
        np.ascontiguousarray(image), x, y, reach, 0.5, mask=mask, subpix=5, **options, **_segments((x,), labels)
    )[0]


def _segments(ellipse, labels):
    return {} if labels is None else {"segmap": labels, "seg_id": np.arange(1, len(ellipse[0]) + 1)}
