"""What detectors leave in images: cosmic rays, and saturated stars with their bleeds."""

import keras
import numpy as np
from keras import ops

# Rays that a scene may have, and the range of their lengths in pixels and of their light in units of the sky's noise.
_RAYS = 6
_LENGTH, _LIGHT, _WIDTH = (0.5, 25.0), (5.0, 300.0), 0.45
# Share of rays that the mask knows of.
_KNOWN = 0.5
# Pixels along y that a saturated pixel bleeds over, and one that is so many times over the limit.
_BLEED, _LONG_BLEED, _MUCH = 5, 25, 4.0


def cosmic_rays(image, variance, mask, mean, seed):
    """Add cosmic rays to images: short straight trails, each in one band, not seen through the PSF.

    Parameters
    ----------
    image, variance, mask : tensors, (n, y, x, band)
        Band by band alike in size; the mask is true at bad pixels.
    mean : float
        Rays a scene, at most 6 are drawn.
    seed : keras.random.SeedGenerator

    Returns
    -------
    image, mask : tensors
        Half of the rays are in the mask.
    """
    n, rows, columns, bands = ops.shape(image)[0], *image.shape[1:]
    draw = keras.random.uniform((n, _RAYS, 8), seed=seed)
    there = draw[..., 0] < mean / _RAYS
    length = _LENGTH[0] * (_LENGTH[1] / _LENGTH[0]) ** draw[..., 3]
    light = _LIGHT[0] * (_LIGHT[1] / _LIGHT[0]) ** draw[..., 4]
    angle = 2 * np.pi * draw[..., 5]
    along = ops.stack([ops.cos(angle), ops.sin(angle)], axis=-1)[:, :, None, None]
    y, x = np.indices((rows, columns)).astype("float32")
    away = np.stack([x, y], axis=-1) - (draw[..., 1:3] * np.array([columns, rows], "float32") - 0.5)[:, :, None, None]
    place = ops.sum(away * along, axis=-1)
    nearest = ops.clip(place, 0.0, length[..., None, None])
    square = ops.sum(ops.square(away - nearest[..., None] * along), axis=-1)
    shape = ops.exp(-0.5 * square / _WIDTH**2) * ops.cast(there, "float32")[..., None, None]
    band = ops.one_hot(ops.cast(ops.floor(draw[..., 6] * bands), "int32"), bands, dtype="float32")
    finite = ops.where(ops.isfinite(variance), variance, np.float32(np.inf))
    noise = ops.sqrt(ops.min(finite, axis=(1, 2)))
    noise = ops.where(ops.isfinite(noise), noise, 0.0)
    trails = ops.einsum("nryx,nrb->nyxb", shape * light[..., None, None], band * noise[:, None])
    known = ops.cast(draw[..., 7] < _KNOWN, "float32")[..., None, None]
    marked = ops.einsum("nryx,nrb->nyxb", ops.cast(shape > 0.05, "float32") * known, band) > 0
    return image + trails, ops.logical_or(mask, marked)


def saturate(image, mask, limit):
    """Cut images at a limit, and mask what is above and what it bleeds over, along y.

    Parameters
    ----------
    image, mask : tensors, (n, y, x, band)
    limit : number or tensor that broadcasts
        Of a pixel, in the unit of the image.

    Returns
    -------
    image, mask : tensors
    """
    above = ops.cast(image > limit, "float32")
    far = ops.cast(image > _MUCH * limit, "float32")
    bled = ops.maximum(*(ops.max_pool(each, (size, 1), strides=1, padding="same")
                         for each, size in ((above, _BLEED), (far, _LONG_BLEED))))  # fmt: skip
    return ops.minimum(image, limit), ops.logical_or(mask, bled > 0)
