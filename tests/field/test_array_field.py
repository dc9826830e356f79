"""Images in memory are read as files are."""

import numpy as np

from galzoo.field.array_field import ArrayField


def test_pixels_without_a_noise_are_bad():
    image, variance = np.ones((4, 6, 1)), np.ones((4, 6, 1))
    variance[0, :4, 0] = 0.0, -1.0, np.nan, np.inf
    image[1, 0] = np.nan
    planes = ArrayField(image, variance).read(0, 4, 0, 6)
    bad = np.zeros((4, 6), bool)
    bad[0, :4] = bad[1, 0] = True
    np.testing.assert_array_equal(planes["mask"][..., 0], bad)
    assert np.isinf(planes["variance"][bad]).all()
    assert (planes["image"][bad] == 0).all()
    assert (planes["variance"][~bad] == 1).all()


def test_off_the_image_nothing_is_good():
    planes = ArrayField(np.full((4, 6, 1), 3.0), np.full((4, 6, 1), 2.0)).read(-1, 3, 4, 8)
    assert planes["mask"][0].all()
    assert planes["mask"][:, 2:].all()
    assert (planes["image"][1:, :2] == 3).all()
    assert not planes["mask"][1:, :2].any()
    assert ArrayField(np.ones((4, 6, 1)), np.ones((4, 6, 1))).read(9, 11, 0, 2)["mask"].all()


def test_noise_levels_are_of_the_darkest_tenth():
    variance = np.ones((10, 10, 3)) * [4.0, 9.0, 1.0]
    variance[:8, :, 0] = 100.0
    mask = np.zeros(variance.shape, bool)
    mask[..., 2] = True
    field = ArrayField(np.zeros(variance.shape), variance, mask, bands=("g", "r", "i"))
    # A band without a good pixel takes the largest of the others.
    np.testing.assert_allclose(field.noise_levels(), [2.0, 3.0, 3.0])
