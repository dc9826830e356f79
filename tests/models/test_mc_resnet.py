"""The MC-dropout ResNet: what its passes say, and what is fitted after training."""

import keras
import numpy as np
import pytest

from galzoo.contracts.training import Finishes
from galzoo.errors import InputError, RecipeError
from galzoo.metrics.calibration import nll, softmax
from galzoo.models.mc_resnet.model import MCResNet
from galzoo.recipe import load_recipe
from galzoo.train import train
from tests.scenes import make_scenes


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(2)
    made = MCResNet.tiny(bands=("g", "i"), dropout=0.4)
    # A fresh head says the same of everything.
    for layer in (made.head.logits, made.head.measured):
        layer.kernel.assign(np.random.default_rng(1).normal(size=layer.kernel.shape))
    return made


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    image = random.normal(size=(40, 24, 24, 2)).astype("float32")
    known = {"n_sources": random.integers(0, 5, 40).astype("int32")}
    known["positions"] = random.uniform(0, 24, (40, 4, 2)).astype("float32")
    known["flux"] = random.uniform(1, 100, (40, 4, 2)).astype("float32")
    return {"image": image, "variance": np.ones_like(image), **known}


def test_passes_share_a_seed_and_differ_from_each_other(model, batch):
    one, two, other = (model.count(batch, passes=7, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.probability, two.probability)
    assert np.abs(one.probability - other.probability).max() > 1e-4
    np.testing.assert_allclose(one.probability.sum(axis=1), 1, rtol=1e-6)
    assert (one.mutual_information > 0).all()
    assert (one.mutual_information < one.entropy).all()
    single = model.count(batch, passes=0)
    np.testing.assert_allclose(single.mutual_information, 0, atol=1e-9)
    logits = keras.ops.convert_to_numpy(model(batch)["logits"])
    np.testing.assert_allclose(single.probability, softmax(logits), rtol=1e-5)
    spread = model.random_passes(batch, 7, 1)["positions"][..., 0]
    assert (one.position_error >= spread.std(axis=0)).all()


def test_finish_lowers_the_cross_entropy_and_mends_errors(model, batch):
    assert isinstance(model, Finishes)
    label = np.minimum(batch["n_sources"], 3)
    before = nll(model.count(batch).probability, label).mean()
    model.finish([batch])
    after = model.count(batch)
    assert nll(after.probability, label).mean() < before
    present = np.arange(3) < batch["n_sources"][:, None]
    inside = np.abs(after.positions - batch["positions"][:, :3]) < after.position_error
    assert abs(inside[present].mean() - 0.68) < 0.05


def test_absent_bands_have_no_flux(model, batch):
    batch["variance"][:5, :, :, 1] = np.inf
    counts = model.count(batch)
    assert np.isinf(counts.flux_error[:5, :, 1]).all()
    assert (counts.flux[:5, :, 1] == 0).all()
    assert np.isfinite(counts.flux_error[5:]).all()
    # Whatever lies in an absent band does not matter.
    batch["image"][:5, :, :, 1] = 1e4
    np.testing.assert_array_equal(model.count(batch).probability, counts.probability)


def test_stages_leave_their_weights_and_the_end_its_temperature(tmp_path):
    make_scenes(n=60, size=24, bands=("r",)).save(tmp_path / "scenes.h5")
    recipe = load_recipe("mc_resnet", "smoke", [f"data.path={tmp_path / 'scenes.h5'}", "stages.0.steps_per_epoch=2"])
    model = train(recipe.resolved(), tmp_path / "scenes.h5", tmp_path / "run", verbose=0)
    assert not np.array_equal(keras.ops.convert_to_numpy(model.calibration), np.ones(3))
    kept = sorted((tmp_path / "run" / "stages").iterdir())
    assert [path.name for path in kept] == ["0_cycle_1.npz", "1_cycle_2.npz"]
    trained = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    last = {weight.path: value for weight, value in zip(model.trainable_weights, trained, strict=True)}
    same = []
    for path in kept:
        with np.load(path) as found:
            pairs = zip(model.weights, found.values(), strict=True)
            same.append(all(np.array_equal(last[w.path], value) for w, value in pairs if w.path in last))
    assert same == [False, True]


def test_what_does_not_fit(model, batch):
    with pytest.raises(InputError, match="n_sources"):
        model.compute_loss({"image": batch["image"], "variance": batch["variance"]}, y_pred={})
    for arguments in ({"stem_stride": 3}, {"classes": 1}, {"dropout": 1.0}):
        with pytest.raises(RecipeError, match=next(iter(arguments))):
            MCResNet(**arguments)


def test_passes_are_those_of_a_convolution_a_pass(model):
    random = np.random.default_rng(3)
    inner, bypass = (random.normal(size=(3, 2, 4, 48)).astype("float32") for _ in range(2))
    factors = (random.random((3, 5, 48)) < 0.7) / np.float32(0.7)
    block = model.trunk.blocks[-1]
    found = keras.ops.convert_to_numpy(model.trunk.last_of_passes(inner, bypass, factors.astype("float32")))
    for number in range(5):
        one = block.second(inner * factors[:, None, None, number].astype("float32"), bypass)
        np.testing.assert_allclose(found[number::5], keras.ops.convert_to_numpy(one), rtol=1e-4, atol=1e-4)
