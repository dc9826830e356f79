"""ROI align and boxes, against plain loops."""

import keras
import numpy as np
import pytest

from galzoo.layers import boxes as boxing
from galzoo.layers.roi_align import roi_align

RNG = np.random.default_rng(4)
HEIGHT, WIDTH = 9, 12


def bilinear(plane, x, y):
    """Return the value of a plane (y, x, channel) at a point, 0 more than a cell outside."""
    height, width = plane.shape[:2]
    if not (-1 <= x <= width and -1 <= y <= height):
        return np.zeros(plane.shape[2])
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    column, row = int(x), int(y)
    right, below = min(column + 1, width - 1), min(row + 1, height - 1)
    upper = plane[row, column] * (1 - x + column) + plane[row, right] * (x - column)
    lower = plane[below, column] * (1 - x + column) + plane[below, right] * (x - column)
    return upper * (1 - y + row) + lower * (y - row)


def loops(plane, stride, box, size, samples):
    """Return ROI align of one box as nested loops."""
    x0, y0, x1, y1 = (box + 0.5) / stride
    result = np.zeros((size, size, plane.shape[2]))
    for row in range(size):
        for column in range(size):
            for i in range(samples):
                for j in range(samples):
                    y = y0 + (row + (i + 0.5) / samples) * (y1 - y0) / size - 0.5
                    x = x0 + (column + (j + 0.5) / samples) * (x1 - x0) / size - 0.5
                    result[row, column] += bilinear(plane, x, y) / samples**2
    return result


@pytest.fixture(scope="module")
def levels():
    return [RNG.normal(size=(2, HEIGHT * 2, WIDTH * 2, 3)), RNG.normal(size=(2, HEIGHT, WIDTH, 3))]


@pytest.mark.parametrize("samples", [1, 2])
def test_roi_align_is_as_loops(levels, samples):
    low = RNG.uniform(-8, 40, (2, 7, 2))
    boxes = np.concatenate([low, low + RNG.uniform(0.5, 30, (2, 7, 2))], axis=-1).astype("float32")
    level = RNG.integers(0, 2, (2, 7))
    strides = [2, 4]
    found = roi_align([plane.astype("float32") for plane in levels], strides, boxes, level.astype("int32"), 5, samples)
    for image in range(2):
        for box in range(7):
            number = level[image, box]
            wanted = loops(levels[number][image], strides[number], boxes[image, box].astype(float), 5, samples)
            np.testing.assert_allclose(keras.ops.convert_to_numpy(found)[image, box], wanted, atol=2e-5)


def test_peaks_are_the_local_maxima_of_a_map():
    plane = RNG.normal(size=(HEIGHT, WIDTH))
    peaks = [
        (plane[row, column], row * WIDTH + column)
        for row in range(HEIGHT)
        for column in range(WIDTH)
        if plane[row, column] >= plane[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].max()
    ]
    peaks.sort(reverse=True)
    score, cell = (keras.ops.convert_to_numpy(value) for value in boxing.top_peaks(plane[None].astype("float32"), 30))
    assert [cell[0, number] for number in range(len(peaks))] == [cell for _, cell in peaks]
    assert np.all(score[0, len(peaks) :] == -1e4)


def test_overlap_is_that_of_pixels():
    low = RNG.integers(0, 20, (1, 6, 2))
    boxes = np.concatenate([low, low + RNG.integers(1, 12, (1, 6, 2))], axis=-1)
    planes = np.zeros((6, 40, 40), bool)
    for plane, (x0, y0, x1, y1) in zip(planes, boxes[0], strict=True):
        plane[y0:y1, x0:x1] = True
    wanted = (planes[:, None] & planes).sum((2, 3)) / (planes[:, None] | planes).sum((2, 3))
    found = boxing.overlap(boxes.astype("float32"), boxes.astype("float32"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found)[0], wanted, atol=1e-6)


def test_reaches_give_the_box_again():
    boxes = np.array([[[3.0, -0.5, 9.5, 30.0]]], "float32")
    centre = np.array([[[4.2, 11.0]]], "float32")
    reach = boxing.box_to_reach(centre, boxes)
    np.testing.assert_allclose(boxing.reach_to_box(centre, reach), boxes, atol=1e-5)
