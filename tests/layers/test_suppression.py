"""Non-maximum suppression and box coding, against plain loops."""

import keras
import numpy as np
import pytest

from galzoo.layers import boxes as boxing
from galzoo.layers.suppression import matrix_decay, suppress

RNG = np.random.default_rng(8)


def some_boxes(n, number=40):
    corner, size = RNG.uniform(0, 30, (n, number, 2)), RNG.uniform(4, 16, (n, number, 2))
    score = RNG.normal(size=(n, number)).round(1)
    return np.concatenate([corner, corner + size], axis=-1).astype("float32"), score.astype("float32")


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.7])
def test_what_is_kept_is_what_a_loop_keeps(limit):
    boxes, score = some_boxes(3)
    kept = keras.ops.convert_to_numpy(suppress(boxes, score, limit))
    for row in range(3):
        wanted = []
        for box in np.argsort(-score[row], kind="stable"):
            if all(overlap(boxes[row, box], boxes[row, other]) <= limit for other in wanted):
                wanted.append(box)
        assert 1 < len(wanted) <= 40
        assert sorted(wanted) == np.flatnonzero(kept[row]).tolist()


def test_a_chain_of_boxes_is_followed_to_its_end():
    """Of boxes in a row, each of which overlaps with the next alone, every other one is kept."""
    edge = np.arange(30, dtype="float32")
    boxes = np.stack([edge, 0 * edge, edge + 1.5, 0 * edge + 1], axis=-1)[None]
    kept = keras.ops.convert_to_numpy(suppress(boxes, -edge[None], 0.1))
    assert kept[0].tolist() == [True, False] * 15


def test_matrix_suppression_is_that_of_a_loop():
    boxes, score = some_boxes(2)
    decay = keras.ops.convert_to_numpy(matrix_decay(boxes, score))
    for row in range(2):
        order = np.argsort(-score[row], kind="stable")
        for place, box in enumerate(order):
            factors = [1.0]
            for before, other in enumerate(order[:place]):
                own = overlap(boxes[row, box], boxes[row, other])
                suffered = max((overlap(boxes[row, other], boxes[row, each]) for each in order[:before]), default=0)
                factors.append(np.exp(-2 * own**2) / np.exp(-2 * suffered**2))
            assert decay[row, box] == pytest.approx(min(factors), abs=1e-5)


def test_coded_boxes_come_back():
    (boxes, _), (reference, _) = some_boxes(2), some_boxes(2)
    code = keras.ops.convert_to_numpy(boxing.code_boxes(reference, boxes))
    np.testing.assert_allclose(boxing.decode_boxes(reference, code), boxes, atol=1e-4)
    x0, y0, x1, y1 = reference[1, 7]
    shift = (boxes[1, 7, 0] + boxes[1, 7, 2] - x0 - x1) / 2 / (x1 - x0)
    assert code[1, 7, 0] == pytest.approx(shift, rel=1e-4)
    assert code[1, 7, 3] == pytest.approx(np.log((boxes[1, 7, 3] - boxes[1, 7, 1]) / (y1 - y0)), rel=1e-4)


def test_a_box_that_overlaps_by_just_the_limit_is_kept():
    boxes = np.array([[[0, 0, 2, 1], [0, 0, 1, 1]]], "float32")
    assert keras.ops.convert_to_numpy(suppress(boxes, np.array([[2.0, 1.0]], "float32"), 0.5)).all()


def test_boxes_by_hand():
    centre = np.array([[1.0, 1.0]], "float32")
    reach = keras.ops.convert_to_numpy(boxing.box_to_reach(centre, np.array([[0.0, 0.0, 3.0, 1.0]], "float32")))
    # The lower edge is where the centre is, and counts as a quarter of a pixel away.
    np.testing.assert_allclose(np.exp(reach), [[1, 1, 2, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(boxing.reach_to_box(centre, reach), [[0, 0, 3, 1.25]], rtol=1e-6)
    np.testing.assert_allclose(boxing.squares(centre, np.array([2.0], "float32")), [[0, 0, 2, 2]])
    # A width of e^9 is cut at e^4 times that of the reference.
    code = np.array([[0.0, 0.0, 9.0, 0.0]], "float32")
    decoded = keras.ops.convert_to_numpy(boxing.decode_boxes(np.array([[0.0, 0.0, 2.0, 2.0]], "float32"), code))
    assert decoded[0, 2] - decoded[0, 0] == pytest.approx(2 * np.exp(4), rel=1e-5)
