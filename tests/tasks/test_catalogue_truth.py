"""The columns of the deblend catalogue, by the packaged LSST deblender, against galaxies that GalSim drew."""

import sys

import galsim
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from galzoo import cli
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field import fields

SCALE, BANDS = 0.2, ("u", "g", "r", "i", "z", "y")
SHAPE = (120, 180)
NOISE = np.array([2.0, 2.5, 3.0, 4.0, 5.0, 6.0])
COLOURS = np.array([0.3, 0.6, 1.0, 1.4, 1.7, 1.8])
# x, y in pixels, position angle east of north in degrees, axis ratio, half-light radius in arcsec, flux in r in nJy.
GALAXIES = [
    (41.3, 34.7, 25.0, 0.5, 0.55, 1.2e4),
    (128.6, 38.2, 110.0, 0.45, 0.6, 1.2e4),
    (77.9, 88.4, 160.0, 0.6, 0.5, 1.5e4),
]
PSF = galsim.Moffat(beta=3.5, fwhm=0.75)
# A point source whose matched filter sees it at this signal-to-noise, all bands together, and a threshold above that.
FAINT, FAINT_SNR, THRESHOLD = (150.2, 95.6), 14.0, 18.0


def sky():
    """North is 30 degrees off the y axis, and east is right of it."""
    angle = np.deg2rad(30.0)
    found = WCS(naxis=2)
    found.wcs.ctype, found.wcs.crval, found.wcs.crpix = ["RA---TAN", "DEC--TAN"], [52.3, -28.1], [150.0, 20.0]
    found.wcs.cd = SCALE / 3600 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return found


def direction(x, y, position_angle):
    """Return the angle from +x towards +y of a position angle east of north at a pixel, in radians, by astropy."""
    here = sky().pixel_to_world(x, y)
    there = here.directional_offset_by(position_angle * u.deg, 1 * u.arcsec)
    dx, dy = np.array(sky().world_to_pixel(there)) - (x, y)
    return np.arctan2(dy, dx)


def draw(x, y, profile):
    """Return an image (y, x) of a profile through the PSF, of its own flux."""
    image = galsim.ImageD(SHAPE[1], SHAPE[0], scale=SCALE)
    image.setOrigin(0, 0)
    return galsim.Convolve(profile, PSF).drawImage(image, center=galsim.PositionD(x, y), method="auto").array


def galaxy(x, y, position_angle, ratio, radius, flux):
    # GalSim's shear keeps the area, so the circularised half-light radius.
    turned = galsim.Shear(q=ratio, beta=direction(x, y, position_angle) * galsim.radians)
    return draw(x, y, galsim.Exponential(half_light_radius=radius, flux=flux).shear(turned))


def slope():
    """Return how the variance grows over the field, (y, x)."""
    return np.broadcast_to(1 + np.arange(SHAPE[1]) / SHAPE[1], SHAPE)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The catalogue of a scene through the command line, its galaxies without noise, and its variance."""
    folder = tmp_path_factory.mktemp("scene")
    alone = np.array([galaxy(*one) for one in GALAXIES])
    variance = NOISE[:, None, None] ** 2 * slope()
    point = draw(*FAINT, galsim.DeltaFunction())
    # Bands are weighted by the inverse of their noise, and seen through a filter of the PSF.
    noise = NOISE * np.sqrt(slope()[round(FAINT[1]), round(FAINT[0])])
    faint = FAINT_SNR / np.sqrt((point**2).sum()) * np.sqrt(len(BANDS)) / (COLOURS / noise).sum()
    light = COLOURS[:, None, None] * (alone.sum(axis=0) + faint * point)
    image = light + np.sqrt(variance) * np.random.default_rng(5).normal(size=variance.shape)
    for name, planes in (("field", image), ("variance", variance)):
        hdus = [fits.PrimaryHDU()]
        for band, plane in zip(BANDS, planes, strict=True):
            header = sky().to_header()
            header["MAGZERO"] = 31.4
            hdus.append(fits.ImageHDU(plane.astype(np.float32), header, name=band))
        fits.HDUList(hdus).writeto(folder / f"{name}.fits")
    psf = PSF.drawImage(nx=41, ny=41, scale=SCALE).array
    fits.writeto(folder / "psf.fits", (psf / psf.sum()).astype(np.float32))

    arguments = [folder / "field.fits", "--variance", folder / "variance.fits", "--psf", folder / "psf.fits"]
    arguments += ["--preset", "vae_deblender_lsst", "--threshold", THRESHOLD, "--no-background", "--no-report"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["galzoo", "deblend", *map(str, arguments), "-o", str(folder / "out")])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    table = QTable.read(folder / "out" / "catalogue.ecsv")
    return {"folder": folder, "table": table, "alone": alone, "variance": variance}


@pytest.fixture(scope="module")
def rows(scene):
    """The catalogue's rows of the galaxies, in their order."""
    x, y = scene["table"]["x"].value, scene["table"]["y"].value
    distance = [np.hypot(x - one[0], y - one[1]) for one in GALAXIES]
    assert np.min(distance, axis=1).max() < 0.1
    return scene["table"][np.argmin(distance, axis=1)]


def per_band(rows, name):
    return np.stack([u.Quantity(rows[f"{name}_{band}"]).value for band in BANDS], axis=-1)


def test_the_threshold_decides_what_is_found(scene):
    folder, found = scene["folder"], scene["table"]
    assert len(found) == len(GALAXIES)
    assert found["snr"].min() > THRESHOLD
    deblend_field(
        folder / "field.fits", folder / "more", deblender=fields.least_squares, psf=folder / "psf.fits",
        settings=Settings(threshold=5.0, add_sources=False, report=False, stamp_size=0), subtract_sky=False,
        variance=folder / "variance.fits",
    )  # fmt: skip
    more = QTable.read(folder / "more" / "catalogue.ecsv")
    row = np.hypot(more["x"].value - FAINT[0], more["y"].value - FAINT[1]).argmin()
    assert more["x"][row].value == pytest.approx(FAINT[0], abs=1)
    assert more["snr"][row] == pytest.approx(FAINT_SNR, abs=2.5)
    assert len(more) == len(GALAXIES) + 1


def test_places_on_the_sky(rows):
    true = sky().pixel_to_world(*np.array(GALAXIES)[:, :2].T)
    assert SkyCoord(rows["ra"], rows["dec"]).separation(true).max() < 0.1 * SCALE * u.arcsec


def test_shapes_and_position_angles(rows):
    for row, (x, y, angle, ratio, *_) in zip(rows, GALAXIES, strict=True):
        e = (1 - ratio**2) / (1 + ratio**2)
        beta = direction(x, y, angle)
        assert float(row["e1"]) == pytest.approx(e * np.cos(2 * beta), abs=0.04)
        assert float(row["e2"]) == pytest.approx(e * np.sin(2 * beta), abs=0.04)
        # And back to the sky.
        major = 0.5 * np.arctan2(float(row["e2"]), float(row["e1"]))
        here, there = sky().pixel_to_world([x, x + np.cos(major)], [y, y + np.sin(major)])
        off = (here.position_angle(there).to_value("deg") - angle + 90) % 180 - 90
        assert abs(off) < 3


def test_errors_of_places_are_those_that_noise_and_profiles_allow(scene, rows):
    for row, alone in zip(rows, scene["alone"], strict=True):
        # By how much the image changes as the galaxy moves: the Cramer-Rao bound.
        slopes = np.gradient(alone)[::-1]
        weight = (COLOURS[:, None, None] ** 2 / scene["variance"]).sum(axis=0)
        fisher = [[(weight * one * other).sum() for other in slopes] for one in slopes]
        bound = np.sqrt(np.diag(np.linalg.inv(fisher)))
        found = np.array([row[f"{axis}_err"].to_value("pix") for axis in "xy"])
        # 0.4 of the 2 % of its light that profiles miss, in terms of the noise, move a galaxy as noise does.
        grown = np.hypot(1, 0.4 * 0.02 * np.sqrt((weight * alone**2).sum()))
        # Steep profiles change by more within a pixel than from one to the next.
        np.testing.assert_allclose(found, bound * grown, rtol=0.15)
        assert bound[0] / bound[1] == pytest.approx(found[0] / found[1], rel=0.05)


def test_half_light_radii_in_arcsec(rows):
    np.testing.assert_allclose(rows["half_light_radius"].to_value("arcsec"), [one[4] for one in GALAXIES], rtol=0.06)


def test_fluxes_and_magnitudes(rows):
    true = np.array([one[5] for one in GALAXIES])[:, None] * COLOURS
    flux, error = per_band(rows, "flux"), per_band(rows, "flux_err")
    np.testing.assert_allclose(flux, true, rtol=0.04)
    assert np.abs((flux - true) / error).max() < 4
    np.testing.assert_allclose(per_band(rows, "mag"), 8.9 - 2.5 * np.log10(flux * 1e-9), atol=2e-3)
    np.testing.assert_allclose(per_band(rows, "mag_err"), 1.0857 * error / flux, rtol=1e-3)
    assert per_band(rows, "blendedness").max() < 0.01


def test_likelihood_width_is_that_of_the_matched_filter(scene, rows):
    for row, alone in zip(rows, scene["alone"], strict=True):
        shape = alone / alone.sum()
        width = 1 / np.sqrt((shape**2 / scene["variance"]).sum(axis=(1, 2)))
        np.testing.assert_allclose(per_band(row, "flux_like_err"), width, rtol=0.05)


def ellipse(image, x, y, area):
    """Return the pixels of an ellipse of an area, of the shape of the light of `image`."""
    rows, columns = np.indices(SHAPE)
    dx, dy = columns - x, rows - y
    near = image * (np.hypot(dx, dy) < 15)
    xx, yy, xy = ((near * term).sum() / near.sum() for term in (dx**2, dy**2, dx * dy))
    distance2 = (yy * dx**2 + xx * dy**2 - 2 * xy * dx * dy) / (xx * yy - xy**2)
    return distance2 < area / (np.pi * np.sqrt(xx * yy - xy**2))


def test_aperture_flux_and_its_error(scene, rows):
    error, flux = per_band(rows, "aperture_flux_err"), per_band(rows, "aperture_flux")
    for row, alone, (x, y, *_) in zip(range(len(rows)), scene["alone"], GALAXIES, strict=True):
        here = NOISE**2 * (1 + x / SHAPE[1])
        # One aperture for all bands, and a variance that grows evenly: that of its middle times its area.
        area = error[row] ** 2 / here
        np.testing.assert_allclose(area, area.mean(), rtol=1e-3)
        inside = ellipse(alone, x, y, area.mean())
        assert inside.sum() == pytest.approx(area.mean(), rel=0.03)
        np.testing.assert_allclose(error[row], np.sqrt(scene["variance"][:, inside].sum(axis=1)), rtol=0.02)
        off = flux[row] - alone[inside].sum() * COLOURS
        assert np.abs(off / error[row]).max() < 3.5
        assert 0.9 < alone[inside].sum() / GALAXIES[row][5] < 1
