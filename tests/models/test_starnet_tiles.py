"""The tile posterior of StarNet: its likelihood by hand, what a little training finds, and draws."""

import keras
import numpy as np
import pytest
from scipy.stats import norm

from galzoo.errors import RecipeError
from galzoo.layers.psf import gaussian_psf
from galzoo.models.starnet.model import StarNet
from galzoo.models.starnet.tiles import slots_of, tile_nll, tile_truth
from tests.models.test_starnet import taught, truth_of

SIGMA = 1.3


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)


def truth(places, flux):
    """Return the catalogue of one field, with two rows of padding."""
    n = len(places)
    pad = ((0, 2), (0, 0))
    return {
        "positions": np.pad(np.reshape(places, (n, 2)).astype("float32"), pad)[None],
        "flux": np.pad(np.reshape(flux, (n, -1)).astype("float32"), pad)[None],
        "n_sources": np.array([n], "int32"),
    }


def posterior(down=2, across=3, bands=2, most=2, seed=0):
    random = np.random.default_rng(seed)
    slots = most * (most + 1) // 2
    shape = (1, down, across)
    logits = random.normal(size=(*shape, most + 1))
    found = {"log_count": logits - np.log(np.exp(logits).sum(-1, keepdims=True))}
    found["position"] = random.uniform(-0.5, 1.5, (*shape, slots, 2))
    found["scaled_flux"] = random.uniform(2, 4, (*shape, slots, bands))
    for key, size in (("log_position_error", 2), ("log_flux_error", bands)):
        found[key] = random.uniform(-2, 0, (*shape, slots, size))
    return {key: value.astype("float32") for key, value in found.items()}


class TestTruth:
    def test_stars_are_those_of_the_core_they_lie_in_brightest_first(self):
        unit = np.full((1, 4, 6, 1), 2.0, "float32")
        # Three in the first core, of which two are kept; one on the far edge of the last pixel; pads are none.
        places = [[0.2, 1.4], [-0.4, 0.0], [1.4, 0.9], [5.45, 3.45], [2.0, 0.0]]
        count, place, scaled = (array(v) for v in tile_truth(truth(places, [50, 40, 30, 20, 10]), unit, 2, 3, 2))
        np.testing.assert_array_equal(count, [[[2, 1, 0], [0, 0, 1]]])
        np.testing.assert_allclose(place[0, 0, 0], places[:2], rtol=1e-6)
        np.testing.assert_allclose(scaled[0, 0, 0, :, 0], np.arcsinh([25, 20]), rtol=1e-6)
        np.testing.assert_allclose(place[0, 1, 2], [places[3], [0, 0]], rtol=1e-6)


class TestLikelihood:
    def test_order_is_that_which_fits_places_and_fluxes_follow(self):
        found, unit = posterior(), np.ones((1, 4, 6, 2), "float32")
        places, flux = [[0.1, 0.3], [1.2, 1.1], [3.0, 0.5]], [[9.0, 8.0], [7.0, 30.0], [5.0, 5.0]]
        count, stars = tile_nll(found, truth(places, flux), unit, np.ones((1, 2), "float32"))
        number = np.array([[2, 1, 0], [0, 0, 0]])
        by_hand = sum(found["log_count"][0, y, x, number[y, x]] for y in range(2) for x in range(3))
        np.testing.assert_allclose(array(count), [-by_hand], rtol=1e-5)

        def score(key, values, tile, slots):
            mean, error = (
                found[key][0, 0, tile, slots],
                np.exp(found[f"log_{key.split('_')[-1]}_error"][0, 0, tile, slots]),
            )
            return -(norm.logpdf(values, mean, error) + 0.5 * np.log(2 * np.pi)).sum()

        z = np.arcsinh(flux)
        orders = [[0, 1], [1, 0]]
        of_place = [score("position", np.array(places)[order], 0, slots_of(2)) for order in orders]
        best = orders[int(np.argmin(of_place))]
        expected = min(of_place) + score("scaled_flux", z[best], 0, slots_of(2))
        expected += score("position", np.array(places)[2:], 1, slots_of(1)) + score(
            "scaled_flux", z[2:], 1, slots_of(1)
        )
        np.testing.assert_allclose(array(stars), [expected], rtol=1e-4)

    def test_a_band_that_is_not_there_says_nothing(self):
        found, unit = posterior(), np.ones((1, 4, 6, 2), "float32")
        present = np.array([[1.0, 0.0]], "float32")
        one, two = (
            array(tile_nll(found, truth([[0.0, 0.0]], [[9.0, other]]), unit, present)[1]) for other in (3.0, 300.0)
        )
        np.testing.assert_allclose(one, two, rtol=1e-6)


def scene(places, flux, shape=(14, 14), seed=0):
    y, x = np.indices(shape)
    image = np.random.default_rng(seed).normal(size=shape)
    for (px, py), one in zip(places, flux, strict=True):
        image = image + one * norm.pdf(x, px, SIGMA) * norm.pdf(y, py, SIGMA)
    image = image[None, ..., None].astype("float32")
    return {"image": image, "variance": np.ones_like(image), "psf": gaussian_psf(11, SIGMA)[None, ..., None]}


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(1)
    model = StarNet(bands=("r",), tile=8)
    random = np.random.default_rng(2)
    places, flux = random.uniform(1, 12, (160, 1, 2)), np.exp(random.uniform(6.5, 8, (160, 1, 1)))
    return taught(model, scene, places, flux, truth_of(places, flux, 1), 3e-3, 120)


class TestModel:
    def test_bright_stars_are_found_once_and_in_place(self, trained):
        random = np.random.default_rng(77)
        places, flux = random.uniform(3, 10, (40, 1, 2)), np.exp(random.uniform(6.5, 8, (40, 1)))
        scenes = [scene(*one, seed=seed) for seed, one in enumerate(zip(places, flux, strict=True))]
        batch = {key: np.concatenate([one[key] for one in scenes]) for key in scenes[0]}
        found = trained.detect(batch, threshold=0.5)
        once = (found.probability > 0).sum(axis=1) == 1
        assert once.mean() > 0.7
        assert np.median(np.abs(found.positions[:, 0] - places[:, 0])[once]) < 0.3
        # So short a training leaves running means of its norms behind: fluxes are in the right order alone.
        assert np.corrcoef(np.log(found.flux[once, 0, 0]), np.log(flux[once, 0]))[0, 1] > 0.4
        drawn = trained.posterior(batch, 100, seed=3)
        assert abs(drawn.count.mean() - 1) < 0.5

    def test_where_no_pixel_is_good_there_is_no_star(self, trained):
        batch = scene([(6.3, 7.2)], [1500.0], (14, 40), seed=77)
        batch["mask"] = np.zeros(batch["image"].shape, bool)
        batch["mask"][:, :, 14:] = True
        drawn = trained.posterior(batch, 20)
        assert drawn.count.sum() > 0
        assert np.nanmax(drawn.positions[..., 0]) < 22

    def test_stars_stay_in_their_cores_and_numbers_are_those_said(self, trained):
        batch = scene([(6.3, 7.2), (3.0, 3.1)], [300.0, 200.0], (13, 15), seed=5)
        drawn = trained.posterior(batch, 400, seed=1)
        share = np.exp(array(trained(batch)["log_count"]))
        mean = (share * np.arange(3)).sum(axis=-1)
        error = np.sqrt((share * np.arange(3) ** 2).sum() / 400)
        assert abs(drawn.count.mean() - mean.sum()) < 4 * error
        places = drawn.positions[np.isfinite(drawn.positions[..., 0])]
        assert places.min() >= -0.5
        # Two rows and columns of pads belong to the last cores.
        assert (places.max(axis=0) <= (15.5, 13.5)).all()

    def test_same_seed_same_draws(self, trained):
        batch = scene([(6.3, 7.2)], [800.0])
        one, two = (trained.posterior(batch, 5, seed=4) for _ in range(2))
        np.testing.assert_array_equal(one.positions, two.positions)

    @pytest.mark.parametrize(
        "values", [{"tile": 7}, {"tile": -2}, {"tile": 8, "most": 0}, {"tile": 8, "limited": True}]
    )
    def test_what_cannot_be_is_refused(self, values):
        with pytest.raises(RecipeError, match="tile is"):
            StarNet(**values)
