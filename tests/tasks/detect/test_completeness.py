"""Completeness and purity beside a list, on cases that can be counted by hand."""

import dataclasses

import numpy as np
import pytest

from galzoo.field.array_field import ArrayField
from galzoo.tasks.detect.completeness import against_truth, by_injection
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
