"""Colours of galaxies: how probable fluxes in several bands are together."""

import keras
import numpy as np

from galzoo.errors import InputError

# Share of galaxies that are like none of the others, and how much wider than all together they are spread.
_UNUSUAL, _UNUSUAL_WIDTH = 0.02, 2.0
# Relative scatter of fluxes that every component has at least.
_LEAST_SCATTER = 0.03
_EM_STEPS = 60
# Variance, of fluxes in units of the brightest, of a band without data.
_OPEN = 1e6


@keras.saving.register_keras_serializable(package="galzoo")
class ColourPrior(keras.layers.Layer):
    """A mixture of Gaussians over spectral energy distributions, fluxes over their mean.

    The brightness of a galaxy is left free, so the prior is over colours alone, and it is linear in flux: what is
    measured may have any sign. Given the component it is a quadratic form, which joins the least squares for the
    fluxes. One broad component stands for galaxies that are like none of those that the prior has seen.

    Parameters
    ----------
    bands : int
        Number of bands.
    components : int
        Number of Gaussians, the broad one not counted.

    Notes
    -----
    A new prior says nothing; `adapt` fits it. Called with fluxes and variances, it returns `site`.
    """

    def __init__(self, bands, components=8, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.bands, self.components = int(bands), int(components)
        size = self.components + 1
        shapes = {"shares": (size,), "means": (size, self.bands), "covariances": (size, self.bands, self.bands)}
        weights = [self.add_weight(shape, "zeros", trainable=False, name=name) for name, shape in shapes.items()]
        self.shares, self.means, self.covariances = weights
        self.built = True

    @property
    def adapted(self):
        """Whether the prior has been fitted."""
        return bool(np.sum(keras.ops.convert_to_numpy(self.shares)) > 0)

    def adapt(self, flux, seed=0):
        """Fit the mixture to galaxies, by expectation maximisation.

        Parameters
        ----------
        flux : array, (n, band)
            Noiseless fluxes; galaxies without light in all bands together are left out.
        seed : int
            Of the galaxies at which the components start.

        Raises
        ------
        InputError
            If there are fewer than twice as many galaxies as components, or another number of bands.
        """
        flux = np.asarray(flux, float)
        if flux.ndim != 2 or flux.shape[1] != self.bands:
            raise InputError(f"fluxes have shape {flux.shape}; give (n, {self.bands})")
        flux = flux[np.isfinite(flux).all(axis=1) & (flux.sum(axis=1) > 0)]
        if len(flux) < 2 * self.components:
            raise InputError(f"{len(flux)} galaxies with light are too few for {self.components} kinds of colours")
        sed = flux / flux.mean(axis=1, keepdims=True)
        floor = _LEAST_SCATTER**2 * np.eye(self.bands)
        whole = np.cov(sed, rowvar=False).reshape(self.bands, self.bands) + floor
        rng = np.random.default_rng(seed)
        means = sed[rng.choice(len(sed), self.components, replace=False)]
        covariances = np.tile(whole / self.components, (self.components, 1, 1))
        shares = np.full(self.components, 1 / self.components)
        for _ in range(_EM_STEPS):
            offset = sed[:, None] - means
            belongs = _responsibilities(offset, covariances, shares)
            number = belongs.sum(axis=0) + 1e-9
            shares = number / number.sum()
            means = np.einsum("nk,nb->kb", belongs, sed) / number[:, None]
            offset = sed[:, None] - means
            covariances = np.einsum("nk,nkb,nkc->kbc", belongs, offset, offset) / number[:, None, None] + floor
        self.shares.assign(np.append((1 - _UNUSUAL) * shares, _UNUSUAL))
        self.means.assign(np.concatenate([means, sed.mean(axis=0, keepdims=True)]))
        self.covariances.assign(np.concatenate([covariances, _UNUSUAL_WIDTH**2 * whole[None]]))

    def site(self, flux, variance):
        """Return what the prior adds to the least squares for fluxes: chi squared + f^T Q f - 2 q^T f.

        Q and q are those of the Gaussian that has the mean and the covariance of the posterior, which is a mixture.

        Parameters
        ----------
        flux : array, (..., band)
            As measured without the prior, in any unit.
        variance : array, (..., band)
            Of `flux`; infinite for a band without data, of which nothing is said.

        Returns
        -------
        matrix : array, (..., band, band)
        vector : array, (..., band)
            Both 0 if the prior is not adapted.

        References
        ----------
        Minka 2001, Expectation propagation: one pass over the sources, each at what the data say.
        """
        if not self.adapted:
            return np.zeros((*flux.shape, self.bands)), np.zeros(flux.shape)
        shares, means, spread = (
            keras.ops.convert_to_numpy(value).astype(float) for value in (self.shares, self.means, self.covariances)
        )
        seen = np.isfinite(variance)
        both = seen[..., :, None] & seen[..., None, :]
        # In units of the brightest band. A band without data: any flux will do.
        unit = np.maximum(np.where(seen, np.abs(flux), 0).max(axis=-1, keepdims=True), 1e-30)
        flux = np.where(seen, flux / unit, 0)
        spread = spread + np.eye(self.bands) * np.where(seen, 0, _OPEN)[..., None, None, :]
        measured = np.where(seen, variance / unit**2 + 1e-10, _OPEN)[..., None] * np.eye(self.bands)
        means = np.where(seen[..., None, :], means, 0)
        # Brightness by the data alone at first, then with the scatter of the colours, too.
        scale = np.zeros((*means.shape[:-1], 1, 1))
        for _ in range(2):
            total = measured[..., None, :, :] + scale**2 * spread
            inverse = np.linalg.inv(total)
            weight = np.maximum(np.einsum("...kb,...kbc,...kc->...k", means, inverse, means), 1e-300)
            amplitude = np.einsum("...kb,...kbc,...c->...k", means, inverse, flux) / weight
            # No less than its noise: nothing is known of the colours of what may not be there.
            scale = np.sqrt(np.maximum(amplitude, 0) ** 2 + 1 / weight)[..., None, None]
        total = measured[..., None, :, :] + scale**2 * spread
        belongs = _responsibilities(flux[..., None, :] - amplitude[..., None] * means, total, shares)
        # Of each component, brightness left free.
        inverse = np.linalg.inv(spread)
        along = np.einsum("...kbc,...kc->...kb", inverse, means)
        length = np.maximum(np.einsum("...kb,...kb->...k", along, means), 1e-300)
        form = (inverse - along[..., :, None] * along[..., None, :] / length[..., None, None]) / scale**2
        data = np.linalg.inv(measured)
        covariances = np.linalg.inv(data[..., None, :, :] + form)
        centres = np.einsum("...kbc,...cd,...d->...kb", covariances, data, flux)
        # All components together.
        mean = np.einsum("...k,...kb->...b", belongs, centres)
        offset = centres - mean[..., None, :]
        whole = np.einsum("...k,...kbc->...bc", belongs, covariances + offset[..., :, None] * offset[..., None, :])
        after = np.linalg.inv(whole)
        matrix = np.where(both, after - data, 0)
        # Components that disagree may leave less known than before; that is for the data to say.
        values, vectors = np.linalg.eigh((matrix + np.swapaxes(matrix, -1, -2)) / 2)
        matrix = np.einsum("...bi,...i,...ci->...bc", vectors, np.maximum(values, 0), vectors)
        vector = np.einsum("...bc,...c->...b", matrix + np.where(both, data, 0), np.where(seen, mean, 0))
        vector = vector - np.einsum("...bc,...c->...b", np.where(both, data, 0), flux)
        return matrix / unit[..., None] ** 2, vector / unit

    def call(self, flux, variance):
        return self.site(flux, variance)

    def get_config(self):
        return {**super().get_config(), "bands": self.bands, "components": self.components}


def _responsibilities(offset, covariance, shares):
    """Return how probable each component is, (..., k), for offsets (..., k, band) from its mean."""
    solved = np.linalg.solve(covariance, offset[..., None])[..., 0]
    log = np.log(np.maximum(shares, 1e-30)) - 0.5 * np.sum(offset * solved, axis=-1)
    log = log - 0.5 * np.linalg.slogdet(covariance)[1]
    log = log - log.max(axis=-1, keepdims=True)
    return np.exp(log) / np.exp(log).sum(axis=-1, keepdims=True)
