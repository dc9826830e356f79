"""The losses: how far the separated galaxies are from the true ones, and what the discriminator thinks of them."""

import itertools

import keras
from keras import ops

# Pixels over which the images are averaged for the content loss "features".
_SCALES = 1, 2, 4


def content_loss(made, true, kind="mse", permutation="fixed"):
    """Return how far separated galaxies are from the true ones.

    Parameters
    ----------
    made, true : tensor, (n, branch, y, x, band)
        Galaxies in the network's units.
    kind : {"mse", "features"}
        "mse": mean squared difference of the pixels. "features": of the pixels and of their gradients along y and x, at
        three scales, which weighs edges and arms more; it stands where the original has features of a VGG network.
    permutation : {"fixed", "invariant"}
        "fixed": branch k shall give source k. "invariant": the assignment of branches to sources with the least loss
        counts, in each blend by itself.

    Returns
    -------
    tensor, (n,)
        Mean over the sources.
    """
    branches = made.shape[1]
    made, true = (_features(x) if kind == "features" else [x] for x in (made, true))
    if permutation == "fixed":
        terms = [_mean(ops.square(a - b), keep=1) for a, b in zip(made, true, strict=True)]
        return sum(terms)
    costs = sum(_mean(ops.square(a[:, :, None] - b[:, None]), keep=3) for a, b in zip(made, true, strict=True))
    totals = [
        sum(costs[:, branch, source] for branch, source in enumerate(order)) / branches
        for order in itertools.permutations(range(branches))
    ]
    return ops.min(ops.stack(totals, axis=1), axis=1)


def _mean(x, keep):
    """Return the mean over all axes but the first `keep`."""
    return ops.mean(x, axis=tuple(range(keep, len(x.shape))))


def _features(x):
    """Return the image and its differences along y and x at each scale, as a list of tensors (n, branch, ...)."""
    branches, (rows, columns, bands) = x.shape[1], x.shape[2:]
    flat = ops.reshape(x, (-1, rows, columns, bands))
    found = []
    for scale in _SCALES:
        image = ops.average_pool(flat, scale) if scale > 1 else flat
        for part in (image, image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]):
            found.append(ops.reshape(part, (-1, branches, *part.shape[1:])))
    return found


def adversarial_losses(discriminator, made, true):
    """Return the generator's and the discriminator's loss, from one network in one pass of `fit`.

    Parameters
    ----------
    discriminator : keras.layers.Layer
        Images (m, y, x, band) to logits (m,).
    made, true : tensor, (m, y, x, band)
        Single galaxies of the generator, and true ones.

    Returns
    -------
    generator, discriminator : tensor, ()
        Binary cross-entropies; the generator's has no gradient to the discriminator and the other way round.

    Notes
    -----
    Both losses are minimised in one step by one optimiser. The generator's must not move the discriminator, so it sees
    a copy: in the scope below each of its variables stands for a value without a gradient, and what batch normalisation
    would write there is dropped.
    """
    real = ops.cast(discriminator(true, training=True), "float32")
    fake = ops.cast(discriminator(ops.stop_gradient(made), training=True), "float32")
    loss = 0.5 * (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake)))
    copies = [(variable, ops.stop_gradient(ops.convert_to_tensor(variable))) for variable in discriminator.variables]
    with keras.StatelessScope(state_mapping=copies):
        judged = ops.cast(discriminator(made, training=True), "float32")
    return ops.mean(ops.softplus(-judged)), loss
