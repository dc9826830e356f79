"""The noiseless image as a mean of blurred ones: how a score prior of many bands takes noise off."""

import numpy as np
from keras import ops

# Standard deviations in pixels of the blurred images that a pixel may be made of, beside the image itself.
_WIDTHS = 0.8, 1.6, 3.2, 6.4
_CHOICES = len(_WIDTHS) + 2


def maps_of(bands):
    """Return how many maps `guessed_values` reads: shares and a drawn image of each part, a field of each band."""
    return _parts(bands) * (_CHOICES + 1) + bands


def guessed_values(maps, values, log_sigma, spread):
    """Return noiseless values (n, y, x, band): a mean of the noisy image, blurred ones and a drawn one, and a rest.

    The mean over the bands and what each band has beside it are made so, each with its own shares, pixel by pixel, as
    colours change slowly over a galaxy where its light does not. The rest is the field of Karras et al.

    Parameters
    ----------
    maps : tensor, (n, y, x, maps_of(bands))
        Of the network.
    values : tensor, (n, y, x, band)
        With noise.
    log_sigma : tensor, (n,)
        Logarithm of the noise level.
    spread : tensor, ()
        Root mean square of noiseless values.

    Notes
    -----
    Shares are a softmax. Where all maps are 0, the image itself counts as one over the noise level, the drawn image,
    which is 0, as the noise level, both over the spread, and blurred ones as one.
    """
    bands = values.shape[-1]
    parts = _parts(bands)
    shares, drawn, field = ops.split(maps, [parts * _CHOICES, parts * (_CHOICES + 1)], axis=-1)
    log_ratio = (log_sigma - ops.log(spread))[:, None, None, None]
    light = ops.mean(values, axis=-1, keepdims=True)
    noisy = light if bands == 1 else ops.concatenate([light, values - light], axis=-1)
    choices = ops.concatenate([blurred(noisy), (spread * drawn)[..., None]], axis=-1)
    start = np.zeros(_CHOICES, "float32")
    start[0], start[-1] = -1, 1
    shares = ops.reshape(shares, (-1, *choices.shape[1:])) + log_ratio[..., None] * start
    made = ops.sum(ops.softmax(shares, axis=-1) * choices, axis=-1)
    clean = made if bands == 1 else made[..., :1] + made[..., 1:]
    ratio = ops.exp(log_ratio)
    return clean + spread * ratio / ops.sqrt(1 + ops.square(ratio)) * field


def blurred(image):
    """Return an image (n, y, x, band) as it is and at each width, (n, y, x, band, width + 1)."""
    height, width = image.shape[1:3]
    found = [image]
    for sigma in _WIDTHS:
        rows = ops.einsum("ij,njxb->nixb", blur_matrix(height, sigma), image)
        found.append(ops.einsum("ij,nyjb->nyib", blur_matrix(width, sigma), rows))
    return ops.stack(found, axis=-1)


def blur_matrix(size, width):
    """Return the matrix (size, size) that blurs a row of pixels by a Gaussian; each row sums to one, at the rim too."""
    place = np.arange(size)
    matrix = np.exp(-0.5 * ((place[:, None] - place) / width) ** 2)
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype("float32")


def _parts(bands):
    return bands + 1 if bands > 1 else 1
