"""Gradients of a function of arrays, on any back end that has them."""

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
    backend = keras.config.backend()
    x = keras.ops.convert_to_tensor(x, "float32")
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x))
        return tape.gradient(total, x).numpy()
    if backend == "jax":
        import jax

        return keras.ops.convert_to_numpy(jax.grad(lambda value: keras.ops.sum(function(value)))(x))
    raise InputError(f"the {backend} back end is not supported here; set KERAS_BACKEND to tensorflow or jax")
