"""Completeness and purity beside a list, on cases that can be counted by hand."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from galzoo.errors import InputError
from galzoo.field.array_field import ArrayField
from galzoo.tasks.detect.completeness import (
    WithSources,
    _colours,
    _disc,
    _draw,
    _grid,
    against_truth,
    by_injection,
    read_truth,
)
from galzoo.tasks.detect.run import Settings

SCALE = 0.2


def case(off):
    """Return a field, what was detected in it, and what is there: three sources, the second `off` pixels away.

    Of four detections, of magnitudes 20.2, 21.2, 22.2 and 22.3, the last is of nothing.
    """
    field = ArrayField(np.zeros((200, 200, 1)), np.ones((200, 200, 1)), bands=("r",), pixel_scale=SCALE)
    magnitude = np.array([20.2, 21.2, 22.2, 22.3])
    flux = 10 ** (0.4 * (31.4 - magnitude))[:, None]
    rows = {
        "x": np.array([20.0, 60.0, 100.0, 150.0]), "y": np.array([30.0, 70.0, 110.0, 160.0]), "a": np.full(4, 1.0),
        "flux": flux, "aperture_flux": flux,
    }  # fmt: skip
    places = np.array([[20.0, 30.0], [60.0 + off, 70.0], [100.0, 110.0]])
    return field, rows, (places, magnitude[:3], "r")


@pytest.mark.parametrize(("off", "arcsec", "matched"), [(3, 1.0, 3), (3, 0.5, 2), (4.5, 1.0, 3), (6, 1.0, 2)])
def test_sources_are_matched_within_so_many_arcsec(off, arcsec, matched):
    summary = against_truth(*case(off), arcsec, 3.0)["summary"][0]
    assert (summary["listed"], summary["detected"], summary["matched"]) == (3, 4, matched)
    assert summary["completeness"][0] == pytest.approx(matched / 3)
    assert summary["purity"][0] == pytest.approx(matched / 4)


def test_bins_are_of_the_true_and_of_the_measured_magnitude():
    table = against_truth(*case(6), 1.0, 3.0)["table"]
    low = table["low"].value
    by = {edge: table[low == edge][0] for edge in (20.0, 21.0, 22.0)}
    assert [int(by[edge]["n"]) for edge in by] == [1, 1, 1]
    assert [float(by[edge]["completeness"]) for edge in by] == [1, 0, 1]
    assert [int(by[edge]["n_detected"]) for edge in by] == [1, 1, 2]
    # The second is not where its source is said to be, the last is of nothing.
    assert [float(by[edge]["purity"]) for edge in by] == [1, 0, 0.5]


@dataclasses.dataclass
class Seen:
    """A search that finds nothing and keeps the pixels that it was given."""

    field: object
    fwhm: float = 3.0
    planes: dict | None = None

    def psf_of(self, x, y):
        line = np.exp(-0.5 * ((np.arange(15) - 7) / 1.3) ** 2)
        psf = np.outer(line, line) / line.sum() ** 2
        return np.repeat(np.repeat(psf[None, ..., None], 2, axis=-1), len(x), axis=0)

    def run(self, tile, pieces=None, progress=False, field=None):
        self.planes = field.read(0, 200, 0, 200)
        nothing = {"x": np.zeros(0), "y": np.zeros(0), "flux": np.zeros((0, 2)), "aperture_flux": np.zeros((0, 2))}
        return nothing, None


@pytest.mark.parametrize(("number", "ratios"), [(30, (3.0, 0.5)), (9, (1.0, 1.0))])
def test_artificial_stars_have_the_colours_of_those_found_about_as_bright(number, ratios):
    field = ArrayField(np.zeros((200, 200, 2)), np.ones((200, 200, 2)), bands=("r", "i"), pixel_scale=SCALE)
    # Bright stars of r / i = 3, faint ones of 1 / 2.
    bright = np.repeat([True, False], number)
    flux = np.where(bright[:, None], [3000.0, 1000.0], [5.0, 10.0])
    rows = {"x": np.full(len(flux), 1.0), "y": np.full(len(flux), 1.0), "flux": flux, "aperture_flux": flux}
    for ratio, magnitude in zip(ratios, (23.5, 29.5), strict=True):
        search = Seen(field)
        settings = Settings(inject=9, inject_kind="star", inject_magnitudes=(magnitude - 0.1, magnitude + 0.1))
        assert not by_injection(search, rows, settings)["sources"]["found"].any()
        light = search.planes["image"].sum(axis=(0, 1))
        assert light[0] / light[1] == pytest.approx(ratio, rel=1e-3)


def test_bins_hold_their_brighter_limit():
    field, rows, (places, magnitude, band) = case(3)
    # A measured magnitude of exactly 21, and a source of exactly 22.
    flux = 10 ** (0.4 * (31.4 - np.array([20.2, 21.0, 22.2, 22.3])))[:, None]
    listed = places, np.array([20.2, 21.2, 22.0]), band
    table = against_truth(field, rows | {"flux": flux.round(12), "aperture_flux": flux}, listed, 1.0, 3.0)["table"]
    np.testing.assert_allclose(np.diff(table["low"].value), 0.5)
    assert int(table["n"][table["low"].value == 22.0][0]) == 1
    assert table["n_detected"].sum() == 4


@pytest.mark.parametrize(("axis", "fwhm", "merged"), [(4.0, 3.0, 1), (2.0, 3.0, 0), (0.5, 7.0, 1)])
def test_light_of_a_detection_reaches_two_sigma_and_a_fwhm_at_least(axis, fwhm, merged):
    """A source that has no detection lies 6 pixels off that of another."""
    field, rows, (places, magnitude, band) = case(3)
    listed = np.array([places[0], places[0] + [0, 6], places[2]]), magnitude, band
    rows = against_truth(field, rows | {"a": np.full(4, axis)}, listed, 1.0, fwhm)["outcomes"]
    second = next(row for row in rows if row["mag"] == "21 to 21.5")
    assert (second["merged"][0], second["undetected"][0]) == (merged, 1 - merged)


class Echo(Seen):
    """A search that finds each artificial source by its centroid, fainter by so many magnitudes, and what was there."""

    def __init__(self, field, fainter=0.0, known=((0.0, 0.0),)):
        super().__init__(field)
        self.fainter, self.known = fainter, np.array(known)

    def run(self, tile, pieces=None, progress=False, field=None):
        self.put = field
        light = np.array([image.sum(axis=(0, 1)) for image in field._images])
        places = []
        for corner, image in zip(field._corners, field._images, strict=True):
            y, x = np.indices(image.shape[:2])
            part = image[..., 0] / image[..., 0].sum()
            places.append(corner + [(part * x).sum(), (part * y).sum()])
        fainter = np.resize(self.fainter, len(light))[:, None]
        flux = np.concatenate([light * 10 ** (-0.4 * fainter), np.full((len(self.known), 2), 5e3)])
        x, y = np.concatenate([places, self.known]).T
        return {"x": x, "y": y, "flux": flux, "aperture_flux": flux}, None


def nothing(known=((0.0, 0.0),)):
    known = np.array(known)
    flux = np.ones((len(known), 2))
    return {"x": known[:, 0], "y": known[:, 1], "flux": flux, "aperture_flux": flux}


def two_bands(gain=None):
    return ArrayField(
        np.zeros((200, 200, 2)), np.full((200, 200, 2), 4.0), bands=("r", "i"), pixel_scale=SCALE, gain=gain
    )


def test_artificial_stars_are_measured_as_they_were_put_in():
    """Of five stars in a row one is fainter by a magnitude, which is not the star any more."""
    search = Echo(two_bands(), fainter=[0.0, 0.1, 0.3, 0.7, 1.0])
    settings = Settings(inject=20, inject_kind="star", inject_magnitudes=(22.0, 22.5), seed=3)
    found = by_injection(search, nothing(), settings)
    sources = found["sources"]
    assert set(sources["kind"]) == {"star"}
    np.testing.assert_array_equal(sources["found"], np.arange(20) % 5 != 4)
    np.testing.assert_allclose(sources["difference"], np.resize([0, 0.1, 0.3, 0.7, np.nan], 20), atol=2e-3)
    assert sources["magnitude"].min() > 22
    table = found["table"]
    assert table["completeness"][0] == pytest.approx(0.8)
    assert table["bias"][0].value == pytest.approx(0.2, abs=2e-3)
    # The 16th and 84th percentile of 16 numbers, four of each.
    assert table["scatter"][0].value == pytest.approx(0.35, abs=2e-3)
    other = by_injection(search, nothing(), Settings(**{**vars(settings), "seed": 4}))["sources"]
    assert not np.allclose(other["x"], sources["x"])
    again = by_injection(search, nothing(), settings)["sources"]
    np.testing.assert_array_equal(again["x"], sources["x"])


def test_what_was_there_before_keeps_its_detection():
    """A detection on a known source is not an artificial one's that lies half a pixel beside it."""
    settings = Settings(inject=4, inject_kind="star", inject_magnitudes=(22.0, 22.5))
    first = by_injection(Echo(two_bands()), nothing(), settings)["sources"]
    beside = [[first["x"][0] + 0.5, first["y"][0]]]

    class Only(Echo):
        def run(self, *arguments, **options):
            found, _ = super().run(*arguments, **options)
            return {key: value[-1:] for key, value in found.items()}, None

    search = Only(two_bands(), known=beside)
    there = nothing(beside)
    there["flux"] = there["aperture_flux"] = np.full((1, 2), 5e3)
    assert not by_injection(search, there, settings)["sources"]["found"].any()
    # What is fainter by five magnitudes does not take it.
    assert by_injection(search, nothing(beside), settings)["sources"]["found"].sum() == 1
    assert by_injection(search, nothing(), settings)["sources"]["found"].sum() == 1


def test_artificial_galaxies_have_their_half_light_radius_and_their_shapes():
    field = two_bands()
    search = Echo(field)
    sources = by_injection(search, nothing(), Settings(inject=6, inject_kind="galaxy", inject_magnitudes=(20, 20.1)))
    sources, ratios, angles = sources["sources"], [], []
    assert set(sources["kind"]) == {"galaxy"}
    for image, radius in zip(search.put._images, sources["radius"], strict=True):
        light = image[..., 0].astype(float)
        y, x = np.indices(light.shape)
        x, y = x - (light * x).sum() / light.sum(), y - (light * y).sum() / light.sum()
        xx, yy, xy = ((light * part).sum() / light.sum() for part in (x * x, y * y, x * y))
        # An exponential disc has moments of 3 scale lengths^2, its half-light radius is 1.678 of these; the PSF 1.3^2.
        size = (1.678**2 / 3 * np.sqrt((xx - 1.69) * (yy - 1.69) - xy**2)) ** 0.5 * SCALE
        assert size == pytest.approx(radius, rel=0.1)
        ratios.append(np.hypot((xx - yy) / 2, xy) / (xx + yy))
        angles.append(np.arctan2(2 * xy, xx - yy) / 2)
    assert max(ratios) > 0.1
    assert np.ptp(angles) > 0.5
    assert light.sum() == pytest.approx(10 ** (0.4 * (31.4 - sources["magnitude"][-1])), rel=0.02)


def test_artificial_sources_have_the_noise_of_their_photons():
    """A star of 1e5 nJy with a gain of 0.5 electrons per nJy has half as many photons; in i the gain is not known."""
    settings = Settings(inject=60, inject_kind="star", inject_magnitudes=(18.9, 18.901))
    search = Echo(two_bands(gain=[0.5, 0.0]))
    truth = 10 ** (0.4 * (31.4 - by_injection(search, nothing(), settings)["sources"]["magnitude"]))
    off = np.array([image.sum(axis=(0, 1), dtype=float) for image in search.put._images]) / truth[:, None] - 1
    expected = 1 / np.sqrt(0.5 * truth.mean())
    assert np.std(off[:, 0]) == pytest.approx(expected, rel=0.25)
    assert np.std(off[:, 1]) < 0.2 * expected


def test_depth_is_from_a_hundred_to_two_sigma_of_a_point():
    """Of noise 2 a pixel, which a point source of width s gathers on 4 pi s^2 pixels."""
    sources = by_injection(Echo(two_bands()), nothing(), Settings(inject=60, inject_kind="star"))["sources"]
    sigma = 2 * np.sqrt(4 * np.pi) * 3.0 / 2.3548
    bright, faint = 31.4 - 2.5 * np.log10(np.array([100, 2]) * sigma)
    assert bright < sources["magnitude"].min() < bright + 0.4
    assert faint - 0.4 < sources["magnitude"].max() < faint


def test_magnitudes_of_a_list_are_of_the_band_that_their_column_names():
    field = two_bands()
    field.mosaic = None
    for column, band in (("mag_r", "r"), ("imag", "i"), ("magnitude", "i")):
        table = Table({"x": [3.0, 900.0], "y": [4.0, 4.0], column: [21.0, 22.0]})
        places, magnitude, found = read_truth(table, {}, field)
        assert (places.tolist(), magnitude.tolist(), found) == ([[3, 4]], [21], band)


def test_sources_without_a_magnitude_are_there_but_in_no_bin(caplog):
    """Catalogues say -1, 99 or nothing; a bin for each magnitude from there on would be a table of empty rows."""
    field, rows, (places, magnitude, _) = case(3)
    field.mosaic = None
    x, y = np.vstack([places, [[150.0, 160.0], [10.0, 190.0], [190.0, 10.0]]]).T
    table = Table({"x": x, "y": y, "mag_r": [*magnitude, -1.0, 99.0, np.nan]})
    listed = read_truth(table, {}, field)
    assert "3 of 6 sources have no magnitude between 0 and 50 in mag_r" in caplog.text
    found = against_truth(field, rows, listed, 1.0, 3.0)
    assert (found["summary"][0]["listed"], found["summary"][0]["matched"]) == (6, 4)
    assert found["table"]["n"].sum() == 3
    assert found["table"]["low"].value.min() == 20
    assert found["table"]["high"].value.max() == 23
    # The fourth detection is of the source without a magnitude.
    assert found["table"]["purity"][found["table"]["low"].value == 22][0] == 1
    table["mag_r"] = -99.0
    with pytest.raises(InputError, match="truth: mag_r has no magnitude from 0 to 50.*--columns mag="):
        read_truth(table, {}, field)


def test_the_faintest_source_is_in_a_bin():
    field, rows, (places, _, band) = case(3)
    table = against_truth(field, rows, (places, np.array([20.0, 21.0, 23.0]), band), 1.0, 3.0)["table"]
    assert table["n"].sum() == 3


def listing(height=200, width=200, bands=("r", "i"), noise=2.0):
    """Return a field without light, on which lists of pixel positions can be read."""
    shape = (height, width, len(bands))
    field = ArrayField(np.zeros(shape), np.broadcast_to(np.square(noise), shape), bands=bands, pixel_scale=SCALE)
    field.mosaic = None
    return field


def test_rows_of_a_list_count_to_the_outer_edges_of_the_field():
    x = np.array([-0.6, -0.4, 199.4, 199.6, 7, 7, 7, 7])
    y = np.array([7, 7, 7, 7, -0.6, -0.4, 99.4, 99.6])
    places, magnitude, _ = read_truth(Table({"x": x, "y": y, "mag": np.arange(20.0, 28.0)}), {}, listing(100, 200))
    assert magnitude.tolist() == [21, 22, 25, 26]
    np.testing.assert_array_equal(places, np.stack([x, y], axis=-1)[[1, 2, 5, 6]])


def test_the_limits_of_magnitudes_stand_for_missing_ones():
    """Catalogues put 0 where there is no magnitude."""
    table = Table({"x": [3.0, 4.0, 5.0], "y": [4.0, 4.0, 4.0], "mag": [0.0, 21.0, 50.0]})
    np.testing.assert_array_equal(read_truth(table, {}, listing())[1], [np.nan, 21, np.nan])


def test_a_column_of_magnitudes_is_that_named_or_of_the_middle_band():
    table = Table({"x": [3.0], "y": [4.0], "mag": [21.0], "mag_i": [22.0], "mine": [23.0]})
    assert read_truth(table, {}, listing())[1] == [22]
    assert read_truth(table, {"mag": "mine"}, listing())[1] == [23]
    with pytest.raises(InputError, match="no column 'other'"):
        read_truth(table, {"mag": "other"}, listing())


@pytest.mark.parametrize(("bands", "band"), [(("u", "g", "i"), "i"), (("g", "r", "z"), "r")])
def test_magnitudes_of_no_band_are_of_i_or_else_of_the_middle_one(bands, band):
    table = Table({"x": [3.0], "y": [4.0], "mag": [21.0]})
    assert read_truth(table, {}, listing(bands=bands))[2] == band


def test_the_median_distance_is_in_arcsec():
    field, rows, (places, magnitude, band) = case(0)
    listed = places + [[1, 0], [0, 2], [4.5, 0]], magnitude, band
    assert against_truth(field, rows, listed, 1.0, 3.0)["summary"][0]["median distance (arcsec)"] == pytest.approx(0.4)


def test_measured_magnitudes_are_of_the_band_of_the_list_and_by_apertures_where_need_be():
    _, rows, (places, magnitude, _) = case(0)
    flux = np.concatenate([np.full((4, 1), 1e5), rows["flux"]], axis=1)
    # Of the first the detector says no flux.
    rows = rows | {"flux": np.where(np.arange(4)[:, None] == 0, np.nan, flux), "aperture_flux": np.full((4, 2), np.nan)}
    rows["aperture_flux"][0], rows["aperture_flux"][1] = flux[0], 1.0
    table = against_truth(listing(), rows, (places, magnitude, "i"), 1.0, 3.0)["table"]
    by = dict(zip(table["low"].value, table["n_detected"], strict=True))
    assert {low: n for low, n in by.items() if n} == {20.0: 1, 21.0: 1, 22.0: 2}


@pytest.mark.parametrize(("faintest", "step"), [(31.9, 0.5), (32.1, 1.0)])
def test_bins_are_of_half_a_magnitude_or_of_one_where_they_would_be_many(faintest, step):
    field, rows, (places, _, band) = case(0)
    table = against_truth(field, rows, (places, np.array([20.2, 21.2, faintest]), band), 1.0, 3.0)["table"]
    np.testing.assert_allclose(table["high"].value - table["low"].value, step)


def test_artificial_light_is_the_same_in_any_window_and_not_on_bad_pixels():
    mask = np.zeros((40, 50, 1), bool)
    mask[22, 31] = True
    field = ArrayField(np.ones((40, 50, 1)), np.ones((40, 50, 1)), mask, ("r",), SCALE)
    light = np.arange(63.0).reshape(7, 9, 1)
    # Two of them leave the field.
    corners = np.array([[27, 20], [-3, 15], [44, 37]])
    image = field.read(0, 40, 0, 50)["image"]
    for left, low in corners:
        for y, x in np.ndindex(7, 9):
            if 0 <= low + y < 40 and 0 <= left + x < 50:
                image[low + y, left + x] += light[y, x]
    image[mask] = 0
    added = WithSources(field, corners, [light.astype(np.float32)] * 3)
    np.testing.assert_array_equal(added.read(0, 40, 0, 50)["image"], image)
    np.testing.assert_array_equal(added.read(23, 40, 30, 49)["image"], image[23:40, 30:49])
    np.testing.assert_array_equal(added.read(0, 24, 2, 31)["image"], image[:24, 2:31])


class Beside(Echo):
    """A search that finds each source so many pixels beside its place; of those that come after `most` nothing."""

    def __init__(self, field, off, most=None):
        super().__init__(field)
        self.off, self.most = off, most

    def run(self, *arguments, **options):
        found, _ = super().run(*arguments, **options)
        kept = np.s_[: -1 if self.most is None else self.most]
        return {key: value[kept] + (self.off if key == "x" else 0) for key, value in found.items()}, None


@pytest.mark.parametrize(("match", "off", "found"), [(0.8, 3.5, 1), (0.8, 4.5, 0), (0.1, 0.8, 1), (0.1, 1.2, 0)])
def test_artificial_galaxies_must_be_found_within_so_many_arcsec_or_a_pixel(match, off, found):
    settings = Settings(inject=6, inject_kind="galaxy", inject_magnitudes=(22.0, 22.5), match=match)
    table = by_injection(Beside(two_bands(), off), nothing(), settings)["table"]
    assert table["completeness"][0] == found


def test_half_of_the_artificial_sources_are_stars_and_each_kind_has_its_completeness():
    class Stars(Echo):
        def run(self, *arguments, **options):
            found, _ = super().run(*arguments, **options)
            return {key: value[:-1][::2] for key, value in found.items()}, None

    settings = Settings(inject=12, inject_magnitudes=(22.0, 22.5))
    summary = by_injection(Stars(two_bands()), nothing(), settings)["summary"]
    assert [(row["kind"], row["n"], row["completeness"][0]) for row in summary] == [("star", 6, 1), ("galaxy", 6, 0)]


def test_bins_of_artificial_sources_begin_at_the_brighter_limit_and_hold_the_fainter():
    settings = Settings(inject=40, inject_kind="star", inject_magnitudes=(22.2, 23.0))
    table = by_injection(Echo(two_bands()), nothing(), settings)["table"]
    np.testing.assert_allclose(table["low"].value, [22.2, 22.7])
    assert table["n"].sum() == 40


def test_the_bias_of_a_single_source_is_not_known():
    settings = Settings(inject=1, inject_kind="star", inject_magnitudes=(22.0, 22.5))
    table = by_injection(Echo(two_bands()), nothing(), settings)["table"]
    assert table["n"][0] == 1
    assert np.isnan(table["bias"][0].value)


def test_artificial_sources_lie_all_over_the_field_in_cells_of_their_own():
    """Twenty on 100 x 400 pixels: cells of 3 rows and 9 columns, of which the middle 60 % may hold one."""
    places = _grid((100, 400), 20, np.random.default_rng(0))
    at = (places + 0.5) / [400 / 9, 100 / 3]
    assert len(np.unique(np.floor(at), axis=0)) == 20
    assert set(np.floor(at[:, 1])) == {0, 1, 2}
    assert {0, 8} < set(np.floor(at[:, 0]))
    # Five of ten cells are not all in the first row.
    assert np.ptp(_grid((100, 400), 5, np.random.default_rng(0))[:, 1]) > 30
    part = at % 1
    assert 0.2 <= part.min() < 0.3
    assert 0.7 < part.max() <= 0.8
    _grid((100, 400), 277, np.random.default_rng(0))
    with pytest.raises(InputError, match="--inject is 278; at most 277 artificial sources"):
        _grid((100, 400), 278, np.random.default_rng(0))


def test_the_depth_is_that_of_the_middle_band():
    field = listing(bands=("g", "i", "z"), noise=(1.0, 8.0, 1.0))
    field.gain, search = np.zeros(3), Seen(field)
    search.psf_of = lambda x, y: np.repeat(Seen.psf_of(search, x, y)[..., :1], 3, axis=-1)
    rows = {"x": np.zeros(0), "y": np.zeros(0), "flux": np.zeros((0, 3)), "aperture_flux": np.zeros((0, 3))}
    search.run = lambda *_, **__: (rows, None)
    magnitude = by_injection(search, rows, Settings(inject=60, inject_kind="star"))["sources"]["magnitude"]
    sigma = 8 * np.sqrt(4 * np.pi) * 3.0 / 2.3548
    bright, faint = 31.4 - 2.5 * np.log10(np.array([100, 2]) * sigma)
    assert bright < magnitude.min() < bright + 0.4
    assert faint - 0.4 < magnitude.max() < faint


def test_colours_are_of_the_twenty_nearest_in_magnitude():
    """Of 200 sources, one a hundredth of a magnitude, whose colours tell which they are; what has no light is none."""
    known = 22 + 0.01 * np.arange(200)
    middle = 10 ** (0.4 * (31.4 - known))
    flux = np.stack([middle * (1 + np.arange(200)), middle], axis=-1)
    flux = np.concatenate([flux, np.stack([-middle, middle], axis=-1), np.stack([middle * np.nan, middle], axis=-1)])
    rows = {"flux": flux, "aperture_flux": flux}
    ratios = _colours(rows, 1, np.full(500, 22.9951), np.random.default_rng(0))
    np.testing.assert_array_equal(ratios[:, 1], 1)
    assert set(ratios[:, 0].round().astype(int) - 1) == set(range(90, 110))


def test_artificial_galaxies_are_about_a_third_of_an_arcsec_large():
    search, n = Seen(two_bands()), 60
    radius = _draw(search, np.full((n, 2), 9.0), np.full(n, 22.0), np.ones((n, 2)), np.full(n, "galaxy"),
                   np.random.default_rng(1))[2]  # fmt: skip
    assert np.median(radius) == pytest.approx(0.35, rel=0.15)
    assert np.std(np.log(radius)) == pytest.approx(0.4, rel=0.2)


def gaussians(*widths):
    """Return Gaussian PSFs, (25, 25, band)."""
    lines = [np.exp(-0.5 * ((np.arange(25) - 12) / width) ** 2) for width in widths]
    return np.stack([np.outer(line, line) / line.sum() ** 2 for line in lines], axis=-1)


def test_discs_are_where_they_should_be_through_the_psf_of_each_band():
    place, radius, ratio, angle, widths = np.array([20.3, 33.8]), 3.0, 0.5, 0.4, (1.3, 2.0)
    corner, image = _disc(gaussians(*widths), place, radius, ratio, angle)
    y, x = np.indices(image.shape[:2])
    x, y = x + corner[0] - place[0], y + corner[1] - place[1]
    # An exponential disc has moments of 3 scale lengths^2; shear keeps its area.
    disc = 3 * (radius / 1.6783) ** 2
    for band, width in enumerate(widths):
        light = image[..., band].astype(float)
        assert light.sum() == pytest.approx(1, rel=0.005)
        np.testing.assert_allclose([(light * x).sum(), (light * y).sum()], 0, atol=0.02)
        xx, yy, xy = ((light * part).sum() / light.sum() for part in (x * x, y * y, x * y))
        assert (xx + yy) / 2 == pytest.approx(width**2 + disc * (ratio + 1 / ratio) / 2, rel=0.03)
        assert np.arctan2(2 * xy, xx - yy) / 2 == pytest.approx(angle, abs=0.01)


def test_images_of_discs_hold_their_light():
    """Along its axis an exponential disc of ratio 0.3 is 1.8 times as long as a round one."""
    image = _disc(gaussians(1.0)[8:17, 8:17], (20.0, 20.0), 4.0, 0.3, 0.0)[1]
    assert image.sum() == pytest.approx(1, abs=0.01)


def test_the_pixel_is_in_the_psf_and_not_in_the_disc():
    """A disc that is hardly wider than a point; a pixel would add 1/12 to its moments."""
    image = _disc(gaussians(1.3), (20.0, 20.0), 0.1, 1.0, 0.0)[1][..., 0].astype(float)
    x = np.arange(len(image)) - len(image) // 2
    assert (image * x**2).sum() / image.sum() == pytest.approx(1.3**2 + 3 * (0.1 / 1.6783) ** 2, abs=0.02)
