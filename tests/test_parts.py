"""One command trains a prior and the VQ-VAE of its codes."""

import pytest

import galzoo
from galzoo.errors import InputError, RecipeError
from galzoo.parts import train_parts
from galzoo.recipe import load_recipe
from galzoo.train import train
from tests.conftest import make_stamps

CHANGES = ("stages.0.epochs=1", "stages.0.steps_per_epoch=2", "stages.0.batch_size=8", "model.references=16")


def recipe_of(path, codec):
    return load_recipe("pixelcnn", "smoke", [f"data.path={path}", f"parts.codec={codec}", *CHANGES])


def test_the_pair_is_trained_and_is_one_model(tmp_path):
    path = tmp_path / "stamps.h5"
    make_stamps(n=60, size=16, bands=("g", "r")).save(path)
    asked = recipe_of(path, "recipe:vqvae/smoke")
    chosen = train_parts(asked, path, tmp_path / "run")
    assert chosen.parts["codec"] == str(tmp_path / "run" / "codec")
    assert (tmp_path / "run" / "codec" / "model.keras").is_file()
    train(chosen.resolved(), path, tmp_path / "run", verbose=0)
    prior = galzoo.load(tmp_path / "run")
    assert prior.sample(2, seed=1).image.shape == (2, 16, 16, 2)
    assert prior.codec.codebook_size == 32

    before = (tmp_path / "run" / "codec" / "model.keras").read_bytes()
    train_parts(asked, path, tmp_path / "run")
    assert (tmp_path / "run" / "codec" / "model.keras").read_bytes() == before

    # A part that is there is not that of other stamps under the same name.
    make_stamps(n=60, size=16, bands=("g", "r"), seed=7).save(path)
    with pytest.raises(InputError, match="codec: its data file has changed"):
        train_parts(asked, path, tmp_path / "run")


def test_a_prior_that_starts_from_another_keeps_the_codec_that_it_was_given(tmp_path):
    import numpy as np

    path = tmp_path / "stamps.h5"
    make_stamps(n=60, size=16, bands=("g", "r")).save(path)
    for name, changes in (("one", []), ("other", ["runtime.seed=5"])):
        codec = load_recipe("vqvae", "smoke", [f"data.path={path}", *CHANGES[:3], *changes])
        train(codec.resolved(), path, tmp_path / name, verbose=0)
    train(recipe_of(path, tmp_path / "one").resolved(), path, tmp_path / "first", verbose=0)
    start = galzoo.load(tmp_path / "first")
    still = recipe_of(path, tmp_path / "other").resolved()
    still["stages"][0]["learning_rate"] = 1e-12
    train(still, path, tmp_path / "second", init=start, verbose=0)
    end, given = galzoo.load(tmp_path / "second"), galzoo.load(tmp_path / "other")
    assert not np.array_equal(given.quantizer.codebook, start.codec.quantizer.codebook)
    np.testing.assert_array_equal(end.codec.quantizer.codebook, given.quantizer.codebook)
    np.testing.assert_allclose(*(np.asarray(prior.entry.weights[0]) for prior in (end, start)), atol=1e-6)


def test_a_part_that_was_interrupted_asks_for_resume(tmp_path):
    (tmp_path / "run" / "codec").mkdir(parents=True)
    (tmp_path / "run" / "codec" / "state.h5").write_bytes(b"")
    with pytest.raises(InputError, match="add --resume"):
        train_parts(recipe_of("stamps.h5", "recipe:vqvae/smoke"), "stamps.h5", tmp_path / "run")


def test_a_part_without_a_recipe(tmp_path):
    with pytest.raises(RecipeError, match="recipe:FAMILY/NAME"):
        train_parts(recipe_of("stamps.h5", "recipe:vqvae"), "stamps.h5", tmp_path)


def test_a_codec_of_other_bands(tmp_path):
    make_stamps(n=40, size=16, bands=("g", "r")).save(tmp_path / "stamps.h5")
    with pytest.raises(RecipeError, match="use a codec of the same bands"):
        train(recipe_of(tmp_path / "stamps.h5", "vqvae_lsst").resolved(), tmp_path / "stamps.h5", tmp_path / "run")


def test_a_part_computes_as_it_does_elsewhere_whatever_the_precision_of_training(tmp_path):
    """In half precision about a tenth of the codes would be others."""
    import keras
    import numpy as np

    from galzoo.data.batches import stamps_batch
    from galzoo.models.vqvae.model import VQVAE
    from galzoo.train import make_model

    (tmp_path / "codec").mkdir()
    codec = VQVAE.tiny()
    codec.save(tmp_path / "codec" / "model.keras")
    small = {"bands": ["r"], "channels": 16, "depth": 3, "references": 16}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        prior = make_model({"family": "pixelcnn", "model": small, "parts": {"codec": str(tmp_path / "codec")}})
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
    assert {layer.compute_dtype for layer in prior.blocks} == {"bfloat16"}
    batch = stamps_batch(make_stamps(n=8, size=16), slice(None))
    np.testing.assert_array_equal(np.asarray(prior(batch)["codes"]), np.asarray(codec(batch)["codes"]))
