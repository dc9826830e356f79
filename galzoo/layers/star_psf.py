"""PSFs of many shapes drawn in the graph: Moffat profiles, and two Gaussians with a power-law wing."""

import keras
import numpy as np
from keras import ops


def draw_psfs(n, bands, size, fwhm, ellipticity, seed):
    """Draw PSFs at random.

    Parameters
    ----------
    n : int or tensor
        How many.
    bands : int
        Of each; they differ a little in width and shape.
    size : int
        Pixels on a side of the images.
    fwhm : (float, float)
        Least and greatest full width at half maximum in pixels, drawn evenly in the logarithm.
    ellipticity : float
        Standard deviation of each component of the distortion.
    seed : keras.random.SeedGenerator

    Returns
    -------
    tensor, (n, size, size, band)
        Unit sum, centred on ``(size - 1) / 2``.

    Notes
    -----
    Half are Moffat (1969) profiles of index 2.2 to 5. Half are ``G1 + b G2 + p0 (1 + r^2 / (beta s^2))^(-beta / 2)``,
    as the photometric pipeline of SDSS fits it (Lupton et al. 2001, psField files): b to 0.3, p0 to 0.03.
    """
    draw = keras.random.uniform((n, 1, 1, 1, 7), seed=seed)
    own = keras.random.normal((n, 1, 1, bands, 3), seed=seed)
    low, high = np.log(fwhm)
    width = ops.exp(low + (high - low) * draw[..., 0] + 0.08 * own[..., 0])
    angle = 2 * np.pi * draw[..., 1]
    distortion = ellipticity * ops.sqrt(-2 * ops.log(1 - 0.99 * draw[..., 2]))
    e1 = ops.clip(distortion * ops.cos(angle) + 0.2 * ellipticity * own[..., 1], -0.5, 0.5)
    e2 = ops.clip(distortion * ops.sin(angle) + 0.2 * ellipticity * own[..., 2], -0.5, 0.5)
    line = (np.arange(size) - (size - 1) / 2).astype("float32")
    x, y = line[None, None, :, None], line[None, :, None, None]
    # A quadratic form of determinant 1, so that the area at half maximum stays.
    square = (1 - e1) * x**2 + (1 + e1) * y**2 - 2 * e2 * x * y
    square = square / ops.sqrt(1 - e1**2 - e2**2)
    index = 2.2 + 2.8 * draw[..., 3]
    scale = ops.square(width / 2) / (2 ** (1 / index) - 1)
    moffat = (1 + square / scale) ** (-index)
    variance = ops.square(width / 2.3548)
    second, wing, beta = 0.3 * draw[..., 4] ** 2, 0.03 * draw[..., 5], 3 + 1.5 * draw[..., 3]
    gaussians = ops.exp(-0.5 * square / variance) + second * ops.exp(-0.5 * square / (6 * variance))
    gaussians = gaussians + wing * (1 + square / (beta * 3 * variance)) ** (-beta / 2)
    psf = ops.where(draw[..., 6] < 0.5, moffat, gaussians)
    return psf / ops.sum(psf, axis=(1, 2), keepdims=True)
