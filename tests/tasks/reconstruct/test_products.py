"""Which stamps the picture of a reconstruction shows, and what its catalogue says of bands that nobody observed."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.field.pieces import check_folder
from galzoo.tasks.reconstruct.products import absent_bands, catalogue, shown_rows, write_reconstruction
from galzoo.tasks.reconstruct.run import Reconstruction, reconstruct
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


def test_a_reconstruction_knows_its_stamps():
    """In the order of their bands; it draws them, and measures what the files have."""

    class Sharper:
        bands, model_sigma = ("r", "g"), 0.7

        def reconstruct(self, batch):
            return {"image": batch["image"], "deconvolved": batch["image"]}

    seen = make_stamps(n=3, bands=("g", "r"))
    seen.unit = "nJy"
    result = reconstruct(Sharper(), seen, refine_steps=0)
    np.testing.assert_array_equal(result.image, seen.image)
    with pytest.raises(InputError, match="batch_size is 0; give 1 stamp or more"):
        reconstruct(Sharper(), seen, batch_size=0)
    assert len(result.plot().axes) == 3 * 5 + 1
    assert len(result.plot(rows=[1], title="one").axes) == 5 + 1
    assert {"id", "chi2", "model_flux_g"} < set(result.to_table().colnames)
    assert "stamps" not in repr(result)
    for method in ("plot", "to_table"):
        with pytest.raises(InputError, match="without its stamps"):
            getattr(dataclasses.replace(result, stamps=None), method)()


def test_files_name_the_bands_that_are_guessed(one_band, tmp_path, caplog):
    write_reconstruction(*one_band, tmp_path)
    assert check_folder(tmp_path, "reconstruct")
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


def blob(x, y, sigma_x, sigma_y, size=(41, 51)):
    """Return a Gaussian of unit flux at x, y, wider than high or not; images are wider than high."""
    yy, xx = np.indices(size)
    light = np.exp(-0.5 * (((xx - x) / sigma_x) ** 2 + ((yy - y) / sigma_y) ** 2))
    return light / (2 * np.pi * sigma_x * sigma_y)


@pytest.fixture
def known():
    """Two galaxies whose shapes are known and an empty one; what is reconstructed differs from what is deconvolved."""
    turned = np.rot90(blob(25, 25, 3.0, 1.5, (51, 51)))[5:46]
    diagonal = np.zeros((41, 51))
    for step in np.linspace(-3, 3, 31):
        diagonal += blob(22 + step, 18 + step, 1.5, 1.5) / 31
    sharp = np.stack([400 * blob(22, 18, 3.0, 1.5), 300 * diagonal, 200 * turned, 0 * turned - 1], axis=0)
    sharp = np.stack([sharp, 2 * sharp], axis=-1).astype(np.float32)
    seen = Stamps(
        sharp + 7, ["g", "r"], 0.17, unit="nJy", survey="HSC", meta={"origin": "here"},
        catalogue=QTable({"id": list("abcd"), "ra": [1.0, 2, 3, 4]}),
    )  # fmt: skip
    codes = np.arange(4 * 6).reshape(4, 2, 3) + 500
    return seen, Reconstruction(sharp + 5, sharp, np.array([1.0, 2, 3, 4]), 0.9, codes)


def test_what_is_measured_is_what_was_drawn(known):
    table = catalogue(*known)
    # An ellipse of 3 by 1.5 pixels along x, then one towards y = x, then one along y.
    e = (3.0**2 - 1.5**2) / (3.0**2 + 1.5**2)
    np.testing.assert_allclose(table["model_e1"][[0, 2]], [e, -e], rtol=0.01)
    np.testing.assert_allclose(table["model_e2"][[0, 2]], 0, atol=0.01)
    assert table["model_e2"][1] > 0.3
    assert table["model_e1"][1] == pytest.approx(0, abs=0.02)
    np.testing.assert_allclose(table["model_sigma"][[0, 2]].value, np.sqrt(3.0 * 1.5), rtol=0.01)
    assert table["chi2"].tolist() == [1, 2, 3, 4]
    assert table["flag_shape"].tolist() == [False, False, False, True]
    assert not table["flag_no_data"].any()
    # A circle of 4 sigma, each band by itself: of 3 by 1.5 pixels 99.5 % of the light is in it.
    yy, xx = np.indices((41, 51))
    inside = np.hypot(xx - 22, yy - 18) < 4 * np.sqrt(4.5)
    part = blob(22, 18, 3.0, 1.5)[inside].sum()
    assert part < 0.9965
    assert table["model_flux_g"][0].to_value("nJy") == pytest.approx(400 * part, rel=2e-3)
    np.testing.assert_allclose(table["model_flux_r"].value, 2 * table["model_flux_g"].value, rtol=1e-5)
    # Where moments fail the flux is that of the whole stamp.
    assert table["model_flux_g"][3].value == -41 * 51
    assert table.meta["survey"] == "HSC"
    assert (table.meta["pixel_scale_arcsec"], table.meta["model_frame_sigma_pixels"]) == (0.17, 0.9)
    assert "right ascension" in table["ra"].info.description


def test_descriptions_of_the_user_stay_and_stamps_without_a_unit_have_none(known):
    known[0].catalogue["ra"].info.description = "mine"
    known[0].unit = ""
    table = catalogue(*known)
    assert table["ra"].info.description == "mine"
    assert table["model_flux_g"].unit is None


def test_files_hold_what_their_extensions_say(known, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("galzoo.viz.panels.reconstruction_panel", lambda *_, rows: shown.append(rows.tolist()))
    monkeypatch.setattr("galzoo.viz.panels.save", lambda *_: None)
    seen, found = known
    write_reconstruction(seen, found, tmp_path)
    assert shown == [[0, 1, 2, 3]]
    with fits.open(tmp_path / "reconstruction.fits") as hdus:
        for name, image in (("IMAGE", seen.image), ("RECONSTRUCTION", found.image), ("DECONVOLVED", found.deconvolved)):
            np.testing.assert_array_equal(hdus[name].data, np.moveaxis(image, -1, 1))
            assert (hdus[name].header["BUNIT"], hdus[name].header["PIXSCALE"]) == ("nJy", 0.17)
        np.testing.assert_array_equal(hdus["CODES"].data, found.codes)
        header = hdus[0].header
        assert [header[key] for key in ("PIXSCALE", "BUNIT", "MSIGMA")] == [0.17, "nJy", 0.9]
        assert [header[key] for key in ("BAND0", "BAND1")] == ["g", "r"]
    sharp = Stamps.load(tmp_path / "deconvolved.h5")
    np.testing.assert_array_equal(sharp.image, found.deconvolved)
    assert (sharp.bands, sharp.pixel_scale, sharp.unit, sharp.survey) == (("g", "r"), 0.17, "nJy", "HSC")
    assert (sharp.meta["model_sigma"], sharp.meta["origin"]) == (0.9, "here")
    assert list(sharp.catalogue["ra"]) == [1, 2, 3, 4]
    assert list(QTable.read(tmp_path / "catalogue.ecsv")["id"]) == list("abcd")


def test_where_nothing_was_observed_at_all_no_band_is_guessed(one_band):
    one_band[0].variance[:] = np.inf
    assert absent_bands(one_band[0]) == []
