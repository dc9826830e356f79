"""Drawing from a PixelCNN, one position after the other.

The cached sampler computes each feature once: the vertical stack a row at a time, the horizontal stack a position at a
time (Ramachandran et al. 2017, arXiv:1704.06001). The naive one runs the whole network for every position; it is the
oracle of the tests and the baseline of the benchmark. Both turn the same uniform numbers into the same galaxies.
"""

import keras
import numpy as np
from keras import ops


class CachedSampler(keras.Model):
    """Draw maps with a PixelCNN's features cached.

    Parameters
    ----------
    prior : PixelCNN
    top_k : int, optional
        Draw from the so many most probable codes only.
    guided : bool
        The batch holds each map twice, first all for their condition, then all without; the draw mixes the two by
        ``guidance``.

    Notes
    -----
    Called with a dict of ``uniform`` (n, y, x, u), ``values`` (n, y, x, v) and ``known`` (n, y, x, 1), which is 1 where
    a value is given, ``condition`` (n, c), ``temperature`` (n, 1) and ``guidance`` (n, 1). Gives ``values`` and
    ``log_prob`` (n,), at temperature 1 and without guidance.
    """

    def __init__(self, prior, top_k=None, guided=False):
        super().__init__(dtype="float32")
        self.prior, self.top_k, self.guided = prior, top_k, guided
        self.built = True

    def call(self, inputs):
        prior = self.prior
        first, *later = prior.blocks
        height, width = inputs["uniform"].shape[1:3]
        number = ops.shape(inputs["condition"])[0]
        contexts = prior.condition_contexts(inputs["condition"]), prior.place_contexts(height, width)
        # `row` and `step` are in single precision, as are the variables that they read.
        conditions, places = ([ops.cast(layer, "float32") for layer in part] for part in contexts)
        along_x, along_y = ops.reshape(ops.arange(width), (1, -1, 1)), ops.reshape(ops.arange(height), (1, -1, 1, 1))

        def draw_row(y, state):
            field, above, attended, values, log_prob = state
            crossed, kept, here = [], [], None
            for index, block in enumerate(prior.blocks):
                if index:
                    seen = ops.concatenate([above[index - 1], here], axis=1)
                    kept.append(seen[:, 1:])
                else:
                    seen = ops.take(field, y + ops.arange(first.rows), axis=1)
                context = conditions[index][:, None, None] + ops.take(places[index], y, axis=1)[:, None]
                here, passed = block.row(seen, context)
                crossed.append((passed + context)[:, 0])
            uniform, known, given = (ops.take(inputs[key], y, axis=1) for key in ("uniform", "known", "values"))

            def draw_position(x, state):
                left, attended, line, drawn, log_prob = state
                feature, moved, remembered = None, [], []
                for index, block in enumerate(prior.blocks):
                    seen = left[index] if feature is None else ops.concatenate([left[index], feature[:, None]], axis=1)
                    if index:
                        moved.append(seen[:, 1:])
                    feature = block.step(seen, ops.take(crossed[index], x, axis=1), 0.0)
                    if index in prior.attended:
                        which = len(remembered)
                        added, *past = prior.attention[which].step(feature, *attended[which], y * width + x)
                        feature = feature + ops.cast(added, "float32")
                        remembered.append(tuple(past))
                parameters = prior.read(feature)
                value = self._draw(parameters, ops.take(uniform, x, axis=1), inputs)
                value = ops.where(ops.take(known, x, axis=1) > 0, ops.take(given, x, axis=1), value)
                log_prob = log_prob + prior.head.log_prob(parameters, value)
                embedded = ops.cast(prior.embed(value)[:, None], "float32")
                left = (ops.concatenate([left[0], embedded], axis=1)[:, 1:], *moved)
                line = ops.where(along_x == x, embedded, line)
                return left, tuple(remembered), line, ops.where(along_x == x, value[:, None], drawn), log_prob

            left = [ops.zeros((number, block.columns, prior.channels)) for block in later]
            left = (ops.zeros((number, first.columns, prior.channels)), *left)
            state = left, attended, ops.zeros((number, width, prior.channels)), given, log_prob
            _, attended, line, drawn, log_prob = ops.fori_loop(0, width, draw_position, state)
            shifted = ops.concatenate([-ops.ones((1, first.rows, 1, 1), "int32"), along_y], axis=1)
            field = ops.where(shifted == y, line[:, None], field)
            return field, tuple(kept), attended, ops.where(along_y == y, drawn[:, None], values), log_prob

        above = tuple(ops.zeros((number, block.rows, width, prior.channels)) for block in later)
        field = ops.zeros((number, first.rows + height, width, prior.channels))
        attended = tuple(layer.empty(number, height * width) for layer in prior.attention)
        state = field, above, attended, inputs["values"], ops.zeros((number,))
        *_, values, log_prob = ops.fori_loop(0, height, draw_row, state)
        return {"values": values, "log_prob": log_prob}

    def _draw(self, parameters, uniform, inputs):
        return draw(self.prior.head, parameters, uniform, inputs, self.top_k, self.guided)


def draw(head, parameters, uniform, inputs, top_k=None, guided=False):
    """Return values (n, v) drawn from what the network says at one position."""
    temperature = inputs["temperature"]
    if not guided:
        return head.draw(parameters, uniform, temperature, top_k)
    half = ops.shape(parameters)[0] // 2
    mixed = head.mix(parameters[:half], parameters[half:], inputs["guidance"][:half])
    value = head.draw(mixed, uniform[:half], temperature[:half], top_k)
    return ops.concatenate([value, value], axis=0)


def sample_naively(prior, inputs, top_k=None, guided=False):
    """Draw as `CachedSampler` does, with the whole network run for every position.

    Returns
    -------
    array, (n, y, x, v)
    """
    values = np.where(inputs["known"] > 0, inputs["values"], np.zeros_like(inputs["values"]))
    forward = Forward(prior)
    forward.compile(jit_compile=keras.config.backend() == "jax")
    for y, x in np.ndindex(values.shape[1:3]):
        parameters = forward.predict_on_batch({"values": values, "condition": inputs["condition"]})[:, y, x]
        drawn = draw(prior.head, ops.convert_to_tensor(parameters), inputs["uniform"][:, y, x], inputs, top_k, guided)
        known = inputs["known"][:, y, x] > 0
        values[:, y, x] = np.where(known, inputs["values"][:, y, x], ops.convert_to_numpy(drawn))
    return values


class Forward(keras.Model):
    """The network as a compiled function of values and condition."""

    def __init__(self, prior):
        super().__init__(dtype="float32")
        self.prior = prior
        self.built = True

    def call(self, inputs):
        return self.prior.network(inputs["values"], inputs["condition"])
