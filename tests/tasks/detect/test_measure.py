"""What is said of a source beside its numbers."""

import numpy as np

from galzoo.tasks.detect.measure import FLAGS, _flags, _moments


def flags_of(saturated=(), bad=(), label=1, size=32):
    planes = {"mask": np.zeros((size, size, 1), bool), "saturated": np.zeros((size, size, 1), bool)}
    for key, places in (("saturated", saturated), ("mask", bad)):
        for place in places:
            planes[key][place] = True
    labels = np.zeros((size, size), np.int32)
    labels[8:13, 8:13] = label
    x, y, box, flux = np.array([10.2]), np.array([9.9]), np.array([[7.5, 7.5, 12.5, 12.5]]), np.ones((1, 1))
    return _flags(planes, labels, x, y, box, flux, np.array([False]), (0, 0), (size, size))[0]


def test_a_saturated_pixel_of_the_source_or_at_its_place():
    """Saturated cores are masked in some surveys, and then no pixel of the source."""
    assert flags_of() == 0
    assert flags_of(saturated=[(12, 12)]) == FLAGS["saturated"]
    assert flags_of(saturated=[(10, 10)], label=0) == FLAGS["saturated"]
    assert flags_of(saturated=[(20, 20)]) == 0
    assert flags_of(saturated=[(12, 12)], label=2) == 0


def test_bad_pixels_count_within_the_core():
    assert flags_of(bad=[(11, 11)]) == FLAGS["masked"]
    assert flags_of(bad=[(14, 14)]) == 0


def test_shapes_are_those_of_the_light_and_not_below_the_psf():
    """Half of the light of a Gaussian lies within 1.1774 sigma."""
    y, x = np.mgrid[:64, :64]
    turned = (x - 40 + y - 40) / 2**0.5, (y - y.mean() - x + x.mean()) / 2**0.5
    image = np.exp(-(turned[0] ** 2) / (2 * 5.0**2) - turned[1] ** 2 / (2 * 3.0**2))
    labels = np.where(np.hypot(x - 40, y - 40) < 22, 1, 0)
    labels[5, 5] = 2
    a, b, theta = _moments(image, labels, np.array([40.0, 5.0]), np.array([40.0, 5.0]), 2.3548)
    np.testing.assert_allclose([a[0], b[0], theta[0]], [5, 3, np.pi / 4], rtol=0.01)
    np.testing.assert_allclose([a[1], b[1]], 2.0, rtol=1e-4)
