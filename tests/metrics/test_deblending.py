import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.deblending import (
    blendedness,
    colour_error,
    covered,
    flux_conservation,
    likeness,
    magnitude_error,
    nearest_separation,
    pulls,
    relative_error,
    source_moments,
)


def blob(x, y, sigma=2.5, e1=0.0, size=41):
    rows, columns = np.indices((size, size))
    a2, b2 = sigma**2 * (1 + e1), sigma**2 * (1 - e1)
    image = np.exp(-0.5 * ((columns - x) ** 2 / a2 + (rows - y) ** 2 / b2))
    return image / image.sum()


def sources(*images):
    return np.stack(images)[None, ..., None]


def test_blendedness_of_known_pairs():
    same, away = blob(20, 20), blob(2, 2, 1.0)
    assert blendedness(sources(same, same)).ravel() == pytest.approx([0.5, 0.5])
    assert blendedness(sources(same, 3 * same)).ravel() == pytest.approx([0.75, 0.25])
    np.testing.assert_allclose(blendedness(sources(same, away)), 0, atol=1e-6)
    alone = blendedness(sources(same, 0 * same)).ravel()
    assert alone[0] == 0
    assert np.isnan(alone[1])
    with pytest.raises(InputError, match="source, y, x, band"):
        blendedness(same)


def test_separation_leaves_out_empty_slots():
    positions = np.array([[[0, 0], [3, 4], [0, 1]], [[5, 5], [0, 0], [0, 0]]])
    found = nearest_separation(positions, [2, 1])
    np.testing.assert_allclose(found[0, :2], 5)
    assert np.isnan(found[0, 2])
    assert np.isnan(found[1]).all()


def test_flux_errors_and_colours():
    truth = np.array([[[100.0, 200.0], [0.0, 50.0]]])
    flux = np.array([[[110.0, 200.0], [5.0, -1.0]]])
    np.testing.assert_allclose(relative_error(flux, truth)[0, 0], [0.1, 0])
    assert np.isnan(relative_error(flux, truth)[0, 1, 0])
    brighter = -2.5 * np.log10(1.1)
    np.testing.assert_allclose(magnitude_error(flux, truth)[0, 0], [brighter, 0], atol=1e-12)
    assert np.isnan(magnitude_error(flux, truth)[0, 1]).all()
    # Too bright in the first band is too blue: first less second is negative.
    assert colour_error(flux, truth)[0, 0, 0] == pytest.approx(brighter)
    with pytest.raises(InputError, match="the same"):
        relative_error(flux[:, :1], truth)


def test_conservation_counts_what_was_not_found_as_lost():
    truth = np.array([[[60.0], [40.0], [7.0]]])
    present = np.array([[True, True, False]])
    assert flux_conservation([[[70.0], [30.0], [9.0]]], truth, present)[0, 0] == pytest.approx(0)
    assert flux_conservation([[[60.0], [np.nan], [9.0]]], truth, present)[0, 0] == pytest.approx(-0.4)


def test_pulls_and_coverage_of_right_and_wrong_errors():
    random = np.random.default_rng(1)
    truth = np.full((4000, 1, 1), 100.0)
    flux = truth + random.normal(0, 5, truth.shape)
    for error, spread, within in ((5.0, 1.0, 0.683), (10.0, 0.5, 0.954)):
        errors = np.full(truth.shape, error)
        assert pulls(flux, truth, errors).std() == pytest.approx(spread, rel=0.05)
        assert covered(flux, truth, errors).mean() == pytest.approx(within, abs=0.02)
    assert covered(flux, truth, np.full(truth.shape, 5.0), level=0.95).mean() == pytest.approx(0.95, abs=0.015)
    samples = flux + random.normal(0, 5, (400, *truth.shape))
    assert covered(flux, truth, samples=samples).mean() == pytest.approx(0.68, abs=0.03)
    assert np.isnan(pulls(flux, truth, 0 * truth)).all()
    missing = covered(np.full((1, 1, 1), np.nan), truth[:1], truth[:1])
    assert np.isnan(missing).all()
    with pytest.raises(InputError, match="samples"):
        covered(flux, truth)


def test_moments_start_at_the_source_and_survive_the_edge():
    image = np.stack([blob(8.3, 31.6, e1=0.3), blob(39.0, 20.0, e1=-0.2), blob(20, 20)])[None]
    positions = np.array([[[8.3, 31.6], [39.0, 20.0], [20, 20]]])
    moments = source_moments(image, positions, np.array([[True, True, False]]))
    assert moments["e1"][0, 0] == pytest.approx(0.3, abs=2e-3)
    assert moments["sigma"][0, 0] == pytest.approx(2.5 * (1 - 0.3**2) ** 0.25, rel=1e-3)
    assert np.isfinite(moments["e1"][0, 1])
    assert np.isnan(moments["e1"][0, 2])
    assert np.isnan(source_moments(0 * image, positions, np.ones((1, 3), bool))["e1"]).all()


def test_likeness_does_not_count_empty_sky():
    truth = blob(20, 20)[None, None]
    present = np.ones((1, 1), bool)
    perfect = likeness(truth, truth, present)
    assert perfect["ssim"][0, 0] == pytest.approx(1)
    assert np.isinf(perfect["psnr"][0, 0])
    noise = 0.05 * truth.max() * np.random.default_rng(2).normal(size=truth.shape)
    noisy = likeness(truth + noise, truth, present)
    assert noisy["psnr"][0, 0] == pytest.approx(26.02, abs=0.6)
    assert noisy["ssim"][0, 0] < 0.99
    # Twice as much empty sky around it changes nothing.
    wide = [np.pad(image, ((0, 0), (0, 0), (20, 20), (20, 20))) for image in (truth + noise, truth)]
    assert likeness(*wide, present)["psnr"][0, 0] == pytest.approx(noisy["psnr"][0, 0])
    assert np.isnan(likeness(truth, 0 * truth, present)["psnr"]).all()


def test_likeness_at_the_corner_of_an_image():
    truth = blob(0.0, 40.0, 1.0)[None, None]
    found = likeness(0.9 * truth, truth, np.ones((1, 1), bool))
    assert np.isfinite(found["psnr"]).all()
    assert np.isfinite(found["ssim"]).all()


def test_a_true_flux_below_nothing_has_no_relative_error():
    assert np.isnan(relative_error([1.0], [-2.0])).all()


def test_intervals_are_those_of_a_gaussian_and_of_two_levels():
    np.testing.assert_array_equal(covered([1.95, 1.98], [0.0, 0.0], [1.0, 1.0], level=0.95), [1, 0])
    np.testing.assert_array_equal(covered([0.99, 1.01], [0.0, 0.0], [1.0, 1.0]), [1, 0])
    samples = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert np.isnan(covered([np.nan, 0.5], [0.5, np.nan], samples=samples)).all()
    with pytest.raises(InputError, match=r"use 0.68 or 0.95"):
        covered([0.5], [0.5], [1.0], level=0.9)


def test_likeness_by_hand():
    """Light of 5 % of the peak ten pixels away: a box of 11 by 11 pixels, in one of which the image is 0.1 off."""
    truth = np.zeros((1, 1, 41, 41))
    truth[0, 0, 20, 20], truth[0, 0, 20, 30] = 1.0, 0.05
    image = truth.copy()
    image[0, 0, 20, 30] += 0.1
    present = np.ones((1, 1), bool)
    assert likeness(image, truth, present)["psnr"][0, 0] == pytest.approx(10 * np.log10(121 / 0.01))
    # Even light: (2 x 0.5 + c) / (1 + 0.25 + c), c = 0.01^2 of the peak of 1.
    flat = np.ones((1, 1, 15, 15))
    assert likeness(flat / 2, flat, present)["ssim"][0, 0] == pytest.approx(1.0001 / 1.2501, abs=1e-6)
