"""Zero points and saturation levels for each band, from the shell to the pixels."""

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.per_band import one_a_band, parse
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from tests.field import fields


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("27", 27.0),
        ("27,27.5", [27.0, 27.5]),
        ("g=27,r=27.1", {"g": 27.0, "r": 27.1}),
        (" r = 27.1 , g=-2", {"r": 27.1, "g": -2.0}),
    ],
)
def test_one_number_some_or_names(text, value):
    assert parse(text, "--zero-point") == value


@pytest.mark.parametrize("text", ["", "g=", "g=27,28", "g=27,r", "nan", "g=inf", "27;28", "g=27,g=28", "=27,r=3"])
def test_anything_else_is_refused_by_the_name_of_the_option(text):
    with pytest.raises(InputError, match="^--zero-point "):
        parse(text, "--zero-point")


def test_names_are_matched_whatever_their_order():
    assert one_a_band({"i": 3.0, "g": 1.0}, ("g", "r", "i"), "zero points") == [1.0, None, 3.0]
    assert one_a_band(5.0, ("g", "r"), "zero points") == [5.0, 5.0]
    assert one_a_band({"r": 2.0, "R": 1.0}, ("R", "r"), "zero points") == [1.0, 2.0]
    assert one_a_band({"r": 2.0}, ("G", "R"), "zero points") == [None, 2.0]
    with pytest.raises(InputError, match="name the band z; the bands are g, r"):
        one_a_band({"z": 3.0}, ("g", "r"), "zero points")
    with pytest.raises(InputError, match="3 zero points for 2 bands"):
        one_a_band([1, 2, 3], ("g", "r"), "zero points")


@pytest.fixture
def counts(tmp_path):
    """An image with a level of 100 in every band, and no zero point in its header."""
    path = fields.write(tmp_path / "f.fits", 100 + fields.draw((150, 150), []))
    with fits.open(path, "update") as hdus:
        for hdu in hdus[1:]:
            del hdu.header["MAGZERO"]
    return path


def test_each_band_has_its_own_scale(counts):
    """A magnitude of 2.5 less is a tenth of the flux."""
    with open_field(counts, zero_point={"i": 31.4, "g": 28.9, "r": 33.9}, subtract_sky=False) as field:
        levels = np.median(field.read(0, 150, 0, 150)["image"], axis=(0, 1))
    np.testing.assert_allclose(levels, [1000, 10, 100], rtol=0.01)


def test_bands_under_other_names_and_left_out_keep_their_values(counts):
    options = {"bands": ["g", "r", "i"], "names": ["-", "red", "infrared"], "subtract_sky": False}
    for value in ({"g": 20.0, "i": 28.9, "r": 31.4}, [20.0, 31.4, 28.9]):
        with open_field(counts, zero_point=value, saturation=[1.0, 102.0, 1e9], **options) as field:
            planes = field.read(0, 150, 0, 150)
        np.testing.assert_allclose(np.median(planes["image"][~planes["mask"].any(-1)], axis=0), [100, 1000], rtol=0.02)
        assert 0.02 < planes["saturated"][..., 0].mean() < 0.08
        assert not planes["saturated"][..., 1].any()


def test_a_band_without_any_zero_point_is_named(counts):
    with pytest.raises(InputError, match=r"(?i)f.fits\[r\]: no zero point"):
        open_field(counts, zero_point={"g": 27.0, "i": 27.0})


def test_the_shell_says_what_is_wrong(monkeypatch, capsys, counts):
    from galzoo import cli

    for option, text in (("--zero-point", "g=abc"), ("--saturation", "g")):
        monkeypatch.setattr("sys.argv", ["galzoo", "deblend", str(counts), option, text])
        with pytest.raises(SystemExit):
            cli.main()
        assert capsys.readouterr().err.startswith(f"error: {option} is {text}; give one number")
