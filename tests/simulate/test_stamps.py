"""Simulated stamps: what the pixels, the PSFs and the catalogue must satisfy together."""

import galsim
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from galzoo.data.psf import fwhm_of
from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.errors import InputError, UnknownNameError
from galzoo.simulate import psf as psf_module
from galzoo.simulate.galaxies import Component
from galzoo.simulate.psf import Nominal, PSFModel
from galzoo.simulate.render import StampGrid, component_transform
from galzoo.simulate.stamps import StampSpec, make_simulated, simulate_stamps
from galzoo.simulate.surveys import get_survey, noise_sigma

LSST = StampSpec(survey="LSST", bands=("r", "i"), stamp_size=48, psf_size=25, seed=3)
CANDELS = StampSpec(survey="CANDELS", bands=("F160W",), stamp_size=60, psf_size=31, seed=3)


@pytest.fixture(scope="module", params=[LSST, CANDELS], ids=["LSST", "CANDELS"])
def stamps(request):
    return simulate_stamps(request.param, range(24))


def test_what_a_stamp_has(stamps):
    n, size = len(stamps), stamps.shape[0]
    assert stamps.truth.shape == stamps.variance.shape == (n, size, size, len(stamps.bands))
    assert stamps.unit == "nJy"
    assert stamps.meta["model_sigma"] == 0.7
    columns = set(stamps.catalogue.colnames)
    assert {"id", "kind", "mag", "snr", "half_light_radius", "bulge_fraction", "redshift"} <= columns
    assert {"e1", "e2", "x", "y"} <= columns
    for band in stamps.bands:
        assert {f"flux_{band}", f"mag_{band}", f"snr_{band}", f"psf_fwhm_{band}"} <= columns
    assert stamps.catalogue["half_light_radius"].unit == u.arcsec
    snr = np.array([stamps.catalogue[f"snr_{band}"] for band in stamps.bands])
    np.testing.assert_allclose(stamps.catalogue["snr"], np.sqrt((snr**2).sum(axis=0)))
    # Of the galaxy alone: noise has 48 and more, which is the side of a stamp.
    assert snr.min() < 40
    width = [fwhm_of(plane) * stamps.pixel_scale for plane in stamps.psf[..., 0]]
    np.testing.assert_allclose(stamps.catalogue[f"psf_fwhm_{stamps.bands[0]}"].value, width)
    # A galaxy's centre is anywhere on the middle pixel.
    offset = np.array([stamps.catalogue["x"], stamps.catalogue["y"]]) - (size - 1) / 2
    assert np.abs(offset).max() <= 0.5
    assert offset.std() == pytest.approx(1 / np.sqrt(12), rel=0.3)


def test_a_stamp_depends_on_its_number_alone():
    both = simulate_stamps(LSST, [5, 2])
    alone = simulate_stamps(LSST, [2])
    np.testing.assert_array_equal(both.image[1], alone.image[0])
    assert not np.array_equal(both.image[0], both.image[1])


def test_files_do_not_depend_on_processes_or_length(tmp_path):
    spec = StampSpec(survey="LSST", bands=("i",), stamp_size=24, psf_size=15)
    one = Stamps.load(make_simulated(tmp_path / "one.h5", 40, spec, processes=1, progress=False))
    two = Stamps.load(make_simulated(tmp_path / "two.h5", 70, spec, processes=2, progress=False))
    assert len(two) == 70
    for key, values in one.arrays().items():
        np.testing.assert_array_equal(values, two.arrays()[key][:40])
    assert list(one.catalogue["id"]) == list(two.catalogue["id"][:40])


def test_flux_is_that_of_the_catalogue(stamps):
    for band, name in enumerate(stamps.bands):
        flux = stamps.catalogue[f"flux_{name}"].to_value(u.nJy)
        inside = stamps.truth[..., band].sum(axis=(1, 2)) / flux
        # Part of the largest galaxies lies beyond the stamp.
        assert inside.max() < 1.001
        assert np.median(inside) > 0.98
        np.testing.assert_allclose(magnitude_to_njy(stamps.catalogue[f"mag_{name}"].value), flux, rtol=1e-6)


def test_psf_sum_centre_and_width(stamps):
    np.testing.assert_allclose(stamps.psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    n = stamps.psf.shape[1]
    axis = np.arange(n) - (n - 1) / 2
    assert np.abs((stamps.psf * axis[:, None, None]).sum(axis=(1, 2))).max() < 0.02
    assert np.abs((stamps.psf * axis[:, None]).sum(axis=(1, 2))).max() < 0.02
    assert not np.array_equal(stamps.psf[0], stamps.psf[1])
    survey = get_survey(stamps.survey)
    for name in stamps.bands:
        width = stamps.catalogue[f"psf_fwhm_{name}"].to_value(u.arcsec)
        assert np.median(width) == pytest.approx(survey.band(name).psf_fwhm.to_value(u.arcsec), rel=0.08)


def test_noise_is_that_of_the_variance(stamps):
    for row in range(len(stamps)):
        seen = observe(stamps, row)
        chi2 = ((stamps.image[row] - seen) ** 2 / stamps.variance[row]).mean()
        assert chi2 == pytest.approx(1, abs=5 * np.sqrt(2 / seen.size))
    for band, name in enumerate(stamps.bands):
        sky = noise_sigma(stamps.survey, name) ** 2
        assert stamps.variance[..., band].min() == pytest.approx(sky, rel=0.01)


def observe(stamps, row):
    """Return truth convolved with PSF over model-frame Gaussian, zero-padded."""
    size, n = 3 * stamps.shape[0], stamps.psf.shape[1]
    frequency = 2 * np.pi * np.fft.fftfreq(size)
    gaussian = np.exp(-0.5 * stamps.meta["model_sigma"] ** 2 * (frequency[:, None] ** 2 + frequency**2))
    result = np.empty(stamps.image.shape[1:])
    for band in range(result.shape[-1]):
        psf = np.zeros((size, size))
        psf[:n, :n] = stamps.psf_of([row])[0, ..., band]
        kernel = np.fft.fft2(np.roll(psf, (-(n // 2), -(n // 2)), (0, 1))) / gaussian
        truth = np.zeros((size, size))
        truth[: stamps.shape[0], : stamps.shape[1]] = stamps.truth[row, ..., band]
        seen = np.fft.ifft2(np.fft.fft2(truth) * kernel).real
        result[..., band] = seen[: stamps.shape[0], : stamps.shape[1]]
    return result


def test_truth_and_psf_give_the_noiseless_image(stamps):
    # The variance holds the noiseless image: sky + image / gain.
    from galzoo.simulate.surveys import electrons_per_njy

    gain = np.array([electrons_per_njy(stamps.survey, name) for name in stamps.bands])
    sky = np.array([noise_sigma(stamps.survey, name) ** 2 for name in stamps.bands])
    edge = stamps.psf.shape[1] // 4
    for row in np.argsort(stamps.catalogue["snr"])[-5:]:
        seen = observe(stamps, row)
        noiseless = (stamps.variance[row].astype(float) - sky) * gain
        inside = np.s_[edge:-edge, edge:-edge]
        assert np.abs(seen[inside] - noiseless[inside]).max() < 1e-3 * noiseless.max() + 3e-6 * (sky * gain).max()


@pytest.mark.parametrize("kind", ["bulge", "disc"])
def test_components_are_galsims(kind):
    grid = StampGrid(48, 0.2, 25)
    component = Component(kind, np.ones(1), 0.5, 0.6)
    row = grid.shift(23.5 + 0.3, 23.5 - 0.2)
    transform = component_transform(component, 0.4, grid) * row[0] * row[1]
    drawn = grid.sample(transform * grid.gaussian(0.14))
    profile = galsim.Exponential(half_light_radius=0.5) if kind == "disc" else galsim.Sersic(4, 0.5, trunc=4)
    profile = galsim.Convolve(profile.shear(q=0.6, beta=0.4 * galsim.radians), galsim.Gaussian(sigma=0.14))
    expected = profile.drawImage(nx=48, ny=48, scale=0.2, offset=(0.3, -0.2), method="no_pixel").array
    assert np.abs(drawn - expected).max() < 1e-3 * expected.max()
    assert drawn.sum() == pytest.approx(expected.sum(), rel=1e-3)


@pytest.mark.parametrize("name", ["CANDELS", "Euclid_VIS", "HSC"])
def test_images_of_well_and_undersampled_psfs_are_galsims(name):
    survey = get_survey(name)
    scale, band = survey.pixel_scale.to_value(u.arcsec), list(survey.bands)[-1]
    grid = StampGrid(48, scale, 41)
    psf = PSFModel(survey, (band,)).draw(np.random.default_rng(0))[0]
    image, transform = grid.sample_psf(psf)
    fine = galsim.InterpolatedImage(galsim.ImageD(psf.image(161, scale / 4)), scale=scale / 4, flux=1)
    profile = galsim.Exponential(half_light_radius=4 * scale)
    expected = galsim.Convolve(profile, fine).drawImage(nx=48, ny=48, scale=scale, method="no_pixel").array
    shift = grid.shift(23.5, 23.5)
    drawn = grid.observe(grid.transform(profile) * shift[0] * shift[1], transform)
    assert np.abs(drawn - expected).max() < 3e-3 * expected.max()
    assert fwhm_of(image) * scale == pytest.approx(survey.band(band).psf_fwhm.to_value(u.arcsec), rel=0.2)


def test_fwhm_of_a_gaussian():
    axis = np.arange(41) - 20
    image = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / 1.5**2)
    assert fwhm_of(image) == pytest.approx(2.3548 * 1.5, rel=0.01)


class Draws(Nominal):
    """Stands for a random generator: every draw is so many of its standard deviations, or that part of its range."""

    def __init__(self, normal=0.0, uniform=0.0):
        self.values = normal, uniform

    def normal(self, scale=1.0, size=None):
        value = scale * self.values[0]
        return value if size is None else np.full(size, value)

    def uniform(self, low, high):
        return low + self.values[1] * (high - low)


def widths(survey, band, draws):
    """Return the FWHM in arcsec of a PSF, its pixel response included."""
    model = PSFModel(get_survey(survey), (band,))
    step = get_survey(survey).pixel_scale.to_value(u.arcsec) / 4
    return fwhm_of(model.draw(draws)[0].image(161, step)) * step


def test_the_nominal_width_of_the_seeing_has_the_pixel_in_it():
    wanted = get_survey("LSST").band("r").psf_fwhm.to_value(u.arcsec)
    assert widths("LSST", "r", Nominal()) == pytest.approx(wanted, rel=0.01)


def test_seeing_scatters_in_common_and_half_as_much_in_each_band():
    wide = widths("LSST", "r", Draws(normal=1.0)) / widths("LSST", "r", Nominal())
    # Before the pixel, which takes part of it: exp(.08 x 1.5).
    assert wide == pytest.approx(np.exp(1.5 * psf_module._SEEING_SCATTER), rel=0.02)


def test_the_shape_of_the_seeing_is_common_to_the_bands_but_for_a_third():
    model = PSFModel(get_survey("LSST"), ("r", "i"))
    psfs = [model.draw(np.random.default_rng(seed)) for seed in range(200)]
    shear = np.array([[(one.matrix[0, 0] - one.matrix[1, 1]) / 2 for one in pair] for pair in psfs])
    assert shear.std() == pytest.approx(0.015 * np.sqrt(1 + 1 / 9), rel=0.15)
    assert np.corrcoef(shear.T)[0, 1] == pytest.approx(0.9, abs=0.06)


def test_a_space_psf_is_blurred_by_part_of_a_pixel():
    model = PSFModel(get_survey("CANDELS"), ("F160W",))
    scale = get_survey("CANDELS").pixel_scale.to_value(u.arcsec)
    assert model.draw(Draws(uniform=0.5))[0].sigma == pytest.approx(0.15 * scale)
    assert model.draw(Nominal())[0].sigma == 0


def test_a_shear_keeps_areas():
    assert np.linalg.det(psf_module._shear((0.3, -0.2))) == pytest.approx(1)


@pytest.fixture
def psf_image(tmp_path):
    image = galsim.Moffat(beta=3, fwhm=0.18).drawImage(nx=81, ny=81, scale=0.04, offset=(0.3, -0.2)).array
    hdu = fits.PrimaryHDU(image.astype(np.float32))
    hdu.header["PIXSCL"] = 0.04
    hdu.writeto(tmp_path / "psf.fits")
    return tmp_path / "psf.fits"


def test_psfs_from_an_image_are_centred(psf_image):
    spec = StampSpec(survey="CANDELS", bands=("F160W",), stamp_size=40, psf_paths={"F160W": str(psf_image)})
    stamps = simulate_stamps(spec, range(4))
    axis = np.arange(41) - 20
    assert np.abs((stamps.psf[..., 0] * axis).sum(axis=(1, 2))).max() < 0.02
    expected = 0.18  # the pixel's share in quadrature is small beside the Moffat core
    assert np.median(stamps.catalogue["psf_fwhm_F160W"].value) == pytest.approx(expected, rel=0.1)


def test_psf_image_errors(tmp_path, psf_image):
    with pytest.raises(InputError, match="none.fits: no such file"):
        simulate_stamps(StampSpec(survey="CANDELS", psf_paths={"F160W": str(tmp_path / "none.fits")}), [0])
    fits.PrimaryHDU(np.ones((9, 9))).writeto(tmp_path / "bare.fits")
    with pytest.raises(InputError, match="psf_pixel_scale"):
        simulate_stamps(StampSpec(survey="CANDELS", psf_paths={"F160W": str(tmp_path / "bare.fits")}), [0])


@pytest.fixture
def real_galaxies(tmp_path):
    """A catalogue of two 'real' galaxies, one of them too faint to use."""
    psf = galsim.Gaussian(fwhm=0.1)
    noise = np.random.default_rng(0)
    images, psfs = fits.HDUList(), fits.HDUList()
    for flux in (100.0, 1.0):
        galaxy = galsim.Exponential(half_light_radius=0.3, flux=flux).shear(g1=0.2)
        image = galsim.Convolve(galaxy, psf).drawImage(nx=100, ny=100, scale=0.03).array
        images.append(fits.ImageHDU(image + 0.002 * noise.normal(size=image.shape)))
        psfs.append(fits.ImageHDU(psf.drawImage(nx=33, ny=33, scale=0.03).array))
    images.writeto(tmp_path / "images.fits")
    psfs.writeto(tmp_path / "psfs.fits")
    table = Table({"IDENT": [7, 8], "MAG": [21.0, 26.0], "WEIGHT": [1.0, 1.0], "GAL_HDU": [0, 1], "PSF_HDU": [0, 1]})
    table["BAND"] = "F814W"
    table["GAL_FILENAME"], table["PSF_FILENAME"], table["NOISE_FILENAME"] = "images.fits", "psfs.fits", "none.fits"
    table["PIXEL_SCALE"], table["NOISE_MEAN"], table["NOISE_VARIANCE"] = 0.03, 0.0, 4e-6
    table.write(tmp_path / "catalogue.fits")
    return tmp_path / "catalogue.fits"


def test_real_galaxies_that_are_too_large_are_left_out(real_galaxies):
    from galzoo.simulate.real import RealGalaxies

    assert RealGalaxies(real_galaxies, 0.35, 27.0).ids.tolist() == ["real-7", "real-8"]
    assert RealGalaxies(real_galaxies, 0.35).ids.tolist() == ["real-7"]
    with pytest.raises(InputError, match="none of 2 galaxies"):
        RealGalaxies(real_galaxies, 0.25)


def test_real_galaxies(real_galaxies):
    spec = StampSpec(
        survey="CANDELS", bands=("F160W",), stamp_size=84, real_galaxies=str(real_galaxies), real_fraction=1.0
    )
    stamps = simulate_stamps(spec, range(3))
    assert set(stamps.catalogue["id"]) == {"real-7"}
    assert set(stamps.catalogue["kind"]) == {"real"}
    assert stamps.meta["simulation"]["real_galaxies"] == "catalogue.fits"  # a file's header tells no one's folders
    flux = stamps.catalogue["flux_F160W"].to_value(u.nJy)
    np.testing.assert_allclose(stamps.truth.sum(axis=(1, 2, 3)), flux, rtol=5e-3)
    np.testing.assert_allclose(stamps.catalogue["half_light_radius"].value, 0.3, rtol=0.02)
    e = np.hypot(stamps.catalogue["e1"], stamps.catalogue["e2"])
    np.testing.assert_allclose(e, 2 * 0.2 / (1 + 0.2**2), rtol=0.1)
    # Turned by the angle that they are drawn at, as the pixels are.
    axis = np.arange(84.0)
    for row in range(3):
        light = np.clip(stamps.truth[row, ..., 0], 0, None)
        x, y = (light.sum(axis=one) @ axis / light.sum() for one in (0, 1))
        dx, dy = axis - x, (axis - y)[:, None]
        weight = light * (np.hypot(dx, dy) < 20)
        cross, along = 2 * (weight * dx * dy).sum(), (weight * (dx**2 - dy**2)).sum()
        told = np.arctan2(stamps.catalogue["e2"][row], stamps.catalogue["e1"][row])
        assert np.cos(told - np.arctan2(cross, along)) > 0.9
    with pytest.raises(InputError, match="none of 2 galaxies"):
        simulate_stamps(StampSpec(**(spec.to_dict() | {"real_magnitude_limit": 20.0})), [0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"psf_size": 20}, "psf_size is 20; give an odd number"),
        ({"stamp_size": 2}, "stamp_size is 2"),
        ({"stamp_size": 32.5}, "stamp_size is 32.5; give a whole number"),
        ({"seed": -1}, "seed is -1; give a whole number, 0 or more"),
        ({"real_fraction": 0.5}, "without real_galaxies"),
        ({"flat_magnitude": 2}, "fraction from 0 to 1"),
        ({"magnitude_range": (25, 20)}, "the brighter and the fainter"),
        ({"reference": "u", "bands": ("r", "i")}, "reference band 'u' is not simulated"),
        ({"model_sigma": 0}, "model_sigma is 0"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        StampSpec(**changes)


def test_unknown_names(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown survey"):
        StampSpec(survey="nowhere")
    with pytest.raises(InputError, match="unknown setting 'bandz'"):
        make_simulated(tmp_path / "x.h5", 2, bandz=["r"])
    with pytest.raises(InputError, match="n is 0"):
        make_simulated(tmp_path / "x.h5", 0)


def test_an_interrupted_file_is_not_left(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("galzoo.simulate.stamps.StampSimulator.simulate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_simulated(tmp_path / "x.h5", 4, LSST, processes=1, progress=False)
    assert not list(tmp_path.iterdir())


def test_the_specification_is_in_the_file(tmp_path):
    import json

    path = make_simulated(tmp_path / "x.h5", 1, survey="LSST", bands=["i"], stamp_size=24, psf_size=15, progress=False)
    settings = Stamps.load(path).meta["simulation"]
    assert StampSpec(**settings) == StampSpec(survey="LSST", bands=["i"], stamp_size=24, psf_size=15)
    json.dumps(settings)


def test_a_psf_with_a_background_is_refused(tmp_path):
    y, x = np.mgrid[:41, :41] - 20
    psf = np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    for level, refused in ((0.0, False), (0.005, True)):
        path = tmp_path / f"{level}.fits"
        fits.writeto(path, psf + level, fits.Header({"PIXSCALE": 0.06}))
        spec = StampSpec(survey="CANDELS", bands=("F160W",), stamp_size=40, psf_paths={"F160W": str(path)})
        if refused:
            with pytest.raises(InputError, match="subtract the background"):
                simulate_stamps(spec, [0])
        else:
            assert len(simulate_stamps(spec, [0])) == 1
