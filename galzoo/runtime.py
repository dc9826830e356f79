"""The runtime of Keras: seed, devices, precision and determinism."""

import contextlib

import keras

from galzoo.errors import RecipeError


def exact_products():
    """Switch off TF32: the PSF layer is matrix products, and ten bits of mantissa would lose flux on a GPU."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "float32")


def prepare_runtime(runtime):
    """Set seed, precision and determinism, and return the scope that model and optimiser are made in."""
    backend = keras.backend.backend()
    strategy = runtime["strategy"]
    if strategy == "mirrored" and backend != "tensorflow":
        raise RecipeError(f"runtime.strategy=mirrored needs TensorFlow, the back end is {backend}; use data_parallel")
    if strategy == "data_parallel" and backend != "jax":
        raise RecipeError(
            f"runtime.strategy=data_parallel needs KERAS_BACKEND=jax, this is {backend}; use mirrored for several GPUs"
        )
    if strategy == "mirrored" and runtime["jit"]:
        raise RecipeError("runtime.jit=true fails under mirrored (XLA cannot compile replica contexts); set jit=false")
    keras.utils.set_random_seed(runtime["seed"])
    keras.config.set_dtype_policy(runtime["precision"])
    exact_products()
    if backend == "tensorflow":
        import tensorflow as tf

        if runtime["deterministic"]:
            tf.config.experimental.enable_op_determinism()
        if strategy == "mirrored":
            return tf.distribute.MirroredStrategy().scope
    elif strategy == "data_parallel":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    return contextlib.nullcontext
