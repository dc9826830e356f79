"""Posterior samples of scenes by Hamiltonian Monte Carlo (TensorFlow Probability), for when a Gaussian will not do."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.flux import RIDGE
from galzoo.layers.likelihood import weights

_LEAPFROGS = 6


def sample(solver, part, theta, posterior, condition, position_error, draws, rng, warmup=100, thin=1):
    """Sample the fluxes of scenes.

    The chain moves in the parameters, whitened by the Laplace approximation; fluxes, in which the likelihood is
    Gaussian, are integrated out and drawn afterwards for each state, so that they never slow the chain down.

    Parameters
    ----------
    solver : SceneSolver
    part : dict of tensors
        The window that is fitted.
    theta : array, (n, source, m)
        The mode, where chains start.
    posterior : dict
        Of `galzoo.inference.laplace.posterior`, at the mode.
    condition : array, (n, source, 1)
        Of the prior.
    position_error : float
        Standard deviation of the offsets' prior, pixels.
    draws, warmup, thin : int
        States to keep, to drop first (the step size adapts in these), and leapfrog trajectories between two.
    rng : numpy.random.Generator

    Returns
    -------
    array, (draw, n, source, band)

    Raises
    ------
    InputError
        If the back end is not TensorFlow.
    """
    if keras.config.backend() != "tensorflow":
        raise InputError(f"sampling needs TensorFlow, the back end is {keras.config.backend()}; use method 'map'")
    import tensorflow as tf
    import tensorflow_probability as tfp

    n, sources, m = theta.shape
    values, vectors = np.linalg.eigh(posterior["full"])
    root = tf.constant(vectors * np.sqrt(np.maximum(values, 1e-12))[:, None, :], tf.float32)
    mode = tf.constant(theta.reshape(n, -1), tf.float32)
    prior = tf.constant(np.tile(np.r_[np.ones(m - 2), np.full(2, position_error**-2)], sources), tf.float32)
    condition = tf.constant(condition, tf.float32)
    split = tf.constant(posterior["split"], tf.float32)

    def parameters(white):
        return mode + tf.einsum("nij,nj->ni", root, white)

    @tf.function
    def energy(white):
        values = parameters(white)
        normal, right = products(solver, part, tf.reshape(values, (n, sources, m)), condition)
        normal = normal + split
        # Of the fluxes, integrated out: half of what they explain, and the volume that they leave.
        solved = tf.linalg.cholesky_solve(tf.linalg.cholesky(normal), right[..., None])[..., 0]
        explained = tf.reduce_sum(right * solved, axis=(1, 2))
        volume = tf.reduce_sum(tf.linalg.logdet(normal), axis=1)
        return 0.5 * (explained - volume - tf.reduce_sum(prior * values**2, axis=1))

    kernel = tfp.mcmc.HamiltonianMonteCarlo(
        energy, step_size=np.full((n, 1), 0.3, "float32"), num_leapfrog_steps=_LEAPFROGS
    )
    kernel = tfp.mcmc.SimpleStepSizeAdaptation(kernel, int(0.8 * warmup), target_accept_prob=np.float32(0.75))
    seed = [int(value) for value in rng.integers(2**31, size=2)]

    @tf.function
    def chain():
        return tfp.mcmc.sample_chain(
            draws,
            tf.zeros((n, sources * m)),
            kernel=kernel,
            num_burnin_steps=warmup,
            num_steps_between_results=thin - 1,
            trace_fn=None,
            seed=seed,
        )

    shape = n, sources, m
    fluxes = [_fluxes(solver, part, parameters(state), condition, shape, posterior["split"], rng) for state in chain()]
    return np.stack(fluxes)


def products(solver, part, theta, condition):
    """Return the normal matrix (n, band, source, source) and the right side (n, band, source) of the fluxes.

    Scaled to unit noise, with the ridge on the diagonal, and 1 there for what is not a source.
    """
    unit = solver.images(part, theta, condition) * ops.cast(part["present"], "float32")[:, :, None, None, None]
    weight = weights(part["variance"], part.get("mask"))
    data = ops.where(weight > 0, ops.cast(part["image"], "float32"), 0.0)
    normal = ops.einsum("nsyxb,ntyxb,nyxb->nbst", unit, unit, weight)
    right = ops.einsum("nsyxb,nyxb->nbs", unit, weight * data)
    diagonal = ops.einsum("nbss->nbs", normal)
    ridge = ops.where(diagonal > 0, RIDGE * diagonal, 1.0)
    return normal + ridge[..., None] * np.eye(unit.shape[1], dtype="float32"), right


def _fluxes(solver, part, values, condition, shape, split, rng):
    """Draw the fluxes (n, source, band) that belong to one state of the chain."""
    normal, right = products(solver, part, ops.reshape(values, shape), condition)
    normal = normal + split
    inverse = np.linalg.inv(ops.convert_to_numpy(normal).astype(float))
    mean = np.einsum("nbst,nbt->nbs", inverse, ops.convert_to_numpy(right))
    root = np.linalg.cholesky((inverse + np.swapaxes(inverse, 2, 3)) / 2)
    return np.moveaxis(mean + np.einsum("nbst,nbt->nbs", root, rng.standard_normal(mean.shape)), 2, 1)
