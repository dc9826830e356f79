import keras
import numpy as np
import pytest
from scipy import stats

from galzoo.errors import InputError
from galzoo.layers.noise import AddNoise, poisson


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_gaussian_noise_has_the_variance_asked_for():
    variance = np.ones((4, 64, 64, 2), "float32") * np.array([1.0, 9.0], "float32")
    noise = numpy(AddNoise(seed=1)(np.full_like(variance, 5.0), variance)) - 5.0
    pixels = noise[..., 0].size
    for band, sigma in enumerate((1.0, 3.0)):
        assert abs(noise[..., band].mean()) < 5 * sigma / np.sqrt(pixels)
        assert noise[..., band].std() == pytest.approx(sigma, rel=5 / np.sqrt(2 * pixels))
        assert stats.kstest(noise[..., band].ravel() / sigma, "norm").pvalue > 1e-3


def test_no_noise_where_the_variance_is_not_finite():
    variance = np.array([np.inf, np.nan, 0.0, 1.0], "float32").reshape(1, 1, 1, 4)
    image = np.full((2, 8, 8, 4), 3.0, "float32")
    noisy = numpy(AddNoise(seed=1)(image, variance))
    assert (noisy[..., :3] == 3).all()
    assert (noisy[..., 3] != 3).any()


@pytest.mark.parametrize("mean", [0.1, 3.0, 15.0, 17.0, 200.0])
def test_poisson_numbers_follow_their_distribution(mean):
    number = 40000
    drawn = numpy(poisson(np.full(number, mean, "float32"), keras.random.SeedGenerator(3)))
    assert (drawn == np.round(drawn)).all()
    assert drawn.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / number))
    assert drawn.var() == pytest.approx(mean, rel=5 * np.sqrt((2 + 1 / mean) / number))
    values = np.arange(int(stats.poisson.ppf(1e-3, mean)), int(stats.poisson.ppf(1 - 1e-3, mean)) + 1)
    share = np.mean(drawn[:, None] <= values, axis=0)
    assert np.abs(share - stats.poisson.cdf(values, mean)).max() < 2.5 / np.sqrt(number)


def test_photon_noise_in_the_unit_of_the_image():
    gain = 4.0
    image = np.broadcast_to(np.array([-1.0, 2.0, 100.0], "float32"), (2, 100, 100, 3))
    noisy = numpy(AddNoise(seed=2, poisson=True)(image, np.full((1, 1, 1, 3), 0.25, "float32"), gain=gain))
    np.testing.assert_allclose(noisy.mean(axis=(0, 1, 2)), [-1.0, 2.0, 100.0], atol=0.2)
    expected = 0.25 + np.array([0.0, 2.0, 100.0]) / gain
    np.testing.assert_allclose(noisy.var(axis=(0, 1, 2)), expected, rtol=0.06)


def test_absent_band_has_no_photon_noise():
    image = np.full((1, 8, 8, 1), 10.0, "float32")
    noisy = numpy(AddNoise(seed=2, poisson=True)(image, np.full((1, 1, 1, 1), np.inf, "float32"), gain=1.0))
    np.testing.assert_array_equal(noisy, image)


def test_seed_repeats_and_state_advances():
    image = np.zeros((1, 8, 8, 1), "float32")
    first, second = AddNoise(seed=7), AddNoise(seed=7)
    one = numpy(first(image, np.ones_like(image)))
    np.testing.assert_array_equal(one, numpy(second(image, np.ones_like(image))))
    assert not np.array_equal(one, numpy(first(image, np.ones_like(image))))
    assert len(first.variables) == 1


def test_config_round_trip():
    layer = AddNoise(seed=3, poisson=True)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.seed, again.poisson) == (3, True)


@pytest.mark.parametrize(("mode", "gain"), [(True, None), (False, 2.0)])
def test_gain_belongs_to_poisson(mode, gain):
    image = np.zeros((1, 4, 4, 1), "float32")
    with pytest.raises(InputError, match="gain"):
        AddNoise(poisson=mode)(image, image, gain=gain)
