"""The decoder: latent vectors as light profiles, on any grid of pixels."""

import keras
import numpy as np
from keras import layers, ops

from galzoo.layers.profiles import expand

# Latent numbers with a meaning of their own: logarithm of the size, and two of the ellipticity.
MEANINGFUL = 3
# Spread of ln(size) and of the conformal shear for latent numbers of unit variance.
_SIZE_SPREAD, _SHEAR_SPREAD = 0.7, 0.5
# Standard deviations of the Gaussians in units of the size: from the core of a de Vaucouleurs profile to its wings.
_NARROWEST, _WIDEST = 0.04, 5.0
# Sersic index and half-light radius, in units of the size, of the profiles that a galaxy is mixed of.
_MIXTURE = ((1.0, 1.0), (1.0, 0.6), (1.0, 1.6), (0.5, 1.0), (4.0, 0.2), (4.0, 0.5), (4.0, 1.2))


@keras.saving.register_keras_serializable(package="galzoo")
class ProfileDecoder(keras.layers.Layer):
    """Decode latent vectors to galaxies of unit flux in the model frame.

    A galaxy is a mixture of concentric Sersic profiles of several indices and radii, whose shares a network chooses for
    each band, so that colours may change from centre to edge. Each profile is a sum of Gaussians, whose ellipticity may
    change with radius. The profile is a function of position, not a picture: it is evaluated where the pixels are, so
    any stamp size, sub-pixel position and number of bands will do, and the total flux is known even where a stamp does
    not hold all of it. Its Fourier transform is known too, so a PSF costs no approximation.

    Parameters
    ----------
    bands : int
        Number of bands.
    latent : int
        Length of a latent vector: ln(size), two of ellipticity, the others for the profile.
    gaussians : int
        Number of Gaussians, in which all profiles are expanded.
    hidden : int
        Units of the network's two hidden layers.
    size : float
        Half-light radius in pixels, of a galaxy without a bulge, that latent 0 stands for.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.

    References
    ----------
    Sums of Gaussians as galaxy profiles: Hogg & Lang 2013, arXiv:1210.6563.
    """

    def __init__(self, bands, latent=8, gaussians=12, hidden=64, size=2.0, model_sigma=0.7, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.bands, self.latent, self.gaussians = int(bands), int(latent), int(gaussians)
        self.hidden = int(hidden)
        self.size, self.model_sigma = float(size), float(model_sigma)
        self._widths = np.geomspace(_NARROWEST, _WIDEST, self.gaussians).astype("float32")
        self._expansions = np.stack([expand(index, radius, self._widths) for index, radius in _MIXTURE], axis=1)
        # At latent 0 most of the light is in the first profile, an exponential disc.
        self._start = np.float32([2.0, -1.0, -1.0, -1.0, -0.5, -0.5, -0.5])[:, None]
        outputs = len(_MIXTURE) * self.bands + self.gaussians
        self.network = keras.Sequential(
            [
                layers.Dense(self.hidden, activation="gelu", dtype="float32"),
                layers.Dense(self.hidden, activation="gelu", dtype="float32"),
                layers.Dense(outputs, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02), dtype="float32"),
            ]
        )
        self.network.build((None, self.latent - 1))
        # A straight way from latent numbers to the profile, which has a meaning from the first step on: latent numbers
        # that mean nothing yet are soon given up for good (posterior collapse).
        self.skip = layers.Dense(outputs, use_bias=False, kernel_initializer="zeros", dtype="float32")
        self.skip.build((None, self.latent - MEANINGFUL))
        self.skip.kernel.assign(self._meanings())
        self.built = True

    def _meanings(self):
        """Return what the latent numbers mean at first, (latent, output).

        Bulge fraction; size of the bulge; concentration of the disc; colour gradient; roundness of the core.
        """
        count = len(_MIXTURE)
        index, radius = np.array(_MIXTURE).T
        bulge, slope = index == 4.0, np.linspace(-1, 1, self.bands) if self.bands > 1 else np.zeros(1)
        shares = np.zeros((4, count, self.bands))
        shares[0, bulge] = 1.5
        shares[1, bulge] = np.log(radius[bulge] / 0.5)[:, None]
        shares[2] = np.select([index == 0.5, (index == 1.0) & (radius != 1.0)], [-1.0, 1.0], 0.0)[:, None]
        shares[3, bulge] = slope
        rows = np.zeros((5, count * self.bands + self.gaussians))
        rows[:4, : count * self.bands] = shares.reshape(4, -1)
        rows[4, count * self.bands :] = np.where(self._widths < 0.5, -0.5, 0.0)
        result = np.zeros((self.latent - MEANINGFUL, rows.shape[1]), "float32")
        known = min(len(result), len(rows))
        result[:known] = rows[:known]
        return result

    def parameters(self, latent):
        """Return what a latent vector stands for.

        Parameters
        ----------
        latent : tensor, (n, latent)

        Returns
        -------
        dict
            ``size`` (n,) in pixels, ``shear`` (n, 2) conformal, ``weights`` (n, gaussian, band) with sum 1 a band,
            ``stretch`` (n, gaussian) by which each Gaussian takes part in the shear.
        """
        shear = _SHEAR_SPREAD * latent[:, 1:3]
        # The profile may depend on how elongated a galaxy is, but not on where its major axis points.
        elongation = ops.sum(ops.square(latent[:, 1:3]), axis=-1, keepdims=True)
        known = ops.concatenate([latent[:, :1], elongation, latent[:, MEANINGFUL:]], axis=-1)
        raw = self.network(known) + self.skip(latent[:, MEANINGFUL:])
        first = len(_MIXTURE) * self.bands
        shares = ops.softmax(ops.reshape(raw[:, :first], (-1, len(_MIXTURE), self.bands)) + self._start, axis=1)
        return {
            "size": self.size * ops.exp(_SIZE_SPREAD * ops.clip(latent[:, 0], -4.0, 4.0)),
            "shear": shear,
            "weights": ops.matmul(self._expansions, shares),
            "stretch": 1.0 + ops.tanh(raw[:, first:]),
        }

    def covariances(self, parameters):
        """Return the covariance of each Gaussian before the model frame, as (xx, xy, yy), each (n, gaussian)."""
        shear = parameters["shear"][:, None, :] * parameters["stretch"][:, :, None]
        length = ops.sqrt(ops.sum(ops.square(shear), axis=-1) + 1e-12)
        length = ops.minimum(length, 3.0)
        direction = shear / (ops.sqrt(ops.sum(ops.square(shear), axis=-1, keepdims=True) + 1e-12))
        scale = ops.square(parameters["size"][:, None] * self._widths)
        plus, across = ops.cosh(length), ops.sinh(length)
        xx = scale * (plus + across * direction[..., 0])
        yy = scale * (plus - across * direction[..., 0])
        return xx, scale * across * direction[..., 1], yy

    def render(self, latent, positions, shape):
        """Draw galaxies of unit flux in the model frame.

        Parameters
        ----------
        latent : tensor, (n, latent)
        positions : tensor, (n, 2)
            Centres as (x, y), pixels of the grid.
        shape : (int, int)
            Size (y, x) of the grid.

        Returns
        -------
        tensor, (n, y, x, band)
            What falls on the grid of a galaxy of unit total flux.
        """
        parameters = self.parameters(latent)
        xx, xy, yy = self.covariances(parameters)
        blur = self.model_sigma**2
        xx, yy = xx + blur, yy + blur
        determinant = xx * yy - xy * xy
        dx = np.arange(shape[1], dtype="float32") - positions[:, :1]
        dy = np.arange(shape[0], dtype="float32") - positions[:, 1:]
        # Products of the one-dimensional parts and a mixed term: exponentials of the whole plane but for the last.
        a, b, c = (0.5 * value / determinant for value in (yy, -xy, xx))
        row = ops.square(dx)[:, None, :] * a[..., None]
        column = ops.square(dy)[:, None, :] * c[..., None]
        mixed = (2.0 * b)[..., None, None] * (dy[:, None, :, None] * dx[:, None, None, :])
        exponent = row[:, :, None, :] + column[:, :, :, None] + mixed
        height = 1.0 / (2 * np.pi * ops.sqrt(determinant))
        gaussians = ops.exp(-exponent) * height[..., None, None]
        flat = ops.reshape(gaussians, (-1, self.gaussians, shape[0] * shape[1]))
        image = ops.matmul(ops.transpose(flat, (0, 2, 1)), parameters["weights"])
        return ops.reshape(image, (-1, shape[0], shape[1], self.bands))

    def call(self, latent, positions, shape):
        return self.render(latent, positions, shape)

    def get_config(self):
        return {
            **super().get_config(),
            "bands": self.bands,
            "latent": self.latent,
            "gaussians": self.gaussians,
            "hidden": self.hidden,
            "size": self.size,
            "model_sigma": self.model_sigma,
        }
