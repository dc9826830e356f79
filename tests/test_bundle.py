"""A bundle trains with nothing but itself, JAX, keras, numpy and h5py."""

import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from galzoo import bundle
from galzoo.errors import InputError
from galzoo.models.vqvae.model import VQVAE
from galzoo.recipe import load_recipe
from tests.test_lean import BLOCKED

# Imported by Python as it starts, before galzoo.
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))"


def recipe(path, *changes):
    quick = ("stages.0.epochs=1", "stages.0.steps_per_epoch=2", "stages.0.batch_size=4", "stages.0.ema=0.9")
    half = ("runtime.precision=mixed_bfloat16",)
    small = ("model.references=16", "model.channels=8", "model.depth=2")
    return load_recipe("pixelcnn", "smoke", (f"data.path={path}", *quick, *half, *small, *changes))


@pytest.fixture
def codec(tmp_path):
    (tmp_path / "codec").mkdir()
    VQVAE.tiny().save(tmp_path / "codec" / "model.keras")
    return tmp_path / "codec"


def test_an_unpacked_bundle_trains(stamp_file, codec, tmp_path):
    pytest.importorskip("jax")
    import galzoo

    changes = (f"parts.codec={codec}", "data.condition=[]", "model.columns=[]", "model.classes={}")
    bundle.write_bundle(recipe(stamp_file, *changes), stamp_file, tmp_path / "out.tar")
    away = tmp_path / "away"
    with tarfile.open(tmp_path / "out.tar") as archive:
        archive.extractall(away, filter="data")
    for path in (stamp_file, codec / "model.keras"):
        path.unlink()
    (away / "python").mkdir()
    (away / "python" / "sitecustomize.py").write_text(BLOCK)
    script = (away / "out" / "run.sh").read_text()
    assert script.count('PYTHONPATH="$PWD') == 1
    # The interpreter of the tests, with the block, stands in for the bare machine's.
    script = script.replace('PYTHONPATH="$PWD', f'PYTHONPATH="{away}/python:$PWD').replace("python3", sys.executable)
    (away / "out" / "run.sh").write_text(script)
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": quick}
    done = subprocess.run(
        ["sh", str(away / "out" / "run.sh")], env=environment, cwd="/", capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert "1/1" in done.stdout
    model = galzoo.load(away / "out" / "run")
    image = np.random.default_rng(0).normal(size=(2, 24, 24, 1)).astype("float32")
    assert np.all(np.isfinite(model({"image": image, "variance": np.ones_like(image)})["log_prob"]))


def test_wheels_go_along(stamp_file, tmp_path):
    (tmp_path / "wheels").mkdir()
    with pytest.raises(InputError, match="no wheel"):
        bundle.write_bundle(vqvae(stamp_file), stamp_file, tmp_path / "a", tmp_path / "wheels")
    for name in ("keras-3.1-py3-none-any", "keras-3.2-py3-none-any", "torch-2-py3-none-any"):
        (tmp_path / "wheels" / f"{name}.whl").write_text("wheel")
    bundle.write_bundle(vqvae(stamp_file), stamp_file, tmp_path / "b", tmp_path / "wheels")
    assert [path.name for path in (tmp_path / "b" / "wheels").iterdir()] == ["keras-3.2-py3-none-any.whl"]
    with pytest.raises(InputError, match="there already"):
        bundle.write_bundle(vqvae(stamp_file), stamp_file, tmp_path / "b")


def test_what_is_too_large_or_not_trained_is_refused(stamp_file, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="train it first"):
        bundle.write_bundle(recipe(stamp_file, "parts.codec=recipe:vqvae/smoke"), stamp_file, tmp_path / "a")
    rest = bundle.write_bundle(vqvae(stamp_file), stamp_file, tmp_path / "b") - stamp_file.stat().st_size
    monkeypatch.setattr(bundle, "LARGEST", rest + stamp_file.stat().st_size // 2)
    with pytest.raises(InputError, match="fewer objects, about 50 %"):
        bundle.write_bundle(vqvae(stamp_file), stamp_file, tmp_path / "c.tar")
    assert not (tmp_path / "c.tar").exists()


def test_the_command_writes_a_bundle(stamp_file, tmp_path, monkeypatch, capsys):
    from galzoo.cli import main

    arguments = ["train", "vqvae", "--recipe", "smoke", "--set", f"data.path={stamp_file}"]
    monkeypatch.setattr(sys, "argv", ["galzoo", *arguments, "--bundle", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "MiB" in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"recipe.json", "data.h5", "run.sh", "galzoo"}


def vqvae(path):
    return load_recipe("vqvae", "smoke", [f"data.path={path}"])
