"""What is said of a source beside its numbers."""

import numpy as np
import pytest

from galzoo.field.array_field import ArrayField
from galzoo.tasks.detect.measure import FLAGS, _flags, _local, _moments, _psf_radius, measure_tile


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


def test_the_longer_axis_has_the_angle():
    y, x = np.mgrid[:64, :64] - 32.0
    along, across = x * np.cos(0.4) + y * np.sin(0.4), y * np.cos(0.4) - x * np.sin(0.4)
    image = np.exp(-0.5 * ((along / 5) ** 2 + (across / 3) ** 2))
    labels = np.where(np.hypot(x, y) < 22, 1, 0)
    for turned, angle in ((image, 0.4), (image.T, np.pi / 2 - 0.4), (image[::-1], -0.4)):
        middle = np.array([32.0]), np.array([31.0 if angle < 0 else 32.0])
        shown = labels[::-1] if angle < 0 else labels
        a, b, theta = _moments(turned, shown, *middle, 1.0)
        np.testing.assert_allclose([a[0], b[0], theta[0]], [5, 3, angle], rtol=0.02)


@pytest.mark.parametrize(
    ("box", "corner", "edge"),
    [
        ((0, 0, 5, 5), (20, 30), False), ((0, 0, 5, 5), (0, 30), True), ((0, 0, 5, 5), (20, 0), True),
        ((40, 40, 48, 48), (20, 150), False), ((40, 40, 49, 48), (20, 150), True), ((40, 40, 48, 49), (50, 100), True),
        ((40, 40, 48, 48), (20, 50), False),
    ],
)  # fmt: skip
def test_the_edge_is_that_of_the_field(box, corner, edge):
    """And not that of the window in which it is looked at; the field is wider than high."""
    planes = {key: np.zeros((60, 60, 1), bool) for key in ("mask", "saturated")}
    labels = np.zeros((60, 60), np.int32)
    found = _flags(planes, labels, np.array([30.0]), np.array([30.0]), np.array([box], float), np.ones((1, 1)),
                   np.array([False]), corner, (100, 200))  # fmt: skip
    assert (found[0] & FLAGS["edge"] > 0) == edge


def test_numbers_of_sources_whose_light_and_noise_are_known():
    """Two stars, one of them faint, and a galaxy, without noise in the pixels."""
    shape, sigma, noise = (120, 200), 1.6, np.array([2.0, 3.0])
    places, widths = np.array([[150.3, 60.2], [100.0, 20.5], [40.4, 70.7]]), np.array([sigma, sigma, 4.0])
    flux = np.array([[8000.0, 16000.0], [75.0, 150.0], [20000.0, 10000.0]])
    y, x = np.mgrid[: shape[0], : shape[1]]
    lights = np.array([np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / width**2) / (2 * np.pi * width**2)
                       for at, width in zip(places, widths, strict=True)])  # fmt: skip
    image, variance = np.einsum("nyx,nb->yxb", lights, flux), np.broadcast_to(noise**2, (*shape, 2))
    field = ArrayField(image, variance, bands=("g", "r"))
    near = np.hypot(x - places[:, 0, None, None], y - places[:, 1, None, None]) < 4 * widths[:, None, None]
    instances = (near * np.arange(1, 4)[:, None, None]).max(axis=0).astype(np.int32)
    box = np.concatenate([places - 4 * widths[:, None], places + 4 * widths[:, None]], axis=1)
    line = np.exp(-0.5 * (np.arange(21) - 10) ** 2 / sigma**2)
    psf = np.broadcast_to((np.outer(line, line) / line.sum() ** 2)[None, ..., None], (1, 21, 21, 2))

    def psf_of(x, y):
        return np.repeat(psf, len(x), axis=0)

    rows = {"x": places[:, 0], "y": places[:, 1], "box": box}
    found = measure_tile(field, instances, rows, (0, *shape[:1], 0, shape[1]), psf_of)
    np.testing.assert_array_equal(found["row"], [0, 1, 2])
    np.testing.assert_allclose(found["aperture_flux"], flux, rtol=0.02)
    np.testing.assert_allclose(found["a"], widths, rtol=0.02)
    # The automatic aperture of a Gaussian reaches 2.5 sqrt(pi / 2) sigma.
    area = np.pi * (2.5**2 * np.pi / 2) * widths**2
    np.testing.assert_allclose(found["aperture_flux_error"], np.sqrt(area)[:, None] * noise, rtol=0.03)
    # Bands are weighted by 1 / noise, so the noise of the sum is sqrt(2) in these units.
    np.testing.assert_allclose(found["snr"], flux @ (1 / noise) / np.sqrt(2 * area), rtol=0.03)
    np.testing.assert_allclose(found["radius"], 1.1774 * widths, rtol=0.04)
    np.testing.assert_allclose(found["starlike"][0], 1 / (1 + np.exp(-0.2 / 0.05)), atol=0.02)
    # A faint one is less sure.
    assert 0.6 < found["starlike"][1] < 0.9
    assert found["starlike"][2] < 0.01
    assert not found["flags"].any()
    # A tile has its own only, at the same places of the field and with all light beyond its edges.
    part = measure_tile(field, instances, rows, (59, 120, 149, 200), psf_of)
    assert part["row"].tolist() == [0]
    assert not part["flags"].any()
    for key in ("aperture_flux", "aperture_flux_error", "a", "snr", "radius", "starlike"):
        np.testing.assert_allclose(part[key][0], found[key][0], rtol=1e-5)
    # A bad column through a star takes no light from it, in one band as in both.
    mask = np.zeros(image.shape, bool)
    mask[:, 150, 0], mask[:, 40] = True, True
    field = ArrayField(np.where(mask, -1e3, image), variance, mask, ("g", "r"))
    found = measure_tile(field, instances, rows, (0, *shape[:1], 0, shape[1]), psf_of)
    np.testing.assert_allclose(found["aperture_flux"], flux, rtol=0.04)
    assert (found["flags"] == [FLAGS["masked"], 0, FLAGS["masked"]]).all()


def test_a_source_that_noise_makes_smaller_than_the_psf_is_no_surer_a_star_than_one_of_its_size():
    """Half of its light within .7 of the PSF's radius, at a signal-to-noise of some 6."""
    image, narrow = np.zeros((60, 60, 1)), 1.6 * 0.7
    y, x = np.mgrid[:60, :60]
    image[..., 0] = 90 * np.exp(-0.5 * ((x - 30) ** 2 + (y - 30) ** 2) / narrow**2) / (2 * np.pi * narrow**2)
    field = ArrayField(image, np.full(image.shape, 9.0), bands=("r",))
    instances = (np.hypot(x - 30, y - 30) < 5).astype(np.int32)
    rows = {"x": np.array([30.0]), "y": np.array([30.0]), "box": np.array([[25.0, 25.0, 35.0, 35.0]])}
    line = np.exp(-0.5 * (np.arange(21) - 10) ** 2 / 1.6**2)
    psf = (np.outer(line, line) / line.sum() ** 2)[None, ..., None]
    found = measure_tile(field, instances, rows, (0, 60, 0, 60), lambda x, y: np.repeat(psf, len(x), axis=0))
    assert found["radius"][0] < 0.8 * 1.1774 * 1.6
    assert found["starlike"][0] == pytest.approx(1 / (1 + np.exp(-0.2 / (0.05 + 1 / found["snr"][0]))), abs=1e-3)
    assert found["starlike"][0] < 0.8


def test_flags_by_band():
    """A band that is bad everywhere says nothing; one that is bad in the core does, and so does a saturated one."""

    def flags(saturated=np.s_[:0], bad=np.s_[:0], flux=(1.0, 1.0)):
        planes = {key: np.zeros((32, 32, 2), bool) for key in ("mask", "saturated")}
        planes["mask"][bad], planes["saturated"][saturated] = True, True
        x, y, box = np.array([10.2]), np.array([9.9]), np.array([[7.5, 7.5, 12.5, 12.5]])
        labels = np.zeros((32, 32), np.int32)
        labels[8:13, 8:13] = 1
        return _flags(planes, labels, x, y, box, np.array([flux]), np.array([False]), (0, 0), (32, 32))[0]

    assert flags(bad=np.s_[11, 11, 0]) == FLAGS["masked"]
    assert flags(bad=np.s_[:, :, 0]) == 0
    assert flags(bad=np.s_[10, 11]) == FLAGS["masked"]
    assert flags(saturated=np.s_[12, 12, 1]) == FLAGS["saturated"]
    assert flags(flux=(1.0, np.nan)) == 0
    assert flags(flux=(np.nan, np.nan)) == FLAGS["no_flux"]


def test_sources_touch_by_their_sides_and_those_of_other_tiles_count():
    """The first and the second lie side by side, the third under a fourth of another tile, the fifth by itself."""
    labels = np.zeros((12, 12), np.int32)
    labels[1:3, 1:3], labels[1:3, 3:5], labels[6:8, 1:3], labels[8:10, 1:3], labels[6:8, 8:10] = 1, 2, 3, 4, 5
    local, touching = _local(labels, np.array([0, 1, 2, 4]))
    assert touching.tolist() == [True, True, True, False]
    assert [local[at] for at in ((1, 1), (1, 3), (6, 1), (8, 1), (6, 8), (0, 0))] == [1, 2, 3, 5, 4, 0]
    # By a corner they do not.
    assert not _local(np.diag([1, 2]).astype(np.int32), np.array([0, 1]))[1].any()


def test_pixels_below_the_sky_have_no_moments():
    y, x = np.mgrid[:64, :64] - 32.0
    image = np.exp(-0.5 * (x**2 + y**2) / 3**2)
    image[np.hypot(x, y) > 15] = -0.01
    a, b, _ = _moments(image, (np.hypot(x, y) < 20).astype(int), np.array([32.0]), np.array([32.0]), 1.0)
    np.testing.assert_allclose([a[0], b[0]], 3, rtol=0.01)


@pytest.mark.parametrize(("weights", "width"), [((3.0, 0.0), 1.5), ((0.0, 0.2), 2.5)])
def test_the_radius_of_the_psf_is_that_of_the_bands_that_count(weights, width):
    """Whatever its sum; half of the light of a Gaussian lies within 1.1774 sigma."""
    lines = [np.exp(-0.5 * (np.arange(31) - 15) ** 2 / sigma**2) for sigma in (1.5, 2.5)]
    psf = 7 * np.stack([np.outer(line, line) / line.sum() ** 2 for line in lines], axis=-1)[None]
    places = np.arange(2100.0)
    found = _psf_radius(lambda x, y: np.repeat(psf, len(x), axis=0), places, places, weights)
    # Of all sources, though PSFs are asked for in parts.
    assert found.shape == (2100,)
    np.testing.assert_allclose(found, 1.1774 * width, rtol=0.02)
