"""Whether a model made its samples or remembers them: distances to the images that it was trained on."""

import numpy as np

from galzoo.errors import InputError
from galzoo.metrics.binned import bootstrap

# Numbers in a block of distances.
BLOCK = 4_000_000


def nearest_neighbour_ratio(samples, held_out, train, pairs=16, seed=0, n_boot=200):
    """Compare how near samples and unseen galaxies are to the training set.

    Images are brought to unit norm, and distances are the least over the turns by 90 degrees and flips that the stamp
    allows. Features are brought to unit scatter of the training set instead.

    Parameters
    ----------
    samples, held_out, train : array, (n, y, x), (n, y, x, band) or (n, feature)
        Sets of one kind, finite. All must have the same kind of noise: a noiseless sample is nearer to everything than
        a noisy galaxy, and the ratio would blame the model for it.
    pairs : int
        Closest pairs of a sample and a training image to return.
    seed, n_boot : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``ratio`` (median distance of the samples to their nearest training image over that of the held-out ones: 1
        without memorisation, well below 1 for copies), ``error``, ``samples, held_out`` (the medians),
        ``sample_distance, held_out_distance`` (n,), ``nearest`` (row in `train` for each sample) and ``pairs``
        (pair, 2), rows in `samples` and `train`, closest first, with ``pair_distance``.

    Raises
    ------
    InputError
        If shapes do not match, a set is empty or values are not finite.

    Notes
    -----
    A model that copies a tenth of its samples leaves the median alone: look at the closest pairs too.

    References
    ----------
    Meehan, Chaudhuri & Dasgupta 2020 (arXiv:2004.05675) for the comparison with held-out data.
    """
    _check({"samples": samples, "held_out": held_out, "train": train})
    distance, nearest = nearest_neighbours(samples, train)
    unseen, _ = nearest_neighbours(held_out, train)
    order = np.argsort(distance, kind="stable")[:pairs]
    top, bottom = _median(distance, seed, n_boot), _median(unseen, seed + 1, n_boot)
    ratio, error = _ratio(top, bottom)
    return {
        "ratio": ratio,
        "error": error,
        "samples": top[0],
        "held_out": bottom[0],
        "sample_distance": distance,
        "held_out_distance": unseen,
        "nearest": nearest,
        "pairs": np.stack([order, nearest[order]], axis=-1),
        "pair_distance": distance[order],
    }


def nearest_neighbours(values, reference, unit=None):
    """Find the nearest of a reference set for each image or feature vector.

    Parameters
    ----------
    values, reference : array, (n, y, x), (n, y, x, band) or (n, feature)
        Distances as in `nearest_neighbour_ratio`.
    unit : array, (m, feature), optional
        Features whose scatter is the unit; those of `reference` by default.

    Returns
    -------
    distance : array, (n,)
        Exact copies have about 1e-3 or less, for rounding.
    index : int array, (n,)
        Rows of the reference.
    """
    values, reference = np.asarray(values), np.asarray(reference)
    if values.ndim == 2:
        unit = reference if unit is None else np.asarray(unit)
        mean, scatter = unit.mean(axis=0), unit.std(axis=0)
        scatter = np.where(scatter > 0, scatter, 1.0)
        turns, values, reference = [lambda rows: rows], (values - mean) / scatter, (reference - mean) / scatter
    else:
        turns, values, reference = _turns(values.shape[1:3]), _unit_norm(values), _unit_norm(reference)
    reference = reference.reshape(len(reference), -1).astype(np.float32)
    square = np.einsum("ij,ij->i", reference, reference)
    distance = np.full(len(values), np.inf, np.float32)
    index = np.zeros(len(values), int)
    columns = max(1, min(len(reference), BLOCK // reference.shape[1]))
    rows = max(1, BLOCK // max(columns, reference.shape[1]))
    for turn in turns:
        for start in range(0, len(values), rows):
            part = turn(values[start : start + rows]).reshape(-1, reference.shape[1]).astype(np.float32)
            own = np.einsum("ij,ij->i", part, part)[:, None]
            for first in range(0, len(reference), columns):
                block = slice(first, first + columns)
                squared = own + square[block] - 2 * part @ reference[block].T
                best = squared.argmin(axis=1)
                least = squared[np.arange(len(part)), best]
                nearer = np.flatnonzero(least < distance[start : start + rows])
                distance[start + nearer], index[start + nearer] = least[nearer], first + best[nearer]
    return np.sqrt(np.maximum(distance, 0.0)).astype(np.float64), index


def _turns(shape):
    """Return the turns and flips that keep the shape of a stamp: eight of a square, four of a rectangle."""
    quarters = (0, 1, 2, 3) if shape[0] == shape[1] else (0, 2)
    return [
        lambda images, k=k, flip=flip: np.rot90(images[:, :, ::-1] if flip else images, k, axes=(1, 2))
        for k in quarters
        for flip in (False, True)
    ]


def _unit_norm(images):
    norm = np.sqrt(np.sum(np.square(images, dtype=np.float64), axis=tuple(range(1, images.ndim)), keepdims=True))
    return (images / np.where(norm > 0, norm, 1.0)).astype(np.float32)


def _check(sets):
    shapes = {name: np.shape(values) for name, values in sets.items()}
    if len({shape[1:] for shape in shapes.values()}) != 1 or {len(shape) for shape in shapes.values()} - {2, 3, 4}:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"shapes are {listed}; give images (n, y, x[, band]) or features (n, feature), all alike")
    for name, values in sets.items():
        if not len(values):
            raise InputError(f"{name} has no rows")
        if not np.isfinite(values).all():
            raise InputError(f"{name} is not finite everywhere; fill bad pixels with 0 in all sets")


def _median(values, seed, n_boot):
    return bootstrap(values, np.median, n_boot, seed)


def _ratio(top, bottom):
    """Return the ratio of two numbers with errors, and its error."""
    if not bottom[0] > 0:
        return float("nan"), float("nan")
    ratio = top[0] / bottom[0]
    return ratio, float(np.hypot(top[1], ratio * bottom[1]) / bottom[0])
