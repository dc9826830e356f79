import keras
import numpy as np
import pytest
from scipy import stats

from galzoo.layers.noise import (
    correlated,
    gain_and_sky,
    noise_of,
    normal,
    observe,
    observed_variance,
    poisson,
    recorrupt,
)


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def seed(number=1):
    return keras.random.SeedGenerator(number)


def observed(image, variance, gain=np.inf, photons=False, number=1):
    variance = np.broadcast_to(np.asarray(variance, "float32"), (len(image), 1, 1, image.shape[-1]))
    gain = np.full((1, 1, 1, image.shape[-1]), gain, "float32")
    return [numpy(plane) for plane in observe(image.astype("float32"), variance, gain, seed(number), photons)]


def test_normal_numbers_are_normal_and_independent():
    drawn = numpy(normal(3, (101, 7), seed()))
    assert drawn.shape == (3, 101, 7)
    many = numpy(normal(4, (20001,), seed()))
    assert stats.kstest(many.ravel(), "norm").pvalue > 1e-3
    # Pairs of one radius lie half an array apart.
    pairs = many[0, :10000], many[0, 10001:20001]
    assert abs(np.corrcoef(*pairs)[0, 1]) < 5 / np.sqrt(10000)


def test_noise_has_the_variance_of_sky_and_sources():
    noiseless = np.full((4, 64, 64, 2), 5.0)
    image, variance = observed(noiseless, [1.0, 9.0], gain=2.0)
    pixels = image[..., 0].size
    np.testing.assert_allclose(variance[0, 0, 0], [3.5, 11.5])
    for band, expected in enumerate((3.5, 11.5)):
        noise = image[..., band] - 5
        assert abs(noise.mean()) < 5 * np.sqrt(expected / pixels)
        assert noise.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / pixels))


def test_a_band_that_is_absent_is_empty():
    image, variance = observed(np.full((2, 8, 8, 2), 10.0), [np.inf, 1.0], gain=1.0, photons=True)
    assert (image[..., 0] == 0).all()
    assert np.isinf(variance[..., 0]).all()
    assert (image[..., 1] != 10).any()


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
    noiseless = np.broadcast_to(np.array([-1.0, 2.0, 100.0]), (2, 100, 100, 3))
    image, _ = observed(noiseless, 0.25, gain, photons=True, number=2)
    np.testing.assert_allclose(image.mean(axis=(0, 1, 2)), [-1.0, 2.0, 100.0], atol=0.2)
    expected = 0.25 + np.array([0.0, 2.0, 100.0]) / gain
    np.testing.assert_allclose(image.var(axis=(0, 1, 2)), expected, rtol=0.06)


def test_correlated_noise_correlates_as_asked():
    drawn = numpy(correlated(40, (64, 64, 3), seed(), smoothing=0.7, shared=0.8))
    assert drawn.shape == (40, 64, 64, 3)
    assert drawn.std() == pytest.approx(1, abs=0.01)
    flat = drawn.reshape(-1, 3)
    np.testing.assert_allclose(np.corrcoef(flat.T)[np.triu_indices(3, 1)], 0.8, atol=0.02)
    for offset, expected in ((1, np.exp(-1 / (4 * 0.49))), (2, np.exp(-4 / (4 * 0.49))), (5, 0)):
        neighbours = np.corrcoef(drawn[:, offset:].ravel(), drawn[:, :-offset].ravel())[0, 1]
        assert neighbours == pytest.approx(expected, abs=0.02)
    white = numpy(correlated(40, (64, 64, 3), seed()))
    assert abs(np.corrcoef(white[:, 1:].ravel(), white[:, :-1].ravel())[0, 1]) < 0.01


def test_noises_of_a_recorrupted_pair_do_not_know_of_each_other():
    noise = numpy(correlated(60, (32, 32, 2), seed(7), smoothing=0.7, shared=0.5)) * 3
    variance = np.full_like(noise, 9.0)
    variance[:5, :, :, 1] = np.inf
    shown, judged = recorrupt({"image": 100 + noise, "variance": variance}, 0.5, seed(8), smoothing=0.7, shared=0.5)
    seen, target = numpy(shown["image"])[5:] - 100, numpy(judged["image"])[5:] - 100
    assert seen.var() == pytest.approx(9 * 1.25, rel=0.05)
    assert target.var() == pytest.approx(9 * 5, rel=0.05)
    np.testing.assert_allclose(numpy(judged["variance"])[5:], 45)
    np.testing.assert_array_equal(numpy(shown["variance"]), variance)
    assert abs(np.corrcoef(seen.ravel(), target.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(seen[:, 1:].ravel(), target[:, :-1].ravel())[0, 1]) < 0.02
    # A band that is not there has no noise to add.
    np.testing.assert_array_equal(numpy(shown["image"])[:5, ..., 1], (100 + noise)[:5, ..., 1])


def test_a_map_of_the_noise_is_of_the_light_that_is_seen():
    """8 over a gain of 4 and a sky of 3; light below nothing adds none, nor does a gain that is infinite."""
    image = np.array([[[[8.0, 8.0, 8.0]], [[-8.0, -8.0, -8.0]]]], "float32")
    sky = np.array([[[[3.0, 3.0, np.inf]]]], "float32")
    found = numpy(observed_variance(image, sky, np.array([[[[4.0, np.inf, 4.0]]]], "float32")))
    np.testing.assert_array_equal(found[0, :, 0], [[5, 3, np.inf], [3, 3, np.inf]])


def test_sky_and_gain_are_told_by_the_variance():
    """Two stamps of one gain a band, 4 and 5, and skies of their own; a bad pixel has a variance that is nothing."""
    random = np.random.default_rng(0)
    truth = random.uniform(0, 50, (2, 6, 6, 2)).astype("float32")
    truth[:, 0, 0] = 0
    sky = np.array([[2.0, 3.0], [7.0, 5.0]], "float32")[:, None, None]
    variance = sky + truth / np.array([4.0, 5.0], "float32")
    mask = np.zeros(variance.shape, bool)
    mask[0, 2, 3] = True
    variance[0, 2, 3] = 0.01
    batch = {"variance": variance, "truth": truth, "mask": mask}
    found, per_flux = (numpy(part) for part in noise_of(batch))
    np.testing.assert_allclose(found, sky, rtol=1e-5)
    np.testing.assert_allclose(per_flux[0, 0, 0], [1 / 4, 1 / 5], rtol=1e-4)
    gain, level = (numpy(part) for part in gain_and_sky(found, per_flux))
    np.testing.assert_allclose(gain, [[4, 5]] * len(gain), rtol=1e-4)
    # As many electrons as have the variance of the sky, over the gain.
    np.testing.assert_allclose(level, [[2 * 4, 3 * 5], [7 * 4, 5 * 5]], rtol=1e-4)
    np.testing.assert_allclose(noise_of(batch, gain=[2.0, 10.0])[1][0, 0, 0], [0.5, 0.1])
    absent = np.full((1, 1, 1, 2), np.inf, "float32")
    gain, level = (numpy(part) for part in gain_and_sky(absent, np.array([[[[0.0, 0.5]]]], "float32")))
    np.testing.assert_array_equal(gain, [[np.inf, 2]])
    np.testing.assert_array_equal(level, 0)


def test_light_below_nothing_has_no_noise_of_its_own():
    assert (observed(np.full((1, 4, 4, 1), -5.0), 1.0, gain=2.0)[1] == 1).all()
    assert (numpy(poisson(np.full(100, -1.0, "float32"), seed())) == 0).all()
