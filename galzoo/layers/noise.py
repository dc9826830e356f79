"""Noise: what the sky, the detector and the photons themselves add to a noiseless image."""

import keras
from keras import ops

from galzoo.errors import InputError

# Up to this mean Poisson numbers are drawn exactly; above it the normal expansion is good to its third moment.
EXACT_MEAN = 16.0
# The chance of more counts than this at the mean above is 1e-10.
MOST_COUNTS = 48


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
    normal = keras.random.normal(shape, seed=seed)

    def more(count, state):
        drawn, term, total = state
        drawn = drawn + ops.cast(uniform > total, "float32")
        term = term * small / ops.cast(count, "float32")
        return drawn, term, total + term

    nothing = ops.exp(-small)
    few = ops.fori_loop(1, MOST_COUNTS, more, (ops.zeros_like(mean), nothing, nothing))[0]
    many = ops.maximum(ops.round(mean + ops.sqrt(mean) * normal + (ops.square(normal) - 1) / 6), 0.0)
    return ops.where(exact, few, many)


@keras.saving.register_keras_serializable(package="galzoo")
class AddNoise(keras.layers.Layer):
    """Add noise to noiseless images.

    Parameters
    ----------
    seed : int
        Of the random numbers. Their state is a variable of the layer, so a resumed training goes on where it stopped.
    poisson : bool
        Draw the photon noise of the sources too.

    Notes
    -----
    Called with ``(image, variance)`` or ``(image, variance, gain=gain)``. `variance` (n, y, x, band), or anything that
    broadcasts to it, is of the Gaussian noise, in the image's unit squared; where it is infinite or NaN no noise is
    added. With ``poisson=True`` it is of sky and read-out alone, and `gain` (electrons per unit of the image; number
    or (n, 1, 1, band)) turns the image into expected electrons, whose Poisson noise is added; negative pixels have
    none. The noise has no gradient: that of the result is that of the image.

    Raises
    ------
    InputError
        If `gain` is missing with ``poisson=True``, or given without it.
    """

    def __init__(self, seed=0, poisson=False, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.seed = int(seed)
        self.poisson = bool(poisson)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, image, variance, gain=None):
        if self.poisson == (gain is None):
            raise InputError("gain must be given with poisson=True, and only then, in electrons per unit of the image")
        variance = ops.cast(variance, "float32")
        good = ops.logical_and(ops.isfinite(variance), variance > 0)
        sigma = ops.sqrt(ops.where(good, variance, ops.zeros_like(variance)))
        noise = sigma * keras.random.normal(ops.shape(image), seed=self.seed_generator)
        if self.poisson:
            # A band that is absent has no photons either.
            present = ops.cast(ops.isfinite(variance), "float32")
            mean = ops.maximum(image, 0.0) * gain
            noise = noise + present * (poisson(mean, self.seed_generator) - mean) / gain
        return image + ops.stop_gradient(noise)

    def compute_output_shape(self, image_shape, variance_shape=None, gain_shape=None):
        return image_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed, "poisson": self.poisson}
