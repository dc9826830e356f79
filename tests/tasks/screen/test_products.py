"""What is written of a screened catalogue, from numbers that were put in by hand, and what a counter is shown."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.field.array_field import ArrayField
from galzoo.tasks.screen.field import Settings, cut, screen_rows, trained_share
from galzoo.tasks.screen.flags import FLAGS
from galzoo.tasks.screen.products import write_products
from tests.reports import table_rows

NAN = np.nan
ABOUT = {"catalogue": "folder/sources.fits", "prevalence": 0.2, "trained_share": 0.4, "passes": 7}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Four sources: the third is off the field, the last the most suspicious."""
    folder = tmp_path_factory.mktemp("screen")
    result = {
        "id": np.array(["a", "b", "c", "d"]), "x": np.array([1.0, 2, 3, 4]), "y": np.array([5.0, 6, 7, 8]),
        "ra": np.array([150.0, 151, 152, 153]), "dec": np.array([2.0, 3, 4, 5]),
        "p_blend": np.array([0.1, 0.5, NAN, 0.9]), "entropy": np.array([0.2, 0.3, NAN, 0.6]),
        "probability": np.array([[0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [NAN] * 3, [0.05, 0.15, 0.8]]),
        "mutual_information": np.array([0.01, 0.02, NAN, 0.03]),
        "flags": np.array([FLAGS["edge"], FLAGS["edge"] | FLAGS["saturated"], FLAGS["off_field"], 0]),
        "stamp": np.random.default_rng(0).normal(size=(4, 16, 16)),
    }  # fmt: skip
    write_products(result, folder, ABOUT, fits.Header())
    return folder, QTable.read(folder / "screen.ecsv")


def test_every_number_is_in_its_column(written):
    folder, table = written
    expected = {
        "ra": [150, 151, 152, 153], "dec": [2, 3, 4, 5], "x": [1, 2, 3, 4], "y": [5, 6, 7, 8],
        "p_blend": [0.1, 0.5, NAN, 0.9], "p_0": [0.1, 0.2, NAN, 0.05], "p_1": [0.6, 0.3, NAN, 0.15],
        "p_2": [0.3, 0.5, NAN, 0.8], "entropy": [0.2, 0.3, NAN, 0.6], "mutual_information": [0.01, 0.02, NAN, 0.03],
        "flags": [2, 10, 1, 0],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(np.asarray(table[name]), values, err_msg=name)
    assert list(table["id"]) == ["a", "b", "c", "d"]
    assert table["p_2"].info.description == "probability of 2 or more sources, as in training"
    assert table["p_1"].info.description == "probability of 1 sources, as in training"
    assert "if a share of 0.2 are blends" in table["p_blend"].info.description
    assert {key: table.meta[key] for key in (*ABOUT, "flag_bits")} == ABOUT | {"flag_bits": FLAGS}
    header = fits.getheader(folder / "screen.fits", 1)
    assert (header["PREVAL"], header["TRAINED"]) == (0.2, 0.4)


def test_the_report_shows_the_most_suspicious_first(written):
    lines = table_rows(written[0] / "report.html")
    rows = {line[0]: line[1:] for line in lines if len(line) == 2}
    expected = {"sources": "4", "screened": "3", "p_blend above 0.5": "1", "flag edge": "2", "flag saturated": "1"}
    expected |= {"flag off_field": "1", "flag no_light": "0", "prevalence": "0.2", "passes": "7"}
    assert {name: rows[name][0] for name in expected} == expected
    assert [line for line in lines if len(line) == 5] == [
        ["d", "0.9", "0.6", "0.03", "0"], ["b", "0.5", "0.3", "0.02", "10"], ["a", "0.1", "0.2", "0.01", "2"],
    ]  # fmt: skip


def test_a_preset_says_how_many_blends_it_was_trained_on():
    assert trained_share({"metrics": {"blended_share": 0.3}}) == 0.3
    for unknown in ({}, {"metrics": None}, {"metrics": {"blended_share": 0.0}}, {"metrics": {"blended_share": 1}}):
        assert trained_share(unknown) == 0.5


def field(bands=("g", "r")):
    """A field whose pixels tell where they are, 100 y + x in g, and half as much in r."""
    y, x = np.indices((40, 60))
    image = np.stack([100.0 * y + x, 50.0 * y + 0.5 * x], axis=-1)
    return ArrayField(image, np.full(image.shape, 1e8), bands=bands)


def test_stamps_are_about_the_pixel_of_the_source():
    """Of an odd side the middle pixel is the source's; of an even one the middle is within half a pixel of it."""
    for size, x0, y0 in ((9, 16, 8), (8, 17, 9)):
        planes, flags = cut(field(), np.array([20.4, 12.4]), np.zeros((0, 2)), size)
        assert flags == 0
        assert planes["image"][0, 0, 0] == 100 * y0 + x0, size
    for place, edge in (([3.0, 20.0], True), ([30.0, 36.0], True), ([55.0, 35.0], False), ([4.0, 4.0], False)):
        assert bool(cut(field(), np.array(place), np.zeros((0, 2)), 9)[1] & FLAGS["edge"]) == edge


def test_a_counter_sees_its_bands_in_its_order_and_chunks_have_seeds_of_their_own(monkeypatch):
    from galzoo.tasks.screen import field as module

    asked = []

    class Counter:
        def count(self, batch, passes, seed):
            asked.append((batch, passes, seed))
            n = len(batch["image"])
            one = np.arange(n) + 10.0 * len(asked)
            return SimpleNamespace(
                probability=np.stack([one, one + 1], axis=-1), blended=one + 2, entropy=one + 3,
                mutual_information=one + 4,
            )  # fmt: skip

    monkeypatch.setattr(module, "_TOGETHER", 2)
    x, y = np.array([20.0, 30.0, 99.0, 40.0, 50.0]), np.array([20.0, 15.0, 10.0, 20.0, 25.0])
    psf = np.arange(18.0).reshape(1, 3, 3, 2)
    # The counter reads r, another band that is not there, and g.
    found = screen_rows(
        Counter(), field(), x, y, np.array([3, 2, 0, 4]), 8, [1, None, 0], psf, Settings(passes=5, seed=30)
    )
    assert [(len(batch["image"]), passes, seed) for batch, passes, seed in asked] == [(1, 5, 30), (2, 5, 32)]
    batch = asked[0][0]
    np.testing.assert_allclose(batch["image"][0, 0, 0], [0.5 * (100 * 17 + 37), 0, 100 * 17 + 37])
    assert batch["mask"][0, ..., 1].all()
    assert not batch["mask"][0, ..., [0, 2]].any()
    assert np.isinf(batch["variance"][0, ..., 1]).all()
    np.testing.assert_array_equal(batch["psf"][0, ..., [0, 2]], np.moveaxis(psf[0][..., [1, 0]], -1, 0))
    np.testing.assert_array_equal(found["flags"], [0, FLAGS["off_field"], 0, 0])
    np.testing.assert_array_equal(found["probability"][:, 1], [11, NAN, 21, 22])
    np.testing.assert_array_equal(found["p_blend_trained"], [12, NAN, 22, 23])
    np.testing.assert_array_equal(found["entropy"], [13, NAN, 23, 24])
    np.testing.assert_array_equal(found["mutual_information"], [14, NAN, 24, 25])
    # The first of the counter's bands that is there.
    assert found["stamp"][0, 0, 0] == 0.5 * (100 * 17 + 37)
