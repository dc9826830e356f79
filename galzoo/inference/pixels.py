"""Deblending with any prior over pixels: the most probable images, started from another deblender's answer.

Slower than a fit in a latent space, and it needs a prior with a score; but the galaxies may look like anything that the
prior knows. PixelCNNs over pixels and score priors plug in here alike.
"""

import numpy as np

from galzoo.inference.pixel_scene import PixelScene
from galzoo.progress import track

# Decay rates of the moving averages of gradient and squared gradient (Kingma & Ba 2015).
_MOMENTUM, _MEMORY = 0.9, 0.99
# Greatest noise on scaled values that a prior of many noise levels is asked for, and the share of steps that it falls.
_NOISE, _FALL = 0.5, 0.7
# Colours are solved for after every so many steps.
_COLOUR_STEPS = 5
# Galaxies that a prior sees at once are filled up to a multiple of this, so that few shapes are compiled.
_FILL = 16


def deblend_pixels(
    prior, first, batch, model_sigma, size=None, steps=150, rate=0.1, weight=1.0, condition=None, progress=False
):
    """Find non-negative images of all sources that are probable under the data and under a prior.

    Each source is an image of its own, about the whole pixel nearest to its position. Where the prior is of one band
    and the data are of several, a galaxy has one colour: its image in one band, times a number in each other.

    Parameters
    ----------
    prior : Prior
        Over pixels (`galzoo.contracts.prior.Prior` with space "pixels"), of single galaxies in the model frame, centred
        on their stamps; in the unit of the data, of the bands of the data or of one.
    first : Deblended
        Where the search starts: another deblender's answer. Its positions are kept, and its light beyond the stamps.
    batch : dict
        ``image``, ``variance`` and, where present, ``mask`` and ``psf``; NumPy.
    model_sigma : float
        Sigma in pixels of the model frame's Gaussian.
    size : int, optional
        Pixels on a side of the image of a source; that of the prior's training data by default.
    steps : int
        Number of steps.
    rate : float
        First step, in scaled values ``asinh(flux / noise level)``; it falls to a hundredth by a cosine.
    weight : float
        Of the prior; 0 is the likelihood alone.
    condition : dict of arrays, optional
        What the prior is conditioned on, one value a source that is present, in order.
    progress : bool
        Show a bar.

    Returns
    -------
    Deblended
        `first` with other images and fluxes; errors, where it has any, are those of `first`.

    Raises
    ------
    InputError
        If the prior is not over pixels with a score or the shapes do not fit.

    Notes
    -----
    The density of the scaled values is maximised, not that of the pixels, whose highest point is too faint wherever the
    data say little. A prior with a ``sigma_min`` is asked for its score at noise levels that fall to it, so that light
    can move between sources first.

    References
    ----------
    Lanusse, Melchior & Moolekamp 2019, arXiv:1912.03980; Sampson et al. 2024, arXiv:2401.07313.
    """
    scene = PixelScene(prior, first, batch, model_sigma, size)
    x, colours = scene.start()
    soft = scene.soft
    known = None if condition is None else {name: _filled(np.asarray(value)) for name, value in condition.items()}
    levels = _levels(prior, steps)

    def score(images, step):
        found = np.zeros_like(images)
        there = images[first.present]
        options = {} if levels is None else {"sigma": levels[step]}
        found[first.present] = np.asarray(prior.score(_filled(there), known, **options))[: len(there)]
        return found

    z = np.arcsinh(x / soft)
    mean, square = np.zeros_like(z), np.zeros_like(z)
    for step in track(range(steps), "fitting pixels", progress):
        x, stretch = soft * np.sinh(z), soft * np.cosh(z)
        slope = stretch * scene.slope(x, colours)
        if weight and first.present.any():
            slope += weight * (stretch * score(x.astype("float32"), step) + np.tanh(z))
        slope = np.nan_to_num(slope)
        mean = _MOMENTUM * mean + (1 - _MOMENTUM) * slope
        square = _MEMORY * square + (1 - _MEMORY) * slope**2
        unbiased = mean / (1 - _MOMENTUM ** (step + 1)), square / (1 - _MEMORY ** (step + 1))
        length = rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / max(steps, 1))))
        z = np.clip(z + length * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8), 0.0, 12.0)
        z *= first.present[:, :, None, None, None]
        if (step + 1) % _COLOUR_STEPS == 0:
            colours = scene.solve_colours(soft * np.sinh(z), colours)
    return scene.answer(soft * np.sinh(z), colours)


def _levels(prior, steps):
    """Return the noise level of each step for a prior that has many, None for another."""
    low = getattr(prior, "sigma_min", None)
    if low is None:
        return None
    share = np.minimum(np.arange(steps) / max(_FALL * steps, 1), 1)
    high = max(_NOISE, low)
    return np.maximum(high * (low / high) ** share, low)


def _filled(values):
    """Repeat the last row until there is a multiple of `_FILL` of them."""
    return np.concatenate([values, np.repeat(values[-1:], -len(values) % _FILL, axis=0)])
