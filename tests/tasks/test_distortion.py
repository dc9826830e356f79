"""Pixels of a product lie on the sky where those of the field do, whatever the distortion of its WCS."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galzoo.contracts.segmentation import Segmented
from galzoo.data.planes import open_planes
from galzoo.field.open_field import open_field
from galzoo.tasks.deblend import products as deblend_products
from galzoo.tasks.detect import products as detect_products
from galzoo.tasks.detect.star_images import write_images
from galzoo.tasks.segment import products as segment_products
from galzoo.tasks.segment.run import Settings
from tests.tasks.segment.fakes import Thresholds, draw

SIZE, PLACES = 100, (np.array([0.0, 99.0, 31.3]), np.array([0.0, 12.0, 88.8]))


def table(name, version):
    """Return a lookup table of a distortion of some pixels, as Hubble's images have them."""
    values = np.random.default_rng(version).normal(0, 2, (11, 11)).astype("f4")
    made = fits.ImageHDU(values, name=name, ver=version)
    for axis in (1, 2):
        made.header[f"CRPIX{axis}"] = made.header[f"CRVAL{axis}"] = 1.0
        made.header[f"CDELT{axis}"] = 10.0
    return made


@pytest.fixture
def field(tmp_path):
    """A field with SIP, and the tables both of the detector and of what comes after it."""
    header = fits.Header({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 150.0, "CRVAL2": 2.0})
    header["CRPIX1"] = header["CRPIX2"] = SIZE / 2
    header["CD1_1"], header["CD2_2"] = -0.06 / 3600, 0.06 / 3600
    header["A_ORDER"] = header["B_ORDER"] = 2
    header["A_2_0"] = header["B_0_2"] = 1e-4
    header["MAGZERO"] = 31.4
    plain = fits.ImageHDU(np.zeros((SIZE, SIZE), "f4"), header, name="PLAIN")
    for axis in (1, 2):
        for kind, record in (("CPDIS", "DP"), ("D2IMDIS", "D2IM")):
            header[f"{kind}{axis}"] = "LOOKUP"
            for text in (f"EXTVER: {axis}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2"):
                header.append(fits.Card(f"{record}{axis}", text))
    hdus = [fits.ImageHDU(plane, header, name=name)
            for name, plane in zip(Thresholds.bands, draw((SIZE, SIZE)).astype("f4"), strict=True)]  # fmt: skip
    hdus += [table(name, version) for name in ("WCSDVARR", "D2IMARR") for version in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *hdus, plain]).writeto(tmp_path / "field.fits")
    return tmp_path / "field.fits"


def places(path, extension):
    with warnings.catch_warnings(), fits.open(path) as hdus:
        warnings.simplefilter("ignore")
        sky = WCS(hdus[extension].header, hdus).pixel_to_world(*PLACES)
    return np.stack([sky.ra.deg, sky.dec.deg])


def test_products_lie_where_the_field_does(field, tmp_path):
    true = places(field, "F160W")
    assert np.abs(true - places(field, "PLAIN")).max() * 3600 > 0.05
    with open_field(field, bands=Thresholds.bands) as opened:
        deblend_products._write_images(tmp_path / "model.fits", opened, np.zeros((4, SIZE, SIZE), "f4"))
        detect_products._write_map(tmp_path / "instances.fits", np.zeros((SIZE, SIZE), "i4"), opened)
        rows = {"x": np.array([30.0]), "y": np.array([40.0]), "flux": np.ones((1, 4))}
        psf = np.repeat(np.pad([[1.0]], 5)[None, ..., None], 4, axis=-1)
        (tmp_path / "stars").mkdir()
        write_images(opened, rows, lambda x, y: psf, tmp_path / "stars", tmp_path)
        labels = np.zeros((SIZE, SIZE), np.int32)
        labels[30:40, 30:40] = 1
        found = Segmented(np.ones((2, SIZE, SIZE), "f4"), labels, labels, ("disk", "background"))
        segment_products.write_products(opened, found, "F160W", tmp_path, Settings(report=False), {})
    made = {"model.fits": "F850LP", "instances.fits": 0, "stars/residual.fits": "F606W", "classes.fits": 2}
    for name, extension in (made | {"segmentation.fits": 0}).items():
        np.testing.assert_allclose(places(tmp_path / name, extension), true, atol=1e-9, err_msg=name)
    # The tables are no further images.
    plane, *others = open_planes(tmp_path / "instances.fits", kind="segmentation")
    assert plane.shape == (SIZE, SIZE)
    assert not others
    plane.close()
