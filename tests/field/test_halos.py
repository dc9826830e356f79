"""Profiles of large sources: the ellipses that were drawn come back, and what is no part of them stays."""

import numpy as np
import pytest

from galzoo.field.array_field import ArrayField
from galzoo.field.halos import WithoutHalos, measure_halo

SHAPE = (240, 260)
FWHM, NOISE, PLACE = 3.5, 1.0, (121.3, 118.6)
COLOURS = np.array([1.0, 2.0])
LENGTH, PEAK = 18.0, 200.0


def ellipse(ratio=0.7, theta=0.6, place=PLACE, peak=PEAK):
    """Return the exponential profile of an ellipse of a length in pixels, (y, x)."""
    y, x = np.indices(SHAPE)
    dx, dy = x - place[0], y - place[1]
    along, across = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    return peak * np.exp(-np.hypot(along, across / ratio) / LENGTH)


def blob(x, y, flux, sigma=FWHM / 2.3548):
    yy, xx = np.indices(SHAPE)
    return flux * np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def planes_of(light, seed=0, mask=None):
    noise = np.random.default_rng(seed).normal(0, NOISE, (*SHAPE, 2))
    mask = np.zeros((*SHAPE, 2), bool) if mask is None else mask
    image = light[..., None] * COLOURS + noise
    return {"image": np.where(mask, 0, image), "variance": np.full(image.shape, NOISE**2), "mask": mask}


def measured(planes, others=(), corner=(0, 0)):
    return measure_halo(planes, corner, PLACE, np.array(others, float).reshape(-1, 2), FWHM, (1.0, 1.0))


def test_centre_shape_and_profile_are_those_that_were_drawn():
    halo = measured(planes_of(ellipse()))
    assert (halo.x, halo.y) == pytest.approx(PLACE, abs=0.3)
    assert halo.ratio == pytest.approx(0.7, abs=0.02)
    assert halo.theta == pytest.approx(0.6, abs=0.03)
    wanted = ellipse()[..., None] * COLOURS
    far = np.hypot(*(np.indices(SHAPE)[::-1] - np.array(PLACE)[:, None, None])) > 4
    left = (halo.draw(0, SHAPE[0], 0, SHAPE[1]) - wanted)[far]
    assert np.abs(left).max() < 0.05 * PEAK
    assert np.abs(left[wanted[far] < 3 * NOISE]).max() < 0.5 * NOISE


def test_the_flux_is_all_of_it_and_so_is_the_radius_to_which_it_is_seen():
    halo = measured(planes_of(ellipse()))
    flux, error = halo.flux()
    total = 2 * np.pi * LENGTH**2 * 0.7 * PEAK * COLOURS
    np.testing.assert_allclose(flux, total, rtol=0.02)
    assert (error > 0).all()
    assert (error < 0.02 * flux).all()
    # The mean of both bands has 1.5 times the peak and a noise of .71.
    assert halo.seen == pytest.approx(LENGTH * np.log(1.5 * PEAK / (1.5 * NOISE / np.sqrt(2))), rel=0.06)
    # Second moments of an exponential: its variance along an axis is three squared lengths.
    assert halo.axis() == pytest.approx(np.sqrt(3) * LENGTH, rel=0.06)


def test_parts_are_cut_from_the_whole():
    halo = measured(planes_of(ellipse()))
    whole = halo.draw(0, SHAPE[0], 0, SHAPE[1])
    np.testing.assert_allclose(halo.draw(90, 150, 200, 260), whole[90:150, 200:260], atol=1e-5)
    radius = halo.radius(0, SHAPE[0], 0, SHAPE[1])
    assert (whole[radius > halo.reach] == 0).all()
    assert (whole[radius < halo.reach - 2].sum(axis=-1) > 0).mean() > 0.99


def test_corners_of_windows_are_counted():
    planes = planes_of(ellipse())
    cut = {key: values[20:230, 30:240] for key, values in planes.items()}
    halo, whole = measured(cut, corner=(30, 20)), measured(planes)
    assert (halo.x, halo.y) == pytest.approx((whole.x, whole.y), abs=1e-6)
    np.testing.assert_allclose(halo.profile[:20], whole.profile[:20], atol=0.5)


def test_other_sources_are_no_part_of_it():
    others = [(150, 130, 3e4), (100, 140, 1e4), (121, 160, 2e4)]
    light = ellipse() + sum(blob(*one) for one in others)
    alone, halo = measured(planes_of(ellipse())), measured(planes_of(light), [one[:2] for one in others])
    np.testing.assert_allclose(halo.flux()[0], alone.flux()[0], rtol=0.02)
    near = np.interp([10, 25, 40, 60], halo.radii, halo.profile[:, 0])
    np.testing.assert_allclose(near, np.interp([10, 25, 40, 60], alone.radii, alone.profile[:, 0]), rtol=0.05)
    assert halo.ratio == pytest.approx(alone.ratio, abs=0.05)


def test_a_ring_without_a_good_pixel_is_what_is_about_it():
    mask = np.zeros((*SHAPE, 2), bool)
    y, x = np.indices(SHAPE)
    mask[np.hypot(x - PLACE[0], y - PLACE[1]) < 5] = True
    halo = measured(planes_of(ellipse(ratio=1.0), mask=mask))
    assert np.isfinite(halo.profile).all()
    assert halo.profile[0] == pytest.approx(PEAK * np.exp(-5 / LENGTH) * COLOURS, rel=0.1)


def test_it_ends_where_no_pixel_tells_of_it_however_often_it_is_measured():
    """A window wider than the image: rings beyond its corners have no pixel."""
    planes = planes_of(ellipse(ratio=1.0, peak=5000))
    field = ArrayField(planes["image"], planes["variance"], None, ("g", "r"), 0.2)
    halo = measured(planes)
    for _ in range(3):
        x0, y0, side = int(halo.x) - halo.reach, int(halo.y) - halo.reach, 2 * halo.reach + 1
        halo = measured(field.read(y0, y0 + side, x0, x0 + side), corner=(x0, y0))
    # The corner that is farthest, and a ring.
    assert halo.reach < np.hypot(SHAPE[1] - PLACE[0], SHAPE[0] - PLACE[1]) + 20
    np.testing.assert_allclose(halo.flux()[0], 2 * np.pi * LENGTH**2 * 5000 * COLOURS, rtol=0.03)


def test_ellipses_whose_middles_wander_are_followed():
    """A bright core on a wide disc that lies three pixels beside it."""
    core, wide = blob(*PLACE, 4e5, 5.0), ellipse(ratio=1.0, place=(PLACE[0] + 3, PLACE[1]), peak=60)
    light = core + wide
    halo = measured(planes_of(light))
    moved = np.interp([4, 40], halo.drift[:, 0], halo.drift[:, 1])
    assert moved == pytest.approx([0, 3], abs=0.7)
    left = light[..., None] * COLOURS - halo.draw(0, SHAPE[0], 0, SHAPE[1])
    assert np.abs(left[int(PLACE[1]), 160:200]).max() < 3


def test_there_is_none_where_there_is_no_light():
    assert measured(planes_of(ellipse(), mask=np.ones((*SHAPE, 2), bool))) is None
    assert measured(planes_of(np.zeros(SHAPE)) | {"image": np.full((*SHAPE, 2), -1.0)}) is None


def test_a_field_without_halos_keeps_what_is_under_them_and_doubts_it():
    faint = blob(160, 118, 1000)
    planes = planes_of(ellipse() + faint)
    field = ArrayField(planes["image"], planes["variance"], None, ("g", "r"), 0.2)
    halo = measured(planes, [(160, 118)])
    less = WithoutHalos(field, [halo], 0.3)
    assert less.bands == ("g", "r")
    part, whole = less.read(90, 150, 130, 200), halo.draw(90, 150, 130, 200)
    np.testing.assert_allclose(part["variance"], NOISE**2 + (0.3 * whole) ** 2, rtol=1e-4)
    np.testing.assert_allclose(part["image"], field.read(90, 150, 130, 200)["image"] - whole, atol=1e-4)
    near = np.s_[118 - 90 - 6 : 118 - 90 + 7, 160 - 130 - 6 : 160 - 130 + 7]
    np.testing.assert_allclose(part["image"][near].sum(axis=(0, 1)), 1000 * COLOURS, rtol=0.15)
    off = less.read(-50, 10, -60, 10)
    assert off["mask"][:50].all()
    assert (off["image"][off["mask"]] == 0).all()


def test_a_flux_on_a_halo_is_as_unsure_as_a_twentieth_of_its_light_there():
    halo = measured(planes_of(ellipse()))
    less = WithoutHalos(
        ArrayField(np.ones((*SHAPE, 2)), np.ones((*SHAPE, 2)), None, ("g", "r"), 0.2), [halo, halo], 0.3
    )
    error = less.flux_error(np.array([140.2, 5.0, np.nan]), np.array([109.8, 5.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    light = 2 * ellipse()[110, 140] * COLOURS
    np.testing.assert_allclose(error[0], 0.05 * light * 4 * np.pi * 4, rtol=0.05)
    assert (error[2] == 0).all()
    assert (error[1] < 0.02 * error[0]).all()
