"""What a fit leaves is taken for another source where the data prove one, and not where a galaxy has structure."""

import numpy as np
import pytest

from galzoo.field.detection import Detection
from galzoo.field.windows import MOST_SOURCES, Unit
from galzoo.tasks.deblend import residual_sources as second_look
from galzoo.tasks.deblend.fit_windows import Fit
from tests.field.fields import FWHM, SIGMA, gaussian

SIDE = 48
UNIT = Unit(0, np.arange(1), 100, 200, SIDE)
HOST, BLUE = np.array([300.0, 900.0, 1600.0]), np.array([500.0, 400.0, 200.0])
DETECTION = Detection(FWHM, (1.0, 1.0, 1.0))
PLACE = 23.0


def blob(x, y=PLACE, sigma=SIGMA):
    return gaussian((SIDE, SIDE), x, y, sigma)


def window(*parts, bands=3, seed=5):
    """Return the planes of a window with sources (x, fluxes)."""
    image = np.random.default_rng(seed).normal(size=(SIDE, SIDE, bands))
    for x, flux in parts:
        image += blob(x)[..., None] * flux[:bands]
    planes = {"image": image.astype(np.float32), "variance": np.ones_like(image, np.float32)}
    planes |= {key: np.zeros((SIDE, SIDE), bool) for key in ("own", "other")}
    planes["own"][16:31, 12:42] = True
    return planes | {"mask": np.zeros(image.shape, bool)}


def fit(planes, *places):
    """Return the least squares of point sources at places x."""
    bands = planes["image"].shape[-1]
    images = np.array([blob(x) for x in places])
    rows = images.reshape(len(places), -1)
    flux = np.linalg.solve(rows @ rows.T, rows @ planes["image"].reshape(-1, bands).astype(float))
    positions = np.array([[x + UNIT.x0, PLACE + UNIT.y0] for x in places])
    nothing, shape = np.full_like(flux, np.nan), np.tile([0.3, 0.0, 2.0], (len(places), 1))
    drawn = (images[..., None] * flux[:, None, None]).astype(np.float32)
    return Fit(drawn, flux, nothing, nothing, positions, shape, shape, np.zeros(len(places), int), positions)


def tried(planes, result, unit=UNIT, detection=DETECTION):
    return [places for _, places in second_look.trials(unit, planes, result, detection)]


def gain_of(planes, old, new, correlation=1.0):
    return second_look.gain(planes, old.image.sum(axis=0), new, correlation)


def test_nothing_is_tried_where_there_is_noise_alone():
    planes = window((PLACE, HOST))
    assert tried(planes, fit(planes, PLACE)) == []


def test_a_residual_peak_is_tried_where_it_is():
    planes = window((PLACE, HOST), (31.0, BLUE))
    best = tried(planes, fit(planes, PLACE))[0]
    assert best.shape == (2, 2)
    np.testing.assert_allclose(best[0], [PLACE + UNIT.x0, PLACE + UNIT.y0])
    np.testing.assert_allclose(best[1], [31 + UNIT.x0, PLACE + UNIT.y0], atol=1.0)


def test_a_pair_that_looks_like_one_in_the_sum_of_the_bands_is_tried_in_halves():
    """Two sources 1.2 pixels either way of the middle: in the sum there is little left, in each band there is."""
    planes = window((PLACE - 1.2, 3 * HOST), (PLACE + 1.2, 3 * HOST[::-1]))
    result = fit(planes, PLACE)
    for places in tried(planes, result):
        apart = np.hypot(*(places[0] - places[1]))
        assert FWHM * 0.4 <= apart <= FWHM * 1.5
        assert abs(places[0, 1] - places[1, 1]) < 1, "along the line through both"
    assert len(tried(planes, result)) >= 2


def test_a_full_window_is_left_alone():
    planes = window((PLACE, HOST), (31.0, BLUE))
    assert tried(planes, fit(planes, *np.linspace(5, 30, MOST_SOURCES))) == []


def test_pixels_of_other_groups_are_no_sources():
    planes = window((PLACE, HOST), (38.0, BLUE))
    result = fit(planes, PLACE)
    assert len(tried(planes, result)) > 0
    planes["own"][:, 33:], planes["other"][:, 33:] = False, True
    assert tried(planes, result) == []


def test_a_source_of_its_own_colours_is_proven():
    planes = window((PLACE, HOST), (26.0, BLUE))
    old, new = fit(planes, PLACE), fit(planes, PLACE, 26.0)
    fall = np.sum((planes["image"] - old.image.sum(axis=0)) ** 2) - np.sum(
        (planes["image"] - new.image.sum(axis=0)) ** 2
    )
    assert gain_of(planes, old, new) == pytest.approx(fall, rel=1e-4)


def test_a_source_of_its_neighbours_colours_is_structure():
    planes = window((PLACE, HOST), (26.0, 0.4 * HOST))
    old, new = fit(planes, PLACE), fit(planes, PLACE, 26.0)
    assert gain_of(planes, old, new) == 0


def test_a_source_of_equal_colours_that_touches_none_is_proven():
    planes = window((PLACE, HOST), (36.0, 0.4 * HOST))
    assert gain_of(planes, fit(planes, PLACE), fit(planes, PLACE, 36.0)) > second_look.LEAST_GAIN


def test_what_gains_little_or_fails_is_refused():
    planes = window((PLACE, HOST), (26.0, 0.05 * BLUE))
    old, new = fit(planes, PLACE), fit(planes, PLACE, 26.0)
    assert gain_of(planes, old, new) == 0
    planes = window((PLACE, HOST), (26.0, BLUE))
    old, new = fit(planes, PLACE), fit(planes, PLACE, 26.0)
    assert gain_of(planes, old, new) > 0
    assert gain_of(planes, old, new, 20.0) == 0, "correlated noise proves less"
    new.flux[1, 0] = np.nan
    assert gain_of(planes, old, new) == 0


def test_colours_do_not_depend_on_the_host_alone():
    """Of three sources the last has the colours of the second, which it touches as well."""
    planes = window((PLACE, HOST), (29.0, BLUE), (32.0, 0.7 * BLUE))
    old, new = fit(planes, PLACE, 29.0), fit(planes, PLACE, 29.0, 32.0)
    assert gain_of(planes, old, new) == 0


def test_a_single_band_tells_structure_by_its_height():
    """Where the model may be wrong by a tenth, a knot in the core is excused, and a half is not."""
    bright = 100 * HOST
    for part, expected in ((0.01, 0), (0.5, 1)):
        planes = window((PLACE, bright), (PLACE + 2, part * bright), bands=1)
        old = fit(planes, PLACE)
        old.image[:] = blob(PLACE)[..., None] * bright[:1]
        found = tried(planes, old, detection=Detection(FWHM, (1.0,)))
        assert (len(found) > 0) == expected
    new = fit(planes, PLACE, PLACE + 2)
    assert gain_of(planes, old, new) > second_look.LEAST_GAIN


def test_a_hole_is_no_source():
    """A model too bright at one place, in one band or in all, leaves less light than there is."""
    for hole in (-BLUE, np.array([-1, 0, 0]) * BLUE):
        planes = window((PLACE, HOST), (26.0, hole))
        assert gain_of(planes, fit(planes, PLACE), fit(planes, PLACE, 26.0)) == 0


def test_a_faint_knot_of_its_own_colours_on_a_bright_galaxy_is_structure():
    for part, expected in ((0.02, False), (0.5, True)):
        planes = window((PLACE, 100 * HOST), (PLACE + 2, part * 100 * BLUE))
        assert (gain_of(planes, fit(planes, PLACE), fit(planes, PLACE, PLACE + 2)) > 0) == expected, part


def test_two_of_one_colour_are_two_where_each_stands_out_of_the_other():
    """Well apart, though their images touch; at half that distance it may be structure."""
    for place, expected in ((PLACE + 1.5 * FWHM, True), (PLACE + 0.7 * FWHM, False)):
        planes = window((PLACE, 2 * HOST), (place, HOST))
        assert (gain_of(planes, fit(planes, PLACE), fit(planes, PLACE, place)) > 0) == expected, place
