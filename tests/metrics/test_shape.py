import galsim
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.shape import adaptive_moments, aperture_flux, half_light_radius


def draw(profile, size=64):
    return profile.drawImage(nx=size, ny=size, scale=1, method="no_pixel").array[None, :, :, None].astype(float)


@pytest.mark.parametrize("sigma", [1.5, 3.0])
@pytest.mark.parametrize("size", [64, 63])
def test_half_light_radius_of_a_gaussian(sigma, size):
    image = draw(galsim.Gaussian(sigma=sigma), size)
    assert half_light_radius(image)[0, 0] == pytest.approx(1.17741 * sigma, rel=0.005)


def test_half_light_radius_follows_centre_and_ellipse():
    image = draw(galsim.Gaussian(sigma=2.5).shear(e1=0.4, e2=-0.3).shift(2.3, -1.4))
    moments = adaptive_moments(image)
    centre = np.stack([moments["x"], moments["y"]], axis=-1)
    np.testing.assert_allclose(centre[0, 0], [33.8, 30.1], atol=1e-3)
    radius = half_light_radius(image, centre, e1=moments["e1"][:, 0], e2=moments["e2"][:, 0])
    assert radius[0, 0] == pytest.approx(1.17741 * 2.5, rel=0.005)
    assert half_light_radius(image)[0, 0] > 1.03 * radius[0, 0]


def test_limit_sets_the_total():
    image = draw(galsim.Gaussian(sigma=2.0)) + draw(galsim.Gaussian(sigma=2.0).shift(20, 0))
    limited = half_light_radius(image, limit=8.0)[0, 0]
    assert limited == pytest.approx(1.17741 * 2, rel=0.01)
    assert half_light_radius(image)[0, 0] > 2 * limited


def test_half_light_radius_without_light_is_nan():
    image = np.concatenate([np.zeros((1, 32, 32, 1)), -np.ones((1, 32, 32, 1)), np.full((1, 32, 32, 1), np.nan)])
    assert np.isnan(half_light_radius(image)).all()


@pytest.mark.parametrize(("e1", "e2"), [(0.2, 0.0), (0.0, -0.3), (0.4, 0.25)])
def test_moments_recover_a_sheared_gaussian(e1, e2):
    moments = adaptive_moments(draw(galsim.Gaussian(sigma=3.0, flux=1e-3).shear(e1=e1, e2=e2)))
    assert not moments["flag"][0, 0]
    assert moments["e1"][0, 0] == pytest.approx(e1, abs=1e-3)
    assert moments["e2"][0, 0] == pytest.approx(e2, abs=1e-3)
    assert moments["sigma"][0, 0] == pytest.approx(3.0, rel=1e-3)


def test_moments_are_distortions_of_the_axis_ratio():
    a, b = 4.0, 2.0
    image = draw(galsim.Gaussian(sigma=np.sqrt(a * b)).shear(q=b / a, beta=0 * galsim.degrees))
    assert adaptive_moments(image)["e1"][0, 0] == pytest.approx((a**2 - b**2) / (a**2 + b**2), abs=1e-3)


def test_failed_moments_are_flagged():
    good = draw(galsim.Gaussian(sigma=2.0), 32)
    noise = np.random.default_rng(0).normal(size=good.shape)
    moments = adaptive_moments(np.concatenate([0 * good, np.nan * good, noise, good]))
    assert moments["flag"][:, 0].tolist() == [True, True, True, False]
    assert np.isnan(moments["e1"][:3]).all()
    assert np.isfinite(moments["sigma"][3]).all()


def test_masked_pixels_do_not_move_the_moments():
    image = draw(galsim.Gaussian(sigma=2.0).shear(e1=0.3, e2=0.0))
    mask = np.zeros(image.shape, bool)
    mask[0, 40:44, 40:44] = True
    spoilt = np.where(mask, 1e3, image)
    assert adaptive_moments(spoilt, mask)["e1"][0, 0] == pytest.approx(0.3, abs=2e-3)
    with pytest.raises(InputError):
        adaptive_moments(image, mask[0])


def test_aperture_flux():
    image = np.repeat(draw(galsim.Gaussian(sigma=3.0, flux=50)), 2, axis=0)
    np.testing.assert_allclose(aperture_flux(image), 50, rtol=1e-5)
    radius = np.array([1.17741 * 3, 5 * 3.0])
    np.testing.assert_allclose(aperture_flux(image, radius)[:, 0], [25, 50], rtol=0.01)
    mask = np.zeros(image.shape, bool)
    mask[:, :32] = True
    np.testing.assert_allclose(aperture_flux(image, mask=mask), 25, rtol=1e-5)


def test_bad_arguments_are_refused():
    image = np.zeros((2, 8, 8, 1))
    for call in (
        lambda: aperture_flux(image[0]),
        lambda: aperture_flux(image, radius=0),
        lambda: half_light_radius(image, centre=np.zeros((3, 2))),
    ):
        with pytest.raises(InputError):
            call()


def test_a_limit_is_the_circularised_radius():
    """Even light in an ellipse of sqrt(a b) = 10: half of it lies within 10 / sqrt(2)."""
    assert half_light_radius(np.ones((1, 64, 64, 1)), e1=0.6, limit=10.0)[0, 0] == pytest.approx(7.071, rel=0.01)


def test_a_pixel_that_is_nan_counts_as_masked():
    image = draw(galsim.Gaussian(sigma=2.0).shear(e1=0.3, e2=0.0))
    image[0, 40, 40] = np.nan
    assert adaptive_moments(image)["e1"][0, 0] == pytest.approx(0.3, abs=2e-3)


def test_nan_counts_in_the_aperture_alone():
    image = np.ones((1, 21, 21, 1))
    image[0, 0, 0] = np.nan
    assert aperture_flux(image, 5.0)[0, 0] == pytest.approx(25 * np.pi, rel=0.01)
    assert np.isnan(aperture_flux(image, 25.0)).all()
    # Where there is no centre the stamp's is taken.
    assert aperture_flux(image, 5.0, centre=[[np.nan, 3.0]]) == aperture_flux(image, 5.0)
