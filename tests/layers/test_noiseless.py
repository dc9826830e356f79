"""Noiseless stamps in training, and crops."""

import keras
import numpy as np
from keras import ops

from galzoo.data.batches import stamps_batch
from galzoo.data.crop import crop_batch
from galzoo.layers.augment import noiseless_batch, show_noiseless
from galzoo.layers.flux import noise_level
from tests.conftest import make_stamps


def batch_of(n=200):
    stamps = make_stamps(n=n, size=16, bands=("g", "r"))
    return stamps_batch(stamps, slice(None)) | {"truth": stamps.truth.astype("float32")}


def test_the_signal_to_noise_is_what_was_asked_for():
    truth = batch_of(5)["truth"]
    batch = noiseless_batch(truth, np.array([10.0, 20.0, 50.0, 100.0, 200.0]), 0.7)
    variance = ops.convert_to_numpy(batch["variance"])
    found = np.sqrt((truth**2 / variance).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(found, [10, 20, 50, 100, 200], rtol=1e-4)
    noise = ops.convert_to_numpy(noise_level(batch["variance"], None))
    np.testing.assert_allclose(noise[..., 0], noise[..., 1])


def test_an_empty_truth_has_a_variance():
    batch = noiseless_batch(np.zeros((1, 8, 8, 1), "float32"), 100.0, 0.7)
    assert np.all(ops.convert_to_numpy(batch["variance"]) > 0)


def test_a_share_of_the_stamps_is_replaced_and_absent_bands_stay_absent():
    batch = batch_of()
    batch["variance"] = np.array(batch["variance"])
    batch["variance"][..., 1] = np.inf
    shown = show_noiseless(batch, 0.5, (50.0, 300.0), 0.7, keras.random.SeedGenerator(0))
    image = ops.convert_to_numpy(shown["image"])
    replaced = np.all(image == batch["truth"], axis=(1, 2, 3))
    assert 0.35 < replaced.mean() < 0.65
    np.testing.assert_array_equal(image[~replaced], batch["image"][~replaced])
    variance = ops.convert_to_numpy(shown["variance"])
    assert np.all(np.isinf(variance[..., 1]))
    assert np.all(variance[replaced][..., 0] != batch["variance"][replaced][..., 0])


def test_a_crop_is_the_centre_and_leaves_the_psf():
    batch = batch_of(2)
    cut = crop_batch(batch, 10)
    np.testing.assert_array_equal(cut["image"], batch["image"][:, 3:13, 3:13])
    np.testing.assert_array_equal(cut["psf"], batch["psf"])
    assert crop_batch(batch, 40)["image"].shape == batch["image"].shape


def test_the_share_and_the_signal_to_noise_of_noiseless_stamps():
    batch = batch_of()
    shown = show_noiseless(batch, 0.2, (50.0, 5000.0), 0.7, keras.random.SeedGenerator(1))
    replaced = np.all(ops.convert_to_numpy(shown["image"]) == batch["truth"], axis=(1, 2, 3))
    assert 0.1 < replaced.mean() < 0.3
    ratio = np.sqrt((batch["truth"] ** 2 / ops.convert_to_numpy(shown["variance"])).sum(axis=(1, 2, 3)))[replaced]
    assert 49 < ratio.min() < ratio.max() < 5100
    # As many below 500 as above.
    assert 0.25 < (ratio < 500).mean() < 0.75
