"""The encoder as a scikit-learn transformer."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.inference.stamp_features import features
from galzoo.interop.sklearn import GalzooEmbedder
from galzoo.models.galaxy_vae.model import GalaxyVAE
from tests.conftest import make_stamps


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    return GalaxyVAE.tiny()


def test_gives_the_features_of_stamps(model):
    stamps = make_stamps(n=6, size=16)
    embedder = GalzooEmbedder(model, views=2).fit(stamps)
    np.testing.assert_allclose(embedder.transform(stamps), features(model, stamps, views=2)[0])
    assert len(embedder.get_feature_names_out()) == 6


def test_takes_flat_rows_as_images(model):
    image = make_stamps(n=5, size=16).image
    embedder = GalzooEmbedder(model, views=1)
    flat = embedder.fit_transform(image.reshape(5, -1))
    np.testing.assert_allclose(embedder.transform(image), flat, atol=1e-5)


def test_rows_that_are_no_stamps_are_refused(model):
    with pytest.raises(InputError, match="10 numbers a row are no stamp"):
        GalzooEmbedder(model).fit(np.zeros((3, 10)))
    with pytest.raises(ValueError, match="256 features"):
        GalzooEmbedder(model).fit(np.zeros((3, 256))).transform(np.zeros((3, 255)))


class _Levels:
    """An encoder without weights: the levels of the brightest and of all pixels, and where they lie."""

    bands = ("r",)

    def latents(self, batch):
        image = np.asarray(batch["image"], np.float64)
        place = np.arange(image.shape[2])[None, None, :, None]
        return np.stack(
            [image.max(axis=(1, 2, 3)), image.mean(axis=(1, 2, 3)), (image * place).mean(axis=(1, 2, 3))], 1
        )


class _Lines(GalzooEmbedder):
    """Takes rows of any length as stamps of one line of pixels: scikit-learn's checks use tables of 1 to 10 columns."""

    def __init__(self, model="levels", shape=None, batch_size=64, views=1):
        super().__init__(model, shape, batch_size, views)

    def _loaded(self):
        return _Levels()

    def _shape(self, X, model):
        return 1, X.shape[1], 1


def test_passes_the_checks_of_scikit_learn():
    from sklearn.utils.estimator_checks import check_estimator

    found = check_estimator(_Lines(), on_skip=None, on_fail=None)
    failed = {row["check_name"]: row["exception"] for row in found if row["status"] == "failed"}
    assert not failed
    assert sum(row["status"] == "passed" for row in found) > 40
