import galsim
import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.shift import Shift


def draw(profile, size):
    return profile.drawImage(nx=size, ny=size, scale=1.0, method="no_pixel", dtype=np.float64).array


@pytest.mark.parametrize("size", [40, 41])
def test_agrees_with_galsim(size):
    profile = galsim.Convolve(galsim.Sersic(n=1, half_light_radius=2.0).shear(g1=0.2), galsim.Gaussian(sigma=1.2))
    shifts = np.array([[0.3, -0.45], [0.5, 0.5], [-3.2, 4.7], [0.0, 0.0]], "float32")
    image = np.repeat(draw(profile, size)[None, ..., None], 4, axis=0).astype("float32")
    result = keras.ops.convert_to_numpy(Shift()(image, shifts))[..., 0]
    for moved, (dx, dy) in zip(result, shifts.astype(float), strict=True):
        truth = draw(profile.shift(dx, dy), size)
        assert np.abs(moved - truth).max() < 1e-3 * truth.max()


def test_whole_pixels_move_exactly_and_do_not_wrap():
    image = np.random.default_rng(0).normal(size=(1, 6, 8, 2)).astype("float32")
    result = keras.ops.convert_to_numpy(Shift()(image, np.array([[3.0, -2.0]])))
    np.testing.assert_allclose(result[:, :4, 3:], image[:, 2:, :5], atol=1e-5)
    assert np.abs(result[:, 4:]).max() < 1e-5
    assert np.abs(result[:, :, :3]).max() < 1e-5


def test_gradient_of_the_shift_at_zero():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the tape is TensorFlow's")
    line = np.arange(21) - 10.0
    image = np.exp(-(line[:, None] ** 2 + line**2) / 8).astype("float32")[None, ..., None]
    shift = tf.Variable([[0.0, 0.0]])
    with tf.GradientTape() as tape:
        value = Shift()(image, shift)[0, 10, 12, 0]
    # Derivative of the Gaussian with sigma 2 at x = 2, and 0 along y.
    np.testing.assert_allclose(tape.gradient(value, shift)[0], [0.5 * np.exp(-0.5), 0.0], atol=1e-3)


def test_shapes_that_do_not_fit():
    image = np.zeros((2, 8, 8, 1), "float32")
    for shift in (np.zeros((2, 3)), np.zeros((3, 2)), np.zeros(2)):
        with pytest.raises(InputError, match="shift"):
            Shift()(image, shift)
