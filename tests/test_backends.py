"""The rules that keep the code on every Keras back end, and the proof that two of them agree."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
NEUTRAL = ("layers", "models", "metrics")
BACK_ENDS = {"tensorflow", "tensorflow_probability", "tf_keras", "sonnet", "jax", "jaxlib", "flax", "torch"}
# What runs in the graph; metrics also hold measurements of finished images, which may use GalSim or SciPy.
STRICT = ("layers", "models")
ALLOWED = {"keras", "numpy", "galzoo"}
FILES = sorted(path for name in NEUTRAL for path in (ROOT / "galzoo" / name).rglob("*.py"))

# Run under each back end on the same numbers; prints nothing and writes what it computed.
PROGRAM = """
import sys
import keras
import numpy as np
from keras import ops
from galzoo.layers import flux, likelihood, psf
from galzoo.layers.geometry import turn

data = dict(np.load(sys.argv[1]))
image, variance, mask = data["image"], data["variance"], data["mask"]
clean = likelihood.clean(image, variance, mask)
noise = flux.noise_level(variance, mask)
scaling = flux.FluxScaling(2.0)
results = {
    "clean": clean,
    "weights": likelihood.weights(variance, mask),
    "noise": noise,
    "scaled": scaling(clean, noise),
    "inverted": scaling.invert(scaling(clean, noise), noise),
    "convolved": psf.convolve(clean, data["psf"]),
    "difference": psf.ConvolvePSF(0.7)(clean, data["psf"]),
    "kernel": psf.difference_kernel(data["psf"], 0.7),
    "turned": turn(clean, data["choice"]),
    "nll": likelihood.gaussian_nll(image, clean * 0.9, variance, mask),
}
np.savez(sys.argv[2], backend=keras.backend.backend(), **{k: ops.convert_to_numpy(v) for k, v in results.items()})
"""


def imported(path):
    """Return the top-level packages that a file imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_models_and_metrics_import_no_back_end(path):
    names = imported(path)
    assert not names & BACK_ENDS
    if path.relative_to(ROOT / "galzoo").parts[0] in STRICT:
        assert names <= ALLOWED | set(sys.stdlib_module_names)


def test_private_parts_of_keras_are_not_used():
    for path in FILES:
        text = path.read_text()
        assert "keras.src" not in text, path
        assert "keras.backend." not in text, path


def run(backend, inputs, output):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", PROGRAM, inputs, output], env=environment, check=True, timeout=300)
    return dict(np.load(output))


def test_tensorflow_and_jax_agree(tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("tensorflow")
    random = np.random.default_rng(0)
    shape = (4, 21, 21, 2)
    image = random.normal(size=shape).astype("float32")
    variance = random.uniform(0.5, 2, size=shape).astype("float32")
    mask = random.random(shape) < 0.05
    image[0, 3, 4], mask[0, 3, 4], variance[1, 2, 2], variance[2, ..., 1] = np.nan, True, np.nan, np.inf
    line = np.arange(12) - 5.5
    psf = np.exp(-(line[:, None] ** 2 + 1.1 * line**2) / (2 * 1.5**2))
    inputs = {
        "image": image,
        "variance": variance,
        "mask": mask,
        "psf": np.tile((psf / psf.sum())[None, ..., None], (4, 1, 1, 2)).astype("float32"),
        "choice": np.array([0, 3, 5, 6], "int32"),
    }
    np.savez(tmp_path / "inputs.npz", **inputs)
    tensorflow, jax = (run(name, tmp_path / "inputs.npz", tmp_path / f"{name}.npz") for name in ("tensorflow", "jax"))
    assert (tensorflow.pop("backend"), jax.pop("backend")) == ("tensorflow", "jax")
    for key, value in tensorflow.items():
        assert np.isfinite(value).all(), key
        scale = np.abs(value).max()
        np.testing.assert_allclose(jax[key], value, rtol=1e-5, atol=1e-5 * scale, err_msg=key)
