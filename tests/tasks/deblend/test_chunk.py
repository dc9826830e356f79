"""Windows of one group: what one gives up is there for the others."""

import numpy as np
import pytest

from galzoo.contracts.deblended import FLAGS
from galzoo.field.detection import Detection
from galzoo.field.windows import Unit
from galzoo.tasks.deblend.chunk import Chunk, _moved
from galzoo.tasks.deblend.fit_windows import Fit
from tests.field.fields import FWHM, SIGMA, gaussian

SIDE = 48
PLACES = np.array([[12.0, 24.0], [34.0, 24.0], [12.0 + 0.1 * FWHM, 24.0]])


def answer(places, flux, added=0):
    """Return a fit of point sources of one band, of which the last ones were added."""
    n = len(places)
    images = np.array([gaussian((SIDE, SIDE), *place, SIGMA) for place in places]).reshape(n, SIDE, SIDE, 1)
    nothing, flags = np.full((n, 3), np.nan), np.zeros(n, int)
    flags[n - added :] = FLAGS["added"]
    flux = np.reshape(flux, (n, 1)).astype(float)
    drawn = (flux[:, None, None] * images).astype(np.float32)
    return Fit(drawn, flux, 0 * flux, 0 * flux, np.array(places), nothing, nothing, flags, 0 * np.array(places))


def least_squares(units, planes, sources, **_):
    found = []
    for unit, one in zip(units, planes, strict=True):
        places = np.stack([sources["x"], sources["y"]], axis=-1)[unit.sources]
        images = answer(places, np.ones(len(places))).image.reshape(len(places), SIDE * SIDE)
        found.append(answer(places, np.linalg.lstsq(images.T, one["image"].ravel(), rcond=None)[0]))
    return found


def planes_of(image):
    """Return the planes of a window, all of it good and its group's."""
    return {
        "image": image, "variance": np.ones_like(image), "mask": np.zeros(image.shape, bool),
        "own": np.ones((SIDE, SIDE), bool), "inside": (0, SIDE, 0, SIDE),
    }  # fmt: skip


def test_light_of_a_source_that_is_taken_away_goes_to_another_window_too():
    """The first has 400 of its 1,000, as a source added in the other window, in its place, has the rest."""
    sources = {"x": PLACES[:, 0], "y": PLACES[:, 1], "snr": np.array([9.0, 5.0, np.nan])}
    units = [Unit(0, np.array([0]), 0, 0, SIDE), Unit(0, np.array([1, 2]), 0, 0, SIDE)]
    image = answer(PLACES[:2], [1000, 500]).image.sum(axis=0)
    planes = planes_of(image)
    chunk = Chunk(least_squares, sources, units, [planes, planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(PLACES[:1], [400]), answer(PLACES[1:], [500, 600], added=1)]
    chunk.join_added()
    assert [list(unit.sources) for unit in chunk.units] == [[0], [1]]
    np.testing.assert_allclose([one.flux[0, 0] for one in chunk.fits], [1000, 500], rtol=1e-3)
    np.testing.assert_allclose(chunk.others[0], chunk.fits[1].image.sum(axis=0), atol=1e-3)


def near_windows(flux):
    """Return planes of a window that holds sources at 12 and 18, with so much light, and the places of these."""
    places = np.array([[12.0, 24.0], [18.0, 24.0]])
    image = answer(places, flux).image.sum(axis=0)
    return planes_of(image), places


@pytest.mark.parametrize("turned", [False, True])
def test_light_that_is_free_goes_to_the_source_in_whose_place_it_was_not_to_all_windows_at_once(turned):
    """The source beside it, brighter by what detection said, would take a part of it if it were fitted before."""
    planes, places = near_windows([1000, 100])
    places = np.vstack([places, places[:1] + [0.1 * FWHM, 0]])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([50.0, 90.0, np.nan])}
    units = [Unit(0, np.array([0, 2]), 0, 0, SIDE), Unit(0, np.array([1]), 0, 0, SIDE)]
    fits = [answer(places[[0, 2]], [400, 600], added=1), answer(places[[1]], [100])]
    step = -1 if turned else 1
    chunk = Chunk(least_squares, sources, units[::step], [planes, planes], Detection(FWHM, (1.0,)))
    chunk.fits = fits[::step]
    chunk.join_added()
    found = {unit.sources[0]: one.flux[0, 0] for unit, one in zip(chunk.units, chunk.fits, strict=True)}
    assert found == {0: pytest.approx(1000, rel=1e-3), 1: pytest.approx(100, rel=1e-2)}


def test_a_window_all_of_whose_sources_are_gone_leaves_its_light_to_the_others():
    planes, places = near_windows([1000, 100])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([50.0, 90.0])}
    units = [Unit(0, np.array([0]), 0, 0, SIDE), Unit(0, np.array([1]), 0, 0, SIDE)]
    chunk = Chunk(least_squares, sources, units, [planes, planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(places[:1], [400]), answer(places[:1] + 0.0, [600])]
    chunk._keep(1, np.zeros(1, bool))
    chunk._in_turn([1], {0})
    assert [one.flux.shape for one in chunk.fits] == [(1, 1), (0, 1)]
    assert chunk.fits[0].flux[0, 0] == pytest.approx(1000, rel=0.02)


def test_windows_that_do_not_overlap_are_left_alone():
    planes, places = near_windows([1000, 100])
    places = np.vstack([places, places[:1] + [0.1 * FWHM, 0]])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([50.0, 90.0, np.nan])}
    units = [Unit(0, np.array([0, 2]), 0, 0, SIDE), Unit(0, np.array([1]), SIDE, 0, SIDE)]
    chunk = Chunk(least_squares, sources, units, [planes, planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(places[[0, 2]], [400, 600], added=1), answer(places[[1]], [123])]
    chunk.join_added()
    assert chunk.fits[1].flux[0, 0] == 123
    assert chunk.fits[0].flux.shape == (1, 1)


def test_a_faint_source_that_went_to_a_star_gives_its_light_back_and_is_looked_for_where_it_was_seen():
    """At a fifth of the star's signal-to-noise it is no more than a half of a pair, which is kept."""
    planes, places = near_windows([1000, 40])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, 17.0])}
    together = np.array([places[0], places[0] + [0.2 * FWHM, 0]])
    for snr, gone in ((17.0, True), (18.5, False)):
        sources["snr"][1] = snr
        chunk = Chunk(least_squares, sources, [Unit(0, np.arange(2), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
        chunk.fits = [answer(together, [400, 640])]
        chunk.leave_out()
        expected = [1000, 40] if gone else [400, 640]
        np.testing.assert_allclose(chunk.fits[0].flux[:, 0], expected, rtol=0.05)
        assert list(chunk.units[0].sources) == [0, 1]
        assert not chunk.fits[0].flags.any()
    sources["snr"][1] = 17.0
    chunk.fits = [answer([places[0], places[0] + [0.3 * FWHM, 0]], [400, 640])]
    chunk.leave_out()
    np.testing.assert_allclose(chunk.fits[0].flux[:, 0], [400, 640])


def test_places_without_light_are_faint_beside_nothing():
    """Both are listed on dark sky and larger than the window."""
    planes, places = near_windows([0, 0])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([-5.0, -3.0])}
    chunk = Chunk(least_squares, sources, [Unit(0, np.arange(2), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(places, [4, 3])]
    chunk.fits[0].image *= 0.5
    chunk.leave_out()
    np.testing.assert_array_equal(chunk.fits[0].flux[:, 0], [4, 3])


def test_an_added_source_that_comes_to_a_star_when_another_is_left_out_is_joined():
    planes, places = near_windows([1000, 40])
    places = np.vstack([places, places[:1] + [0.1 * FWHM, 0]])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, 17.0, np.nan])}
    chunk = Chunk(least_squares, sources, [Unit(0, np.array([0, 2, 1]), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
    apart = np.array([places[0], places[0] + [0.4 * FWHM, 0], places[1]])
    chunk.fits = [answer(apart, [700, 300, 40])]
    chunk.fits[0].flags[1] |= FLAGS["added"]
    chunk.fits[0].image[2] *= 0.5
    chunk.leave_out()
    assert list(chunk.units[0].sources) == [0, 1]
    np.testing.assert_allclose(chunk.fits[0].flux[:, 0], [1000, 40], rtol=0.05)


def test_sources_are_looked_for_no_further_than_half_a_fwhm_from_where_they_were():
    """One at the far end of the window has the place of another; one that moved a little begins there."""
    sources = {key: np.zeros(2) for key in ("a", "b", "theta", "snr", "row")}
    sources |= {"x": np.array([10.0, 30.0]), "y": np.array([20.0, 20.0])}
    places = np.array([[10.0, 21.0], [10.0, 20.0], [25.0, 5.0]])
    table, unit = _moved(sources, Unit(0, np.arange(2), 0, 0, SIDE), answer(places, [9, 9, 9], added=1), FWHM)
    found = np.stack([table["x"], table["y"]], axis=-1)[unit.sources]
    np.testing.assert_allclose(found, [[10, 21], [30 - 0.5 * FWHM, 20], [25, 5]])


def test_of_what_is_left_out_the_brightest_window_has_the_first_choice():
    planes, places = near_windows([1000, 900])
    places = np.vstack([places, places[:1]])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, 80.0, 5.0])}
    units = [Unit(0, np.array([1, 2]), 0, 0, SIDE), Unit(0, np.array([0]), 0, 0, SIDE)]
    chunk = Chunk(least_squares, sources, units, [planes, planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(places[1:], [900, 600]), answer(places[:1], [400])]
    chunk.fits[0].flux[1] *= 1.4
    chunk.leave_out()
    np.testing.assert_allclose(chunk.fits[1].flux, [[1000]], rtol=1e-3)
    np.testing.assert_allclose(chunk.fits[0].flux[0], [900], rtol=1e-3)


def test_added_sources_that_come_together_when_others_are_gone_are_taken_away_too():
    """Two stay where they are; the fit without the third puts the second onto the first."""
    places = np.array([[24.0, 24.0], [24.0 + 0.4 * FWHM, 24.0], [24.0 + 0.5 * FWHM, 24.0]])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([9.0, np.nan, np.nan])}
    image = answer(places[:1], [1000]).image.sum(axis=0)
    planes = planes_of(image)
    asked = []

    def together(units, planes, sources, **_):
        asked.extend(list(unit.sources) for unit in units)
        return [answer(places[:1].repeat(len(unit.sources), 0), [1000] * len(unit.sources)) for unit in units]

    chunk = Chunk(together, sources, [Unit(0, np.arange(3), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
    chunk.fits, asked[:] = [answer(places, [400, 300, 300], added=2)], []
    chunk.join_added()
    assert asked == [[0, 1], [0]]
    assert list(chunk.units[0].sources) == [0]
    np.testing.assert_allclose(chunk.fits[0].flux, [[1000]])


def test_a_faint_source_that_is_larger_than_the_window_leaves_its_light_to_the_brightest():
    """Half of its light would lie outside; it is no source of such a size, but has its neighbour's wings."""
    places = PLACES[:2]
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, 17.0])}
    image = answer(places[:1], [1000]).image.sum(axis=0)
    planes = planes_of(image)
    asked = []

    def fitter(units, planes, sources, **_):
        asked.extend(list(unit.sources) for unit in units)
        return least_squares(units, planes, sources)

    chunk = Chunk(fitter, sources, [Unit(0, np.arange(2), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
    for part, left_out in ((0.8, False), (0.5, True)):
        chunk.fits, asked[:] = [answer(places, [700, 300])], []
        chunk.fits[0].image[1] *= part
        before = chunk.fits[0].flux.copy()
        chunk.leave_out()
        one = chunk.fits[0]
        assert asked == ([[0], [1]] if left_out else [])
        assert list(chunk.units[0].sources) == [0, 1]
        assert (one.flags & FLAGS["truncated"] > 0).tolist() == [False, left_out]
        if left_out:
            np.testing.assert_allclose(one.flux, [[1000], [np.nan]], rtol=1e-3)
            assert one.image[0].sum() > 990
            assert not one.image[1].any()
        else:
            np.testing.assert_array_equal(one.flux, before)
    # The brightest is what the window is about, whatever its size and the flux of others; nor is one of a fifth faint.
    for row, flux, snr in ((0, [300, 700], 17.0), (1, [700, 300], 18.5)):
        sources["snr"][1] = snr
        chunk.fits, asked[:] = [answer(places, flux)], []
        chunk.fits[0].image[row] *= 0.5
        chunk.leave_out()
        assert asked == []


@pytest.mark.parametrize("size", [1.0, 0.5])
def test_what_is_left_out_is_fitted_to_what_the_others_leave(size):
    """It has 40 of its own, on all the window or, where it is still larger than that, on a half of its light."""
    places = PLACES[:2]
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, 17.0])}
    image = answer(places, [1000, 40]).image.sum(axis=0)
    planes = planes_of(image)
    asked = []

    def fitter(units, planes, sources, **options):
        asked.append(options)
        found = least_squares(units, planes, sources)
        if units and list(units[0].sources) == [1]:
            found[0].image *= size
        return found

    chunk = Chunk(fitter, sources, [Unit(0, np.arange(2), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(places, [700, 340])]
    chunk.fits[0].image[1] *= 0.5
    chunk.leave_out()
    one, held = chunk.fits[0], size == 1
    assert asked[-1] == {"smooth": True, "grow": False}
    assert (one.flags & FLAGS["truncated"] > 0).tolist() == [False, not held]
    np.testing.assert_allclose(one.flux, [[1000], [40 if held else np.nan]], rtol=1e-3)
    assert one.image[1].sum() == pytest.approx(40 if held else 0, rel=1e-3)


def test_what_a_source_had_that_is_left_out_goes_to_another_window_too():
    """Of the 1,000 of the star in the first window, 600 were a source's of the second that is larger than that."""
    places = np.array([[12.0, 24.0], [34.0, 24.0], [12.0, 24.0]])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, 80.0, np.nan])}
    units = [Unit(0, np.array([0]), 0, 0, SIDE), Unit(0, np.array([1, 2]), 0, 0, SIDE)]
    image = answer(places[:2], [1000, 900]).image.sum(axis=0)
    planes = planes_of(image)
    chunk = Chunk(least_squares, sources, units, [planes, planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(places[:1], [400]), answer(places[1:], [900, 600])]
    chunk.fits[1].flux[1] *= 1.4
    chunk.leave_out()
    np.testing.assert_allclose(chunk.fits[0].flux, [[1000]], rtol=1e-3)
    np.testing.assert_allclose(chunk.fits[1].flux, [[900], [np.nan]], rtol=1e-3)
    np.testing.assert_allclose(chunk.others[0], chunk.fits[1].image.sum(axis=0), atol=1e-2)


def test_an_added_source_that_grew_larger_than_the_window_is_fitted_as_it_was():
    """The data want it, but not its neighbour's wings; a window without one is left alone."""
    places = PLACES[:2]
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, np.nan])}
    image = answer(places, [1000, 300]).image.sum(axis=0)
    planes = planes_of(image)
    asked = []

    def fitter(units, planes, sources, **options):
        asked.append((len(units), options))
        return least_squares(units, planes, sources)

    chunk = Chunk(fitter, sources, [Unit(0, np.arange(2), 0, 0, SIDE)] * 2, [planes] * 2, Detection(FWHM, (1.0,)))
    chunk.split, chunk.others = [], [None, None]
    chunk.fits, asked[:] = [answer(places, [900, 400], added=1), answer(places, [900, 400], added=1)], []
    chunk.fits[0].image[1] *= 0.5
    chunk.leave_out()
    assert asked == [(1, {"grow": False})]
    np.testing.assert_allclose(chunk.fits[0].flux, [[1000], [300]], rtol=1e-3)
    assert (chunk.fits[0].flags == [0, FLAGS["added"]]).all()
    np.testing.assert_allclose(chunk.fits[1].flux, [[900], [400]])


@pytest.mark.parametrize(("left", "kept"), [(40, True), (0, False)])
def test_light_of_a_faint_source_that_went_into_a_bright_galaxy_is_the_galaxys(left, kept):
    """Both profiles are the galaxy; what is left where the faint one was seen is its own, if it is above the noise."""
    planes, places = near_windows([1000, left])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, np.nan])}
    chunk = Chunk(least_squares, sources, [Unit(0, np.arange(2), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
    chunk.fits = [answer(places[[0]] + [[0, 0], [0.6 * FWHM, 0]], [800, 200], added=1)]
    both = chunk.fits[0].image.sum(axis=0)
    chunk.fits[0].flux_width[:] = 3.0
    chunk.fits[0].flux_error[:] = [[30.0], [40.0]]
    chunk.fits[0].shape[:] = [[0.0, 0.0, 1.0], [0.0, 0.0, 6.0]]
    chunk.give_back()
    one = chunk.fits[0]
    assert one.flux[0, 0] == 1000
    assert one.flux_error[0, 0] == 50
    np.testing.assert_allclose(one.shape[0], [0, 0, 2])
    np.testing.assert_allclose(one.image[0], both)
    assert (one.flags[1] & FLAGS["added"] > 0, one.flags[1] & FLAGS["truncated"] > 0) == (True, not kept)


def test_sources_without_a_model_neither_give_nor_get_light():
    """The brightest was left without one, or the faint one beside it that had strayed."""
    planes, places = near_windows([1000, 40])
    places = np.vstack([places, [34.0, 24.0]])
    sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, np.nan, 10.0])}
    chunk = Chunk(least_squares, sources, [Unit(0, np.arange(3), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
    for gone in (0, 1):
        chunk.fits = [answer(places[[0, 0, 2]] + [[0, 0], [0.6 * FWHM, 0], [0, 0]], [800, 200, 50])]
        chunk.fits[0].flux_error[:] = [[30.0], [40.0], [5.0]]
        chunk.fits[0].flux[gone], chunk.fits[0].image[gone] = np.nan, 0
        before = chunk.fits[0]
        chunk.give_back()
        assert chunk.fits[0] is before
        np.testing.assert_array_equal(chunk.fits[0].flux_error[:, 0], [30, 40, 5])


def test_sources_near_their_place_and_those_as_bright_as_each_other_keep_their_light():
    planes, places = near_windows([1000, 40])
    for snr, moved in ((17.0, 0.9), (60.0, 3.0)):
        sources = {"x": places[:, 0], "y": places[:, 1], "snr": np.array([90.0, snr])}
        chunk = Chunk(least_squares, sources, [Unit(0, np.arange(2), 0, 0, SIDE)], [planes], Detection(FWHM, (1.0,)))
        towards = (places[0] - places[1]) / np.hypot(*(places[0] - places[1]))
        chunk.fits = [answer(np.array([places[0], places[1] + moved * FWHM * towards]), [900, 100])]
        chunk.give_back()
        np.testing.assert_array_equal(chunk.fits[0].flux[:, 0], [900, 100])
