"""How well classes are told apart."""

import numpy as np

from galzoo.errors import InputError


def confusion(label, predicted, classes):
    """Return how many rows of each true class are given each class.

    Parameters
    ----------
    label, predicted : int array, (n,)
    classes : int

    Returns
    -------
    int array, (class, class)
        True class first.

    Raises
    ------
    InputError
        If shapes differ or a value is no class.
    """
    label, predicted = np.asarray(label), np.asarray(predicted)
    if label.ndim != 1 or label.shape != predicted.shape:
        raise InputError(f"label has the shape {label.shape} and predicted {predicted.shape}; both must be (n,)")
    for values in (label, predicted):
        if len(values) and (values.min() < 0 or values.max() >= classes):
            raise InputError(f"classes go from {values.min()} to {values.max()}; they must be 0 to {classes - 1}")
    flat = label.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def balanced_accuracy(label, predicted, classes=None):
    """Return the share of each class that is found, mean over the classes that occur; NaN without rows.

    Classes are 0 to `classes` - 1, or, without that number, whatever values there are.
    """
    if classes is None:
        values, numbers = np.unique(np.concatenate([label, predicted]), return_inverse=True)
        label, predicted = np.split(numbers, [len(label)])
        classes = len(values)
    table = confusion(label, predicted, classes)
    there = table.sum(axis=1) > 0
    return float(np.mean(np.diag(table)[there] / table.sum(axis=1)[there])) if there.any() else float("nan")
