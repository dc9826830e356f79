import numpy as np
import pytest

from galzoo.contracts.deblended import Deblended
from galzoo.errors import InputError
from galzoo.inference.pixel_scene import PixelScene
from galzoo.inference.pixels import deblend_pixels
from galzoo.layers.psf import convolve, gaussian_psf

SIZE = 25


class Round:
    """A prior under which galaxies are round Gaussians of any brightness about the middle of their stamp."""

    space, exact_log_prob, exact_score = "pixels", True, True
    bands, stamp_size = ("r",), (21, 21)

    def __init__(self, sigma, scatter):
        axis = np.arange(21) - 10
        line = np.exp(-0.5 * (axis / sigma) ** 2)
        self.shape = np.outer(line, line)[None, :, :, None] / line.sum() ** 2
        self.scatter = scatter

    def score(self, x, condition=None):
        flux = (x * self.shape).sum(axis=(1, 2), keepdims=True) / (self.shape**2).sum()
        return (flux * self.shape - x) / self.scatter**2


@pytest.fixture
def blend():
    """A blend of two, what is true of it, and an answer that gives half of the light to each."""
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
    batch = {"image": image, "variance": np.full(image.shape, 0.05**2), "psf": psf}
    halves = np.repeat(0.5 * clean[:, None], 2, axis=1)
    positions = np.array([[[10.0, 12.0], [15.0, 12.0]]])
    return batch, truth, Deblended(halves, halves.sum(axis=(2, 3)), positions, np.ones((1, 2), bool))


def test_the_prior_decides_what_the_data_leave_open(blend):
    batch, truth, first = blend
    found = deblend_pixels(Round(2.0, 0.05), first, batch, 0.7, steps=200)
    alone = deblend_pixels(Round(2.0, 0.05), first, batch, 0.7, steps=200, weight=0)
    true = truth.sum(axis=(2, 3, 4))
    assert np.abs(found.flux.sum(-1) / true - 1).max() < 0.1
    # Without the prior both sources stay much alike: the data only know their sum.
    assert np.abs(alone.flux.sum(-1) / true - 1).max() > 0.15
    assert 0.85 < found.chi2[0] < 1.15
    assert np.all(found.flux >= 0)
    np.testing.assert_allclose(found.image.sum(axis=1) + found.residual, batch["image"], atol=1e-5)


def test_one_colour_a_galaxy(blend):
    batch, truth, first = blend
    two = {key: np.concatenate([value, value], axis=-1) for key, value in batch.items()}
    # In the second band the first galaxy has half of its light, the other thrice.
    shown = truth * np.array([0.5, 3.0])[None, :, None, None, None]
    two["image"][..., 1] = np.asarray(convolve(shown.sum(axis=1), batch["psf"], 0.7))[..., 0]
    halves = np.repeat(0.5 * two["image"][:, None], 2, axis=1)
    first = Deblended(halves, halves.sum(axis=(2, 3)), first.positions, first.present)
    found = deblend_pixels(Round(2.0, 0.02), first, two, 0.7, steps=300)
    np.testing.assert_allclose(found.flux[0, :, 1] / found.flux[0, :, 0], [0.5, 3.0], rtol=0.25)


def test_light_beyond_the_stamps_is_kept(blend):
    batch, _, first = blend
    batch = {key: value for key, value in batch.items() if key != "psf"}
    image = np.zeros_like(first.image)
    image[0, 0, 12, 10] = 1.0
    image[0, 0, 12, 24] = 0.5
    batch["image"] = image.sum(axis=1)
    first = Deblended(image, image.sum(axis=(2, 3)), first.positions, np.array([[True, False]]))
    found = deblend_pixels(Round(2.0, 0.05), first, batch, 0.7, steps=1, rate=0.0)
    np.testing.assert_allclose(found.image[0, 0], image[0, 0], atol=1e-5)
    np.testing.assert_allclose(found.flux[0, :, 0], [1.5, 0.0], atol=1e-5)


def test_what_does_not_fit_is_refused(blend):
    batch, _, first = blend
    prior = Round(2.0, 0.05)
    with pytest.raises(InputError, match="images have shape"):
        deblend_pixels(prior, first, {**batch, "image": batch["image"][:, 1:]}, 0.7)
    prior.bands = ("g", "r")
    with pytest.raises(InputError, match="2 bands, the data 1"):
        deblend_pixels(prior, first, batch, 0.7)
    prior.space = "codes"
    with pytest.raises(InputError, match="over codes"):
        deblend_pixels(prior, first, batch, 0.7)


def two_bands(blend, flux=(1.0, 4.0)):
    """Return a batch of two bands and a first answer, without and with the second source."""
    batch, _, first = blend
    batch = {key: np.concatenate([value, value], axis=-1) for key, value in batch.items()}
    batch["image"] = batch["image"] * np.array(flux)
    image = first.image * np.array(flux)
    return batch, Deblended(image, image.sum(axis=(2, 3)), first.positions, first.present)


def test_a_prior_of_one_band_sees_the_one_with_most_signal(blend):
    batch, first = two_bands(blend)
    assert PixelScene(Round(2.0, 0.05), first, batch, 0.7).band == 1
    batch["variance"] = batch["variance"] * np.array([1.0, 400.0])
    assert PixelScene(Round(2.0, 0.05), first, batch, 0.7).band == 0


def test_no_colour_is_negative(blend):
    batch, first = two_bands(blend, (1.0, -0.5))
    scene = PixelScene(Round(2.0, 0.05), first, batch, 0.7)
    scene.band = 0
    stamps, colours = scene.start()
    assert scene.solve_colours(stamps, colours).min() >= 0


@pytest.mark.parametrize("flux", [(1.0,), (1.0, 4.0)])
def test_the_slope_is_that_of_the_likelihood(blend, flux):
    batch, first = two_bands(blend) if len(flux) > 1 else (blend[0], blend[2])
    scene = PixelScene(Round(2.0, 0.05), first, batch, 0.7)
    x, colours = scene.start()

    def log_likelihood(x):
        total = scene.seen(scene.paste(x * colours).sum(axis=1)).astype(float)
        return -0.5 * np.sum(scene.inverse * (scene.data - total) ** 2)

    slope = scene.slope(x, colours)
    for place in ((0, 0, 10, 10, 0), (0, 1, 8, 12, 0)):
        step = np.zeros_like(x)
        step[place] = 0.05
        wanted = (log_likelihood(x + step) - log_likelihood(x - step)) / 0.1
        assert slope[place] == pytest.approx(wanted, rel=0.02, abs=0.5)


def test_answers_are_of_good_pixels_and_of_sources_that_are_there(blend):
    batch, _, first = blend
    mask = np.zeros(batch["image"].shape, bool)
    mask[:, :10] = True
    first.present[0, 1] = False
    image = np.where(first.present[:, :, None, None, None], first.image, 0)
    scene = PixelScene(Round(2.0, 0.05), first, batch | {"mask": mask, "image": image.sum(axis=1) + 0.05}, 0.7)
    scene.start()
    answer = scene.answer_of(image, first.flux)
    assert answer.chi2[0] == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_allclose(answer.flux[0, :, 0], [first.flux[0, 0, 0], 0.0])


def test_sharpness_is_the_power_of_the_kernel(blend):
    """That of a Gaussian: the width of the PSF less that of the model frame."""
    batch, _, first = blend
    found = PixelScene(Round(2.0, 0.05), first, batch, 0.7).sharpness()
    assert found.shape == (1, 1, 1, 1, 1)
    assert found.item() == pytest.approx(1 / (4 * np.pi * (1.5**2 - 0.7**2)), rel=0.02)
