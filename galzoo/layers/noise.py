"""Noise: what the sky, the detector and the photons themselves add to a noiseless image."""

import keras
import numpy as np
from keras import ops

from galzoo.layers.psf import gaussian_psf

# Up to this mean Poisson numbers are drawn exactly; above it the normal expansion is good to its third moment.
EXACT_MEAN = 16.0
# The chance of more counts than this at the mean above is 1e-10.
MOST_COUNTS = 48


def normal(n, shape, seed):
    """Draw normal numbers; several times faster than ``keras.random.normal`` without a GPU.

    Parameters
    ----------
    n : int or tensor
        Size of the first axis.
    shape : tuple of int
        Sizes of the others.
    seed : keras.random.SeedGenerator

    Returns
    -------
    tensor, (n, *shape)
    """
    number = int(np.prod(shape))
    half = -(-number // 2)
    bits = keras.random.randint((n, half), 0, 2**31 - 1, dtype="int32", seed=seed)
    # Box & Muller (1958), with 20 bits for the distance and 11 for the direction.
    distance = ops.cast(ops.right_shift(bits, 11), "float32")
    distance = ops.sqrt(-2 * ops.log((distance + 0.5) * 2.0**-20))
    angle = ops.cast(ops.bitwise_and(bits, 2047), "float32") * np.float32(2 * np.pi / 2048)
    pair = ops.concatenate([distance * ops.cos(angle), distance * ops.sin(angle)], axis=1)
    return ops.reshape(pair[:, :number], (n, *shape))


def correlated(n, shape, seed, smoothing=0.0, shared=0.0):
    """Draw normal numbers of unit variance whose neighbours, and whose bands, know of each other.

    Parameters
    ----------
    n : int or tensor
        Size of the first axis.
    shape : (int, int, int)
        Rows, columns and bands.
    seed : keras.random.SeedGenerator
    smoothing : float
        Sigma in pixels of the Gaussian that smooths white noise: pixels a distance d apart correlate by
        ``exp(-d**2 / (4 smoothing**2))``.
    shared : float
        Correlation between two bands, 0 to 1.

    Returns
    -------
    tensor, (n, y, x, band)
    """
    rows, columns, bands = shape
    rim = int(np.ceil(3 * smoothing))
    drawn = normal(n, (rows + 2 * rim, columns + 2 * rim, bands + (1 if shared else 0)), seed)
    if shared:
        drawn = np.sqrt(1 - shared) * drawn[..., :-1] + np.sqrt(shared) * drawn[..., -1:]
    if not rim:
        return drawn
    kernel = gaussian_psf(2 * rim + 1, smoothing)
    kernel = np.repeat((kernel / np.sqrt(np.sum(kernel**2)))[:, :, None, None], bands, axis=2)
    return ops.depthwise_conv(drawn, kernel, data_format="channels_last")


def recorrupt(batch, strength, seed, smoothing=0.0, shared=0.0):
    """Make two noisier batches of one, whose noises do not know of each other (Pang et al. 2021, section 3).

    With n a new draw of the noise that is in the image y, the first is y + strength n and the second is
    y - n / strength. A network that is shown the first and judged by the second gains nothing by the noise of the
    first, so that it learns the galaxy alone; a noiseless image is not needed.

    Parameters
    ----------
    batch : dict
        With ``image`` and ``variance``, (n, y, x, band).
    strength : float
        Above 0. What is shown has ``1 + strength**2`` times the variance, what it is judged by ``1 + strength**-2``.
    seed : keras.random.SeedGenerator
    smoothing, shared : float
        How the noise correlates, as in `correlated`.

    Returns
    -------
    shown : dict
        The batch to see, with the variance of the given one: scalings go by it.
    judged : dict
        The batch to compare with, and its own variance.
    """
    image, variance = batch["image"], batch["variance"]
    drawn = correlated(ops.shape(image)[0], tuple(image.shape[1:]), seed, smoothing, shared)
    noise = drawn * ops.sqrt(ops.where(ops.isfinite(variance), variance, 0.0))
    shown = {**batch, "image": image + strength * noise}
    return shown, {**batch, "image": image - noise / strength, "variance": variance * (1 + strength**-2)}


def poisson(mean, seed):
    """Draw Poisson numbers.

    Parameters
    ----------
    mean : tensor, any shape
        Expected counts; negative ones count as 0.
    seed : keras.random.SeedGenerator

    Returns
    -------
    tensor, same shape
        Whole numbers as floats.

    Notes
    -----
    Keras has no Poisson generator. Small means invert the cumulative distribution; large ones use the Cornish-Fisher
    expansion ``m + sqrt(m) z + (z^2 - 1) / 6`` of a normal number z, which keeps mean, variance and skewness.
    """
    mean = ops.maximum(mean, 0.0)
    shape = ops.shape(mean)
    exact = mean < EXACT_MEAN
    small = ops.where(exact, mean, ops.zeros_like(mean))
    uniform = keras.random.uniform(shape, seed=seed)
    draw = keras.random.normal(shape, seed=seed)

    def more(count, state):
        drawn, term, total = state
        drawn = drawn + ops.cast(uniform > total, "float32")
        term = term * small / ops.cast(count, "float32")
        return drawn, term, total + term

    nothing = ops.exp(-small)
    few = ops.fori_loop(1, MOST_COUNTS, more, (ops.zeros_like(mean), nothing, nothing))[0]
    many = ops.maximum(ops.round(mean + ops.sqrt(mean) * draw + (ops.square(draw) - 1) / 6), 0.0)
    return ops.where(exact, few, many)


def observe(noiseless, sky_variance, gain, seed, photons=False):
    """Return an image as observed, and its variance.

    Parameters
    ----------
    noiseless : tensor, (n, y, x, band)
        Expected flux of the sources; the sky is subtracted.
    sky_variance : tensor, (n, 1, 1, band)
        Variance without sources, in the image's unit squared. Where it is infinite the band is absent: the image is 0.
    gain : tensor, (n, 1, 1, band) or (1, 1, 1, band)
        Electrons per unit of the image; infinite for no noise of the sources.
    seed : keras.random.SeedGenerator
    photons : bool
        Draw Poisson numbers of the sources' electrons; else their noise is Gaussian, as it is above some tens.

    Returns
    -------
    image, variance : tensors, (n, y, x, band)
    """
    noiseless = ops.convert_to_tensor(noiseless)
    present = ops.isfinite(sky_variance)
    shown = ops.cast(present, "float32")
    sky = ops.where(present, sky_variance, 0.0)
    electrons = ops.isfinite(gain)
    gain = ops.where(electrons, gain, 1.0)
    own = ops.cast(electrons, "float32") * shown / gain * ops.relu(noiseless)
    variance = sky + own
    draws = normal(ops.shape(noiseless)[0], noiseless.shape[1:], seed)
    if photons:
        mean = ops.relu(noiseless) * gain
        counted = ops.where(electrons, (poisson(mean, seed) - mean) / gain, 0.0)
        image = noiseless + ops.sqrt(sky) * draws + counted
    else:
        image = noiseless + ops.sqrt(variance) * draws
    return image * shown, variance + ops.where(present, 0.0, np.float32(np.inf))


def observed_variance(image, sky_variance, gain):
    """Return the variance (n, y, x, band) that the maps of observed images say: of the sky and the light that is seen.

    The true variance, of the light without noise, is known only of simulations and would tell what is there.

    Parameters
    ----------
    image : tensor, (n, y, x, band)
        As observed, the sky subtracted.
    sky_variance, gain
        As of `observe`.
    """
    image, finite = ops.convert_to_tensor(image), ops.isfinite(gain)
    own = ops.where(finite, 1 / ops.where(finite, gain, 1.0), 0.0) * ops.relu(image)
    return sky_variance + ops.where(ops.isfinite(sky_variance), own, 0.0)


def noise_of(batch, gain=None):
    """Return what the noise of a blend is made of.

    Parameters
    ----------
    batch : dict
        ``variance``, ``truth`` and, where there is one, ``mask``.
    gain : number or sequence of one number a band, optional
        Electrons per unit of flux, where it is known.

    Returns
    -------
    sky : tensor, (n, 1, 1, band)
        Least variance of each stamp; infinite where a band is absent.
    variance_per_flux : tensor or array, (1, 1, 1, band)
        Variance that a source adds, per unit of its flux: the inverse of the gain.

    Notes
    -----
    PSFs keep the flux, so the sum of what variances have above the sky is the sum of the fluxes over the gain. Both
    sums run over the whole batch: a gain belongs to a survey, and a faint stamp alone tells next to nothing of it.
    """
    variance = ops.cast(batch["variance"], "float32")
    good = variance > 0
    if batch.get("mask") is not None:
        good = ops.logical_and(good, ops.logical_not(ops.cast(batch["mask"], "bool")))
    sky = ops.min(ops.where(good, variance, np.float32(np.inf)), axis=(1, 2), keepdims=True)
    if gain is not None:
        return sky, (1 / np.reshape(np.asarray(gain, "float32"), (1, 1, 1, -1))).astype("float32")
    counted = ops.cast(ops.logical_and(good, variance < np.inf), "float32")
    finite_sky = ops.where(ops.isfinite(sky), sky, 0.0)
    excess = ops.sum(ops.where(counted > 0, variance, 0.0) - finite_sky * counted, axis=(0, 1, 2), keepdims=True)
    light = ops.sum(ops.cast(batch["truth"], "float32") * counted, axis=(0, 1, 2), keepdims=True)
    return sky, ops.where(light > 0, excess / ops.where(light > 0, light, 1.0), 0.0)


def gain_and_sky(sky, variance_per_flux):
    """Return gain and level of the sky, (n, band) each, of what `noise_of` returns.

    The level is that whose electrons have the variance of the sky; 0 where a band is absent. Where sources add no
    variance the gain is infinite and the level 0.
    """
    per_flux = ops.broadcast_to(variance_per_flux, ops.shape(sky))
    counted = ops.logical_and(per_flux > 0, ops.isfinite(sky))
    safe = ops.where(counted, per_flux, 1.0)
    gain = ops.where(per_flux > 0, 1 / ops.where(per_flux > 0, per_flux, 1.0), np.float32(np.inf))
    level = ops.where(counted, sky, 0.0) / safe
    return gain[:, 0, 0], ops.where(counted, level, 0.0)[:, 0, 0]
