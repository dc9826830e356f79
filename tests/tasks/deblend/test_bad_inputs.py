"""What is wrong with a field is said in one line, and what can be used is used; nothing that was written is lost."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table

from galzoo.contracts.deblended import FLAGS
from galzoo.errors import InputError
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field.fields import BANDS, FWHM, SCALE, draw, least_squares, wcs, write

SHAPE = (72, 80)
SOURCES = [(25, 25, 900, 0), (30, 25, 500, 0), (60, 50, 800, 1)]
QUICK = Settings(tile=64, stamp_size=16, report=False)


def good(seed=0, sky=5.0, shape=SHAPE, sources=SOURCES):
    return draw(shape, sources, seed, sky)


def deblend(path, folder, **options):
    """Deblend with what is enough to succeed, but for what a test changes."""
    options = {"seeing": FWHM * SCALE, "bands": BANDS, "settings": QUICK, "deblender": least_squares, **options}
    deblend_field(path, folder / "out", **options)
    return QTable.read(folder / "out" / "catalogue.ecsv")


def fails(path, folder, *words, error=InputError, **options):
    """Deblending must fail with one line that holds `words`, and leave an older catalogue as it was."""
    (folder / "out").mkdir(exist_ok=True)
    (folder / "out" / "catalogue.ecsv").write_text("# galzoo 0: precious")
    with pytest.raises(error) as caught:
        deblend(path, folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert (folder / "out" / "catalogue.ecsv").read_text() == "# galzoo 0: precious"
    assert not (folder / "out" / "model.fits").exists()


def plane(path, image, **cards):
    header = wcs().to_header()
    for key, value in {"MAGZERO": 31.4, **cards}.items():
        header[key] = value
    fits.writeto(path, np.asarray(image, np.float32), header, overwrite=True)
    return path


@pytest.fixture
def field(tmp_path):
    return write(tmp_path / "field.fits", good())


def test_good_field(field, tmp_path):
    table = deblend(field, tmp_path)
    assert len(table) in (3, 4)


# Files


def test_missing_file(tmp_path):
    fails(tmp_path / "absent.fits", tmp_path, "absent.fits", "no such file")


def test_not_fits(tmp_path):
    (tmp_path / "x.fits").write_text("a shopping list")
    fails(tmp_path / "x.fits", tmp_path, "x.fits", "not a readable FITS")


def test_empty_file(tmp_path):
    (tmp_path / "x.fits").touch()
    fails(tmp_path / "x.fits", tmp_path, "x.fits", "FITS")


def test_truncated(field, tmp_path):
    field.write_bytes(field.read_bytes()[:30_000])
    fails(field, tmp_path, "field.fits", "truncated")


def test_table_instead_of_image(tmp_path):
    Table({"x": [1.0]}).write(tmp_path / "x.fits")
    fails(tmp_path / "x.fits", tmp_path, "x.fits", "no image")


def test_spectrum(tmp_path):
    fails(plane(tmp_path / "x.fits", np.ones(50)), tmp_path, "x.fits", "no image")


def test_cube_of_other_depth(tmp_path):
    fails(plane(tmp_path / "x.fits", np.ones((5, 40, 40))), tmp_path, "5 images for 3 bands")


def test_four_dimensions(tmp_path):
    fails(plane(tmp_path / "x.fits", np.ones((1, 3, 40, 40))), tmp_path, "no image")


def test_wrong_number_of_files(tmp_path):
    paths = [plane(tmp_path / f"{band}.fits", one) for band, one in zip("gr", good(), strict=False)]
    fails(paths, tmp_path, "2 images for 3 bands")


def test_bands_of_different_shape(tmp_path):
    image = good()
    paths = [plane(tmp_path / f"{band}.fits", one) for band, one in zip("gr", image, strict=False)]
    fails([*paths, plane(tmp_path / "i.fits", image[2][:50])], tmp_path, "i.fits", "galzoo data align")


def test_pattern_without_bands(tmp_path):
    fails(tmp_path / "{band}.fits", tmp_path, "--bands", bands=None)


def test_pattern_with_a_band_missing(tmp_path):
    plane(tmp_path / "x_g.fits", good()[0])
    fails(tmp_path / "x_{band}.fits", tmp_path, "x_r.fits", "no such file")


def test_same_band_twice(field, tmp_path):
    fails([field] * 3, tmp_path, "'g' is named twice", bands=["g", "g", "r"])


def test_names_that_do_not_match(field, tmp_path):
    fails(field, tmp_path, "--as", names=["g", "r"])


def test_no_zero_point(tmp_path):
    paths = [tmp_path / f"{band}.fits" for band in BANDS]
    for path, one in zip(paths, good(), strict=True):
        fits.writeto(path, one, wcs().to_header())
    fails(paths, tmp_path, "g.fits", "--zero-point")
    assert len(deblend(paths, tmp_path, zero_point=31.4)) in (3, 4)


def test_no_pixel_scale(tmp_path):
    paths = [tmp_path / f"{band}.fits" for band in BANDS]
    for path, one in zip(paths, good(), strict=True):
        fits.writeto(path, one)
    fails(paths, tmp_path, "--pixel-scale", zero_point=31.4)
    table = deblend(paths, tmp_path, zero_point=31.4, pixel_scale=SCALE)
    assert "ra" not in table.colnames


# Pixels


def test_all_nan(tmp_path):
    fails(write(tmp_path / "f.fits", np.full((3, *SHAPE), np.nan)), tmp_path, "f.fits", "few good pixels")


def test_one_band_all_nan(tmp_path):
    image = good()
    image[1] = np.nan
    fails(write(tmp_path / "f.fits", image), tmp_path, "band r")


def test_all_zero(tmp_path):
    fails(write(tmp_path / "f.fits", np.zeros((3, *SHAPE))), tmp_path, "f.fits", "--variance")


def test_all_zero_with_variance(tmp_path):
    path = write(tmp_path / "f.fits", np.zeros((3, *SHAPE)))
    variance = write(tmp_path / "v.fits", np.ones((3, *SHAPE)))
    assert len(deblend(path, tmp_path, variance=variance)) == 0


def test_empty_field(tmp_path):
    path = write(tmp_path / "f.fits", good(sources=[]))
    table = deblend(path, tmp_path, seeing=None, settings=Settings(tile=64, stamp_size=16))
    assert len(table) == 0
    assert {"id", "x", "flux_r", "mag_err_i", "e1", "flags"} <= set(table.colnames)
    assert fits.getdata(tmp_path / "out" / "model.fits", "R").max() == 0
    assert not (tmp_path / "out" / "stamps.h5").exists()
    assert (tmp_path / "out" / "report.html").exists()
    assert len(QTable.read(tmp_path / "out" / "catalogue.fits")) == 0


def test_nan_patches(tmp_path):
    image = good()
    image[:, 40:, :30] = np.nan
    image[1, :20, 60:] = np.nan
    table = deblend(write(tmp_path / "f.fits", image), tmp_path)
    assert len(table) in (3, 4)
    assert np.isnan(fits.getdata(tmp_path / "out" / "residual.fits", "R")[60, 5])


def test_a_band_that_saw_nothing_of_a_source_is_no_band_of_negative_flux(tmp_path):
    image = good()
    image[0, :, :40] = np.nan

    def deblender(batch):
        found = least_squares(batch)
        return dataclasses.replace(found, flux=np.where(np.arange(3) == 0, -1.0, found.flux))

    table = deblend(write(tmp_path / "f.fits", image), tmp_path, deblender=deblender)
    blind = table["x"].value < 40 - FWHM - 1
    assert blind.any()
    assert not blind.all()
    assert np.isnan(np.ma.filled(table["flux_g"].value, np.nan)[blind]).all()
    assert np.isnan(np.ma.filled(table["mag_g"].value, np.nan)[blind]).all()
    assert np.isfinite(table["flux_i"].value).all()
    assert ((table["flags"] & FLAGS["negative_flux"] > 0) == ~blind).all()


def test_infinite_pixels(tmp_path):
    image = good()
    image[:, 50, 60], image[0, 10, 10] = np.inf, -np.inf
    table = deblend(write(tmp_path / "f.fits", image), tmp_path)
    hit = np.hypot(table["x"].value - 60, table["y"].value - 50).argmin()
    assert table["flags"][hit] & FLAGS["saturated"]
    assert table["flags"][hit] & FLAGS["fallback"]


def test_huge_values(tmp_path):
    image = good()
    image[0, 10, 10], image[1, 50, 60] = 3e38, -3e38
    assert len(deblend(write(tmp_path / "f.fits", image), tmp_path)) >= 2


def test_negative_image(tmp_path):
    assert len(deblend(write(tmp_path / "f.fits", -good()), tmp_path)) == 0


def test_huge_offset(tmp_path):
    table = deblend(write(tmp_path / "f.fits", good(sky=1e6), dtype=np.float64), tmp_path)
    assert len(table) in (3, 4)
    assert table["flux_r"].value.max() < 3000


def test_constant_offset_without_subtraction_is_kept(tmp_path):
    path = write(tmp_path / "f.fits", good(sky=0.0))
    table = deblend(path, tmp_path, subtract_sky=False)
    assert len(table) in (3, 4)


def test_saturated_star(tmp_path):
    image = good(sources=[*SOURCES, (40, 60, 2e6, 0)])
    table = deblend(write(tmp_path / "f.fits", np.minimum(image, 20_000)), tmp_path, saturation=20_000.0)
    star = np.hypot(table["x"].value - 40, table["y"].value - 60) < 4
    assert star.any()
    assert (table["flags"][star] & FLAGS["saturated"]).any()


def test_star_in_the_middle(tmp_path):
    table = deblend(write(tmp_path / "f.fits", good(sources=[*SOURCES, (40, 36, 3e5, 0)])), tmp_path)
    near = np.hypot(table["x"].value - 40, table["y"].value - 36)
    assert table["flux_r"].value[near.argmin()] == pytest.approx(3e5, rel=0.05)


def test_cosmic_rays(tmp_path):
    image, rng = good(), np.random.default_rng(3)
    for band in range(3):
        image[band, rng.integers(0, 72, 12), rng.integers(0, 80, 12)] += 500
    assert np.isfinite(deblend(write(tmp_path / "f.fits", image), tmp_path)["x"].value).all()


def test_satellite_trail(tmp_path):
    image = good()
    for x in range(80):
        y = int(5 + 0.7 * x)
        image[1, y : y + 2, x] += 300
    table = deblend(write(tmp_path / "f.fits", image), tmp_path)
    assert len(table) >= 1


def test_one_large_source_among_small_ones(tmp_path):
    sources = [(80, 80, 200_000, 18), *[(x, y, 900, 0) for x in (15, 145) for y in (20, 140)]]
    path = write(tmp_path / "f.fits", good(shape=(160, 160), sources=sources))
    table = deblend(path, tmp_path)
    corners = np.abs(table["x"].value - 80) > 50
    assert corners.sum() >= 4
    assert np.hypot(table["x"].value - 80, table["y"].value - 80).min() < 4


def test_smaller_than_a_window(tmp_path):
    table = deblend(write(tmp_path / "f.fits", good(shape=(24, 20), sources=[(10, 12, 900, 0)])), tmp_path)
    assert len(table) == 1
    assert not table["flags"][0] & FLAGS["edge"], "the source is three FWHM from any border"


def test_a_few_pixels(tmp_path):
    fails(write(tmp_path / "f.fits", np.ones((3, 5, 5))), tmp_path, "f.fits", "5 x 5 pixels")


def test_source_on_the_edge(tmp_path):
    table = deblend(write(tmp_path / "f.fits", good(sources=[(0, 30, 3000, 0), (79, 71, 3000, 0)])), tmp_path)
    assert len(table) >= 2


# Noise and masks


def test_negative_variance_is_masked(field, tmp_path):
    variance = np.full((3, *SHAPE), 1.5)
    variance[:, 50:, :20] = -1
    table = deblend(field, tmp_path, variance=write(tmp_path / "v.fits", variance))
    assert len(table) in (3, 4)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_no_usable_variance(field, tmp_path, value):
    fails(field, tmp_path, "few good pixels", variance=write(tmp_path / "v.fits", np.full((3, *SHAPE), value)))


def test_variance_of_wrong_shape(field, tmp_path):
    fails(field, tmp_path, "v.fits", "shape", variance=write(tmp_path / "v.fits", np.ones((3, 40, 40))))


def test_variance_of_too_few_bands(field, tmp_path):
    path = plane(tmp_path / "v.fits", np.ones(SHAPE))
    fails(field, tmp_path, "v.fits", "1 variance maps for 3 bands", variance=path)


def test_two_kinds_of_noise(field, tmp_path):
    fails(field, tmp_path, "both weight and rms", weight=[field], rms=[field])


def test_mask_all_true(field, tmp_path):
    fails(field, tmp_path, "few good pixels", flags=plane(tmp_path / "m.fits", np.ones(SHAPE)))


def test_mask_of_wrong_shape(field, tmp_path):
    fails(field, tmp_path, "m.fits", "shape", flags=plane(tmp_path / "m.fits", np.ones((9, 9))))


def test_errors_without_photon_noise_are_said(tmp_path, caplog):
    """As `galzoo detect` does."""
    path = write(tmp_path / "field.fits", good())
    deblend(path, tmp_path)
    assert caplog.text.count("errors are of the noise of the sky, without that of the sources' own photons") == 1
    caplog.clear()
    deblend(path, tmp_path, rms=write(tmp_path / "rms.fits", np.ones_like(good())))
    assert "own photons" not in caplog.text
