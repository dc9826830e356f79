import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.reconstruction import chi2_per_pixel, negative_share, nmse, nmse_floor, signal_to_noise


@pytest.fixture
def scene():
    random = np.random.default_rng(3)
    y, x = np.indices((32, 32)) - 15.5
    truth = np.exp(-0.5 * (x**2 + y**2) / 9)[None, :, :, None] * np.array([3.0, 10.0])
    truth = np.repeat(truth, 20, axis=0)
    variance = np.broadcast_to(np.array([0.04, 0.25]), truth.shape).copy()
    return truth, truth + random.normal(size=truth.shape) * np.sqrt(variance), variance


def test_chi2_of_the_truth_is_one(scene):
    truth, image, variance = scene
    chi2 = chi2_per_pixel(image, truth, variance)
    assert chi2.shape == (20,)
    assert chi2.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / image.size))
    assert chi2_per_pixel(image, 0.8 * truth, variance).mean() > 1.1


def test_masked_and_absent_pixels_do_not_count(scene):
    truth, image, variance = scene
    mask = np.zeros(image.shape, bool)
    mask[:, :5] = True
    spoilt, wide = image.copy(), variance.copy()
    spoilt[:, :5] = np.nan
    spoilt[..., 1] = 1e9
    wide[..., 1] = np.inf
    expected = chi2_per_pixel(image[:, 5:, :, :1], truth[:, 5:, :, :1], variance[:, 5:, :, :1])
    np.testing.assert_allclose(chi2_per_pixel(spoilt, truth, wide, mask), expected)


def test_all_masked_stamp_is_nan(scene):
    truth, image, variance = scene
    mask = np.zeros(image.shape, bool)
    mask[0] = True
    chi2 = chi2_per_pixel(image, truth, variance, mask)
    assert np.isnan(chi2[0])
    assert np.isfinite(chi2[1:]).all()
    assert np.isnan(nmse(image, truth, mask)[0])
    assert signal_to_noise(image, variance, mask)[0] == 0


def test_nmse_of_the_truth_is_the_floor(scene):
    truth, image, variance = scene
    assert nmse(image, truth).mean() == pytest.approx(nmse_floor(image, variance).mean(), rel=0.05)
    assert nmse(image, image).max() == 0
    np.testing.assert_allclose(nmse(truth, 0 * truth), 1)


def test_signal_to_noise_is_close_to_the_matched_filter(scene):
    truth, image, variance = scene
    matched = np.sqrt((truth**2 / variance).sum(axis=(1, 2, 3)))
    assert signal_to_noise(image, variance).mean() == pytest.approx(matched.mean(), rel=0.1)
    noise = image - truth
    assert np.median(signal_to_noise(noise, variance)) < 3


def test_negative_share():
    image = np.ones((2, 4, 4, 1))
    image[0, 0] = -1
    image[1, 0] = -1e-8
    np.testing.assert_allclose(negative_share(image), [0.25, 0])


def test_shapes_must_agree(scene):
    truth, image, variance = scene
    with pytest.raises(InputError, match="same"):
        chi2_per_pixel(image, truth[:, :-1], variance)
    with pytest.raises(InputError):
        nmse(image[0], truth[0])


def test_pixels_that_count_by_hand():
    """Of five pixels two count: one is NaN, one has no variance and one an infinite one."""
    image = np.array([1.0, 2.0, np.nan, 4.0, 5.0]).reshape(1, 1, 5, 1)
    variance = np.array([1.0, 4.0, 1.0, 0.0, np.inf]).reshape(image.shape)
    assert chi2_per_pixel(image, np.zeros(image.shape), variance)[0] == 1
    assert nmse_floor(image, variance)[0] == (1 + 4) / (1 + 4)


@pytest.mark.parametrize("sigma", [1.5, 2.5, 4.0, 6.5])
def test_signal_to_noise_of_its_own_filter(sigma):
    """A filter on its own light is a matched filter; of two bands the noise's own 2 is taken off."""
    y, x = np.indices((64, 63))
    light = 3 * np.exp(-0.5 * ((y - 31.5) ** 2 + (x - 31) ** 2) / sigma**2)
    image = np.repeat(light[None, :, :, None], 2, axis=-1)
    variance = np.full(image.shape, 4.0)
    expected = np.sqrt(2 * np.sum(light**2) / 4 - 2)
    assert signal_to_noise(image, variance)[0] == pytest.approx(expected, rel=1e-6)
    assert signal_to_noise(-image, variance)[0] == 0


def test_a_thousandth_of_the_peak_below_nothing_is_negative_but_rounding_is_not():
    assert negative_share(np.array([1.0, -1e-3, -1e-7, 0.0]).reshape(1, 2, 2, 1))[0] == 0.25
