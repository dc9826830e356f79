"""The image of a PSF, moved to any place."""

import numpy as np
import pytest

from galzoo.field.star_light import StarLight


def gaussian(side, sigma, x=0.0, y=0.0):
    """Return a Gaussian of unit sum in the limit of small pixels, x and y from the middle."""
    line = np.arange(side) - (side - 1) / 2
    return np.exp(-((line - x) ** 2 + (line[:, None] - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


@pytest.mark.parametrize("side", [25, 24])
def test_a_star_is_its_psf_at_its_place(side):
    light = StarLight(gaussian(side, 1.5)[..., None])
    place = np.array([30.3, 41.8])
    stamp = light.stamps([place])[0, ..., 0]
    x0, y0 = light.corners([place])[0]
    x, y = place - (x0 + (light.side - 1) / 2, y0 + (light.side - 1) / 2)
    np.testing.assert_allclose(stamp, gaussian(light.side, 1.5, x, y), atol=2e-4)
    assert stamp.sum() == pytest.approx(gaussian(side, 1.5).sum(), rel=1e-9)


def test_an_undersampled_star_leaves_no_stripes():
    # FWHM of 1.8 pixels, half a pixel off: a whole sinc alternates by a hundredth of the peak all over the stamp.
    light = StarLight(gaussian(25, 0.75)[..., None])
    stamp = light.stamps([[12.5, 12.5]])[0, ..., 0]
    y, x = np.indices(stamp.shape) - (light.side - 1) / 2
    far = np.maximum(np.abs(x), np.abs(y)) > 9
    assert np.abs(stamp[far]).max() < 1e-4 * stamp.max()


def test_slopes_are_derivatives():
    light = StarLight(gaussian(21, 1.2)[..., None])
    place, step = np.array([10.2, 9.7]), 1e-3
    _, *slopes = light.stamps([place], slopes=True)
    for axis, slope in enumerate(slopes):
        move = step * np.eye(2)[axis]
        wanted = (light.stamps([place + move]) - light.stamps([place - move])) / (2 * step)
        # A star that moves to the right grows there.
        np.testing.assert_allclose(slope, wanted, atol=1e-5)


@pytest.mark.parametrize("bands", [1, 2])
def test_stamps_are_sums_over_whole_pixels(bands):
    """The matrix products, against the same kernel summed tap by tap."""
    random = np.random.default_rng(4)
    psf, place = random.uniform(size=(8, 8, bands)), np.array([20.37, 11.81])
    light = StarLight(psf)
    stamp = light.stamps([place])[0]
    corner = light.corners([place])[0]
    shift = place - 3.5 - corner
    kernels = []
    for part in shift:
        at = np.arange(13) - part
        kernel = np.where(np.abs(at) < 5, np.sinc(at) * np.sinc(at / 5), 0)
        kernels.append(kernel / kernel.sum())
    wanted = np.zeros_like(stamp)
    for dx, along_x in enumerate(kernels[0]):
        for dy, along_y in enumerate(kernels[1]):
            wanted[dy : dy + 8, dx : dx + 8] += along_x * along_y * psf
    np.testing.assert_allclose(stamp, wanted, atol=1e-12)


def test_stars_are_added_where_they_are_in_a_piece():
    """Of a piece of a field: light off its edges is cut, two stars on one pixel add up, squares on demand."""
    light = StarLight(gaussian(9, 1.2)[..., None])
    places, flux, corner = (
        np.array([[53.2, 45.0], [53.2, 45.0], [41.0, 34.6]]),
        np.array([[2.0], [3.0], [7.0]]),
        (40, 30),
    )
    piece = light.add(np.zeros((20, 18, 1)), places, flux, corner)[..., 0]
    whole = np.zeros((90, 90))
    for place, amount in zip(places, flux[:, 0], strict=True):
        x, y = light.corners([place])[0]
        whole[y : y + light.side, x : x + light.side] += amount * light.stamps([place])[0, ..., 0]
    np.testing.assert_allclose(piece, whole[30:50, 40:58], atol=1e-12)
    assert piece[-1].any()
    assert piece[:, -1].any()
    squares = light.add(np.zeros((90, 90, 1)), places[:1], flux[:1], power=2)
    assert squares.sum() == pytest.approx(2 * (light.stamps(places[:1]) ** 2).sum())
