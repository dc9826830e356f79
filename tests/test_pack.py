"""Models packed for shipping: smaller, and the same to within rounding."""

import keras
import numpy as np
import pytest

from galzoo.pack import pack_model, round_mantissa


def test_numbers_are_rounded_to_a_half_in_the_last_bit_kept():
    values = np.random.default_rng(0).normal(size=1000).astype("float32") * np.logspace(-20, 20, 1000, dtype="float32")
    rounded = round_mantissa(values)
    assert np.max(np.abs(rounded / values - 1)) <= 2.0**-14
    mantissa, _ = np.frexp(rounded.astype("float64"))
    np.testing.assert_array_equal(mantissa * 2**14, np.round(mantissa * 2**14))
    np.testing.assert_array_equal(round_mantissa(np.float32([[0, np.inf, -1]])), np.float32([[0, np.inf, -1]]))


def test_a_packed_model_is_smaller_and_the_same_but_for_rounding(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256), keras.layers.BatchNormalization()])
    model.layers[-1].moving_mean.assign(np.random.default_rng(1).normal(size=256))
    model.save(tmp_path / "model.keras")
    for name in ("packed.keras", "again.keras"):
        pack_model(tmp_path / "model.keras", tmp_path / name)
    assert (tmp_path / "packed.keras").read_bytes() == (tmp_path / "again.keras").read_bytes()
    assert (tmp_path / "packed.keras").stat().st_size < 0.8 * (tmp_path / "model.keras").stat().st_size
    packed = keras.saving.load_model(tmp_path / "packed.keras")
    kernel = np.array(model.layers[0].kernel)
    found = np.array(packed.layers[0].kernel)
    assert not np.array_equal(found, kernel)
    np.testing.assert_allclose(found, kernel, rtol=2.0**-14)
    pack_model(tmp_path / "model.keras", tmp_path / "coarse.keras", bits=9)
    assert (tmp_path / "coarse.keras").stat().st_size < 0.9 * (tmp_path / "packed.keras").stat().st_size
    coarse = np.array(keras.saving.load_model(tmp_path / "coarse.keras").layers[0].kernel)
    np.testing.assert_allclose(coarse, kernel, rtol=2.0**-10)
    assert np.max(np.abs(coarse / kernel - 1)) > 2.0**-12
    # What is small is exact.
    np.testing.assert_array_equal(np.array(packed.layers[1].moving_mean), np.array(model.layers[1].moving_mean))
    pack_model(tmp_path / "model.keras", tmp_path / "exact.keras", exact=True)
    exact = keras.saving.load_model(tmp_path / "exact.keras")
    assert (tmp_path / "exact.keras").stat().st_size < (tmp_path / "model.keras").stat().st_size
    for mine, theirs in zip(exact.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    x = np.ones((1, 64), "float32")
    assert np.array(packed(x)) == pytest.approx(np.array(model(x)), abs=1e-3)


def test_a_rounded_weight_takes_little_more_than_the_bits_it_keeps(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 64)), keras.layers.Conv2D(256, 3, use_bias=False)])
    model.save(tmp_path / "model.keras")
    pack_model(tmp_path / "model.keras", tmp_path / "packed.keras", bits=9)
    # A sign, 9 bits of mantissa and an exponent of about 2.5 bits; 15.6 in chunks of HDF5's choice.
    assert 8 * (tmp_path / "packed.keras").stat().st_size / model.count_params() < 14.5
