"""What is written of a detected field, from numbers that were put in by hand."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.field.array_field import ArrayField
from galzoo.tasks.detect import report
from galzoo.tasks.detect.measure import FLAGS
from galzoo.tasks.detect.products import make_catalogue, position_angle, write_products
from tests.field.fields import wcs
from tests.reports import table_rows

BANDS, SCALE, SHAPE = ("g", "r"), 0.25, (60, 80)
CLASSES = ("galaxy", "star")
NAN = np.nan
ABOUT = {"method": "some", "fwhm_pixels": 4.0, "noise_correlation": 1.25}
ROWS = {
    "x": np.array([10.0, 17.0, 60.0]), "y": np.array([20.0, 20.0, 44.0]),
    "position_error": np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), "probability": np.array([0.9, 0.5, 0.75]),
    "class_probability": np.array([[0.8, 0.2], [0.3, 0.7], [0.9, 0.1]]),
    # The detector says no fluxes of the third.
    "flux": np.array([[100.0, 200.0], [300.0, 400.0], [NAN, NAN]]),
    "flux_error": np.array([[10.0, 11.0], [12.0, 13.0], [NAN, NAN]]),
    "aperture_flux": np.array([[1.0, 2.0], [3.0, 4.0], [500.0, 600.0]]),
    "aperture_flux_error": np.array([[0.1, 0.2], [0.3, 0.4], [14.0, 15.0]]), "snr": np.array([20.0, 30.0, 40.0]),
    "a": np.array([2.0, 4.0, 3.0]), "b": np.array([1.0, 1.5, 3.0]), "theta": np.pi / np.array([6, 3, 2]),
    "radius": np.array([2.0, 3.0, 5.0]), "shape": np.array([[0.1, 0.2, 4.0], [0.3, 0.4, 6.0], [0.0, 0.0, 8.0]]),
    "box": np.array([[8.0, 17.0, 12.0, 23.0], [15.0, 18.0, 20.0, 22.0], [55.0, 41.0, 66.0, 47.0]]),
    "flags": np.array([FLAGS["touching"], FLAGS["touching"] | FLAGS["edge"], 0]),
}  # fmt: skip


@pytest.fixture(scope="module")
def field():
    image = np.random.default_rng(0).normal(size=(*SHAPE, 2))
    field = ArrayField(image, np.ones(image.shape), bands=BANDS, pixel_scale=SCALE, name="folder/sky.fits")
    field.mosaic = SimpleNamespace(scales=(1.0, 10.0))
    return field


@pytest.fixture(scope="module")
def written(field, tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    instances = np.zeros(SHAPE, np.int32)
    for number, (x0, y0, x1, y1) in enumerate(ROWS["box"].astype(int), 1):
        instances[y0:y1, x0:x1] = number
    search = SimpleNamespace(
        classes=CLASSES, about=ABOUT, threshold=0.3, fwhm=4.0, classical=SimpleNamespace(correlation=1.25)
    )
    settings = SimpleNamespace(coco=True, report=True)
    write_products(field, ROWS, instances, search, folder, settings, {})
    return folder, QTable.read(folder / "catalogue.ecsv")


def test_every_number_is_in_its_column(written):
    _, table = written
    flux = {"g": np.array([100, 300, 500]), "r": np.array([200, 400, 600])}
    error = {"g": np.array([10, 12, 14]), "r": np.array([11, 13, 15])}
    far = np.hypot(43, 24)
    expected = {
        "x": [10, 17, 60], "y": [20, 20, 44], "x_err": [0.1, 0.3, 0.5], "y_err": [0.2, 0.4, 0.6],
        "probability": [0.9, 0.5, 0.75], "p_galaxy": [0.8, 0.3, 0.9], "p_star": [0.2, 0.7, 0.1],
        "nearest": [7, 7, far], "crowding": [1, 1, 0], "snr": [20, 30, 40], "a": [0.5, 1, 0.75],
        "b": [0.25, 0.375, 0.75], "theta": [30, 60, 90], "half_light_radius": [0.5, 0.75, 1.25], "e1": [0.1, 0.3, 0],
        "e2": [0.2, 0.4, 0], "intrinsic_radius": [1, 1.5, 2], "box_x0": [8, 15, 55], "box_y0": [17, 18, 41],
        "box_x1": [12, 20, 66], "box_y1": [23, 22, 47], "flags": [8, 9, 0],
    }  # fmt: skip
    for band in BANDS:
        expected |= {f"flux_{band}": flux[band], f"flux_err_{band}": error[band]}
        expected[f"mag_{band}"] = 31.4 - 2.5 * np.log10(flux[band])
        # A per cent of the flux is about a hundredth of a magnitude: the slope of the logarithm.
        expected[f"mag_err_{band}"] = 1.0857362 * error[band] / flux[band]
    for name, values in expected.items():
        np.testing.assert_allclose(np.asarray(table[name]), values, rtol=1e-6, err_msg=name)
    assert list(table["class"]) == ["galaxy", "star", "galaxy"]
    assert set(table.colnames) == {*expected, "id", "class"}
    meta = {"zero_point_ab": 31.4, "pixel_scale_arcsec": SCALE, "flag_bits": FLAGS, **ABOUT}
    assert {key: table.meta[key] for key in meta} == meta


def test_a_flux_of_the_detector_has_no_error_of_an_aperture(field):
    table = make_catalogue(field, ROWS | {"flux_error": np.full((3, 2), NAN)}, CLASSES)
    np.testing.assert_allclose(table["flux_err_g"].value, [NAN, NAN, 14])
    # The FWHM is not known, so neighbours are counted within 6 pixels.
    assert table["crowding"].tolist() == [0, 0, 0]


def test_an_axis_has_one_position_angle_whichever_way_it_points():
    one, other = (
        position_angle(wcs(), np.array([20.0]), np.array([30.0]), np.array([0.3 + turn])) for turn in (0, np.pi)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)
    assert 0 <= one[0] < 180


def test_headers_say_pixels_and_psf(written):
    folder, _ = written
    assert fits.getheader(folder / "instances.fits")["PIXSCALE"] == SCALE
    header = fits.getheader(folder / "catalogue.fits", 1)
    told = {key: header[key] for key in ("PSFFWHM", "NOISECOR", "PIXSCALE", "ZEROPT2")}
    assert told == {"PSFFWHM": 1.0, "NOISECOR": 1.25, "PIXSCALE": SCALE, "ZEROPT2": pytest.approx(28.9)}


def test_regions_reach_two_sigma_and_count_from_one(written):
    lines = (written[0] / "regions.reg").read_text().splitlines()[4:]
    places = [[float(one) for one in re.match(r"ellipse\(([^)]*)\)", line)[1].split(",")] for line in lines]
    np.testing.assert_allclose(places, [[11, 21, 4, 2, 30], [18, 21, 8, 3, 60], [61, 45, 6, 6, 90]])
    assert [line.partition(" # ")[2] for line in lines] == [
        "color=cyan text={1 0.90}", "color=yellow text={2 0.50}", "color=cyan text={3 0.75}",
    ]  # fmt: skip


def test_masks_of_coco_are_those_of_the_map(written):
    data = json.loads((written[0] / "instances.json").read_text())
    assert [one["area"] for one in data["annotations"]] == [4 * 6, 5 * 4, 11 * 6]
    names = {one["id"]: one["name"] for one in data["categories"]}
    assert [names[one["category_id"]] for one in data["annotations"]] == ["galaxy", "star", "galaxy"]


def test_the_report_counts_what_there_is(written):
    lines = table_rows(written[0] / "report.html")
    rows = {line[0]: line[1:] for line in lines}
    expected = {
        "bands": "g, r", "pixels": "80 x 60, 0.25 arcsec", "method": "some", "least probability": "0.3",
        "FWHM of the PSF": "1.00 arcsec", "correlation of the noise": "1.25", "sources": "3", "of class galaxy": "2",
        "of class star": "1", "sum of the probabilities": "2.15",
    }  # fmt: skip
    assert {name: rows[name][0] for name in expected} == expected
    flags = {name: [str(bit), "0"] for name, bit in FLAGS.items()} | {"touching": ["8", "2"], "edge": ["1", "1"]}
    assert {name: rows[name] for name in FLAGS} == flags
    brightest = [line for line in lines if len(line) > 5]
    assert [line[0] for line in brightest] == ["3", "2", "1"]
    assert brightest[1][1:6] == ["17", "20", "star", "0.5", "400 ± 13"]
    assert brightest[1][7:] == ["0.75", "9"]


def test_ellipses_are_on_their_sources(written, field, monkeypatch):
    """Averaged by two, pixel 0.5 is the first; the two with most light are drawn, at two sigma each way."""
    monkeypatch.setattr(report, "_SIDE", 40)
    monkeypatch.setattr(report, "_MOST_ELLIPSES", 2)
    truth = np.array([[0.5, 0.5], [20.5, 10.5]])
    axis = report.picture(field, written[1], CLASSES, truth).axes[0]
    drawn = {tuple(one.get_offsets()[0]): one for one in axis.collections}
    assert set(drawn) == {((60 - 0.5) / 2, (44 - 0.5) / 2), ((17 - 0.5) / 2, (20 - 0.5) / 2)}
    star = drawn[8.25, 9.75]
    np.testing.assert_allclose([star.get_widths()[0], star.get_heights()[0], star.get_angles()[0]], [8, 4, 60])
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[0, 0], [10, 5]])
