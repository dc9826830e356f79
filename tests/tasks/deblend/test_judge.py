"""Whether a fit is any good, and what is said of it, on windows of Gaussians where that can be worked out by hand."""

import dataclasses

import numpy as np
import pytest

from galzoo.contracts.deblended import FLAGS, Deblended
from galzoo.field.detection import Detection
from galzoo.field.windows import Unit
from galzoo.tasks.deblend import fit_windows
from galzoo.tasks.deblend.fit_windows import Fit
from galzoo.tasks.deblend.flags import _cut, hosts, judge, measure, rough, unseen, whole_shape
from tests.field.fields import FWHM, SIGMA, gaussian

SIDE, CORNER = 48, (100, 200)
NOISE = np.array([1.0, 2.0])
PLACES = np.array([[20.0, 24.0], [26.0, 24.0]])
FLUX = np.array([[400.0, 900.0], [300.0, 500.0]])


def unit(count=2):
    return Unit(0, np.arange(count), *CORNER, SIDE)


def draw(places=PLACES, flux=FLUX):
    light = np.array([gaussian((SIDE, SIDE), x, y, SIGMA) for x, y in places])
    return (light[..., None] * flux[:, None, None]).astype(np.float32)


def window(image, scale=1.0):
    """Return the planes of a window with a chessboard of `scale` standard deviations in place of noise."""
    board = (-1.0) ** np.indices((SIDE, SIDE)).sum(axis=0)[..., None] * NOISE * scale
    own = np.zeros((SIDE, SIDE), bool)
    own[16:32, 12:36] = True
    return {
        "image": (image + board).astype(np.float32), "own": own, "other": np.zeros((SIDE, SIDE), bool),
        "variance": np.full((SIDE, SIDE, 2), NOISE**2, np.float32), "mask": np.zeros((SIDE, SIDE, 2), bool),
        "model_variance": np.zeros((SIDE, SIDE, 2), np.float32),
        "saturated": np.zeros((SIDE, SIDE, 2), bool), "inside": (0, SIDE, 0, SIDE),
    }  # fmt: skip


def fit(image, flux=FLUX, places=PLACES, flags=0):
    n = len(flux)
    nothing, shape = np.full(flux.shape, np.nan), np.full((n, 3), np.nan)
    return Fit(
        image.copy(), flux.copy(), nothing, nothing, places + CORNER, shape, shape, np.full(n, flags), shape[:, :2]
    )


def judged(planes, given, *without):
    """Return the names of the flags of each source."""
    flags = judge(unit(), planes, given, FWHM)
    return [{name for name, bit in FLAGS.items() if one & bit}.difference(without) for one in flags]


def test_a_good_fit_has_no_flags_whatever_the_deblender_says_of_its_window():
    image = draw()
    assert judged(window(image.sum(axis=0)), fit(image, flags=FLAGS["poor_fit"])) == [set(), set()]
    kept = fit(image, flags=FLAGS["not_fitted"])
    assert judged(window(image.sum(axis=0)), kept) == [{"not_fitted"}] * 2
    np.testing.assert_array_equal(kept.image, image)


@pytest.mark.parametrize(("scale", "poor"), [(1.40, False), (1.43, True)])
def test_a_fit_is_poor_where_chi_squared_is_above_two(scale, poor):
    image = draw()
    assert judged(window(image.sum(axis=0), scale), fit(image)) == [{"poor_fit"} if poor else set()] * 2


@pytest.mark.parametrize("part", [-0.01, 0.0])
def test_a_flux_of_nothing_or_less_in_one_band_is_flagged(part):
    flux = FLUX * [[1, 1], [part, 1]]
    image = draw(flux=flux)
    assert judged(window(image.sum(axis=0)), fit(image, flux)) == [set(), {"negative_flux"}]


@pytest.mark.parametrize(
    ("pixels", "flags"),
    [
        ((np.s_[24], np.s_[20]), {"masked"}),
        ((np.s_[23:26], np.s_[19:22]), {"masked", "fallback"}),
        # Half a FWHM is 1.75 pixels.
        ((np.s_[24], np.s_[18]), set()),
        ((np.s_[22], np.s_[20]), set()),
    ],
)
def test_bad_pixels_in_the_core_alone_count(pixels, flags):
    image = draw()
    planes = window(image.sum(axis=0))
    planes["mask"][pixels] = True
    # Where one falls back its light is left in the footprint.
    assert judged(planes, fit(image), "poor_fit") == [flags, set()]


def test_a_source_falls_back_where_more_than_half_of_its_core_is_bad():
    """Nine pixels in two bands: all of one band are a half."""
    image = draw()
    planes = window(image.sum(axis=0))
    planes["mask"][23:26, 19:22, 0] = True
    assert judged(planes, fit(image)) == [{"masked"}, set()]
    planes["mask"][24, 20, 1] = True
    assert judged(planes, fit(image), "poor_fit") == [{"masked", "fallback"}, set()]


def test_what_a_wrong_psf_of_a_bright_star_leaves_does_not_make_its_neighbour_fall_back():
    """Chi squared is lower without the neighbour, as the star's model has too much light where it rules."""
    image = draw(flux=FLUX * [[1000], [1]])
    wrong = np.where(image[0] > image[1], 1.02 * image[0], image[0])
    planes = window(image.sum(axis=0), 0.01)
    planes["variance"] /= 1e4
    found = []
    for part in (0, 0.02):
        planes["model_variance"] = ((part * planes["image"]) ** 2).astype(np.float32)
        given = fit(np.stack([wrong, image[1]]), FLUX * [[1020], [1]])
        found.append(judged(planes, given, "poor_fit")[1])
    assert found == [{"fallback"}, set()]


@pytest.mark.parametrize("name", ["positions", "flux", "image"])
def test_what_is_not_finite_falls_back(name):
    image = draw()
    given = fit(image)
    getattr(given, name)[1].flat[0] = np.nan
    # What is nowhere has no core.
    assert judged(window(image.sum(axis=0)), given, "poor_fit", "masked") == [set(), {"fallback"}]
    assert not given.image[1].any()


def test_a_sum_of_fluxes_below_nothing_falls_back():
    image = draw()
    given = fit(image, FLUX * [[1, 1], [-2, 1]])
    assert judged(window(image.sum(axis=0)), given, "poor_fit") == [set(), {"negative_flux", "fallback"}]


def test_a_source_larger_than_its_window_is_truncated():
    image = draw()
    flags = judge(dataclasses.replace(unit(), truncated=True), window(image.sum(axis=0)), fit(image), FWHM)
    assert (flags & (FLAGS["truncated"] | FLAGS["fallback"]) == FLAGS["truncated"] | FLAGS["fallback"]).all()


@pytest.mark.parametrize(("part", "truncated"), [(0.45, False), (0.55, True)])
def test_the_leader_is_truncated_where_half_as_much_light_is_left_beside_it(part, truncated):
    """Evenly over the footprint of the group; light beyond it and on bad pixels does not count."""
    image = draw()
    planes = window(image.sum(axis=0))
    planes["image"][planes["own"]] += part * image[0].sum() / (16 * 24 * 2)
    planes["image"][:10] += 100
    planes["image"][20, 14], planes["mask"][20, 14] = 1e5, True
    flags = judge(unit(), planes, fit(image), FWHM, first=0)
    np.testing.assert_array_equal(flags & FLAGS["truncated"] > 0, [truncated, False])


@pytest.mark.parametrize(("last", "most"), [(SIDE, 188), (SIDE - 8, 2 * 39 + 48)])
def test_a_model_is_cut_where_a_tenth_of_the_rim_is_above_the_noise(last, most):
    """The rim is that of the window within the field, of which the upper end may be missing."""
    image = np.zeros((1, SIDE, SIDE, 2), np.float32)
    planes = window(image[0]) | {"inside": (0, last, 0, SIDE)}
    least = most // 10
    image[0, 0, :least] = 0.8 * NOISE
    # Light of two bands of .8 sigma is more than one of noise; that beyond the field is of no matter.
    image[0, last:] = 0 if last == SIDE else 9
    assert not _cut(planes, image)[0]
    image[0, 0, least] = 0.8 * NOISE
    assert _cut(planes, image)[0]
    image[0, 0, :least] = 0.7 * NOISE
    assert not _cut(planes, image)[0]


def test_models_of_other_windows_are_part_of_what_is_judged():
    """Light of another unit that is in the model is no reason to fall back, nor what is left of it."""
    image = draw()
    given = fit(image[:1], FLUX[:1], PLACES[:1])
    planes = window(image.sum(axis=0))
    assert judge(unit(1), planes, given, FWHM, others=image[1]).tolist() == [0]
    # A source of the brightness of what the other model holds already makes all worse.
    double = fit(image[1:], FLUX[1:], PLACES[1:])
    assert judge(unit(1), planes, double, FWHM, others=image.sum(axis=0)).tolist() == [FLAGS["fallback"]]


def test_a_saturated_pixel_in_the_core_is_enough():
    image = draw()
    planes = window(image.sum(axis=0))
    planes["saturated"][25, 26, 1] = True
    given = fit(image)
    assert judged(planes, given, "poor_fit") == [set(), {"saturated", "fallback"}]
    np.testing.assert_array_equal(given.image, image * [[[[1]]], [[[0]]]])


def test_light_where_there_is_none_is_taken_away():
    """The second is said to be as bright as it is, and it is not there; both together are better than nothing."""
    image = draw()
    given = fit(image)
    assert judged(window(image[0]), given) == [set(), {"fallback"}]
    assert not given.image[1].any()


@pytest.mark.parametrize(("part", "truncated"), [(0.8, False), (0.7, True)])
def test_a_model_with_more_than_a_quarter_of_its_light_beyond_its_window_is_truncated(part, truncated):
    """However faint it is at the window's edge: most of such a flux was never seen."""
    image = draw()
    flux = FLUX / np.array([[1], [part]])
    flags = {"truncated", "fallback"} if truncated else set()
    assert judged(window(image.sum(axis=0)), fit(image, flux), "poor_fit") == [set(), flags]


def test_bands_without_a_good_pixel_near_a_source_are_named():
    """A strip of the second band is bad, 3 pixels wide about the first; the first band is bad below the second."""
    planes = window(draw().sum(axis=0))
    planes["mask"][22:27, 18:23, 1] = True
    assert not unseen(unit(), planes, PLACES + CORNER, FWHM).any()
    planes["mask"][14:35, 16:25, 1] = True
    planes["mask"][:24, :, 0] = True
    np.testing.assert_array_equal(unseen(unit(), planes, PLACES + CORNER, FWHM), [[False, True], [False, False]])
    planes["variance"][..., 0] = np.inf
    np.testing.assert_array_equal(unseen(unit(), planes, PLACES + CORNER, FWHM), [[True, True], [True, False]])


def test_the_shape_of_all_light_of_a_group():
    """An ellipse of sigma 6 and 3 at 30 degrees, given as a circle; pixels of others do not count."""
    angle, middle = np.deg2rad(30), np.array([24.0, 22.0])
    y, x = np.mgrid[:SIDE, :SIDE] * 1.0
    along = (x - middle[0]) * np.cos(angle) + (y - middle[1]) * np.sin(angle)
    across = (y - middle[1]) * np.cos(angle) - (x - middle[0]) * np.sin(angle)
    image = 100 * np.exp(-0.5 * ((along / 6) ** 2 + (across / 3) ** 2))[..., None] * [1, 1]
    planes = window(image, 0)
    planes["own"][:] = True
    planes["own"][:, -2:] = False
    planes["image"][:, -2:] = 1e4
    sources = {key: np.array([value, 0.0]) for key, value in (("a", 1.0), ("b", 1.0), ("theta", 2.0), ("snr", 9.0))}
    sources |= {"x": np.array([middle[0] + CORNER[0], 0.0]), "y": np.array([middle[1] + CORNER[1], 0.0])}
    found = whole_shape(unit(1), planes, sources, (1.0, 1.0))
    assert found["a"][0] == pytest.approx(6, rel=0.03)
    assert found["b"][0] == pytest.approx(3, rel=0.03)
    assert found["theta"][0] == pytest.approx(angle, abs=0.02)
    sources["a"][0] = 8.0
    assert whole_shape(unit(1), planes, sources, (1.0, 1.0))["a"][0] == 8


@pytest.mark.parametrize("correlation", [1.0, 1.5])
def test_a_fit_is_rough_four_sigma_above_the_noise(correlation):
    """Chi squared of n pixels has a scatter of (2 / n)^.5 a pixel."""
    image = draw()
    n = 16 * 24 * 2
    for number, expected in ((3.9, False), (4.1, True)):
        scale = correlation * np.sqrt(1 + number * np.sqrt(2 / n))
        assert rough(window(image.sum(axis=0), scale), fit(image), correlation) == expected


def test_errors_at_fixed_shapes_are_of_all_sources_together():
    """Two Gaussians of width s at a distance d have a product of exp(-d^2 / 4 s^2), by which errors grow."""
    places = np.array([[22.0, 24.0], [25.0, 24.0]])
    image = draw(places)
    planes = window(image.sum(axis=0), 1.2)
    sources = {
        "x": places[:, 0] + CORNER[0], "y": places[:, 1] + CORNER[1], "a": np.full(2, SIGMA), "b": np.full(2, SIGMA),
        "theta": np.zeros(2), "snr": np.array([30.0, 20.0]),
    }  # fmt: skip
    planes["image"][0, 0] = 1e5
    found = measure(unit(), planes, fit(image, places=places), sources, Detection(FWHM, (1.0, 1.0)), np.arange(2))
    product = np.exp(-(3**2) / (4 * SIGMA**2))
    expected = np.sqrt(4 * np.pi) * SIGMA * NOISE / np.sqrt(1 - product**2)
    np.testing.assert_allclose(found["flux_like_err"], [expected, expected], rtol=2e-3)
    np.testing.assert_allclose(found["chi2"], 1.44, rtol=1e-3)
    ratio = FLUX[1] / FLUX[0]
    np.testing.assert_allclose(found["blendedness"][0], 1 - 1 / (1 + product * ratio), rtol=1e-3)
    np.testing.assert_allclose(found["blendedness"][1], 1 - 1 / (1 + product / ratio), rtol=1e-3)


def alone():
    """Return the planes of a window with one source in its middle, its fit and the table of it."""
    places = np.array([[23.3, 24.2]])
    image = draw(places, FLUX[:1])
    sources = {"x": places[:, 0] + CORNER[0], "y": places[:, 1] + CORNER[1], "a": np.full(1, SIGMA)}
    sources |= {"b": np.full(1, SIGMA), "theta": np.zeros(1), "snr": np.array([30.0])}
    return window(image[0]), fit(image, FLUX[:1], places), sources


def measured(planes, given, sources):
    return measure(unit(1), planes, given, sources, Detection(FWHM, (1.0, 1.0)), np.arange(1))


def test_apertures_of_a_gaussian_reach_as_far_as_kron_says():
    """2.5 (pi / 2)^.5 sigma, on whose pixels the noise is that of independent ones."""
    planes, given, sources = alone()
    planes["image"] = given.image[0]
    found = measured(planes, given, sources)
    np.testing.assert_allclose(found["aperture_flux"], FLUX[:1], rtol=0.02)
    area = np.pi * (2.5**2 * np.pi / 2) * SIGMA**2
    np.testing.assert_allclose(found["aperture_flux_err"], [np.sqrt(area) * NOISE], rtol=0.03)


def test_errors_by_the_likelihood_are_of_the_pixels_of_the_group_or_where_there_is_no_light_those_said():
    """Where the right half is another group's the error of a source in the middle of both grows by a root of two."""
    planes, given, sources = alone()
    given.positions, given.image = np.array([[23.5, 24.0]]) + CORNER, draw(np.array([[23.5, 24.0]]), FLUX[:1])
    planes["other"][:, 24:] = True
    expected = np.sqrt(2) * np.sqrt(4 * np.pi) * SIGMA * NOISE
    np.testing.assert_allclose(measured(planes, given, sources)["flux_like_err"], [expected], rtol=2e-3)
    given.flux_width, given.flux = np.array([[7.0, 8.0]]), given.flux * [[0, 1]]
    np.testing.assert_allclose(measured(planes, given, sources)["flux_like_err"], [[7, expected[1]]], rtol=2e-3)


def test_sources_of_other_windows_count_for_blendedness_and_chi_squared():
    planes, given, sources = alone()
    given.positions, given.image = PLACES[:1] + CORNER, draw(PLACES[:1], FLUX[:1])
    planes["image"] = (planes["image"] - alone()[1].image[0]) + draw().sum(axis=0)
    found = measure(unit(1), planes, given, sources, Detection(FWHM, (1.0, 1.0)), np.arange(1), others=draw()[1])
    product = np.exp(-(6**2) / (4 * SIGMA**2))
    np.testing.assert_allclose(found["blendedness"][0], 1 - 1 / (1 + product * FLUX[1] / FLUX[0]), rtol=1e-2)
    np.testing.assert_allclose(found["chi2"], 1, rtol=1e-3)


def test_a_sharp_source_between_pixels_has_a_core():
    places = PLACES + 0.5
    image = draw(places)
    assert judge(unit(), window(image.sum(axis=0)), fit(image, places=places), 0.8).tolist() == [0, 0]


def test_what_a_deblender_says_of_a_window_is_taken_for_its_sources():
    """The second of two windows, with one source and a place for another."""
    numbers = iter(np.arange(1, 9) * 100.0)

    def told(*size):
        return next(numbers) + np.arange(2 * 2 * np.prod(size, dtype=int)).reshape(2, 2, *size)

    said = {key: told(2) for key in ("flux", "flux_error", "flux_width", "positions", "position_error")}
    said |= {key: told(3) for key in ("shape", "shape_error")}
    flags = np.array([[1, 2], [4, 8]])
    answer = Deblended(np.zeros((2, 2, SIDE, SIDE, 2)), present=np.ones((2, 2), bool), flags=flags, **said)
    found = fit_windows._take(answer, 1, unit(1))
    for key in said:
        expected = said[key][1, :1] + (np.array(CORNER) if key == "positions" else 0)
        np.testing.assert_array_equal(getattr(found, key), expected, err_msg=key)
    assert found.flags.tolist() == [4]


@pytest.mark.parametrize(("rows", "error"), [([0, -1], 0.3), ([-1, -1], 1.0)])
def test_listed_positions_are_believed_more_than_detected_ones(rows, error, monkeypatch):
    monkeypatch.setattr(fit_windows, "window_batch", lambda *arguments: {})
    image, seen = draw(), []

    def deblend(batch):
        seen.append(batch)
        return Deblended(image[None], FLUX[None], PLACES[None], np.ones((1, 2), bool))

    fit_windows.fit(deblend, [unit()], [window(image.sum(axis=0))], {"row": np.array(rows)}, None, {})
    assert seen == [{"smooth": False, "position_error": error}]


@pytest.mark.parametrize(
    ("apart", "flux", "added", "expected"),
    [
        (3, 0.3, 1, [True, False]),
        (3, 3.0, 1, [False, False]),
        (16, 0.3, 1, [False, False]),
        (3, 0.3, 0, [False, False]),
    ],
)
def test_a_source_in_whose_light_a_fainter_one_was_added_is_said(apart, flux, added, expected):
    places = np.array([[16.0, 24.0], [16.0 + apart, 24.0]])
    given = fit(draw(places, np.array([[400.0, 900.0]] * 2) * [[1], [flux]]), places=places)
    given.flags[1] = added * FLAGS["added"]
    assert hosts(unit(), given).tolist() == expected
