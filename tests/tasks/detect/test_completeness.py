"""Completeness and purity beside a list, on cases that can be counted by hand."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from galzoo.errors import InputError
from galzoo.field.array_field import ArrayField
from galzoo.tasks.detect.completeness import against_truth, by_injection, read_truth
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
    sources, ratios = sources["sources"], []
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
    assert max(ratios) > 0.1
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
