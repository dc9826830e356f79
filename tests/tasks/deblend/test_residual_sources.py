"""What a fit leaves is taken for another source where the data prove one, and not where a galaxy has structure."""

import numpy as np
import pytest
from scipy import stats

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
    return planes | {"mask": np.zeros(image.shape, bool), "model_variance": np.zeros_like(image)}


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


def at(*places):
    """Return a window without noise, a host in the middle, and what is at places (x, y, part of BLUE)."""
    planes = window((PLACE, HOST))
    image = blob(PLACE)[..., None] * HOST
    image = image + sum(blob(x, y)[..., None] * part * BLUE for x, y, part in places)
    return planes | {"image": image.astype(np.float32)}


def alone(planes):
    """Return the fit of the host as it is."""
    found = fit(planes, PLACE)
    found.image[:] = blob(PLACE)[..., None] * HOST
    return found


def test_correlated_noise_has_higher_peaks():
    """A point source of flux f on unit noise has (f / (2 pi^.5 sigma))^2 in each band."""
    planes = at((36.0, PLACE, 0.5))
    peak = np.sum((0.5 * BLUE) ** 2) / (4 * np.pi * SIGMA**2)
    just = np.sqrt(peak / stats.chi2.isf(3e-4, 3))
    assert just > 2
    for factor, count in ((0.97, 1), (1.03, 0)):
        detection = Detection(FWHM, (1.0, 1.0, 1.0), correlation=factor * just)
        assert len(tried(planes, alone(planes), detection=detection)) == count, factor


def test_light_of_other_units_is_no_source():
    planes = at((36.0, PLACE, 1.0))
    others = blob(36.0)[..., None] * BLUE
    assert len(second_look.trials(UNIT, planes, alone(planes), DETECTION)) == 1
    assert second_look.trials(UNIT, planes, alone(planes), DETECTION, others) == []


def test_the_three_highest_peaks_are_tried_the_highest_first():
    corners = [(14.0, 18.0, 0.5), (14.0, 28.0, 0.8), (39.0, 18.0, 1.2), (39.0, 28.0, 1.0)]
    planes = at(*corners)
    found = tried(planes, alone(planes))
    expected = [(39, 18), (39, 28), (14, 28)]
    np.testing.assert_allclose([places[-1] for places in found], np.add(expected, [UNIT.x0, UNIT.y0]))


def test_a_pair_lies_along_the_longest_axis():
    """An ellipse drawn out along the diagonal has e1 = 0."""
    planes = at((PLACE + 2, PLACE + 2, 1.0))
    result = alone(planes)
    result.shape[:] = [0.0, 0.4, 2.0]
    along = tried(planes, result)[-1]
    step = along[1] - along[0]
    np.testing.assert_allclose(step / np.hypot(*step), [np.sqrt(0.5)] * 2)
    assert np.hypot(*step) == pytest.approx(2 * 0.35 * FWHM)


def test_whose_light_is_at_a_peak_is_fitted_with_it():
    """A far and bright galaxy shines there, a far and faint one does not."""
    planes = at((36.0, PLACE, 1.0))
    result = fit(planes, PLACE, 5.0, 8.0)
    result.image[:] = 0
    result.image[0] = blob(PLACE)[..., None] * HOST
    result.image[1, 23, 36] = 2.0
    rows = second_look.trials(UNIT, planes, result, DETECTION)[0][0]
    assert rows.tolist() == [0, 1], "0 is the nearest"


def test_trials_apart_share_no_source_and_are_three_widths_from_each_other():
    def trial(rows, x):
        return np.array(rows), np.array([[0.0, 0.0], [x, 0.0]])

    assert second_look.apart(trial([0], 0.0), trial([1], 3.1 * FWHM), FWHM)
    assert not second_look.apart(trial([0], 0.0), trial([1], 2.9 * FWHM), FWHM)
    assert not second_look.apart(trial([0, 2], 0.0), trial([1, 2], 9 * FWHM), FWHM)


def test_correlated_noise_and_models_that_fail_prove_less():
    """Gains are in units of the noise as it is; where chi squared is 9 a source has to gain 9 times as much."""
    planes = at((26.0, PLACE, 1.0))
    old, new = fit(planes, PLACE), fit(planes, PLACE, 26.0)
    whole = gain_of(planes, old, new)
    assert gain_of(planes, old, new, 1.5) == pytest.approx(whole / 2.25)
    # What another group has beside them is not gained.
    beside = {**planes, "other": planes["other"].copy(), "image": planes["image"].copy()}
    beside["other"][:, 45:] = True
    beside["image"][:, 45:] += 100 * blob(47.0)[:, 45:, None]
    assert gain_of(beside, old, new) == pytest.approx(whole, rel=1e-4)
    faint = at((26.0, PLACE, 0.15))
    old, new = fit(faint, PLACE), fit(faint, PLACE, 26.0)
    assert second_look.LEAST_GAIN < gain_of(faint, old, new) < 9 * second_look.LEAST_GAIN
    # A chessboard of 3 sigma, which no source takes in.
    chess = np.float32(3) * (-1) ** np.indices((SIDE, SIDE)).sum(axis=0)[..., None]
    assert gain_of(faint | {"image": faint["image"] + chess}, old, new) == 0


@pytest.mark.parametrize(
    ("step", "dark", "gone"),
    [(0.24, False, [1]), (0.26, False, []), (0.49, True, [1]), (0.51, True, [])],
)
def test_an_added_source_in_the_place_of_another_is_one_with_it(step, dark, gone):
    """A quarter of the FWHM away; half of it where one of both has no light in a band."""
    places = np.array([[10.0, 10.0], [10.0 + step * FWHM, 10.0], [10.0, 10.0 + 3 * FWHM]])
    found = second_look.repeated(places, np.array([False, True, True]), np.array([dark, False, False]), FWHM)
    assert list(np.flatnonzero(found)) == gone


def test_of_several_added_in_one_place_the_first_stays_and_detected_ones_always_do():
    places = np.array([[10.0, 10.0], [10.1, 10.0], [40.0, 10.0], [40.1, 10.0], [40.2, 10.0], [np.nan, 10.0]])
    added = np.array([False, False, True, True, True, True])
    found = second_look.repeated(places, added, np.zeros(6, bool), FWHM)
    assert list(np.flatnonzero(found)) == [3, 4]
