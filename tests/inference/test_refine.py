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


def one_band(image, noise=1.0, psf=None):
    """Return a batch of one image without a mask."""
    batch = {
        "image": image[None, ..., None].astype("float32"),
        "variance": np.full((1, *image.shape, 1), noise**2, "f4"),
    }
    return batch if psf is None else batch | {"psf": psf[None, ..., None].astype("float32")}


def blob(sigma=2.5, flux=3000.0):
    grid = np.arange(32) - 15.5
    line = np.exp(-0.5 * (grid / sigma) ** 2)
    return flux * np.outer(line, line) / line.sum() ** 2


def test_dark_data_make_no_negative_galaxy():
    start = blob()[None, ..., None].astype("float32")
    made = refine(start, one_band(-blob()), 0.7, steps=5)
    np.testing.assert_array_equal(made, 0)


def test_within_the_scatter_of_chi_squared_only_the_flux_changes():
    """Chi squared is 1.1 in 80 pixels, of which one standard deviation is .16."""
    sign = np.where(np.indices((32, 32)).sum(axis=0) % 2, 1, -1)
    start, noise = blob(flux=300.0), 0.8
    assert 70 < np.sum(start > 0.5 * noise) < 200
    batch = one_band(start + np.sqrt(1.05) * noise * sign, noise)
    ratio = refine(start[None, ..., None].astype("float32"), batch, 0.7, steps=20)[0, ..., 0] / start
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-5)
    worse = one_band(start + np.sqrt(1.6) * noise * sign, noise)
    ratio = refine(start[None, ..., None].astype("float32"), worse, 0.7, steps=20)[0, ..., 0] / start
    assert ratio.std() > 0.01


def test_a_footprint_of_four_pixels_is_left_to_the_model():
    for side, changes in ((2, False), (3, True)):
        start, data = np.zeros((32, 32)), np.zeros((32, 32))
        start[10 : 10 + side, 10 : 10 + side] = 100.0
        data[10 : 10 + side, 10 : 10 + side] = 60.0
        data[10, 10] = 300.0
        made = refine(start[None, ..., None].astype("float32"), one_band(data), 0.7, steps=20)[0, ..., 0]
        part = made[10 : 10 + side, 10 : 10 + side]
        assert bool(part.std() > 1) is changes


def test_a_lopsided_psf_moves_no_light():
    axis = np.arange(15) - 7.0
    line = 0.7 * np.exp(-0.5 * (axis / 1.3) ** 2) + 0.3 * np.exp(-0.5 * ((axis - 3) / 1.3) ** 2)
    psf = np.outer(np.exp(-0.5 * (axis / 1.3) ** 2), line)
    psf, truth = psf / psf.sum(), blob()
    seen = ops.convert_to_numpy(convolve(truth[None, ..., None].astype("f4"), psf[None, ..., None].astype("f4"), 0.7))
    rng = np.random.default_rng(0)
    batch = one_band(seen[0, ..., 0] + rng.normal(size=(32, 32)), 1.0, psf)
    start = blob(3.2)[None, ..., None].astype("float32")
    made = refine(start, batch, 0.7, steps=60)
    assert error_of(made, truth[None, ..., None]) < 0.3 * error_of(start, truth[None, ..., None])
