"""Shares have the errors that many samples show; thresholds give the false rate asked for; outcomes are as defined."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.detection import (
    OUTCOMES,
    match_scenes,
    outcome_shares,
    outcomes,
    share,
    share_in_bins,
    threshold_at_false_rate,
)


def test_binomial_error_is_the_scatter_of_many_samples():
    random = np.random.default_rng(0)
    samples = random.uniform(size=(400, 150)) < 0.8
    spread = samples.mean(axis=1).std()
    errors = [share(one)[1] for one in samples]
    assert np.mean(errors) == pytest.approx(spread, rel=0.1)
    assert share(np.ones(20))[1] > 0.01
    assert np.isnan(share([])).all()


def test_scenes_that_go_together_have_a_larger_error():
    random = np.random.default_rng(1)
    level = random.uniform(0.5, 1, 60)
    groups = np.repeat(np.arange(60), 40)
    hits = random.uniform(size=groups.size) < level[groups]
    together, alone = share(hits, groups)[1], share(hits)[1]
    assert together > 1.8 * alone
    assert together == pytest.approx(hits.reshape(60, 40).mean(axis=1).std(ddof=1) / np.sqrt(60), rel=0.25)


def test_bins():
    rows = share_in_bins([True, False, True], [20.5, 20.6, 22], (20, 21, 23))
    assert [(row["n"], row["share"]) for row in rows] == [(2, 0.5), (1, 1.0)]


def test_matches_scene_by_scene():
    of_truth, of_found = match_scenes([[[0, 0], [9, 9]], [[5, 5]]], [[[9, 8.5]], [[50, 50]]], 2)
    np.testing.assert_array_equal(of_truth[0], [1])
    np.testing.assert_array_equal(of_found[0], [-1, 0])
    np.testing.assert_array_equal(of_truth[1], [-1])
    with pytest.raises(InputError, match="detections of 1 scenes, true sources of 2"):
        match_scenes([[[0, 0]]], [[[0, 0]], [[0, 0]]], 1)


def test_threshold_gives_the_false_rate():
    probability = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5])
    true = np.array([True, False, True, False, True, False])
    assert threshold_at_false_rate(probability, true, 2, 0.5) == 0.8
    assert threshold_at_false_rate(probability, true, 2, 1.0) == 0.6
    assert threshold_at_false_rate(probability, true, 2, 9) == 0.5
    assert threshold_at_false_rate(probability, ~true, 2, 0.0) == np.inf
    # Two that are equally probable, one of them false, are not parted.
    assert threshold_at_false_rate(probability, true, 2, 0.0) == 0.9
    assert threshold_at_false_rate([], [], 2, 1.0) == 0


def outcomes_of(found, truth, **options):
    return outcomes(np.array(found, float), np.array(truth, float), 2.0, **options).tolist()


def test_outcomes():
    assert outcomes_of([[0, 0], [20, 0]], [[0.5, 0], [20, 1]]) == ["recognised", "recognised"]
    assert outcomes_of([[0, 0]], [[0, 0], [1.5, 0]]) == ["unrecognised", "merged"]
    assert outcomes_of([[0, 0]], [[0, 0], [3, 0]]) == ["recognised", "undetected"]
    assert outcomes_of([[0, 0]], [[0, 0], [3, 0]], found_reach=[4]) == ["unrecognised", "merged"]
    assert outcomes_of([[0, 0], [1, 1]], [[0, 0]]) == ["shredded"]
    assert outcomes_of([[0, 0], [4, 0]], [[0, 0]]) == ["recognised"]
    assert outcomes_of([[0, 0], [4, 0]], [[0, 0]], truth_reach=[5]) == ["shredded"]
    assert outcomes_of([[40, 0]], [[0, 0]]) == ["undetected"]
    assert outcomes(np.zeros((0, 2)), [[1, 1]], 2.0).tolist() == ["undetected"]
    assert outcomes([[1, 1]], np.zeros((0, 2)), 2.0).tolist() == []


def test_a_false_detection_is_a_shred_of_the_source_that_it_is_most_inside_of():
    assert outcomes_of([[0, 0], [10, 0], [4, 0]], [[0, 0], [10, 0]], truth_reach=[5, 20]) == ["recognised", "shredded"]


def test_a_missed_source_is_a_part_of_the_detection_that_it_is_most_inside_of():
    found = outcomes_of([[0, 0], [9, 0]], [[0, 0], [9, 0], [4, 0]], found_reach=[4.5, 20])
    assert found == ["recognised", "unrecognised", "merged"]


def test_what_was_missed_is_not_shredded():
    assert outcomes_of([[3, 0]], [[0, 0]], truth_reach=[5]) == ["undetected"]


def test_scenes_without_a_miss_do_not_make_a_share_certain():
    hits, scenes = np.ones(10, bool), np.arange(10) // 2
    assert share(hits, scenes) == share(hits)
    assert share(~hits, scenes) == share(~hits)
    assert share(hits)[1] > 0.01


def test_shares_of_outcomes_sum_to_one():
    random = np.random.default_rng(2)
    result = np.concatenate(
        [outcomes(random.uniform(0, 40, (12, 2)), random.uniform(0, 40, (14, 2)), 3.0) for _ in range(20)]
    )
    (row,) = outcome_shares(result)
    assert sum(row[name] for name in OUTCOMES) == pytest.approx(1)
    assert all(row[name] > 0 for name in OUTCOMES)
    rows = outcome_shares(result, random.uniform(20, 24, len(result)), (20, 22, 24))
    assert sum(row["n"] for row in rows) == len(result)


def test_errors_of_few_rows_by_hand():
    """One hit of one: a Beta(1.5, 0.5), of variance 1.5 x 0.5 / (4 x 3) = 1 / 16."""
    assert share([True]) == (1, pytest.approx(0.25))
    # Scenes that are all alike have no scatter between them.
    assert share([True, False, True, False], [0, 0, 1, 1]) == (0.5, 0)


def test_bins_draw_scenes_together():
    hits, scenes = np.arange(40) % 2 == 0, np.arange(40) // 2
    (row,) = share_in_bins(hits, np.full(40, 21.0), (20, 22), groups=scenes)
    assert row["share_error"] == 0
    names = np.where(hits, "recognised", "undetected")
    assert outcome_shares(names, groups=scenes)[0]["recognised_error"] == 0
    assert outcome_shares(names)[0]["recognised_error"] > 0.05


def test_a_false_rate_is_reached_in_spite_of_rounding():
    """0.29 x 100 is 28.999999999999996; 29 of 30 false detections may stay."""
    probability = np.linspace(0.9, 0.1, 30)
    assert threshold_at_false_rate(probability, np.zeros(30, bool), 100, 0.29) == probability[28]


def test_equally_probable_detections_are_kept_or_left_together():
    assert threshold_at_false_rate([0.9, 0.9], [True, False], 1, 0.0) == np.inf


def test_a_reach_is_at_least_the_distance_of_the_matching():
    assert outcomes_of([[0, 0]], [[0, 0], [1.5, 0]], found_reach=[0.1]) == ["unrecognised", "merged"]
    assert outcomes_of([[0, 0], [1, 1]], [[0, 0]], truth_reach=[0.1]) == ["shredded"]


def test_what_lies_in_a_false_detection_alone_is_undetected():
    assert outcomes_of([[3, 0]], [[0, 0]], found_reach=[5]) == ["undetected"]
