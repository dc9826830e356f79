import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.flux import FluxScaling, noise_level, solve_fluxes


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("softening", [1.0, 5.0])
@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e6])
def test_inverse_is_exact(softening, unit):
    image = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32") ** 5 * unit
    noise = np.random.default_rng(1).uniform(0.5, 2, size=(3, 1, 1, 2)).astype("float32") * unit
    layer = FluxScaling(softening)
    again = numpy(layer.invert(layer(image, noise), noise))
    np.testing.assert_allclose(again, image, rtol=1e-5, atol=1e-6 * unit)


def test_is_linear_near_zero_and_free_of_the_unit():
    image = np.array([0.01, -0.01, 100.0], "float32").reshape(1, 1, 3, 1)
    noise = np.full((1, 1, 1, 1), 1.0, "float32")
    scaled = numpy(FluxScaling()(image, noise))
    np.testing.assert_allclose(scaled.ravel(), [0.01, -0.01, np.arcsinh(100)], rtol=1e-4)
    np.testing.assert_allclose(numpy(FluxScaling()(image * 7, noise * 7)), scaled, rtol=1e-5)


def test_inverse_does_not_overflow():
    assert np.isfinite(numpy(FluxScaling().invert(np.full((1, 2, 2, 1), 1e4, "float32"), np.ones((1, 1, 1, 1))))).all()


def test_pixels_that_are_not_finite_become_zero():
    image = np.array([np.nan, np.inf, 1.0], "float32").reshape(1, 1, 3, 1)
    scaled = numpy(FluxScaling()(image, np.ones((1, 1, 1, 1), "float32")))
    np.testing.assert_allclose(scaled.ravel(), [0, 0, np.arcsinh(1)], rtol=1e-6)


def test_noise_level():
    variance = np.full((3, 10, 10, 2), 4.0, "float32")
    variance[0, 4:6, 4:6] = 400.0
    variance[1, ..., 1] = np.inf
    mask = np.zeros(variance.shape, bool)
    mask[2, ..., 0] = True
    variance[2, 0, 0] = np.nan
    level = numpy(noise_level(variance, mask))
    assert level.shape == (3, 1, 1, 2)
    # A bright source on 4 % of the pixels leaves the level of the sky.
    np.testing.assert_allclose(level[0], 2.0, rtol=0.03)
    np.testing.assert_allclose(level[1:, 0, 0], [[2.0, 1.0], [1.0, 2.0]], rtol=1e-6)


def test_config_round_trip():
    layer = FluxScaling(3.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.softening == 3.0


def test_softening_must_be_positive():
    with pytest.raises(InputError, match="softening"):
        FluxScaling(0)


def test_fluxes_of_one_pixel_by_hand():
    """Alone a source has all light but the ridge; two in one place share it; one that is not there has none."""
    data = np.full((1, 1, 1, 1), 3.0, "float32")
    weight = np.full_like(data, 4.0)
    for there, ridge, wanted in (
        ([1, 0], 0.0001, [3 / 1.0001, 0]),
        ([1, 1], 0.1, [3 / 2.1] * 2),
        ([1, 0], 1.0, [1.5, 0]),
    ):
        unit = np.array(there, "float32").reshape(1, 2, 1, 1, 1)
        options = {} if ridge == 0.0001 else {"ridge": ridge}
        np.testing.assert_allclose(numpy(solve_fluxes(unit, data, weight, **options))[0, :, 0], wanted, rtol=1e-5)
