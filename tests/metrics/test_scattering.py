"""Scattering features by hand."""

import numpy as np
import pytest

from galzoo.metrics.scattering import scattering_features


def test_even_light_has_a_mean_and_no_structure():
    """In each of two zones the mean, 12 coefficients of which the floor is left, and 48 ratios of floors."""
    features = scattering_features(np.full((1, 16, 24), 6.0), scale=2.0).reshape(2, 61)
    np.testing.assert_allclose(features[:, 0], np.arcsinh(3), rtol=1e-4)
    np.testing.assert_allclose(features[:, 1:13], np.log(0.01), atol=2e-3)
    np.testing.assert_allclose(features[:, 13:], 0, atol=2e-3)


def test_each_image_has_its_own_noise():
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 1))
    both = scattering_features(images, scale=[[1.0], [3.0]])
    for row, scale in enumerate((1.0, 3.0)):
        np.testing.assert_allclose(both[row], scattering_features(images[row : row + 1], scale)[0], rtol=1e-4)
    assert np.abs(both[1] - scattering_features(images[1:], 1.0)[0]).max() > 0.1


@pytest.mark.parametrize("shape", [(16, 64), (64, 16)])
def test_the_central_zone_is_a_sixth_of_the_shorter_side(shape):
    """Light in the middle row or column alone: a Gaussian of 16 / 6 pixels has 1 / sqrt(2 pi) of 6 / 16 of it."""
    image = np.zeros((1, *shape))
    if shape[0] < shape[1]:
        image[:, 7:9] = 1.0
    else:
        image[:, :, 7:9] = 1.0
    sigma = 16 / 6
    line = np.exp(-0.5 * (np.arange(16) - 7.5) ** 2 / sigma**2)
    centre = scattering_features(image).reshape(2, 61)[0, 0]
    assert centre == pytest.approx(np.arcsinh(1) * line[7:9].sum() / line.sum(), rel=1e-3)
