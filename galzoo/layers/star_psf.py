"""PSFs of many shapes drawn in the graph: Moffat profiles, and two Gaussians with a power-law wing, smooth or not."""

import keras
import numpy as np
from keras import ops

# Logarithms of the index of a Moffat profile and of the light of wings change so many times as much as that of widths.
_INDEX, _WINGS = 2.0, 4.0
# Waves that make the detail of a PSF, and the least and greatest of their lengths in FWHM.
_WAVES, _LENGTHS = 8, (1.0, 5.0)
# So many times the error of widths is that of the detail, and the noise of what is told over its peak.
_DETAIL, _NOISE = 2.0, 0.02


def draw_psfs(n, bands, size, fwhm, ellipticity, seed, error=0.0, band_shift=0.0, detail=0.0):
    """Draw PSFs at random, and what is told of them.

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
    error : float
        How wrong what is told is at most: the standard deviation of the logarithm of widths, of each component of the
        distortion, and of the place of other bands than the first in FWHM. The logarithms of wings are four times, and
        of the index of a Moffat profile twice as wrong. Each field draws its share of it evenly.
    band_shift : float
        How far the true ones of other bands than the first are off it, whatever their width: the most that the standard
        deviation in pixels is, of which each field draws its share evenly.
    detail : float
        How far PSFs are from smooth profiles, as those of real fields are: the most that the standard deviation of the
        logarithm of their wings is, of which each field draws its share evenly; at half the FWHM it is half as much.
        With `error` it is told a little wrong too, and what is told has noise.

    Returns
    -------
    true, told : tensors, (n, size, size, band)
        Unit sum, centred on ``(size - 1) / 2``, the true ones but for their error of place and shift of the bands;
        without both the same.

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
    index, beta = 2.2 + 2.8 * draw[..., 3], 3 + 1.5 * draw[..., 3]
    second, wing = 0.3 * draw[..., 4] ** 2, 0.03 * draw[..., 5]
    true = {"width": width, "e1": e1, "e2": e2, "index": index, "second": second, "wing": wing, "beta": beta}
    gaussian = draw[..., 6] >= 0.5
    moved, other = {}, (np.arange(bands) > 0).astype("float32")
    if band_shift:
        least = band_shift * keras.random.uniform((n, 1, 1, 1), seed=seed)
        off = least[..., None] * keras.random.normal((n, 1, 1, bands, 2), seed=seed)
        moved = {"dx": other * off[..., 0], "dy": other * off[..., 1]}
    rough = told_rough = None
    if detail:
        rough = told_rough = detail * keras.random.uniform((n, 1, 1, 1), seed=seed) * _waves(n, size, width, seed)
    if not error:
        psf = _profile(size, gaussian, **true, rough=rough)
        return (_profile(size, gaussian, **true, **moved, rough=rough) if moved else psf), psf
    share = error * keras.random.uniform((n, 1, 1, 1), seed=seed)
    wrong = share[..., None] * keras.random.normal((n, 1, 1, bands, 8), seed=seed)
    told = true | {
        "width": width * ops.exp(wrong[..., 0]),
        "e1": ops.clip(e1 + wrong[..., 1], -0.5, 0.5),
        "e2": ops.clip(e2 + wrong[..., 2], -0.5, 0.5),
        "index": index * ops.exp(_INDEX * wrong[..., 3]),
        "second": second * ops.exp(_WINGS * wrong[..., 4]),
        "wing": wing * ops.exp(_WINGS * wrong[..., 5]),
    }
    moved = {key: moved.get(key, 0.0) + other * width * wrong[..., number] for key, number in (("dx", 6), ("dy", 7))}
    if detail:
        told_rough = rough + _DETAIL * share * _waves(n, size, width, seed)
    psf, told = (
        _profile(size, gaussian, **true, **moved, rough=rough),
        _profile(size, gaussian, **told, rough=told_rough),
    )
    if detail:
        noise = keras.random.normal((n, size, size, bands), seed=seed)
        noise = _NOISE * share * ops.max(told, axis=(1, 2), keepdims=True) * noise
        told = ops.maximum(told + noise, 0.0)
        told = told / ops.sum(told, axis=(1, 2), keepdims=True)
    return psf, told


def _waves(n, size, width, seed):
    """Return smooth random images (n, size, size, band), of standard deviation 1 in the wings of a PSF, less within."""
    bands = width.shape[-1]
    draw = keras.random.uniform((n, 1, 1, bands, _WAVES, 3), seed=seed)
    low, high = np.log(_LENGTHS)
    length = width[..., None] * ops.exp(low + (high - low) * draw[..., 0])
    angle, phase = 2 * np.pi * draw[..., 1], 2 * np.pi * draw[..., 2]
    line = (np.arange(size) - (size - 1) / 2).astype("float32")
    x, y = line[None, None, :, None, None], line[None, :, None, None, None]
    waves = ops.sum(ops.cos((ops.cos(angle) * x + ops.sin(angle) * y) * (2 * np.pi / length) + phase), axis=-1)
    square = (x**2 + y**2)[..., 0] / ops.square(width / 2)
    return np.sqrt(2 / _WAVES).astype("float32") * waves * square / (1 + square)


def _profile(size, gaussian, width, e1, e2, index, second, wing, beta, dx=0.0, dy=0.0, rough=None):
    """Return PSFs (n, size, size, band) of parameters (n, 1, 1, band), times the exponential of `rough`."""
    line = (np.arange(size) - (size - 1) / 2).astype("float32")
    x, y = line[None, None, :, None] - dx, line[None, :, None, None] - dy
    # A quadratic form of determinant 1, so that the area at half maximum stays.
    square = (1 - e1) * x**2 + (1 + e1) * y**2 - 2 * e2 * x * y
    square = square / ops.sqrt(1 - e1**2 - e2**2)
    scale = ops.square(width / 2) / (2 ** (1 / index) - 1)
    moffat = (1 + square / scale) ** (-index)
    variance = ops.square(width / 2.3548)
    gaussians = ops.exp(-0.5 * square / variance) + second * ops.exp(-0.5 * square / (6 * variance))
    gaussians = gaussians + wing * (1 + square / (beta * 3 * variance)) ** (-beta / 2)
    psf = ops.where(gaussian, gaussians, moffat)
    if rough is not None:
        psf = psf * ops.exp(rough)
    return psf / ops.sum(psf, axis=(1, 2), keepdims=True)
