"""Posterior samples of scenes by Hamiltonian Monte Carlo (TensorFlow Probability), for when a Gaussian will not do."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.flux import RIDGE
from galzoo.layers.likelihood import weights

_LEAPFROGS = 6


def sample(model, part, theta, posterior, condition, position_error, draws, rng, warmup=100, thin=1):
    """Sample the fluxes of scenes.

    The chain moves in the parameters, whitened by the Laplace approximation; fluxes, in which the likelihood is
    Gaussian, are integrated out and drawn afterwards for each state, so that they never slow the chain down.

    Parameters
    ----------
    model : GalaxyModel
    part : dict of tensors
        The windows that are fitted.
    theta : array, (n, source, m)
        The mode, where chains start.
    posterior : dict
        Of `galzoo.inference.fit.laplace.posterior`, at the mode.
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
    known = tf.constant(posterior["prior"], tf.float32), tf.constant(posterior["vector"], tf.float32)

    def parameters(white):
        return mode + tf.einsum("nij,nj->ni", root, white)

    @tf.function
    def energy(white):
        values = parameters(white)
        normal, right = products(model, part, tf.reshape(values, (n, sources, m)), condition, *known)
        # Of the fluxes, integrated out: half of what they explain, and the volume that they leave.
        solved = tf.linalg.cholesky_solve(tf.linalg.cholesky(normal), right[..., None])[..., 0]
        explained = tf.reduce_sum(right * solved, axis=1)
        return 0.5 * (explained - tf.linalg.logdet(normal) - tf.reduce_sum(prior * values**2, axis=1))

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

    fluxes = []
    for state in chain():
        normal, right = products(model, part, ops.reshape(parameters(state), (n, sources, m)), condition, *known)
        fluxes.append(_fluxes(normal, right, sources, rng))
    return np.stack(fluxes)


def products(model, part, theta, condition, known, vector):
    """Return the normal matrix (n, band * source, band * source) and the right side (n, band * source) of the fluxes.

    Scaled to unit noise, with a ridge on the diagonal that single precision needs (it draws fluxes down by 1e-4), 1
    there for what is not a source, and what is known of the fluxes by themselves, `known` and `vector`.
    """
    latent = model.latent_of(theta[..., : model.latent], condition)
    positions = part["positions"] + theta[..., model.latent :]
    unit = model.render(latent, positions, part.get("psf"), tuple(part["image"].shape[1:3]))
    unit = unit * ops.cast(part["present"], "float32")[:, :, None, None, None]
    weight = weights(part["variance"], part.get("mask"))
    data = ops.where(weight > 0, ops.cast(part["image"], "float32"), 0.0)
    normal = ops.einsum("nsyxb,ntyxb,nyxb->nbst", unit, unit, weight)
    right = ops.einsum("nsyxb,nyxb->nbs", unit, weight * data) + vector
    diagonal = ops.einsum("nbss->nbs", normal)
    ridge = ops.where(diagonal > 0, RIDGE * diagonal, 1.0)
    bands, sources = normal.shape[1:3]
    normal = normal + ridge[..., None] * np.eye(sources, dtype="float32")
    blocks = ops.einsum("nbst,bc->nbsct", normal, np.eye(bands, dtype="float32"))
    size = bands * sources
    return ops.reshape(blocks, (-1, size, size)) + known, ops.reshape(right, (-1, size))


def _fluxes(normal, right, sources, rng):
    """Draw the fluxes (n, source, band) that belong to one state of the chain."""
    inverse = np.linalg.inv(ops.convert_to_numpy(normal).astype(float))
    mean = np.einsum("nij,nj->ni", inverse, ops.convert_to_numpy(right))
    root = np.linalg.cholesky((inverse + np.swapaxes(inverse, 1, 2)) / 2)
    drawn = mean + np.einsum("nij,nj->ni", root, rng.standard_normal(mean.shape))
    return np.moveaxis(drawn.reshape(len(drawn), -1, sources), 2, 1)
