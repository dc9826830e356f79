import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.interop.sonnet import load_vqvae, reconstruct

if keras.backend.backend() != "tensorflow":
    pytest.skip("Sonnet is TensorFlow's", allow_module_level=True)
tf = pytest.importorskip("tensorflow")
snt = pytest.importorskip("sonnet")


class ResidualStack(snt.Module):
    def __init__(self, hidden, blocks, block_hidden):
        super().__init__(name="residual_stack")
        self._layers = [(snt.Conv2D(block_hidden, 3), snt.Conv2D(hidden, 1)) for _ in range(blocks)]

    def __call__(self, x):
        for wide, narrow in self._layers:
            x = x + narrow(tf.nn.relu(wide(tf.nn.relu(x))))
        return tf.nn.relu(x)


class Encoder(snt.Module):
    def __init__(self, hidden, blocks, block_hidden):
        super().__init__(name="encoder")
        self._enc_1 = snt.Conv2D(hidden // 2, 4, stride=2)
        self._enc_2 = snt.Conv2D(hidden, 4, stride=2)
        self._enc_3 = snt.Conv2D(hidden, 3)
        self._residual_stack = ResidualStack(hidden, blocks, block_hidden)

    def __call__(self, x):
        return self._residual_stack(self._enc_3(tf.nn.relu(self._enc_2(tf.nn.relu(self._enc_1(x))))))


class Decoder(snt.Module):
    def __init__(self, hidden, blocks, block_hidden, bands):
        super().__init__(name="decoder")
        self._dec_1 = snt.Conv2D(hidden, 3)
        self._residual_stack = ResidualStack(hidden, blocks, block_hidden)
        self._dec_2 = snt.Conv2DTranspose(hidden // 2, 4, stride=2)
        self._dec_3 = snt.Conv2DTranspose(bands, 4, stride=2)

    def __call__(self, x):
        return self._dec_3(tf.nn.relu(self._dec_2(self._residual_stack(self._dec_1(x)))))


class Example(snt.Module):
    """The VQ-VAE of Sonnet's example, with its attribute names."""

    def __init__(self, hidden=128, blocks=2, block_hidden=32, bands=1, size=512, dim=64, ema=False):
        super().__init__(name="vqvae_model")
        self._encoder = Encoder(hidden, blocks, block_hidden)
        self._decoder = Decoder(hidden, blocks, block_hidden, bands)
        self._pre_vq_conv1 = snt.Conv2D(dim, 1, name="to_vq")
        if ema:
            self._vqvae = snt.nets.VectorQuantizerEMA(dim, size, 0.25, 0.9)
        else:
            self._vqvae = snt.nets.VectorQuantizer(dim, size, 0.25)

    def __call__(self, x, is_training=False):
        quantised = self._vqvae(self._pre_vq_conv1(self._encoder(x)), is_training=is_training)
        return self._decoder(quantised["quantize"]), quantised


def make_images(n, size, bands):
    return np.random.default_rng(0).random((n, size, size, bands)).astype("float32")


def perturb(example):
    """Give the biases values; Sonnet starts them at 0."""
    random = np.random.default_rng(1)
    for variable in example.trainable_variables:
        if variable.name.split("/")[-1].startswith("b:"):
            variable.assign(random.normal(scale=0.1, size=variable.shape))


SMALL = {"hidden": 16, "blocks": 1, "block_hidden": 8, "size": 32, "dim": 5}


@pytest.mark.parametrize(
    ("sizes", "pixels"),
    [({}, 84), ({**SMALL, "bands": 3}, 32), ({**SMALL, "ema": True, "blocks": 3}, 32)],
)
def test_a_checkpoint_gives_the_same_codes_and_reconstructions(tmp_path, sizes, pixels):
    example = Example(**sizes)
    images = make_images(3, pixels, sizes.get("bands", 1))
    example(images, is_training=True)
    perturb(example)
    expected, quantised = example(images)
    optimiser = snt.optimizers.Adam(1e-3)
    path = tf.train.Checkpoint(model=example, optimiser=optimiser).save(str(tmp_path / "run"))

    model = load_vqvae(path)
    result = reconstruct(model, images, batch_size=2)
    np.testing.assert_array_equal(result["codes"], quantised["encoding_indices"])
    np.testing.assert_allclose(result["image"], expected, atol=1e-5)
    if sizes.get("ema"):
        model.quantizer.decay = 0.9
        vectors = model.encoder(np.concatenate([images, np.ones_like(images)], axis=-1))
        model.quantizer(vectors, training=True)
        example(images, is_training=True)
        ours, theirs = model.quantizer.embeddings.numpy(), example._vqvae.embeddings.numpy().T
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_names_of_sonnet_1(tmp_path):
    example = Example(**SMALL)
    images = make_images(2, 32, 1)
    expected, quantised = example(images)
    values = {}
    for part in ("encoder", "decoder"):
        module = getattr(example, f"_{part}")
        short = part[:3]
        for number in (1, 2, 3):
            values[f"{part}/{short}_{number}"] = getattr(module, f"_{short}_{number}")
        values[f"{part}/res3x3_0"], values[f"{part}/res1x1_0"] = module._residual_stack._layers[0]
    values["to_vq"] = example._pre_vq_conv1
    variables = {f"{name}/{kind}": getattr(layer, kind) for name, layer in values.items() for kind in "wb"}
    variables["vector_quantizer/embedding"] = example._vqvae.embeddings
    variables |= {"encoder/enc_1/w/Adam": tf.Variable(tf.zeros_like(variables["encoder/enc_1/w"]))}
    saver = tf.compat.v1.train.Saver(variables)
    path = saver.save(None, str(tmp_path / "model"), global_step=100)

    result = reconstruct(load_vqvae(path, bands=["F160W"]), images)
    np.testing.assert_array_equal(result["codes"], quantised["encoding_indices"])
    np.testing.assert_allclose(result["image"], expected, atol=1e-5)


def test_the_model_runs_and_saves(tmp_path):
    example = Example(**SMALL)
    images = make_images(2, 32, 1)
    example(images)
    tf.train.Checkpoint(model=example).save(str(tmp_path / "run"))
    model = load_vqvae(tmp_path, bands=["r"], model_sigma=0.6)
    batch = {"image": 100 * images, "variance": np.ones_like(images)}
    outputs = model(batch)
    assert np.isfinite(outputs["image"]).all()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(batch)["codes"], outputs["codes"])


def test_errors(tmp_path):
    with pytest.raises(InputError, match="no TensorFlow checkpoint"):
        load_vqvae(tmp_path / "nothing")
    path = tf.train.Checkpoint(other=tf.Variable([1.0])).save(str(tmp_path / "other"))
    with pytest.raises(InputError, match="no kernel of enc_1"):
        load_vqvae(path)
    example = Example(**SMALL)
    example(make_images(1, 32, 1))
    example._encoder._enc_3.w = tf.Variable(np.zeros((1, 1, 16, 16), "float32"))
    path = tf.train.Checkpoint(model=example).save(str(tmp_path / "bad"))
    with pytest.raises(InputError, match="kernel of enc_3 has shape"):
        load_vqvae(path)
    with pytest.raises(InputError, match="2 names"):
        load_vqvae(path, bands=["g", "r"])
