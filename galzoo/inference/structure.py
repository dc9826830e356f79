"""What smooth galaxies leave in the residual, given to the galaxies that it belongs to."""

import numpy as np
from keras import ops

from galzoo.inference.refine import LEAST_PIXELS, refine
from galzoo.layers.likelihood import weights

# Chi squared per pixel, in standard deviations above 1, from which a scene is refined: noise is left alone.
_SIGNIFICANT = 4.0
_LARGEST_MISFIT = 0.3


def misfit(image, total, variance):
    """Return by what part of their light galaxies differ from the model's, as the residual has it; 0 if noise will do.

    Parameters
    ----------
    image, total, variance : array, (band, y, x)
        Data, model and the noise of a scene; infinite variance where a pixel is bad.

    Returns
    -------
    float
        The e for which (image - total)^2 / (variance + (e total)^2) is 1 on average where the model is above the noise.
    """
    light = (total > np.sqrt(variance)) & np.isfinite(variance)
    squares, noise, power = (image - total)[light] ** 2, variance[light], total[light] ** 2
    if len(squares) < LEAST_PIXELS or np.mean(squares / noise) < 1 + _SIGNIFICANT * np.sqrt(2 / len(squares)):
        return 0.0
    low, high = 0.0, _LARGEST_MISFIT
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(squares / (noise + middle**2 * power)) > 1 else (low, middle)
    return (low + high) / 2


def needs_refinement(total, part):
    """Return which scenes (n,) have a residual that noise does not explain.

    Parameters
    ----------
    total : array, (n, y, x, band)
        Sum of the sources as observed.
    part : dict
        ``image``, ``variance`` and, where present, ``mask``.
    """
    weight = ops.convert_to_numpy(weights(part["variance"], part.get("mask")))
    image = np.where(weight > 0, ops.convert_to_numpy(part["image"]), 0)
    pixels = np.maximum((weight > 0).sum(axis=(1, 2, 3)), 1)
    chi2 = (weight * (image - total) ** 2).sum(axis=(1, 2, 3)) / pixels
    return chi2 > 1 + _SIGNIFICANT * np.sqrt(2 / pixels)


def refine_parts(frames, part, model_sigma, steps):
    """Bring the sum of galaxies into agreement with the data; each pixel's change is shared as its light is.

    Parameters
    ----------
    frames : array, (n, source, y, x, band)
        Galaxies in the model frame; negative light counts as none.
    part : dict
        ``image``, ``variance`` and, where present, ``mask`` and ``psf``.
    model_sigma : float
        Sigma in pixels of the model frame's Gaussian.
    steps : int
        Most updates, see `galzoo.inference.refine.refine`.

    Returns
    -------
    array, (n, source, y, x, band)
        Not negative, in the model frame.
    """
    frames = np.maximum(frames, 0)
    total = frames.sum(axis=1)
    # Where there is no light at all a factor could never make any.
    floor = 1e-6 * total.max(axis=(1, 2), keepdims=True) + 1e-30
    refined = refine(total + floor, part, model_sigma, steps)
    return frames * (refined / (total + floor))[:, None]
