"""Stars far brighter than a field's others: the halo, the spikes and the saturated middle that they leave."""

import keras
import numpy as np
from keras import ops

# Flux over the error of a star alone, as a power of ten; index of the halo's profile, and its width in FWHM.
_POWER, _INDEX, _HALO = (4.0, 6.3), (1.3, 2.2), (0.4, 1.0)
# Spikes 20 pixels from the star in units of the sky's noise, as a power of ten; how steeply they fall, and their width
# in pixels.
_SPIKE, _FALL, _WIDTH = (-0.5, 1.7), (0.8, 2.0), (0.4, 1.6)
# Length of the trail of a saturated star in pixels, and its half-width.
_TRAIL, _ACROSS = (4.0, 120.0), (0.5, 2.0)


def draw_glare(share, sky, error, fwhm, size, seed):
    """Draw a very bright star for some of the fields, on them or beside them.

    Parameters
    ----------
    share : float
        Of the fields that have one.
    sky : tensor, (n, band)
        Electrons a pixel.
    error : tensor, (n,)
        Of the flux of a star alone in the first band, electrons.
    fwhm : (float, float)
        Least and greatest width of PSFs in pixels.
    size : int
        Pixels on a side of a field.
    seed : keras.random.SeedGenerator

    Returns
    -------
    dict of tensors
        ``places`` (n, 1, 2), within half a field's size of the field; ``electrons`` (n, 1, band), 0 where there is
        none; ``light`` (n, y, x, band), of halo and spikes in electrons; ``trail`` (n, y, x), where charge has run
        along a column or a row.

    Notes
    -----
    The halo is a Moffat profile of a small index, so that it falls by a power of the radius between 2.6 and 4.4. Half
    of the stars have spikes along two lines, or one; a third have a trail.
    """
    n, bands = ops.shape(sky)[0], sky.shape[-1]
    draw = keras.random.uniform((n, 17), seed=seed)
    normal = keras.random.normal((n, bands), seed=seed)

    def between(limits, number):
        return limits[0] + (limits[1] - limits[0]) * draw[:, number]

    there = ops.cast(draw[:, 0] < share, "float32")
    colour = ops.exp(0.5 * normal * (np.arange(bands) > 0).astype("float32"))
    electrons = (there * error * 10.0 ** between(_POWER, 1))[:, None] * colour
    place = 2 * size * draw[:, 2:4] - size / 2 - 0.5
    line = np.arange(size).astype("float32")
    x, y = line - place[:, :1, None], line[:, None] - place[:, 1:, None]
    square = ops.square(x) + ops.square(y)

    index = between(_INDEX, 4)[:, None, None]
    width = ops.exp(between(np.log(fwhm), 5)) * between(_HALO, 6)
    scale = ops.square(width)[:, None, None]
    halo = (index - 1) / (np.float32(np.pi) * scale) * (1 + square / scale) ** (-index)

    angle, fall, thick = np.pi * draw[:, 7], between(_FALL, 8)[:, None, None], between(_WIDTH, 9)[:, None, None]
    cos, sin = ops.cos(angle)[:, None, None], ops.sin(angle)[:, None, None]
    along, across = cos * x + sin * y, cos * y - sin * x
    spikes = ops.exp(-0.5 * ops.square(across / thick)) * ((ops.abs(along) + 4) / 24) ** (-fall)
    other = ops.exp(-0.5 * ops.square(along / thick)) * ((ops.abs(across) + 4) / 24) ** (-fall)
    spikes = spikes + other * ops.cast(draw[:, 10] < 0.7, "float32")[:, None, None]
    height = there * ops.cast(draw[:, 11] < 0.5, "float32") * 10.0 ** between(_SPIKE, 12)
    light = electrons[:, None, None] * halo[..., None]
    light = light + (height[:, None] * ops.sqrt(sky) * colour)[:, None, None] * spikes[..., None]

    upright = (draw[:, 13] < 0.5)[:, None, None]
    across, along = ops.abs(ops.where(upright, x, y)), ops.abs(ops.where(upright, y, x))
    trail = ops.logical_and(across < between(_ACROSS, 14)[:, None, None], along < between(_TRAIL, 15)[:, None, None])
    trail = ops.logical_and(trail, ops.logical_and(there > 0, draw[:, 16] < 0.33)[:, None, None])
    return {"places": place[:, None], "electrons": electrons[:, None], "light": light, "trail": trail}
