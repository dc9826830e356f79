"""Classes for another survey than that of the labels."""

import numpy as np
import pytest

from galzoo.errors import InputError, RecipeError
from galzoo.metrics.classification import balanced_accuracy
from galzoo.tasks.classify import classifiers
from galzoo.tasks.classify.aligned import align


@pytest.fixture(scope="module")
def two():
    """Two surveys of two classes, in which the second shows everything moved and stretched."""
    random = np.random.default_rng(0)
    label, survey = random.integers(2, size=600), np.repeat([0, 1], 300)
    features = random.normal(size=(600, 6))
    features[:, 0] += 4 * label
    features[survey == 1] = features[survey == 1] * (3, 1, 2, 1, 1, 1) + (9, 0, 2, 0, 0, -3)
    return features, label, survey


@pytest.mark.parametrize("kind", ["mmd", "adversarial"])
def test_classes_hold_on_a_survey_without_labels(two, kind):
    features, label, survey = two
    source, target = survey == 0, survey == 1
    probe, _ = classifiers.fit(features[source], label[source], ("a", "b"))
    assert balanced_accuracy(label[target], probe.probability(features[target]).argmax(axis=1)) < 0.7
    found = align(features, label, survey, 2, kind, weight=1.0, steps=60)
    probability = found.probability(features, survey)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert balanced_accuracy(label[target], probability[target].argmax(axis=1)) > 0.9
    assert found.vectors(features[:3], survey[:3]).shape == (3, 16)


def test_labels_of_the_other_survey_are_not_read(two):
    features, label, survey = two
    hidden = np.where(survey == 0, label, -1)
    first, second = (align(features, one, survey, 2, steps=5).probability(features, survey) for one in (label, hidden))
    np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, y, d: (x[:, 0], y, d), InputError, r"features have the shape \(600,\)"),
        (lambda x, y, d: (np.where(x > 9, np.nan, x), y, d), InputError, "stamps are not finite"),
        (lambda x, y, d: (x, y, 0 * d), InputError, "and 0 of the other; at least 2"),
        (lambda x, y, d: (x, 0 * y, d), InputError, r"\[300, 0\] a class"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(two, change, error, message):
    with pytest.raises(error, match=message):
        align(*change(*two), 2)


def test_an_unknown_loss_is_refused(two):
    with pytest.raises(RecipeError, match="'coral' is unknown"):
        align(*two, 2, kind="coral")
