"""How well pixels are told apart: confusion of classes, accuracy, intersection over union."""

import numpy as np

from galzoo.errors import InputError


def confusion(true, found, classes):
    """Return how many pixels of each true class (rows) are called each class (columns), int (class, class).

    Parameters
    ----------
    true, found : int array, same shape
        Class numbers, 0 to `classes` - 1; pixels where either is negative do not count.
    classes : int
    """
    true, found = np.asarray(true).ravel(), np.asarray(found).ravel()
    if true.shape != found.shape:
        raise InputError(f"true classes of {true.size} pixels and found ones of {found.size}; give the same pixels")
    good = (true >= 0) & (found >= 0)
    flat = true[good].astype(np.int64) * classes + found[good]
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def accuracy(table):
    """Return the share of pixels with the right class, of a table of `confusion` (..., class, class)."""
    table = np.asarray(table, float)
    return _ratio(np.trace(table, axis1=-2, axis2=-1), table.sum(axis=(-2, -1)))


def recall(table):
    """Return the share of each true class that is found, (..., class); NaN where there is none."""
    table = np.asarray(table, float)
    return _ratio(np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-1))


def intersection_over_union(table):
    """Return for each class the pixels that are and are called it, over those that are or are called it, (..., class).

    NaN where neither is the case.
    """
    table = np.asarray(table, float)
    both = np.diagonal(table, axis1=-2, axis2=-1)
    return _ratio(both, table.sum(axis=-1) + table.sum(axis=-2) - both)


def mean_iou(table):
    """Return the mean over classes of `intersection_over_union`; those that nowhere are do not count."""
    each = intersection_over_union(table)
    there = np.isfinite(each)
    return _ratio(np.where(there, each, 0).sum(axis=-1), there.sum(axis=-1))


def _ratio(part, whole):
    whole = np.asarray(whole, float)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
