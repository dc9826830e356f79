"""How unusual galaxies are: by the density of their vectors, and by what a model cannot reconstruct."""

import keras
import numpy as np

from galzoo.contracts.codec import Reconstructor
from galzoo.data.batches import stamps_batch
from galzoo.errors import InputError
from galzoo.inference.stamp_features import encoder_of
from galzoo.metrics.reconstruction import chi2_per_pixel
from galzoo.progress import track

# Principal components that the density is of, Gaussians that are tried, vectors that each needs a component.
_COMPONENTS, _GAUSSIANS, _VECTORS = 20, (1, 2, 4, 8), 10
_FEWEST = 30


class LatentDensity:
    """A mixture of Gaussians of vectors, as many as the Bayesian information criterion wants.

    Parameters
    ----------
    features : array, (n, feature)
        Of the galaxies that are usual.
    seed : int
    """

    def __init__(self, features, seed=0):
        from sklearn.decomposition import PCA
        from sklearn.mixture import GaussianMixture

        features = np.asarray(features, np.float64)
        if len(features) < _FEWEST:
            raise InputError(f"{len(features)} usual galaxies; a density needs at least {_FEWEST}")
        if not np.isfinite(features).all():
            raise InputError("vectors of usual galaxies are not finite; mask bad pixels")
        if not np.ptp(features, axis=0).max() > 1e-9:
            raise InputError("the model describes all usual galaxies alike; is it trained?")
        number = min(_COMPONENTS, features.shape[1], len(features) // _VECTORS)
        self.parts = PCA(number, svd_solver="full").fit(features)
        spread = np.sqrt(self.parts.explained_variance_)
        self.kept = spread > 1e-6 * spread[0]
        self.spread = spread[self.kept]
        x = self._project(features)
        tried = [k for k in _GAUSSIANS if k == 1 or len(x) >= k * _VECTORS * x.shape[1]]
        found = [GaussianMixture(k, reg_covar=1e-3, random_state=seed, max_iter=300).fit(x) for k in tried]
        self.mixture = min(found, key=lambda mixture: mixture.bic(x))

    def _project(self, features):
        return self.parts.transform(features)[:, self.kept] / self.spread

    def strangeness(self, features):
        """Return minus the log-density of vectors, (n,), in nats; larger is stranger."""
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != self.parts.n_features_in_:
            raise InputError(f"vectors have the shape {features.shape}; give (n, {self.parts.n_features_in_})")
        return -self.mixture.score_samples(self._project(features))


def chi2_a_pixel(model, stamps, batch_size=64, progress=False):
    """Return chi2 a good pixel of what a model reconstructs of stamps, (n,); None where it reconstructs nothing."""
    model, stamps = encoder_of(model, stamps)
    if not isinstance(model, Reconstructor):
        return None
    found = [np.zeros(0)]
    for start in track(range(0, len(stamps), batch_size), "reconstructing", progress):
        batch = stamps_batch(stamps, slice(start, start + batch_size))
        image = keras.ops.convert_to_numpy(model.reconstruct(batch)["image"])
        found.append(chi2_per_pixel(batch["image"], image, batch["variance"], batch.get("mask")))
    # A stamp without a good pixel is not unusual.
    return np.nan_to_num(np.concatenate(found))


def usual_rows(catalogue, seed=0):
    """Return the rows that say what is usual: the split "train" by object, of which the strange ones are a part."""
    from galzoo.data.splits import split_names

    columns = {name: np.asarray(getattr(values, "value", values)) for name, values in catalogue.items()
               if name in ("id", "ra", "dec", "split")}  # fmt: skip
    columns.setdefault("id", np.arange(len(catalogue)))
    return np.flatnonzero(split_names(columns, 0.1, 0.1, seed) == "train")


def ranked(values):
    """Return the share of the others that are less strange, (n,), 0 to 1."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return order / max(1, len(values) - 1)
