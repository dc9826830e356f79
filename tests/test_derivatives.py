"""Derivatives of functions of arrays, against differences."""

import keras
import numpy as np
from keras import ops

from galzoo.derivatives import Compiled, columns, compiled


def squares(x, other):
    """Two numbers a row, of which the first does not depend on x[:, 2]."""
    return ops.stack([x[:, 0] ** 2 * ops.sin(x[:, 1]), other * x[:, 2] + ops.relu(x[:, 0])], axis=1)


def test_columns_are_those_of_differences_and_the_same_when_compiled():
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(5, 3)).astype("float32"), rng.normal(size=5).astype("float32")
    a, b, _ = x.T.astype(float)
    value, slopes = columns(squares, ops.convert_to_tensor(x), ops.convert_to_tensor(other))
    np.testing.assert_allclose(value, squares(x, other), rtol=1e-6)
    wanted = [
        np.stack([2 * a * np.sin(b), a > 0], axis=1),
        np.stack([a**2 * np.cos(b), 0 * a], axis=1),
        np.stack([0 * a, other], axis=1),
    ]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-5, atol=1e-6)
    again = compiled(lambda *values: columns(squares, *values), None)(
        ops.convert_to_tensor(x), ops.convert_to_tensor(other)
    )
    np.testing.assert_allclose(again[1], slopes, rtol=1e-6)


def test_a_function_that_does_not_depend_on_its_argument_has_no_slope():
    value, slopes = columns(lambda x: ops.ones((x.shape[0], 2)), ops.convert_to_tensor(np.ones((4, 3), "float32")))
    np.testing.assert_array_equal(slopes, np.zeros((3, 4, 2)))
    np.testing.assert_array_equal(value, np.ones((4, 2)))


def test_compiled_functions_see_the_weights_as_they_are():
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    functions = Compiled(layer)
    x = ops.ones((3, 2))
    for weight in (1.0, 2.0):
        layer.kernel.assign([[weight], [0.0]])
        found = functions.get("value", lambda values: layer(values["x"]))({"x": x})
        np.testing.assert_allclose(ops.convert_to_numpy(found)[:, 0], weight)
