"""Likeness, strangeness and pairs, of vectors whose answer is known."""

import numpy as np
import pytest
from astropy.table import QTable

from galzoo.errors import InputError
from galzoo.tasks.embed.neighbours import nearest, pair_distances, rows_of
from galzoo.tasks.embed.outliers import LatentDensity, ranked, usual_rows


def test_the_nearest_come_first_without_itself():
    order, distance = nearest(np.array([[0.0], [5.0], [1.0], [-2.0]]), 0, 2)
    assert order.tolist() == [2, 3]
    np.testing.assert_allclose(distance, [1, 2])


def test_galaxies_are_named_by_id_or_row():
    catalogue = QTable({"id": ["g7", "3", "x"]})
    assert rows_of(catalogue, ["x", "3", "0"]) == [2, 1, 0]
    for wrong in ("y", "5"):
        with pytest.raises(InputError, match="ids such as g7"):
            rows_of(catalogue, [wrong])


def test_what_lies_between_two_crowds_is_strange():
    random = np.random.default_rng(0)
    crowds = random.normal(size=(400, 4)) * 0.3
    crowds[:200, 0] += 5
    crowds[200:, 0] -= 5
    density = LatentDensity(crowds)
    assert density.mixture.n_components >= 2
    assert density.strangeness(np.zeros((1, 4)))[0] > density.strangeness(crowds).max()


def test_ranks():
    np.testing.assert_allclose(ranked(np.array([3.0, 1.0, 2.0])), [1, 0, 0.5])


def test_pairs_are_near_and_strangers_are_not():
    random = np.random.default_rng(1)
    first = random.normal(size=(50, 8))
    distance, rank = pair_distances(first, first + 0.01 * random.normal(size=first.shape))
    assert distance.max() < 0.05
    assert rank.max() == 0
    distance, rank = pair_distances(first, np.roll(first, 1, axis=0))
    assert np.median(distance) == pytest.approx(1, abs=0.15)
    assert np.mean(rank == 0) < 0.2


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((5, 3)), "at least 30"),
        (np.zeros((60, 3)), "all usual galaxies alike"),
        (np.full((60, 3), np.nan), "not finite"),
    ],
)
def test_no_density(vectors, message):
    with pytest.raises(InputError, match=message):
        LatentDensity(vectors)


def test_other_bad_input():
    with pytest.raises(InputError, match="row is 4"):
        nearest(np.zeros((3, 2)), 4)
    with pytest.raises(InputError, match="two or more pairs"):
        pair_distances(np.zeros((3, 2)), np.zeros((2, 2)))
    with pytest.raises(InputError, match="give .n, 3."):
        LatentDensity(np.random.default_rng(0).normal(size=(60, 3))).strangeness(np.zeros((2, 4)))


def test_a_stamp_that_is_there_twice_is_its_own_neighbour():
    assert nearest(np.array([[0.0], [0.0], [1.0]]), 1)[0].tolist() == [0, 2]


def test_rows_end_with_the_file():
    assert rows_of(QTable({"x": [1, 2, 3]}), ["2"]) == [2]
    with pytest.raises(InputError, match="a row from 0 to 2"):
        rows_of(QTable({"x": [1, 2, 3]}), ["3"])


def test_pairs_by_hand():
    """2 and 6 apart; strangers 9 and 1, median 5. The partner of the second is farther than the other is."""
    distance, rank = pair_distances([[0.0], [3.0]], [[2.0], [9.0]])
    np.testing.assert_allclose(distance, [0.4, 1.2])
    assert rank.tolist() == [0, 1]


def test_the_usual_are_those_of_training():
    catalogue = QTable({"id": ["a", "b", "c"], "split": ["train", "test", "train"]})
    assert usual_rows(catalogue).tolist() == [0, 2]
