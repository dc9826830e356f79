"""The gated layers see what comes before a position, all of it, and nothing else."""

import keras
import numpy as np
import pytest
from keras import ops

from galzoo.errors import RecipeError
from galzoo.layers.gated import CausalAttention, GatedBlock

CHANNELS = 6


def stack(depth=12, kernel=3, seed=0):
    """Return a function from a map (n, y, x, c) to the horizontal stack after `depth` layers, and its layers."""
    keras.utils.set_random_seed(seed)
    blocks = [
        GatedBlock(
            CHANNELS, first=i == 0, last=i == depth - 1, rows=kernel if i == 0 else 1, columns=kernel if i == 0 else 1
        )
        for i in range(depth)
    ]
    context = np.zeros((1, 1, 1, 2 * CHANNELS), "float32")

    def run(values):
        vertical = horizontal = values
        for block in blocks:
            vertical, horizontal = block(vertical, horizontal, context)
        return ops.convert_to_numpy(horizontal)

    run(np.zeros((1, 4, 4, CHANNELS), "float32"))
    return run, blocks


def seen_by(run, size, y, x):
    """Return which positions of a map change what is said at (y, x)."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=(1, size, size, CHANNELS)).astype("float32")
    changed = np.repeat(base, size * size, axis=0)
    for position in range(size * size):
        changed[position, position // size, position % size] += 1.0
    difference = np.abs(run(changed)[:, y, x] - run(base)[:, y, x]).max(axis=-1)
    return (difference > 0).reshape(size, size)


@pytest.mark.parametrize("place", [(10, 10), (0, 0), (0, 5), (7, 3), (20, 20)])
def test_nothing_leaks(place):
    run, _ = stack()
    before = np.zeros((21, 21), bool)
    before.ravel()[: 21 * place[0] + place[1]] = True
    assert not np.any(seen_by(run, 21, *place) & ~before)


def test_the_whole_context_is_seen():
    """At the centre of 21 x 21 all of the 220 positions before, where a single masked stack misses 28."""
    run, _ = stack()
    seen = seen_by(run, 21, 10, 10)
    assert seen.sum() == 220
    assert seen.ravel()[:220].all()


def test_every_weight_learns():
    """No kernel is dead: a step of gradient descent moves each element of each weight."""
    values = np.random.default_rng(0).normal(size=(8, 9, 9, CHANNELS)).astype("float32")
    context = np.random.default_rng(1).normal(size=(1, 1, 1, 2 * CHANNELS)).astype("float32")

    class Stack(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = stack(depth=3)[1]

        def call(self, inputs):
            vertical = horizontal = inputs
            for block in self.blocks:
                vertical, horizontal = block(vertical, horizontal, context)
            return horizontal

    model = Stack()
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.train_on_batch(values, values + 1.0)
    assert len(before) == 9 + 9 + 7
    for old, weight in zip(before, model.trainable_weights, strict=True):
        assert np.all(ops.convert_to_numpy(weight) != old), weight.path


def test_the_row_and_the_step_are_the_layer():
    run, blocks = stack(depth=2)
    rng = np.random.default_rng(2)
    values = rng.normal(size=(3, 7, 7, CHANNELS)).astype("float32")
    context = rng.normal(size=(1, 7, 7, 2 * CHANNELS)).astype("float32")
    vertical, horizontal = blocks[0](values, values, context)
    padded = np.pad(values, ((0, 0), (3, 0), (0, 0), (0, 0)))
    here, crossed = blocks[0].row(padded[:, 4:7], context[:, 4:5])
    np.testing.assert_allclose(ops.convert_to_numpy(here)[:, 0], ops.convert_to_numpy(vertical)[:, 4], atol=1e-5)
    step = blocks[0].step(values[:, 4, 2:5], ops.convert_to_numpy(crossed)[:, 0, 5], context[:, 4, 5])
    np.testing.assert_allclose(ops.convert_to_numpy(step), ops.convert_to_numpy(horizontal)[:, 4, 5], atol=1e-5)


def test_config_round_trip():
    block = GatedBlock(8, first=True, rows=3, columns=2)
    assert GatedBlock.from_config(block.get_config()).get_config() == block.get_config()


def attention(seed=0):
    """Return attention whose output is not nothing, as it is at the start."""
    keras.utils.set_random_seed(seed)
    layer = CausalAttention(CHANNELS, heads=2)
    layer.build((None, None, None, CHANNELS))
    layer.outward.kernel.assign(np.random.default_rng(seed).normal(size=(CHANNELS, CHANNELS)))
    return layer


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (4, 4)])
def test_attention_sees_all_before_and_nothing_after(place):
    layer = attention()
    seen = seen_by(lambda values: ops.convert_to_numpy(layer(values)), 5, *place)
    np.testing.assert_array_equal(seen.ravel(), np.arange(25) <= 5 * place[0] + place[1])


def test_attention_step_by_step():
    layer = attention()
    features = np.random.default_rng(2).normal(size=(3, 4, 5, CHANNELS)).astype("float32")
    expected = ops.convert_to_numpy(layer(features)).reshape(3, 20, CHANNELS)
    past = layer.empty(3, 20)
    for position in range(20):
        added, *past = layer.step(features.reshape(3, 20, CHANNELS)[:, position], *past, position)
        np.testing.assert_allclose(ops.convert_to_numpy(added), expected[:, position], rtol=1e-4, atol=1e-5)
    with pytest.raises(RecipeError, match="cannot be shared"):
        CausalAttention(6, heads=4)
