"""Refinement follows the data to the noise and stops there."""

import numpy as np
import pytest
from keras import ops

from galzoo.data.batches import stamps_batch
from galzoo.inference.refine import refine
from galzoo.layers.psf import convolve
from tests.conftest import make_stamps


@pytest.fixture
def case():
    """Bright blobs, and a start that is too wide and has the wrong flux."""
    stamps = make_stamps(n=8, size=32)
    grid = np.arange(32) - 15.5
    wide = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / 3.2**2)[None, :, :, None]
    start = 0.6 * stamps.truth.sum(axis=(1, 2), keepdims=True) * wide / wide.sum()
    return stamps, stamps_batch(stamps, slice(None)), start.astype("float32")


def error_of(image, truth):
    return np.sum((image - truth) ** 2, axis=(1, 2, 3)) / np.sum(truth**2, axis=(1, 2, 3))


def test_comes_closer_to_the_truth_and_not_below_zero(case):
    stamps, batch, start = case
    made = refine(start, batch, 0.7, steps=100)
    assert np.all(error_of(made, stamps.truth) < 0.5 * error_of(start, stamps.truth))
    assert made.min() >= 0
    flux = made.sum(axis=(1, 2, 3)) / stamps.truth.sum(axis=(1, 2, 3))
    assert abs(np.median(flux) - 1) < 0.1


def test_does_not_fit_the_noise(case):
    _, batch, start = case
    made = refine(start, batch, 0.7, steps=500)
    seen = ops.convert_to_numpy(convolve(made, batch["psf"], 0.7))
    inside = seen > 0.5
    chi2 = np.sum(inside * (batch["image"] - seen) ** 2, axis=(1, 2, 3)) / inside.sum(axis=(1, 2, 3))
    assert np.all(chi2 > 0.8)


def test_the_truth_is_left_alone_but_for_its_flux(case):
    stamps, batch, _ = case
    made = refine(stamps.truth, batch, 0.7, steps=40)
    assert np.median(error_of(made, stamps.truth)) < 0.01


def test_masked_pixels_do_not_matter(case):
    _, batch, start = case
    mask = np.array(batch["mask"])
    mask[:, 4:8, 4:8] = True
    clean = refine(start, {**batch, "mask": mask}, 0.7, steps=5)
    dirty = refine(start, {**batch, "mask": mask, "image": np.where(mask, 1e6, batch["image"])}, 0.7, steps=5)
    np.testing.assert_array_equal(clean, dirty)


def test_no_steps_change_nothing(case):
    _, batch, start = case
    np.testing.assert_array_equal(refine(start, batch, 0.7, steps=0), start)
    empty = {**batch, "variance": np.full_like(batch["variance"], np.inf)}
    np.testing.assert_array_equal(refine(start, empty, 0.7, steps=3), start)


@pytest.mark.parametrize("half", [False, True])
def test_no_light_is_made_up_under_masks(case, half):
    """Deep under a mask there are only rounding errors to follow; the light there stays the start's."""
    stamps, batch, start = case
    mask = np.array(batch["mask"])
    y, x = np.mgrid[:32, :32]
    hidden = (x < 17) if half else (x - 6) ** 2 + (y - 22) ** 2 < 64
    mask[:, hidden] = True
    image = np.where(mask, 0, batch["image"])
    made = refine(start, {**batch, "mask": mask, "image": image}, 0.7, steps=200)
    deep = (x < 12) if half else (x - 6) ** 2 + (y - 22) ** 2 < 9
    # The flux of a whole band is solved for, so the start may change by a factor that is the same everywhere.
    factor = made[:, deep] / np.maximum(start[:, deep], 1e-12)
    seen = start[:, deep] > 1e-6
    for row in range(len(made)):
        ratio = factor[row][seen[row]]
        assert len(ratio) == 0 or ratio.max() < 3 * np.median(ratio)
    flux = made.sum(axis=(1, 2, 3)) / stamps.truth.sum(axis=(1, 2, 3))
    assert np.all(flux < 3)
