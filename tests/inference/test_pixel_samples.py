import numpy as np
import pytest
from keras import ops

from galzoo.contracts.deblended import Deblended
from galzoo.errors import InputError
from galzoo.inference.pixel_samples import anneal_pixels, sample_pixels

SIZE, SPREAD = 5, 0.5


class Pixels:
    """Pixels, or with `scaled` their asinh, are normal about a mean: posteriors are known."""

    space, exact_log_prob, exact_score, sigma_min = "pixels", True, True, 0.1
    bands, columns, stamp_size = ("r",), (), (SIZE, SIZE)

    def __init__(self, mean, scaled=False):
        self.mean, self.scaled = mean, scaled

    def image_density(self, image, condition):
        return -0.5 * ops.sum(ops.square((image - self.mean) / SPREAD), axis=(1, 2, 3))

    def score(self, x, condition=None, sigma=0.0):
        stretch = np.sqrt(1 + x**2)
        return -(np.arcsinh(x) - self.mean) / (SPREAD**2 + sigma**2) / stretch - x / stretch**2


@pytest.fixture
def scenes():
    """Two scenes of two galaxies in the same place, of which the data know the sum, and a start beside the truth."""
    rng = np.random.default_rng(3)
    data = 8 + rng.normal(size=(2, SIZE, SIZE, 1))
    batch = {"image": data, "variance": np.ones(data.shape)}
    start = np.full((2, 2, SIZE, SIZE, 1), 2.0, "float32")
    start[1, 1] = 0
    middle = np.full((2, 2, 2), (SIZE - 1) / 2)
    return batch, Deblended(start, start.sum(axis=(2, 3)), middle, np.array([[True, True], [True, False]]))


# TensorFlow Probability asks for the version of TensorFlow in a way that is deprecated.
@pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning")
def test_hamiltonian_chain_samples_the_posterior(scenes):
    batch, first = scenes
    noise = 0.4
    batch["variance"] *= noise**2
    found, accepted = sample_pixels(Pixels(4.0), first, batch, 0.7, draws=600, warmup=200, leapfrogs=16)
    for row, sources in enumerate(first.present.sum(axis=1)):
        # Of the total flux of one source, whose pixels are known by the sum of all and by their mean.
        gain = SPREAD**2 / (sources * SPREAD**2 + noise**2)
        mean = 4 * SIZE**2 + gain * (batch["image"][row] - 4 * sources).sum()
        error = SIZE * SPREAD * np.sqrt(1 - gain)
        assert abs(found.flux[row, 0, 0] - mean) < 0.3 * error
        assert 0.8 < found.flux_error[row, 0, 0] / error < 1.25
    assert found.flux[1, 1, 0] == 0
    # Two that share the data take from each other.
    expected = -(SPREAD**2) / (SPREAD**2 + noise**2)
    assert abs(np.corrcoef(found.samples[:, 0, :, 0].T)[0, 1] - expected) < 0.15
    assert np.all(accepted > 0.5)
    np.testing.assert_allclose(found.image[0, 0].sum(), found.flux[0, 0, 0], rtol=1e-4)


@pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning")
def test_a_chain_moves_where_pixels_are_much_better_known_than_the_prior_says(scenes):
    """Steps of .3 of the width of noise that the prior tells, 25 times that of the pixels, are never accepted."""
    batch, first = scenes
    batch["variance"] *= 100.0**2

    class Sharp(Pixels):
        sigma_min = 1.0

        def image_density(self, image, condition):
            return -0.5 * ops.sum(ops.square((ops.arcsinh(image) - self.mean) / 0.04), axis=(1, 2, 3))

    found, accepted = sample_pixels(Sharp(np.arcsinh(2.0)), first, batch, 0.7, draws=150, warmup=100, leapfrogs=10)
    assert np.all(accepted > 0.4)
    assert found.flux_error[0].min() > 0.05


def test_annealed_samples_follow_prior_and_data(scenes):
    batch, first = scenes
    one = Deblended(first.image[1:], first.flux[1:], first.positions[1:], first.present[1:])
    batch = {key: value[1:] for key, value in batch.items()}
    mean = np.arcsinh(5.0)
    found = anneal_pixels(Pixels(mean, scaled=True), one, batch, 0.7, draws=40, levels=8, repeats=12)
    # By quadrature, pixel by pixel.
    z = np.linspace(-1, 6, 2000)
    weight = -0.5 * ((z - mean) / SPREAD) ** 2 - 0.5 * (batch["image"].ravel()[:, None] - np.sinh(z)) ** 2
    weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    wanted = (weight * np.sinh(z)).sum(axis=1) / weight.sum(axis=1)
    assert abs(found.flux[0, 0, 0] / wanted.sum() - 1) < 0.05
    each = found.image[0, 0].ravel()
    assert np.corrcoef(each, wanted)[0, 1] > 0.8
    assert found.samples.shape == (40, 1, 2, 1)
    assert np.all(found.flux_error[0, 1] == 0)


def test_what_does_not_fit_is_refused(scenes):
    batch, first = scenes
    prior = Pixels(4.0)
    prior.exact_score = False
    with pytest.raises(InputError, match="no energy"):
        sample_pixels(prior, first, batch, 0.7)
    prior.sigma_min = None
    with pytest.raises(InputError, match="no levels of noise"):
        anneal_pixels(prior, first, batch, 0.7)
    two = {key: np.concatenate([value, value], axis=-1) for key, value in batch.items()}
    wide = Deblended(np.repeat(first.image, 2, -1), np.repeat(first.flux, 2, -1), first.positions, first.present)
    with pytest.raises(InputError, match="1 band, the data 2"):
        sample_pixels(Pixels(4.0), wide, two, 0.7)
