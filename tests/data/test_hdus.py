"""Which extension of a FITS file is read, and the header that counts for it."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from galzoo.data.fits import open_mosaic
from galzoo.data.hdus import full_header, split_extension
from galzoo.data.planes import open_planes
from galzoo.data.psf import read_psf
from galzoo.errors import InputError
from galzoo.simulate.psf import _read_image

SHAPE = (20, 30)


def write(path, *extensions, primary=None):
    """Write extensions (name, level, cards), all pixels at the level."""
    hdus = [
        fits.ImageHDU(np.full(SHAPE, level, np.float32), fits.Header(cards), name) for name, level, cards in extensions
    ]
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(primary or {})), *hdus]).writeto(path, overwrite=True)
    return path


def level(path, kind="image", names=None):
    planes = open_planes(path, names, kind)
    found = [float(plane.read(3, 4, 5, 6)[0, 0]) for plane in planes]
    planes[0].close()
    return found


def test_names_of_extensions(tmp_path):
    assert split_extension("a/b.fits") == ("a/b.fits", None)
    assert split_extension("a/b.fits[SCI]") == ("a/b.fits", "SCI")
    assert split_extension("b.fits[2]") == ("b.fits", 2)
    assert split_extension("b.fits[SCI, 1]") == ("b.fits", ("SCI", 1))
    (tmp_path / "odd[1].fits").touch()
    assert split_extension(tmp_path / "odd[1].fits") == (str(tmp_path / "odd[1].fits"), None)


@pytest.mark.parametrize("versions", [True, False])
def test_an_extension_is_named_by_name_number_or_version(versions, tmp_path):
    vers = [{"EXTVER": one} if versions else {} for one in (1, 2)]
    path = write(
        tmp_path / "flc.fits", ("SCI", 1, vers[0]), ("ERR", 2, vers[0]), ("SCI", 3, vers[1]), ("ERR", 4, vers[1])
    )
    for ext, there in (("SCI,1", 1), ("sci,2", 3), ("ERR,2", 4), ("1", 1), ("4", 4)):
        assert level(f"{path}[{ext}]") == [there]
    with pytest.raises(InputError, match="2 extensions are named SCI"):
        level(f"{path}[SCI]")
    with pytest.raises(InputError, match=r"no extension \[SCI,3\]"):
        level(f"{path}[SCI,3]")
    with pytest.raises(InputError, match="4 images in it"):
        level(path)


def test_what_is_wanted_is_taken_by_its_name_and_never_the_first_in_silence(tmp_path):
    calexp = write(tmp_path / "calexp.fits", ("VARIANCE", 1, {}), ("MASK", 2, {}), ("IMAGE", 3, {}), ("SEGMAP", 4, {}))
    assert level(calexp) == [3]
    assert level(calexp, "variance") == [1]
    assert level(calexp, "flags") == [2]
    assert level(calexp, "segmentation") == [4]
    for kind in ("weight", "rms", "psf"):
        with pytest.raises(InputError, match="name one"):
            level(calexp, kind)
    jwst = write(
        tmp_path / "i2d.fits", *((name, n, {}) for n, name in enumerate(("CON", "ERR", "SCI", "WHT", "VAR_FLAT")))
    )
    assert (level(jwst), level(jwst, "weight"), level(jwst, "rms")) == ([2], [3], [1])
    two = write(tmp_path / "two.fits", ("", 1, {}), ("", 2, {}))
    with pytest.raises(InputError, match="2 images in it"):
        level(two)
    assert level(f"{two}[2]") == [2]
    bands = write(tmp_path / "bands.fits", ("G", 1, {}), ("R", 2, {}))
    assert level(bands, names=["r"]) == [2]
    assert level(bands, names=["r", "g"]) == [2, 1]


def test_noise_flags_and_labels_come_from_the_one_file(tmp_path):
    path = write(tmp_path / "calexp.fits", ("VARIANCE", 4, {}), ("MASK", 0, {}), ("IMAGE", 3, {}), ("SEG", 1, {}))
    with open_mosaic(
        path, ["r"], variance=path, flags=path, segmentation=path, zero_point=31.4, pixel_scale=0.2
    ) as mosaic:
        planes = mosaic.gather([5], [5], 8)
    assert [np.unique(planes[key]).tolist() for key in ("image", "variance", "mask")] == [[3], [4], [False]]
    assert (planes["segmentation"] == 1).all()
    with pytest.raises(InputError, match="both weight and variance"):
        open_mosaic(path, ["r"], variance=path, weight=path)


@pytest.mark.parametrize(
    ("primary", "own", "found"),
    [
        ({"FILTER": "r", "MAGZERO": 27.0}, {}, (27.0, "r", None)),
        ({"FILTER": "r", "MAGZERO": 27.0}, {"MAGZERO": 25.0}, (25.0, "r", None)),
        ({"FILTER": "r", "MAGZERO": 27.0}, {"INHERIT": False}, (None, None, None)),
        ({"FILTER": "r", "BUNIT": "Jy", "CTYPE1": "RA---TAN"}, {"INHERIT": True}, (None, "r", "RA---TAN")),
        ({"CTYPE1": "RA---TAN", "CRVAL1": 3.0}, {"CTYPE1": "GLON-TAN"}, (None, None, "GLON-TAN")),
    ],
)
def test_what_the_primary_header_says_counts_for_its_extensions(primary, own, found, tmp_path):
    path = write(tmp_path / "a.fits", ("SCI", 1, own), primary=primary)
    plane = open_planes(path)[0]
    assert tuple(plane.header.get(key) for key in ("MAGZERO", "FILTER", "CTYPE1")) == found
    assert "BUNIT" not in plane.header
    if own.get("CTYPE1") == "GLON-TAN":
        assert "CRVAL1" not in plane.header
    plane.close()


def test_a_primary_image_keeps_its_wcs_to_itself():
    primary = fits.PrimaryHDU(np.zeros(SHAPE), fits.Header({"CTYPE1": "RA---TAN", "EXPTIME": 30.0}))
    hdus = fits.HDUList([primary, fits.ImageHDU(np.zeros(SHAPE), name="SCI")])
    header = full_header(hdus, hdus[1])
    assert "CTYPE1" not in header
    assert (header["EXPTIME"], header["NAXIS1"]) == (30.0, SHAPE[1])


def test_psfs_and_catalogues_by_extension(tmp_path):
    y, x = np.indices((15, 15)) - 7
    psfs = [np.exp(-(x**2 + y**2) / (2 * sigma**2)) for sigma in (1.0, 2.0)]
    path = tmp_path / "psf.fits"
    hdus = [fits.ImageHDU(psf, name=name) for psf, name in zip(psfs, ("G", "PSF_R"), strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    for ext, psf in (("[G]", psfs[0]), ("[2]", psfs[1]), ("", psfs[1])):
        found = read_psf(f"{path}{ext}", ["r"], 15)
        np.testing.assert_allclose(found[0, ..., 0], psf / psf.sum(), atol=2e-3)
        np.testing.assert_array_equal(_read_image(f"{path}{ext}", 0.2)[0], psf)
    Table({"x": [1.0]}).write(tmp_path / "t.fits")
    with pytest.raises(InputError, match="no image of 2 or 3"):
        level(tmp_path / "t.fits")


def test_a_band_that_has_no_extension_is_named(tmp_path):
    path = write(tmp_path / "bands.fits", ("G", 1, {}), ("I", 2, {}))
    with pytest.raises(InputError, match=r"no extension named R; it has .*G .*I "):
        open_mosaic([path], bands=["G", "R", "I"], zero_point=27.0, pixel_scale=0.2)
    with open_mosaic([path], bands=["G", "I"], zero_point=27.0, pixel_scale=0.2) as mosaic:
        assert mosaic.bands == ("G", "I")
    with open_mosaic([f"{path}[G]"], bands=["G"], zero_point=27.0, pixel_scale=0.2) as mosaic:
        assert mosaic.shape == SHAPE
