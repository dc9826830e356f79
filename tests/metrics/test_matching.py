import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.matching import match


def test_one_to_one_where_the_nearest_pair_would_leave_two_alone():
    # The nearest pair is (1.1, 1.0); taking it first leaves the true source at 2.5 with nothing within reach.
    found, truth = [[0.0, 0.0], [1.1, 0.0]], [[1.0, 0.0], [2.5, 0.0]]
    matches = match(found, truth, 1.5)
    assert matches.truth.tolist() == [0, 1]
    assert matches.found.tolist() == [0, 1]
    np.testing.assert_allclose(matches.distance, [1.0, 1.4])
    assert matches.completeness == matches.purity == 1


def test_least_total_distance_among_full_matchings():
    truth = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    order = [2, 0, 1]
    matches = match(truth[order] + 0.3, truth, 10.0)
    assert matches.found_of_truth.tolist() == [1, 2, 0]
    assert matches.truth_of_found.tolist() == order


def test_a_detection_counts_once():
    matches = match([[0.0, 0.0], [50.0, 0.0]], [[0.2, 0.0], [-0.4, 0.0], [9.0, 9.0]], 3.0)
    assert matches.truth.tolist() == [0]
    assert matches.completeness == pytest.approx(1 / 3)
    assert matches.purity == 0.5
    assert matches.found_of_truth.tolist() == [0, -1, -1]
    assert matches.truth_of_found.tolist() == [0, -1]


def test_nothing_beyond_the_distance():
    matches = match([[0.0, 0.0]], [[3.01, 0.0]], 3.0)
    assert (len(matches.found), matches.completeness, matches.purity) == (0, 0.0, 0.0)
    nothing = match(np.zeros((0, 2)), [[1.0, 1.0]], 3.0)
    assert nothing.completeness == 0
    assert np.isnan(nothing.purity)


def test_large_fields_agree_with_the_dense_solution():
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    random = np.random.default_rng(3)
    truth = random.uniform(0, 120, (300, 2))
    found = (truth + random.normal(0, 1.2, truth.shape))[random.permutation(300)[:250]]
    matches = match(found, truth, 3.0)
    distance = cdist(found, truth)
    cost = np.where(distance <= 3.0, distance, 1e4)
    pairs = linear_sum_assignment(cost)
    kept = cost[pairs] < 1e4
    assert len(matches.found) == kept.sum()
    assert matches.distance.sum() == pytest.approx(cost[pairs][kept].sum())
    assert len(set(matches.found)) == len(set(matches.truth)) == len(matches.truth)


def test_ten_thousand_sources_are_matched():
    random = np.random.default_rng(4)
    truth = random.uniform(0, 4000, (10_000, 2))
    order = random.permutation(len(truth))
    matches = match(truth[order] + random.normal(0, 0.1, truth.shape), truth, 3.0)
    assert len(matches.truth) == len(truth)
    assert np.mean(order[matches.found] == matches.truth) > 0.999


@pytest.mark.parametrize(
    ("found", "distance", "message"),
    [([[0.0]], 1.0, "shape"), ([[np.nan, 0.0]], 1.0, "position 0 of found"), ([[0.0, 0.0]], 0.0, "above 0")],
)
def test_what_cannot_be_matched_is_refused(found, distance, message):
    with pytest.raises(InputError, match=message):
        match(found, [[0.0, 0.0]], distance)


def test_pairs_are_in_the_order_of_the_true_sources():
    matches = match([[50.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [50.0, 0.0]], 1.0)
    assert matches.truth.tolist() == [0, 1]
    assert matches.found.tolist() == [1, 0]
