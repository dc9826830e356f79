"""Probabilities of logits on the host."""

import numpy as np


def expit(logit):
    """Return 1 / (1 + exp(-logit)), as exact far from zero as near it.

    Parameters
    ----------
    logit : numpy.ndarray or float
        Logits of any shape, infinite ones too.

    Returns
    -------
    numpy.ndarray
        Probabilities of the same shape.
    """
    return np.exp(-np.logaddexp(0, -logit))
