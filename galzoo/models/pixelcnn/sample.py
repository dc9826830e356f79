"""What a trained PixelCNN is asked for: samples, log-probabilities and scores, as NumPy arrays."""

import keras
import numpy as np
from keras import ops

from galzoo.contracts.prior import Samples
from galzoo.data.zeropoint import AB_NJY, LARGEST, njy_to_magnitude
from galzoo.derivatives import gradient
from galzoo.errors import InputError
from galzoo.models.pixelcnn.sampler import CachedSampler, sample_naively
from galzoo.progress import track

# Rings about the centre, from 0 to 1 at the middle of the sides, whose means say what a galaxy looks like.
_RINGS = 0.0, 0.25, 0.5, 2.0
ZONES = len(_RINGS) - 1
# Objects at a time where a log-probability is asked for.
_BATCH = 64


class _Compiled:
    """The compiled samplers of a model. No container that Keras looks into: they are not parts of the model."""

    def __init__(self):
        self.samplers = {}

    def get(self, model, shape, top_k, guided):
        # One for each size of map: a second size in one function would leave its sizes open.
        key = tuple(shape), top_k, guided
        if key not in self.samplers:
            sampler = CachedSampler(model, top_k, guided)
            # XLA takes longer to compile the loops for TensorFlow than most draws take without it.
            sampler.compile(jit_compile=keras.config.backend() == "jax")
            self.samplers[key] = sampler
        return self.samplers[key]


def sample(
    model,
    n,
    condition=None,
    seed=0,
    temperature=1.0,
    top_k=None,
    guidance=None,
    partial=None,
    size=None,
    batch_size=64,
    naive=False,
    progress=False,
):
    """Draw galaxies from a PixelCNN.

    Parameters
    ----------
    model : PixelCNN
    n : int
        Number of galaxies.
    condition : dict of str to float or array, (n,), optional
        What they are drawn for; columns not given are those of training galaxies near to what is.
    seed : int
        The same seed gives the same galaxies, whatever the batch size, and the first of them for a smaller `n`.
    temperature : float
        Below 1 draws what is more probable, above 1 what is less.
    top_k : int, optional
        Draw among the so many most probable codes alone.
    guidance : float, optional
        Weight of the condition (Ho & Salimans 2022): 1 draws from the conditional distribution, more exaggerates it, 0
        ignores it. For codes. The model's own `guidance` by default.
    partial : array, (y, x) or (n, y, x) of codes, or (y, x, band) or (n, y, x, band) of pixels, optional
        What is known already; negative codes and NaN pixels are drawn. A position is drawn given those before it in
        raster order, so what is known further on does not inform it.
    size : (int, int), optional
        Stamp in pixels, (y, x); that of the training data by default.
    batch_size : int
        Galaxies at a time; bounds the memory.
    naive : bool
        Run the whole network for every position: slow, for tests.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Samples

    Raises
    ------
    InputError
        If a number is out of range, or condition or known part do not fit the model.
    """
    guidance = model.guidance if guidance is None else guidance
    _check(n, temperature, top_k, guidance, batch_size)
    if seed < 0:
        raise InputError(f"seed is {seed}; give a whole number, 0 or more")
    if guidance != 1.0 and model.space != "codes":
        raise InputError(f"guidance is {guidance}; a prior over pixels draws with guidance 1 alone")
    # Two streams, each in the order of the galaxies: the first of many are the same as of few.
    rng = np.random.default_rng([seed, 1])
    wanted, noise = model.conditions.complete(n, condition or {}, np.random.default_rng([seed, 0]))
    if partial is not None:
        noise = np.broadcast_to(ops.convert_to_numpy(model.conditions.typical_noise()), noise.shape)
    shape = _map_shape(model, size)
    values, known = _known(model, partial, n, shape, noise)
    guided = guidance != 1.0 and bool(model.columns)
    parts = []
    for start in track(range(0, n, batch_size), "sampling", progress):
        rows = np.minimum(np.arange(start, start + min(batch_size, n)), n - 1)
        number = min(batch_size, n - start)
        inputs = {
            "uniform": rng.random((number, *shape, model.head.uniforms), "float32"),
            "values": values[rows],
            "known": known[rows],
            "condition": _padded(wanted[rows], model),
            "temperature": np.full((len(rows), 1), temperature, "float32"),
            "guidance": np.full((len(rows), 1), guidance, "float32"),
        }
        # A last batch that is short is filled up, so that the sampler is compiled once.
        fill = len(rows) - number
        inputs["uniform"] = np.concatenate([inputs["uniform"], inputs["uniform"][-1:].repeat(fill, 0)])
        drawn = _draw(model, inputs, top_k, guided, naive)
        parts.append({name: array[:number] for name, array in drawn.items()})
    values = np.concatenate([part["values"] for part in parts])
    if model.noiseless:
        values = _without_jitter(model, values, _padded(wanted, model))
    if model.conditions.looks and partial is None:
        noise = model.conditions.noise_like(looks_of(model, values))
    images = [
        _image(model, values[rows], wanted[rows], noise[rows], size)
        for rows in (slice(start, start + batch_size) for start in range(0, n, batch_size))
    ]
    return Samples(
        image=np.concatenate(images),
        condition={name: wanted[:, index] for index, name in enumerate(model.columns)},
        log_prob=np.concatenate([part["log_prob"] for part in parts]),
        bands=model.bands,
        pixel_scale=model.pixel_scale,
        unit=model.unit,
        model_sigma=model.model_sigma,
        codes=values[..., 0] if model.space == "codes" else None,
        survey=model.survey,
    )


def looks_of(model, values):
    """Return what maps (n, y, x, v) look like in units of their noise, (n, looks), for `Conditions.noise_like`.

    The means of the first band in three rings, as scaled values, and those of the others less the first: a wrong noise
    level shows in the colour most.
    """
    parts = []
    for start in range(0, len(values), _BATCH):
        block = values[start : start + _BATCH]
        if model.space == "codes":
            unit = np.ones((len(block), 1, 1, len(model.bands)), "float32")
            block = model.scaling(model.codec.decode(block[..., 0], unit), unit)
        parts.append(ops.convert_to_numpy(block))
    scaled = np.concatenate(parts)
    y, x = (2 * np.abs(np.arange(size) - (size - 1) / 2) / size for size in scaled.shape[1:3])
    radius = np.hypot(y[:, None], x[None])
    rings = [(radius >= low) & (radius < high) for low, high in zip(_RINGS, _RINGS[1:], strict=False)]
    means = np.stack([scaled[:, ring].mean(axis=1) for ring in rings], axis=1)
    means[..., 1:] -= means[..., :1]
    return means.reshape(len(scaled), -1).astype("float32")


def log_prob(model, x, condition=None, noise=None):
    """Return log-probabilities (n,); see `PixelCNN.log_prob`."""
    x = _objects(model, x)
    known = _given(model, condition, len(x))
    if model.space == "codes":
        values, jacobian = x[..., None].astype("int32"), np.zeros(len(x))
    else:
        noise = _noise(model, noise, len(x))
        values = ops.convert_to_numpy(model.scale(ops.convert_to_tensor(x), noise))
        jacobian = ops.convert_to_numpy(_log_jacobian(model, x, noise))
    result = [
        _log_prob(model, values[rows], known[rows])
        for rows in (slice(start, start + _BATCH) for start in range(0, len(x), _BATCH))
    ]
    return np.concatenate([ops.convert_to_numpy(part) for part in result]) + jacobian


def score(model, x, condition=None, noise=None):
    """Return the gradient of the log-density by the pixels, shape of `x`; see `PixelCNN.score`."""
    if not model.exact_score:
        raise InputError(f"a prior with head {model.kind!r} has no score: its log_prob is over discrete values")
    x = _objects(model, x)
    known, noise = _given(model, condition, len(x)), _noise(model, noise, len(x))

    def density(rows):
        def of(image):
            return _log_prob(model, model.scale(image, noise[rows]), known[rows]) + _log_jacobian(
                model, image, noise[rows]
            )

        return of

    blocks = (slice(start, start + _BATCH) for start in range(0, len(x), _BATCH))
    return np.concatenate([gradient(density(rows), x[rows]) for rows in blocks])


def image_density(model, image, condition):
    """Return the log-density of images (n, y, x, band) scaled by the typical noise, a tensor (n,)."""
    noise = ops.reshape(model.conditions.typical_noise(), (1, 1, 1, -1))
    return _log_prob(model, model.scale(image, noise), condition) + _log_jacobian(model, image, noise)


def log_stretch(model, image):
    """Return the logarithm of d scaled values / d pixels at the typical noise, a tensor (n,)."""
    return _log_jacobian(model, image, ops.reshape(model.conditions.typical_noise(), (1, 1, 1, -1)))


def _log_prob(model, values, condition):
    values = ops.convert_to_tensor(values)
    return ops.sum(model.head.log_prob(model.network(values, condition), values), axis=(1, 2))


def _log_jacobian(model, image, noise):
    """Return log of the density's change from scaled values to pixels, (n,); levels have none."""
    if model.kind == "logistic":
        return ops.zeros((len(image),))
    scale = model.scaling.softening * noise
    return -ops.sum(ops.log(scale * ops.sqrt(1.0 + ops.square(image / scale))), axis=(1, 2, 3))


def _check(n, temperature, top_k, guidance, batch_size):
    if not (isinstance(n, (int, np.integer)) and n >= 1):
        raise InputError(f"n is {n}; draw 1 galaxy or more")
    if not 0 < temperature < np.inf:
        raise InputError(f"temperature is {temperature}; give a number above 0")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k is {top_k}; give 1 or more")
    if not 0 <= guidance < np.inf:
        raise InputError(f"guidance is {guidance}; give 0 or more")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 or more")


def _map_shape(model, size):
    size = model.stamp_size if size is None else tuple(size)
    if size is None:
        raise InputError("this prior does not know the size of its stamps; give size=(y, x) in pixels")
    cell = model.codec.cell if model.codec is not None else 1
    return tuple(-(-int(pixels) // cell) for pixels in size)


def _known(model, partial, n, shape, noise):
    """Return the values that are given, (n, y, x, v), and 1 where they are, (n, y, x, 1)."""
    kind, depth = model.head.dtype_of_values, model.head.depth
    values, known = np.zeros((n, *shape, depth), kind), np.zeros((n, *shape, 1), "float32")
    if partial is None:
        return values, known
    partial = np.asarray(partial)
    wanted = shape if model.space == "codes" else (*shape, depth)
    if partial.shape not in (wanted, (n, *wanted)):
        raise InputError(f"the known part has shape {partial.shape}; give {wanted} or {(n, *wanted)}")
    partial = np.broadcast_to(partial, (n, *wanted))
    if model.space == "codes":
        _check_codes(model, np.maximum(partial, 0))
        given = partial[..., None] >= 0
        return np.where(given, partial[..., None], 0).astype(kind), given.astype("float32")
    given = np.isfinite(partial).all(axis=-1, keepdims=True)
    pixels = np.where(given, partial, 0.0).astype("float32")
    scaled = ops.convert_to_numpy(model.scale(ops.convert_to_tensor(pixels), noise[:, None, None]))
    return np.where(given, scaled, 0.0).astype(kind), given.astype("float32")


def _check_codes(model, codes):
    if codes.dtype.kind not in "iu":
        raise InputError(f"codes are {codes.dtype}; give integers")
    size = model.codec.codebook_size
    if codes.size and not 0 <= codes.min() <= codes.max() < size:
        odd = codes.min() if codes.min() < 0 else codes.max()
        raise InputError(f"code {odd} is not in the codebook of 0 to {size - 1}; these are codes of another model")


def _without_jitter(model, values, condition):
    """Return the mean of noiseless values (n, y, x, v) given noisy ones (Efron 2011, equation 1.5), not negative."""

    def slope(rows):
        return gradient(lambda each: _log_prob(model, each, condition[rows]), values[rows])

    blocks = (slice(start, start + _BATCH) for start in range(0, len(values), _BATCH))
    return np.maximum(values + model.jitter**2 * np.concatenate([slope(rows) for rows in blocks]), 0)


def _objects(model, x):
    x = np.asarray(x)
    if model.space == "codes":
        if x.ndim != 3:
            raise InputError(f"codes have shape {x.shape}; give (n, y, x)")
        _check_codes(model, x)
        return x
    if x.ndim != 4 or x.shape[-1] != len(model.bands):
        raise InputError(f"images have shape {x.shape}; give (n, y, x, band) with {len(model.bands)} bands")
    if not np.all(np.isfinite(x)):
        raise InputError("the images hold NaN or infinite pixels; a density needs all of them")
    return x.astype("float32")


def _given(model, condition, n):
    """Return conditions (n, column), NaN where nothing is said."""
    known = np.full((n, max(len(model.columns), 1)), np.nan, "float32")
    for name, values in (condition or {}).items():
        model.conditions.check(name, values, n)
        known[:, model.columns.index(name)] = values
    return known


def _noise(model, noise, n):
    if noise is None:
        noise = ops.convert_to_numpy(model.conditions.typical_noise())
    return np.broadcast_to(
        np.asarray(noise, "float32").reshape(-1, 1, 1, len(model.bands)), (n, 1, 1, len(model.bands))
    )


def _padded(condition, model):
    """Return conditions with at least one column: the sampler needs their number of rows."""
    return condition if model.columns else np.zeros((len(condition), 1), "float32")


def _draw(model, inputs, top_k, guided, naive):
    if guided:
        open_ = {**inputs, "condition": np.full_like(inputs["condition"], np.nan)}
        inputs = {name: np.concatenate([inputs[name], open_[name]]) for name in inputs}
    if naive:
        values = sample_naively(model, inputs, top_k, guided)
        drawn = {"values": values, "log_prob": _log_prob(model, values, inputs["condition"])}
    else:
        if not hasattr(model, "compiled_samplers"):
            model.compiled_samplers = _Compiled()
        shape = inputs["known"].shape[1:3]
        drawn = model.compiled_samplers.get(model, shape, top_k, guided).predict_on_batch(inputs)
    drawn = {name: np.asarray(ops.convert_to_numpy(value)) for name, value in drawn.items()}
    return {name: value[: len(value) // 2] for name, value in drawn.items()} if guided else drawn


def _image(model, values, condition, noise, size):
    """Turn drawn values into images (n, y, x, band) in the unit of the data."""
    noise = noise[:, None, None]
    if model.space == "pixels":
        return ops.convert_to_numpy(model.unscale(ops.convert_to_tensor(values), noise))
    if model.flux_column is not None:
        noise = np.ones_like(noise)
    image = ops.convert_to_numpy(model.codec.decode(values[..., 0], noise, size or model.stamp_size))
    if model.flux_column is None:
        return image
    flux = image[..., model.bands.index(model.flux_band)].sum(axis=(1, 2))
    magnitude = condition[:, model.columns.index(model.flux_column)]
    if (magnitude < njy_to_magnitude(LARGEST)).any():
        raise InputError(f"{model.flux_column} is {magnitude.min():g}: nothing is so bright; give AB magnitudes")
    wanted = 10 ** (-0.4 * (magnitude - AB_NJY))
    return image * (wanted / np.maximum(flux, 1e-12))[:, None, None, None]
