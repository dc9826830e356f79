"""Bad PSFs, catalogues, presets, options and folders are named in one line; nothing that was written is lost."""

import os
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from galzoo import cli
from galzoo.errors import GalzooError, InputError
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field.fields import BANDS, FWHM, gaussian, least_squares, write, write_psf
from tests.tasks.deblend.test_bad_inputs import deblend, fails, good, plane


@pytest.fixture
def field(tmp_path):
    return write(tmp_path / "field.fits", good())


# PSF


def test_psf_missing(field, tmp_path):
    fails(field, tmp_path, "psf.fits", "no such file", psf=tmp_path / "psf.fits", seeing=None)


def test_psf_of_wrong_number_of_bands(field, tmp_path):
    path = tmp_path / "psf.fits"
    fits.writeto(path, np.stack([gaussian((21, 21), 10, 10, 1.5)] * 2))
    fails(field, tmp_path, "2 PSFs for 3 bands", psf=path, seeing=None)


def test_psf_with_nan(field, tmp_path):
    image = gaussian((21, 21), 10, 10, 1.5)
    image[4, 4] = np.nan
    fails(field, tmp_path, "psf.fits", "not finite", psf=plane(tmp_path / "psf.fits", image), seeing=None)


def test_psf_with_a_background(field, tmp_path):
    image = gaussian((21, 21), 10, 10, 1.5) + 0.01
    fails(field, tmp_path, "psf.fits", "background", psf=plane(tmp_path / "psf.fits", image), seeing=None)


def test_psf_of_zeros(field, tmp_path):
    path = plane(tmp_path / "psf.fits", np.zeros((21, 21)))
    fails(field, tmp_path, "psf.fits", "not positive", psf=path, seeing=None)


def test_psf_not_normalised_and_of_even_size(field, tmp_path):
    one = deblend(field, tmp_path, psf=write_psf(tmp_path / "a.fits"), seeing=None)
    image = 1234 * gaussian((24, 24), 11.5, 11.5, FWHM / 2.3548)
    other = deblend(field, tmp_path, psf=plane(tmp_path / "b.fits", image), seeing=None)
    np.testing.assert_allclose(other["flux_r"].value, one["flux_r"].value, rtol=0.02)


def test_psf_and_seeing(field, tmp_path):
    fails(field, tmp_path, "both --psf and --seeing", psf=write_psf(tmp_path / "psf.fits"))


@pytest.mark.parametrize("seeing", [0.0, -1.0, np.nan])
def test_seeing_that_is_none(field, tmp_path, seeing):
    fails(field, tmp_path, "--seeing", seeing=seeing)


def test_no_psf_and_nothing_to_measure_it_on(tmp_path):
    path = write(tmp_path / "f.fits", good(sources=[(40, 36, 250, 4)]))
    fails(path, tmp_path, "--psf or --seeing", seeing=None)


def test_psf_array_of_wrong_shape(field, tmp_path):
    fails(field, tmp_path, "psf has shape", psf=np.ones((1, 9, 9, 2)), seeing=None)


# Catalogues


def listed(folder, columns):
    Table(columns).write(folder / "cat.ecsv", overwrite=True)
    return folder / "cat.ecsv"


def test_catalogue_missing(field, tmp_path):
    fails(field, tmp_path, "cat.ecsv", "no such catalogue", catalogue=tmp_path / "cat.ecsv")


def test_catalogue_that_is_none(field, tmp_path):
    (tmp_path / "cat.fits").write_bytes(b"\x00\x01\x02" * 100)
    fails(field, tmp_path, "cat.fits", catalogue=tmp_path / "cat.fits")


def test_catalogue_without_positions(field, tmp_path):
    fails(field, tmp_path, "cat.ecsv", "no positions", catalogue=listed(tmp_path, {"mag": [20.0]}))


def test_catalogue_without_rows(field, tmp_path):
    empty = {"x": np.zeros(0), "y": np.zeros(0)}
    fails(field, tmp_path, "cat.ecsv", "no rows", catalogue=listed(tmp_path, empty))


def test_catalogue_off_the_field(field, tmp_path):
    path = listed(tmp_path, {"x": [500.0, -20.0], "y": [10.0, 10.0]})
    fails(field, tmp_path, "cat.ecsv", "none of 2 positions", catalogue=path)


def test_catalogue_with_nan_and_duplicates(field, tmp_path, caplog):
    columns = {"x": [25.0, np.nan, 60.0, 25.0, 900.0], "y": [25.0, 30.0, 50.0, 25.0, 3.0], "id": list("abcde")}
    settings = Settings(tile=64, stamp_size=0, report=False, add_sources=False)
    table = deblend(field, tmp_path, catalogue=listed(tmp_path, columns), settings=settings)
    assert sorted(table["id"]) == ["a", "c"]
    for words in ("1 of 5 rows have no finite position", "1 of 5 rows are off the field", "repeat the position"):
        assert words in caplog.text


def test_catalogue_where_there_is_nothing(field, tmp_path):
    table = deblend(field, tmp_path, catalogue=listed(tmp_path, {"x": [5.0], "y": [65.0]}))
    assert len(table) >= 1
    assert abs(table["aperture_flux_r"][0].value) < 60


# Presets, options and folders


def test_unknown_preset(field, tmp_path):
    fails(field, tmp_path, "no_such_preset", error=GalzooError, preset="no_such_preset", deblender=None)


def test_preset_of_another_family(field, tmp_path):
    fails(field, tmp_path, "models of vqvae do not deblend", "vae_deblender_lsst", preset="vqvae_lsst", deblender=None)


def test_output_is_a_file(field, tmp_path):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(InputError, match="is a file"):
        deblend(field, tmp_path)
    assert (tmp_path / "out").read_text() == "precious"


def test_output_that_cannot_be_made(field, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        deblend_field(field, tmp_path / "file" / "out", deblender=least_squares, bands=BANDS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_not_writable(field, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot be written"):
        deblend(field, tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"threshold": 0}, "--threshold"), ({"tile": 5}, "--tile"), ({"stamp_size": 2}, "--stamp-size")],
)
def test_settings_out_of_range(changes, word):
    with pytest.raises(InputError, match=word):
        Settings(**changes)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["absent.fits"], "absent.fits"),
        (["absent.fits", "--as", "g"], "--bands"),
        (["absent.fits", "--threshold", "0"], "--threshold"),
        (["absent.fits", "--preset", "vqvae_lsst"], "vqvae"),
        ([], "field"),
        (["absent.fits", "--tile", "many"], "--tile"),
        (["absent.fits", "-o", "catalogue.fits"], "catalogue.fits"),
    ],
)
def test_command_line_says_it_in_one_line(arguments, word, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["galzoo", "deblend", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert word in message


def test_a_deblender_that_fails_keeps_what_was_there(field, tmp_path):
    def failing(batch):
        raise InputError("the model cannot do this; use another")

    fails(field, tmp_path, "cannot do this", deblender=failing)
