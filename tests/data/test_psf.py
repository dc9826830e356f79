"""Resampling and PSFs: flux and centre are kept, and a PSF that would mislead a model is refused."""

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.conform import moffat
from galzoo.data.psf import (
    _mended,
    _smooth_wings,
    centroid,
    fwhm_of,
    peak_fwhm,
    prepare_psf,
    psf_from_stars,
    psf_transfer,
    read_psf,
    stack_psf,
    weighted_median,
)
from galzoo.data.resample import resample, resample_mask, resample_variance
from galzoo.errors import InputError


def gaussian(size, sigma, x=None, y=None):
    middle = (size - 1) / 2
    x, y = middle if x is None else x, middle if y is None else y
    grid = np.arange(size)
    image = np.exp(-((grid - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * sigma**2))
    return image / (2 * np.pi * sigma**2)


@pytest.mark.parametrize("ratio", [0.59, 0.76, 1.19, 2.0])
def test_flux_and_profile_survive(ratio):
    new = resample(gaussian(65, 4.0), ratio, 2 * int(32 / ratio / 2) + 1)
    assert new.sum() == pytest.approx(1, abs=1e-3)
    # Averaging over larger pixels widens a Gaussian by the variance of a pixel.
    sigma = np.sqrt((4.0 / ratio) ** 2 + (1 / 12 if ratio > 1.25 else 0))
    np.testing.assert_allclose(new, gaussian(new.shape[0], sigma), atol=2e-3 * new.max())


def test_variance_and_mask_follow():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 40, 40))
    measured = resample(noise, 0.76, 40).var(axis=0)
    expected = resample_variance(np.ones((40, 40)), 0.76, 40)
    inside = slice(4, -4)
    np.testing.assert_allclose(measured[inside, inside].mean(), expected[inside, inside].mean(), rtol=0.02)
    bad = np.zeros((40, 40), bool)
    bad[20, 10] = True
    mask = resample_mask(bad, 1.0, 40)
    np.testing.assert_array_equal(mask, bad)
    assert resample_mask(bad, 2.0, 40)[0].all()


def test_pixels_between_a_bad_and_a_good_one_are_bad():
    """Moved by half a pixel each way, four take half of what they hold from it."""
    bad = np.zeros((40, 40), bool)
    bad[20, 10] = True
    mask = resample_mask(bad, 1.0, 39)
    assert mask[19:21, 9:11].all()
    mask[18:22, 8:12] = False
    assert not mask.any()


@pytest.mark.parametrize("size", [30, 31])
def test_psf_is_centred_odd_and_normalised(size):
    image = 3 * gaussian(size, 1.5, x=size / 2 + 0.3, y=size / 2 - 0.4)
    psf = prepare_psf(image, size=24)
    assert psf.shape == (23, 23)
    assert psf.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(centroid(psf), 11, atol=0.01)


def test_psf_that_misleads_is_refused(tmp_path):
    with pytest.raises(InputError, match="hold only"):
        prepare_psf(gaussian(61, 8.0), size=16)
    with pytest.raises(InputError, match="border"):
        prepare_psf(gaussian(31, 2.0) + 0.01)
    with pytest.raises(InputError, match="off the middle"):
        prepare_psf(gaussian(41, 2.0, x=29))
    with pytest.raises(InputError, match="not positive"):
        prepare_psf(-gaussian(31, 2.0))
    with pytest.raises(InputError, match="not finite"):
        prepare_psf(np.full((9, 9), np.nan))
    fits.PrimaryHDU(gaussian(31, 2.0)).writeto(tmp_path / "psf.fits")
    with pytest.raises(InputError, match="2 PSFs for 3 bands"):
        read_psf([tmp_path / "psf.fits"] * 2, ("g", "r", "i"), 32)
    assert read_psf(tmp_path / "psf.fits", ("g", "r"), 24).shape == (1, 23, 23, 2)


def test_a_psf_may_lose_a_tenth_of_its_flux():
    """Of a Gaussian of width 4 a square of 15 pixels holds 88 %, one of 17 pixels 93 %."""
    assert prepare_psf(gaussian(61, 4.0), size=17).sum() == pytest.approx(1)
    with pytest.raises(InputError, match="15 pixels hold only 88"):
        prepare_psf(gaussian(61, 4.0), size=15)


def test_limits_of_what_a_psf_may_be():
    """Off the middle by 3 pixels, with 2 % of the peak at its border, on pixels a tenth as wide as the image's."""
    assert prepare_psf(gaussian(41, 2.0, x=22.8)).shape == (41, 41)
    with pytest.raises(InputError, match=r"3\.3 px off the middle"):
        prepare_psf(gaussian(41, 2.0, x=23.3))
    with pytest.raises(InputError, match=r"its border is 2\.[3-5]% of the peak"):
        prepare_psf(gaussian(31, 2.0) + 0.025 * gaussian(31, 2.0).max())
    # Of a Gaussian of width 3.9 a square of 15 pixels holds 89.4 %.
    assert prepare_psf(gaussian(61, 3.8), size=15).shape == (15, 15)
    with pytest.raises(InputError, match="15 pixels hold only 89"):
        prepare_psf(gaussian(61, 3.9), size=15)
    for ratio in (0.09, 11.0):
        with pytest.raises(InputError, match="31 x 31 pixels that are .* cannot be its PSF"):
            prepare_psf(gaussian(31, 2.0), ratio=ratio)


def test_psf_on_other_pixels_by_its_header(tmp_path):
    fits.PrimaryHDU(gaussian(41, 3.0), fits.Header({"PIXSCALE": 0.1})).writeto(tmp_path / "psf.fits")
    psf = read_psf(tmp_path / "psf.fits", ("r",), 64, pixel_scale=0.12)[0, ..., 0]
    np.testing.assert_allclose(psf, gaussian(len(psf), 2.5), atol=1e-3 * psf.max())


def test_psf_on_other_pixels_by_what_is_said(tmp_path):
    """Whatever its header says."""
    fits.PrimaryHDU(gaussian(41, 3.0), fits.Header({"PIXSCALE": 0.3})).writeto(tmp_path / "psf.fits")
    psf = read_psf(tmp_path / "psf.fits", ("r",), 64, pixel_scale=0.12, psf_scale=0.1)[0, ..., 0]
    np.testing.assert_allclose(psf, gaussian(len(psf), 2.5), atol=1e-3 * psf.max())


@pytest.mark.parametrize("sigma", [1.2, 2.0, 5.0])
def test_widths_of_a_gaussian(sigma):
    image = gaussian(61, sigma)
    assert fwhm_of(image) == pytest.approx(2.3548 * sigma, rel=0.01)
    assert peak_fwhm(np.stack([image, image], axis=-1)) == pytest.approx(2.3548 * sigma, rel=1e-3)


@pytest.mark.parametrize("side", [5, 6])
def test_a_transfer_puts_a_psf_about_the_pixel_of_a_point(side):
    """On a grid that is wider than high."""
    psf = np.random.default_rng(0).random((side, 3))
    point = np.zeros((16, 24))
    point[7, 12] = 1
    seen = np.fft.irfft2(np.fft.rfft2(point) * psf_transfer(psf, (16, 24)), (16, 24))
    if side % 2:
        np.testing.assert_allclose(seen[5:10, 11:14], psf, atol=1e-6)
    # The middle of an even side lies between pixels.
    line = (seen.sum(axis=1) * np.arange(16)).sum() / seen.sum()
    assert line == pytest.approx(7 + (psf.sum(axis=1) * (np.arange(side) - (side - 1) / 2)).sum() / psf.sum(), abs=0.1)


def test_psfs_of_several_sizes_are_stacked_about_their_middles():
    stack = stack_psf([gaussian(9, 1.0), gaussian(5, 1.0)])
    assert stack.shape == (9, 9, 2)
    np.testing.assert_allclose(stack[2:7, 2:7, 0], stack[2:7, 2:7, 1])
    assert stack[..., 1].sum() == pytest.approx(gaussian(5, 1.0).sum())


def test_an_image_that_is_wider_than_high_is_cut_about_a_place():
    y, x = np.indices((20, 40))
    image = np.exp(-((x - 30) ** 2 + (y - 8) ** 2) / 8) / (8 * np.pi)
    np.testing.assert_allclose(resample(image, 1.0, 9, centre=(30, 8)), gaussian(9, 2.0), atol=1e-6)


def test_stars_stack_to_their_psf():
    rng = np.random.default_rng(3)
    truth = moffat(2.2, size=41)[..., 0]
    stars = [
        500 * gaussian(41, 2.0, 20 + rng.uniform(-1, 1), 20 + rng.uniform(-1, 1)) + rng.normal(0, 0.05, (41, 41))
        for _ in range(40)
    ]
    psf = psf_from_stars(np.array(stars))
    np.testing.assert_allclose(psf, gaussian(41, 2.0), atol=0.02 * psf.max())
    # Five sigma from the middle noise is smoothed.
    np.testing.assert_allclose([psf[10, 20], psf[20, 10], psf[30, 20]], psf[20, 30], atol=2e-6)
    assert truth.sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(InputError, match="no stars"):
        psf_from_stars(np.zeros((0, 41, 41)))


@pytest.mark.filterwarnings("error")
def test_a_star_without_a_pixel_in_its_middle_is_left_out():
    y, x = np.mgrid[:41, :41] - 20
    star = np.exp(-0.5 * (x**2 + y**2) / 1.7**2)
    mask = np.array([np.hypot(x, y) < 30, np.zeros(star.shape, bool)])
    stack = psf_from_stars(np.array([star, star]), masks=mask)
    np.testing.assert_allclose(stack, psf_from_stars(star[None]), atol=1e-6)
    with pytest.raises(InputError, match="none has light"):
        psf_from_stars(star[None], masks=mask[:1])


def test_masked_pixels_of_stars_have_no_say_and_sky_is_taken_off():
    """A stripe that all stars have, one of them alone, and a sky of its own under each."""
    rng = np.random.default_rng(4)
    truth = gaussian(31, 2.0)
    stars = 500 * truth + rng.normal(0, 0.05, (5, 31, 31)) + np.array([0, 1, 2, -1, 3.0])[:, None, None]
    masks = np.zeros(stars.shape, bool)
    masks[:, 20:23, :9] = True
    masks[0, 14:, 17:] = True
    stars[masks] = 300
    found = psf_from_stars(stars, masks=masks)
    np.testing.assert_allclose(found, truth, atol=0.01 * truth.max())
    with pytest.raises(InputError, match="none has light above its sky"):
        psf_from_stars(-500 * truth[None])


def test_masked_pixels_are_those_across_the_middle_or_the_mean_of_their_ring():
    """Of a star that falls from left to right, so that a ring is not of one value; wider than high."""
    y, x = np.indices((5, 7))
    star = 10.0 * y - x
    mask = np.zeros(star.shape, bool)
    mask[0, 1] = True
    mended = _mended(np.where(mask, 99, star), mask)
    assert mended[0, 1] == star[4, 5]
    np.testing.assert_array_equal(mended[~mask], star[~mask])
    # The ring of radii from 2 to 3: without a pixel and the one across it, and below 0 where its mean is.
    mask[4, 5] = True
    ring = (np.hypot(y - 2, x - 3) >= 2) & (np.hypot(y - 2, x - 3) < 3) & ~mask
    for level in (0, -100):
        mended = _mended(np.where(mask, 99, star + level), mask)
        np.testing.assert_allclose(mended[mask], star[ring].mean() + level)


def test_a_ring_without_a_good_pixel_is_between_its_neighbours():
    y, x = np.indices((9, 9)) - 4
    rings = np.hypot(x, y).astype(int)
    star, mask = 10.0 - rings, rings == 2
    np.testing.assert_allclose(_mended(np.where(mask, 99, star), mask), star)
    # Where nothing is good nothing is known.
    assert not _mended(star, np.ones(star.shape, bool)).any()


def test_wings_are_round_means_and_the_core_is_as_it_is():
    """Six rings of a cone are above half of its peak: its core reaches to 3 times the root of 37, or 18 pixels."""
    y, x = np.indices((61, 61)) - 30
    radius = np.hypot(x, y)
    cone = np.clip(1 - radius / 12.0, 0, None)
    stack = cone + np.where(x > 0, 1e-3, -1e-3) * (radius > 8)
    stack[30, 35] = 55
    known = np.ones(stack.shape, bool)
    known[30, 35] = False
    ring = radius.astype(int) == 9
    stack[ring], known[ring] = 55, False
    found = _smooth_wings(stack, radius, known)
    # What is not known is the mean of its ring, at its own radius.
    assert found[30, 35] == pytest.approx(1 - 5 / 12, abs=0.025)
    # And of a ring of which nothing is known, between its neighbours.
    np.testing.assert_allclose(found[30, [21, 39]], 1 - 9 / 12, atol=0.025)
    core = known & (radius < 18.2)
    np.testing.assert_allclose(found[core], np.clip(stack[core], 0, None), atol=1e-12)
    assert found.min() == 0
    # Outside the two sides are alike: their mean is nearly 0.
    assert found[radius >= 18.3].max() < 2e-4
    np.testing.assert_array_equal(found[30, :5], found[30, :-6:-1])


def test_a_core_of_one_pixel_is_kept_for_four():
    """Three times the root of the one ring above half, squared, and 1."""
    y, x = np.indices((21, 21)) - 10
    radius = np.hypot(x, y)
    stack = np.where(radius < 1, 1.0, 0.01 * (1 + (x > 0)))
    found = _smooth_wings(stack, radius, np.ones(stack.shape, bool))
    assert (found[10, 14], found[10, 6]) == (0.02, 0.01)
    assert found[10, 15] == pytest.approx(found[10, 5])


@pytest.mark.parametrize(("bright", "width"), [(1, 2.4), (2, 1.6)])
def test_brighter_stars_weigh_up_to_twice_as_much_as_most(bright, width):
    """One that is narrow and 100 times as bright as three wide ones is not the stack; two are."""
    stars = np.stack([1000 * gaussian(31, 1.6)] * bright + [10 * gaussian(31, 2.4)] * 3)
    found = psf_from_stars(stars, noise=np.full(len(stars), 0.01))
    assert fwhm_of(found) == pytest.approx(2.3548 * width, rel=0.02)
    # Stars whose noise is as much greater have no more say than the others.
    found = psf_from_stars(stars, noise=np.r_[np.full(bright, 1.0), np.full(3, 0.01)])
    assert fwhm_of(found) == pytest.approx(2.3548 * 2.4, rel=0.02)


def test_a_stack_is_cut_to_the_size_that_is_asked():
    stars = np.stack([gaussian(41, 2.0)] * 3)
    for size, side in ((25, 25), (24, 23), (None, 41)):
        found = psf_from_stars(stars, size=size)
        assert found.shape == (side, side)
        np.testing.assert_allclose(found, gaussian(side, 2.0), atol=2e-3 * found.max())


def test_a_brighter_neighbour_does_not_pull_a_star_off_its_place():
    """The middle of a star is looked for in the middle third of its image, which may be wider than high."""
    y, x = np.indices((31, 63))
    star = np.exp(-((x - 31.4) ** 2 + (y - 14.7) ** 2) / 8) / (8 * np.pi)
    neighbour = 10 * np.exp(-((x - 52) ** 2 + (y - 14) ** 2) / 12) / (12 * np.pi)
    found = psf_from_stars(np.stack([star + neighbour] * 3), size=25)
    np.testing.assert_allclose(found[8:17, 8:17], gaussian(9, 2.0), atol=0.02 * found.max())


@pytest.mark.parametrize("part", [0.08, 0.5])
def test_a_neighbour_that_nobody_saw_is_no_part_of_the_psf(part):
    """Two of three stars have it in the same place, so that no median takes it away."""
    y, x = np.indices((41, 41)) - 20.0
    star = np.exp(-0.5 * ((x / 3) ** 2 + (y / 2) ** 2)) + 0.01 * np.exp(-np.hypot(x, y) / 6)
    star /= star.sum()
    neighbour = part * star.max() * np.exp(-((x - 9) ** 2 + (y - 7) ** 2) / 8)
    noise = 1e-4 * star.max()
    stars = np.stack([star, star + neighbour, star + neighbour])
    found = psf_from_stars(stars, noise=np.full(3, noise))
    clean = psf_from_stars(np.stack([star] * 3), noise=np.full(3, noise))
    np.testing.assert_allclose(found, clean, atol=0.01 * star.max())
    # Beyond the core its light would be that of the whole ring.
    assert np.abs(psf_from_stars(stars) - clean).sum() > 5 * np.abs(found - clean).sum()


def test_a_masked_pixel_beside_the_middle_does_not_move_a_star():
    star = gaussian(31, 2.0)
    mask = np.zeros((1, 31, 31), bool)
    mask[0, 15, 16:18] = True
    found = psf_from_stars(np.where(mask[0], 9, star)[None], masks=mask)
    np.testing.assert_allclose(found[~mask[0]], star[~mask[0]], atol=0.01 * star.max())


@pytest.mark.parametrize(("shift", "tolerance"), [(0, 0.02), (0.5, 0.12)])
def test_what_is_masked_in_one_star_is_as_in_the_others(shift, tolerance):
    """Of stars twice as long as wide, so that their rings are not of one value; moved, a pixel is shared by two."""
    grid = np.arange(31) - 15.0
    truth = np.exp(-0.5 * ((grid / 4) ** 2 + (grid[:, None] / 2) ** 2))
    moved = np.exp(-0.5 * (((grid - shift) / 4) ** 2 + (grid[:, None] / 2) ** 2))
    stars, masks = np.stack([moved, truth]), np.zeros((2, 31, 31), bool)
    masks[0, 15, [10, 20]] = True
    stars[masks] = 50
    found = psf_from_stars(stars, masks=masks)
    np.testing.assert_allclose(found[15, 8:23], (truth / truth.sum())[15, 8:23], rtol=tolerance)


def test_the_rim_of_a_stack_goes_to_the_sky():
    """From the part of the half-width that is asked for, a Moffat profile goes to 0 by the square of a cosine."""
    y, x = np.indices((41, 41)) - 20
    radius = np.hypot(x, y) / 20.5
    star = (1 + (x**2 + y**2) / 9.0) ** -2.5
    for taper in (0.5, 0.6):
        level = star - np.median(star[(radius > taper) & (radius < 1)])
        part = np.cos(np.pi / 2 * np.clip((radius - taper) / (1 - taper), 0, 1)) ** 2
        found = psf_from_stars(np.stack([star] * 3), taper=taper)
        ratio = (found / np.where(level, level, np.inf))[20, 30:35]
        # Along a row, from its last pixel that is left alone: wings are means of rings a pixel wide.
        np.testing.assert_allclose(ratio / ratio[0], part[20, 30:35], atol=0.06)
        np.testing.assert_allclose(found[radius > 1.05], 0, atol=1e-12)


def test_weighted_medians():
    values = np.array([3.0, 1.0, 2.0, 10.0])
    median, known = weighted_median(values, np.ones(4))
    assert (float(median), bool(known)) == (2.5, True)
    assert float(weighted_median(values, np.array([1.0, 1, 1, 0]))[0]) == 2
    assert float(weighted_median(values, np.array([0.1, 0.1, 0.1, 5]))[0]) == 10
    median, known = weighted_median(np.array([[1.0, 2], [3, 4]]), np.array([[0.0, 1], [0, 0]]))
    np.testing.assert_array_equal(median, [0, 2])
    np.testing.assert_array_equal(known, [False, True])


@pytest.mark.parametrize(
    ("level", "side"), [(-0.002, 41), (0.001, 41), (0.005, 41), (0.005, 40), (0.005, 60), (0.001, 200)]
)
def test_a_background_that_is_low_but_wide_is_refused(level, side):
    """Below 2 % of the peak, but over all pixels a large part of the flux."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    star = np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    prepare_psf(star)
    with pytest.raises(InputError, match=r"a level border has -?\d+\.\d% of its flux; subtract the background"):
        prepare_psf(star + level)


@pytest.mark.parametrize(
    ("peak", "place", "said"), [(0.8, 12, True), (0.2, 14, True), (0.05, 12, False), (0.8, 4, False)]
)
def test_another_star_in_a_psf_is_said(peak, place, said, caplog):
    y, x = np.mgrid[:41, :41] - 20
    star = np.exp(-0.5 * (x**2 + y**2) / 1.7**2)
    prepare_psf(star + peak * np.roll(star, place, 1), name="a.fits")
    assert (f"a.fits: something else, of {100 * peak:.0f} %" in caplog.text) == said
    assert not said or f"{place:+.0f}, +0 pixels off in x, y; its light" in caplog.text


def test_wings_are_no_background():
    """A Moffat profile cut at twice its FWHM still has 12 % of its flux times the area on the border."""
    y, x = np.mgrid[:17, :17] - 8
    assert prepare_psf((1 + (x**2 + y**2) / 9.65) ** -2.0).shape == (17, 17)


def test_psfs_in_the_order_of_other_bands_are_refused(tmp_path):
    y, x = np.mgrid[:15, :15] - 7
    paths = []
    for band, sigma in (("g", 1.8), ("r", 1.2)):
        paths.append(tmp_path / f"psf_{band}.fits")
        psf = np.exp(-0.5 * (x**2 + y**2) / sigma**2).astype("f4")
        fits.writeto(paths[-1], psf, fits.Header({"FILTER": band}))
    found = read_psf(paths, ["g", "r"], 15)
    assert found[0, 7, 7, 0] < found[0, 7, 7, 1]
    with pytest.raises(InputError, match=r"psf_r.fits: is of the band r, but comes in the place of g; give PSFs"):
        read_psf(paths[::-1], ["g", "r"], 15)


@pytest.mark.parametrize("ratio", [0.7, 0.84, 1.0, 1.3])
@pytest.mark.parametrize("edge", [21, 30])
def test_the_resampled_mask_has_straight_edges(ratio, edge):
    """Weights of splines differ with the place between pixels, by which every other pixel along an edge was bad."""
    mask = np.zeros((64, 64), bool)
    mask[:edge] = True
    size = int(round(64 / ratio))
    found = resample_mask(mask, ratio, size)[:, 5:-5]
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    # Not far from where the edge is.
    assert abs(found[:, 0].sum() - (edge - 32) / ratio - size / 2) < 3.5
