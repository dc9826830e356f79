"""The loss of Morpheus."""

from keras import ops


def class_weights(labels):
    """Return the weight of each pixel: one over how much of the batch its commonest class makes up.

    Parameters
    ----------
    labels : tensor, (n, y, x, class)
        Membership of each pixel in each class; they sum to 1.

    Returns
    -------
    tensor, (n, y, x)
        One over the mean over all pixels of the batch of the largest membership, where it is that of the same class.
    """
    largest = ops.max(labels, axis=-1, keepdims=True)
    dominant = ops.one_hot(ops.argmax(labels, axis=-1), labels.shape[-1], dtype=labels.dtype)
    share = ops.mean(dominant * largest, axis=(0, 1, 2))
    return ops.sum(dominant / ops.maximum(share, 1e-7), axis=-1)


def cross_entropy(logits, labels):
    """Return the cross entropy of each pixel, (n, y, x)."""
    return -ops.sum(labels * ops.log_softmax(logits, axis=-1), axis=-1)


def dice(logits, labels):
    """Return the Dice coefficient of the background of each image, (n,): 1 where it is known without error.

    The last class is the background. Its probability is the sigmoid of its logit, whatever the others are, and sums are
    not squared, both as published.
    """
    found, true = ops.sigmoid(logits[..., -1]), labels[..., -1]
    both = ops.sum(found * true, axis=(1, 2))
    return 2 * both / (ops.sum(found + true, axis=(1, 2)) + 1e-7)
