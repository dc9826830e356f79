"""Stars of a crowded image by their joint likelihood: fluxes and places at once, stars added and taken away.

The evidence of a star of signal-to-noise s beside none, under a prior of `density` stars a pixel and a power law of
fluxes of index `slope`, is ``s^2 / 2 + log(density * 2 pi sx^2 * slope * sqrt(2 pi) / s)`` by Laplace's method, where
sx is the error of its place. A star is added where it is above 0 and taken away where it is below.
"""

import dataclasses

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from galzoo.field.star_light import StarLight

# Newton steps of a round, the most that a star moves in one and in all, pixels, and steps of conjugate gradients.
_STEPS, _MOVE, _FAR, _SOLVER = 3, 0.3, 1.0, 60
# Stars nearer than this to a brighter one, in FWHM, are not added.
_APART = 0.7
# A place has this standard deviation about the first, pixels: data that say nothing leave it where it is.
_PLACE = 0.5


@dataclasses.dataclass
class Fitted:
    """Stars fitted to an image.

    Parameters
    ----------
    places, place_errors : array, (star, 2)
        x and y in pixels.
    flux, flux_errors : array, (star, band)
    origin : int array, (star,)
        Number of the star among those given, -1 where it was added.
    model : array, (y, x, band)
    """

    places: np.ndarray
    place_errors: np.ndarray
    flux: np.ndarray
    flux_errors: np.ndarray
    origin: np.ndarray
    model: np.ndarray


def fit_stars(image, variance, psf, places, flux, gain=None, density=None, slope=0.5, rounds=3):
    """Fit the stars of an image.

    Parameters
    ----------
    image, variance : array, (y, x, band)
        Without sky; the variance is that of the sky, infinite where a pixel is bad.
    psf : array, (p, p, band)
    places : array, (star, 2)
        To begin with: x and y in pixels.
    flux : array, (star, band)
    gain : array, (band,), optional
        Electrons per unit of the image, 0 where unknown: the variance of the model's photons is added.
    density : float, optional
        Stars a pixel of the prior; that of the given stars by default.
    slope : float
        Of the prior's power law of fluxes.
    rounds : int
        Fits, with stars added and taken away after all but the last.

    Returns
    -------
    Fitted
    """
    light = StarLight(psf)
    places = np.array(places, float).reshape(-1, 2)
    flux = np.array(flux, float).reshape(len(places), image.shape[-1])
    flux = np.where(np.isfinite(flux), flux, 0.0)
    origin = np.arange(len(places))
    density = max(len(places), 1) / image[..., 0].size if density is None else density
    sky = np.where(np.isfinite(variance), variance, np.inf)
    image = np.where(np.isfinite(sky), image, 0.0)
    share = np.zeros(image.shape[-1]) if gain is None else np.where(np.asarray(gain) > 0, 1 / np.maximum(gain, 1e-30), 0)
    width = np.sqrt(0.8825 / max(psf.max(axis=(0, 1)).mean(), 1e-6)) / 2.3548
    for number in range(rounds):
        model = light.add(np.zeros(image.shape), places, flux)
        weight = 1 / (sky + np.maximum(model, 0) * share)
        places, flux, normal = _newton(image, weight, light, places, flux)
        if number + 1 < rounds:
            kept = _evidence(flux, normal, density, slope, width) > 0
            places, flux, origin = places[kept], flux[kept], origin[kept]
            residual = image - light.add(np.zeros(image.shape), places, flux)
            new = _born(residual, weight, psf, places, density, slope, width)
            places = np.concatenate([places, new[0]])
            flux = np.concatenate([flux, new[1]])
            origin = np.concatenate([origin, np.full(len(new[0]), -1)])
    errors = _errors(normal, places, 2.3548 * width)
    bands = image.shape[-1]
    model = light.add(np.zeros(image.shape), places, flux)
    return Fitted(places, errors[:, bands:], flux, errors[:, :bands], origin, model)


def _newton(image, weight, light, places, flux):
    """Return places, fluxes and the matrix of second derivatives after some steps; unknowns go star by star."""
    bands, first = image.shape[-1], places
    unknowns = bands + 2
    normal = sparse.csr_array((0, 0))
    for _ in range(_STEPS if len(places) else 0):
        jacobian, model = _jacobian(image.shape, light, places, flux)
        w = np.moveaxis(weight, -1, 0).ravel()
        residual = np.moveaxis(image - model, -1, 0).ravel()
        normal = (jacobian.T @ (jacobian * w[:, None])).tocsr()
        gradient = jacobian.T @ (w * residual)
        prior = np.zeros((len(places), unknowns))
        prior[:, bands:] = 1 / _PLACE**2
        normal = (normal + sparse.diags_array(prior.ravel())).tocsr()
        gradient[np.arange(len(gradient)) % unknowns >= bands] += ((first - places) / _PLACE**2).ravel()
        diagonal = np.maximum(normal.diagonal(), 1e-30)
        # Blends of stars on one place would have no answer.
        damped = normal + sparse.diags_array(1e-3 * diagonal)
        step, _ = cg(damped, gradient, M=sparse.diags_array(1 / diagonal), maxiter=_SOLVER, rtol=1e-4)
        step = step.reshape(-1, unknowns)
        flux = np.maximum(flux + step[:, :bands], 0)
        places = places + np.clip(step[:, bands:], -_MOVE, _MOVE)
        places = first + np.clip(places - first, -_FAR, _FAR)
    return places, flux, normal


def _jacobian(shape, light, places, flux):
    """Return the derivatives of the model (band * y * x, star * (band + 2)), sparse, and the model."""
    height, width, bands = shape
    unit, by_x, by_y = light.stamps(places, slopes=True)
    line = np.arange(light.side)
    x, y = light.corners(places).T[..., None] + line
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
    pixel = y[:, :, None] * width + x[:, None]
    star = np.broadcast_to(np.arange(len(places))[:, None, None], pixel.shape)[inside]
    parts, model = [], np.zeros(shape)
    for band in range(bands):
        at = pixel[inside] + band * height * width
        own = flux[:, band, None, None]
        for unknown, values in ((band, unit), (bands, own * by_x[..., band]), (bands + 1, own * by_y[..., band])):
            values = (values[..., band] if values.ndim == 4 else values)[inside]
            parts.append((values, at, star * (bands + 2) + unknown))
        total = np.bincount(pixel[inside], (own * unit[..., band])[inside], minlength=height * width)
        model[..., band] = total.reshape(height, width)
    values, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    size = (bands * height * width, len(places) * (bands + 2))
    return sparse.csr_array((values, (rows, columns)), shape=size), model


def _log_odds(snr, density, slope, width):
    snr = np.maximum(snr, 1e-3)
    prior = np.log(np.maximum(density, 1e-12) * 2 * np.pi * (width / snr) ** 2 * slope * np.sqrt(2 * np.pi) / snr)
    return 0.5 * snr**2 + np.minimum(prior, 0)


def _evidence(flux, normal, density, slope, width):
    """Return the log of the odds of each star."""
    unknowns = flux.shape[1] + 2
    precision = normal.diagonal().reshape(-1, unknowns)[:, : flux.shape[1]]
    return _log_odds(np.sqrt((flux**2 * precision).sum(axis=1)), density, slope, width)


def _born(residual, weight, psf, places, density, slope, width):
    """Return places and fluxes of stars that the residual asks for."""
    kernel = psf[::-1, ::-1]
    over = np.zeros(residual.shape)
    under = np.zeros(residual.shape)
    for band in range(residual.shape[-1]):
        over[..., band] = ndimage.convolve(residual[..., band] * weight[..., band], kernel[..., band], mode="constant")
        under[..., band] = ndimage.convolve(weight[..., band], kernel[..., band] ** 2, mode="constant")
    flux = np.where(under > 0, over / np.maximum(under, 1e-300), 0)
    snr = np.sqrt((np.maximum(flux, 0) ** 2 * under).sum(axis=-1))
    peak = (snr == ndimage.maximum_filter(snr, 3)) & (_log_odds(snr, density, slope, width) > 0)
    y, x = np.nonzero(peak)
    new = np.stack([x, y], axis=-1).astype(float)
    if len(places) and len(new):
        from scipy.spatial import cKDTree

        far = cKDTree(places).query(new)[0] > _APART * 2.3548 * width
        new, y, x = new[far], y[far], x[far]
    return new, np.maximum(flux[y, x], 0)


def _errors(normal, places, fwhm, most=8):
    """Return standard deviations (star, band + 2): of each star with its nearest neighbours, the others held."""
    from scipy.spatial import cKDTree

    if not len(places):
        return np.zeros((0, 3))
    unknowns = normal.shape[0] // len(places)
    near = cKDTree(places).query(places, k=np.arange(1, min(most, len(places)) + 1), distance_upper_bound=1.5 * fwhm)[1]
    errors = np.zeros((len(places), unknowns))
    for star, some in enumerate(near):
        some = some[some < len(places)]
        index = (some[:, None] * unknowns + np.arange(unknowns)).ravel()
        block = normal[index][:, index].toarray()
        # A star without light says nothing of its place.
        block += np.diag(1e-9 * np.maximum(block.diagonal(), 1e-30))
        own = np.flatnonzero(some == star)[0] * unknowns
        errors[star] = np.sqrt(np.maximum(np.linalg.inv(block).diagonal(), 0))[own : own + unknowns]
    return errors
