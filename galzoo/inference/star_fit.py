"""Stars of a crowded image by their joint likelihood: places, and fluxes in all bands, of all at once.

What a network says of each star is the prior of the fit. Stars too doubtful to be listed are not fitted: their expected
light is taken off, and its variance is added to that of the pixels, so that no listed star takes it for its own.
"""

import dataclasses

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree

from galzoo.data.psf import peak_fwhm
from galzoo.field.star_light import StarLight

# Gauss-Newton steps, the most that a star moves in one, pixels, and steps of conjugate gradients.
_STEPS, _MOVE, _SOLVER = 4, 0.25, 80
# Pixels within so many FWHM of a star, along x and y, say where and how bright it is; its light is taken off all.
_FITTED = 1.5
# An error is that of a star with so many nearest neighbours, all others held.
_NEIGHBOURS = 8


@dataclasses.dataclass
class Fitted:
    """Stars fitted to an image.

    Parameters
    ----------
    places, place_errors : array, (star, 2)
        x and y in pixels.
    flux, flux_errors : array, (star, band)
    model : array, (y, x, band)
        Of these stars and of the expected light of the others.
    chi2 : float
        Mean of the square of the residual over the variance, over good pixels of all bands.
    told : array of bool, (star,)
        Whether a good pixel tells of the star. Others are not fitted: they keep what was known of them before.
    weight : array, (y, x, band)
        One over the variance of the residual, 0 where a pixel is bad.
    """

    places: np.ndarray
    place_errors: np.ndarray
    flux: np.ndarray
    flux_errors: np.ndarray
    model: np.ndarray
    chi2: float
    told: np.ndarray
    weight: np.ndarray


@dataclasses.dataclass
class Prior:
    """What is known of stars before the fit.

    Parameters
    ----------
    places, place_errors : array, (star, 2)
        x and y in pixels.
    flux, flux_errors : array, (star, band)
    probability : array, (star,)
    """

    places: np.ndarray
    place_errors: np.ndarray
    flux: np.ndarray
    flux_errors: np.ndarray
    probability: np.ndarray

    def __getitem__(self, rows):
        return Prior(*(getattr(self, one.name)[rows] for one in dataclasses.fields(self)))

    def __len__(self):
        return len(self.probability)


def fit_stars(image, variance, psf, stars, others, gain=None):
    """Fit the stars of an image.

    Parameters
    ----------
    image, variance : array, (y, x, band)
        Without sky; the variance is that of the sky, infinite where a pixel is bad.
    psf : array, (p, p, band)
    stars, others : Prior
        Those that are fitted, and those whose expected light is taken off.
    gain : array, (band,), optional
        Electrons per unit of the image, 0 where unknown: the variance of the photons of the model is added.

    Returns
    -------
    Fitted

    Notes
    -----
    Gauss-Newton on the Gaussian log likelihood and the priors, which are normal; a star is fitted to the pixels within
    1.5 FWHM, as DAOPHOT does with its fitting radius. The variance follows the model from step to step. The matrix of
    second derivatives is sparse, as only stars that share pixels are coupled, so time and memory grow with the number
    of stars. Errors are those of its inverse, star by star with its nearest neighbours.
    """
    light = StarLight(psf)
    sky = np.where(np.isfinite(variance), variance, np.inf)
    image = np.where(np.isfinite(sky), image, 0.0)
    gain = np.zeros(image.shape[-1]) if gain is None else np.nan_to_num(np.asarray(gain, float))
    photons = np.where(gain > 0, 1 / np.maximum(gain, 1e-30), 0.0)
    faint, doubt = expected(light, image.shape, others)
    reach = int(np.ceil(_FITTED * peak_fwhm(psf)))
    told = _told(np.isfinite(sky).any(axis=-1), stars.places, reach)
    light.add(faint, stars.places[~told], stars.flux[~told])
    stars, known, normal = stars[told], stars, None
    places, flux = stars.places.astype(float), stars.flux.astype(float)
    for _ in range(_STEPS if len(places) else 0):
        model = light.add(faint.copy(), places, flux)
        slopes = jacobian(image.shape, light, places, flux, reach)
        weight = 1 / (sky + np.maximum(model, 0) * photons + doubt)
        step, normal = _step(slopes, image - model, weight, stars, places, flux)
        flux = np.maximum(flux + step[:, : flux.shape[1]], 0)
        places = places + np.clip(step[:, flux.shape[1] :], -_MOVE, _MOVE)
    model = light.add(faint, places, flux)
    weight = 1 / (sky + np.maximum(model, 0) * photons + doubt)
    good = weight > 0
    chi2 = float(np.mean(((image - model) ** 2 * weight)[good])) if good.any() else float("nan")
    errors = _errors(normal, places, flux.shape[1])
    parts = (known.places, places), (known.place_errors, errors[:, flux.shape[1] :])
    parts += (known.flux, flux), (known.flux_errors, errors[:, : flux.shape[1]])
    return Fitted(*(_put(before, told, fitted) for before, fitted in parts), model, chi2, told, weight)


def _told(good, places, reach):
    """Return whether stars (star,) have a good pixel (y, x) within `reach` pixels along x and y."""
    height, width = good.shape
    # Pixels beyond the image are none.
    count = np.pad(np.pad(good, reach).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    x, y = np.round(places).astype(int).T
    side = 2 * reach + 1
    (top, bottom), (left, right) = (
        (np.clip(one, 0, end), np.clip(one + side, 0, end))
        for one, end in ((y, height + 2 * reach), (x, width + 2 * reach))
    )
    number = count[bottom, right] - count[top, right] - count[bottom, left] + count[top, left]
    return number > 0


def _put(before, rows, values):
    """Return a copy of an array with some of its rows replaced."""
    result = np.array(before, float)
    result[rows] = values
    return result


def expected(light, shape, stars):
    """Return the expected light of doubtful stars and its variance in each pixel, (y, x, band) each."""
    mean = light.add(np.zeros(shape), stars.places, stars.probability[:, None] * stars.flux)
    p = stars.probability[:, None]
    second = p * (stars.flux**2 + stars.flux_errors**2) - (p * stars.flux) ** 2
    return mean, light.add(np.zeros(shape), stars.places, second, power=2)


def _step(slopes, residual, weight, prior, places, flux):
    """Return the step of each unknown (star, band + 2) and the matrix of second derivatives."""
    weight, residual = (np.moveaxis(one, -1, 0).ravel() for one in (weight, residual))
    precision = np.concatenate([prior.flux_errors, prior.place_errors], axis=-1).astype(float) ** -2
    away = np.concatenate([prior.flux - flux, prior.places - places], axis=-1)
    gradient = slopes.T @ (weight * residual) + (precision * away).ravel()
    normal = (slopes.T @ (slopes * weight[:, None])).tocsr() + sparse.diags_array(precision.ravel())
    # In units of the error of each unknown by itself, where steps of conjugate gradients are few.
    scale = 1 / np.sqrt(normal.diagonal())
    scaled = sparse.diags_array(scale) @ normal @ sparse.diags_array(scale)
    step, _ = cg(scaled, scale * gradient, maxiter=_SOLVER, rtol=1e-4)
    return (scale * step).reshape(len(places), -1), normal.tocsr()


def jacobian(shape, light, places, flux, reach):
    """Return the derivatives of the model (band * y * x) by fluxes and places of stars (star * (band + 2)), sparse.

    They are those on pixels within `reach` of a star along x and y.
    """
    height, width, bands = shape
    middle = light.side // 2
    line = np.arange(max(middle - reach, 0), min(middle + reach + 1, light.side))
    unit, by_x, by_y = (one[:, line[:, None], line] for one in light.stamps(places, slopes=True))
    x, y = light.corners(places).T[..., None] + line
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
    pixel = (y[:, :, None] * width + x[:, None])[inside]
    star = np.broadcast_to(np.arange(len(places))[:, None, None], inside.shape)[inside]
    parts = []
    for band in range(bands):
        own = flux[star, band]
        values = [unit[..., band][inside], own * by_x[..., band][inside], own * by_y[..., band][inside]]
        for unknown, part in zip((band, bands, bands + 1), values, strict=True):
            parts.append((part, pixel + band * height * width, star * (bands + 2) + unknown))
    values, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    size = (bands * height * width, len(places) * (bands + 2))
    return sparse.csr_array((values, (rows, columns)), shape=size)


def _errors(normal, places, bands):
    """Return standard deviations (star, band + 2): of each star with its nearest neighbours, all others held."""
    unknowns = bands + 2
    if normal is None:
        return np.zeros((0, unknowns))
    near = cKDTree(places).query(places, k=np.arange(1, min(_NEIGHBOURS, len(places)) + 1))[1]
    # The star itself first, though another may lie on its very place.
    rows = np.arange(len(places))
    same = near == rows[:, None]
    near[~same.any(axis=1), 0] = rows[~same.any(axis=1)]
    index = (near[..., None] * unknowns + np.arange(unknowns)).reshape(len(places), -1)
    size = index.shape[1]
    block = normal[np.repeat(index, size, axis=1).ravel(), np.tile(index, (1, size)).ravel()]
    inverse = np.linalg.inv(np.asarray(block).reshape(len(places), size, size))
    own = np.argmax(near == rows[:, None], axis=1)[:, None] * unknowns + np.arange(unknowns)
    return np.sqrt(np.maximum(inverse[rows[:, None], own, own], 0))
