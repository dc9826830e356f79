"""Flux scaling: physical units to numbers of order one and back."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.likelihood import weights

# sinh(20) is 2.4e8: a pixel that far above the noise does not exist, but an untrained decoder can ask for it.
LARGEST_SCALED = 20.0
# Fraction of each source's weight added to the diagonal where fluxes are solved for: sources in one place share what is
# there.
RIDGE = 1e-4


def noise_level(variance, mask=None):
    """Return the noise of each stamp and band.

    Parameters
    ----------
    variance : tensor, (n, y, x, band)
        Variance in the image's unit squared; infinite where a band is absent.
    mask : tensor, same shape, optional
        True = bad.

    Returns
    -------
    tensor, (n, 1, 1, band)
        Standard deviation in the image's unit, finite and above 0; 1 where no pixel is good. It is the root of the
        harmonic mean of the variance, which the photon noise of a bright source hardly changes.
    """
    weight = weights(variance, mask)
    total = ops.sum(weight, axis=(1, 2), keepdims=True)
    count = ops.sum(ops.cast(weight > 0, weight.dtype), axis=(1, 2), keepdims=True)
    good = total > 0
    ones = ops.ones_like(total)
    return ops.where(good, ops.sqrt(count / ops.where(good, total, ones)), ones)


@keras.saving.register_keras_serializable(package="galzoo")
class FluxScaling(keras.layers.Layer):
    """Scale images by ``asinh(image / (softening * noise))`` (Lupton, Gunn & Szalay 1999), which can be inverted.

    Parameters
    ----------
    softening : float
        Number of noise standard deviations up to which the scale is linear.

    Notes
    -----
    Called with ``(image, noise)``, (n, y, x, band) and (n, 1, 1, band) in the image's unit (see `noise_level`). Pixels
    that are not finite become 0. Clear masked pixels and absent bands beforehand with `galzoo.layers.likelihood.clean`.
    """

    def __init__(self, softening=1.0, **kwargs):
        # Fluxes do not fit in half precision.
        super().__init__(**{"dtype": "float32", **kwargs})
        if not softening > 0:
            raise InputError(f"softening is {softening}; it must be above 0")
        self.softening = float(softening)

    def call(self, image, noise):
        finite = ops.isfinite(image)
        return ops.arcsinh(ops.where(finite, image, ops.zeros_like(image)) / (self.softening * noise))

    def invert(self, scaled, noise):
        """Return the image, in the unit of `noise`, of `scaled` values; beyond +-20 they are clipped."""
        scaled = ops.clip(ops.cast(scaled, "float32"), -LARGEST_SCALED, LARGEST_SCALED)
        return ops.sinh(scaled) * (self.softening * ops.cast(noise, "float32"))

    def compute_output_shape(self, image_shape, noise_shape=None):
        return image_shape

    def get_config(self):
        return {**super().get_config(), "softening": self.softening}


def solve_fluxes(unit, data, weight, ridge=RIDGE):
    """Return the fluxes (n, source, band) that fit the data best, all sources of a scene together.

    Parameters
    ----------
    unit : tensor, (n, source, y, x, band)
        Sources of unit flux as observed; 0 where there is no source, whose flux is then 0.
    data, weight : tensor, (n, y, x, band)
        Data, 0 where the weight is; inverse variance.
    ridge : float
        Fraction of each source's weight added to the diagonal: sources in one place share what is there.
    """
    sources = unit.shape[1]
    flat = ops.transpose(unit, (0, 4, 1, 2, 3))
    flat = ops.reshape(flat, (-1, unit.shape[4], sources, unit.shape[2] * unit.shape[3]))
    inverse = ops.reshape(ops.transpose(weight, (0, 3, 1, 2)), (-1, unit.shape[4], 1, flat.shape[3]))
    pixels = ops.reshape(ops.transpose(data, (0, 3, 1, 2)), (-1, unit.shape[4], flat.shape[3], 1))
    weighted = flat * inverse
    normal = ops.matmul(weighted, ops.transpose(flat, (0, 1, 3, 2)))
    diagonal = ops.sum(weighted * flat, axis=-1)
    # Scaled to a diagonal of 1, so that sources and bands of any brightness are as well conditioned.
    scale = 1.0 / ops.sqrt(ops.where(diagonal > 0, diagonal, 1.0))
    empty = ops.where(diagonal > 0, ridge, 1.0)
    normal = normal * scale[..., None] * scale[..., None, :] + empty[..., None] * np.eye(sources, dtype="float32")
    right = ops.matmul(weighted, pixels) * scale[..., None]
    return ops.transpose(ops.solve(normal, right)[..., 0] * scale, (0, 2, 1))
