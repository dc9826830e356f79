"""Priors of galzoo inside scarlet2 (Sampson et al. 2024, arXiv:2401.07313), on the JAX back end of Keras.

scarlet2's own priors give a score and a log-probability of 0, so that its choice of the best step and its samplers do
not know of them. `scarlet2_prior` gives a numpyro distribution with the density itself, which JAX differentiates.
"""

import keras
import numpy as np

from galzoo.contracts.prior import PixelDensity
from galzoo.errors import InputError, MissingDependencyError

INSTALL = "pip install scarlet2 jax"
# Smaller boxes are padded with sky: priors are made for stamps from here on.
_LEAST = 16


class DensityOfPrior:
    """The log-density of a prior as a function of a morphology, compiled once for each shape of it.

    Flux, condition and strength are arguments of the compiled function, so that one object serves all sources. A prior
    without an energy has a gradient alone.

    Parameters
    ----------
    prior : PixelDensity
        Of one band.
    scaled : bool
        Take the density of the prior's scaled values ``asinh(flux / noise)`` instead of that of the pixels, whose
        highest point is too faint wherever the data say little. For fits of the most probable image; not for samplers.
    """

    def __init__(self, prior, scaled=False):
        import jax

        _check(prior)
        self.prior, self.scaled = prior, bool(scaled)
        self.values = [variable.value for variable in prior.variables]
        self.compiled = jax.jit(self._density)
        self.compiled_score = jax.jit(self._score)

    def _stamp(self, image, flux):
        from jax import numpy as jnp

        pads = [(max(_LEAST - size, 0) // 2, (max(_LEAST - size, 0) + 1) // 2) for size in image.shape]
        return jnp.pad(jnp.asarray(image, "float32") * flux, pads)[None, :, :, None], pads

    def _density(self, values, image, flux, condition, strength):
        from jax import numpy as jnp

        with keras.StatelessScope(state_mapping=list(zip(self.prior.variables, values, strict=True))):
            stamp, _ = self._stamp(image, flux)
            density = self.prior.image_density(stamp, condition[None])[0]
            if self.scaled:
                return strength * (density - self.prior.log_stretch(stamp)[0])
        # The density is one over the pixels of the morphology.
        return strength * (density + image.size * jnp.log(flux))

    def _score(self, values, image, flux, condition, strength):
        import jax

        (stamp, pads), level = self._stamp(image, flux), np.float32(np.log(self.prior.sigma_min))
        with keras.StatelessScope(state_mapping=list(zip(self.prior.variables, values, strict=True))):
            score = self.prior.image_score(stamp, condition[None], level)
            if self.scaled:
                score = score - jax.grad(lambda pixels: self.prior.log_stretch(pixels)[0])(stamp)
            score = score[0, ..., 0]
        cut = tuple(slice(low, low + size) for (low, _), size in zip(pads, image.shape, strict=True))
        return strength * flux * score[cut]

    def gradient(self, image, flux, condition, strength):
        """Return the gradient of the log-density by a morphology (y, x)."""
        import jax

        if self.prior.exact_score:
            return jax.grad(self)(image, flux, condition, strength)
        return self.compiled_score(self.values, image, flux, condition, strength)

    def __call__(self, image, flux, condition, strength):
        """Return the log-density of a morphology (y, x) times `strength`, a tensor to differentiate."""
        return self.compiled(self.values, image, flux, condition, strength)


def scarlet2_prior(prior, flux, condition=None, weight=1.0, temperature=1.0, form="distribution", shape=None):
    """Return a prior for the morphology of a source of scarlet2.

    Parameters
    ----------
    prior : PixelDensity or DensityOfPrior
        A model of galzoo over pixels, of one band. Give all sources one `DensityOfPrior`, and it is compiled but once.
    flux : float
        What a pixel of value 1 of the morphology is in the unit of the prior's training data: of a morphology with a
        peak of 1 the flux of the brightest pixel, in the band and model frame of the prior.
    condition : dict of str to float, optional
        What is known of the galaxy, such as its magnitude.
    weight : float
        Of the prior against the likelihood.
    temperature : float
        The density is taken to the power of one over it.
    form : {"distribution", "score"}
        A numpyro distribution with a finite ``log_prob``; or scarlet2's own ``ScorePrior``, whose ``log_prob`` is 0.
    shape : (int, int), optional
        Of the morphology, for "score".

    Returns
    -------
    numpyro.distributions.Distribution

    Raises
    ------
    InputError
        If the prior is not over the pixels of one band, Keras does not run on JAX, or a number is out of range.
    MissingDependencyError
        If scarlet2 or numpyro is not installed.

    Examples
    --------
    >>> density = DensityOfPrior(galzoo.load("PRESET"))
    >>> scarlet2.Parameter(source.morphology, "m0", prior=scarlet2_prior(density, flux=120.0), stepsize=0.05)
    """
    if not (flux > 0 and weight >= 0 and temperature > 0):
        raise InputError(
            f"flux is {flux}, weight {weight}, temperature {temperature}; give numbers above 0 (a weight may be 0)"
        )
    if form not in ("distribution", "score"):
        raise InputError(f"form {form!r} is unknown; use 'distribution' or 'score'")
    density = prior if isinstance(prior, DensityOfPrior) else DensityOfPrior(prior)
    if form == "distribution" and not density.prior.exact_score:
        raise InputError("this prior has a score alone, no density; ask for form='score'")
    known = np.full(max(len(density.prior.columns), 1), np.nan, "float32")
    for name, value in (condition or {}).items():
        density.prior.conditions.check(name, value, 1)
        known[density.prior.columns.index(name)] = value
    arguments = np.float32(flux), known, np.float32(weight / temperature)
    return _score_prior(density, arguments, shape) if form == "score" else _distribution(density, arguments)


def _distribution(density, arguments):
    try:
        import numpyro.distributions as dist
    except ImportError:
        raise MissingDependencyError(f"a numpyro distribution needs numpyro: {INSTALL}") from None
    from jax import numpy as jnp
    from jax import vmap

    class GalaxyPrior(dist.Distribution):
        """Density of the morphology (..., y, x) of a galaxy; one value for each image."""

        support = dist.constraints.independent(dist.constraints.real, 2)

        def __init__(self):
            super().__init__(validate_args=False)

        def log_prob(self, value):
            value = jnp.asarray(value)
            flat = value.reshape(-1, *value.shape[-2:])
            found = density(flat[0], *arguments)[None]
            if len(flat) > 1:
                found = vmap(lambda image: density(image, *arguments))(flat)
            return found.reshape(value.shape[:-2])

    return GalaxyPrior()


def _score_prior(density, arguments, shape):
    try:
        from scarlet2.nn import ScorePrior
    except ImportError:
        raise MissingDependencyError(f"a ScorePrior needs scarlet2: {INSTALL}") from None
    import jax

    if shape is None:
        raise InputError("a ScorePrior needs the shape of the morphology; give shape=(y, x)")
    gradient = jax.vmap(lambda image: density.gradient(image, *arguments))
    return ScorePrior(_Callable(gradient), tuple(shape))


class _Callable:
    def __init__(self, function):
        self.function = function

    def __call__(self, images):
        return self.function(images)


def _check(prior):
    if keras.config.backend() != "jax":
        raise InputError(f"Keras runs on {keras.config.backend()}; set KERAS_BACKEND=jax before anything imports it")
    if not isinstance(prior, PixelDensity) or prior.space != "pixels":
        raise InputError(f"{type(prior).__name__} is no prior over pixels with a score; a score_prior is one")
    if len(prior.bands) != 1:
        raise InputError(f"the prior has {len(prior.bands)} bands; a morphology of scarlet2 has one for all bands")
