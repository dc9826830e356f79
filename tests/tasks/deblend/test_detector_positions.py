"""`galzoo deblend --detector`: its positions where it is sure, today's where it is not."""

import numpy as np
import pytest
from astropy.table import QTable

from galzoo.errors import InputError
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field.fields import BANDS, FWHM, SCALE, draw, least_squares, write
from tests.tasks.detect.fakes import Listed

# A merged pair, a single source and another.
SOURCES = [(25, 25, 900, 0), (28.5, 25, 900, 0), (60, 50, 800, 0), (95, 30, 800, 0)]


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    return write(tmp_path_factory.mktemp("field") / "field.fits", draw((80, 120), SOURCES))


def positions(field, folder, rows=None, **options):
    detector = None if rows is None else Listed(rows)
    settings = Settings(stamp_size=0, report=False, add_sources=False)
    deblend_field(
        field, folder, deblender=least_squares, detector=detector, seeing=FWHM * SCALE, bands=list(BANDS),
        settings=settings, **options,
    )  # fmt: skip
    table = QTable.read(folder / "catalogue.ecsv")
    return sorted(
        (x, y) for x, y in zip(np.round(table["x"].value, 1), np.round(table["y"].value, 1), strict=True)
    ), table


def near(found, truth):
    np.testing.assert_allclose(found, truth, atol=0.4)


def test_without_one_the_pair_is_one_source(field, tmp_path):
    found, _ = positions(field, tmp_path)
    near(found, [(26.7, 25), (60, 50), (95, 30)])


def test_positions_of_sure_detections(field, tmp_path):
    found, table = positions(field, tmp_path, [(25, 25, 0.9), (28.5, 25, 0.8), (60, 50, 0.9), (95, 30, 0.9)])
    near(found, [place[:2] for place in SOURCES])
    assert sorted(table["n_in_group"]) == [1, 1, 2, 2]
    assert not any(str(name).startswith("added") for name in table["id"])


def test_doubt_and_silence_leave_todays_positions(field, tmp_path):
    found, _ = positions(field, tmp_path, [(25, 25, 0.9), (28.5, 25, 0.4), (60.2, 50, 0.3)])
    near(found, [(26.7, 25), (60, 50), (95, 30)])


def test_what_only_the_detector_sees_is_added(field, tmp_path):
    rows = [(25, 25, 0.9), (28.5, 25, 0.9), (60, 50, 0.9), (95, 30, 0.9), (110, 70, 0.7), (12, 70, 0.4)]
    found, _ = positions(field, tmp_path, rows)
    near(found, [place[:2] for place in SOURCES] + [(110, 70)])


def test_not_both(field, tmp_path):
    with pytest.raises(InputError, match="both --detector and --catalog"):
        positions(field, tmp_path, [(25, 25, 0.9)], catalogue=QTable({"x": [1.0], "y": [1.0]}))
