"""Seeing is that of the stars, also where most bright sources are galaxies; a PSF that they contradict is said."""

import logging

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data import psf as data_psf
from galzoo.data.psf import fwhm_of
from galzoo.errors import InputError
from galzoo.field import psf
from galzoo.field.array_field import ArrayField
from galzoo.field.open_field import open_field
from galzoo.field.psf import constant_psf, contradiction, field_psf, gaussian_of, mean_fwhm, measured_psf
from galzoo.field.stars import around, find_stars, on_branch, sizes
from galzoo.tasks.detect.run import Settings, detect_field
from tests.field.fields import BANDS, FWHM, SCALE, draw, gaussian, write

SHAPE = (400, 420)


def sky(folder, stars=12, galaxies=36):
    """Return a field of stars among many more galaxies that are as bright, its sources, and which are stars."""
    rng = np.random.default_rng(3)
    places = [(x, y) for x in range(25, 415, 40) for y in range(25, 395, 45)]
    rng.shuffle(places)
    sizes = np.r_[np.zeros(stars), rng.uniform(0.8, 3.0, galaxies)]
    fluxes = np.exp(rng.uniform(np.log(800), np.log(9000), len(sizes)))
    listed = [(*place, flux, size) for place, flux, size in zip(places, fluxes, sizes, strict=False)]
    path = write(folder / "field.fits", draw(SHAPE, listed, seed=2))
    x, y, flux, _ = np.array(listed).T
    return path, {"x": x, "y": y, "a": np.full(len(x), 1.5), "snr": flux / 10}, sizes == 0


def test_stars_are_found_among_galaxies(tmp_path):
    path, sources, star = sky(tmp_path)
    with open_field(path, bands=BANDS) as field:
        rows, radii = find_stars(field, sources)
    assert star[rows].mean() > 0.9
    assert star[rows].sum() >= 0.8 * star.sum()
    # Half the light of a Gaussian lies within half its FWHM.
    np.testing.assert_allclose(np.median(radii), FWHM / 2, rtol=0.03)


def test_a_star_beside_another_source_is_no_witness(tmp_path):
    """Three are alone, two are 6 pixels apart, which is less than five of their radii."""
    places = [(20, 20), (60, 20), (20, 60), (60, 60), (66, 60)]
    path = write(tmp_path / "field.fits", draw((80, 84), [(*place, 5000, 0) for place in places]))
    x, y = np.array(places, float).T
    with open_field(path, bands=BANDS) as field:
        rows, _ = sizes(field, {"x": x, "y": y, "snr": np.array([90.0, 80, 70, 99, 95])})
    assert rows.tolist() == [0, 1, 2]


def test_faint_sources_of_one_size_above_brighter_smaller_ones_are_no_stars():
    radii = np.exp([0.0, 0.01, 0.02, -0.1, -0.2, -0.3])
    faint = np.array([31.0, 31, 31])
    assert len(on_branch(np.arange(6), radii, np.r_[faint, 3000, 3000, 3000])[0]) == 0
    assert on_branch(np.arange(3), radii[:3], faint)[0].tolist() == [0, 1, 2]


def test_the_measured_psf_is_the_stars(tmp_path):
    path, sources, _ = sky(tmp_path)
    with open_field(path, bands=BANDS) as field:
        psf = measured_psf(field, sources)
    assert psf.shape[0] == 1
    np.testing.assert_allclose(psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose([fwhm_of(plane) for plane in np.moveaxis(psf[0], -1, 0)], FWHM, rtol=0.05)


def test_without_a_branch_there_are_no_stars_and_it_is_said(tmp_path, caplog):
    path, sources, star = sky(tmp_path, stars=0, galaxies=6)
    with open_field(path, bands=BANDS) as field, caplog.at_level(logging.WARNING):
        assert not len(find_stars(field, sources)[0])
        assert measured_psf(field, sources).shape[-1] == len(BANDS)
        assert "may be galaxies" in caplog.text
        with pytest.raises(InputError, match="--seeing"):
            measured_psf(field, {key: values[:0] for key, values in sources.items()})


def test_a_few_cosmic_rays_below_the_branch_are_not_it():
    rng = np.random.default_rng(0)
    radii = np.r_[rng.normal(2.0, 0.02, 20), rng.uniform(2.3, 4.5, 80), [0.8, 0.81, 0.9]]
    snr = np.r_[np.geomspace(40, 3000, 20), np.geomspace(31, 400, 80), [60, 50, 40]]
    rows, _ = on_branch(np.arange(len(radii)), radii, snr)
    assert len(rows) >= 18
    assert rows.max() < 20


@pytest.mark.parametrize(("part", "said"), [(1.0, False), (1.06, False), (1.3, True), (0.7, True)])
def test_a_psf_that_stars_contradict_is_said(tmp_path, caplog, part, said):
    path, sources, _ = sky(tmp_path)
    with open_field(path, bands=BANDS) as field, caplog.at_level(logging.WARNING):
        given = constant_psf(field_psf(field, seeing=part * FWHM * SCALE), field)
        found = contradiction(field, sources, given)
    assert set(found) == (set(BANDS) if said else set())
    assert ("differ by more than 10 %" in caplog.text) is said
    for one, other in found.values():
        assert one / other == pytest.approx(part, rel=0.06)


@pytest.mark.parametrize(("part", "said"), [(1.0, False), (1.3, True)])
def test_detection_says_it_too(tmp_path, caplog, part, said):
    path, _, _ = sky(tmp_path)
    with caplog.at_level(logging.WARNING):
        detect_field(path, tmp_path / "out", bands=BANDS, seeing=part * FWHM * SCALE, settings=Settings(report=False))
    assert ("differ by more than 10 %" in caplog.text) is said


def point_field(places, flux=5000.0, sigma=FWHM / 2.3548, shape=(80, 84), mask=None):
    """Return a field of one band and unit noise with point sources, and its sources as detection gives them."""
    image = np.random.default_rng(5).normal(size=shape)
    for x, y in places:
        image += flux * gaussian(shape, x, y, sigma)
    x, y = np.array(places, float).T
    sources = {"x": x, "y": y, "a": np.full(len(x), 1.5), "snr": np.full(len(x), 90.0)}
    return ArrayField(image[..., None], np.ones((*shape, 1)), mask), sources


PLACES = [(20, 20), (60, 20), (20, 60), (60, 60)]


def test_faint_sources_are_no_witnesses():
    field, sources = point_field(PLACES)
    sources["snr"][1:3] = 29.9, 30.0
    assert sizes(field, sources)[0].tolist() == [0, 3, 2]


def test_a_bad_pixel_within_six_spoils_a_star():
    mask = np.zeros((80, 84, 1), bool)
    mask[20 + 6, 20 - 6] = mask[20 + 7, 60] = True
    field, sources = point_field(PLACES, mask=mask)
    assert sizes(field, sources)[0].tolist() == [1, 2, 3]


def test_what_is_smaller_or_larger_than_any_star_is_none():
    field, sources = point_field(PLACES, sigma=0.2)
    assert len(sizes(field, sources)[0]) == 0
    # A large disc within the aperture of 8 pixels.
    y, x = np.mgrid[:80, :84]
    disc = sum(np.hypot(x - a, y - b) < 7.6 for a, b in PLACES)
    field = ArrayField(40.0 * disc[..., None], np.ones((80, 84, 1)))
    assert len(sizes(field, sources)[0]) == 0


def test_neighbours_within_five_half_light_radii_spoil_each_other():
    """One of which is 3.5 pixels in FWHM: 1.75 in radius."""
    for apart, alone in ((8.0, False), (14.0, True)):
        field, sources = point_field([(20, 20), (20 + apart, 20)], sigma=FWHM / 2.3548)
        assert (len(sizes(field, sources)[0]) > 0) is alone


def test_a_square_about_a_position_has_its_nearest_pixel_in_the_middle():
    field, _ = point_field(PLACES)
    planes, x, y = around(field, 19.6, 60.4, 3)
    assert planes["image"].shape == (7, 7, 1)
    assert (x, y) == pytest.approx((2.6, 3.4))
    np.testing.assert_array_equal(planes["image"], field.read(57, 64, 17, 24)["image"])


def test_the_branch_is_about_its_middle():
    """Its best row lies off it, as it is near a smaller source too."""
    radii = np.exp(np.array([0.0, 0.03, 0.03, 0.03, 0.03, -0.035]))
    rows, _ = on_branch(np.arange(6), radii, np.array([900.0, 50, 50, 50, 50, 50]))
    assert rows.tolist() == [0, 1, 2, 3, 4]


def test_sources_just_below_speak_against_a_branch():
    size = np.r_[np.full(5, 0.2), np.linspace(-0.1, 0.1, 9)]
    snr = np.r_[np.full(5, 60.0), np.full(9, 3000.0)]
    assert 0 not in on_branch(np.arange(14), np.exp(size), snr)[0]


def test_the_width_of_a_psf_is_weighted_as_detection_weighs_bands():
    field = ArrayField(np.zeros((50, 50, 2)), np.ones((50, 50, 2)) * [1.0, 9.0], bands=("g", "r"))
    both = gaussian_of([3.0, 6.0], 2)
    assert mean_fwhm(constant_psf(both, field), field) == pytest.approx((3 * 3.0 + 6.0) / 4, rel=0.03)


def test_a_psf_that_is_given_has_unit_sum_and_no_end_of_size():
    field, _ = point_field(PLACES)
    given = constant_psf(5 * gaussian_of(3.0, 1), field)(np.zeros(2), np.zeros(2))
    np.testing.assert_allclose(given.sum(axis=(1, 2, 3)), [1, 1], rtol=1e-5)
    assert gaussian_of(40.0, 1).shape[1] == psf.LARGEST_PSF


def test_a_gaussian_reaches_two_and_a_half_fwhm():
    found = gaussian_of([4.0, 2.0], 2)
    assert found.shape == (1, 21, 21, 2)
    assert [fwhm_of(found[0, ..., band]) for band in range(2)] == pytest.approx([4, 2], rel=0.02)


def test_the_seeing_is_in_arcsec_and_what_cannot_be_used_is_refused(tmp_path):
    field, _ = point_field(PLACES)
    assert fwhm_of(field_psf(field, seeing=4 * field.pixel_scale)[0, ..., 0]) == pytest.approx(4, rel=0.02)
    assert field_psf(field) is None
    for seeing in (0, -1, np.inf, np.nan):
        with pytest.raises(InputError, match="--seeing is"):
            field_psf(field, seeing=seeing)
    assert field_psf(field, seeing=32 * field.pixel_scale) is not None
    with pytest.raises(InputError, match="33 pixels, more than half of the largest PSF"):
        field_psf(field, seeing=33 * field.pixel_scale)
    with pytest.raises(InputError, match="both --psf and --seeing"):
        field_psf(field, tmp_path / "psf.fits", 0.7)
    for given, words in (
        (np.ones((1, 5, 5, 2)), r"shape \(1, 5, 5, 2\); .* with 1 bands"),
        (np.ones((5, 5, 1)), "must be"),
        (np.full((1, 5, 5, 1), np.nan), "not finite"),
        (np.zeros((1, 5, 5, 1)), "not positive"),
    ):
        with pytest.raises(InputError, match=words):
            constant_psf(given, field)


def test_a_psf_of_a_file_is_brought_to_the_pixels_of_the_field(tmp_path):
    """Its pixels are half as wide."""
    path = write(tmp_path / "field.fits", draw((60, 64), []))
    psf_path = tmp_path / "psf.fits"
    fits.writeto(psf_path, gaussian((61, 61), 30, 30, 4.0), fits.Header({"PIXSCALE": SCALE / 2}))
    with open_field(path, bands=BANDS) as field:
        found = field_psf(field, psf_path)
    assert found.shape[-1] == len(BANDS)
    assert fwhm_of(found[0, ..., 2]) == pytest.approx(2.3548 * 2, rel=0.02)


def test_the_width_of_a_psf_that_varies_is_that_in_the_middle():
    field = ArrayField(np.zeros((50, 80, 1)), np.ones((50, 80, 1)), bands=("r",))
    asked = []
    mean_fwhm(lambda x, y: asked.append((x.tolist(), y.tolist())) or gaussian_of(3.0, 1), field)
    assert asked == [([40], [25])]


def test_seeing_is_said_in_arcsec_of_each_band(caplog):
    """Of two sources, one of them larger, which are no branch: the width is near that of the smaller."""
    field, sources = point_field(PLACES[:2])
    measured_psf(field, sources)
    assert f"FWHM in arcsec: {field.bands[0]} {FWHM * field.pixel_scale:.1f}" in caplog.text


def test_both_widths_that_contradict_are_given_in_their_order(caplog):
    """First that of the PSF, then that of the stars, in pixels; in arcsec in the log."""
    places = [(x, y) for x in (20, 50, 80, 110) for y in (20, 50)]
    field, sources = point_field(places, shape=(80, 130))
    asked = []

    def given(x, y):
        asked.append((x.tolist(), y.tolist()))
        return gaussian_of(1.2 * FWHM, 1)

    ((one, other),) = contradiction(field, sources, given).values()
    assert (one, other) == pytest.approx((1.2 * FWHM, FWHM), rel=0.03)
    assert asked == [([65], [35])]
    said = f"{one * field.pixel_scale:.2f} and {other * field.pixel_scale:.2f}"
    assert f"{len(places)} stars of the field differ" in caplog.text
    assert said in caplog.text


def test_what_is_beside_the_stars_is_said_with_file_and_band(caplog, monkeypatch):
    monkeypatch.setattr("galzoo.data.psf._NEIGHBOUR", -1.0)
    places = [(x, y) for x in (20, 50, 80, 110) for y in (20, 50, 80)]
    field, sources = point_field(places, shape=(100, 130))
    measured_psf(field, sources)
    assert f"{field.name}, band {field.bands[0]}, stack of its stars: something else" in caplog.text


def test_no_more_stars_are_said_than_are_stacked(caplog, monkeypatch):
    monkeypatch.setattr(psf, "_STACKED", 9)
    places = [(x, y) for x in (20, 50, 80, 110) for y in (20, 50, 80)]
    measured_psf(*point_field(places, shape=(100, 130)))
    assert "stack of 9 stars, FWHM" in caplog.text


def test_without_stars_the_seeing_is_the_width_of_the_smallest(caplog):
    """Half the light of a Gaussian is within half its FWHM; two sources are no branch."""
    field, sources = point_field(PLACES[:2])
    found = measured_psf(field, sources)[0, ..., 0]
    assert fwhm_of(found) == pytest.approx(FWHM, rel=0.05)


def test_the_brightest_stars_are_stacked(monkeypatch):
    monkeypatch.setattr(psf, "_STACKED", 3)
    field, sources = point_field(PLACES)
    read = []
    monkeypatch.setattr(psf, "around", lambda field, x, y, reach: read.append((x, y)) or around(field, x, y, reach))
    sources["snr"] = np.array([40.0, 90.0, 80.0, 70.0])
    measured_psf(field, sources)
    assert read == [PLACES[1], PLACES[2], PLACES[3]]


@pytest.mark.parametrize(("spoilt", "stacked"), [(0, [4, 4]), (1, [4, 3]), (2, [4, 4])])
def test_a_star_that_one_band_masks_serves_the_others(monkeypatch, spoilt, stacked):
    """With less than three left the stack has all of them."""
    image = np.full((80, 84, 2), 100.0)
    mask = np.zeros(image.shape, bool)
    for x, y in PLACES[:spoilt]:
        mask[y + 3, x, 1] = True
    field = ArrayField(image, np.ones(image.shape), mask, bands=("g", "r"))
    counts = []
    monkeypatch.setattr(
        psf, "psf_from_stars", lambda stars, **_: counts.append(len(stars)) or gaussian_of(3.0, 1)[0, ..., 0]
    )
    x, y = np.array(PLACES, float).T
    psf._stacked(field, {"x": x, "y": y, "a": np.full(4, 1.5)}, np.arange(4), np.full(4, 1.75))
    assert counts == stacked


def test_neighbours_and_the_edge_of_the_field_are_no_part_of_the_stack():
    """Four stars, each with a bright neighbour 10 pixels off, and one of them 7 pixels from the edge."""
    places = [(20, 20), (60, 20), (20, 60), (76, 60)]
    # 10 pixels off to the same side: no median takes them away.
    field, sources = point_field([*places, *((x, y + 10) for x, y in places)])
    found = psf._stacked(field, sources, np.arange(4), np.full(4, 1.75))[0][0, ..., 0]
    truth = gaussian(found.shape, *(np.array(found.shape) // 2), FWHM / 2.3548)
    np.testing.assert_allclose(found, truth / truth.sum(), atol=0.02 * truth.max())
    assert found[found.shape[0] // 2 + 10].sum() == pytest.approx(0, abs=0.005)
    near = psf._others(sources, 0, 12)
    assert near[12 + 10, 12]
    assert near[12 + 10 + 2, 12 + 3]
    assert not near[12, 12]
    assert not near[12 + 10 - 5, 12]


def test_in_a_band_that_hardly_sees_the_stars_the_psf_is_as_wide_as_in_the_others(caplog, monkeypatch):
    """Four stars with a signal-to-noise of some 10 each in the second band, where their stack would be noise."""
    rng = np.random.default_rng(5)
    image = np.zeros((84, 84, 2))
    for x, y in PLACES:
        image += gaussian(image.shape[:2], x, y, FWHM / 2.3548)[..., None] * [1e4, 100]
    image += rng.normal(size=image.shape)
    field = ArrayField(image, np.ones(image.shape), bands=("g", "u"))
    x, y = np.array(PLACES, float).T
    sources = {"x": x, "y": y, "a": np.full(4, 1.5)}
    monkeypatch.setattr(psf, "find_stars", lambda *_: (np.arange(4), np.full(4, FWHM / 2)))
    found = measured_psf(field, sources)[0]
    np.testing.assert_allclose(found.sum(axis=(0, 1)), 1, rtol=1e-5)
    wide, other = (fwhm_of(found[..., band]) for band in range(2))
    assert other == pytest.approx(wide, rel=0.05)
    assert found[..., 1].min() >= 0
    assert "its stars are too faint in u for a PSF; there it is a Gaussian as wide as in the other bands" in caplog.text
    # Nor does such a band say that a PSF is wrong.
    caplog.clear()
    monkeypatch.setattr(psf, "_WITNESSES", 4)
    other = gaussian_of([FWHM, 2 * FWHM], 2)
    assert contradiction(field, sources, constant_psf(other, field)) == {}
    assert not caplog.text


def test_faint_stars_have_little_say_in_the_stack():
    """Three of four are so faint that one pixel of noise is a tenth of their light."""
    rng = np.random.default_rng(2)
    star = gaussian((31, 31), 15, 15, FWHM / 2.3548)
    flux = np.array([3e4, 2e4, 1e4, 10.0, 10.0, 10.0])[:, None, None]
    stars = flux * star + rng.normal(size=(6, 31, 31))
    found = data_psf.psf_from_stars(stars, noise=np.ones(6))
    np.testing.assert_allclose(found, star / star.sum(), atol=0.01 * star.max())
    plain = data_psf.psf_from_stars(stars)
    assert np.abs(plain - star).max() > 3 * np.abs(found - star).max()


@pytest.mark.parametrize("slope", [2.5, 4.0])
def test_the_moffat_profile_of_a_stack_has_the_wings_of_the_core(slope):
    """An elliptical one, whose wings a companion that nobody saw, and the noise, hide."""
    y, x = np.indices((41, 41)) - 20.0
    form = (x / 3.2) ** 2 + (y / 2.6) ** 2 + 0.3 * x * y / 8.3
    truth = (1 + form) ** -slope
    truth /= truth.sum()
    stack = truth + np.random.default_rng(1).normal(0, 0.005 * truth.max(), truth.shape)
    stack[27:32, 27:32] += 0.1 * truth.max()
    found = psf.moffat_like(stack)
    np.testing.assert_allclose(found, truth, atol=0.02 * truth.max())
    assert found.sum() == pytest.approx(1, rel=1e-5)
    for radius in (4, 8):
        held = [one[np.hypot(x, y) <= radius].sum() for one in (found, truth)]
        assert held[0] == pytest.approx(held[1], abs=0.02)


def test_few_stars_are_a_moffat_profile_and_many_a_stack(caplog):
    places = [(x, y) for x in (20, 50, 80, 110) for y in (20, 50)]
    for count, form in ((7, "Moffat profile of 7 stars"), (8, "stack of 8 stars")):
        caplog.clear()
        measured_psf(*point_field(places[:count], shape=(80, 130)))
        assert form in caplog.text


def test_few_stars_are_said_to_be_few(caplog):
    places = [(x, y) for x in (20, 50, 80, 110) for y in (20, 50)]
    for count, said in ((7, True), (8, False)):
        caplog.clear()
        measured_psf(*point_field(places[:count], shape=(80, 130)))
        assert ("so few that its wings are uncertain" in caplog.text) is said


def test_seven_stars_contradict_no_psf(caplog):
    places = [(x, y) for x in (20, 50, 80, 110) for y in (20, 50)]
    for count, said in ((7, False), (8, True)):
        field, sources = point_field(places[:count], shape=(80, 130))
        given = constant_psf(gaussian_of(1.4 * FWHM, 1), field)
        assert bool(contradiction(field, sources, given)) is said
