"""What a prior over galaxies is: the protocol that samplers, deblenders and metrics rely on."""

import dataclasses
import importlib
from typing import Protocol, runtime_checkable

import numpy as np

from galzoo.brief import Brief


@dataclasses.dataclass(repr=False)
class Samples(Brief):
    """Galaxies drawn from a prior; all arrays have a first axis of n objects.

    Parameters
    ----------
    image : array, (n, y, x, band)
        Noiseless image in the model frame: a round Gaussian PSF of `model_sigma` pixels. 8-bit pictures (unit "") are
        drawn as the survey displays them.
    condition : dict of arrays, (n,)
        What each galaxy was drawn for; NaN where a column was left open.
    log_prob : array, (n,)
        Natural logarithm of the probability (of codes) or density (of pixels) under the prior at temperature 1.
    bands : tuple of str
    pixel_scale : float
        Arcsec per pixel.
    unit : str
        Of the pixels; "" for display-stretched pictures.
    model_sigma : float
        Sigma in pixels of the model-frame PSF; 0 where images are as observed.
    codes : int array, (n, y, x), optional
        Code maps, where the prior is one of codes.
    survey : str
        Whose galaxies the prior was trained on.
    """

    image: np.ndarray
    condition: dict[str, np.ndarray]
    log_prob: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float
    unit: str = ""
    model_sigma: float = 0.0
    codes: np.ndarray | None = None
    survey: str = ""

    def __len__(self):
        return len(self.image)

    def to_table(self):
        """Return conditions and log-probability as an `astropy.table.QTable`, a row a galaxy."""
        from astropy.table import QTable

        return QTable(
            {**{name: np.asarray(value) for name, value in self.condition.items()}, "log_prob": self.log_prob}
        )

    def plot(self, title=None, names=None):
        """Draw a page of the galaxies as the model draws them, with their conditions; see `galzoo.viz.page.page`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        # By name, as they stand above the contracts.
        observe = importlib.import_module("galzoo.simulate.observe").observe
        page = importlib.import_module("galzoo.viz.page").page
        return page(observe(self), self.condition, title, names)

    def __getitem__(self, rows):
        """Return the samples of some rows (a slice or an array of row numbers)."""
        if isinstance(rows, int | np.integer):
            rows = range(len(self))[rows]
            rows = slice(rows, rows + 1)
        return dataclasses.replace(
            self,
            image=self.image[rows],
            condition={name: values[rows] for name, values in self.condition.items()},
            log_prob=self.log_prob[rows],
            codes=None if self.codes is None else self.codes[rows],
        )


@runtime_checkable
class Prior(Protocol):
    """Anything that galaxies can be drawn from, or that says how probable a galaxy is.

    A family that is a prior gives its model these methods and attributes; a solver in `galzoo.inference` asks the flags
    before it relies on a method. `isinstance` checks the methods alone. `x` is what the prior is over: `space` is
    "codes" for int maps (n, y, x) and "pixels" for images (n, y, x, band).

    Attributes
    ----------
    space : {"codes", "pixels"}
    exact_log_prob : bool
        `log_prob` is the logarithm of a normalised density or probability, so that it may enter an energy in MCMC.
    exact_score : bool
        `score` is the gradient of that `log_prob`, not an estimate learnt on its own.
    """

    def sample(self, n, condition=None, seed=0) -> Samples:
        """Draw `n` galaxies, the same for the same seed."""

    def log_prob(self, x, condition=None) -> np.ndarray:
        """Return the log-probability of each object, (n,), in nats."""

    def score(self, x, condition=None) -> np.ndarray:
        """Return the gradient of `log_prob` by the pixels, shape of `x`; an error where the space has none."""


@runtime_checkable
class PixelDensity(Protocol):
    """A prior over pixels whose density other programs may build into their own graphs."""

    def image_density(self, image, condition):
        """Return `Prior.log_prob` as a tensor (n,), to be differentiated.

        Parameters
        ----------
        image : tensor, (n, y, x, band)
        condition : tensor, (n, column)
            NaN for what is not known; one column where the prior has none.
        """
