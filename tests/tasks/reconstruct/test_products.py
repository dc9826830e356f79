"""Which stamps the picture of a reconstruction shows, and what its catalogue says of bands that nobody observed."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.data.stamps import Stamps
from galzoo.tasks.reconstruct.products import catalogue, shown_rows, write_reconstruction
from galzoo.tasks.reconstruct.run import Reconstruction
from tests.conftest import make_stamps


def stamps(n=12, **columns):
    """Return stamps whose brightness falls with their row, of which the brightest four are half masked."""
    image = np.ones((n, 8, 8, 1), np.float32) * np.arange(n, 0, -1)[:, None, None, None]
    mask = np.zeros(image.shape, bool)
    mask[:4, :4] = True
    return Stamps(image, ["r"], 0.2, mask=mask, catalogue=QTable({"id": np.arange(n), **columns}))


def test_the_brightest_whole_stamps_are_shown():
    assert shown_rows(stamps(), 2).tolist() == [4, 5]
    # As far as there are such.
    assert shown_rows(stamps(), 4).tolist() == [0, 1, 2, 3]
    assert shown_rows(stamps(snr=np.arange(12.0)), 2).tolist() == [10, 11]
    assert shown_rows(stamps(), 40).tolist() == list(range(12))


def test_without_masks_brightness_alone_counts():
    plain = stamps()
    plain.mask = None
    plain.image[7] = np.nan
    plain.image[9] = 100
    assert shown_rows(plain, 2).tolist() == [0, 9]


@pytest.fixture
def one_band():
    """Stamps of two bands of which g was never observed, and r not in the last stamp; a model that guesses g."""
    seen = make_stamps(n=3, bands=("g", "r"))
    seen.unit = "nJy"
    seen.variance = np.array(seen.variance)
    seen.variance[..., 0], seen.variance[2] = np.inf, np.inf
    sharp = np.array(seen.truth)
    sharp[..., 0] = 0
    # What is guessed is far from the galaxy.
    sharp[:, 2:5, 2:5, 0] = 1e4
    return seen, Reconstruction(np.array(seen.image), sharp, np.array([1.0, 1.0, np.nan]), 0.7)


def test_bands_that_were_not_observed_have_no_flux_and_no_part_in_shapes(one_band):
    table = catalogue(*one_band)
    assert np.isnan(table["model_flux_g"]).all()
    assert np.isfinite(table["model_flux_r"]).tolist() == [True, True, False]
    total = one_band[0].truth[:2, ..., 1].sum(axis=(1, 2))
    np.testing.assert_allclose(table["model_flux_r"].to_value("nJy")[:2], total, rtol=0.05)
    assert not table["flag_shape"][:2].any()
    assert table["flag_no_data"].tolist() == [False, False, True]


def test_new_columns_have_descriptions_and_units(one_band):
    table = catalogue(*one_band)
    new = [name for name in table.colnames if name not in one_band[0].catalogue.colnames or name == "id"]
    assert {"chi2", "model_flux_r", "model_e1", "flag_shape"} < set(new)
    assert all(table[name].info.description for name in new)
    assert (table["model_flux_r"].unit, table["model_sigma"].unit) == ("nJy", "pix")


def test_files_name_the_bands_that_are_guessed(one_band, tmp_path, caplog):
    write_reconstruction(*one_band, tmp_path)
    assert caplog.text.count("bands g were not observed") == 1
    header = fits.getheader(tmp_path / "reconstruction.fits")
    assert "not observed" in header.comments["BAND0"]
    assert not header.comments["BAND1"]
    assert Stamps.load(tmp_path / "deconvolved.h5").meta["not_observed"] == "g"


def test_stamps_of_all_bands_say_nothing(tmp_path, caplog):
    stamps = make_stamps(n=2, bands=("g", "r"))
    write_reconstruction(stamps, Reconstruction(stamps.image, stamps.truth, np.ones(2), 0.7), tmp_path)
    assert "not observed" not in caplog.text
    assert "not_observed" not in Stamps.load(tmp_path / "deconvolved.h5").meta
