"""Recovered shares and the area under the curve of surveys, on cases whose answer is known."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.adaptation import domain_auc, recovery
from galzoo.metrics.classification import balanced_accuracy


def test_balanced_accuracy_counts_each_class_alike():
    label = np.repeat([0, 1], [90, 10])
    assert balanced_accuracy(label, np.zeros(100)) == 0.5
    assert balanced_accuracy(label, np.r_[np.zeros(90), np.ones(5), np.zeros(5)]) == 0.75
    # Values need not be numbers from 0, and what is predicted alone is no class that could be missed.
    assert balanced_accuracy(np.array(["disc", "disc", "merger"]), np.array(["disc", "star", "merger"])) == 0.75
    assert np.isnan(balanced_accuracy([], []))
    with pytest.raises(InputError, match=r"both must be \(n,\)"):
        balanced_accuracy([0, 1], [0])


def case(right_before, right_after, n=200):
    """Return a recovery case: the source always right, the target so often, both classes alike."""
    label = np.tile([0, 1], n)
    domain = np.repeat([0, 1], n)
    wrong = np.arange(n) // 2 % 10
    before, after = label.copy(), label.copy()
    before[n:] ^= wrong >= 10 * right_before
    after[n:] ^= wrong >= 10 * right_after
    return label, domain, before, after


def test_share_is_of_the_loss():
    found = recovery(*case(0.6, 0.9), draws=300)
    assert found["source_before"] == 1.0
    assert found["target_before"] == pytest.approx(0.6)
    assert found["loss"] == pytest.approx(0.4)
    assert found["share"] == pytest.approx(0.75)
    low, high = found["share_interval"]
    assert 0.5 < low < 0.75 < high < 0.95


def test_interval_holds_zero_where_nothing_changed_but_chance():
    label, domain, before, _ = case(0.6, 0.6)
    after = before.copy()
    # As many become right as wrong.
    target = np.flatnonzero(domain)
    right = target[before[target] == label[target]][:20]
    wrong = target[before[target] != label[target]][:20]
    after[np.r_[right, wrong]] ^= 1
    low, high = recovery(label, domain, before, after, draws=300)["share_interval"]
    assert low < 0 < high


def test_nothing_lost_has_no_share():
    assert np.isnan(recovery(*case(1.0, 1.0), draws=5)["share"])


def test_surveys_that_differ_in_one_number_are_told_apart():
    random = np.random.default_rng(0)
    features, domain = random.normal(size=(400, 5)), np.tile([0, 1], 200)
    assert all(abs(value - 0.5) < 0.1 for value in domain_auc(features, domain).values())
    features[:, 2] += 4 * domain
    assert all(value > 0.97 for value in domain_auc(features, domain).values())


def test_a_difference_of_spread_is_seen_by_trees_alone():
    random = np.random.default_rng(0)
    domain = np.tile([0, 1], 200)
    found = domain_auc(random.normal(size=(400, 2)) * (1 + 3 * domain[:, None]), domain)
    assert found["logistic"] < 0.65
    assert found["boosting"] > 0.8


def test_cases_without_answer_are_refused():
    label, domain, before, after = case(0.6, 0.9)
    with pytest.raises(InputError, match="0 of the target"):
        recovery(label, 0 * domain, before, after)
    with pytest.raises(InputError, match="one value a galaxy"):
        recovery(label, domain[1:], before, after)
    with pytest.raises(InputError, match="folds want as many"):
        domain_auc(np.zeros((8, 2)), np.r_[np.zeros(7), 1])


def test_a_target_that_was_better_before_has_no_share():
    found = recovery([0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 0, 1], draws=5)
    assert found["loss"] == -0.5
    assert np.isnan(found["share"])


def test_an_interval_of_level_nothing_is_the_median():
    low, high = recovery(*case(0.6, 0.9), draws=21, level=0)["gain_interval"]
    assert low == high


def test_draws_without_a_loss_leave_the_interval_of_the_share():
    """Two of 20 targets are wrong: about one draw in eight has neither."""
    assert np.isfinite(recovery(*case(0.9, 1.0, n=20), draws=60)["share_interval"]).all()
