"""How much of a codebook a model uses, counted over a whole data set.

The perplexity of one batch grows with the size of the batch, so that two models trained with different batches cannot
be compared by it. Here codes are counted over all stamps first.
"""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError


def code_counts(codes, size):
    """Count how often each code occurs.

    Parameters
    ----------
    codes : int array, any shape
        Codes from 0 to ``size - 1``.
    size : int
        Number of codes in the codebook, K.

    Returns
    -------
    int array, (size,)

    Raises
    ------
    InputError
        If codes are not integers or lie outside the codebook.
    """
    codes = np.asarray(codes)
    if not np.issubdtype(codes.dtype, np.integer):
        raise InputError(f"codes are {codes.dtype}; give integers")
    if codes.size and not 0 <= codes.min() <= codes.max() < size:
        raise InputError(f"codes run from {codes.min()} to {codes.max()}; the codebook has 0 to {size - 1}")
    return np.bincount(codes.ravel(), minlength=size)


def perplexity_of_counts(counts):
    """Return exp of the entropy (nats) of a histogram of codes: K if all are equally frequent, 1 if one is used.

    Parameters
    ----------
    counts : array, (..., K)

    Returns
    -------
    array, (...)
        NaN where there are no counts.
    """
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum(axis=-1, keepdims=True)
    share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return np.exp(-np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1))


def codebook_usage(codes, size, bootstrap=100, seed=0):
    """Measure how much of the codebook a set of stamps uses.

    Parameters
    ----------
    codes : int array, (n, y, x)
        Codes of n stamps.
    size : int
        Number of codes in the codebook, K.
    bootstrap : int
        Number of resamplings of the stamps for the error.
    seed : int

    Returns
    -------
    dict
        ``perplexity`` and its 1-sigma ``perplexity_error``, ``share_used`` (0 to 1), ``dead`` (codes never used),
        ``size``, ``stamps`` and ``codes`` (how many were counted).

    Raises
    ------
    InputError
        If codes have another shape, are not integers or lie outside the codebook.
    """
    codes = np.asarray(codes)
    if codes.ndim != 3:
        raise InputError(f"codes have shape {codes.shape}; they must be (n, y, x)")
    counts = code_counts(codes, size)
    used = int(np.count_nonzero(counts))
    # Stamps are resampled, not codes: codes of one galaxy are not independent.
    random = np.random.default_rng(seed)
    draws = (codes[random.integers(len(codes), size=len(codes))] for _ in range(bootstrap if len(codes) else 0))
    spread = [perplexity_of_counts(code_counts(draw, size)) for draw in draws]
    return {
        "perplexity": float(perplexity_of_counts(counts)),
        "perplexity_error": float(np.std(spread, ddof=1)) if len(spread) > 1 else float("nan"),
        "share_used": used / size,
        "dead": size - used,
        "size": int(size),
        "stamps": len(codes),
        "codes": int(counts.sum()),
    }


@keras.saving.register_keras_serializable(package="galzoo")
class CodebookPerplexity(keras.metrics.Metric):
    """Perplexity of all codes since the last reset, 1 to `size` (0 before the first batch); Keras resets every epoch.

    Parameters
    ----------
    size : int
        Number of codes in the codebook, K.
    """

    def __init__(self, size, name="perplexity", **kwargs):
        super().__init__(name=name, **kwargs)
        self.size = int(size)
        self.counts = self.add_variable((self.size,), initializer="zeros", dtype="float32", name="counts")

    def update_state(self, codes, sample_weight=None):
        """Count a batch of codes, an int tensor of any shape; `sample_weight` is ignored."""
        flat = ops.reshape(ops.cast(codes, "int32"), (-1,))
        ones = ops.ones_like(flat, dtype="float32")
        self.counts.assign_add(ops.segment_sum(ones, flat, num_segments=self.size))

    def result(self):
        total = ops.sum(self.counts)
        share = self.counts / ops.maximum(total, 1.0)
        entropy = -ops.sum(share * ops.log(ops.where(share > 0, share, ops.ones_like(share))))
        return ops.where(total > 0, ops.exp(entropy), ops.zeros_like(entropy))

    def get_config(self):
        return {**super().get_config(), "size": self.size}
