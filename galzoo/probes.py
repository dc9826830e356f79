"""What a self-test asks a model: continuous answers to fixed inputs, by the protocol of each role that it plays.

Codes and other choices between alternatives flip where two are nearly alike, so they are inputs here and never answers.
"""

import keras
import numpy as np

from galzoo.contracts.codec import Codec
from galzoo.contracts.detections import Detector
from galzoo.contracts.encoder import Encoder
from galzoo.contracts.galaxy_model import GalaxyModel
from galzoo.contracts.prior import Prior
from galzoo.contracts.separator import Separator
from galzoo.registry import get_family, get_task

# Pixels of the image that models are shown, and of its PSF; two sources, the brighter one in the middle.
SIZE, _PSF_SIZE = 32, 9
_SEED = 2026
_SURE = 0.5


def make_inputs(model, family):
    """Return the inputs of a self-test, name -> array: an image with two sources, and what the roles need beside.

    Parameters
    ----------
    model : keras.Model
        With ``bands``.
    family : str
    """
    inputs = image_inputs(len(model.bands))
    for prepare, _ in _probes(family):
        inputs |= prepare(model, inputs)
    return {name: np.asarray(value) for name, value in inputs.items()}


def image_inputs(bands, size=SIZE):
    """Return an image of two round galaxies with unit noise, its PSF and its truth, exact in half precision."""
    grid = np.arange(size, dtype=float)
    middle = (size - 1) / 2
    positions = np.array([[middle, middle], [middle + 0.25 * size, middle - 0.2 * size]])
    colours = np.linspace(1.0, 0.6, bands)
    truth = np.zeros((size, size, bands))
    for (x, y), peak, sigma in zip(positions, (100.0, 50.0), (3.0, 2.0), strict=True):
        radius2 = (grid[:, None] - y) ** 2 + (grid[None] - x) ** 2
        truth += (peak * np.exp(-0.5 * radius2 / sigma**2))[..., None] * colours
    psf_grid = np.arange(_PSF_SIZE) - (_PSF_SIZE - 1) / 2
    psf = np.exp(-0.5 * (psf_grid[:, None] ** 2 + psf_grid**2) / 1.2**2)
    noise = np.random.default_rng(_SEED).normal(size=truth.shape)
    half = {
        "image": (truth + noise)[None],
        "truth": truth[None],
        "psf": np.broadcast_to((psf / psf.sum())[None, ..., None], (1, _PSF_SIZE, _PSF_SIZE, bands)),
        "positions": positions[None],
    }
    return {name: value.astype(np.float16) for name, value in half.items()}


def batch_of(inputs):
    """Return the batch of a self-test's inputs, with all keys that a model may read."""
    batch = {name: np.asarray(inputs[name], np.float32) for name in ("image", "truth", "psf", "positions")}
    batch["variance"] = np.ones_like(batch["image"])
    batch["model"] = batch["truth"]
    batch["n_sources"] = np.full(len(batch["image"]), batch["positions"].shape[1], np.int32)
    return batch


def ask(model, family, inputs):
    """Return a model's continuous answers to the inputs of a self-test, name -> float array."""
    answers = {}
    for _, answer in _probes(family):
        answers |= answer(model, inputs)
    return {name: np.asarray(keras.ops.convert_to_numpy(value), np.float32) for name, value in answers.items()}


def _probes(family):
    """Return the pairs (prepare, answer) of the roles of a family; for roles unknown here, of what its call returns."""
    protocols = [get_task(task).protocol(role) for task, role in get_family(family).roles()]
    # A `Reconstructor` has no probe: its image hangs on codes that flip, and a codec is asked for its halves.
    known = [_PROBES[protocol] for protocol in protocols if protocol in _PROBES]
    return list(dict.fromkeys(known)) or [(_nothing, _call)]


def _nothing(model, inputs):
    return {}


def _call(model, inputs):
    outputs = model(batch_of(inputs))
    outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
    outputs = {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items() if value is not None}
    return {name: value for name, value in outputs.items() if np.issubdtype(value.dtype, np.floating)}


def _codes(model, inputs):
    codes = model.quantizer(model.encode(batch_of(inputs)))["codes"]
    return {"codes": keras.ops.convert_to_numpy(codes).astype(np.int32)}


def _codec(model, inputs):
    noise = np.ones((1, 1, 1, len(model.bands)), np.float32)
    return {"encoded": model.encode(batch_of(inputs)), "decoded": model.decode(inputs["codes"], noise)}


def _encoded(model, inputs):
    noise = np.ones((1, 1, 1, len(model.bands)), np.float32)
    vectors = model.latents(batch_of(inputs))
    return {"vectors": vectors} | ({"drawn": model.decode(vectors, noise)} if hasattr(model, "decode") else {})


def _drawn(model, inputs):
    samples = model.sample(1, seed=_SEED)
    known = {f"condition.{name}": value for name, value in samples.condition.items() if np.isfinite(value).all()}
    return {"x": samples.codes if model.space == "codes" else samples.image, **known}


def _prior(model, inputs):
    condition = {name.partition(".")[2]: inputs[name] for name in inputs if name.startswith("condition.")}
    answers = {"log_prob": model.log_prob(inputs["x"]), "log_prob given": model.log_prob(inputs["x"], condition)}
    if getattr(model, "exact_score", False):
        answers["score"] = model.score(inputs["x"], condition)
    return answers


def _base(model, inputs):
    drawn = np.random.default_rng(_SEED).normal(size=(inputs["positions"].shape[1], model.latent))
    return {"base": drawn.astype(np.float32)}


def _galaxies(model, inputs):
    batch, base = batch_of(inputs), inputs["base"]
    shape = batch["image"].shape[1:3]
    noise, arguments = model.windows(batch, np.ones(batch["positions"].shape[:2], bool))
    mean, deviation, offset = model.look(*arguments)
    condition = np.zeros((len(base), 1), np.float32)
    latent = model.latent_of(base, condition)
    weights, covariances, size = model.profiles(latent)
    images = model.render(latent[None], batch["positions"], batch["psf"], shape)
    return {
        "noise": noise, "mean": mean, "deviation": deviation, "offset": offset, "latent": latent,
        "base": model.base_of(latent, condition), "weights": weights, "covariances": covariances, "size": size,
        "images": images,
    }  # fmt: skip


def _separator(model, inputs):
    batch = {name: value for name, value in batch_of(inputs).items() if name in ("image", "variance", "psf")}
    found = model.deblend(batch, threshold=0.0)
    return {"isolated": found.image, "flux": found.flux}


def _detector(model, inputs):
    batch = batch_of(inputs)
    if getattr(model, "residual", False):
        # A fit that has missed both sources.
        batch["model"] = np.zeros_like(batch["image"])
    found = model.detect(batch, threshold=_SURE)
    # The order of two sources that are about as probable may differ; that of their places does not.
    order = np.argsort(found.positions[..., 0], axis=1)
    answers = {name: getattr(found, name) for name in ("positions", "probability", "boxes", "class_probability")}
    return {
        name: np.take_along_axis(value, order.reshape(*order.shape, *[1] * (value.ndim - 2)), axis=1)
        for name, value in answers.items()
        if value is not None
    }


_PROBES = {
    Codec: (_codes, _codec),
    Encoder: (_nothing, _encoded),
    Prior: (_drawn, _prior),
    GalaxyModel: (_base, _galaxies),
    Separator: (_nothing, _separator),
    Detector: (_nothing, _detector),
}
