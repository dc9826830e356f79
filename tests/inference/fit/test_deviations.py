import numpy as np
import pytest
from keras import ops

from galzoo.inference.fit import laplace
from galzoo.inference.fit.deviations import _Problem, _shares, _Smooth, deviations, doubt, misfit, needs_refinement
from galzoo.inference.fit.gaussian_profiles import Patch, Profiles
from galzoo.layers.psf import convolve, gaussian_psf

SHAPE = (40, 44)
PLACES = np.array([[18.0, 19.0], [23.0, 21.0]])
# Fluxes (source, band): one blue, one red galaxy.
FLUX = np.array([[9e4, 5e4, 3e4], [2e4, 4e4, 6e4]])
SIGMA = 0.7
NOTHING_KNOWN = np.zeros((FLUX.size, FLUX.size)), np.zeros(FLUX.shape[::-1])


@pytest.fixture
def psf():
    return np.stack([np.pad(gaussian_psf(17, 1.4), 4)] * 2 + [gaussian_psf(25, 1.9)], axis=-1)


def scene(psf, bump, noise=10.0, band_bump=0.0):
    """Return the patch of two round galaxies, their profiles as observed and in the model frame, and what they are.

    `bump` times the profile's light is added to the first, in one place, and `band_bump` in the last band alone.
    """
    profiles = Profiles(np.ones((2, 1, 3)), np.array([[[9.0, 0, 9.0]], [[4.0, 0, 4.0]]]))
    galaxies = profiles.sampled(PLACES, SHAPE, SIGMA)
    y, x = np.indices(SHAPE)
    added = np.exp(-0.5 * ((x - 22) ** 2 + (y - 16) ** 2) / 2.0**2)
    truth = galaxies.copy()
    truth[0] *= 1 + bump * added
    truth[0, 2] *= 1 + band_bump * added
    light = np.moveaxis(truth * FLUX[..., None, None], 1, -1).astype("float32")
    image = ops.convert_to_numpy(convolve(light, np.stack([psf] * 2), SIGMA)).sum(axis=0)
    image = image + np.random.default_rng(3).normal(size=image.shape) * noise
    patch = Patch(image.astype("float32"), np.full(image.shape, noise**2, "float32"), None, psf, SIGMA)
    return patch, patch.canvas.draw(profiles, PLACES), galaxies, truth


def fitted(patch, seen):
    """Return fluxes of galaxies whose profiles are believed."""
    bands = zip(np.moveaxis(seen.reshape(*seen.shape[:2], -1), 1, 0), patch.image.reshape(3, -1), strict=True)
    return np.stack([np.linalg.lstsq(images.T, data, rcond=None)[0] for images, data in bands], axis=-1)


def test_the_frame_is_observed_as_the_layers_observe_it(psf):
    patch, seen, galaxies, _ = scene(psf, 0.0)
    found = patch.canvas.filter(galaxies, patch.canvas.from_model)
    wanted = convolve(np.moveaxis(galaxies, 1, -1), np.stack([psf] * 2), SIGMA)
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), wanted, atol=1e-4 * galaxies.max())
    np.testing.assert_allclose(found, seen, atol=2e-3 * seen.max())


def test_the_adjoint_is_one(psf):
    canvas = scene(psf, 0.0)[0].canvas
    a, b = np.random.default_rng(1).normal(size=(2, 3, *SHAPE)).astype("float32")
    forward = np.vdot(canvas.filter(a, canvas.from_model), b)
    assert np.vdot(a, canvas.filter(b, canvas.from_model, adjoint=True)) == pytest.approx(forward, rel=1e-4)


def test_a_point_in_the_model_frame_has_no_negative_light():
    point = Profiles(np.ones((1, 1, 1)), np.zeros((1, 1, 3)))
    image = point.sampled(np.array([[9.4, 11.2]]), (21, 25), SIGMA)[0, 0]
    assert image.min() >= 0
    assert image.sum() == pytest.approx(1, abs=1e-3)
    y, x = np.indices(image.shape)
    np.testing.assert_allclose([(image * x).sum(), (image * y).sum()], [9.4, 11.2], atol=0.02)


def test_a_bump_goes_to_the_galaxy_whose_colour_it_has(psf):
    patch, seen, galaxies, truth = scene(psf, 2.0)
    start = fitted(patch, seen)
    found, _, total = deviations(patch, seen, galaxies, start, NOTHING_KNOWN, 40)
    wanted = FLUX * truth.sum(axis=(2, 3))
    assert np.abs(start / wanted - 1).max() > 0.1
    assert np.abs(total / wanted - 1).max() < 0.04
    np.testing.assert_allclose(found.sum(axis=(2, 3)), total, rtol=0.01)
    true = patch.canvas.filter((FLUX[..., None, None] * truth).astype("float32"), patch.canvas.from_model)
    missed = np.sum((start[..., None, None] * seen - true) ** 2, axis=(1, 2, 3))
    assert np.all(np.sum((found - true) ** 2, axis=(1, 2, 3)) < 0.1 * missed)


def test_a_colour_gradient_is_light_too(psf):
    patch, seen, galaxies, _ = scene(psf, 0.0, band_bump=2.0)
    start = fitted(patch, seen)
    found, _, _ = deviations(patch, seen, galaxies, start, NOTHING_KNOWN, 40)

    def chi2(whole):
        return np.mean((patch.image - whole.sum(axis=0)) ** 2 / patch.variance, axis=(1, 2))

    assert chi2(start[..., None, None] * seen)[2] > 1.5
    # No less than the noise, either.
    assert np.all(np.abs(chi2(found) - 1) < 0.1)


def test_profiles_that_fit_are_left_as_they_are(psf):
    patch, seen, galaxies, _ = scene(psf, 0.0, noise=40.0)
    found, flux, total = deviations(patch, seen, galaxies, FLUX, NOTHING_KNOWN, 40)
    np.testing.assert_allclose(flux, FLUX, rtol=0.1)
    np.testing.assert_allclose(total, FLUX, rtol=0.1)
    wanted = FLUX[..., None, None] * seen
    assert np.abs(found - wanted).max() < 0.1 * wanted.max()


def test_a_band_that_is_absent_changes_nothing(psf):
    patch, seen, galaxies, _ = scene(psf, 2.0)
    patch.variance[2] = np.inf
    patch.image[2] = 0
    found, flux, _ = deviations(patch, seen, galaxies, FLUX, NOTHING_KNOWN, 40)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(flux[:, 2], FLUX[:, 2])


def test_noise_asks_for_nothing(psf):
    for bump, wanted in ((0.0, False), (1.0, True)):
        patch, seen, _, _ = scene(psf, bump)
        assert needs_refinement(patch.image, (seen * FLUX[..., None, None]).sum(axis=0), patch.variance) == wanted


@pytest.mark.parametrize("part", [0.0, 0.1, 0.2])
def test_doubt_is_what_bright_galaxies_show(part):
    rng = np.random.default_rng(7)
    total = np.full((1, 30, 30), 1000.0)
    image = total * (1 + part * rng.normal(size=total.shape)) + rng.normal(size=total.shape)
    assert doubt(image, total, np.ones(total.shape)) == pytest.approx(part, abs=0.015)


def test_doubt_is_the_usual_where_noise_hides_the_galaxy():
    rng = np.random.default_rng(7)
    total = np.full((1, 9, 9), 1.1)
    found = doubt(total + rng.normal(size=total.shape), total, np.ones(total.shape))
    # The root mean square of a half-normal of 0.06.
    assert found == pytest.approx(0.06, abs=0.005)
    # No light, no pixel: no more is known.
    assert doubt(0 * total, 0 * total, np.ones(total.shape)) == pytest.approx(0.06, abs=0.002)
    # It falls without a step as the galaxy rises out of the noise.
    falls = [doubt(flux + rng.normal(size=(1, 20, 20)), np.full((1, 20, 20), flux), np.ones((1, 20, 20))) for flux in
             (2.0, 8.0, 30.0, 100.0)]  # fmt: skip
    assert np.all(np.diff(falls) < 0)
    assert falls[-1] < 0.02


def test_what_is_known_of_a_flux_is_known_of_that_one(psf):
    patch, seen, galaxies, _ = scene(psf, 2.0)
    source, band, value = 1, 0, 5e4
    precision, vector = np.zeros((FLUX.size, FLUX.size)), np.zeros(FLUX.shape[::-1])
    precision[band * len(FLUX) + source, band * len(FLUX) + source] = 1.0
    vector[band, source] = value
    _, flux, _ = deviations(patch, seen, galaxies, FLUX, (precision, vector), 40)
    assert flux[source, band] == pytest.approx(value, rel=0.01)
    others = np.delete(flux / FLUX, band, axis=1)
    assert np.all(np.abs(others - 1) < 0.5)


@pytest.mark.parametrize("bands", [slice(None), slice(2, 3)])
def test_a_hole_in_one_band_makes_no_negative_source(psf, bands):
    # The hole is where the second galaxy lies, which is faint.
    flux = np.array([[3e5], [2e3]]) * np.ones(3)
    profiles = Profiles(np.ones((2, 1, 3)), np.array([[[16.0, 0, 16.0]], [[1.0, 0, 1.0]]]))
    galaxies = profiles.sampled(PLACES, SHAPE, SIGMA)
    truth = galaxies.copy()
    truth[0, 2] *= 1 - 0.4 * galaxies[1, 2] / galaxies[1, 2].max()
    light = np.moveaxis(truth * flux[..., None, None], 1, -1).astype("float32")
    image = ops.convert_to_numpy(convolve(light, np.stack([psf] * 2), SIGMA)).sum(axis=0)
    image = image + np.random.default_rng(5).normal(size=image.shape) * 10
    variance = np.full(image.shape, 100.0)
    profiles.weights = profiles.weights[..., bands]
    patch = Patch(image[..., bands], variance[..., bands], None, psf[..., bands], SIGMA)
    seen = patch.canvas.draw(profiles, PLACES)
    normal = laplace.Normal(*(value[None] for value in _products(patch, profiles)))
    known = normal.prior[0], normal.vector[0]
    images, found, total = deviations(patch, seen, galaxies[:, bands], normal.flux[0], known, 40)
    error = np.sqrt(np.diagonal(normal.inverse[0])).reshape(-1, 2).T
    assert np.all(found > -3 * error)
    assert np.all(total > -3 * error)
    chi2 = np.mean((patch.image - images.sum(axis=0)) ** 2 / patch.variance)
    assert chi2 < 1.2


def _products(patch, profiles):
    normal, right, power = patch.products(profiles, PLACES)
    return normal[:, :, None, :, None], right[..., None], power


def striped(part, noise=1.0, light=60.0):
    """Return data, model and variance (band, y, x) of light that is off by so much of itself, with noise."""
    total = np.full((1, 40, 40), light)
    sign = np.where(np.arange(40) % 2, 1, -1)
    image = total * (1 + part * sign) + noise * np.random.default_rng(0).normal(size=total.shape)
    return image, total, np.full(total.shape, noise**2)


@pytest.mark.parametrize("part", [0.05, 0.2])
def test_misfit_is_the_part_by_which_light_is_off(part):
    assert misfit(*striped(part)) == pytest.approx(part, rel=0.05)


def test_what_noise_may_do_is_no_misfit():
    """1600 pixels, whose mean of squares scatters by .035: three of these are allowed, five are not."""
    image, total, variance = striped(0.0)
    image = total + (image - total) / (image - total).std()
    assert misfit(total + np.sqrt(1.1) * (image - total), total, variance) == 0
    assert misfit(total + np.sqrt(1.2) * (image - total), total, variance) > 0


def test_four_pixels_count_as_one_in_doubt():
    image, total, variance = striped(0.02)
    part = np.linspace(0, 0.3, 3001)[:, None]
    whole = variance.ravel() + (part * total.ravel()) ** 2
    log_prob = -0.5 * (np.log(whole) + (image - total).ravel() ** 2 / whole).sum(axis=1) / 4
    weight = np.exp(log_prob - log_prob.max() - 0.5 * (part[:, 0] / 0.06) ** 2)
    assert doubt(image, total, variance) == pytest.approx(np.sqrt(weight @ part[:, 0] ** 2 / weight.sum()), rel=1e-3)


def test_what_is_not_given_to_the_sources_is_noise():
    image, total, variance = striped(0.1)
    light = np.concatenate([0.7 * total, 0.3 * total])
    residual = (image - total)[0]
    shares = _shares(residual, light, variance[0])
    rest = residual * (1 - shares.sum(axis=0))
    assert (rest**2 / variance[0]).mean() == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose(shares[0] / shares[1], (0.7 / 0.3) ** 2)


def test_the_light_of_a_galaxy_is_all_of_its_image(psf):
    patch, seen, galaxies, _ = scene(psf, 0.4, band_bump=0.9)
    images, flux, total = deviations(patch, seen, galaxies, fitted(patch, seen), NOTHING_KNOWN, 60)
    # What lies beyond the patch is the profile's.
    np.testing.assert_allclose(images.sum(axis=(2, 3)), total - flux * (1 - seen.sum(axis=(2, 3))), rtol=1e-3)
    left = ((patch.image - images.sum(axis=0)) ** 2 / patch.variance).mean()
    assert left < 1.1


def test_no_galaxy_has_less_than_no_light(psf):
    patch, seen, galaxies, _ = scene(psf, 0.0)
    problem = _Problem(patch, patch.variance, seen, galaxies, _Smooth(patch.canvas), NOTHING_KNOWN)
    dark = np.full_like(galaxies[:, 0], -50.0)
    np.testing.assert_allclose(problem.deviation(dark), -galaxies, rtol=1e-5)
