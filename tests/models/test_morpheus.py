"""Morpheus: the published network to the last digits, its resizing and its loss by other ways of computing them."""

from pathlib import Path

import keras
import numpy as np
import pytest

import galzoo
from galzoo.data.zeropoint import njy_per_count
from galzoo.errors import InputError, RecipeError

GOLDEN = Path(__file__).parent / "morpheus_golden.npz"


def test_logits_are_those_of_the_original_graph():
    """Written by scripts/convert_morpheus.py, which runs the published graph itself."""
    model = galzoo.load("morpheus_hst")
    with np.load(GOLDEN) as file:
        counts, expected = file["image"].astype(np.float32), file["logits"]
    scale = [njy_per_count(point) for point in model.get_config()["zero_points"]]
    found = np.asarray(model({"image": counts * np.array(scale, np.float32)})["logits"])
    assert np.ptp(expected) > 30
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert model.count_params() == 76181
    shares = np.exp(expected.astype(float)) / np.exp(expected.astype(float)).sum(axis=-1, keepdims=True)
    classes = model.pixel_classes({"image": counts * np.array(scale, np.float32)})
    np.testing.assert_allclose(classes, shares, atol=2e-4)
    bare = type(model).from_config(model.get_config() | {"zero_points": None})
    bare.set_weights(model.get_weights())
    np.testing.assert_allclose(np.asarray(bare({"image": counts})["logits"]), expected, atol=1e-4)


@pytest.mark.parametrize("size", [5, 10, 20, 33])
def test_doubling_is_the_resize_of_tensorflow_1(size):
    import tensorflow as tf

    from galzoo.models.morpheus.network import doubling_matrix

    image = np.random.default_rng(size).normal(size=(1, size, size, 3)).astype(np.float32)
    expected = tf.raw_ops.ResizeBicubic(images=image, size=[2 * size] * 2, align_corners=True).numpy()
    matrix = doubling_matrix(size)
    found = np.einsum("ay,nyxc,bx->nabc", matrix, image, matrix)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_images_of_any_size_are_mirrored_at_their_end():
    from galzoo.models.morpheus.network import UNet

    keras.utils.set_random_seed(1)
    network = UNet(3, down=(2, 3), up=(2, 2), down_blocks=1, up_blocks=1, middle=2)
    network.build((None, None, None, 2))
    image = np.random.default_rng(0).normal(size=(1, 10, 13, 2)).astype("float32")
    whole = np.pad(image, ((0, 0), (0, 2), (0, 3), (0, 0)), mode="symmetric")
    found = np.asarray(network(image))
    assert found.shape == (1, 10, 13, 3)
    np.testing.assert_allclose(found, np.asarray(network(whole))[:, :10, :13], atol=1e-5)


def test_a_window_is_brought_to_mean_0_and_deviation_1_over_all_bands():
    from galzoo.models.morpheus.model import standardise

    image = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32) * [1, 5, 9] + 3
    found = np.asarray(standardise(image.astype(np.float32)))
    for one, raw in zip(found, image, strict=True):
        np.testing.assert_allclose(one, (raw - raw.mean()) / raw.std(), atol=1e-5)
    faint = np.full((1, 8, 8, 3), 4.0, np.float32)
    faint[0, 0, 0, 0] += 1e-3
    # Below one over the root of the number of values the deviation does not count.
    np.testing.assert_allclose(np.asarray(standardise(faint)).max(), 1e-3 * np.sqrt(192), rtol=0.02)


def test_loss_is_the_published_one():
    """Pixel by pixel in NumPy, after the original code."""
    from galzoo.models.morpheus.losses import class_weights, cross_entropy, dice

    random = np.random.default_rng(1)
    labels = random.dirichlet([0.3] * 5, size=(3, 6, 6)).astype(np.float32)
    logits = random.normal(size=labels.shape).astype(np.float32)
    flat, scores = labels.reshape(-1, 5), logits.reshape(-1, 5).astype(float)
    share = np.zeros(5)
    for pixel in flat:
        share[pixel.argmax()] += pixel.max() / len(flat)
    entropy = [-sum(p * (s - np.log(np.exp(line).sum())) for p, s in zip(pixel, line, strict=True))
               for pixel, line in zip(flat, scores, strict=True)]  # fmt: skip
    expected = np.mean([value / share[pixel.argmax()] for value, pixel in zip(entropy, flat, strict=True)])
    found = np.mean(np.asarray(class_weights(labels)) * np.asarray(cross_entropy(logits, labels)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for row, value in enumerate(np.asarray(dice(logits, labels))):
        probability = 1 / (1 + np.exp(-logits[row, ..., 4].astype(float)))
        true = labels[row, ..., 4]
        np.testing.assert_allclose(value, 2 * (true * probability).sum() / (true + probability).sum(), rtol=1e-5)


def test_training_sees_windows_and_validation_the_middle():
    from galzoo.models.morpheus.model import Morpheus

    model = Morpheus.tiny(window=16, margin=2, augment=False)
    image = np.arange(32 * 32, dtype=np.float32).reshape(1, 32, 32, 1)
    labels = np.zeros((1, 32, 32, 5), np.float32)
    labels[..., 4] = image[..., 0]
    seen = {float(np.asarray(model({"image": image, "pixel_class": labels}, training=True)["pixel_class"])[0, 0, 0, 4])
            for _ in range(12)}  # fmt: skip
    assert len(seen) > 4
    middle = np.asarray(model._window({"image": image, "pixel_class": labels})["image"])
    np.testing.assert_array_equal(middle, image[:, 8:24, 8:24])


def test_what_does_not_fit_is_refused():
    from galzoo.models.morpheus.model import Morpheus

    with pytest.raises(InputError, match="needs it"):
        Morpheus.tiny()({})
    with pytest.raises(InputError, match="image has 2 bands, this model has 1: r"):
        Morpheus.tiny().pixel_classes({"image": np.zeros((1, 24, 24, 2), np.float32)})
    with pytest.raises(InputError, match="3 classes, this model has 5"):
        Morpheus.tiny()({"image": np.zeros((1, 24, 24, 1)), "pixel_class": np.zeros((1, 24, 24, 3))}, training=True)
    for arguments, word in (
        ({"classes": ["a"]}, "two or more"), ({"up": (4,)}, "as many"), ({"window": 4}, "8 pixels"),
        ({"margin": 12}, "less than half"), ({"zero_points": [25.0, 26.0]}, "one a band"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=word):
            Morpheus.tiny(**arguments)
