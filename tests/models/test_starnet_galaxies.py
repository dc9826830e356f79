"""A StarNet that tells galaxies from stars."""

import keras
import numpy as np
import pytest

from galzoo.errors import InputError, RecipeError
from galzoo.models.starnet.catalogues import entries
from galzoo.models.starnet.losses import catalogue_nll
from galzoo.models.starnet.model import StarNet
from galzoo.models.starnet.posterior import draw_cells
from tests.models.test_starnet import array, cells_of, scene, truth_of

TINY = {"channels": (10,), "blocks": (1,), "head": 12, "limited": True}


@pytest.fixture
def pair():
    """A model that knows stars alone, and one that has begun with its weights and tells galaxies too."""
    keras.utils.set_random_seed(5)
    plain, typed = StarNet.tiny(**TINY, seed=1), StarNet.tiny(**TINY, galaxies=True, seed=1)
    kernel = plain.last.kernel
    kernel.assign(0.1 * keras.random.normal(kernel.shape, seed=2))
    typed.take_over(plain)
    return plain, typed


def test_the_kind_of_a_source_is_part_of_its_likelihood():
    """By how probable the cell that surely holds it says its kind is."""
    cells = cells_of(n=1, logit=-12.0)
    cells["logit"][0, 2, 2, 0] = 12
    cells["star_logit"] = np.full(cells["logit"].shape, 1.5, "float32")
    truth = truth_of([[cells["position"][0, 2, 2, 0]]], [[[5.0]]])
    _, alone = catalogue_nll({key: cells[key] for key in cells if key != "star_logit"}, truth, reach=1)
    for kind, probability in ((1, 1 / (1 + np.exp(-1.5))), (0, 1 / (1 + np.exp(1.5)))):
        told = truth | {"source_class": np.full(truth["positions"].shape[:2], kind)}
        _, stars = catalogue_nll(cells, told, reach=1)
        assert array(stars - alone)[0] == pytest.approx(-np.log(probability), abs=1e-4)
    with pytest.raises(InputError, match="no 'source_class'"):
        catalogue_nll(cells, truth, reach=1)


def test_it_begins_as_the_one_that_knows_stars_alone(pair):
    batch = scene([(7.2, 8.4)], [1500.0]) | {"faintest": np.array([40.0], "float32")}
    plain, typed = (model(batch) for model in pair)
    for key, value in plain.items():
        np.testing.assert_allclose(array(value), array(typed[key]), rtol=1e-5, atol=1e-5, err_msg=key)
    np.testing.assert_allclose(array(typed["star_logit"]), 2.0)


def test_what_tells_galaxies_cannot_become_one_that_does_not(pair):
    plain, typed = pair
    with pytest.raises(InputError, match="other layers"):
        plain.take_over(typed)
    with pytest.raises(RecipeError, match="galaxies True"):
        StarNet.tiny(tile=8, galaxies=True)


def test_entries_say_how_probably_they_are_stars(pair):
    _, typed = pair
    cells = {key: value[0] for key, value in cells_of(n=1, logit=-12.0).items() if key != "present"}
    cells["star_logit"] = np.zeros(cells["logit"].shape, "float32")
    for pixel, cell in ((1, 0), (1, 1)):
        # Two cells of one star, three times as probable as a galaxy in one, as probable in the other.
        cells["logit"][pixel, 1, cell], cells["position"][pixel, 1, cell] = -0.4, (1.0, 1.0)
        cells["star_logit"][pixel, 1, cell] = np.log(3) if cell else 0.0
    found = entries(cells, 0.5)
    assert len(found["probability"]) == 1
    assert found["star_probability"][0] == pytest.approx(0.625, abs=1e-3)
    assert "star_probability" not in entries({key: cells[key] for key in cells if key != "star_logit"}, 0.5)


def test_detections_have_both_classes(pair):
    plain, typed = pair
    batch = scene([(7.2, 8.4)], [1500.0])
    found = typed.detect(batch)
    there = found.probability > 0
    np.testing.assert_allclose(found.class_probability[there][:, 1], 1 / (1 + np.exp(-2)), rtol=1e-4)
    np.testing.assert_allclose(found.class_probability[there].sum(axis=-1), 1, rtol=1e-6)
    assert not found.galaxies().any()
    np.testing.assert_array_equal(plain.detect(batch).class_probability[..., 1], 1)
    # Saved and loaded it is the same.
    again = StarNet.from_config(typed.get_config())
    again.set_weights(typed.get_weights())
    np.testing.assert_allclose(again.detect(batch).class_probability, found.class_probability, rtol=1e-6)


def test_draws_say_which_are_stars(pair):
    """A sure source that is a galaxy in a quarter of the draws; the other numbers are those without kinds."""
    cells = cells_of(n=1, logit=-25.0)
    cells["logit"][0, 2, 2, 0] = 12
    plain = draw_cells(cells, 3, seed=4)
    cells["star_logit"] = np.full(cells["logit"].shape, np.log(3), "float32")
    drawn = draw_cells(cells, 800, seed=4)
    assert (drawn.count == 1).all()
    assert drawn.star.shape == drawn.positions.shape[:-1]
    assert drawn.star.mean() == pytest.approx(0.75, abs=0.05)
    assert plain.star is None
    np.testing.assert_array_equal(plain.positions[0], drawn.positions[0])
