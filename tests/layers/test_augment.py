import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.augment import Rotate90Flip, hide_bands, random_masks
from galzoo.layers.geometry import turn


def make_batch(n=32, size=6):
    random = np.random.default_rng(0)
    image = random.normal(size=(n, size, size, 2)).astype("float32")
    return {
        "image": image,
        "variance": image**2,
        "mask": image > 0,
        "psf": random.random((n, 5, 5, 2)).astype("float32"),
        "truth": image + 1,
        "isolated": np.stack([image, 2 * image, 3 * image], axis=1),
        "segmentation": (image[..., 0] > 0).astype("int32"),
        "label": np.arange(n),
    }


def numpy(batch):
    return {key: keras.ops.convert_to_numpy(value) for key, value in batch.items()}


def elements(plane):
    """The eight symmetries of one (y, x, ...) plane."""
    return [np.rot90(p, k) for p in (plane, plane[:, ::-1]) for k in range(4)]


def test_every_plane_of_a_stamp_turns_alike():
    batch = make_batch()
    turned = numpy(Rotate90Flip(seed=1)(batch, training=True))
    used = set()
    for i in range(len(batch["image"])):
        match = [np.array_equal(turned["image"][i], p) for p in elements(batch["image"][i])]
        assert sum(match) == 1
        which = match.index(True)
        used.add(which)
        for key in ("variance", "mask", "psf", "truth", "segmentation"):
            np.testing.assert_array_equal(turned[key][i], elements(batch[key][i])[which])
        for source in range(3):
            np.testing.assert_array_equal(turned["isolated"][i, source], elements(batch["isolated"][i, source])[which])
    assert used == set(range(8))
    np.testing.assert_array_equal(turned["label"], batch["label"])


def test_positions_follow_their_pixels():
    n, size = 16, 7
    image = np.zeros((n, size, size, 1), "float32")
    image[:, 1, 5] = 1
    positions = np.tile(np.array([[[5.0, 1.0]]], "float32"), (n, 1, 1))
    turned = numpy(Rotate90Flip(seed=2)({"image": image, "positions": positions}, training=True))
    for i in range(n):
        y, x = np.argwhere(turned["image"][i, ..., 0] == 1)[0]
        np.testing.assert_array_equal(turned["positions"][i, 0], [x, y])


def test_shared_psf_becomes_one_a_stamp():
    batch = {"image": np.zeros((8, 4, 4, 1), "float32"), "psf": np.random.default_rng(0).random((1, 3, 3, 1))}
    assert Rotate90Flip()(batch, training=True)["psf"].shape == (8, 3, 3, 1)


def test_does_nothing_outside_training():
    batch = make_batch(4)
    result = numpy(Rotate90Flip()(batch))
    for key in batch:
        np.testing.assert_array_equal(result[key], batch[key])


def test_the_state_resumes():
    batch = make_batch(64)
    layer = Rotate90Flip(seed=5)
    assert len(layer.variables) == 1
    assert not layer.trainable_variables
    layer(batch, training=True)
    state = [variable.numpy() for variable in layer.variables]
    expected = numpy(layer(batch, training=True))
    resumed = Rotate90Flip(seed=0)
    for variable, value in zip(resumed.variables, state, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(numpy(resumed(batch, training=True))["image"], expected["image"])
    assert not np.array_equal(numpy(layer(batch, training=True))["image"], expected["image"])


def test_the_state_is_among_the_variables_of_a_model():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.augment = Rotate90Flip(seed=5)

    assert Model().variables[0].path.endswith("seed_generator_state")


def test_runs_in_a_graph_of_unknown_batch():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.data is TensorFlow's")
    import tensorflow as tf

    layer = Rotate90Flip(seed=1)

    @tf.function(input_signature=[tf.TensorSpec((None, 6, 6, 1))])
    def run(image):
        return layer({"image": image}, training=True)["image"]

    assert run(np.zeros((3, 6, 6, 1), "float32")).shape == (3, 6, 6, 1)


def test_turn_reaches_the_whole_group():
    plane = np.random.default_rng(0).normal(size=(1, 4, 4)).astype("float32").repeat(8, axis=0)
    turned = keras.ops.convert_to_numpy(turn(plane, np.arange(8, dtype="int32")))
    found = {next(k for k, p in enumerate(elements(plane[0])) if np.array_equal(p, t)) for t in turned}
    assert found == set(range(8))


def test_errors():
    with pytest.raises(InputError, match="square"):
        Rotate90Flip()({"image": np.zeros((2, 4, 5, 1))}, training=True)
    with pytest.raises(InputError, match="psf"):
        Rotate90Flip()({"image": np.zeros((2, 4, 4, 1)), "psf": np.zeros((2, 3, 4, 1))}, training=True)


def test_boxes_stay_around_their_pixels():
    """A box per image around 3 x 2 pixels of an odd place, counted again on the turned pixels."""
    image = np.zeros((32, 9, 9, 1), "float32")
    image[:, 1:3, 4:7] = 1
    boxes = np.tile(np.array([3.5, 0.5, 6.5, 2.5], "float32"), (32, 1, 1))
    turned = numpy(Rotate90Flip(seed=2)({"image": image, "boxes": boxes}, training=True))
    for plane, box in zip(turned["image"][..., 0], turned["boxes"][:, 0], strict=True):
        y, x = np.nonzero(plane)
        np.testing.assert_array_equal(box, [x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5])
    assert len(np.unique(turned["boxes"], axis=0)) == 8


def test_hands_change_places_where_a_stamp_is_mirrored():
    n = 64
    batch = make_batch(n)
    label = np.resize([1, 2, 3, np.nan], n).astype("float32")
    batch["condition"] = np.stack([np.full(n, 1.0, "float32"), label], axis=-1)
    turned = numpy(Rotate90Flip(seed=3, handed={1: [1, 2]})(batch, training=True))
    for i in range(n):
        match = [np.array_equal(turned["image"][i], p) for p in elements(batch["image"][i])]
        mirrored = match.index(True) >= 4
        expected = {1: 2, 2: 1}.get(label[i], label[i]) if mirrored else label[i]
        np.testing.assert_array_equal(turned["condition"][i], [1.0, expected])


def test_masks_hide_discs_and_now_and_then_a_half_plane():
    n, side = 3000, 41
    lines = keras.ops.convert_to_numpy(random_masks((n, side, side, 1), 0.5, keras.random.SeedGenerator(1), discs=0))[
        ..., 0
    ]
    assert set(np.unique(lines)) == {0, 1}
    hidden = (lines == 0).any(axis=(1, 2))
    # A third of a half, less the few whose line lies beyond the corner of its side.
    assert 0.135 < hidden.mean() < 0.18
    middle = np.hypot(*(np.indices((side, side)) - 20)) < 0.19 * 20
    assert (lines[:, middle] == 1).all()
    discs = keras.ops.convert_to_numpy(random_masks((n, side, side, 1), 1.0, keras.random.SeedGenerator(2), discs=1))
    dark = side**2 - discs.sum(axis=(1, 2, 3))
    # A radius of 15 % of the side at most, where no line is there: two in three.
    small = (dark > 0) & (dark < np.pi * (0.15 * side + 1) ** 2)
    assert 0.6 < small.mean() < 0.85
    # Half of the radii are below 9.5 %.
    assert np.median(dark[small]) == pytest.approx(np.pi * (0.09 * side) ** 2, rel=0.25)


def test_bands_are_hidden_but_never_all():
    variance = np.full((4000, 1, 1, 3), 2.0, "float32")
    some = keras.ops.convert_to_numpy(hide_bands(variance, 0.3, keras.random.SeedGenerator(1)))[:, 0, 0]
    assert set(np.unique(some)) == {2, np.inf}
    # 0.3 each, but for 0.3^3 of the images, of which one of three bands is kept.
    assert np.isinf(some).mean() == pytest.approx(0.3 - 0.027 / 3, abs=0.015)
    every = keras.ops.convert_to_numpy(hide_bands(variance, 1.0, keras.random.SeedGenerator(2)))[:, 0, 0]
    np.testing.assert_array_equal(np.isinf(every).sum(axis=1), 2)
