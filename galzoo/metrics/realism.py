"""How far samples of a model are from real objects: distances of statistics, spectra and features."""

import numpy as np

from galzoo.errors import InputError

# Pixels whose Fourier transform is held in memory at a time.
BLOCK = 2_000_000
# Principal components of the real features that the Frechet distance keeps at most, and rows it wants for each.
COMPONENTS = 32
ROWS_PER_COMPONENT = 5


def scaled_wasserstein(samples, real, seed=0, n_boot=100):
    """Measure the distance of two distributions of one statistic, in standard deviations of the real one.

    Parameters
    ----------
    samples, real : array, (n,) and (m,)
        NaN and infinite values are left out.
    seed, n_boot : int
        Of the bootstrap, which draws from both sets.

    Returns
    -------
    dict
        ``value`` (1-D Wasserstein distance; not negative, and about 1.3 sqrt(1 / n + 1 / m) for equal Gaussians, so
        compare it with that of two sets of real objects), ``error`` (NaN for fewer than two rows), ``n_samples,
        n_real`` (finite values). NaN where no value is left or the real ones do not vary.

    References
    ----------
    Holzschuh et al. 2022, MNRAS 515, 652 (arXiv:2203.11956).
    """
    result = statistics_distance({"statistic": samples}, {"statistic": real}, seed, n_boot)
    return result["statistics"]["statistic"]


def statistics_distance(samples, real, seed=0, n_boot=100):
    """Measure the scaled Wasserstein distance of each of several statistics, and their mean.

    Parameters
    ----------
    samples, real : dict of arrays, (n,) and (m,)
        Row i of all arrays of a set is one object; such as `galzoo.metrics.morphology.morphology` returns. Those of
        `real` decide what is compared.
    seed, n_boot : int
        Of the bootstrap over objects, so that correlations of the statistics enter the error of the mean.

    Returns
    -------
    dict
        ``mean``, ``error`` (of the mean) and ``statistics``, a dict with what `scaled_wasserstein` returns for each.
        Statistics whose distance is NaN are left out of the mean.

    Raises
    ------
    InputError
        If a statistic is missing or lengths differ.

    References
    ----------
    Holzschuh et al. 2022, MNRAS 515, 652 (arXiv:2203.11956).
    """
    samples, real = _table("samples", samples, real), _table("real", real, real)
    values = _distances(samples, real)
    random = np.random.default_rng(seed)
    drawn = [_distances(_resample(samples, random), _resample(real, random), real) for _ in range(n_boot)]
    drawn = np.array([[row[name] for name in values] for row in drawn]).reshape(n_boot, len(values))
    used = [column for column, value in enumerate(values.values()) if np.isfinite(value)]
    result = {"mean": float("nan"), "error": float("nan"), "statistics": {}}
    if used:
        result["mean"] = float(np.mean([list(values.values())[column] for column in used]))
        result["error"] = _spread(drawn[:, used].mean(axis=1))
    for column, (name, value) in enumerate(values.items()):
        counts = [int(np.isfinite(table[name]).sum()) for table in (samples, real)]
        result["statistics"][name] = {
            "value": value,
            "error": _spread(drawn[:, column]) if min(counts) > 1 else float("nan"),
            "n_samples": counts[0],
            "n_real": counts[1],
        }
    return result


def half_against_half(real, seed=0, repeats=20, n=None):
    """Measure the mean distance of `statistics_distance` between two disjoint random parts of the real objects.

    What a perfect model of the same number of samples would score.

    Parameters
    ----------
    real : dict of arrays, (m,)
    seed, repeats : int
        Of the random parts.
    n : int, optional
        Objects a part; half of them by default.

    Returns
    -------
    dict
        ``mean`` over the repeats, ``scatter`` (standard deviation of one repeat) and ``n``.

    Raises
    ------
    InputError
        If there are too few objects.
    """
    real = _table("real", real, real)
    total = len(next(iter(real.values())))
    n = total // 2 if n is None else n
    if not 1 <= n <= total // 2:
        raise InputError(f"two parts of {n} objects cannot be had from {total}; lower n")
    random = np.random.default_rng(seed)
    means = []
    for _ in range(repeats):
        order = random.permutation(total)
        parts = [{name: column[rows] for name, column in real.items()} for rows in (order[:n], order[n : 2 * n])]
        distances = np.array(list(_distances(*parts, real).values()))
        means.append(distances[np.isfinite(distances)].mean() if np.isfinite(distances).any() else np.nan)
    return {"mean": float(np.mean(means)), "scatter": _spread(np.array(means)), "n": int(n)}


def _table(kind, table, names):
    """Return a table of statistics as arrays, those in `names` only."""
    missing = [name for name in names if name not in table]
    if missing or not len(names):
        raise InputError(f"{kind} lack the statistics {', '.join(missing) or '(there are none)'}; measure them first")
    table = {name: np.asarray(table[name], dtype=np.float64) for name in names}
    shapes = {column.shape for column in table.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InputError(f"statistics of {kind} have shapes {sorted(shapes)}; all must be (n,)")
    return table


def _resample(table, random):
    n = len(next(iter(table.values())))
    rows = random.integers(n, size=n) if n else slice(0)
    return {name: column[rows] for name, column in table.items()}


def _distances(samples, real, unit=None):
    """Return the scaled distance of each statistic; `unit` holds the values whose scatter is 1, the real ones."""
    from scipy.stats import wasserstein_distance

    result = {}
    for name, column in real.items():
        a, b, scale = (
            values[np.isfinite(values)] for values in (samples[name], column, column if unit is None else unit[name])
        )
        scale = scale.std() if len(scale) > 1 else 0.0
        usable = len(a) and len(b) and scale > 0
        result[name] = float(wasserstein_distance(a / scale, b / scale)) if usable else float("nan")
    return result


def _spread(values):
    values = values[np.isfinite(values)]
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def power_spectrum_ratio(samples, real, seed=0, n_boot=100):
    """Compare the mean power spectra of two sets of images.

    Parameters
    ----------
    samples, real : array, (n, y, x) or (n, y, x, band)
        The same stamp size, at least 8 pixels a side; finite. A Hann window keeps the edges of the stamps out.
    seed, n_boot : int
        Of the bootstrap over images.

    Returns
    -------
    dict
        ``frequency`` (bin,) in cycles per pixel, ``ratio`` and ``error`` (bin,) or (bin, band): power of the samples
        over that of the real ones, each averaged over directions and images. 1 is perfect; NaN where the real ones have
        no power.

    Raises
    ------
    InputError
        If shapes differ or a pixel is not finite.
    """
    samples, real = (np.asarray(images) for images in (samples, real))
    for kind, images in (("samples", samples), ("real", real)):
        if images.ndim not in (3, 4) or not len(images) or min(images.shape[1:3]) < 8:
            raise InputError(f"{kind} have shape {images.shape}; give (n, y, x[, band]), at least 8 pixels a side")
        if not np.isfinite(images).all():
            raise InputError(f"{kind} have pixels that are not finite; fill them first, for example with 0")
    if samples.shape[1:] != real.shape[1:]:
        raise InputError(f"samples have shape {samples.shape}, real ones {real.shape}; stamps must be alike")
    frequency, top = _azimuthal_power(samples)
    _, bottom = _azimuthal_power(real)
    random = np.random.default_rng(seed)
    drawn = [
        _ratio(*(power[random.integers(len(power), size=len(power))] for power in (top, bottom))) for _ in range(n_boot)
    ]
    error = np.std(drawn, axis=0, ddof=1) if n_boot > 1 else np.full(top.shape[1:], np.nan)
    return {"frequency": frequency, "ratio": _ratio(top, bottom), "error": error}


def _ratio(top, bottom):
    top, bottom = top.mean(axis=0), bottom.mean(axis=0)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _azimuthal_power(images):
    """Return frequencies (bin,) and the power of each image averaged over directions, (n, bin[, band])."""
    from scipy import fft

    height, width = images.shape[1:3]
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[1:-1]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    # Bins of one frequency of the shorter side, from the first to Nyquist's.
    side = min(height, width)
    bins = np.rint(frequency * side).astype(int)
    count = side // 2
    members = (bins.ravel() == np.arange(1, count + 1)[:, None]).astype(np.float64)
    members /= members.sum(axis=1, keepdims=True)
    result = []
    step = max(1, BLOCK // images[0].size)
    for start in range(0, len(images), step):
        part = images[start : start + step].astype(np.float64)
        part = part * window.reshape(window.shape + (1,) * (part.ndim - 3))
        power = np.abs(fft.fft2(part, axes=(1, 2))) ** 2
        result.append(
            np.moveaxis(
                np.tensordot(members, power.reshape(len(power), height * width, *power.shape[3:]), (1, 1)), 0, 1
            )
        )
    return members @ frequency.ravel(), np.concatenate(result)


def _features(features_a, features_b, least):
    pair = [np.asarray(features, dtype=np.float64) for features in (features_a, features_b)]
    for features in pair:
        if features.ndim != 2 or len(features) < least or not features.shape[1]:
            raise InputError(f"features have shape {features.shape}; give (n, feature) with n of {least} or more")
        if not np.isfinite(features).all():
            raise InputError("features are not all finite; leave those rows out")
    if pair[0].shape[1] != pair[1].shape[1]:
        raise InputError(f"features have {pair[0].shape[1]} and {pair[1].shape[1]} columns; they must be the same")
    return pair


def frechet_distance(features_a, features_b, components=None, seed=0, n_boot=20):
    """Measure the distance of two Gaussians with the means and covariances of two sets of features.

    Features are brought to unit scatter of the second set and projected on its principal components, so that the
    covariances are well measured: the distance compares what varies most among real objects.

    Parameters
    ----------
    features_a, features_b : array, (n, feature) and (m, feature)
        Samples and real objects, at least 10 rows each.
    components : int, optional
        Principal components; by default 32, or one for each 5 rows of the smaller set, or all features if fewer.
    seed, n_boot : int
        Of the bootstrap over rows.

    Returns
    -------
    dict
        ``value`` (squared distance in units of a feature's variance), ``error``, ``components`` and ``explained``
        (their share of the variance). Biased upwards for few rows; compare with that of two sets of real objects of
        that size.

    Raises
    ------
    InputError
        If the features do not match, are not finite or do not vary.

    References
    ----------
    Dowson & Landau 1982, Journal of Multivariate Analysis 12, 450; Heusel et al. 2017 (arXiv:1706.08500).
    """
    a, b = _features(features_a, features_b, 10)
    mean, scatter = b.mean(axis=0), b.std(axis=0)
    # Rounding leaves a tiny scatter in a feature that is constant.
    varying = scatter > 1e-6 * np.maximum(np.abs(mean), 1e-30)
    if not varying.any():
        raise InputError("no feature of the real objects varies; there is nothing to compare")
    a, b = ((features[:, varying] - mean[varying]) / scatter[varying] for features in (a, b))
    most = min(b.shape[1], len(b) - 1)
    if components is None:
        components = min(COMPONENTS, most, max(1, min(len(a), len(b)) // ROWS_PER_COMPONENT))
    if not 1 <= components <= most:
        raise InputError(f"components is {components}; from these features give 1 to {most}")
    variance, axes = np.linalg.eigh(b.T @ b / len(b))
    explained = variance[::-1][:components].sum() / variance.sum()
    a, b = (features @ axes[:, ::-1][:, :components] for features in (a, b))
    random = np.random.default_rng(seed)
    drawn = [_frechet(*(rows[random.integers(len(rows), size=len(rows))] for rows in (a, b))) for _ in range(n_boot)]
    return {
        "value": _frechet(a, b),
        "error": float(np.std(drawn, ddof=1)) if n_boot > 1 else float("nan"),
        "components": int(components),
        "explained": float(explained),
    }


def _frechet(a, b):
    shift = a.mean(axis=0) - b.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))
    values, vectors = np.linalg.eigh(second)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    # The trace of the root of first times second, by a symmetric matrix with the same eigenvalues.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ first @ root), 0.0)).sum()
    return float(max(shift @ shift + np.trace(first) + np.trace(second) - 2 * cross, 0.0))


def two_sample_accuracy(features_a, features_b, seed=0, folds=5):
    """Test how often a classifier tells two sets of features apart.

    Logistic regression and gradient-boosted trees are fitted to as many rows of either set and cross-validated.

    Parameters
    ----------
    features_a, features_b : array, (n, feature) and (m, feature)
        At least `folds` rows each; the larger set is thinned at random to the size of the smaller.
    seed : int
    folds : int

    Returns
    -------
    dict
        ``accuracy`` (of the better classifier; 0.5 cannot tell, 1 always can), ``error`` (binomial), ``logistic`` and
        ``boosting`` (accuracy of each) and ``n`` (rows of either set). Taking the better adds about half an error to an
        accuracy of 0.5.

    Raises
    ------
    InputError
        If the features do not match or are too few.

    References
    ----------
    Lopez-Paz & Oquab 2017 (arXiv:1610.06545).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    if folds < 2:
        raise InputError(f"folds is {folds}; give 2 or more")
    a, b = _features(features_a, features_b, folds)
    n = min(len(a), len(b))
    random = np.random.default_rng(seed)
    rows = np.concatenate([group[np.sort(random.permutation(len(group))[:n])] for group in (a, b)])
    label = np.repeat([0, 1], n)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    classifiers = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000)),
        "boosting": HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed),
    }
    # The trees' threads wait on each other: on a busy machine two are many times slower than one.
    with threadpool_limits(limits=1):
        result = {
            name: float(np.mean(cross_val_predict(classifier, rows, label, cv=split) == label))
            for name, classifier in classifiers.items()
        }
    best = max(result.values())
    return {"accuracy": best, "error": float(np.sqrt(best * (1 - best) / (2 * n))), **result, "n": int(n)}
