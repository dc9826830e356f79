"""Scores of classes that can be counted by hand."""

import numpy as np
import pytest

from galzoo.tasks.classify.measure import measure

# Of three a's two are told, one is called b; of one b it is told; of two c's one is told and one called a.
LABEL = np.array([0, 0, 0, 1, 2, 2])
PROBABILITY = np.array([
    [0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.1, 0.7, 0.2], [0.1, 0.1, 0.8], [0.5, 0.1, 0.4],
])  # fmt: skip


def test_scores_by_hand():
    found = measure(PROBABILITY, LABEL, ["a", "b", "c"])
    assert found["n"] == 6
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert found["confusion"] == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert [(row["class"], row["n"], row["found"], row["pure"]) for row in found["classes"]] == [
        ("a", 3, pytest.approx(2 / 3), pytest.approx(2 / 3)), ("b", 1, 1, 0.5), ("c", 2, 0.5, 1),
    ]  # fmt: skip
    true = PROBABILITY[np.arange(6), LABEL]
    assert found["nll"] == pytest.approx(-np.mean(np.log(true)))
    assert found["brier"] == pytest.approx(np.mean(((PROBABILITY - np.eye(3)[LABEL]) ** 2).sum(axis=1)))
    assert found["commonest_class"] == 0.5
    # Frequencies of 3, 1 and 2 in 6.
    assert found["base_rate_nll"] == pytest.approx(-np.mean(np.log(np.array([3, 3, 3, 1, 2, 2]) / 6)), rel=0.2)


def test_a_choice_of_ones_own_counts_for_classes_and_not_for_probabilities():
    found = measure(PROBABILITY, LABEL, ["a", "b", "c"], chosen=np.array([1, 1, 1, 1, 1, 1]))
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["commonest_class"] == 0.5
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert [row["found"] for row in found["classes"]] == [0, 1, 0]
    assert np.isnan(found["classes"][0]["pure"])
    assert found["classes"][1]["pure"] == pytest.approx(1 / 6)


def test_rows_of_one_object_are_no_rows_of_their_own():
    """Each six times, the error of the accuracy is that of six objects."""
    probability, label = np.repeat(PROBABILITY, 6, axis=0), np.repeat(LABEL, 6)
    alone = measure(PROBABILITY, LABEL, ["a", "b", "c"])
    together = measure(probability, label, ["a", "b", "c"], groups=np.repeat(np.arange(6), 6))
    apart = measure(probability, label, ["a", "b", "c"])
    assert together["accuracy"] == pytest.approx(alone["accuracy"])
    for name in ("accuracy_error", "balanced_accuracy_error"):
        assert together[name] == pytest.approx(alone[name], rel=0.25)
        assert apart[name] < 0.6 * alone[name]
    assert apart["accuracy_error"] == pytest.approx(alone["accuracy_error"] / np.sqrt(6), rel=0.25)
