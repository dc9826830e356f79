"""Classes on an encoder, from labels to files and back."""

import json

import numpy as np
import pytest
from astropy.table import QTable

from galzoo.data.batches import stamps_batch
from galzoo.errors import InputError
from galzoo.field.pieces import check_folder
from galzoo.models.galaxy_vae.model import GalaxyVAE
from galzoo.tasks.classify.labels import labels_of
from galzoo.tasks.classify.products import write_products
from galzoo.tasks.classify.run import classify, fit, usual_depth
from galzoo.tasks.classify.saved import load_classifier, save_classifier
from tests.conftest import make_stamps


@pytest.fixture(scope="module")
def stamps():
    return make_stamps(n=90, size=16)


@pytest.fixture(scope="module")
def model(stamps):
    """A model as training starts it, before the first step."""
    import keras

    keras.utils.set_random_seed(1)
    model = GalaxyVAE.tiny()
    model.adapt([stamps_batch(stamps, slice(None))])
    return model


@pytest.fixture(scope="module")
def labels(stamps):
    flux = stamps.truth.sum(axis=(1, 2, 3))
    return labels_of(np.where(np.arange(90) % 6 == 0, "", np.where(flux > 1000, "bright", "faint")))


def test_from_labels_to_files_and_back(model, stamps, labels, tmp_path):
    result = fit(model, stamps, labels, views=1)
    assert set(result.part[labels.number < 0]) == {""}
    assert result.metrics["n"] == np.sum(result.part == "test")
    # Even an untrained encoder sees how bright a galaxy is.
    assert result.metrics["balanced_accuracy"] > 0.8
    written = write_products(stamps, result, tmp_path, {"file": "x"})
    assert check_folder(tmp_path, "classify")
    assert all(path.is_file() for path in written)
    table = QTable.read(tmp_path / "classes.ecsv")
    np.testing.assert_allclose(table["p_bright"] + table["p_faint"], 1)
    assert set(table["class"]) == {"bright", "faint"}
    assert json.loads((tmp_path / "summary.json").read_text())["of"] == "held out"
    save_classifier(result.classifier, tmp_path)
    again = classify(model, stamps, load_classifier(tmp_path)[0], views=1)
    unseen = result.part != "train"
    np.testing.assert_allclose(again.probability[unseen], result.probability[unseen])


def test_maps_on_the_way_to_the_vector_can_be_learnt_from(model, stamps, labels, tmp_path):
    result = fit(model, stamps, labels, views=1, depth="levels")
    # An untrained encoder sees how bright a galaxy is in its maps, too.
    assert result.metrics["balanced_accuracy"] > 0.6
    save_classifier(result.classifier, tmp_path)
    loaded, _ = load_classifier(tmp_path)
    again = classify(model, stamps, loaded, views=1, depth="levels")
    unseen = result.part != "train"
    np.testing.assert_allclose(again.probability[unseen], result.probability[unseen])
    with pytest.raises(InputError, match="this classifier takes"):
        classify(model, stamps, loaded, views=1)


def test_maps_are_learnt_from_where_there_are_any(model):
    assert [usual_depth(model, method) for method in ("linear", "forest", "finetune")] == ["levels", "levels", "vector"]
    assert usual_depth(object(), "linear") == "vector"


def test_a_finetuned_encoder_is_saved(stamps, labels, tmp_path):
    result = fit(GalaxyVAE.tiny(), stamps, labels, "finetune", views=1, epochs=1)
    save_classifier(result.classifier, tmp_path)
    again = classify(None, stamps, load_classifier(tmp_path)[0], views=1)
    np.testing.assert_allclose(again.probability, result.probability, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": 1.0}, "test is 1.0"),
        ({"method": "finetune", "test": 0}, "needs objects held out"),
        ({"views": 9}, "a square has 1 to 8"),
        ({"method": "finetune", "depth": "levels"}, "fine-tuning trains the vector"),
    ],
)
def test_options_that_cannot_be(model, stamps, labels, change, message):
    with pytest.raises(InputError, match=message):
        fit(model, stamps, labels, **change)


def test_stamps_and_labels_must_fit(model, stamps, labels):
    with pytest.raises(InputError, match="90 labels for 5 stamps"):
        fit(model, stamps[:5], labels)
    with pytest.raises(InputError, match="no stamps to classify"):
        classify(model, stamps[:0], None)
