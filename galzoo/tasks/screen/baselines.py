"""What counts sources without a network: shares, SEP's peaks, logistic regression, a Gaussian process."""

import warnings

import numpy as np

from galzoo.data.extraction import extract
from galzoo.metrics.calibration import nll
from galzoo.metrics.reconstruction import inverse_variance

# Thresholds of SEP tried on validation stamps, in the noise of a pixel.
_THRESHOLDS = (1.0, 1.5, 2.0, 3.0, 5.0)
# Principal components, and rows of the Gaussian process, whose cost goes with their cube; fewer fit its length.
_COMPONENTS, _PROCESS_COMPONENTS, _PROCESS_ROWS, _LENGTH_ROWS = 40, 15, 2000, 400


def fit_baselines(batches, label, classes):
    """Fit every baseline to scenes that are not those judged.

    Parameters
    ----------
    batches : list of dict
        Keys ``image``, ``variance`` and, where present, ``mask``.
    label : int array, (n,)
        Class of each row of the batches.
    classes : int

    Returns
    -------
    dict of str to callable
        A list of batches to probabilities, (n, class).
    """
    shares = (np.bincount(label, minlength=classes) + 1.0) / (len(label) + classes)
    found = {
        "shares alone": lambda other: np.tile(shares, (sum(len(one["image"]) for one in other), 1)),
        "SEP peaks": _fit_peaks(batches, label, classes),
    }
    if len(np.unique(label)) > 1:
        pixels = standard_pixels(batches)
        found["logistic regression"] = _fit_linear(pixels, label, classes)
        found["Gaussian process"] = _fit_process(pixels, label, classes)
    return found


def standard_pixels(batches):
    """Return asinh of the pixels over their noise as rows (n, number), 0 where bad."""
    parts = []
    for batch in batches:
        weight = inverse_variance(batch["variance"], batch.get("mask"))
        pixels = np.arcsinh(np.where(weight > 0, batch["image"], 0) * np.sqrt(weight))
        parts.append(pixels.reshape(len(pixels), -1).astype(np.float32))
    return np.concatenate(parts)


def count_peaks(batches, threshold):
    """Return how many sources SEP finds in each stamp, all bands together, (n,)."""
    numbers = []
    for batch in batches:
        for one, bad in zip(*signal_to_noise(batch), strict=True):
            numbers.append(len(extract(one, threshold, 1.0, bad)[0]))
    return np.asarray(numbers)


def signal_to_noise(batch):
    """Return the light of all bands together over its noise, 0 where no band is good, and where that is, (n, y, x)."""
    weight = inverse_variance(batch["variance"], batch.get("mask"))
    total = weight.sum(axis=-1)
    light = np.sum(np.where(weight > 0, batch["image"], 0) * weight, axis=-1)
    mask = ~(total > 0)
    return np.where(mask, 0, light / np.sqrt(np.where(mask, 1, total))).astype(np.float32), mask


def _fit_peaks(batches, label, classes):
    """Return the share of each true number among stamps of so many peaks, at the threshold that tells most."""
    best = None
    for threshold in _THRESHOLDS:
        peaks = np.minimum(count_peaks(batches, threshold), classes)
        table = np.ones((classes + 1, classes))
        np.add.at(table, (peaks, label), 1)
        table /= table.sum(axis=1, keepdims=True)
        loss = nll(table[peaks], label).mean()
        if best is None or loss < best[0]:
            best = loss, threshold, table
    _, threshold, table = best
    return lambda other: table[np.minimum(count_peaks(other, threshold), classes)]


def _fit_linear(pixels, label, classes):
    from sklearn.linear_model import LogisticRegression

    reduce, rows = _components(pixels, _COMPONENTS)
    return _classifier(reduce, LogisticRegression(C=0.1, max_iter=1000).fit(rows, label), classes)


def _fit_process(pixels, label, classes):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    reduce, rows = _components(pixels, _PROCESS_COMPONENTS)
    order = np.random.default_rng(0).permutation(len(label))
    few, many = (order[:number] for number in (_LENGTH_ROWS, _PROCESS_ROWS))
    if len(np.unique(label[few])) < 2:
        few = many = order
    process = GaussianProcessClassifier(ConstantKernel(4.0, "fixed") * RBF(5.0, (1.0, 50.0)), random_state=0)
    with warnings.catch_warnings():
        # A few rows leave the length of the process at its bound.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(rows[few], label[few])
    length = np.median([kernel.k2.length_scale for kernel in getattr(process.kernel_, "kernels", [process.kernel_])])
    process = GaussianProcessClassifier(ConstantKernel(4.0) * RBF(length), optimizer=None)
    return _classifier(reduce, process.fit(rows[many], label[many]), classes)


def _components(pixels, number):
    """Return what takes rows of pixels to so many standardized principal components, and those of the given ones."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    reduce = make_pipeline(PCA(min(number, *pixels.shape), random_state=0), StandardScaler())
    return reduce, reduce.fit_transform(pixels)


def _classifier(reduce, classifier, classes):
    """Return the probabilities (n, class) of a list of batches as a function."""

    def probability(batches):
        answer = classifier.predict_proba(reduce.transform(standard_pixels(batches)))
        full = np.full((len(answer), classes), 1e-4)
        full[:, classifier.classes_] += answer
        return full / full.sum(axis=1, keepdims=True)

    return probability
