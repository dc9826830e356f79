"""Several devices give one model: replicas on logical CPUs stand in for GPUs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from galzoo.recipe import load_recipe

MIRRORED = """
import sys, json, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy
tf.distribute.MirroredStrategy = lambda: strategy(["CPU:0", "CPU:1"])
from galzoo.train import main
sys.exit(main(sys.argv[1:]))
"""
PARALLEL = "import sys; from galzoo.train import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "code", "environment"),
    [
        ("mirrored", MIRRORED, {"KERAS_BACKEND": "tensorflow"}),
        (
            "data_parallel",
            PARALLEL,
            {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        ),
    ],
)
def test_trains_on_two_devices(strategy, code, environment, stamp_file, tmp_path):
    import galzoo
    from galzoo.tasks.reconstruct.run import reconstruct
    from tests.conftest import make_stamps

    changes = [f"data.path={stamp_file}", f"runtime.strategy={strategy}", "stages.0.steps_per_epoch=4"]
    recipe = load_recipe("vqvae", "smoke", changes).resolved()
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    arguments = [str(tmp_path / "recipe.json"), "--data", str(stamp_file), "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    model = galzoo.load(tmp_path / "run")
    assert np.all(np.isfinite(reconstruct(model, make_stamps(n=2)).image))
