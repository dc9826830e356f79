"""What is written of a segmented field, from pixels that were put in by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.contracts.segmentation import Segmented
from galzoo.field.array_field import ArrayField
from galzoo.field.pieces import check_folder
from galzoo.tasks.segment.catalogue import FLAGS, make_catalogue
from galzoo.tasks.segment.products import write_products
from galzoo.tasks.segment.segments import split_segments
from tests.reports import table_rows

BANDS, SCALE, SHAPE = ("H", "V"), 0.06, (30, 40)
CLASSES = ("round", "flat", "background")
VARIANCE = np.array([4.0, 9.0])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three segments: two pixels of light 10 and 30 in H; three with none; one of light 50 beside what nobody saw."""
    folder = tmp_path_factory.mktemp("segment")
    image, labels = np.zeros((*SHAPE, 2)), np.zeros(SHAPE, np.int32)
    labels[:, 36:] = -1
    image[10, 12:14] = [[10.0, 90.0], [30.0, 60.0]]
    image[20, 5:8] = [[-1.0, 3.0], [-2.0, 3.0], [-3.0, 3.0]]
    image[25, 35] = [50.0, -5.0]
    labels[10, 12:14], labels[20, 5:8], labels[25, 35] = 1, 2, 3
    mask = np.zeros(image.shape, bool)
    mask[20, 7, 1] = True
    votes = np.zeros((3, *SHAPE), np.float32)
    votes[2] = 1
    votes[:, 10, 12], votes[:, 10, 13] = [0.5, 0.5, 0], [0.1, 0.7, 0.2]
    votes[:, 20, 5:8] = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.3, 0.7, 0]]).T
    votes[:, 25, 35] = [0.2, 0.3, 0.5]
    windows = np.where(labels < 0, 0, 9)
    windows[0, 0] = 25
    field = ArrayField(image, np.full(image.shape, VARIANCE), mask, BANDS, SCALE, name="folder/sky.fits")
    field.mosaic = SimpleNamespace(scales=(1.0, 1.0))
    settings = SimpleNamespace(stride=7, threshold=0.1, report=True)
    segmented = Segmented(votes, windows, labels, CLASSES)
    write_products(field, segmented, "H", folder, settings, {"preset": "some"})
    assert check_folder(folder, "segment")
    return folder, QTable.read(folder / "catalogue.ecsv"), segmented


def test_every_number_is_in_its_column(written):
    _, table, _ = written
    # The second has no light, so that its pixels count alike; a bad pixel has neither light nor noise.
    expected = {
        "id": [1, 2, 3], "x": [12.75, 6, 35], "y": [10, 20, 25], "x_peak": [13, 5, 35], "y_peak": [10, 20, 25],
        "npix": [2, 3, 1], "flux_H": [40, -6, 50], "flux_V": [150, 6, -5],
        "flux_err_H": np.sqrt([8, 12, 4]), "flux_err_V": np.sqrt([18, 18, 9]),
        "snr": np.array([40, -6, 50]) / np.sqrt([8, 12, 4]),
        "mag_H": [31.4 - 2.5 * np.log10(40), np.nan, 31.4 - 2.5 * np.log10(50)],
        "mag_err_V": 1.0857362 * np.sqrt(18) / np.array([150, 6, np.nan]),
        "flags": [0, FLAGS["no_light"] | FLAGS["bad_pixels"], FLAGS["rim"]],
    }  # fmt: skip
    round_, flat = 0.25 * 0.5 + 0.75 * 0.1, 0.25 * 0.5 + 0.75 * 0.7
    expected["p_round"] = [round_ / (round_ + flat), 0.6, 0.4]
    expected["p_flat"] = [flat / (round_ + flat), 0.4, 0.6]
    for name, values in expected.items():
        np.testing.assert_allclose(np.asarray(table[name]), values, rtol=1e-6, err_msg=name)
    assert list(table["class"]) == ["flat", "round", "flat"]
    meta = {"zero_point_ab": 31.4, "pixel_scale_arcsec": SCALE, "flag_bits": FLAGS}
    meta |= {"preset": "some", "stride": 7, "threshold": 0.1, "band": "H"}
    assert {key: table.meta[key] for key in meta} == meta
    assert table["flux_err_V"].info.description == "standard deviation of flux_V"
    assert table["p_flat"].info.description.startswith("share of flat in the classes")
    assert table["mag_H"].info.description == "AB magnitude of that, band H"


def test_places_and_snr_are_of_the_band_that_weighs():
    """Light of 30 and 10 in V beside a pixel below the sky, and next to what nobody saw by a corner alone."""
    image, labels = np.zeros((*SHAPE, 2)), np.zeros(SHAPE, np.int32)
    image[10, 12:15], labels[10, 12:15] = [[1.0, 30.0], [5.0, 10.0], [9.0, -40.0]], 1
    labels[11, 15] = -1
    votes = np.zeros((3, *SHAPE), np.float32)
    votes[0, 10, 12], votes[1, 10, 13:15] = 1, 1
    field = ArrayField(image, np.full(image.shape, VARIANCE), None, BANDS, SCALE)
    table = make_catalogue(field, Segmented(votes, np.ones(SHAPE, int), labels, CLASSES), "V")
    assert (table["x"][0].value, table["x_peak"][0].value) == (12.25, 12)
    assert (table["p_round"][0], table["p_flat"][0]) == (0.75, 0.25)
    assert table["snr"][0] == pytest.approx(0 / np.sqrt(27))
    assert table["flags"][0] == 0
    image[10, 14, 1] = -10
    field = ArrayField(image, np.full(image.shape, VARIANCE), None, BANDS, SCALE)
    table = make_catalogue(field, Segmented(votes, np.ones(SHAPE, int), labels, CLASSES), "V")
    assert table["snr"][0] == pytest.approx(30 / np.sqrt(27))


def test_a_segment_is_taken_apart_into_all_of_its_peaks():
    """Three in a row, 25 pixels from each other."""
    labels, light = np.zeros((9, 80), np.int32), np.zeros((9, 80))
    labels[2:7, 5:75] = 1
    x = np.array([12, 37, 62])
    light[:] = np.exp(-0.5 * ((np.arange(80) - x[:, None]) / 5) ** 2).sum(axis=0)
    light[4] *= 1.1
    found = split_segments(labels, light)
    assert found[4, x].tolist() == [1, 2, 3]
    assert found.max() == 3


def test_planes_are_the_votes(written):
    folder, _, segmented = written
    with fits.open(folder / "classes.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["ROUND", "FLAT", "BACKGROUND", "WINDOWS"]
        for hdu, plane in zip(hdus[1:], [*segmented.votes, segmented.windows], strict=True):
            np.testing.assert_array_equal(hdu.data, plane)
    np.testing.assert_array_equal(fits.getdata(folder / "segmentation.fits"), segmented.segmentation)


def test_the_report_counts_what_there_is(written):
    lines = table_rows(written[0] / "report.html")
    rows = {line[0]: line[1:] for line in lines}
    expected = {
        "bands": "H, V", "pixels": "40 x 30, 0.06 arcsec", "preset": "some", "windows": "every 7 pixels",
        "most windows on a pixel": "25", "pixels without a vote": "120", "sources": "3", "flag rim": "1",
        "flag bad_pixels": "1", "flag no_light": "1",
    }  # fmt: skip
    assert {name: rows[name][0] for name in expected} == expected
    # Of 30 x 36 pixels that have votes: round is first in the first of the first (of two equal ones) and two of the
    # second, flat in one of either.
    assert rows["round"] == ["1", "0.28 %"]
    assert rows["flat"] == ["2", "0.19 %"]
    assert rows["background"] == ["", "99.54 %"]
    brightest = [line for line in lines if len(line) > 6]
    assert [line[0] for line in brightest] == ["3", "1", "2"]
    assert brightest[1][1:4] == ["12.8", "10", "2"]
    assert brightest[1][5:] == ["14.1", "flat", "0.235", "0.765", "0"]
