"""How much the draws of a generative model differ, beside how far they are from the truth."""

import numpy as np

from galzoo.errors import InputError


def draw_diversity(draws, truth):
    """Return the spread of the draws over their error; 0 is mode collapse.

    Parameters
    ----------
    draws : array, (draw, n, ...)
        Several answers to each of n questions.
    truth : array, (n, ...)
        The true answers.

    Returns
    -------
    array, (n,)
        Root mean square distance between two draws over that between a draw and the truth. For draws of the true
        posterior both have the same expectation, and the ratio of their means over many questions is 1; below, the
        draws are more alike than what is known allows. NaN where every draw is the truth.

    Raises
    ------
    InputError
        If there are fewer than two draws or the shapes do not fit.
    """
    draws, truth = np.asarray(draws, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if len(draws) < 2:
        raise InputError(f"{len(draws)} draws have no spread; give at least 2")
    if draws.shape[1:] != truth.shape:
        raise InputError(f"draws have shape {draws.shape}, the truth {truth.shape}; give (draw, n, ...) and (n, ...)")
    axes = tuple(range(1, truth.ndim))
    # Twice the variance over draws, n - 1 in the denominator, is the mean squared distance between two of them.
    spread = 2 * np.sum(np.var(draws, axis=0, ddof=1), axis=axes)
    error = np.sum(np.mean((draws - truth) ** 2, axis=0), axis=axes)
    return np.sqrt(np.divide(spread, error, out=np.full(error.shape, np.nan), where=error > 0))
