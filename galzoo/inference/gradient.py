"""Derivatives and compilation of functions of arrays, on any back end that has them."""

import keras

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
    x = keras.ops.convert_to_tensor(x, "float32")
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x))
        return tape.gradient(total, x).numpy()
    import jax

    return keras.ops.convert_to_numpy(jax.grad(lambda value: keras.ops.sum(function(value)))(x))


def columns(function, x):
    """Return a function's value and its derivatives by each number along the last axis of its argument.

    Made for functions of which every row of `x` changes its own part of the value only: then one forward derivative
    serves all rows at once.

    Parameters
    ----------
    function : callable
        Takes a tensor (..., d) and returns a tensor.
    x : tensor, (..., d)

    Returns
    -------
    value : tensor
    derivatives : list of d tensors, each of the shape of `value`

    Raises
    ------
    InputError
        If the back end has no automatic differentiation.
    """
    backend = _backend()
    derivatives = []
    for index in range(x.shape[-1]):
        direction = keras.ops.zeros_like(x) + keras.ops.one_hot(index, x.shape[-1], dtype="float32")
        if backend == "tensorflow":
            import tensorflow as tf

            with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
                value = function(x)
            derivatives.append(accumulator.jvp(value))
        else:
            import jax

            value, derivative = jax.jvp(function, (x,), (direction,))
            derivatives.append(derivative)
    return value, derivatives


def compiled(function):
    """Return `function`, compiled for each shape that it meets."""
    if _backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    import jax

    return jax.jit(function)


def _backend():
    backend = keras.config.backend()
    if backend not in ("tensorflow", "jax"):
        raise InputError(f"the {backend} back end is not supported here; set KERAS_BACKEND to tensorflow or jax")
    return backend
