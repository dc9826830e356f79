"""Training with little installed: JAX, keras, numpy and h5py, and the model serves elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from galzoo.recipe import load_recipe
from tests.conftest import make_stamps

ROOT = Path(__file__).parents[1]
# A name that is None in sys.modules cannot be imported, as if the package were not installed.
BLOCKED = ("tensorflow", "tensorboard", "astropy", "galsim", "pydantic", "yaml", "matplotlib", "typer", "sklearn")
TRAIN = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import runpy
sys.argv = ["galzoo.train", *sys.argv[1:]]
runpy.run_module("galzoo.train", run_name="__main__")
"""
APPLY = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import keras
import numpy as np
from galzoo.registry import get_family
get_family("vqvae").model_class()
model = keras.saving.load_model(sys.argv[1], compile=False)
outputs = model(dict(np.load(sys.argv[2])))
np.savez(sys.argv[3], **{{key: keras.ops.convert_to_numpy(value) for key, value in outputs.items()}})
"""


def jax(program, *arguments):
    # Most of the time is compilation; code that runs for four steps need not be fast.
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": quick}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=500)


def test_trains_on_jax_alone_and_serves_on_tensorflow(tmp_path):
    pytest.importorskip("jax")
    import galzoo
    from galzoo.data.batches import stamps_batch

    stamps = make_stamps(n=60, size=16)
    stamps.save(tmp_path / "stamps.h5")
    changes = (
        "stages.0.epochs=2",
        "stages.0.steps_per_epoch=2",
        "stages.0.batch_size=8",
        "stages.0.ema=0.9",
        f"data.path={tmp_path}",
    )
    (tmp_path / "recipe.json").write_text(json.dumps(load_recipe("vqvae", "smoke", changes).resolved()))
    command = (tmp_path / "recipe.json", "--data", tmp_path / "stamps.h5", "--output", tmp_path / "run")
    trained = jax(TRAIN, *command)
    assert trained.returncode == 0, trained.stderr
    account = json.loads((tmp_path / "run" / "training.json").read_text())
    assert account["backend"] == "jax"
    assert np.isfinite(account["last"]["val_loss"])

    refused = jax(TRAIN, *command)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr

    batch = stamps_batch(stamps, slice(4))
    np.savez(tmp_path / "batch.npz", **batch)
    applied = jax(APPLY, tmp_path / "run" / "model.keras", tmp_path / "batch.npz", tmp_path / "out.npz")
    assert applied.returncode == 0, applied.stderr
    expected = dict(np.load(tmp_path / "out.npz"))
    outputs = galzoo.load(tmp_path / "run")(batch)
    np.testing.assert_array_equal(np.asarray(outputs["codes"]), expected["codes"])
    for key in ("image", "deconvolved"):
        scale = np.abs(expected[key]).max()
        np.testing.assert_allclose(np.asarray(outputs[key]), expected[key], rtol=1e-4, atol=1e-4 * scale)
