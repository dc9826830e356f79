"""Scores of what is added by looking once more, on cases that can be counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from galzoo.contracts.detections import Detections
from galzoo.tasks.detect import residual_scores
from galzoo.tasks.detect.residual_scores import SECOND, _compare, _scored, _threshold, evaluate_residual
from tests.field.fields import least_squares
from tests.scenes import make_scenes

# Three true sources: the first is known, the other two were missed, and so is a fourth, which is got by a known one.
TRUTH = SimpleNamespace(positions=np.array([[10.0, 10.0], [30.0, 10.0], [50.0, 10.0], [13.0, 10.0]]))
MISSED = np.array([False, True, True, True])
KNOWN = np.array([[9.5, 10.0], [12.5, 10.0]])


def compared(places, probability, seconds=1.0):
    return _compare(KNOWN, np.reshape(places, (-1, 2)), np.array(probability), TRUTH, MISSED, seconds)


def test_each_added_source_is_true_or_false():
    found = compared([[30.5, 10.0], [90.0, 90.0]], [0.8, 0.6])
    np.testing.assert_array_equal(found["false"], [False, True])
    np.testing.assert_array_equal(found["right"], [True, False])
    # The second missed one has an added source, the third has none, the fourth is that of a known one.
    np.testing.assert_array_equal(found["best"], [0.8, -np.inf, np.inf])


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        # One in twenty is just allowed; where two are equal, both count.
        ([19], 0.81),
        ([18], 0.81),
        ([0], 0.81),
        ([0, 1], float("inf")),
        ([17, 18], 0.84),
    ],
)
def test_the_threshold_lets_one_in_twenty_be_false(wrong, expected):
    probability, false = 1 - 0.01 * np.arange(20), np.zeros(20, bool)
    false[wrong] = True
    assert _threshold(probability, false) == pytest.approx(expected)
    assert _threshold(probability[::-1], false[::-1]) == pytest.approx(expected)


def test_sums_over_scenes():
    """Three scenes: in one a missed source is found, in one something false is added, in one nothing."""
    parts = [compared([[30.5, 10.0]], [0.9], 1.0), compared([[90.0, 90.0]], [0.5], 3.0), compared([], [], 7.0)]
    truth = SimpleNamespace(magnitude=np.array([20.0, 22.5, 23.5, 24.5]), blendedness=np.full(4, np.nan))
    found = _scored(parts, [truth] * 3, [MISSED] * 3)
    assert found["added"] == 2
    # Of nine missed ones three are got by a known source, and one is added.
    assert found["found"] == pytest.approx(4 / 9)
    assert found["found_at_5"] == pytest.approx(1 / 9)
    assert found["false"] == 0.5
    assert found["threshold"] == 0.9
    assert found["seconds"] == 3
    assert [(row["n"], row["low"]) for row in found["by_magnitude"]] == [(3, 22), (3, 23), (3, 24)]
    assert "by_blendedness" not in found


def test_what_is_known_is_not_added_and_the_first_pass_is_not_of_the_second_look(monkeypatch):
    """First pass 5 s, detector 1 s, second look 8 s with it; the two known sources are said again, 0.3 pixels off."""
    scenes, views = make_scenes(1, apart=18.0), []
    places = np.stack([np.asarray(scenes.sources[key]) for key in "xy"], axis=-1)

    class Again:
        def detect(self, batch, threshold=0.0):
            found = np.append(places + 0.3, [[3.0, 3.0]], axis=0)[None]
            return Detections(found, np.array([[0.9, 0.9, 0.8]]), np.zeros((1, 3, 4)))

    clock = iter([0.0, 5.0, 5.0, 6.0, 6.0, 14.0])
    monkeypatch.setattr(residual_scores, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = evaluate_residual({"again": Again()}, least_squares, scenes, views=views)
    np.testing.assert_allclose(views[0]["added"]["again"][0], [[3, 3]])
    assert (found["sources"], found["missed"]) == (2, 0)
    assert found["methods"]["again"]["added"] == 1
    assert found["methods"]["again"]["false"] == 1
    assert [found["methods"][name]["seconds"] for name in ("again", SECOND)] == [1, 3]
