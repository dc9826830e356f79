"""Cosmic rays and saturated stars."""

import keras
import numpy as np

from galzoo.layers.artefacts import cosmic_rays, saturate


def test_rays_lie_in_one_band_each_and_half_are_masked():
    shape = (64, 48, 32, 3)
    variance = np.full(shape, 4.0, "float32")
    variance[..., 2] = np.inf
    clean, good = np.zeros(shape, "float32"), np.zeros(shape, bool)
    image, mask = (keras.ops.convert_to_numpy(part) for part in
                   cosmic_rays(clean, variance, good, 1.5, keras.random.SeedGenerator(3)))  # fmt: skip
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert not image[..., 2].any()
    # In a scene with one ray in sight one band alone shows it; a mean of 1.5 of which a third is in the absent band.
    bright = image.max(axis=(1, 2)) > 5
    assert 0.3 < bright[:, :2].mean() < 0.6
    masked = mask[..., :2].any(axis=(1, 2))
    assert 0.2 < (masked & bright[:, :2]).sum() / bright[:, :2].sum() < 0.8
    trail = image[..., 0].max(axis=(1, 2)).argmax()
    ys, xs = np.nonzero(image[trail, ..., 0] > 0.3 * image[trail, ..., 0].max())
    assert min(np.ptp(xs), np.ptp(ys)) <= max(np.ptp(xs), np.ptp(ys))
    none, unmasked = cosmic_rays(clean, variance, good, 0.0, keras.random.SeedGenerator(3))
    assert not keras.ops.convert_to_numpy(none).any()
    assert not keras.ops.convert_to_numpy(unmasked).any()


def test_what_saturates_is_cut_and_masked_with_its_bleed():
    image = np.zeros((1, 41, 20, 1), "float32")
    image[0, 20, 5], image[0, 20, 12] = 150, 1000
    known = np.zeros(image.shape, bool)
    known[0, 0, 0] = True
    cut, mask = (keras.ops.convert_to_numpy(part) for part in saturate(image, known, 100.0))
    assert cut.max() == 100
    wanted = known.copy()
    wanted[0, 18:23, 5] = True
    wanted[0, 8:33, 12] = True
    np.testing.assert_array_equal(mask, wanted)
