import keras
import numpy as np
import pytest

from galzoo.errors import RecipeError
from galzoo.layers.quantizer import FiniteScalarQuantizer, VectorQuantizer
from galzoo.metrics.codebook import CodebookPerplexity

SIZE, DIM, STEPS = 24, 6, 20


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def batches(steps=STEPS, seed=0):
    """Encoder outputs that drift, so that codes change hands."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(40, DIM))
    for step in range(steps):
        chosen = centres[random.integers(0, 40, size=(4, 5, 5))]
        yield (chosen * (1 + 0.05 * step) + 0.3 * random.normal(size=chosen.shape)).astype("float32")


def make(**changes):
    layer = VectorQuantizer(SIZE, **changes)
    layer.build((None, None, None, DIM))
    return layer


def perplexity(codes):
    metric = CodebookPerplexity(SIZE)
    metric.update_state(codes)
    return float(metric.result())


@pytest.fixture(scope="module")
def oracle():
    """Sonnet's own quantisers and the TensorFlow they run on."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Sonnet is TensorFlow's")
    return pytest.importorskip("sonnet"), pytest.importorskip("tensorflow")


def compare(ours, theirs, layer, sonnet_layer):
    np.testing.assert_array_equal(numpy(ours["codes"]), theirs["encoding_indices"])
    np.testing.assert_allclose(numpy(ours["quantised"]), theirs["quantize"], atol=1e-5)
    np.testing.assert_allclose(numpy(ours["loss"]), theirs["loss"], rtol=1e-5)
    np.testing.assert_allclose(perplexity(ours["codes"]), theirs["perplexity"], rtol=1e-5)
    np.testing.assert_allclose(layer.embeddings.numpy(), sonnet_layer.embeddings.numpy().T, rtol=2e-5, atol=2e-5)


def test_gradient_mode_is_sonnet_step_by_step(oracle):
    sonnet, tf = oracle
    layer = make(mode="gradient")
    other = sonnet.nets.VectorQuantizer(DIM, SIZE, commitment_cost=0.25)
    other.embeddings.assign(layer.embeddings.numpy().T)
    optimiser, sonnet_optimiser = keras.optimizers.SGD(0.5), sonnet.optimizers.SGD(0.5)
    for vectors in batches():
        inputs = tf.Variable(vectors)
        with tf.GradientTape(persistent=True) as tape:
            ours, theirs = layer(inputs, training=True), other(inputs, is_training=True)
            # A reconstruction term proves that it reaches the encoder, and the encoder alone.
            loss = ours["loss"] + tf.reduce_mean(ours["quantised"] ** 2)
            sonnet_loss = theirs["loss"] + tf.reduce_mean(theirs["quantize"] ** 2)
        compare(ours, theirs, layer, other)
        np.testing.assert_allclose(tape.gradient(loss, inputs), tape.gradient(sonnet_loss, inputs), atol=1e-6)
        gradient = tf.convert_to_tensor(tape.gradient(loss, layer.embeddings.value))
        sonnet_gradient = tf.convert_to_tensor(tape.gradient(sonnet_loss, other.embeddings))
        np.testing.assert_allclose(gradient, tf.transpose(sonnet_gradient), atol=1e-6)
        optimiser.apply([gradient], [layer.embeddings])
        sonnet_optimiser.apply([sonnet_gradient], [other.embeddings])


def test_ema_mode_is_sonnet_step_by_step(oracle):
    sonnet, _ = oracle
    layer = make(mode="ema", decay=0.9)
    other = sonnet.nets.VectorQuantizerEMA(DIM, SIZE, commitment_cost=0.25, decay=0.9)
    other.embeddings.assign(layer.embeddings.numpy().T)
    for step, vectors in enumerate(batches(), start=1):
        compare(layer(vectors, training=True), other(vectors, is_training=True), layer, other)
        debias = 1 - 0.9**step
        counts, sums = layer.hidden_counts.numpy() / debias, layer.hidden_sums.numpy() / debias
        np.testing.assert_allclose(counts, other.ema_cluster_size.average, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(sums, np.transpose(other.ema_dw.average), rtol=2e-5, atol=2e-5)


def test_the_codebook_rests_outside_training():
    layer = make(mode="ema")
    before = layer.embeddings.numpy()
    layer(next(batches()))
    np.testing.assert_array_equal(layer.embeddings.numpy(), before)


def test_cosine_mode_compares_directions():
    layer = make(cosine=True)
    vectors = next(batches())
    outputs = layer(vectors)
    codebook = numpy(layer.codebook)
    np.testing.assert_allclose(np.linalg.norm(codebook, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(numpy(outputs["quantised"]), axis=-1), 1, rtol=1e-5)
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    codes = numpy(outputs["codes"])
    np.testing.assert_array_equal(codes, np.argmax(unit @ codebook.T, axis=-1))
    np.testing.assert_array_equal(numpy(layer(7 * vectors)["codes"]), codes)
    expected = 0.25 * np.mean(np.sum((unit - codebook[codes]) ** 2, axis=-1))
    np.testing.assert_allclose(numpy(outputs["loss"]), expected, rtol=1e-4)
    layer(vectors, training=True)
    lengths = np.linalg.norm(layer.embeddings.numpy(), axis=-1)
    np.testing.assert_allclose(lengths[np.unique(codes)], 1, rtol=1e-5)


def test_kmeans_start_finds_the_clusters():
    random = np.random.default_rng(0)
    centres = 10 * random.normal(size=(SIZE, DIM))
    vectors = centres[np.arange(100 * SIZE) % SIZE] + 0.1 * random.normal(size=(100 * SIZE, DIM))
    layer = make()
    before = numpy(layer(vectors)["loss"])
    layer.adapt(vectors, iterations=20)
    after = layer(vectors)
    assert numpy(after["loss"]) < 0.1 * before
    assert perplexity(after["codes"]) > 0.6 * SIZE
    first = layer.embeddings.numpy()
    layer.adapt(vectors, iterations=20)
    np.testing.assert_array_equal(layer.embeddings.numpy(), first)


def test_the_moving_averages_go_on_from_the_kmeans_start():
    layer = make()
    vectors = next(batches())
    layer.adapt(vectors)
    start = numpy(layer(vectors)["loss"])
    layer(vectors, training=True)
    assert numpy(layer(vectors)["loss"]) < 1.5 * start


def test_a_price_of_a_nat_takes_the_code_that_is_used_more():
    layer = VectorQuantizer(2, rate=0.1)
    layer.build((None, 1))
    layer.embeddings.assign([[0.0], [1.0]])
    layer.hidden_counts.assign([9.0, 1.0])
    # The border moves from the middle to where (v - 1)^2 - v^2 is rate * log(1/9).
    border = 0.5 + 0.05 * np.log(9)
    vectors = np.array([[border - 0.01], [border + 0.01], [0.51]], "float32")
    np.testing.assert_array_equal(layer(vectors)["codes"], [0, 1, 0])
    free = VectorQuantizer(2)
    free.build((None, 1))
    free.embeddings.assign([[0.0], [1.0]])
    np.testing.assert_array_equal(free(vectors)["codes"], [1, 1, 1])


def test_a_price_of_a_nat_lowers_the_entropy_of_the_codes():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(4000, 4)).astype("float32")
    # Sky: three in four are nearly the same.
    vectors[:3000] *= 0.1
    entropies = []
    for rate in (0.0, 0.3):
        layer = VectorQuantizer(64, rate=rate)
        layer.build((None, 4))
        layer.adapt(vectors, seed=1)
        for _ in range(30):
            codes = np.asarray(layer(vectors, training=True)["codes"])
        share = np.bincount(codes, minlength=64) / len(codes)
        entropies.append(-np.sum(share[share > 0] * np.log(share[share > 0])))
    assert entropies[1] < entropies[0] - 1


@pytest.mark.parametrize("cosine", [False, True])
def test_a_dead_code_is_restarted(cosine):
    layers = [make(decay=0.9, cosine=cosine, restart_below=share) for share in (0.0, 0.2)]
    for layer in layers:
        table = np.random.default_rng(1).normal(size=(SIZE, DIM)).astype("float32")
        table[5:] = 50 if not cosine else np.eye(DIM)[0] * -1
        layer.embeddings.assign(table)
    used = []
    for layer in layers:
        for vectors in batches():
            outputs = layer(np.abs(vectors), training=True)
        used.append(len(np.unique(numpy(outputs["codes"]))))
    assert used[1] > 0.8 * SIZE
    assert used[0] < used[1]


def test_a_code_is_dead_below_a_share_of_what_is_fair():
    """Of 100 vectors 25 a code are fair: at .2 of that 9 are enough, and 1 is not."""
    corners = 10 * np.eye(4, DIM, dtype="float32")
    vectors = np.repeat(corners[:3], [90, 9, 1], axis=0)
    layer = VectorQuantizer(4, decay=0.9, restart_below=0.2)
    layer.build((None, DIM))
    layer.embeddings.assign(corners)
    layer(vectors, training=True)
    found = numpy(layer.embeddings)
    np.testing.assert_allclose(found[:2], corners[:2], atol=1e-2)
    # The two others are moved to vectors of the batch, of which nine in ten are the first.
    assert np.abs(found[2] - corners[2]).max() > 9
    assert np.abs(found[3] - corners[3]).max() > 9


def test_variables_are_averaged_over_replicas():
    for layer in (make(mode="ema"), make(mode="gradient")):
        assert {variable.aggregation for variable in layer.variables} == {"mean"}
    assert len(make(mode="ema").trainable_variables) == 0
    assert len(make(mode="gradient").trainable_variables) == 1


@pytest.mark.parametrize("levels", [(8, 8, 8), (5, 4, 3), (2, 2), (8, 5, 5, 5)])
def test_finite_scalar_indices_and_vectors_are_one_to_one(levels):
    layer = FiniteScalarQuantizer(levels)
    assert layer.codebook_size == np.prod(levels)
    codebook = numpy(layer.codebook)
    assert codebook.shape == (layer.codebook_size, len(levels))
    assert len(np.unique(codebook, axis=0)) == layer.codebook_size
    assert np.abs(codebook).max() <= 1
    vectors = np.random.default_rng(0).normal(scale=3, size=(100, 3, 3, len(levels))).astype("float32")
    outputs = layer(vectors)
    codes = numpy(outputs["codes"])
    assert codes.min() >= 0
    assert codes.max() < layer.codebook_size
    np.testing.assert_allclose(numpy(layer.lookup(codes)), numpy(outputs["quantised"]), atol=1e-6)
    scan = np.repeat(np.linspace(-6, 6, 2001, dtype="float32")[:, None], len(levels), axis=1)
    quantised = numpy(layer(scan)["quantised"]).round(4)
    assert [len(np.unique(element)) for element in quantised.T] == list(levels)


def test_finite_scalar_gradient_passes_the_rounding(oracle):
    _, tf = oracle
    layer = FiniteScalarQuantizer((8, 5))
    vectors = tf.Variable(np.random.default_rng(0).normal(size=(16, 2)).astype("float32"))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(vectors)["quantised"])
    assert (tape.gradient(value, vectors).numpy() > 0).all()


@pytest.mark.parametrize(
    "layer",
    [VectorQuantizer(16, "gradient", 0.5, 0.9, 1e-4), VectorQuantizer(8, cosine=True), FiniteScalarQuantizer((4, 3))],
)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_errors():
    with pytest.raises(RecipeError, match="rate needs quantizer=ema"):
        VectorQuantizer(4, mode="gradient", rate=0.1)
    with pytest.raises(RecipeError, match="mode"):
        VectorQuantizer(8, mode="exact")
    with pytest.raises(RecipeError, match="codebook_size"):
        VectorQuantizer(1)
    with pytest.raises(RecipeError, match="levels"):
        FiniteScalarQuantizer((8, 1))
    with pytest.raises(RecipeError, match="levels"):
        FiniteScalarQuantizer((8, 8)).build((None, 3))
