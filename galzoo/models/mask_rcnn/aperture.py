"""The light under a proposal, which its fluxes are measured relative to."""

import numpy as np
from keras import ops

from galzoo.layers.roi_align import grid_points, interpolate

# Points on a side at which the image under a proposal is read, and the Gaussian that weighs them, as parts of the side.
_POINTS, _SIGMA = 11, 1 / 6


def aperture_light(seen, square, side):
    """Return the arcsinh of the light under a Gaussian on each square in units of its noise, and that unit.

    Parameters
    ----------
    seen : dict
        ``image`` (n, y, x, band) and ``noise`` (n, 1, 1, band), as from `MaskRCNN.look`.
    square : tensor, (n, proposal, 4)
        x0, y0, x1, y1.
    side : tensor, (n, proposal)
        Of the squares, pixels.

    Returns
    -------
    light, unit : tensors, (n, proposal, band)
    """
    points = grid_points(square, _POINTS)
    offset = (np.arange(_POINTS) + 0.5) / _POINTS - 0.5
    weight = np.exp(-0.5 * (offset**2 + offset[:, None] ** 2) / _SIGMA**2).astype("float32").ravel()
    image = seen["image"]
    rows, columns = image.shape[1:3]
    pixels = interpolate(ops.reshape(image, (-1, rows * columns, image.shape[-1])), points, rows, columns)
    spacing = ops.square(side / _POINTS)[..., None]
    light = ops.sum(pixels * weight[:, None], axis=2) * spacing
    unit = seen["noise"][:, :, 0] * spacing * np.sqrt(np.sum(weight**2))
    return ops.arcsinh(light / unit), unit
