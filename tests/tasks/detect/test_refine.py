"""What the joint fit of `--refine` is told, and what is made of its answer."""

import numpy as np
import pytest
from scipy.stats import norm

from galzoo.contracts.detections import Detections
from galzoo.inference import star_fit
from galzoo.tasks.detect.refine import refined, signal_to_noise, with_limit, without_photons


def test_the_sky_is_the_variance_without_the_photons():
    variance = np.full((40, 50, 2), 4.0)
    # More than half of the image has light.
    variance[:, :30] += 100
    variance[0, 0] = np.inf
    found = without_photons(variance, [2.0, 0.0])
    assert np.isinf(found[0, 0]).all()
    np.testing.assert_array_equal(found[..., 0][np.isfinite(found[..., 0])], 4)
    np.testing.assert_array_equal(found[..., 1], variance[..., 1])


def fitted(monkeypatch, **more):
    """Return the answer to a batch, and what was asked of detector and fit.

    Three stars of which the second is doubtful; the fit is a fake that moves them by a pixel.
    """
    orders = []

    def fit_stars(image, variance, psf, stars, others, gain):
        orders.append({"image": image, "variance": variance, "stars": stars, "others": others, "gain": gain})
        n = len(stars)
        return star_fit.Fitted(
            stars.places + 1, np.full((n, 2), 0.01), np.array([[30.0], [9.0]])[:n], np.full((n, 1), 5.0), image, 1.0,
            np.ones(n, bool), image,
        )  # fmt: skip

    def detect(batch, threshold):
        orders.append({"threshold": threshold, "keys": set(batch)})
        places = np.array([[[10.0, 10.0], [20.0, 14.0], [30.0, 8.0]]])
        flux, error = np.array([[[100.0], [50.0], [20.0]]]), np.array([[[7.0], [6.0], [5.0]]])
        return Detections(
            places, np.array([[0.9, 0.1, 0.8]]), np.zeros((1, 3, 4)), flux=flux, flux_error=error,
            position_error=np.full((1, 3, 2), 0.2),
        )  # fmt: skip

    monkeypatch.setattr(star_fit, "fit_stars", fit_stars)
    mask = np.zeros((1, 30, 40, 1), bool)
    mask[0, 3, 4] = True
    batch = {"image": np.ones(mask.shape), "variance": np.full(mask.shape, 4.0), "mask": mask, "gain": [[3.0]]}
    batch["psf"] = np.full((1, 5, 5, 1), 1 / 25)
    return refined(detect)(batch | more, 0.5), orders


@pytest.fixture
def told(monkeypatch):
    return fitted(monkeypatch)


def test_errors_are_widened_and_doubtful_stars_are_not_fitted(told):
    _, (asked, order) = told
    # Doubtful ones have a part in the light, so that they are asked for, though they are below the threshold.
    assert asked["threshold"] == 0.02
    np.testing.assert_array_equal(order["stars"].places, [[10, 10], [30, 8]])
    np.testing.assert_array_equal(order["stars"].place_errors, np.full((2, 2), 0.4))
    np.testing.assert_array_equal(order["stars"].flux_errors, [[14], [10]])
    others = order["others"]
    assert (others.flux.item(), others.flux_errors.item(), others.probability.item()) == (50, 6, 0.1)
    np.testing.assert_array_equal(order["gain"], [3])
    assert np.isinf(order["variance"][3, 4])
    assert np.isfinite(order["variance"]).sum() == 30 * 40 - 1


def test_stars_are_what_the_fit_says_and_those_without_light_are_none(told):
    """9 with an error of 5 is less than two of these."""
    found, _ = told
    np.testing.assert_allclose(found.probability, [[0.9, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(found.positions[0, [0, 1]], [[11, 11], [20, 14]])
    np.testing.assert_allclose(found.position_error[0, 0], 0.01, rtol=1e-6)
    np.testing.assert_allclose([found.flux[0, 0, 0], found.flux_error[0, 0, 0]], [30, 5])


@pytest.mark.parametrize(
    ("core", "columns", "places", "others", "probability", "moved"),
    [
        ((0, 30, 4, 13), 29, [[10, 10]], [50, 20], [0.9, 0, 0], 0),
        # The first is within the 16 pixels that are fitted along; its answer is not kept.
        ((0, 30, 25, 36), 31, [[1, 10], [21, 8]], [50], [0, 0, 0], 2),
    ],
)
def test_stars_beyond_the_core_are_not_listed_but_shine_into_it(
    monkeypatch, core, columns, places, others, probability, moved
):
    found, (asked, order) = fitted(monkeypatch, core=np.array([core]))
    assert "core" not in asked["keys"]
    assert order["image"].shape == (30, columns, 1)
    np.testing.assert_array_equal(order["stars"].places, places)
    np.testing.assert_array_equal(order["others"].flux.ravel(), others)
    np.testing.assert_allclose(found.probability, [probability], rtol=1e-6)
    before = np.array([[10, 10], [20, 14], [30, 8]])
    before[moved] += 1
    np.testing.assert_array_equal(found.positions[0], before)


def test_the_limit_is_told_to_every_image():
    seen = with_limit(lambda batch, *more: (batch["faintest"].tolist(), *more), 7.0)(
        {"image": np.zeros((2, 3, 3, 1))}, 4
    )
    assert seen == ([7, 7], 4)


def test_signal_to_noise_is_that_of_all_bands_and_finite_of_fluxes_beyond_squares():
    flux = np.array([[3.0, -8.0], [0.0, 0.0], [1e200, 1e200], [5.0, 0.0], [np.nan, 2.0]])
    error = np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    found = signal_to_noise(flux, error)
    np.testing.assert_allclose(found, [5.0, 0.0, np.sqrt(2) * 1e200, np.inf, 2.0])
    np.testing.assert_allclose(signal_to_noise(-flux[:1, :1], error[:1, :1]), [3.0])


def test_galaxies_stay_as_the_detector_says_them():
    """Two sources whose fluxes are said to be half of what they are, one of them as a galaxy."""
    y, x = np.indices((40, 40))
    image = sum(900 * norm.pdf(x, px, 1.5) * norm.pdf(y, 20, 1.5) for px in (12, 27))[None, ..., None]
    psf = (norm.pdf(x, 20, 1.5) * norm.pdf(y, 20, 1.5))[10:31, 10:31][None, ..., None]
    batch = {"image": image, "variance": np.ones_like(image), "mask": np.zeros_like(image, bool), "psf": psf}
    said = Detections(
        positions=np.array([[[12.0, 20.0], [27.0, 20.0]]]), probability=np.ones((1, 2)), boxes=np.zeros((1, 2, 4)),
        class_probability=np.array([[[0.1, 0.9], [0.8, 0.2]]]), flux=np.full((1, 2, 1), 450.0),
        flux_error=np.full((1, 2, 1), 300.0), position_error=np.full((1, 2, 2), 0.3),
    )  # fmt: skip
    found = refined(lambda batch, threshold: said)(batch, 0.5)
    assert found.flux[0, 0, 0] == pytest.approx(900, rel=0.05)
    assert found.flux[0, 1, 0] == 450
    assert found.probability[0].tolist() == [1, 1]
