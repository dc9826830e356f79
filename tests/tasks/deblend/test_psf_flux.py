"""Fluxes of deblended sources as if each were a star."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from galzoo.tasks.deblend.psf_flux import extendedness, psf_fluxes

SIDE, SIGMA, NOISE = 41, 1.8, 3.0
UNIT = SimpleNamespace(x0=100, y0=200)
PLACES = np.array([[115.3, 218.8], [123.1, 222.4], [130.0, 205.0]])
FLUX = np.array([[4000.0, 2000.0], [3000.0, 5000.0], [1000.0, 1000.0]])


def light(x, y, sigma, side=SIDE):
    line = np.arange(side)
    return norm.pdf(line[:, None], y, sigma) * norm.pdf(line, x, sigma)


def psf_of(x, y):
    assert len(x) == len(y)
    return np.repeat(light(12, 12, SIGMA, 25)[None, ..., None], len(x), axis=0).repeat(2, axis=-1)


@pytest.fixture
def window():
    """A star, a galaxy beside it whose model is right, and a source without a model."""
    sigmas = SIGMA, 2.5 * SIGMA, SIGMA
    images = [light(x - 100, y - 200, sigma) for (x, y), sigma in zip(PLACES, sigmas, strict=True)]
    image = np.array(images)[..., None] * FLUX[:, None, None]
    noise = NOISE * np.random.default_rng(2).normal(size=(SIDE, SIDE, 2))
    fit = SimpleNamespace(image=image * [[[[1]]], [[[1]]], [[[0]]]], flux=FLUX)
    # The third is no part of the data either.
    planes = {
        "image": image[:2].sum(axis=0) + noise, "variance": np.full((SIDE, SIDE, 2), NOISE**2),
        "mask": np.zeros((SIDE, SIDE, 2), bool), "other": np.zeros((SIDE, SIDE), bool),
    }  # fmt: skip
    return planes, fit


def test_a_star_has_its_flux_and_a_galaxy_less(window):
    planes, fit = window
    flux, error = psf_fluxes(UNIT, planes, fit, PLACES, psf_of)
    np.testing.assert_allclose(error[:2], NOISE * np.sqrt(4 * np.pi) * SIGMA, rtol=0.01)
    assert np.abs((flux[0] - FLUX[0]) / error[0]).max() < 3
    # Of a Gaussian 2.5 times as wide, at its own place.
    np.testing.assert_allclose(flux[1], FLUX[1] * 2 / (1 + 2.5**2), atol=4 * error[1].max())
    assert np.isnan(flux[2]).all()
    share, share_error = extendedness(flux, error, FLUX)
    assert abs(share[0]) < 3 * share_error[0] < 0.1
    assert share[1] == pytest.approx(1 - 2 / (1 + 2.5**2), abs=4 * share_error[1])
    assert np.isnan(share[2])


def test_bad_pixels_and_other_windows_are_left_out(window):
    planes, fit = window
    clean, _ = psf_fluxes(UNIT, planes, fit, PLACES, psf_of)
    more = light(20, 20, 3.0)[..., None] * [500.0, 700.0]
    planes["image"] = planes["image"] + more
    planes["image"][17, 15], planes["mask"][17, 15] = 1e6, True
    planes["image"][19, 16], planes["other"][19, 16] = 1e6, True
    flux, error = psf_fluxes(UNIT, planes, fit, PLACES, psf_of, more)
    np.testing.assert_allclose(flux[:2], clean[:2], atol=2 * error[:2].max())
    planes["mask"][..., 1] = True
    flux, _ = psf_fluxes(UNIT, planes, fit, PLACES, psf_of, more)
    assert np.isnan(flux[:, 1]).all()
    assert np.isfinite(flux[:2, 0]).all()
