import galsim
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.checkerboard import checkerboard_power


def galaxy(size):
    model_frame = galsim.Gaussian(sigma=0.7)
    profiles = [
        galsim.Exponential(half_light_radius=4).shear(e1=0.4, e2=0.1),
        galsim.Sersic(n=3, half_light_radius=3, trunc=25),
    ]
    images = [galsim.Convolve(p, model_frame).drawImage(nx=size, ny=size, scale=1, method="no_pixel") for p in profiles]
    return np.stack([image.array for image in images])[..., None]


@pytest.mark.parametrize("size", [64, 61])
@pytest.mark.parametrize("period", [2, 4])
def test_planted_pattern_is_found_and_galaxies_are_not(size, period):
    smooth = galaxy(size)
    y, x = np.indices((size, size))
    pattern = np.where((x % period < period / 2) ^ (y % period < period / 2), 1.0, -1.0)[None, :, :, None]
    planted = smooth + 0.01 * smooth.max() * pattern
    assert checkerboard_power(smooth, period).max() < 1.2
    assert checkerboard_power(planted, period).min() > 10


def test_pattern_that_follows_the_light_stands_out_against_the_truth():
    smooth = galaxy(64)
    y, x = np.indices((64, 64))
    modulated = smooth * (1 + 0.02 * (-1.0) ** (x + y))[None, :, :, None]
    assert (checkerboard_power(modulated) / checkerboard_power(smooth)).min() > 5


def test_noise_has_no_pattern():
    noise = np.random.default_rng(0).normal(size=(50, 32, 32, 1))
    assert np.median(checkerboard_power(noise, 4)) == pytest.approx(1.5, abs=0.5)


def test_bad_arguments_are_refused():
    assert np.isnan(checkerboard_power(np.zeros((1, 32, 32, 1)))).all()
    with pytest.raises(InputError):
        checkerboard_power(np.zeros((1, 8, 8, 1)))
    with pytest.raises(InputError):
        checkerboard_power(np.zeros((1, 32, 32, 1)), period=1)
    with pytest.raises(InputError, match="whole number"):
        checkerboard_power(np.zeros((1, 32, 32, 1)), period=2.5)


def test_a_pattern_of_half_the_period_is_left_to_that_period():
    smooth = galaxy(64)
    y, x = np.indices((64, 64))
    planted = smooth + 0.01 * smooth.max() * ((-1.0) ** (x + y))[None, :, :, None]
    assert checkerboard_power(planted, 2).min() > 10
    np.testing.assert_allclose(checkerboard_power(planted, 4), checkerboard_power(smooth, 4), rtol=0.05)
