import galsim
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.cas import asymmetry, growth_curve, petrosian_radius, smoothness
from galzoo.metrics.morphology import STATISTICS, gini, m20, morphology
from galzoo.metrics.shape import half_light_radius


def draw(profile, size=64):
    return profile.drawImage(nx=size, ny=size, scale=1).array[None].astype(float)


def galaxy(seed, size=64):
    """Return an inclined Sersic galaxy with three clumps, off the centre of the stamp."""
    rng = np.random.default_rng(seed)
    profile = galsim.Sersic(n=rng.uniform(0.7, 3), half_light_radius=rng.uniform(3, 5), flux=1000)
    profile = profile.shear(e1=rng.uniform(-0.4, 0.4), e2=rng.uniform(-0.4, 0.4))
    for _ in range(3):
        profile += galsim.Gaussian(sigma=1, flux=30).shift(*rng.normal(scale=4, size=2))
    return draw(galsim.Convolve(profile, galsim.Gaussian(fwhm=3)).shift(*rng.uniform(-1, 1, 2)), size)


@pytest.mark.parametrize(("n", "radius", "expected"), [(0.5, 10, 2.14), (1.0, 10, 2.74), (4.0, 15, 4.29)])
def test_concentration_of_sersic_profiles(n, radius, expected):
    # Integrals of the profiles within 1.5 Petrosian radii; of all light they are 2.15, 2.80 and 5.27.
    measured = morphology(draw(galsim.Sersic(n=n, half_light_radius=radius), 256), sky_sigma=0.0)
    assert measured["concentration"][0] == pytest.approx(expected, abs=0.03)


def test_half_light_radius_is_that_of_the_shapes():
    image = draw(galsim.Convolve(galsim.Exponential(half_light_radius=4), galsim.Gaussian(fwhm=3)).shift(0.4, -0.7), 96)
    centre = np.array([[(96 - 1) / 2 + 0.4, (96 - 1) / 2 - 0.7]])
    radius = petrosian_radius(growth_curve(image[0], np.ones(image[0].shape, bool), centre[0]))
    expected = half_light_radius(image[..., None], centre, limit=1.5 * radius)[0, 0]
    assert morphology(image)["half_light_radius"][0] == pytest.approx(expected, rel=0.01)


def test_petrosian_radius_of_an_exponential():
    # The surface brightness is 0.2 of the mean within at 3.63 scale lengths (Graham & Driver 2005, table 2, n = 1).
    image = draw(galsim.Exponential(scale_radius=6), 128)[0]
    curve = growth_curve(image, np.ones(image.shape, bool), (63.5, 63.5))
    assert petrosian_radius(curve) == pytest.approx(3.63 * 6, rel=0.01)
    # An ellipse of axis ratio 1/2 has the circle's radius times the root of two, along the major axis.
    image = draw(galsim.Exponential(scale_radius=6).shear(q=0.5, beta=0 * galsim.degrees), 160)[0]
    curve = growth_curve(image, np.ones(image.shape, bool), (79.5, 79.5), np.diag([1.0, 4.0]))
    assert petrosian_radius(curve, 0.5) == pytest.approx(3.63 * 6 * np.sqrt(2), rel=0.01)
    np.testing.assert_allclose(curve[2][200], np.pi * 20**2 / 2, rtol=5e-3)


def test_gini_at_its_limits():
    assert gini(np.full(50, 3.0)) == pytest.approx(0.0, abs=1e-12)
    assert gini(np.eye(1, 50)) == pytest.approx(1.0)
    assert gini(np.arange(1, 1001)) == pytest.approx(1 / 3, abs=2e-3)
    assert np.isnan(gini([1.0]))
    assert np.isnan(gini(np.zeros(5)))


def test_m20_falls_when_light_moves_out():
    y, x = np.mgrid[:41, :41] - 20
    disc = (np.hypot(x, y) < 15).astype(float)
    inner, outer = disc.copy(), disc.copy()
    inner[np.hypot(x, y) < 2] = 50.0
    outer[np.hypot(np.abs(x) - 10, y) < 2] = 50.0
    everything = disc > 0
    assert m20(inner, everything) < -1.5 < -0.5 < m20(outer, everything) < 0
    assert np.isnan(m20(disc, disc < 0))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.21)])
def test_asymmetry_of_symmetric_and_disturbed(shift):
    smooth = galsim.Gaussian(sigma=4, flux=1000).shear(e1=0.3, e2=0.2).shift(*shift)
    clumpy = smooth + galsim.Gaussian(sigma=1.5, flux=150).shift(6, 3)
    plain, disturbed = morphology(np.concatenate([draw(smooth), draw(clumpy)]), sky_sigma=0.0)["asymmetry"]
    assert abs(plain) < 0.02
    # 150 of 1150 have no partner, less what lies on the main body's own asymmetry after recentring.
    assert 0.12 < disturbed < 2 * 150 / 1150


def test_centre_matters_to_the_asymmetry():
    image = draw(galsim.Gaussian(sigma=4, flux=1000))[0]
    assert asymmetry(image, (31.5, 31.5), 15) == pytest.approx(0, abs=1e-6)
    assert asymmetry(image, (33.5, 31.5), 15) > 0.3
    assert np.isnan(asymmetry(image, (-5, 31.5), 15))


@pytest.mark.parametrize("sky_sigma", [None, 0.15])
def test_noise_is_taken_off(sky_sigma):
    """Noise adds to the raw asymmetry and smoothness of a smooth galaxy what the sky's share takes off again."""
    rng = np.random.default_rng(3)
    smooth = draw(galsim.Gaussian(sigma=5, flux=1000), 96)
    image = smooth + rng.normal(scale=0.15, size=(8, 96, 96))
    measured = morphology(image, sky_sigma=sky_sigma)
    raw = morphology(image, sky_sigma=0.0)
    assert abs(np.mean(measured["asymmetry"])) < 0.06 < 0.1 < np.mean(raw["asymmetry"])
    clean = morphology(smooth, sky_sigma=0.0)["smoothness"][0]
    # Only positive residuals count, so noise and structure do not quite add up, and the correction overshoots.
    assert 0.4 * clean < np.mean(measured["smoothness"]) < clean < np.mean(raw["smoothness"]) - 0.02


def test_smoothness_rises_with_clumps():
    disc = galsim.Exponential(half_light_radius=6, flux=1000)
    clumps = [galsim.Gaussian(sigma=0.8, flux=40).shift(8 * np.cos(k), 8 * np.sin(k)) for k in range(6)]
    plain, clumpy = morphology(np.concatenate([draw(disc, 96), draw(disc + galsim.Sum(clumps), 96)]))["smoothness"]
    assert clumpy > 3 * plain
    assert np.isnan(smoothness(draw(disc)[0], (31.5, 31.5), radius=7))


def test_ellipticity_and_size_are_adaptive_moments():
    measured = morphology(draw(galsim.Gaussian(sigma=3).shear(e1=0.3, e2=-0.4)))
    assert measured["ellipticity"][0] == pytest.approx(0.5, abs=0.01)
    assert measured["e2"][0] == pytest.approx(-0.4, abs=0.01)
    assert measured["sigma"][0] == pytest.approx(3.0, rel=0.02)


def test_statistics_do_not_depend_on_unit_or_turn():
    image = galaxy(1)
    first = morphology(image)
    for other in (morphology(1e-4 * image), morphology(np.rot90(image, 1, axes=(1, 2)))):
        # A square of an even number of pixels makes the smoothness depend on the direction.
        for name in set(STATISTICS) - {"e1", "e2", "smoothness"}:
            tolerance = 0.02 if name in ("asymmetry", "m20", "gini") else 0.01
            np.testing.assert_allclose(other[name], first[name], rtol=tolerance, atol=1e-3, err_msg=name)


def test_bad_stamps_are_nan_and_spoil_no_other():
    good = galaxy(2)
    noise = np.random.default_rng(0).normal(size=good.shape)
    stack = np.concatenate([0 * good, np.full_like(good, np.nan), -good, np.ones_like(good), noise, good])
    measured = morphology(stack)
    assert set(measured) == set(STATISTICS)
    alone = morphology(good)
    for name in STATISTICS:
        assert measured[name].shape == (6,)
        assert np.isnan(measured[name][:2]).all(), name
        assert measured[name][5] == alone[name][0], name
    assert np.isnan(measured["gini"][:4]).all()
    assert morphology(stack[:0])["gini"].shape == (0,)


def test_masked_neighbour_changes_little():
    image = galaxy(3, 80)
    neighbour = draw(galsim.Gaussian(sigma=2, flux=800).shift(18, 10), 80)
    mask = neighbour > 0.01 * neighbour.max()
    clean, spoilt, masked = morphology(image), morphology(image + neighbour), morphology(image + neighbour, mask)
    for name, tolerance in (("concentration", 0.05), ("asymmetry", 0.05), ("half_light_radius", 0.1), ("m20", 0.05)):
        assert abs(masked[name] - clean[name])[0] < tolerance, name
    assert spoilt["half_light_radius"][0] > 1.1 * clean["half_light_radius"][0]
    # What lies under the mask is not read at all.
    np.testing.assert_equal(morphology(np.where(mask, np.nan, image)), morphology(np.where(mask, 1e6, image), mask))


def test_a_galaxy_that_overfills_its_stamp():
    measured = morphology(draw(galsim.Exponential(half_light_radius=40), 32))
    assert np.isnan(measured["concentration"][0])
    assert np.isnan(measured["gini"][0])
    assert 8 < measured["half_light_radius"][0] < 13


def test_bad_arguments_are_refused():
    image = np.zeros((2, 16, 16))
    for call in (
        lambda: morphology(image[0]),
        lambda: morphology(image, mask=np.zeros((16, 16), bool)),
        lambda: morphology(image, sky_sigma=-1.0),
        lambda: morphology(image, sky_sigma=[1.0, 1.0, 1.0]),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.filterwarnings("ignore")
def test_agreement_with_statmorph():
    statmorph = pytest.importorskip("statmorph")
    from galzoo.metrics.morphology import _detect

    rng = np.random.default_rng(0)
    sigma = 0.2
    image = np.concatenate([galaxy(seed, 80) for seed in range(6)])
    image += rng.normal(scale=sigma, size=image.shape)
    measured = morphology(image)
    theirs = []
    for stamp in image:
        segment, _ = _detect(stamp, np.ones(stamp.shape, bool), sigma)
        # The whole stamp, no pixel taken for a defect, and no time spent on the Sersic fit.
        options = {"n_sigma_outlier": 0, "cutout_extent": 100, "sersic_fitting_args": {"maxiter": 2}}
        theirs.append(statmorph.SourceMorphology(stamp, segment.astype(int), 1, gain=1e5, **options))
    # Typical and largest difference: with noise either search can end in a minimum next to the other's.
    for name, other, typical, largest in (
        ("gini", "gini", 0.003, 0.03),
        ("m20", "m20", 0.01, 0.1),
        ("concentration", "concentration", 0.005, 0.03),
        ("asymmetry", "asymmetry", 0.001, 0.02),
        ("smoothness", "smoothness", 0.001, 0.01),
        ("half_light_radius", "r50", 0.01, 0.05),
    ):
        difference = np.abs(measured[name] - [result[other] for result in theirs])
        assert np.median(difference) < typical, name
        assert difference.max() < largest, name
