"""Data and results show themselves in a line, and go to tables and NDData with their numbers."""

import numpy as np
import pytest

from galzoo.brief import counted
from galzoo.contracts.counts import Counts
from galzoo.contracts.deblended import Deblended
from galzoo.contracts.detections import Detections
from galzoo.contracts.prior import Samples
from galzoo.tasks.reconstruct.run import Reconstruction
from tests.conftest import make_stamps
from tests.scenes import make_scenes

IMAGE = np.zeros((2, 50, 50, 1), np.float32)


def test_one_is_not_many():
    assert [counted(n, "stamp") for n in (0, 1, 2)] == ["0 stamps", "1 stamp", "2 stamps"]


def deblended():
    present = np.array([[True, True], [True, False]])
    positions = np.arange(8.0).reshape(2, 2, 2)
    flux = np.arange(8.0).reshape(2, 2, 2)
    return Deblended(np.zeros((2, 2, 9, 9, 2)), flux, positions, present, flux_error=flux / 10, flags=present * 4)


def samples():
    return Samples(IMAGE, {"mag": np.array([22.0, np.nan])}, np.array([-3.0, -4.0]), ("r",), 0.2)


@pytest.mark.parametrize(
    "value",
    [
        make_stamps(n=24), make_scenes(n=3, size=32, bands=("r",)), samples(), deblended(),
        Counts(np.ones((500, 4)), np.ones(500), np.ones(500)),
        Detections(np.ones((500, 9, 2)), np.ones((500, 9)), np.ones((500, 9, 4))),
        Reconstruction(IMAGE, IMAGE, np.ones(2), 0.7, np.zeros((2, 5, 5), int)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_short_and_true(value):
    text = repr(value)
    assert text.startswith(type(value).__name__)
    assert len(text) < 1000
    assert "\n" not in text
    array = next(v for v in vars(value).values() if isinstance(v, np.ndarray))
    assert f"<{' x '.join(map(str, array.shape))} {array.dtype}>" in text
    assert value._repr_html_().count("<tr>") == text.count("=")


def test_nddata_and_table_of_stamps():
    stamps = make_stamps(n=3, bands=("g", "r"))
    data = stamps.to_nddata(1)
    np.testing.assert_array_equal(data.data, stamps.image[1])
    np.testing.assert_array_equal(data.uncertainty.array, stamps.variance[1])
    np.testing.assert_array_equal(data.psf, stamps.psf[0])
    assert str(data.unit) == "nJy"
    assert data.meta["id"] == "g1"
    table = stamps.to_table()
    table["width"][0] = -1
    assert stamps.catalogue["width"][0] > 0


def test_tables_of_results():
    table = deblended().to_table(("g", "r"))
    assert list(zip(table["blend"], table["source"], strict=True)) == [(0, 0), (0, 1), (1, 0)]
    assert list(table["flux_r"]) == [1, 3, 5]
    np.testing.assert_allclose(table["flux_err_g"], [0, 0.2, 0.4])
    assert list(table["y"]) == [1, 3, 5]
    drawn = samples().to_table()
    assert drawn.colnames == ["mag", "log_prob"]
    assert list(drawn["log_prob"]) == [-3, -4]


def test_plots():
    assert len(make_stamps(n=5).plot(rows=3).axes) >= 3
    assert make_scenes(n=2, size=32, bands=("r",)).plot().axes
