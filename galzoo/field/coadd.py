"""The bands of a field as one image."""

import numpy as np


def coadd(planes, weights):
    """Return the weighted mean of the bands, its standard deviation, and where no band is good, (y, x) each.

    Parameters
    ----------
    planes : dict of arrays, (y, x, band)
        ``image``, ``variance`` and ``mask``.
    weights : sequence of float
        One a band; the same all over the field, so that a bright core does not lose weight.
    """
    weight = np.where(planes["mask"], 0, np.asarray(weights, float))
    total = weight.sum(axis=-1)
    mask = total <= 0
    total = np.where(mask, 1, total)
    image = (weight * planes["image"]).sum(axis=-1) / total
    variance = (weight**2 * np.where(planes["mask"], 0, planes["variance"])).sum(axis=-1) / total**2
    return image, np.where(mask, 1, np.sqrt(variance)), mask
