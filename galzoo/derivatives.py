"""Derivatives and compilation of functions of arrays, on any back end that has them."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError


def gradient(function, x):
    """Return the gradient of a function's sum.

    Parameters
    ----------
    function : callable
        Takes a tensor and returns a tensor, made of `keras.ops`.
    x : array

    Returns
    -------
    array, shape of `x`

    Raises
    ------
    InputError
        If the back end has no automatic differentiation.
    """
    backend = _backend()
    x = ops.convert_to_tensor(x, "float32")
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x))
        return tape.gradient(total, x).numpy()
    import jax

    return ops.convert_to_numpy(jax.grad(lambda value: ops.sum(function(value)))(x))


def value_and_gradients(function, *inputs):
    """Return a function's value and the gradients of its sum by each of its inputs, as tensors.

    They can be differentiated again, so that a loss may hold them.

    Parameters
    ----------
    function : callable
        Takes tensors and returns a tensor, made of `keras.ops`; it draws no random numbers.
    *inputs : tensors

    Returns
    -------
    value : tensor
    gradients : tuple of tensors, shapes of `inputs`

    Raises
    ------
    InputError
        If the back end has no automatic differentiation.
    """
    if _backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(*inputs)
            total = tf.reduce_sum(value)
        return value, tuple(tape.gradient(total, inputs, unconnected_gradients="zero"))
    import jax

    def total(*given):
        value = function(*given)
        return ops.sum(value), value

    gradients, value = jax.grad(total, argnums=tuple(range(len(inputs))), has_aux=True)(*inputs)
    return value, gradients


def columns(function, x, *others):
    """Return a function's value and its derivatives by each number along the last axis of its first argument.

    For functions of which every row of `x` changes its own part of the value only: one forward derivative then serves
    all rows at once. The directions lie along the first axis, so the function is traced but once.

    Parameters
    ----------
    function : callable
        Takes `x` and `others` and returns a tensor, all with the same first axis.
    x : tensor, (n, ..., d)
    *others : tensors, (n, ...)

    Returns
    -------
    value : tensor, (n, ...)
    derivatives : tensor, (d, n, ...)

    Raises
    ------
    InputError
        If the back end has no automatic differentiation.
    """
    backend = _backend()
    size, n = x.shape[-1], x.shape[0]
    repeated = [ops.tile(part, (size, *[1] * (len(part.shape) - 1))) for part in (x, *others)]
    direction = np.repeat(np.eye(size, dtype="float32"), n, axis=0)
    direction = direction.reshape(size * n, *[1] * (len(x.shape) - 2), size)
    direction = ops.broadcast_to(direction, repeated[0].shape)
    if backend == "tensorflow":
        value, derivatives = _pushed(function, repeated, direction)
    else:
        import jax

        value, derivatives = jax.jvp(lambda first: function(first, *repeated[1:]), (repeated[0],), (direction,))
    return value[:n], ops.reshape(derivatives, (size, *value[:n].shape))


def _pushed(function, inputs, direction):
    """Return a function's value and its derivative along a direction of its first input, in TensorFlow.

    The gradient of (dummy . function) is linear in the dummy, and its derivative by that along the direction is what is
    sought. TensorFlow's own forward derivative gives the same numbers, but is traced operation by operation, which
    takes seconds.
    """
    import tensorflow as tf

    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(inputs[0])
            value = function(*inputs)
        dummy = tf.zeros_like(value)
        outer.watch(dummy)
        pulled = inner.gradient(value, inputs[0], dummy, unconnected_gradients="zero")
    return value, outer.gradient(pulled, dummy, direction, unconnected_gradients="zero")


def compiled(function, model):
    """Return `function`, compiled for each shape that it meets; it always sees the present weights of `model`.

    Parameters
    ----------
    function : callable
        Takes arrays, or dicts of them, and returns tensors; it has no Python branches on values, and draws no random
        numbers.
    model : object
        What it calls; its `variables`, where it has any, are its weights.
    """
    if _backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    import jax

    variables = getattr(model, "variables", ())

    def stateless(values, *inputs):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*inputs)

    stateless = jax.jit(stateless)
    # Traced alone, weights would be constants: what they were when a shape was first met.
    return lambda *inputs: stateless([variable.value for variable in variables], *inputs)


class Compiled:
    """Compiled functions of a model by name. No container that Keras looks into: they are not parts of the model.

    Parameters
    ----------
    model : object
        As for `compiled`.
    """

    def __init__(self, model):
        self.model, self._functions = model, {}

    def get(self, key, function):
        """Return what was compiled under `key`, or compile `function`."""
        if key not in self._functions:
            self._functions[key] = compiled(function, self.model)
        return self._functions[key]


def _backend():
    backend = keras.config.backend()
    if backend not in ("tensorflow", "jax"):
        raise InputError(f"the {backend} back end is not supported here; set KERAS_BACKEND to tensorflow or jax")
    return backend
