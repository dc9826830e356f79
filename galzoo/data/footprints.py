"""Which pixels of a scene belong to a source: those where it alone is above the noise."""

import numpy as np

THRESHOLD = 1.0
"""A pixel is part of a source where the source alone is above this many sigma of the sky in any band."""


def sky_sigma(variance, mask=None):
    """Return the noise of the sky (n, band): the square root of the least variance of the good pixels.

    Infinite where a band is absent.
    """
    good = variance > 0
    if mask is not None:
        good &= ~mask.astype(bool)
    return np.sqrt(np.min(variance, axis=(1, 2), where=good, initial=np.inf))


def significance(images, sigma):
    """Return images of sources in units of the noise, the largest of all bands.

    Parameters
    ----------
    images : array, (..., y, x, band)
        Noiseless.
    sigma : array, (..., band)
        Noise of the sky; infinite where a band is absent.
    """
    return np.max(images / np.asarray(sigma)[..., None, None, :], axis=-1)


def footprint_boxes(images, sigma, positions, corners=None, shape=None, threshold=THRESHOLD):
    """Return the box around the pixels in which each source is above the noise.

    Parameters
    ----------
    images : array, (source, y, x, band)
        Each source alone, noiseless.
    sigma : array, (band,)
        Noise of the sky.
    positions : array, (source, 2)
        x, y of each source; its pixel is the box of a source that is nowhere above the noise.
    corners : int array, (source, 2), optional
        Pixel of the scene on which the first pixel of each image lies, as x, y; by default 0.
    shape : (int, int), optional
        Size (y, x) of the scene that boxes are cut to; by default that of the images.
    threshold : float
        In units of the noise.

    Returns
    -------
    float32 array, (source, 4)
        Edges x0, y0, x1, y1: half a pixel outside the centres of the outermost pixels.
    """
    height, width = images.shape[1:3] if shape is None else shape
    corners = np.zeros((len(images), 2), int) if corners is None else np.asarray(corners)
    above = significance(images, sigma) > threshold
    sizes = (width, height)
    places = [np.arange(images.shape[2 - axis]) + corners[:, axis, None] for axis in (0, 1)]
    x, y = ((place >= 0) & (place < size) for place, size in zip(places, sizes, strict=True))
    above &= y[:, :, None] & x[:, None, :]
    boxes = np.zeros((len(images), 4), np.float32)
    for axis, (place, size) in enumerate(zip(places, sizes, strict=True)):
        line = above.any(axis=1 + axis)
        own = np.clip(np.round(positions[:, axis]), 0, size - 1)
        some = line.any(axis=1)
        boxes[:, axis] = np.where(some, np.min(np.where(line, place, size), axis=1), own) - 0.5
        boxes[:, axis + 2] = np.where(some, np.max(np.where(line, place, -1), axis=1), own) + 0.5
    return boxes
