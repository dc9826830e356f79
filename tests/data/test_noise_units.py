"""Noise maps whose unit or zero point is not that of their image, and maps that hold no noise, are said."""

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.fits import open_mosaic
from tests.data.test_doors import header, noise

SIZE = 64


def write(path, image, **cards):
    fits.PrimaryHDU(np.asarray(image, "f4"), header(**cards)).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(("unit", "other"), [("electron", "adu"), ("adu", "adu / s"), ("nJy", "mag")])
def test_a_unit_that_cannot_be_brought_to_that_of_the_image_is_said(tmp_path, caplog, unit, other):
    image = write(tmp_path / "image.fits", noise(), MAGZERO=31.4, BUNIT=unit)
    path = write(tmp_path / "map.fits", np.ones((SIZE, SIZE)), MAGZERO=31.4, BUNIT=other)
    open_mosaic(image, ["r"], rms=path).close()
    assert f"map.fits: is in {other}, which cannot be brought to the unit of {image} ({unit})" in caplog.text


def test_a_zero_point_that_is_not_that_of_the_image_is_said(tmp_path, caplog):
    image = write(tmp_path / "image.fits", noise(), MAGZERO=31.4)
    path = tmp_path / "map.fits"
    for point, said in ((31.1, True), (31.4, False), (None, False)):
        write(path, np.ones((SIZE, SIZE)), **({} if point is None else {"MAGZERO": point}))
        open_mosaic(image, ["r"], rms=path).close()
        assert ("map.fits: its header has a zero point of 31.10" in caplog.text) == said
        caplog.clear()


@pytest.mark.parametrize(("kind", "sky"), [("rms", 0.0), ("variance", 0.0), ("weight", 0.0), ("rms", 10.0)])
def test_values_below_zero_are_said_unless_they_are_a_mark(tmp_path, caplog, kind, sky):
    """The image itself, or a map of signal-to-noise, would mask half of its pixels."""
    image = write(tmp_path / "image.fits", noise(), MAGZERO=31.4)
    path = write(tmp_path / "map.fits", sky + noise())
    open_mosaic(image, ["r"], **{kind: path}).close()
    assert ("% of its values are below 0, as no noise is" in caplog.text) == (sky == 0)
    caplog.clear()
    gap = np.where(np.arange(SIZE) < 20, -99, 1) * np.ones((SIZE, 1))
    open_mosaic(image, ["r"], **{kind: write(path, gap)}).close()
    assert "below 0" not in caplog.text
