"""Blocks at the size of the codes: patches, overlapping squares, normalised stacks."""

import keras
import numpy as np
import pytest
from keras import ops

from galzoo.layers.blocks import NormalizedStack, Overlap, Patches


def features(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_patches_are_the_squares_of_the_image():
    image = features(2, 8, 10, 3)
    found = ops.convert_to_numpy(Patches(4)(image))
    assert found.shape == (2, 2, 3, 48)
    np.testing.assert_array_equal(found[1, 1, 0].reshape(4, 4, 3), image[1, 4:8, 0:4])
    # The last column of squares has two columns of pixels and two of nothing.
    last = found[0, 0, 2].reshape(4, 4, 3)
    np.testing.assert_array_equal(last[:, :2], image[0, :4, 8:])
    assert not last[:, 2:].any()


def test_overlap_is_a_transposed_convolution_inside_and_has_no_rim():
    layer = Overlap(3, 4, bias_initializer=keras.initializers.Constant(0.5))
    maps = features(2, 5, 6, 7)
    found = ops.convert_to_numpy(layer(maps))
    kernel = ops.convert_to_numpy(layer.kernel).reshape(7, 8, 8, 3).transpose(1, 2, 3, 0)
    expected = 0.5 + ops.convert_to_numpy(ops.conv_transpose(maps, kernel, strides=4, padding="same"))
    assert found.shape == (2, 20, 24, 3)
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], rtol=1e-4, atol=1e-5)
    flat = ops.convert_to_numpy(layer(np.ones((1, 3, 3, 7), "float32")))[0]
    np.testing.assert_allclose(flat[:4], flat[4:8], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="must be even"):
        Overlap(3, 5)


def test_a_stack_starts_as_its_norm_and_sees_five_pixels_a_block():
    layer = NormalizedStack(blocks=2, hidden=8)
    maps = features(1, 15, 15, 6)
    centred = maps - maps.mean(-1, keepdims=True)
    norm = centred / np.sqrt(maps.var(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(maps)), norm / (1 + np.exp(-norm)), rtol=1e-3, atol=1e-4)
    for narrow in layer.narrows:
        narrow.kernel.assign(features(8, 6))
    changed = maps.copy()
    changed[0, 7, 7] += 1.0
    seen = np.abs(ops.convert_to_numpy(layer(changed) - layer(maps))[0]).max(-1) > 1e-6
    assert seen[3:12, 3:12].all()
    assert not seen[:3].any()
    assert not seen[:, 12:].any()
