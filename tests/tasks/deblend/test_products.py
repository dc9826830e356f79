"""What is written of a deblended field, from numbers that were put in by hand."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from matplotlib.figure import Figure

from galzoo.contracts.deblended import FLAGS
from galzoo.data.stamps import Stamps
from galzoo.field.array_field import ArrayField
from galzoo.tasks.deblend import report
from galzoo.tasks.deblend.catalogue_header import description
from galzoo.tasks.deblend.products import make_catalogue, write_products
from tests.field.fields import wcs
from tests.reports import table_rows

BANDS, SCALE, SHAPE = ("g", "r"), 0.25, (70, 90)
# In the order of their groups: the last two are of one chunk, and the first is of the next.
PLACES = np.array([[20.0, 30.0], [60.5, 12.0], [70.0, 66.0]])
GROUPS = np.array([0, 1, 2])
ABOUT = {"preset": "some", "method": "map", "fwhm": 3.0, "correlation": 1.25}


def numbers():
    """Return rows of three sources, every number its own: the second added, the third lost."""
    by_band = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    return {
        "x": PLACES[:, 0], "y": PLACES[:, 1], "group": GROUPS, "n_in_group": np.array([2, 1, 1]),
        "snr": np.array([50.0, 8.0, 9.0]), "row": np.array([1, -1, 0]),
        "flags": np.array([0, FLAGS["added"] | FLAGS["edge"], FLAGS["fallback"] | FLAGS["edge"]]),
        "flux": 100 * by_band, "flux_error": np.array([[10.0, 11.0], [np.nan, 12.0], [13.0, 14.0]]),
        "shape": np.tile([0.2, 0.1, 4.0], (3, 1)), "shape_error": np.tile([0.02, 0.01, 0.4], (3, 1)),
        "blendedness": 0.01 * by_band, "flux_like_err": 0.5 * by_band, "aperture_flux": 90 * by_band,
        "aperture_flux_err": 7 * by_band, "psf_flux": 80 * by_band, "psf_flux_err": 6 * by_band,
        "chi2": np.array([1.0, 1.5, 4.0]), "position_error": np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]),
    }  # fmt: skip


def save_chunk(path, chosen):
    rows = {key: value[chosen] for key, value in numbers().items()}
    boxes = np.stack([rows["x"].astype(int) - 3, rows["y"].astype(int) - 3, np.full(len(chosen), 8)], axis=-1)
    # Models are 10 in g and 20 in r, times the group; the window of the third reaches beyond the field.
    model = np.concatenate([np.tile((number + 1) * np.array([10.0, 20.0]), 64) for number in rows["group"]])
    stamps = np.repeat(rows["x"], 50).reshape(-1, 5, 5, 2)
    corner = {"stamp_x": rows["x"].astype(int) - 2, "stamp_y": rows["y"].astype(int) - 1}
    mask = np.zeros(stamps.shape, bool)
    mask[:, 0, 1] = True
    np.savez(path, **rows, **corner, model=model, box=boxes, stamps=stamps, stamp_mask=mask)
    return path


def psf_of(x, y):
    """A PSF whose corners tell where it is."""
    psf = np.zeros((len(x), 3, 3, 2))
    psf[:, 0, 0], psf[:, 2, 2] = x[:, None] / 1000, y[:, None] / 1000
    psf[:, 1, 1] = 1 - psf.sum(axis=(1, 2))
    return psf


@pytest.fixture(scope="module")
def field():
    image = np.random.default_rng(0).normal(size=(*SHAPE, 2)) + [5.0, 7.0]
    mask = np.zeros(image.shape, bool)
    mask[40, 50, 1] = True
    field = ArrayField(image, np.full(image.shape, [4.0, 9.0]), mask, BANDS, SCALE, name="folder/sky.fits")
    field.mosaic = SimpleNamespace(scales=(1.0, 10.0))
    return field


@pytest.fixture(scope="module")
def written(field, tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    chunks = [save_chunk(folder / "a.npz", np.array([1, 2])), save_chunk(folder / "b.npz", np.array([0]))]
    settings, labels = SimpleNamespace(stamp_size=5, report=False), np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    (folder / "work").mkdir()
    ids = np.array(["one", "two"])
    write_products(field, chunks, labels.astype("int32"), psf_of, ids, folder, folder / "work", settings, ABOUT)
    return folder, QTable.read(folder / "catalogue.ecsv")


def test_every_number_is_in_its_column(written):
    """The third is lost, so flux and error are the aperture's; the error that nobody said is that of the likelihood."""
    _, table = written
    assert list(table["id"]) == ["two", "added-1", "one"]
    np.testing.assert_array_equal(table["x_err"].value, [0.1, 0.3, 0.5])
    np.testing.assert_array_equal(table["y_err"].value, [0.2, 0.4, 0.6])
    expected = {
        "flux_g": [100, 300, 450], "flux_r": [200, 400, 540], "flux_err_g": [10, 1.5, 35], "flux_err_r": [11, 12, 42],
        "flux_like_err_g": [0.5, 1.5, 2.5], "flux_like_err_r": [1, 2, 3], "blendedness_g": [0.01, 0.03, 0.05],
        "blendedness_r": [0.02, 0.04, 0.06], "aperture_flux_g": [90, 270, 450], "aperture_flux_r": [180, 360, 540],
        "aperture_flux_err_g": [7, 21, 35], "aperture_flux_err_r": [14, 28, 42], "snr": [50, 8, 9],
        "psf_flux_g": [80, 240, 400], "psf_flux_err_r": [12, 24, 36], "extendedness": [0.2, 0.2, 0.2],
        # Two bands of 100 / 6 standard deviations each.
        "extendedness_err": np.full(3, 0.06 / np.sqrt(2)),
        "chi2": [1, 1.5, 4], "group": [0, 1, 2], "n_in_group": [2, 1, 1],
        "e1": [0.2, 0.2, np.nan], "e1_err": [0.02, 0.02, np.nan], "e2": [0.1, 0.1, np.nan],
        "e2_err": [0.01, 0.01, np.nan], "half_light_radius": [1, 1, np.nan],
        "half_light_radius_err": [0.1, 0.1, np.nan],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(np.asarray(table[name]), values, err_msg=name)
    assert str(table["half_light_radius"].unit) == str(table["half_light_radius_err"].unit) == "arcsec"
    meta = {"zero_point_ab": 31.4, "pixel_scale_arcsec": SCALE, "flag_bits": FLAGS, **ABOUT}
    assert {key: table.meta[key] for key in meta} == meta


def test_places_on_the_sky_are_those_of_the_pixels():
    field = ArrayField(np.zeros((*SHAPE, 2)), np.ones((*SHAPE, 2)), bands=BANDS, pixel_scale=SCALE, wcs=wcs())
    table = make_catalogue(field, numbers())
    np.testing.assert_allclose([table["ra"].value, table["dec"].value], wcs().all_pix2world(*PLACES.T, 0))


def test_model_and_residual_are_of_their_pixels(written, field):
    folder, _ = written
    planes = field.read(0, SHAPE[0], 0, SHAPE[1])
    expected = np.zeros((*SHAPE, 2))
    for number, (x, y) in enumerate(PLACES.astype(int), 1):
        expected[y - 3 : y + 5, x - 3 : x + 5] += number * np.array([10.0, 20.0])
    with fits.open(folder / "model.fits") as model, fits.open(folder / "residual.fits") as residual:
        for number, band in enumerate(BANDS):
            np.testing.assert_array_equal(model[band].data, expected[..., number])
            left = planes["image"][..., number] - expected[..., number]
            left[planes["mask"][..., number]] = np.nan
            np.testing.assert_allclose(residual[band].data, left, rtol=1e-6)
            for header in (model[band].header, residual[band].header):
                told = {key: header[key] for key in ("BUNIT", "MAGZERO", "FILTER", "PIXSCALE")}
                assert told == {"BUNIT": "nJy", "MAGZERO": 31.4, "FILTER": band, "PIXSCALE": SCALE}
        assert np.isnan(residual["r"].data[40, 50])


def test_stamps_have_masks_psfs_and_places_of_their_own(written):
    stamps = Stamps.load(written[0] / "stamps.h5")
    np.testing.assert_array_equal(stamps.image[:, 0, 0, 0], PLACES[:, 0])
    np.testing.assert_array_equal(np.argwhere(stamps.mask[..., 0]), [[row, 0, 1] for row in range(3)])
    np.testing.assert_allclose(stamps.psf[:, [0, 2], [0, 2], 0], PLACES / 1000, rtol=1e-6)
    np.testing.assert_allclose(stamps.catalogue["x"].value, PLACES[:, 0] % 1 + 2)
    np.testing.assert_allclose(stamps.catalogue["y"].value, PLACES[:, 1] % 1 + 1)
    np.testing.assert_allclose(stamps.catalogue["x_field"].value, PLACES[:, 0])
    np.testing.assert_allclose(stamps.catalogue["y_field"].value, PLACES[:, 1])


def test_regions_have_the_colour_and_the_size_in_pixels(written):
    """A half-light radius of 4 pixels is drawn twice as large; of what is lost there is no shape."""
    folder, _ = written
    first, added, lost = (folder / "sources.reg").read_text().splitlines()[4:]
    assert [re.search("color=([a-z]*)", line)[1] for line in (first, added, lost)] == ["green", "cyan", "red"]
    a, b = (float(value) for value in re.match(r"ellipse\(([^)]*)\)", first)[1].split(",")[2:4])
    assert np.sqrt(a * b) == pytest.approx(8, rel=1e-3)
    assert lost.startswith("circle(71.000,67.000")


@pytest.fixture(scope="module")
def shown(written, field, tmp_path_factory):
    """The report of that field: its rows by their first cell, and what was drawn."""
    folder, drawn = tmp_path_factory.mktemp("report"), []
    with fits.open(written[0] / "model.fits") as hdus, pytest.MonkeyPatch.context() as patch:
        model = np.stack([hdus[band].data for band in BANDS])
        patch.setattr(report, "_draw", lambda *what, **more: drawn.append(what) or Figure())
        planes = np.moveaxis(field.read(0, SHAPE[0], 0, SHAPE[1])["image"], -1, 0)
        report.write_report(field, written[1], model, planes - model, folder, ABOUT)
    return table_rows(folder / "report.html"), drawn


def test_the_report_counts_what_there_is(shown):
    lines = {line[0]: line[1:] for line in shown[0]}
    expected = {
        "bands": "g, r", "pixels": "90 x 70, 0.25 arcsec", "preset": "some", "method": "map",
        "FWHM of the PSF": "0.75 arcsec", "correlation of the noise": "1.25", "sources": "3", "groups": "3",
        "blended sources": "1", "added by the residual": "1", "fall-back to the aperture": "1",
        "median chi2 of the groups": "1.5",
    }  # fmt: skip
    assert {name: lines[name][0] for name in expected} == expected
    flags = {name: [str(bit), "0"] for name, bit in FLAGS.items()}
    flags |= {"added": ["128", "1"], "fallback": ["1", "1"], "edge": ["4", "2"]}
    assert {name: lines[name] for name in FLAGS} == flags


def test_the_report_lists_the_brightest_first(shown):
    """In r, the middle band: 540 of the aperture, then 400, then 200."""
    lines = [line for line in shown[0] if len(line) > 5]
    assert [line[0] for line in lines] == ["one", "added-1", "two"]
    assert lines[1][1:5] == ["60.5", "12", "1", "400 ± 12"]
    assert lines[1][6:] == ["0.04", "1.00 ± 0.10", "1.5", "132"]
    magnitude, error = (float(value) for value in lines[1][5].split(" ± "))
    assert magnitude == pytest.approx(31.4 - 2.5 * np.log10(400), abs=6e-3)
    assert error == pytest.approx(1.0857 * 12 / 400, abs=6e-4)


def test_residuals_are_drawn_in_units_of_their_noise(shown, written, field):
    """Over two bands of noise 2 and 3 with nothing left in the second at the bad pixel, which does not count."""
    (overview, titles), (zooms, _, marks) = shown[1]
    assert titles == ("field", "model", "residual / σ")
    planes, (x, y) = field.read(0, SHAPE[0], 0, SHAPE[1]), (10, 5)
    expected = (planes["image"][y, x, 0] / 2 + planes["image"][y, x, 1] / 3) / np.sqrt(2)
    assert overview[0][2].shape == SHAPE
    assert overview[0][2][y, x] == pytest.approx(expected, rel=1e-5)
    # The group of two is first; its window is as large as the field is high and begins at its left.
    assert zooms[0][2].shape == (70, 70)
    assert zooms[0][2][y, x] == pytest.approx(expected, rel=1e-5)
    assert zooms[0][2][40, 50] == pytest.approx(planes["image"][40, 50, 0] / 2, rel=1e-5)
    for (at_x, at_y, added), place, left, new in zip(marks, PLACES, (0, 20, 20), (False, True, False), strict=True):
        np.testing.assert_allclose([at_x[0], at_y[0], added[0]], [place[0] - left, place[1], new])


def test_large_fields_are_averaged_and_so_is_their_noise(field, monkeypatch):
    """Squares of 3 x 3 pixels have a third of the noise."""
    drawn = []
    monkeypatch.setattr(report, "_SIDE", 30)
    monkeypatch.setattr(report, "_draw", lambda rows, *others, **more: drawn.append(rows))
    planes = np.moveaxis(field.read(0, SHAPE[0], 0, SHAPE[1])["image"], -1, 0)
    report._overview(field, 0 * planes, planes)
    means = planes[:, 3:6, 6:9].mean(axis=(1, 2))
    found = drawn[0][0][2]
    assert found.shape == (23, 30)
    assert found[1, 2] == pytest.approx((means[0] / (2 / 3) + means[1] / (3 / 3)) / np.sqrt(2), rel=1e-5)


def test_columns_are_what_they_are_called():
    said = {
        "flux_err_r": "standard deviation of the flux, band r", "mag_g": "AB magnitude, band g",
        "flux_like_err_r": "error of the flux by noise alone, shapes held, band r",
        "flux_g": "total flux; of the aperture where fallback is set, band g",
        "aperture_flux_err_g": "standard deviation of the aperture flux, band g",
        "psf_flux_r": "deblended flux as if it were a star, band r", "y_err": "standard deviation of y",
        "e1": "distortion before the PSF, (a^2-b^2)/(a^2+b^2) along x", "flux_z": "",
    }  # fmt: skip
    assert {name: description(name, BANDS) for name in said} == said
