"""A trained encoder as a scikit-learn transformer: stamps in, vectors out."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from galzoo.errors import InputError


class GalzooEmbedder(TransformerMixin, BaseEstimator):
    """Galaxies as what a trained model encodes them as, for pipelines and searches of scikit-learn.

    Parameters
    ----------
    model : str, Path or keras.Model
        A preset, the folder of a run, or a loaded codec, prior or encoder.
    shape : (int, int, int), optional
        Pixels and bands (y, x, band) of a flat row of numbers; square stamps of the model's bands by default.
    batch_size : int
        Stamps at a time.
    views : int
        Orientations averaged over, 1 to 8.
    depth : {"vector", "levels"}
        What of an encoder is given, see `galzoo.inference.stamp_features.features`.

    Attributes
    ----------
    model_ : keras.Model
    shape_ : (int, int, int)
    n_features_in_ : int
        Numbers of a stamp.

    Notes
    -----
    Takes `galzoo.Stamps` (or a selection of them), with their variance, mask and PSF; or arrays, (n, y, x, band) or
    flat (n, y x band), whose noise is then measured on each stamp and whose bands are those of the model. Nothing is
    learnt in `fit`, which loads the model and looks at the shape. It passes scikit-learn's own checks of estimators
    where rows of any length are stamps of the model; docs/embed.md says more.
    """

    def __init__(self, model="vqvae_sdss_rgb", shape=None, batch_size=64, views=8, depth="vector"):
        self.model = model
        self.shape = shape
        self.batch_size = batch_size
        self.views = views
        self.depth = depth

    def fit(self, X, y=None):
        """Load the model and learn the shape of the stamps.

        Parameters
        ----------
        X : Stamps or array
        y : object
            Not used.

        Returns
        -------
        GalzooEmbedder
            Itself.

        Raises
        ------
        InputError
            If flat rows are no stamps of the model's bands.
        """
        model = self._loaded()
        if not _is_stamps(X):
            X = self._checked(X, reset=True)
            self.shape_ = self._shape(X, model)
        else:
            self.shape_ = tuple(int(size) for size in X.image.shape[1:])
            self.n_features_in_ = int(np.prod(self.shape_))
        self.model_ = model
        return self

    def transform(self, X):
        """Return the vectors of stamps, (n, feature), as `galzoo.inference.stamp_features.features` makes them."""
        from galzoo.inference.stamp_features import features

        check_is_fitted(self, "model_")
        if not _is_stamps(X):
            X = self._stamps(self._checked(X, reset=False))
        if len(X) and tuple(X.image.shape[1:]) != self.shape_:
            raise InputError(f"stamps have the shape {X.image.shape[1:]}, fitted was {self.shape_}; give that shape")
        return features(self.model_, X, self.batch_size, views=self.views, depth=self.depth)[0]

    def get_feature_names_out(self, input_features=None):
        """Return names of the features: the class in small letters and a number."""
        check_is_fitted(self, "model_")
        if not hasattr(self, "_width"):
            self._width = self.transform(np.zeros((1, *self.shape_), np.float32)).shape[1]
        return np.array([f"galzooembedder{number}" for number in range(self._width)], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.input_tags.three_d_array = True
        return tags

    def _loaded(self):
        from galzoo.presets import load_for

        if hasattr(self.model, "bands"):
            return self.model
        return load_for("embed", self.model, "model", "prior", "encoder")

    def _checked(self, X, reset):
        # What is no array, list or tuple, such as a table, has rows.
        depth = np.ndim(X) if isinstance(X, list | tuple | np.ndarray) else getattr(X, "ndim", 2)
        if depth > 2:
            X = np.asarray(X)
            X = X.reshape(len(X), -1)
        return validate_data(self, X, reset=reset, dtype=np.float32 if reset else (np.float32, np.float64))

    def _shape(self, X, model):
        if self.shape is not None:
            shape = tuple(int(size) for size in self.shape)
        else:
            side = round(np.sqrt(X.shape[1] / len(model.bands)))
            shape = (side, side, len(model.bands))
        if int(np.prod(shape)) != X.shape[1] or shape[-1] != len(model.bands):
            raise InputError(
                f"{X.shape[1]} numbers a row are no stamp of {shape} with the bands {', '.join(model.bands)}; give "
                "shape=(y, x, band), or Stamps"
            )
        return shape

    def _stamps(self, X):
        from galzoo.data.stamps import Stamps

        images = np.asarray(X, np.float32).reshape(-1, *self.shape_)
        return Stamps(images, bands=self.model_.bands, pixel_scale=1.0, unit="")


def _is_stamps(X):
    return hasattr(X, "image") and hasattr(X, "bands")
