"""Samples of the pixels of blended galaxies under a prior over pixels, and the fluxes that their mean gives.

The highest point of a density of a thousand pixels is not typical of it, and how two galaxies share light that lies
under both is left to it. Averages over samples do not have this fault.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.inference.pixel_scene import PixelScene
from galzoo.progress import track

# Greatest noise on scaled values in annealed Langevin dynamics, and the length of a step in units of its square.
_NOISE, _STEP = 0.5, 0.15
# Colours are solved for after every so many steps.
_COLOUR_STEPS = 10
# What a chain aims at.
_ACCEPTANCE = 0.75


def anneal_pixels(
    prior, first, batch, model_sigma, size=None, draws=4, levels=12, repeats=8, condition=None, seed=0, progress=False
):
    """Draw images of all sources by annealed Langevin dynamics, and answer with their mean.

    Parameters
    ----------
    prior : Prior
        Over pixels, with a score at many noise levels (``sigma_min``); see `galzoo.inference.pixels.deblend_pixels`.
    first, batch, model_sigma, size, condition
        As in `galzoo.inference.pixels.deblend_pixels`.
    draws : int
        Samples of a scene.
    levels, repeats : int
        Noise levels, which fall to the prior's least, and steps at each.
    seed : int
    progress : bool

    Returns
    -------
    Deblended
        `first` with the mean images and fluxes of the samples; ``samples``, and ``flux_error``, their scatter.

    Raises
    ------
    InputError
        If the prior has no noise levels or does not fit the data.

    Notes
    -----
    At each level the noise on the scaled values, seen through the PSF, adds to the variance of the data, so that the
    likelihood is never sharper than the values are (Jalal et al. 2021, arXiv:2108.01368).
    """
    low = getattr(prior, "sigma_min", None)
    if low is None:
        raise InputError(f"{type(prior).__name__} has no levels of noise to fall through; use sample_pixels")
    scene = PixelScene(prior, first, batch, model_sigma, size)
    begin, colours_begun = scene.start()
    rng, present = np.random.default_rng(seed), first.present
    sigmas = np.geomspace(max(_NOISE, low), low, levels)
    answers = []
    for _ in track(range(draws), "sampling pixels", progress):
        colours = colours_begun
        z = np.arcsinh(begin / scene.soft) + sigmas[0] * rng.standard_normal(begin.shape)
        for step, sigma in enumerate(np.repeat(sigmas, repeats)):
            slope = _posterior_slope(scene, prior, z, colours, sigma, condition)
            length = _STEP * sigma**2
            z = z + length * slope + np.sqrt(2 * length) * rng.standard_normal(z.shape)
            z = np.clip(z, -12, 12) * present[:, :, None, None, None]
            if (step + 1) % _COLOUR_STEPS == 0:
                colours = scene.solve_colours(np.maximum(scene.soft * np.sinh(z), 0), colours)
        # The noise of the last level is taken off.
        z = z + low**2 * _prior_slope(scene, prior, z, low, condition)
        answers.append(scene.answer(scene.soft * np.sinh(np.maximum(z, 0)), colours))
    return _mean(scene, answers)


def _prior_slope(scene, prior, z, sigma, condition):
    """Return the gradient of the log-density of scaled values."""
    there, slope = scene.first.present, np.zeros_like(z)
    x = (scene.soft * np.sinh(z)).astype("float32")
    slope[there] = np.asarray(prior.score(x[there], condition, sigma=sigma))
    return np.nan_to_num(scene.soft * np.cosh(z) * slope + np.tanh(z)) * there[:, :, None, None, None]


def _posterior_slope(scene, prior, z, colours, sigma, condition):
    stretch = scene.soft * np.cosh(z)
    spread = scene.seen_square((stretch * sigma * colours) ** 2 * scene.first.present[:, :, None, None, None])
    weight = scene.inverse / (1 + scene.inverse * spread)
    slope = stretch * scene.slope(scene.soft * np.sinh(z), colours, weight)
    return np.nan_to_num(slope) + _prior_slope(scene, prior, z, sigma, condition)


def _mean(scene, answers):
    """Return the mean of answers, with their fluxes as samples."""
    samples = np.stack([answer.flux for answer in answers])
    return dataclasses.replace(
        scene.answer_of(np.mean([answer.image for answer in answers], axis=0), samples.mean(axis=0)),
        samples=samples,
        flux_error=samples.std(axis=0, ddof=1) if len(answers) > 1 else None,
    )


def sample_pixels(
    prior,
    first,
    batch,
    model_sigma,
    size=None,
    draws=200,
    warmup=100,
    leapfrogs=10,
    condition=None,
    seed=0,
):
    """Sample the pixels of all sources by Hamiltonian Monte Carlo under a prior with an energy, a chain a scene.

    Parameters
    ----------
    prior : PixelDensity
        With ``exact_score``, of the bands of the data.
    first, batch, model_sigma, size
        As in `galzoo.inference.pixels.deblend_pixels`; chains start at the answer `first`.
    draws, warmup, leapfrogs : int
        States to keep, to drop first (the step size adapts in these), and steps of a trajectory.
    condition : dict of arrays, optional
        What the prior is conditioned on, one value a source that is present, in order.
    seed : int

    Returns
    -------
    Deblended
        `first` with the mean images and fluxes of the chain; ``samples``, and ``flux_error``, their scatter.
    accepted : array, (n,)
        Share of accepted trajectories.

    Raises
    ------
    InputError
        If the prior has no energy or does not fit the data, or the back end is not TensorFlow.

    Notes
    -----
    The chain moves in scaled values ``asinh(flux / noise level)``, each divided by the width that the data and the
    prior's own noise (`jitter` or `sigma_min`) leave to it at the start.
    """
    if keras.config.backend() != "tensorflow":
        raise InputError(f"sampling needs TensorFlow, the back end is {keras.config.backend()}")
    if not (prior.exact_log_prob and prior.exact_score):
        raise InputError(f"{type(prior).__name__} has no energy whose gradient is its score; Monte Carlo needs one")
    import tensorflow as tf
    import tensorflow_probability as tfp

    scene = PixelScene(prior, first, batch, model_sigma, size)
    if scene.one:
        raise InputError(f"the prior has 1 band, the data {scene.data.shape[-1]}; sampling needs the same bands")
    density, unwhiten, n = _energy(scene, prior, condition)
    kernel = tfp.mcmc.HamiltonianMonteCarlo(
        tf.function(density), step_size=np.full((n, 1), 0.3, "float32"), num_leapfrog_steps=leapfrogs
    )
    # The steps that a network allows are a hundredth of those of a Gaussian: what changes by a per cent a step does not
    # come there.
    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        kernel, int(0.8 * warmup), target_accept_prob=np.float32(_ACCEPTANCE)
    )

    @tf.function
    def chain(start):
        return tfp.mcmc.sample_chain(
            draws,
            start,
            kernel=kernel,
            num_burnin_steps=warmup,
            trace_fn=lambda _, results: results.inner_results.is_accepted,
            seed=[seed, 1],
        )

    states, accepted = chain(tf.zeros((n, unwhiten.size)))
    white = np.ones((*scene.first.present.shape, 1, 1, scene.data.shape[-1]))
    answers = [scene.answer(unwhiten(state), white) for state in states.numpy()]
    return _mean(scene, answers), accepted.numpy().mean(axis=0)


def _energy(scene, prior, condition):
    """Return the log-posterior of whitened values (n, pixels of all stamps), what makes stamps of them, and n."""
    x, _ = scene.start()
    soft, present = scene.soft.astype("float32"), scene.first.present
    begin = np.arcsinh(x / soft).astype("float32")
    data = soft * np.cosh(begin)
    noise = getattr(prior, "jitter", None) or prior.sigma_min
    seen = scene.cut(np.broadcast_to(scene.inverse[:, None], (*present.shape, *scene.inverse.shape[1:])))
    width = (1 / np.sqrt(noise**-2 + data**2 * seen * scene.sharpness())).astype("float32")
    n, shape, rows = len(begin), begin.shape, np.nonzero(present)[0]
    places = scene.places()
    known = np.full((len(rows), max(len(prior.columns), 1)), np.nan, "float32")
    for name, values in (condition or {}).items():
        prior.conditions.check(name, values, len(rows))
        known[:, prior.columns.index(name)] = values
    where, softs = np.flatnonzero(present.ravel()), np.broadcast_to(soft, (*present.shape, 1, 1, shape[-1]))[present]
    pixels, absent = scene.shape[0] * scene.shape[1], (~present[..., None, None, None]).astype("float32")

    def density(white):
        values = begin + width * ops.reshape(white, shape)
        z = ops.take(ops.reshape(values, (-1, *shape[2:])), where, axis=0)
        image = softs * ops.sinh(z)
        # Absent sources and what lies beyond the image fall into the last pixel, which is dropped.
        light = ops.segment_sum(ops.reshape(image, (-1, shape[-1])), places, n * pixels + 1)[:-1]
        light = ops.reshape(light, (n, *scene.shape, shape[-1]))
        if scene.kernel is not None:
            light = scene.convolved(light)
        likelihood = -0.5 * ops.sum(scene.inverse * ops.square(scene.data - light), axis=(1, 2, 3))
        each = prior.image_density(image, known) + ops.sum(ops.log(softs * ops.cosh(z)), axis=(1, 2, 3))
        free = -0.5 * ops.sum(ops.square(ops.reshape(white, shape)) * absent, axis=(1, 2, 3, 4))
        return likelihood + ops.segment_sum(each, rows, n) + free

    def unwhiten(white):
        return soft * np.sinh(begin + width * white.reshape(shape)) * present[..., None, None, None]

    unwhiten.size = int(np.prod(shape[1:]))
    return density, unwhiten, n
