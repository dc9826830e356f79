"""`--wake`: a field whose PSF and sky are not those that were told."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.errors import InputError
from galzoo.tasks.detect.run import Settings, detect_field
from tests.field.fields import BANDS, FWHM, SIGMA, draw, write, write_psf
from tests.tasks.detect.fakes import Peaks
from tests.tasks.detect.test_star_products import Rough

SHAPE = (110, 120)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wake")
    random = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(10, 112, 14), np.arange(10, 104, 14)), axis=-1).reshape(-1, 2)
    stars = grid + random.uniform(-2, 2, grid.shape)
    flux = random.uniform(1500, 4000, len(stars))
    write(folder / "field.fits", 2.0 + draw(SHAPE, [(*p, f, 0) for p, f in zip(stars, flux, strict=True)]))
    write_psf(folder / "psf.fits")
    with fits.open(folder / "psf.fits", "update") as hdus:
        for hdu in hdus:
            if hdu.data is not None:
                # A seventh narrower than the stars are.
                middle = np.arange(hdu.data.shape[-1]) - hdu.data.shape[-1] // 2
                line = np.exp(-0.5 * (middle / (0.87 * SIGMA)) ** 2)
                hdu.data = (np.outer(line, line) / line.sum() ** 2).astype("float32")
    return folder, stars, flux


def run(place, output, detector, **settings):
    settings = Settings(tile=64, report=False, samples=0, refine=True, **settings)
    options = {"psf": place / "psf.fits", "bands": list(BANDS), "subtract_sky": False}
    return detect_field(place / "field.fits", output, detector=detector, settings=settings, **options)


def test_fluxes_and_residuals_are_mended_and_it_is_said_how(place, tmp_path, caplog):
    folder, stars, flux = place
    left, off = {}, {}
    for name in ("asleep", "awake"):
        run(folder, tmp_path / name, Rough(), wake=name == "awake")
        table = QTable.read(tmp_path / name / "catalogue.ecsv")
        near = np.hypot(table["x"].value[:, None] - stars[:, 0], table["y"].value[:, None] - stars[:, 1])
        found = near.min(axis=0) < 1
        assert found.all()
        # Asleep, the sky makes stars of peaks of the noise.
        assert name == "asleep" or len(table) == len(stars)
        off[name] = np.median(table["flux_r"].value[near.argmin(axis=0)] / flux - 1)
        left[name] = np.nanstd(fits.getdata(tmp_path / name / "residual.fits", "r"))
    assert not (tmp_path / "asleep" / "wake.json").exists()
    said = json.loads((tmp_path / "awake" / "wake.json").read_text())
    assert said["rounds"][-1]["chi2_after"] < 0.5 * said["rounds"][0]["chi2_before"]
    for band in BANDS:
        one = said["bands"][band]
        assert one["fwhm_before"] == pytest.approx(2.3548 * 0.87 * SIGMA, rel=0.05)
        assert one["fwhm_after"] == pytest.approx(FWHM, rel=0.05)
        assert one["sky"] == pytest.approx(2.0, abs=0.5)
    assert "--wake: r: FWHM" in caplog.text
    assert abs(off["awake"]) < 0.5 * abs(off["asleep"])
    # The noise of r is 1.2.
    assert left["awake"] < 1.3 < left["asleep"]


def test_what_cannot_be_awake_is_refused(place, tmp_path):
    folder, _, _ = place

    class Silent(Peaks):
        pass

    with pytest.raises(InputError, match="--wake fits the stars, and Silent says no fluxes"):
        run(folder, tmp_path / "out", Silent(), wake=True)
    with pytest.raises(InputError, match="--refine is for a preset"):
        run(folder, tmp_path / "out", None, wake=True)
    write(tmp_path / "field.fits", draw(SHAPE, [(20, 20, 900, 0)]))
    write_psf(tmp_path / "psf.fits")
    with pytest.raises(InputError, match="--wake: 1 stars in the middle of the field; it needs 20"):
        run(tmp_path, tmp_path / "out", Rough(), wake=True)
