"""A bad column through a star makes no second star of it."""

import numpy as np
import pytest

from galzoo.field import tiles
from galzoo.field.array_field import ArrayField
from galzoo.field.detection import Detection
from galzoo.field.gaps import bridge_gaps

SIDE, FWHM = 61, 3.0


def star(flux=(3000.0, 9000.0), seed=0):
    """A star of two colours, its variance, and its centre."""
    rng = np.random.default_rng(seed)
    x, y = (SIDE - 1) / 2 + rng.uniform(-0.5, 0.5, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    sigma = FWHM / 2.3548
    profile = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    light = profile[..., None] * flux
    variance = 1 + light / 4
    return light, light + rng.normal(size=light.shape) * np.sqrt(variance), variance, (x, y)


def planes_of(image, variance, mask):
    return {"image": np.where(mask, 0, image), "variance": np.where(mask, np.inf, variance), "mask": mask}


@pytest.mark.parametrize("bands", [[0, 1], [0], [1]])
@pytest.mark.parametrize("column", [28, 29, 30, 31, 32])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("upright", [True, False])
def test_a_star_across_a_gap_is_one_source(bands, column, width, upright):
    _, image, variance, centre = star()
    mask = np.zeros(image.shape, bool)
    (mask if upright else mask.swapaxes(0, 1))[:, column : column + width, bands] = True
    planes = planes_of(image, variance, mask)
    field = ArrayField(*(planes[key] for key in ("image", "variance", "mask")), ("r", "i"), 0.2)
    found = tiles.detect_tile(field, (0, SIDE, 0, SIDE), Detection(FWHM, (1.0, 1.0)))
    assert len(found["x"]) == 1
    assert np.hypot(found["x"] - centre[0], found["y"] - centre[1])[0] < 0.6


def test_a_gap_is_filled_with_the_light_of_a_star():
    light, image, variance, _ = star(flux=(1e5, 1e5))
    mask = np.zeros(image.shape, bool)
    mask[:, 30, 0] = True
    planes = planes_of(image, variance, mask)
    whole = bridge_gaps(planes, FWHM)
    middle = np.s_[25:36, 30, 0]
    assert not whole["mask"].any()
    np.testing.assert_allclose(whole["image"][middle], light[middle], atol=0.15 * light.max())
    assert (whole["variance"][middle] >= variance[25:36, [29, 31], 0].max(axis=1)).all()
    np.testing.assert_array_equal(whole["image"][~mask], image[~mask])


def test_wide_gaps_and_those_at_the_border_stay():
    _, image, variance, _ = star()
    mask = np.zeros(image.shape, bool)
    mask[:, 20:27], mask[:, :2], mask[40:, 59:] = True, True, True
    planes = planes_of(image, variance, mask)
    np.testing.assert_array_equal(bridge_gaps(planes, FWHM)["mask"], mask)
    assert bridge_gaps(planes_of(image, variance, np.zeros_like(mask)), FWHM)["image"].sum() == image.sum()
