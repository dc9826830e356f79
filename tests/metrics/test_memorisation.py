"""Distances to a training set, by hand."""

import numpy as np
import pytest

from galzoo.metrics import memorisation
from galzoo.metrics.memorisation import nearest_neighbour_ratio, nearest_neighbours


def test_units_of_features():
    # The scatter of 0 and 4 is 2; a feature that does not vary has the unit 1.
    distance, index = nearest_neighbours([[2.0]], [[9.0], [4.0]], unit=[[0.0], [4.0]])
    assert (distance[0], index[0]) == (1, 1)
    distance, _ = nearest_neighbours([[0.0, 7.0]], [[0.0, 5.0], [4.0, 5.0]])
    assert distance[0] == pytest.approx(2)


def test_an_empty_image_is_as_far_as_the_norm_of_the_others():
    assert nearest_neighbours(np.zeros((1, 4, 4)), np.ones((1, 4, 4)))[0][0] == pytest.approx(1)


def test_a_rectangle_is_not_turned_by_a_quarter():
    """A quarter turn has the pixels in an order that is another image of this shape."""
    image = np.arange(1.0, 7.0).reshape(1, 2, 3)
    quarter = np.rot90(image, axes=(1, 2)).reshape(1, 2, 3)
    assert nearest_neighbours(image, quarter)[0][0] > 0.1
    assert nearest_neighbours(image, image[:, ::-1, ::-1])[0][0] < 1e-3


def test_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    values, reference = random.normal(size=(20, 2)), random.normal(size=(15, 2))
    distance, index = nearest_neighbours(values, reference)
    monkeypatch.setattr(memorisation, "BLOCK", 8)
    again = nearest_neighbours(values, reference)
    np.testing.assert_allclose(again[0], distance, atol=1e-6)
    np.testing.assert_array_equal(again[1], index)


def test_ratio_and_its_error():
    """Samples that are all as far away have no error, so that the ratio's grows with them."""
    train, held_out = np.array([[0.0], [2.0]]), np.array([[3.0], [4.0], [5.0], [7.0]])
    near, far = (nearest_neighbour_ratio(np.full((4, 1), 2.0 + off), held_out, train, pairs=3) for off in (1, 3))
    assert near["ratio"] == pytest.approx(1 / 2.5)
    assert far["ratio"] == pytest.approx(3 * near["ratio"])
    assert far["error"] == pytest.approx(3 * near["error"])
    assert near["pairs"].tolist() == [[0, 1], [1, 1], [2, 1]]
    assert len(near["pair_distance"]) == 3


def test_there_is_no_ratio_where_unseen_galaxies_are_those_of_training():
    train = np.array([[0.0], [2.0]])
    found = nearest_neighbour_ratio(train + 1, train, train)
    assert np.isnan(found["ratio"])
    assert np.isnan(found["error"])
