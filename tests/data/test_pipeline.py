"""The two ways into `fit`, tf.data and PyDataset, give the same batches in the same order."""

import keras
import numpy as np
import pytest

from galzoo import Stamps
from galzoo.data.pipeline import evaluation_batches, training_batches
from galzoo.data.source import StampSource, step_positions


@pytest.fixture
def source(tmp_path):
    number = np.random.default_rng(0).permutation(37)
    image = np.broadcast_to(number[:, None, None, None], (37, 4, 4, 1))
    Stamps(image, ["r"], 0.2, catalogue={"id": number.astype(str), "type": number}).save(tmp_path / "s.h5")
    return StampSource(tmp_path / "s.h5", ("image", "variance"), "all", label="type")


@pytest.fixture(params=["tf.data", "PyDataset"])
def way(request, monkeypatch):
    """Make the pipeline believe in a back end while it chooses; Keras itself goes on with TensorFlow."""

    def make(function, *arguments):
        with monkeypatch.context() as patch:
            if request.param == "PyDataset":
                patch.setattr(keras.backend, "backend", lambda: "jax")
            made = function(*arguments)
        assert isinstance(made, keras.utils.PyDataset) == (request.param == "PyDataset")
        return made

    return make


class Recorder(keras.Model):
    """Writes down what `fit` and `evaluate` hand to a model."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.built = True

    def train_step(self, batch):
        self.seen.append({key: np.asarray(value) for key, value in batch.items()})
        return {"loss": 0.0}

    test_step = train_step


def recorder():
    model = Recorder()
    model.compile(run_eagerly=True)
    return model


def test_fit_gets_every_step_in_order_with_labels_of_its_images(source, way):
    model = recorder()
    model.fit(way(training_batches, source, 8, 7), epochs=3, steps_per_epoch=5, shuffle=False, verbose=0)
    assert len(model.seen) == 15
    for step, batch in enumerate(model.seen):
        np.testing.assert_array_equal(batch["index"], step_positions(37, step, 8, seed=7))
        np.testing.assert_array_equal(batch["label"], batch["image"][:, 0, 0, 0])
        assert batch["image"].shape == (8, 4, 4, 1)
        assert batch["image"].dtype == np.float32


def test_a_later_start_goes_on_where_it_stopped(source, way):
    model = recorder()
    model.fit(way(training_batches, source, 8, 7, 10), epochs=1, steps_per_epoch=5, shuffle=False, verbose=0)
    indices = [batch["index"] for batch in model.seen]
    np.testing.assert_array_equal(indices, [step_positions(37, step, 8, seed=7) for step in range(10, 15)])


def test_evaluation_passes_once_in_order(source, way):
    model = recorder()
    batches = way(evaluation_batches, source, 10)
    for _ in range(2):
        model.evaluate(batches, verbose=0)
    seen = np.concatenate([batch["index"] for batch in model.seen])
    np.testing.assert_array_equal(seen, np.tile(np.arange(37), 2))
    assert [len(batch["index"]) for batch in model.seen] == 2 * [10, 10, 10, 7]


def test_all_planes_are_cut_alike(tmp_path, way):
    """Image, variance, mask and truth to the same central pixels, each galaxy its own; the PSF stays whole."""
    random = np.random.default_rng(1)
    shape = (20, 12, 12, 2)
    stamps = Stamps(
        random.normal(size=shape), ["g", "r"], 0.2, variance=random.uniform(1, 2, shape), truth=random.random(shape),
        mask=random.random(shape) < 0.3, psf=np.full((1, 9, 9, 2), 1 / 81),
    )  # fmt: skip
    stamps.save(tmp_path / "s.h5")
    whole = StampSource(tmp_path / "s.h5", ("image", "variance", "mask", "truth", "psf"), "all")
    model = recorder()
    model.fit(way(training_batches, whole, 8, 7, 0, 6), steps_per_epoch=3, shuffle=False, verbose=0)
    middle = np.s_[:, 3:9, 3:9]
    for batch in model.seen:
        rows = batch["index"]
        bad = stamps.mask[rows][middle]
        np.testing.assert_array_equal(batch["mask"].astype(bool), bad)
        np.testing.assert_array_equal(batch["image"], np.where(bad, 0, stamps.image[rows][middle]))
        for key in ("variance", "truth"):
            np.testing.assert_array_equal(batch[key], getattr(stamps, key)[rows][middle])
        assert batch["psf"].shape == (8, 9, 9, 2)
