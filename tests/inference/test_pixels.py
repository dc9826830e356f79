import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.inference.pixels import _roll, deblend_pixels
from galzoo.layers.psf import convolve, gaussian_psf

SIZE = 25


class Round:
    """A prior under which galaxies are round Gaussians of any brightness about the middle of their stamp."""

    space, exact_log_prob, exact_score = "pixels", True, True

    def __init__(self, sigma, scatter):
        axis = np.arange(SIZE) - (SIZE - 1) / 2
        line = np.exp(-0.5 * (axis / sigma) ** 2)
        self.shape = np.outer(line, line)[None, :, :, None] / line.sum() ** 2
        self.scatter = scatter

    def score(self, x, condition=None):
        flux = (x * self.shape).sum(axis=(1, 2), keepdims=True) / (self.shape**2).sum()
        return (flux * self.shape - x) / self.scatter**2


@pytest.fixture
def blend():
    rng = np.random.default_rng(0)
    axis = np.arange(SIZE)
    truth = []
    for x, flux in ((10, 40.0), (15, 25.0)):
        galaxy = np.exp(-0.5 * ((axis[None, :] - x) ** 2 + (axis[:, None] - 12) ** 2) / 2.0**2)
        truth.append(flux * galaxy / galaxy.sum())
    truth = np.array(truth, "float32")[None, ..., None]
    psf = gaussian_psf(15, 1.5)[None, :, :, None]
    clean = np.asarray(convolve(truth.sum(axis=1), psf, 0.7))
    image = clean + 0.05 * rng.normal(size=clean.shape)
    positions = np.float32([[[10, 12], [15, 12]]])
    batch = {"image": image, "variance": np.full(image.shape, 0.05**2), "psf": psf, "positions": positions}
    return batch, truth


def test_the_prior_decides_what_the_data_leave_open(blend):
    batch, truth = blend
    start = np.repeat(truth.mean(axis=1, keepdims=True), 2, axis=1)
    found = deblend_pixels(Round(2.0, 0.05), start, batch, 0.7, steps=300)
    alone = deblend_pixels(Round(2.0, 0.05), start, batch, 0.7, steps=300, weight=0)
    true = truth.sum(axis=(2, 3, 4))
    assert np.abs(found.flux.sum(-1) / true - 1).max() < 0.1
    # Without the prior both sources stay alike: the data only know their sum.
    assert np.abs(alone.flux.sum(-1) / true - 1).max() > 0.2
    assert 0.85 < found.chi2[0] < 1.15
    assert np.all(found.flux >= 0)


def test_only_priors_over_pixels(blend):
    prior = Round(2.0, 0.05)
    prior.space = "codes"
    with pytest.raises(InputError, match="over codes"):
        deblend_pixels(prior, blend[1], blend[0], 0.7)


def test_start_must_fit(blend):
    with pytest.raises(InputError, match="start has shape"):
        deblend_pixels(Round(2.0, 0.05), blend[1][:, :, 1:], blend[0], 0.7)


def test_rolling_loses_what_leaves():
    image = np.zeros((1, 1, 5, 5, 1))
    image[0, 0, 2, 4] = 1
    moved = _roll(image, np.array([[[-1, 2]]]))
    assert moved[0, 0, 4, 3, 0] == 1
    assert _roll(image, np.array([[[1, 0]]])).sum() == 0
