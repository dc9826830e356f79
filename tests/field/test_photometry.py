"""Apertures against galaxies whose light is known."""

import numpy as np
import pytest

from galzoo.field.photometry import automatic_radius, ellipse_fluxes, ellipses, half_light_radius, kron_radius

SIDE, PLACES, FLUX, NOISE = 101, np.array([[30.0, 40.0], [75.3, 60.6]]), np.array([5000.0, 3000.0]), 0.5


def scene(a=3.0, b=2.0, theta=0.5):
    """Return two elliptical Gaussians without noise, and the ellipses they are, of one sigma."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.zeros((SIDE, SIDE))
    for (x0, y0), flux in zip(PLACES, FLUX, strict=True):
        along = (x - x0) * np.cos(theta) + (y - y0) * np.sin(theta)
        across = (y - y0) * np.cos(theta) - (x - x0) * np.sin(theta)
        image += flux * np.exp(-0.5 * ((along / a) ** 2 + (across / b) ** 2)) / (2 * np.pi * a * b)
    return image.astype(np.float32), ellipses(*PLACES.T, *np.tile([[a], [b], [theta]], 2))


def test_kron_ellipses_hold_the_light_and_the_noise_of_their_area():
    image, ellipse = scene()
    bad = np.zeros(image.shape, bool)
    radius = automatic_radius(image, bad, ellipse)
    # The first moment of a Gaussian is sqrt(pi / 2) sigma; within 2.5 of these lies 1 - exp(-(2.5^2 pi / 4)) of it.
    np.testing.assert_allclose(radius, 2.5 * np.sqrt(np.pi / 2), rtol=0.02)
    planes = image[..., None], np.full((*image.shape, 1), NOISE**2, np.float32), bad[..., None]
    flux, error, flags = ellipse_fluxes(*planes, ellipse, radius)
    np.testing.assert_allclose(flux[:, 0], FLUX * (1 - np.exp(-(radius**2) / 2)), rtol=0.005)
    np.testing.assert_allclose(error[:, 0], NOISE * np.sqrt(np.pi * 6.0) * radius, rtol=0.01)
    assert not flags.any()


def test_a_small_source_has_the_least_aperture():
    image, _ = scene(0.4, 0.4, 0.0)
    ellipse = ellipses(*PLACES.T, *np.tile([[0.1], [0.4], [0.0]], 2))
    radius = automatic_radius(image, np.zeros(image.shape, bool), ellipse)
    assert ellipse[2].tolist() == [0.3, 0.3]
    assert (radius * np.sqrt(0.3 * 0.4) >= 1.75).all()


def test_pixels_without_noise_count_as_bad():
    image, ellipse = scene()
    radius, variance = np.full(2, 3.0), np.full((*image.shape, 1), NOISE**2, np.float32)
    bad = np.zeros(variance.shape, bool)
    bad[:40] = True
    known = ellipse_fluxes(image[..., None], variance, bad, ellipse, radius)
    variance[bad] = np.inf
    found = ellipse_fluxes(image[..., None], variance, np.zeros_like(bad), ellipse, radius)
    assert np.isfinite(known[1]).all()
    for one, other in zip(found[:2], known[:2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_band_without_pixels_has_no_flux():
    image, ellipse = scene()
    planes = np.stack([image, image], axis=-1)
    bad = np.zeros(planes.shape, bool)
    bad[..., 1] = True
    flux, error, _ = ellipse_fluxes(planes, 1.0, bad, ellipse, np.full(2, 3.0))
    assert np.isfinite(flux[:, 0]).all()
    assert np.isnan(flux[:, 1]).all()
    assert np.isnan(error[:, 1]).all()


@pytest.mark.parametrize("total", [None, 2 * FLUX])
def test_half_of_the_light(total):
    image, _ = scene(2.0, 2.0, 0.0)
    x, y = PLACES.T
    if total is not None:
        # Half of twice the light is all of it: nothing within reach holds that.
        assert (half_light_radius(image, None, x, y, 8.0, total) > 6).all()
    else:
        np.testing.assert_allclose(half_light_radius(image, None, x, y, 12.0), 2.0 * np.sqrt(2 * np.log(2)), rtol=0.02)


def test_the_least_aperture_is_seven_halves_of_a_pixel_across():
    """Of a source without light about it, whose Kron radius says nothing."""
    image = np.full((SIDE, SIDE), -1.0, np.float32)
    ellipse = ellipses(*PLACES.T, *np.tile([[0.5], [0.4], [0.0]], 2))
    radius = automatic_radius(image, np.zeros(image.shape, bool), ellipse)
    kron = 2.5 * np.sqrt(0.5 * 0.4)
    np.testing.assert_allclose(radius * np.sqrt(0.5 * 0.4), max(3.5 / 2, kron))


def test_noise_does_not_blow_an_aperture_up():
    """A dark middle in a bright ring has its first moment outside of it."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    distance = np.hypot(x, y)
    image = np.where((distance > 9) & (distance < 12), 1.0, np.where(distance < 6, -1.0, 0.0)).astype(np.float32)
    middle = np.array([SIDE // 2])
    ellipse = ellipses(middle, middle, *np.array([[2.0], [2.0], [0.0]]))
    bad = np.zeros(image.shape, bool)
    assert kron_radius(image, bad, ellipse) > 6.5
    np.testing.assert_allclose(automatic_radius(image, bad, ellipse), 2.5 * 6.0)


def test_the_aperture_of_a_faint_source_is_the_usual_one_and_that_of_a_bright_one_its_own():
    """The Kron radius of a Gaussian is (pi / 2)^.5 sigma; the usual one is 1.6, known to .5."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:81, :81] - 40
    star = np.exp(-0.5 * np.hypot(x, y) ** 2 / 2.0**2)
    ellipse = ellipses([40.0], [40.0], [2.0], [2.0], [0.0])
    bad = np.zeros(star.shape, bool)
    own, usual = 2.5 * np.sqrt(np.pi / 2), 2.5 * 1.6
    plain, faint = [], []
    for _ in range(40):
        image = (0.8 * star + rng.normal(size=star.shape)).astype(np.float32)
        plain.append(automatic_radius(image, bad, ellipse)[0])
        faint.append(automatic_radius(image, bad, ellipse, noise=1.0)[0])
    assert max(plain) > 9
    np.testing.assert_allclose(faint, usual, rtol=0.6)
    bright = (500 * star + rng.normal(size=star.shape)).astype(np.float32)
    np.testing.assert_allclose(automatic_radius(bright, bad, ellipse, noise=1.0), own, rtol=0.01)
    # As sure of one as of the other.
    away = 18 - 8 * own / 2.5 + np.pi / 2
    noise = 2 * np.pi * 2.0**2 * 0.5 / np.sqrt(np.pi * 4 * away) / 6
    between = automatic_radius(star.astype(np.float32), bad, ellipse, noise=noise)
    np.testing.assert_allclose(between, (own + usual) / 2, rtol=0.01)


def test_flags_of_any_band_are_kept():
    image, ellipse = scene()
    planes = np.stack([image, image], axis=-1)
    bad = np.zeros(planes.shape, bool)
    bad[40, 30, 0] = True
    flags = ellipse_fluxes(planes, NOISE**2, bad, ellipse, np.full(2, 3.0))[2]
    assert flags[0] != 0
    assert flags[1] == 0


def test_light_beyond_the_own_segment_counts_unless_it_is_of_another():
    image, ellipse = scene()
    labels = np.zeros(image.shape, np.int32)
    for number, (x, y) in enumerate(PLACES.astype(int), 1):
        labels[y - 1 : y + 2, x - 1 : x + 2] = number
    planes = image[..., None], NOISE**2, np.zeros((*image.shape, 1), bool), ellipse, np.full(2, 3.0)
    alone, own = ellipse_fluxes(*planes), ellipse_fluxes(*planes, labels)
    np.testing.assert_allclose(own[0], alone[0], rtol=1e-6)
    labels[PLACES.astype(int)[0, 1] + 2 :] = 2
    assert abs(ellipse_fluxes(*planes, labels)[0][0, 0] / alone[0][0, 0] - 1) > 0.05


def test_pixels_on_the_rim_of_an_aperture_count_in_part():
    """The area of a small circle, wherever its middle lies on a pixel."""
    image = np.ones((SIDE, SIDE, 1), np.float32)
    rng = np.random.default_rng(0)
    circles = ellipses(*rng.uniform(30, 60, (2, 200)), *np.tile([[1.0], [1.0], [0.0]], 200))
    flux = ellipse_fluxes(image, 1.0, np.zeros(image.shape, bool), circles, np.full(200, 2.0))[0]
    assert flux[:, 0].std() < 0.02 * flux.mean()
    assert flux.mean() == pytest.approx(np.pi * 4, rel=0.01)


def test_angles_that_rounding_pushed_beyond_a_quarter_turn_are_held():
    place = np.array([50.0])
    ellipse = ellipses(place, place, place / 10, place / 20, np.array([np.pi / 2 + 1e-4]))
    assert ellipse[4] == np.pi / 2
    image = np.ones((SIDE, SIDE, 1), np.float32)
    assert np.isfinite(ellipse_fluxes(image, 1.0, np.zeros(image.shape, bool), ellipse, np.ones(1))[0]).all()


def test_half_of_no_light_is_within_no_radius():
    image, _ = scene(2.0, 2.0, 0.0)
    x, y = PLACES.T
    assert (half_light_radius(image, None, x, y, 8.0, np.array([-5.0, 0.0])) < 0.5).all()


def test_noise_leaves_no_faint_star_a_tiny_aperture():
    """A Kron radius near nothing is of noise alone; such apertures held a tenth of the light."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:61, :61] - 30
    sigma = 3.0
    star = np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2 * np.pi * sigma**2)
    flux, shares = 8 / np.sqrt(np.sum(star**2)), []
    for _ in range(100):
        image = (flux * star + rng.normal(size=star.shape))[..., None].astype(np.float32)
        ellipse = ellipses([30.0], [30.0], [sigma], [sigma], [0.0])
        radius = automatic_radius(image[..., 0], np.zeros(star.shape, bool), ellipse)
        shares.append(ellipse_fluxes(image, 1.0, np.zeros(image.shape, bool), ellipse, radius)[0][0, 0] / flux)
    assert min(shares) > 0.4
