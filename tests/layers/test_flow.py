import numpy as np
import pytest
from keras import ops

from galzoo.layers.flow import CouplingFlow


def make(size=5, condition=1, couplings=3):
    flow = CouplingFlow(size, couplings=couplings, hidden=8, condition=condition, seed=1)
    rng = np.random.default_rng(0)
    for weight in flow.weights:
        weight.assign(rng.normal(scale=0.4, size=weight.shape))
    return flow


@pytest.fixture
def vectors():
    rng = np.random.default_rng(2)
    return rng.normal(size=(7, 3, 5)).astype("float32"), rng.normal(size=(7, 3, 1)).astype("float32")


def test_inverse_undoes_forward(vectors):
    flow = make()
    base, condition = vectors
    latent, forward = flow.forward(base, condition)
    again, backward = flow.inverse(latent, condition)
    assert np.abs(np.asarray(latent) - base).max() > 0.1
    np.testing.assert_allclose(again, base, atol=2e-5)
    np.testing.assert_allclose(forward, -np.asarray(backward), atol=2e-5)


def test_log_det_is_that_of_the_jacobian(vectors):
    flow = make()
    base, condition = vectors[0][0, :1], vectors[1][0, :1]
    step = 1e-2
    rows = []
    for index in range(5):
        ends = [flow.forward(base + sign * step * np.eye(5, dtype="float32")[index], condition)[0] for sign in (1, -1)]
        rows.append((np.asarray(ends[0]) - np.asarray(ends[1]))[0] / (2 * step))
    _, expected = np.linalg.slogdet(np.array(rows))
    assert float(flow.forward(base, condition)[1][0]) == pytest.approx(expected, abs=2e-3)


def test_agrees_with_tfp(vectors):
    tfp = pytest.importorskip("tensorflow_probability")
    import tensorflow as tf

    flow = make(condition=0)
    latent = vectors[0].reshape(-1, 5)

    def shift_and_log_scale(network):
        def function(kept, _units, **_):
            shift, scale = tf.split(network(kept), 2, axis=-1)
            return shift, 1.5 * tf.tanh(scale / 1.5)

        return function

    # TFP's chain applies its last bijector first; its permutation p gives y[i] = x[p[i]], as `take` does.
    parts = []
    for network, order in zip(flow.networks, flow._orders, strict=True):
        parts += [
            tfp.bijectors.RealNVP(num_masked=2, shift_and_log_scale_fn=shift_and_log_scale(network)),
            tfp.bijectors.Permute(order.astype("int32")),
        ]
    normal = tfp.distributions.MultivariateNormalDiag(tf.zeros(5), tf.ones(5))
    theirs = tfp.distributions.TransformedDistribution(normal, tfp.bijectors.Chain(parts[::-1]))
    np.testing.assert_allclose(flow.log_prob(latent), theirs.log_prob(latent), atol=2e-4)


def test_density_is_normalised():
    flow = make(size=2, condition=1, couplings=2)
    axis = np.linspace(-14, 14, 561, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    condition = np.full((len(grid), 1), 0.3, "float32")
    total = np.exp(np.asarray(flow.log_prob(grid, condition), float)).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=2e-3)


def test_new_flow_is_a_permutation():
    flow = CouplingFlow(4, couplings=2, hidden=8, seed=3)
    base = np.arange(4, dtype="float32")[None]
    latent, log_det = flow.forward(base)
    assert sorted(np.asarray(latent)[0]) == [0, 1, 2, 3]
    assert float(log_det[0]) == 0


def test_config_round_trip():
    flow = make()
    again = CouplingFlow.from_config(flow.get_config())
    again.set_weights(flow.get_weights())
    x, condition = np.ones((1, 5), "float32"), np.ones((1, 1), "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x, condition)), ops.convert_to_numpy(flow(x, condition)))
