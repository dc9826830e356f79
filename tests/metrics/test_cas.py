"""The sky's part in asymmetry and smoothness, and pixels without a partner, by hand."""

import numpy as np
import pytest

from galzoo.metrics.cas import asymmetry, sky_asymmetry, sky_box, sky_smoothness
from galzoo.metrics.morphology import gini, m20


def test_the_sky_of_known_noise_is_that_of_a_box_of_it():
    noise = np.random.default_rng(0).normal(scale=3.0, size=(300, 300))
    box = slice(0, 300), slice(0, 300)
    assert sky_asymmetry(noise, None, 3.0) == pytest.approx(sky_asymmetry(noise, box, None), rel=0.02)
    # Smoothed by squares of 3 pixels, a quarter of the radius.
    assert sky_smoothness(noise, None, 3.0, 12.0) == pytest.approx(sky_smoothness(noise, box, None, 12.0), rel=0.02)
    assert sky_asymmetry(noise, None, None) == sky_smoothness(noise, None, None, 12.0) == 0


def test_sky_is_the_largest_free_square():
    free = np.ones((40, 50), bool)
    assert sky_box(free) == (slice(0, 32), slice(0, 32))
    free[:20] = False
    assert sky_box(free) == (slice(20, 36), slice(0, 16))
    assert sky_box(np.zeros((40, 50), bool)) is None


def test_a_pixel_whose_partner_is_bad_does_not_count():
    image, good = np.ones((5, 5)), np.ones((5, 5), bool)
    image[0, 0], good[0, 0] = 0.0, False
    assert asymmetry(image, (2.0, 2.0), 9.0, good) == 0
    # Without the mask: two pixels are off by 1 of a light of 24.
    assert asymmetry(image, (2.0, 2.0), 9.0) == pytest.approx(2 / 24)


def test_light_below_nothing_counts_as_light():
    assert gini([-1.0, 1.0]) == 0


def test_the_brightest_fifth_by_hand():
    """The four faintest pixels have 7.5 of 10, so that the first, 1.98 pixels from the centre, holds the fifth."""
    light = np.array([[2.5, 2.4, 0.3, 2.4, 2.4]])
    total = 2.5 * 1.98**2 + 2.4 * (0.98**2 + 1.02**2 + 2.02**2) + 0.3 * 0.02**2
    assert m20(light, np.ones((1, 5), bool)) == pytest.approx(np.log10(2.5 * 1.98**2 / total))
