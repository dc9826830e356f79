"""Confusion of classes, against counting pixel by pixel and against scikit-learn."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.segmentation import accuracy, confusion, intersection_over_union, mean_iou, recall


@pytest.fixture
def pixels():
    random = np.random.default_rng(0)
    true = random.integers(0, 4, (30, 20))
    return true, np.where(random.random(true.shape) < 0.6, true, random.integers(0, 4, true.shape))


def test_against_scikit_learn(pixels):
    from sklearn import metrics

    true, found = (plane.ravel() for plane in pixels)
    table = confusion(*pixels, 5)
    np.testing.assert_array_equal(table[:4, :4], metrics.confusion_matrix(true, found))
    assert accuracy(table) == pytest.approx(metrics.accuracy_score(true, found))
    np.testing.assert_allclose(recall(table)[:4], metrics.recall_score(true, found, average=None))
    np.testing.assert_allclose(intersection_over_union(table)[:4], metrics.jaccard_score(true, found, average=None))
    assert np.isnan(intersection_over_union(table)[4])
    assert mean_iou(table) == pytest.approx(metrics.jaccard_score(true, found, average="macro"))


def test_stacks_and_pixels_that_do_not_count(pixels):
    true, found = pixels
    table = confusion(np.where(found == 2, -1, true), found, 4)
    assert table[:, 2].sum() == 0
    assert table.sum() == np.sum(found != 2)
    both = np.stack([table, confusion(true, found, 4)])
    np.testing.assert_allclose(accuracy(both), [accuracy(one) for one in both])
    with pytest.raises(InputError, match="same pixels"):
        confusion([1, 2], [1], 3)


def test_pixels_of_no_found_class_do_not_count():
    np.testing.assert_array_equal(confusion([1, 1], [-1, 1], 2), [[0, 0], [0, 1]])
