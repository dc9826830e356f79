"""Whether samples are what they were asked to be: magnitudes, sizes, classes."""

import numpy as np

from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.evaluate.held_out import evenly
from galzoo.metrics.binned import bootstrap, in_bins
from galzoo.metrics.scattering import scattering_features
from galzoo.metrics.shape import adaptive_moments, half_light_radius
from galzoo.tasks.sample.likelihood import known_conditions

BINS = 5
# Half-light radii are measured on so many galaxies, for time.
SIZES = 300
# A class of fewer training galaxies is not learnt.
LEAST = 10
# The classifier's own features: rings of the radial profile; radii and angles of the spiral transform.
RINGS = 6
RADII, ANGLES, ARMS, PITCHES = 24, 64, (1, 2, 3), (1, 2, 3, 4)


def numeric_conditions(model, test, real, samples, band, seed=0):
    """Compare magnitudes and sizes with what was asked for.

    Parameters
    ----------
    model : prior
    test : Stamps
        Whose conditions the samples were drawn for.
    real : array, (n, y, x, band)
        Noiseless images of the test galaxies in the model frame.
    samples : array, same shape
        In the model frame.
    band : int
        Of sizes.
    seed : int

    Returns
    -------
    results : dict
        Column -> ``quantity``; ``set``, True where it is so by construction; ``rows``, of ``low, high`` (what was asked
        for), ``n`` and for "samples" and "real" the median of got / asked - 1, its error and scatter, and ``ratio``
        with its error, the median of samples over real, pair by pair; and ``rank``, the rank correlation of got and
        asked for each set.
    measured : dict
        Column -> ``asked`` and what was got, by set, for figures.
    skipped : dict of str
        Column -> why it is not judged.
    """
    results, measured, skipped = {}, {}, {}
    for name, asked in known_conditions(model, test).items():
        if isinstance(model.condition_ranges[name], list):
            continue
        rows = np.flatnonzero(np.isfinite(asked))
        if name == getattr(model, "flux_column", None):
            quantity = f"flux in {model.flux_band}, which is set to it"
            index = list(model.bands).index(model.flux_band)
            wanted = magnitude_to_njy(asked[rows])
            got = {key: images[rows, ..., index].sum(axis=(1, 2)) for key, images in _sets(real, samples)}
        elif name == "half_light_radius":
            # The column is that of the profile before the blur of the model frame, so the truth is measured too.
            quantity = f"half-light radius in {test.bands[band]}, arcsec"
            rows = evenly(rows, SIZES)
            wanted = asked[rows]
            got = {key: _size(images[rows, ..., band : band + 1], test) for key, images in _sets(real, samples)}
        else:
            skipped[name] = "cannot be measured on an image"
            continue
        if len(rows) < 2 * BINS:
            skipped[name] = f"known for {len(rows)} galaxies only"
            continue
        fixed = name == getattr(model, "flux_column", None)
        results[name] = {"quantity": quantity, "set": fixed, **_compare(asked[rows], wanted, got, seed)}
        measured[name] = {"asked": wanted, **got}
    return results, measured, skipped


def _sets(real, samples):
    return ("samples", samples), ("real", real)


def _size(images, stamps):
    moments = adaptive_moments(images)
    centre = np.concatenate([moments["x"], moments["y"]], axis=-1)
    return half_light_radius(images, centre)[:, 0] * stamps.pixel_scale


def _compare(asked, wanted, got, seed):
    edges = np.unique(np.quantile(asked, np.linspace(0, 1, BINS + 1)))
    edges[-1] = np.nextafter(edges[-1], np.inf)
    bins = [*zip(edges[:-1], edges[1:], strict=True), (-np.inf, np.inf)]
    rows = [
        {
            "low": float(low) if np.isfinite(low) else None,
            "high": float(high) if np.isfinite(high) else None,
            "n": int(((asked >= low) & (asked < high)).sum()),
        }
        for low, high in bins
    ]
    quantities = {key: values / wanted - 1 for key, values in got.items()}
    quantities["ratio"] = np.divide(
        got["samples"], got["real"], out=np.full(len(asked), np.nan), where=np.nan_to_num(got["real"]) > 0
    )
    for key, values in quantities.items():
        parts = [in_bins(values, asked, pair, seed=seed)[0] for pair in bins]
        for row, part in zip(rows, parts, strict=True):
            row[key], row[f"{key}_error"] = part["median"], part["median_error"]
            row[f"{key}_scatter"] = part["scatter"]
    ranks = {
        key: dict(zip(("value", "value_error"), rank_correlation(wanted, got[key], seed), strict=True)) for key in got
    }
    return {"rows": rows, "rank": ranks}


def rank_correlation(a, b, seed=0, draws=100):
    """Return Spearman's rank correlation and its error by bootstrap; NaN where one of the two does not vary."""
    from scipy.stats import rankdata

    good = np.isfinite(a) & np.isfinite(b)
    a, b = np.asarray(a)[good], np.asarray(b)[good]

    def correlate(rows):
        first, second = rankdata(a[rows]), rankdata(b[rows])
        if len(rows) < 2 or not (np.ptp(first) and np.ptp(second)):
            return np.nan
        return float(np.corrcoef(first, second)[0, 1])

    random = np.random.default_rng(seed)
    drawn = np.array([correlate(random.integers(len(a), size=len(a))) for _ in range(draws)] if len(a) else [np.nan])
    drawn = drawn[np.isfinite(drawn)]
    return correlate(np.arange(len(a))), float(np.std(drawn, ddof=1)) if len(drawn) > 1 else float("nan")


def judged_conditions(model, test, train, images, train_images, scale, regress=False, seed=0):
    """Let a classifier that learnt from training galaxies judge samples.

    Classes are told by logistic regression, numbers by ridge regression, on scattering features, radial profiles and
    the sense of spirals, with the strength of the penalty cross-validated. Give it training galaxies through the codec
    as well: one that has met noisy images alone is lost on smooth ones.

    Parameters
    ----------
    model : prior
    test, train : Stamps
        The catalogue of `train` has the columns.
    images : dict of str to array, (n, y, x, band)
        Sets to judge, rows as in `test`: "real" and others.
    train_images : sequence of array, (m, y, x, band)
        Versions of the training galaxies, rows as in `train`.
    scale : array, (band,)
        Of `scattering_features`.
    regress : bool
        Judge numbers as well as classes.
    seed : int

    Returns
    -------
    results : dict
        Column -> for classes ``classes`` with the training galaxies of each, ``majority`` (accuracy of always naming
        the commonest) and set -> ``accuracy, accuracy_error`` (binomial) and ``balanced``, the mean over classes; for
        numbers ``constant`` (mean absolute error of always naming the median) and set -> ``error, error_error`` (mean
        absolute error) and ``rank, rank_error``. And ``n``.
    skipped : dict of str
    """
    results, skipped = {}, {}
    given, learnt = known_conditions(model, test), known_conditions(model, train)
    columns = [name for name in given if regress or isinstance(model.condition_ranges[name], list)]
    if not columns:
        return results, skipped
    features = {name: image_features(image, scale) for name, image in images.items()}
    versions = [image_features(image, scale) for image in train_images]
    for name in columns:
        classes = isinstance(model.condition_ranges[name], list)
        label, known = learnt[name], np.isfinite(given[name])
        if classes:
            values, counts = np.unique(label[np.isfinite(label)], return_counts=True)
            values, counts = values[counts >= LEAST], counts[counts >= LEAST]
            label = np.where(np.isin(label, values), label, np.nan)
            known &= np.isin(given[name], values)
        rows = np.isfinite(label)
        if rows.sum() < 5 * LEAST or known.sum() < LEAST or (classes and len(values) < 2):
            skipped[name] = f"known for {int(rows.sum())} training and {int(known.sum())} test galaxies: too few"
            continue
        judge = _fit([version[rows] for version in versions], label[rows], classes)
        asked = given[name][known]
        result = {"n": int(known.sum()), "n_train": int(rows.sum())}
        if classes:
            result["classes"] = {f"{value:g}": int(count) for value, count in zip(values, counts, strict=True)}
            result["majority"] = float(np.mean(asked == values[np.argmax(counts)]))
        else:
            result["constant"] = float(np.mean(np.abs(asked - np.median(label[rows]))))
        for key in images:
            told = judge.predict(features[key][known])
            result[key] = _classes(asked, told) if classes else _numbers(asked, told, seed)
        results[name] = result
    return results, skipped


def _fit(versions, label, classes):
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    if classes:
        steps, grid = LogisticRegression(max_iter=5000), {"logisticregression__C": [1e-3, 1e-2, 1e-1]}
    else:
        steps, grid = Ridge(), {"ridge__alpha": np.geomspace(1, 1e5, 11)}
    # Versions of one galaxy are in one fold.
    folds = (StratifiedGroupKFold if classes else GroupKFold)(3)
    search = GridSearchCV(make_pipeline(StandardScaler(), steps), grid, cv=folds)
    groups = np.tile(np.arange(len(label)), len(versions))
    with threadpool_limits(limits=1):
        return search.fit(np.concatenate(versions), np.tile(label, len(versions)), groups=groups)


def _classes(asked, told):
    accuracy = float(np.mean(told == asked))
    return {
        "accuracy": accuracy,
        "accuracy_error": float(np.sqrt(max(accuracy * (1 - accuracy), 1 / len(asked)) / len(asked))),
        "balanced": float(np.mean([np.mean(told[asked == value] == value) for value in np.unique(asked)])),
    }


def _numbers(asked, told, seed):
    error, error_error = bootstrap(np.abs(told - asked), np.mean, seed=seed)
    rank, rank_error = rank_correlation(asked, told, seed)
    return {"error": error, "error_error": error_error, "rank": rank, "rank_error": rank_error}


def image_features(image, scale):
    """Describe images (n, y, x, band) for a classifier: scattering, radial profiles, colours, sense of spirals."""
    y, x = (np.arange(size) - (size - 1) / 2 for size in image.shape[1:3])
    radius = np.hypot(y[:, None], x)
    edges = np.linspace(0, 1, RINGS + 1) ** 1.5 * min(image.shape[1:3]) / 2
    rings = [(radius >= low) & (radius < high) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    profile = np.stack([image[:, ring].mean(axis=1) for ring in rings if ring.any()], axis=1) / scale
    profile = np.arcsinh(profile)
    # Differences of neighbouring bands are colours, those of neighbouring rings are concentrations.
    parts = [profile, np.diff(profile, axis=1), np.diff(profile, axis=2)]
    parts = [part.reshape(len(image), -1) for part in parts]
    return np.concatenate([scattering_features(image, scale), *parts, spiral_features(image.mean(axis=-1))], axis=1)


def spiral_features(image):
    """Return by how much arms of each number and pitch turn one way rather than the other, (n, feature).

    The image is sampled in angle and log radius, where a logarithmic spiral is a plane wave; the sense of rotation is
    the difference of its log power at opposite pitch angles, which changes sign in the mirror.
    """
    from scipy import ndimage

    height, width = image.shape[1:3]
    radius = np.geomspace(2.0, 0.45 * min(height, width), RADII)[:, None]
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    where = [(height - 1) / 2 + radius * np.sin(angle), (width - 1) / 2 + radius * np.cos(angle)]
    polar = np.stack([ndimage.map_coordinates(stamp, where, order=1, mode="nearest") for stamp in image])
    # Each ring counts alike, whatever its brightness.
    polar = polar - polar.mean(axis=2, keepdims=True)
    polar = polar / np.maximum(
        polar.std(axis=2, keepdims=True), 1e-6 * (1 + np.abs(image).max(axis=(1, 2)))[:, None, None]
    )
    power = np.abs(np.fft.fft2(polar * np.hanning(RADII + 2)[1:-1, None], axes=(1, 2))) ** 2 + 1.0
    senses = [np.log(power[:, pitch, arms] / power[:, -pitch, arms]) for arms in ARMS for pitch in PITCHES]
    return np.stack(senses, axis=-1).astype(np.float32)
