"""Answers of methods that find sources by themselves, in the order of the true sources."""

import numpy as np

from galzoo.contracts.deblended import FLAGS, Deblended
from galzoo.tasks.deblend.alignment import AtDetections, Finding, aligned, matched_slots

# Two sources and an empty slot, which happens to lie on a detection.
BATCH = {"positions": np.array([[[10.0, 10.0], [20.0, 20.0], [30.0, 30.0]]]), "n_sources": np.array([2])}
# The first is of the second source, the next of nothing, and the last is not there.
PLACES = np.array([[[21.0, 20.0], [30.0, 30.0], [10.0, 10.0]]])


def found():
    values = np.arange(1.0, 4.0).reshape(1, 3, 1)
    return Deblended(
        np.ones((1, 3, 4, 4, 1)) * values[..., None, None], 100 * values, PLACES, np.array([[True, True, False]]),
        flux_error=10 * values, shape=np.repeat(values, 3, axis=-1), shape_error=np.repeat(0.1 * values, 3, axis=-1),
        samples=np.stack([values, 2 * values]), flags=np.array([[4, 8, 16]]),
    )  # fmt: skip


def test_what_was_found_is_in_the_slot_of_its_source():
    answer = aligned(found(), BATCH)
    nan = np.nan
    np.testing.assert_array_equal(answer.present, [[True, True, False]])
    np.testing.assert_array_equal(answer.flux[..., 0], [[nan, 100, nan]])
    np.testing.assert_array_equal(answer.flux_error[..., 0], [[nan, 10, nan]])
    np.testing.assert_array_equal(answer.shape[..., 2], [[nan, 1, nan]])
    np.testing.assert_array_equal(answer.shape_error[..., 2], [[nan, 0.1, nan]])
    np.testing.assert_array_equal(answer.samples[..., 0], [[[nan, 1, nan]], [[nan, 2, nan]]])
    np.testing.assert_array_equal(answer.image[0, :, 2, 2, 0], [0, 1, 0])
    np.testing.assert_array_equal(answer.positions, [[[10, 10], [21, 20], [30, 30]]])
    assert answer.flags.tolist() == [[FLAGS["not_fitted"], 4, 0]]


def test_a_detection_is_a_source_within_three_pixels():
    near = found()
    near.positions = PLACES + [[[1.9, 0]]]
    assert matched_slots(near, BATCH).tolist() == [[-1, 0, -1]]
    near.positions = PLACES + [[[2.1, 0]]]
    assert matched_slots(near, BATCH).tolist() == [[-1, -1, -1]]


def test_methods_that_find_sources_are_not_told_of_the_truth():
    seen = []

    def deblend(batch):
        seen.append(batch)
        return found()

    batch = BATCH | {key: np.zeros(1) for key in ("image", "variance", "mask", "psf", "isolated", "flux")}
    assert Finding(deblend)(batch).flux[0, 1, 0] == 100
    assert set(seen[0]) == {"image", "variance", "mask", "psf"}
    assert AtDetections(deblend, Finding(deblend))(batch).flux[0, 1, 0] == 100
    assert set(seen[2]) == {"image", "variance", "mask", "psf", "positions", "n_sources"}
    np.testing.assert_array_equal(seen[2]["positions"], PLACES)
    assert seen[2]["n_sources"].tolist() == [2]
