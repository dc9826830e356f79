"""The VQ-VAE: its two networks, and the likelihood that bright stamps do not rule."""

import keras
import numpy as np
import pytest

from galzoo.data.batches import stamps_batch
from galzoo.errors import RecipeError
from galzoo.models.vqvae.model import VQVAE
from tests.conftest import make_stamps


def batch_of(size=16, n=4):
    return stamps_batch(make_stamps(n=n, size=size), slice(None))


@pytest.mark.parametrize("size", [16, 18])
def test_a_patch_network_codes_stamps_of_any_size(size, tmp_path):
    model = VQVAE.tiny(network="patch", quantizer="fsq", levels=[4, 4])
    batch = batch_of(size)
    outputs = model(batch)
    assert tuple(outputs["image"].shape) == (4, size, size, 1)
    assert tuple(outputs["codes"].shape) == (4, -(-size // 4), -(-size // 4))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)(batch)
    np.testing.assert_array_equal(np.array(again["image"]), np.array(outputs["image"]))


def test_a_student_likelihood_is_the_logarithm_of_chi2():
    batch = batch_of()
    options = {"error_floor": 0.0, "quantizer": "fsq", "levels": [4, 4], "augment": False, "mask_dropout": 0.0}
    keras.utils.set_random_seed(0)
    model = VQVAE.tiny(likelihood="student", **options)
    outputs = model(batch)
    weight = np.where(batch["mask"], 0.0, 1.0 / batch["variance"])
    chi2 = np.sum(weight * (batch["image"] - np.array(outputs["image"])) ** 2, axis=(1, 2, 3))
    chi2 /= np.sum(weight > 0, axis=(1, 2, 3))
    loss = float(model.compute_loss(x=batch, y_pred=outputs))
    assert loss == pytest.approx(np.mean(0.5 * np.log(1 + chi2)), rel=1e-4)


def test_a_student_likelihood_lets_no_bright_stamp_rule_the_error_against_the_truth():
    batch = batch_of()
    # The first stamp is far brighter than the others.
    batch["truth"] = np.square(batch["image"]) * np.array([1e3, 1, 1, 1], "float32")[:, None, None, None]
    options = {"error_floor": 0.0, "quantizer": "fsq", "levels": [4, 4], "augment": False, "mask_dropout": 0.0}
    keras.utils.set_random_seed(0)
    model = VQVAE.tiny(likelihood="student", truth_weight=0.5, **options)
    outputs = model(batch)
    without = float(model.compute_loss(x={**batch, "truth": None}, y_pred=outputs))
    good = ~batch["mask"]
    inverse = np.where(good, 1 / batch["variance"], 0).sum(axis=(1, 2), keepdims=True) / good.sum(
        axis=(1, 2), keepdims=True
    )
    noise = 1 / np.sqrt(inverse)
    error = np.mean(((batch["truth"] - np.array(outputs["deconvolved"])) / noise) ** 2, axis=(1, 2, 3))
    loss = float(model.compute_loss(x=batch, y_pred=outputs))
    assert loss - without == pytest.approx(0.5 * np.mean(0.5 * np.log(1 + error)), rel=1e-4)


@pytest.mark.parametrize("arguments", [{"network": "deep"}, {"likelihood": "poisson"}])
def test_unknown_choices_are_refused(arguments):
    with pytest.raises(RecipeError, match="is unknown; use"):
        VQVAE.tiny(**arguments)
