"""What users see of an error that was raised inside a layer."""

import keras
import numpy as np
import pytest

from galzoo.errors import InputError


class Refusing(keras.layers.Layer):
    """Refuses everything."""

    def call(self, batch):
        raise InputError("image has [5] stamps\nof no size")


def test_an_error_in_a_layer_is_told_without_what_keras_writes_about_it():
    inner = keras.Input((2,))
    model = keras.Sequential([keras.layers.Identity(), Refusing()])
    for layer, given in ((Refusing(), {"image": np.ones((1, 2))}), (model, inner)):
        with pytest.raises(InputError) as caught:
            layer(given)
        assert str(caught.value) == "image has [5] stamps\nof no size"
