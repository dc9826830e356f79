"""Scores of detectors on scenes whose sources can be counted by hand, and what is true of such scenes."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import QTable

from galzoo.contracts.detections import Detections
from galzoo.data.scenes import Scenes
from galzoo.metrics.detection import outcome_shares, share
from galzoo.tasks.detect import scores
from galzoo.tasks.detect.scores import _average_precisions, _calibration, _compare, _outcomes, evaluate_detection
from galzoo.tasks.detect.truth import _pixels, scene_truths
from tests.scenes import BANDS, make_scenes
from tests.tasks.detect.fakes import Listed

# Scene, place, signal-to-noise in i and magnitude in i of each source; that of signal-to-noise 4 need not be found.
SOURCES = [(0, 30, 30, 4, 24.5), (0, 10, 10, 20, 21.5), (1, 10, 12, 10, 22.5), (1, 40, 40, 5, 23.5)]


def bare(**columns):
    """Return two empty scenes with a list of their sources, which are brighter by a magnitude in g."""
    scene, x, y, snr, magnitude = np.array(SOURCES, float).T
    flux = 10 ** (0.4 * (31.4 - magnitude))
    table = {"scene": scene.astype(int), "source": [0, 1, 0, 1], "x": x, "y": y, "snr_i": snr, "flux_i": flux}
    table |= {"flux_g": flux * 10**0.4} | columns
    image = np.zeros((2, 60, 60, 2), np.float32)
    return Scenes(image, BANDS, 0.2, variance=np.ones_like(image), sources=QTable(table))


def listed(*rows):
    return Listed(list(rows), margin=0, bands=BANDS)


# In the first scene the first is true, the second of what need not be found, and in the second scene one is true.
FIRST = listed((10, 10, 0.9), (30, 30, 0.8), (40, 44, 0.7), (50, 50, 0.6), (20, 50, 0.3))


def test_a_detection_counts_by_what_is_within_three_pixels():
    """Five of seven are false above a half, and the source that is four pixels off is not found."""
    found = evaluate_detection({"one": FIRST}, bare(), "one", batch_size=1)
    one = found["methods"]["one"]
    assert (found["sources"], found["false_rate"], one["threshold"]) == (3, 2.5, 0.6)
    hit, scene = [True, True, False], [0, 1, 1]
    assert (one["completeness"], one["completeness_error"]) == share(hit, scene)
    true, scenes = np.isin(np.arange(7), [0, 3]), np.repeat([0, 1], [3, 4])
    assert (one["purity"], one["purity_error"]) == pytest.approx(share(true, scenes))
    assert one["purity"] == pytest.approx(2 / 7)
    assert {(row["low"], row["share"]) for row in one["by_magnitude"]} == {(21, 1), (22, 1), (23, 0)}
    # All detections count for the calibration, also the two that are false below a half.
    assert sum(row["n"] for row in one["calibration"]["reliability"]) == 9


def test_purity_is_of_what_is_above_the_threshold():
    one = evaluate_detection({"one": FIRST}, bare(), "one", batch_size=1, rate=0.0)["methods"]["one"]
    assert (one["threshold"], one["purity"]) == (0.9, 1)


def test_the_false_rate_is_that_of_the_reference():
    others = {"one": FIRST, "two": listed((10, 10, 0.9), (55, 5, 0.7), (5, 55, 0.4))}
    found = evaluate_detection(others, bare(), "two", batch_size=1)
    assert found["false_rate"] == 1
    assert found["methods"]["one"]["threshold"] == 0.8


def test_magnitudes_are_of_the_band_asked_for():
    found = evaluate_detection({"one": FIRST}, bare(), "one", batch_size=1, band="g")
    assert found["band"] == "g"
    assert {row["low"] for row in found["methods"]["one"]["by_magnitude"]} == {20, 21, 22}


def test_seconds_are_those_of_a_scene(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(scores.time, "perf_counter", lambda: next(clock))

    class Many(Listed):
        def detect(self, batch, threshold=0.0):
            one = super().detect(batch, threshold)
            n = len(batch["image"])
            return Detections(*(np.repeat(part, n, axis=0) for part in (one.positions, one.probability, one.boxes)))

    found = evaluate_detection({"one": Many(FIRST.rows, 0, BANDS)}, bare(), "one", batch_size=2)
    assert found["methods"]["one"]["seconds"] == 0.5


def scene_of(places, wanted):
    """Return a truth of sources whose boxes are 4 pixels wide and which have a pixel each."""
    places, wanted = np.array(places, float), np.array(wanted)
    boxes = np.concatenate([places - 2, places + 2], axis=1)
    pixels = [np.array([int(y * 60 + x)]) for x, y in places]
    return SimpleNamespace(positions=places, boxes=boxes, pixels=pixels, wanted=wanted)


def test_detections_of_one_scene():
    truth = scene_of([(30, 30), (10, 20)], [False, True])
    places = np.array([(30.0, 30.0), (10.0, 21.0), (50.0, 50.0)])
    flux = 10 ** (0.4 * (31.4 - np.array([[20.0, 21.0], [22.0, 23.0], [24.0, 25.0]])))
    flux[2, 1] = -1
    found = {
        "positions": places, "probability": np.array([0.9, 0.8, 0.7]), "masks": None, "flux": flux,
        "boxes": np.concatenate([places - 2, places + 2], axis=1), "class_probability": np.eye(3)[:, :2],
    }  # fmt: skip
    one = _compare(found, truth, (60, 60), 1)
    assert (one["true"].tolist(), one["source"].tolist()) == ([True, False], [0, -1])
    np.testing.assert_allclose(one["magnitude"], [23, np.nan])
    # Off by one row of four: three of five are in both.
    np.testing.assert_allclose(one["box_overlaps"], [[3 / 5], [0]])
    # The ellipse within the box has 13 pixels.
    np.testing.assert_allclose(one["mask_overlaps"], [[1 / 13], [0]])
    np.testing.assert_array_equal(one["class_probability"], [[0, 1], [0, 0]])


def test_average_precision_of_classes():
    """Five sources, of which the last is a star; the detection that follows three true ones is false."""
    boxes = np.zeros((6, 5))
    # The boxes of the first three are right, those of others only just.
    boxes[[0, 1, 2, 4, 5], np.arange(5)] = [1, 1, 1, 0.6, 0.6]
    star = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.9])
    part = {
        "probability": np.linspace(0.9, 0.4, 6), "class_probability": np.stack([1 - star, star], axis=-1),
        "box_overlaps": boxes, "mask_overlaps": np.zeros((6, 5)),
    }  # fmt: skip
    truth = SimpleNamespace(wanted=np.ones(5, bool), classes=np.array([0, 0, 0, 0, 1]))
    found = _average_precisions([part], [truth])
    assert set(found) == {"all", "galaxy", "star"}
    # The fourth true one of five is the fifth in the list.
    assert found["all"]["precision_at_80"] == pytest.approx(4 / 5)
    assert found["all"]["mask_ap50"] == 0
    # The star is the most probable one of its class, whatever else there is.
    assert found["star"]["box_ap50"] == pytest.approx(1)
    # At overlaps of .5, .55 and .6 it counts.
    assert found["star"]["box_ap"] == pytest.approx(0.3)
    assert 0.3 < found["galaxy"]["box_ap"] < found["galaxy"]["box_ap50"] < 1


@pytest.mark.parametrize(("apart", "threshold", "became"), [(3.5, 0.5, "merged"), (5, 0.5, "undetected"),
                                                            (3.5, 0.95, "undetected")])  # fmt: skip
def test_a_detection_reaches_to_the_edge_of_its_box(apart, threshold, became):
    truth = scene_of([(20, 20), (20 + apart, 20)], [True, True])
    one = {
        "probability": np.array([0.9]),
        "positions": np.array([[20.0, 20.0]]),
        "boxes": np.array([[16.0, 18, 24, 22]]),
    }
    shares = outcome_shares(_outcomes(one, truth, threshold))[0]
    assert shares[became] == (0.5 if threshold < 0.9 else 1)


def test_calibration_by_magnitude_is_of_probabilities_where_there_are_enough():
    true = np.arange(40) % 2 == 0
    magnitude = np.repeat([21.5, 24.5], [30, 10])
    found = _calibration(np.full(40, 0.75), true, np.arange(40), magnitude)
    assert found["ece"] == pytest.approx(0.25)
    assert [(row["low"], row["n"], row["confidence"], row["frequency"]) for row in found["by_magnitude"]] == [
        (21, 30, 0.75, 0.5)
    ]


def test_what_is_true_of_a_listed_source():
    columns = {
        "snr_g": [3.0, 0, 0, 0], "half_light_radius": [0.2, 0.3, 0.4, 0.5], "blendedness_i": [0.1, 0.2, 0.3, 0.4],
        "kind": ["star", "galaxy", "galaxy", "star"],
    }  # fmt: skip
    one, other = scene_truths(bare(**columns), 1)
    np.testing.assert_allclose(one.snr, [5, 20])
    np.testing.assert_array_equal(np.append(one.wanted, other.wanted), True)
    np.testing.assert_allclose(one.magnitude, [24.5, 21.5])
    np.testing.assert_allclose(one.radius, [0.2, 0.3])
    np.testing.assert_allclose(one.blendedness, [0.1, 0.2])
    np.testing.assert_allclose(one.separation, np.hypot(20, 20) * 0.2)
    assert (one.classes.tolist(), other.classes.tolist()) == ([1, 0], [0, 1])
    assert scene_truths(bare(snr_i=[4.9, 5, 5, 5]), 1)[0].wanted.tolist() == [False, True]


def test_blendedness_of_images_is_that_of_the_band():
    scenes = make_scenes(3)
    expected = np.asarray(scenes.sources["blendedness_i"])
    scenes.sources.remove_column("blendedness_i")
    np.testing.assert_allclose(
        np.concatenate([one.blendedness for one in scene_truths(scenes, 1)]), expected, rtol=1e-4
    )


def test_pixels_are_a_source_s_where_it_has_half_of_the_light_above_the_noise():
    """Light of a band counts by its noise, 1 and 10; the second image lies two columns to the left of the scene."""
    first, second = np.zeros((3, 5, 2)), np.zeros((3, 4, 2))
    # Alone; together with less and with more light; with more of the noisier band; below the noise.
    first[1, 0, 0], first[1, 1, 0], first[2, 0, 0], first[0, 1, 1], first[0, 3, 0] = 10, 6, 4, 30, 0.9
    second[1, 3, 0], second[2, 2, 0], second[0, 3, 0] = 4, 6, 4
    found = _pixels([first, second], [(0, 0), (-2, 0)], np.array([1.0, 10.0]), (3, 5))
    assert [sorted(pixels.tolist()) for pixels in found] == [[5, 6], [1, 10]]
