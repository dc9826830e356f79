"""Large sources come off first: several in one place, in a catalogue, with what is near them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.contracts.deblended import FLAGS
from galzoo.field.halos import Halo
from galzoo.tasks.deblend.halos import paint_halos
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field.fields import BANDS, draw, least_squares, write, write_psf

SHAPE = (300, 340)
LARGE = [(120, 150, 6e5, 16.0), (225, 160, 4e5, 14.0)]
FAINT = [(120 + 45, 150 - 35, 3000, 0.0), (225 + 20, 160 + 50, 3000, 0.0), (30, 40, 3000, 0.0)]


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halos")
    write(folder / "field.fits", draw(SHAPE, [*LARGE, *FAINT]))
    write_psf(folder / "psf.fits")
    return folder


def deblended(folder, name, catalogue=None):
    settings = Settings(stamp_size=32, report=False, add_sources=False)
    deblend_field(
        folder / "field.fits", folder / name, deblender=least_squares, bands=BANDS, psf=folder / "psf.fits",
        settings=settings, catalogue=catalogue, subtract_sky=False,
    )  # fmt: skip
    return QTable.read(folder / name / "catalogue.ecsv")


def nearest(table, place):
    return table[np.hypot(table["x"].value - place[0], table["y"].value - place[1]).argmin()]


@pytest.fixture(scope="module")
def found(field):
    return deblended(field, "out")


def test_two_large_sources_in_one_group_are_both_measured(found):
    for source in LARGE:
        row = nearest(found, source)
        assert np.hypot(row["x"].value - source[0], row["y"].value - source[1]) < 1
        assert row["flags"] == FLAGS["truncated"]
        for band, part in zip(BANDS, (0.6, 1.0, 1.3), strict=True):
            assert row[f"flux_{band}"].value == pytest.approx(part * source[2], rel=0.03)
    assert len(np.unique([nearest(found, source)["group"] for source in LARGE])) == 2


def test_what_lies_on_them_is_found_and_nothing_else_is(found):
    assert len(found) == len(LARGE) + len(FAINT)
    for source in FAINT:
        row = nearest(found, source)
        assert not row["flags"]
        assert row["flux_r"].value == pytest.approx(source[2], rel=0.12)
        assert row["flux_r"].value == pytest.approx(source[2], abs=4 * row["flux_err_r"].value)


def test_model_residual_and_stamps_are_those_of_the_profiles(field, found):
    with fits.open(field / "out" / "residual.fits") as hdus:
        residual = hdus["R"].data
    assert np.std(residual) < 1.4
    row = nearest(found, LARGE[0])
    labels = fits.getdata(field / "out" / "segmentation.fits")
    assert labels[150, 120] == labels[150, 85] == row["group"] + 1


def test_rows_of_a_catalogue_keep_their_names(field):
    places = np.array([*FAINT[:2], LARGE[1], LARGE[0], FAINT[2]])[:, :2]
    names = ["first", "second", "right", "left", "far"]
    table = deblended(field, "listed", QTable({"id": names, "x": places[:, 0], "y": places[:, 1]}))
    assert sorted(table["id"]) == sorted(names)
    for name, place in zip(names, places, strict=True):
        row = table[np.asarray(table["id"]) == name][0]
        assert np.hypot(row["x"].value - place[0], row["y"].value - place[1]) < 1
    assert [bool(table["flags"][table["id"] == name][0] & FLAGS["truncated"]) for name in names] == [0, 0, 1, 1, 0]


def test_labels_are_painted_where_a_halo_is_seen_and_nothing_else_is():
    halo = Halo(
        x=12.0, y=9.0, drift=np.zeros((1, 3)), ratio=0.5, theta=0.0, radii=np.array([0.0, 9.0]),
        profile=np.ones((2, 1)), mean=np.ones((2, 1)), error=np.ones((2, 1)), seen=6.0,
    )  # fmt: skip
    labels = np.zeros((20, 22), np.int32)
    labels[9, 14] = 3
    paint_halos(labels, [halo], [7])
    y, x = np.indices(labels.shape)
    wanted = np.where(np.hypot(x - 12, (y - 9) / 0.5) <= 6, 8, 0)
    wanted[9, 14] = 3
    np.testing.assert_array_equal(labels, wanted)
