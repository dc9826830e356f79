"""The sky of a mesh against noise whose level and width are known, and against SEP's."""

import numpy as np
import pytest
import sep

from galzoo.errors import InputError
from galzoo.field.background import CELL, Mesh, measure_sky

RNG = np.random.default_rng(11)


def sky_of(image, names=("r",), **options):
    """Return the mesh of an array, (y, x) or (y, x, band)."""
    image = image if image.ndim == 3 else image[..., None]
    return measure_sky(lambda y0, y1, x0, x1: image[y0:y1, x0:x1], image.shape[:2], names, True, **options)


def test_the_width_of_noise_is_not_that_of_what_is_left_of_it():
    """Clipped at 3 sigma a Gaussian is 1.3 % narrower."""
    mesh = sky_of(RNG.normal(5.0, 2.0, (4 * CELL, 4 * CELL)))
    assert mesh.rms.mean() == pytest.approx(2.0, rel=0.005)
    assert mesh.level.mean() == pytest.approx(5.0, abs=0.02)


def test_faint_sources_lift_the_level_as_little_as_in_sep():
    """Their light makes the mean larger than the median, and the sky is below both."""
    image = RNG.normal(size=(2 * CELL, 2 * CELL)) + RNG.exponential(1.2, (2 * CELL, 2 * CELL)) * (
        RNG.uniform(size=(2 * CELL, 2 * CELL)) < 0.2
    )
    level = sky_of(image).level.mean()
    assert level == pytest.approx(sep.Background(image, bw=CELL, bh=CELL, fw=1, fh=1).globalback, abs=0.03)
    assert level < np.median(image) - 0.03


def test_beyond_the_middles_of_border_cells_the_noise_is_constant_and_the_level_goes_on():
    width, steps = 4 * CELL, np.arange(4 * CELL)
    mesh = sky_of(RNG.normal(size=(CELL, width)) * (1 + steps / width) + 0.02 * steps)
    level, rms, _ = mesh.at(0, CELL, 0, width)
    np.testing.assert_allclose(rms[:, : CELL // 2], np.broadcast_to(mesh.rms[0, 0], (CELL, CELL // 2, 1)))
    np.testing.assert_allclose(rms[:, -CELL // 2 :], np.broadcast_to(mesh.rms[0, -1], (CELL, CELL // 2, 1)))
    assert level[0, 0, 0] < mesh.level[0, 0, 0] - 0.5
    assert level[0, -1, 0] > mesh.level[0, -1, 0] + 0.5


@pytest.mark.parametrize(("pixels", "enough"), [(60, True), (40, False)])
def test_a_cell_needs_fifty_pixels(pixels, enough):
    image = np.full(CELL * CELL, np.nan)
    image[RNG.choice(CELL * CELL, pixels, replace=False)] = RNG.normal(3.0, 1.0, pixels)
    image = image.reshape(CELL, CELL)
    if enough:
        assert sky_of(image).level.item() == pytest.approx(3.0, abs=0.8)
    else:
        with pytest.raises(InputError, match="it has too few good pixels to see the sky"):
            sky_of(image)


def test_a_cell_full_of_a_galaxy_takes_the_level_about_it():
    image = RNG.normal(size=(3 * CELL, 3 * CELL))
    image[CELL : 2 * CELL, CELL : 2 * CELL] += 20.0
    assert np.abs(sky_of(image).level).max() < 0.1


def test_a_band_of_which_nothing_is_left_keeps_its_own_first_sky():
    image = RNG.normal(size=(CELL, CELL, 2)) * [1.0, 3.0] + [10.0, 20.0]
    first = sky_of(image, ("g", "r"))
    image[..., 1] = np.nan
    again = sky_of(image, ("g", "r"), first=first)
    np.testing.assert_array_equal(again.level[..., 1], first.level[..., 1])
    np.testing.assert_array_equal(again.rms[..., 1], first.rms[..., 1])
    assert again.level[0, 0] == pytest.approx([10.0, 20.0], abs=0.2)


def test_few_pixels_are_enough_of_a_small_image():
    """A quarter of them, where the whole cell has less than two hundred."""
    image = RNG.normal(3.0, 1.0, (8, 8))
    image[2:] = np.nan
    with pytest.raises(InputError, match="too few good pixels"):
        sky_of(image)
    image[2] = RNG.normal(3.0, 1.0, 8)
    assert sky_of(image).level.item() == pytest.approx(3.0, abs=1.0)


def test_light_in_a_tenth_of_a_cell_does_not_widen_the_noise():
    image = RNG.normal(size=(CELL, CELL))
    image[:13] += RNG.uniform(2, 300, (13, CELL))
    mesh = sky_of(image)
    assert mesh.rms.item() == pytest.approx(1.0, abs=0.05)
    assert mesh.level.item() == pytest.approx(0.0, abs=0.08)


def crowded_cell(light, share=0.3):
    """Return a cell of unit noise with a part of its pixels on a plateau."""
    lit = np.random.default_rng(3).uniform(size=(CELL, CELL)) < share
    return np.random.default_rng(4).normal(size=(CELL, CELL)) + light * lit


def test_a_cell_full_of_light_has_the_level_of_its_median():
    """The mode of so skew a distribution would be below the sky, which is at 0."""
    assert 0 < sky_of(crowded_cell(6.0)).level.item() < 1


def test_light_is_clipped_until_none_is_left():
    """The first cut of it is too wide."""
    assert sky_of(crowded_cell(8.0)).rms.item() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("size", "cells"), [(100, 3), (111, 3), (112, 4), (10, 1)])
def test_cells_are_as_near_to_their_size_as_fits(size, cells):
    assert sky_of(RNG.normal(size=(32, size)), cell=32).level.shape[1] == cells


def test_between_cells_the_level_is_that_of_the_middle_of_each_pixel():
    level = np.arange(3.0).reshape(1, 3, 1)
    found, _, _ = Mesh(level, level, level > 9, (10, 30)).at(0, 1, 0, 30)
    np.testing.assert_allclose(found[0, :, 0], (np.arange(30) + 0.5) / 10 - 0.5)


def test_parts_of_one_value_are_no_holes_where_the_noise_is_given():
    image = RNG.normal(size=(2 * CELL, 2 * CELL)) + 5
    image[:CELL, :CELL] = 5
    mesh = measure_sky(lambda y0, y1, x0, x1: image[y0:y1, x0:x1, None], image.shape, ("r",), False)
    assert not mesh.dead.any()


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("sky", [100.0, 100.3, 100.5, 100.8])
def test_whole_counts_do_not_shift_the_level(dtype, sky):
    """The noise is as wide as a step; a median that is a whole number is off by up to half of one."""
    counts = np.random.default_rng(5).normal(sky, 1.0, (2 * CELL, 2 * CELL)).round().astype(dtype)
    assert sky_of(counts.astype(float)).level.mean() == pytest.approx(sky, abs=0.05)


@pytest.mark.parametrize("sky", [250.0, 250.25, 250.5, 250.75])
def test_counts_that_are_each_calibrated_a_little_differently_do_not_shift_the_level(sky):
    """As in frames of SDSS: steps of a seventh of the noise, in which no two pixels are tied."""
    rng = np.random.default_rng(6)
    counts = rng.normal(sky, 7.0, (3 * CELL, 3 * CELL)).round() * rng.uniform(0.9999, 1.0001, (3 * CELL, 3 * CELL))
    assert sky_of(counts).level.mean() == pytest.approx(sky, abs=0.03 * 7)
