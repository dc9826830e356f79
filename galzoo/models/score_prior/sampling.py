"""What a trained score prior is asked for: samples, densities, scores, maps of artefacts; NumPy arrays."""

import numpy as np
from keras import ops

from galzoo.contracts.prior import Samples
from galzoo.derivatives import Compiled, value_and_gradients
from galzoo.errors import InputError
from galzoo.progress import track

# Curvature of the schedule of noise levels (Karras et al. 2022).
_RHO = 7.0
# Steps of the flow where it is all that gives log p.
_FLOW_STEPS = 24
# Objects at a time.
_BATCH = 64
# Noise levels, in scaled values, at which an image is compared with what the prior makes of it: those of the structure
# of whole galaxies. Lower ones show noise and the fine structure of galaxies themselves.
LEVELS = 0.8, 1.6, 3.2


def _function(model, name, function):
    if not hasattr(model, "compiled_functions"):
        model.compiled_functions = Compiled(model)
    return model.compiled_functions.get((name, model.free), function)


def sample(model, n, condition=None, seed=0, steps=18, size=None, batch_size=64, progress=False):
    """Draw galaxies by Heun's method along the probability flow (Karras et al. 2022, algorithm 1).

    Parameters
    ----------
    model : ScorePrior
    n : int
    condition : dict of str to float or array, (n,), optional
        What they are drawn for; columns not given are those of training galaxies near to what is.
    seed : int
        The same seed gives the same galaxies, and the first of them for a smaller `n`.
    steps : int
        Noise levels; the network runs ``2 * steps - 1`` times.
    size : (int, int), optional
        Stamp in pixels, (y, x); that of the training data by default.
    batch_size : int
        Galaxies at a time; bounds the memory.
    progress : bool

    Returns
    -------
    Samples
        Not negative where the prior is one of noiseless images; ``log_prob`` is NaN where it has no energy.

    Raises
    ------
    InputError
        If a number is out of range or the condition does not fit.
    """
    if not (isinstance(n, int | np.integer) and n >= 1):
        raise InputError(f"n is {n}; draw 1 galaxy or more")
    if steps < 2 or batch_size < 1:
        raise InputError(f"steps is {steps}, batch_size {batch_size}; give at least 2 and 1")
    if seed < 0:
        raise InputError(f"seed is {seed}; give a whole number, 0 or more")
    size = model.stamp_size if size is None else tuple(size)
    if size is None:
        raise InputError("this prior does not know the size of its stamps; give size=(y, x) in pixels")
    wanted, _ = model.conditions.complete(n, condition or {}, np.random.default_rng([seed, 0]))
    rng = np.random.default_rng([seed, 1])
    levels = schedule(model.sigma_min, model.sigma_max, steps)
    images, densities = [], []
    for start in track(range(0, n, batch_size), "sampling", progress):
        number = min(batch_size, n - start)
        given = _columns(model, wanted[start : start + number])
        noise = rng.standard_normal((number, *size, len(model.bands)), "float32")
        values = _heun(model, levels[0] * noise, levels, given)
        image = ops.convert_to_numpy(model.unscale(values))
        images.append(np.maximum(image, 0) if model.noiseless else image)
        known = _densities(model, images[-1], given) if model.energy else np.full(number, np.nan)
        densities.append(known)
    return Samples(
        image=np.concatenate(images),
        condition={name: wanted[:, index] for index, name in enumerate(model.columns)},
        log_prob=np.concatenate(densities),
        bands=model.bands,
        pixel_scale=model.pixel_scale,
        unit=model.unit,
        model_sigma=model.model_sigma,
        survey=model.survey,
    )


def schedule(low, high, steps):
    """Return noise levels from `high` to `low`, (steps,)."""
    ends = np.array([high, low]) ** (1 / _RHO)
    return (ends[0] + np.linspace(0, 1, steps) * (ends[1] - ends[0])) ** _RHO


def _slope(model, values, sigma, condition):
    """Return d values / d sigma of the probability flow."""
    denoise = _function(model, "denoise", lambda z, at, given: model.denoise(z, at, given)[0])
    clean = denoise(values, _level(sigma, len(values)), ops.convert_to_tensor(condition))
    return (values - ops.convert_to_numpy(clean)) / np.float32(sigma)


def _heun(model, values, levels, condition):
    values = values.astype("float32")
    for sigma, following in zip(levels, [*levels[1:], 0.0], strict=True):
        first = _slope(model, values, sigma, condition)
        moved = values + np.float32(following - sigma) * first
        if following:
            second = _slope(model, moved, following, condition)
            moved = values + np.float32(following - sigma) * 0.5 * (first + second)
        values = moved
    return values


def log_prob(model, x, condition=None):
    """Return log-densities (n,); see `ScorePrior.log_prob`."""
    if not model.energy:
        return flow_log_prob(model, x, condition, steps=_FLOW_STEPS, probes=1)
    x = _checked(model, x)
    return _densities(model, x, _given(model, condition, len(x)))


def score(model, x, condition=None, sigma=None):
    """Return the gradient of the log-density by the pixels, shape of `x`; see `ScorePrior.score`."""
    x = _checked(model, x)
    given = _given(model, condition, len(x))
    sigma = model.sigma_min if sigma is None else sigma
    if not model.sigma_min <= sigma <= model.sigma_max:
        raise InputError(f"sigma is {sigma}; the prior has levels of noise from {model.sigma_min} to {model.sigma_max}")

    def slope(image, known, level):
        if model.free:
            return model.image_score(image, known, level)
        return value_and_gradients(lambda z: model.image_density(z, known, level), image)[1][0]

    slope = _function(model, "score", slope)
    level = ops.convert_to_tensor(np.float32(np.log(sigma)))
    return _in_batches(lambda image, known: slope(image, known, level), x, given)


def artefacts(model, x, condition=None, levels=LEVELS):
    """Return how much more light each pixel has than what the prior makes of the image, in noise levels.

    Tuned on validation galaxies with rings, trails and second galaxies, whose light is added; negative where light is
    missing.

    Parameters
    ----------
    model : ScorePrior
    x : array, (n, y, x, band)
    condition : dict, optional
    levels : sequence of float
        Noise levels of scaled values; the greatest excess of all is taken, of the sum of the bands. No noise is added.

    Returns
    -------
    array, (n, y, x)
    """
    x = _checked(model, x)
    given = _given(model, condition, len(x))
    values = ops.convert_to_numpy(model.scale(ops.convert_to_tensor(x)))
    found = np.full(x.shape[:3], -np.inf, "float32")
    for sigma in levels:
        for rows in _blocks(len(x)):
            slope = _slope(model, values[rows], sigma, given[rows])
            found[rows] = np.maximum(found[rows], slope.sum(axis=-1) / np.sqrt(x.shape[-1]))
    return found


def flow_log_prob(model, x, condition=None, steps=40, probes=4, seed=0):
    """Return log-densities (n,) by the probability flow, a check of `log_prob`.

    Images are followed from the least to the greatest noise level by Heun's method; the divergence is estimated with
    random signs (Hutchinson). The end has the Gaussian density that the prior has there.

    Parameters
    ----------
    model : ScorePrior
    x : array, (n, y, x, band)
    condition : dict, optional
    steps, probes, seed : int
        Steps, random directions a step.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456, section 4.3.
    """
    x = _checked(model, x)
    given = _given(model, condition, len(x))
    rng = np.random.default_rng(seed)
    levels = schedule(model.sigma_min, model.sigma_max, steps)[::-1]
    scaled = ops.convert_to_numpy(model.scale(ops.convert_to_tensor(x)))
    soft = ops.convert_to_numpy(model.soft)
    total = -np.sum(np.log(soft * np.sqrt(1 + (x / soft) ** 2)), axis=(1, 2, 3), dtype="float64")

    def flow(values, at, known, signs):
        clean, _ = model.denoise(values, at, known)
        return ops.sum(signs * (values - clean) * ops.exp(-at)[:, None, None, None], axis=(1, 2, 3)), clean

    def traced(values, at, known, signs):
        _, (product,) = value_and_gradients(lambda z: flow(z, at, known, signs)[0], values)
        return ops.sum(signs * product, axis=(1, 2, 3))

    traced = _function(model, "trace", traced)

    def divergence(values, sigma, rows):
        parts = []
        for _ in range(probes):
            signs = (rng.integers(0, 2, values.shape) * 2 - 1).astype("float32")
            part = traced(values, _level(sigma, len(values)), ops.convert_to_tensor(given[rows]), signs)
            parts.append(ops.convert_to_numpy(part))
        return np.mean(parts, axis=0, dtype="float64")

    for rows in _blocks(len(x)):
        values = scaled[rows]
        slope, widening = _slope(model, values, levels[0], given[rows]), divergence(values, levels[0], rows)
        for sigma, following in zip(levels[:-1], levels[1:], strict=True):
            step = following - sigma
            moved = values + np.float32(step) * slope
            second = _slope(model, moved, following, given[rows])
            values = values + np.float32(0.5 * step) * (slope + second)
            wider = divergence(values, following, rows)
            total[rows] += 0.5 * step * (widening + wider)
            slope, widening = _slope(model, values, following, given[rows]), wider
        level = _level(model.sigma_max, len(values))
        total[rows] += ops.convert_to_numpy(model.log_density(values, level, ops.convert_to_tensor(given[rows])))
    return total


def base_offset(model, values, condition, most=256, seed=0):
    """Return what is to be added to log p a pixel, so that it is that of a mixture of galaxies at `sigma_max`.

    Each galaxy with noise is judged by the mixture about all the others.
    """
    clean = np.asarray(values[:most], "float64").reshape(len(values[:most]), -1)
    if len(clean) < 2:
        return 0.0
    sigma = model.sigma_max
    noisy = clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)
    distance = np.square(noisy).sum(-1)[:, None] + np.square(clean).sum(-1)[None] - 2 * noisy @ clean.T
    each = -0.5 * distance / sigma**2 - 0.5 * clean.shape[1] * np.log(2 * np.pi * sigma**2)
    np.fill_diagonal(each, -np.inf)
    peak = each.max(axis=1)
    truth = peak + np.log(np.exp(each - peak[:, None]).sum(axis=1) / (len(clean) - 1))
    shaped = noisy.reshape(values[:most].shape).astype("float32")
    found = [
        ops.convert_to_numpy(model.log_density(shaped[rows], _level(sigma, len(shaped[rows])), condition[:most][rows]))
        for rows in _blocks(len(shaped))
    ]
    return float(np.mean(truth - np.concatenate(found)) / clean.shape[1])


def _densities(model, x, given):
    return _in_batches(_function(model, "density", model.image_density), x, given)


def _in_batches(function, x, given):
    parts = [function(ops.convert_to_tensor(x[rows]), ops.convert_to_tensor(given[rows])) for rows in _blocks(len(x))]
    return np.concatenate([ops.convert_to_numpy(part) for part in parts])


def _blocks(n):
    return [slice(start, min(start + _BATCH, n)) for start in range(0, n, _BATCH)]


def _level(sigma, n):
    return ops.full((n,), np.float32(np.log(sigma)))


def _checked(model, x):
    x = np.asarray(x, "float32")
    if x.ndim != 4 or x.shape[-1] != len(model.bands):
        raise InputError(f"images have shape {x.shape}; give (n, y, x, band) with {len(model.bands)} bands")
    if not np.all(np.isfinite(x)):
        raise InputError("the images hold NaN or infinite pixels; a density needs all of them")
    return x


def _columns(model, condition):
    """Return conditions with at least one column."""
    return condition if model.columns else np.full((len(condition), 1), np.nan, "float32")


def _given(model, condition, n):
    """Return conditions (n, column), NaN where nothing is said."""
    known = np.full((n, max(len(model.columns), 1)), np.nan, "float32")
    for name, values in (condition or {}).items():
        model.conditions.check(name, values, n)
        known[:, model.columns.index(name)] = values
    return known
