"""Likeness, strangeness and pairs, of vectors whose answer is known."""

import numpy as np
import pytest
from astropy.table import QTable

from galzoo import Stamps
from galzoo.errors import InputError
from galzoo.tasks.embed import neighbours
from galzoo.tasks.embed.neighbours import nearest, pair_distances, rows_of, write_pairs
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


# Distances 2, 6 and 1; of strangers 1, 1, 8, 8, 9 and 11, the median is 8.
FIRST, SECOND = np.array([[0.0], [3.0], [10.0]]), np.array([[2.0], [9.0], [11.0]])


def test_distances_are_over_the_median_of_strangers():
    distance, rank = pair_distances(FIRST, SECOND)
    np.testing.assert_allclose(distance, [2 / 8, 6 / 8, 1 / 8])
    assert rank.tolist() == [0, 1, 0]


def test_pairs_are_joined_by_id_and_written_from_near_to_far(tmp_path, monkeypatch):
    """The second file has them in another order, and one more."""
    pages = []
    monkeypatch.setattr(neighbours, "_PAIRS", 2)
    monkeypatch.setattr(neighbours, "save", lambda figure, path: None)
    monkeypatch.setattr(neighbours, "_pairs_page", lambda *given: pages.append(given))
    files = [Stamps(np.zeros((len(ids), 4, 4, 1)), ["r"], 0.2, catalogue={"id": list(ids)}) for ids in ("abc", "xcba")]
    written = write_pairs(*files, (FIRST, np.concatenate([[[0.0]], SECOND[::-1]])), tmp_path)
    assert [path.name for path in written] == ["pairs.ecsv", "like.png", "dislike.png"]
    table = QTable.read(written[0])
    assert list(table["id"]) == ["c", "a", "b"]
    np.testing.assert_allclose(table["distance"], [1 / 8, 2 / 8, 6 / 8])
    assert table["rank"].tolist() == [0, 0, 1]
    assert table.meta["found_first"] == pytest.approx(2 / 3)
    assert table.meta["median_distance"] == pytest.approx(2 / 8)
    shown = [[list(one.catalogue["id"]) for one in page[:2]] + [page[2].tolist()] for page in pages]
    assert shown == [[["c", "a"], ["c", "a"], [1 / 8, 2 / 8]], [["b", "a"], ["b", "a"], [6 / 8, 2 / 8]]]


def test_the_usual_are_those_of_training():
    catalogue = QTable({"id": ["a", "b", "c"], "split": ["train", "test", "train"]})
    assert usual_rows(catalogue).tolist() == [0, 2]
