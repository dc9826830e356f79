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
