"""Bad input to `galzoo detect` with a preset of stars: one line that says what is wrong, or an answer without it."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from scipy.stats import norm

from galzoo.errors import GalzooError, InputError
from galzoo.field.array_field import ArrayField
from galzoo.tasks.detect import Settings, detect_field
from galzoo.tasks.detect.choose_detector import check_width

SHAPE, STARS = (40, 40), ((12.3, 20.1, 900.0), (28.0, 9.7, 500.0))
LINE = norm.pdf(np.arange(21) - 10, scale=1.3)
PSF = np.outer(LINE, LINE)


def image():
    """Return two stars on a sky of unit noise."""
    y, x = np.indices(SHAPE)
    light = [flux * norm.pdf(x, px, 1.3) * norm.pdf(y, py, 1.3) for px, py, flux in STARS]
    return np.random.default_rng(0).normal(size=SHAPE) + sum(light)


def holed(value):
    """Return the image with `value` on the first star."""
    pixels = image()
    pixels[15:26, 7:18] = value
    return pixels


def write(path, planes, bands, zero_point=22.5):
    hdus = [fits.PrimaryHDU()]
    for band, plane in zip(bands, planes, strict=True):
        hdus.append(fits.ImageHDU(np.asarray(plane, "float32"), name=band))
        hdus[-1].header["PIXSCALE"] = 0.396
        if zero_point is not None:
            hdus[-1].header["MAGZERO"] = zero_point
    fits.HDUList(hdus).writeto(path)


def detect(folder, plane=None, variance=1.0, psfs=(PSF, PSF), bands="ri", zero_point=22.5, settings=None, **options):
    """Run `detect_field` with ``starnet_sdss`` and return its catalogue."""
    planes = [image() if plane is None else plane] * len(bands)
    noise = np.broadcast_to(np.float32(variance), np.shape(variance) or planes[0].shape)
    write(folder / "field.fits", planes, bands, zero_point)
    write(folder / "variance.fits", [noise] * len(bands), bands)
    paths = [folder / f"psf_{number}.fits" for number in range(len(psfs))]
    for path, psf in zip(paths, psfs, strict=True):
        fits.writeto(path, np.asarray(psf, "float32"))
    (folder / "text.fits").write_text("no FITS")
    settings = Settings(**{"report": False, "samples": 3, "refine": True} | (settings or {}))
    options = {"bands": list(bands), "preset": "starnet_sdss", "subtract_sky": False} | options
    options["variance"] = [f"{folder / 'variance.fits'}[{band}]" for band in bands]
    field = folder / options.pop("field", "field.fits")
    detect_field(field, folder / "stars", psf=paths, settings=settings, **options)
    return QTable.read(folder / "stars" / "catalogue.ecsv")


REFUSED = {
    "nothing but NaN": ({"plane": np.full(SHAPE, np.nan)}, "field.fits.*too few good pixels"),
    "all of it masked": ({"variance": np.inf}, "field.fits.*too few good pixels"),
    "variance of zero": ({"variance": 0.0}, "field.fits.*too few good pixels"),
    "negative variance": ({"variance": -1.0}, "field.fits.*too few good pixels"),
    "variance of another shape": ({"variance": np.ones((30, 40))}, r"variance.fits.*\(30, 40\)"),
    "bands of no use": ({"bands": "gz"}, "band 'g' is none of those of starnet_sdss"),
    "PSFs too many": ({"psfs": [PSF] * 3}, "3 PSFs for 2 bands"),
    "PSF of nothing": ({"psfs": [0 * PSF] * 2}, "psf_0.fits.*sum 0"),
    "negative PSF": ({"psfs": [-PSF] * 2}, "psf_0.fits.*not positive"),
    "PSF of NaN": ({"psfs": [np.nan * PSF] * 2}, "psf_0.fits.*not finite"),
    "PSF of one pixel": ({"psfs": [np.ones((1, 1))] * 2}, r"psf_0.fits.*\(1, 1\)"),
    "PSF off its middle": ({"psfs": [np.roll(PSF, 6, 0)] * 2}, "psf_0.fits.*6.0 px off"),
    "negative gain": ({"gain": {"r": -4.0, "i": 5.0}}, "gain is -4.0"),
    "gain of NaN": ({"gain": {"r": np.nan, "i": 5.0}}, "gain is nan"),
    "gain of another band": ({"gain": {"z": 4.0}}, "band z"),
    "a file that is no FITS": ({"field": "text.fits"}, "text.fits.*not a readable FITS"),
    "no file": ({"field": "none.fits"}, "none.fits.*no such file"),
    "no zero point": ({"zero_point": None}, "field.fits.*no zero point"),
    "one pixel": ({"plane": np.ones((1, 1))}, "1 x 1 pixels"),
    "one line": ({"plane": np.ones((1, 50))}, "50 x 1 pixels"),
    "no such preset": ({"preset": "starnet_none"}, "starnet_none.*starnet_sdss"),
    "magnitude of NaN": ({"settings": {"faintest": np.nan}}, "--faintest is nan"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_said_in_one_line(case, tmp_path):
    options, words = REFUSED[case]
    with pytest.raises(GalzooError, match=words) as caught:
        detect(tmp_path, **options)
    assert "\n" not in str(caught.value)


ANSWERED = {
    "NaN on a star": ({"plane": holed(np.nan)}, 1),
    "infinity on a star": ({"plane": holed(np.inf)}, 1),
    "nothing there": ({"plane": np.zeros(SHAPE)}, 0),
    "PSF larger than the field": ({"psfs": [np.pad(PSF, 30)] * 2}, 2),
    "PSF of another sum": ({"psfs": [7 * PSF] * 2}, 2),
    "PSF that is not square": ({"psfs": [PSF[:, 3:18]] * 2}, 2),
    "one of two bands": ({"bands": "r", "psfs": (PSF,)}, 2),
    "a limit brighter than all": ({"settings": {"faintest": -50.0}}, 2),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_the_stars_that_can_be_seen_are_found(case, tmp_path):
    options, number = ANSWERED[case]
    found = detect(tmp_path, **options)
    there = np.array([[found["x"].value, found["y"].value]])[0].T
    near = [np.abs(there - star[:2]).max(axis=-1).min(initial=np.inf) < 0.3 for star in STARS]
    if number == 2:
        assert near == [True, True]
        np.testing.assert_allclose(found["flux_r"][np.argsort(found["y"])[-1]].value / 3631.0, 900, rtol=0.2)
    elif number == 1:
        assert near[1]
        # The network may guess the star in the hole, by its wings; then it says that pixels are missing.
        others = np.abs(there - STARS[1][:2]).max(axis=-1) > 0.3
        assert (np.asarray(found["flags"])[others] > 0).all()
    else:
        assert not len(found)


def test_fluxes_beyond_all_bounds_stay_finite(tmp_path):
    found = detect(tmp_path, plane=1e12 * image(), settings={"refine": True})
    assert np.isfinite(found["flux_r"].value).all()


def test_what_says_no_flux_is_not_refined(tmp_path):
    with pytest.raises(InputError, match="refine"):
        detect(tmp_path, preset=None)


@pytest.mark.parametrize(("fwhm", "said"), [(1.4, True), (2.5, False), (6.5, True)])
def test_a_psf_that_the_network_has_not_learnt_with_is_said(fwhm, said, caplog):
    field = ArrayField(np.zeros((*SHAPE, 1)), np.ones((*SHAPE, 1)), name="field.fits")
    with caplog.at_level(logging.WARNING):
        check_width("starnet_sdss", field, fwhm)
        # Its training draws no PSFs of its own.
        check_width("mask_rcnn_lsst", field, fwhm)
    wanted = [f"field.fits: its PSF is {fwhm:.2f} pixels wide (FWHM), starnet_sdss learnt with 1.5 to 6"]
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == (wanted if said else [])
