"""Models that are made in single precision whatever the precision of training."""

import contextlib

import keras


@contextlib.contextmanager
def single_precision():
    """Make layers in single precision within this context.

    In half precision a tenth of the codes of a codec would be others than those that it gives elsewhere.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
