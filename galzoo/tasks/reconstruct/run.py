"""Reconstruct and deconvolve stamps with a trained model."""

import dataclasses

import keras
import numpy as np

from galzoo.brief import Brief
from galzoo.data.bands import in_order
from galzoo.data.batches import stamps_batch
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.inference.refine import refine
from galzoo.layers.psf import convolve
from galzoo.metrics.reconstruction import chi2_per_pixel
from galzoo.progress import track

# Of what a model returns.
_KEPT = ("image", "deconvolved", "codes")


@dataclasses.dataclass(repr=False)
class Reconstruction(Brief):
    """What a model makes of some stamps; all arrays have a first axis of n stamps.

    Parameters
    ----------
    image : array, (n, y, x, band)
        Noiseless image as observed, through the stamp's PSF; in the unit of the stamps.
    deconvolved : array, (n, y, x, band)
        Image in the model frame: a round Gaussian PSF of `model_sigma` pixels.
    chi2 : array, (n,)
        Chi-square per good pixel, all bands; NaN where a stamp has no good pixel.
    model_sigma : float
        Sigma of the model-frame PSF in pixels.
    codes : int array, (n, y, x), optional
        One code a cell, of models that have codes.
    stamps : Stamps, optional
        What was reconstructed, for `plot` and `to_table`.
    """

    image: np.ndarray
    deconvolved: np.ndarray
    chi2: np.ndarray
    model_sigma: float
    codes: np.ndarray | None = None
    stamps: Stamps | None = dataclasses.field(default=None, repr=False)

    def plot(self, rows=None, title=None):
        """Draw stamps beside their reconstruction, as `galzoo reconstruct` does; see `galzoo.viz.reconstruction_panel`.

        Parameters
        ----------
        rows : int or sequence of int, optional
            How many stamps, or which; bright ones of which little is masked by default.
        title : str, optional

        Returns
        -------
        matplotlib.figure.Figure
        """
        from galzoo.tasks.reconstruct.products import PANEL_ROWS, shown_rows
        from galzoo.viz.panels import reconstruction_panel

        stamps = self._stamps()
        return reconstruction_panel(stamps, self, shown_rows(stamps, PANEL_ROWS) if rows is None else rows, title)

    def to_table(self):
        """Return the catalogue of the stamps with chi2, fluxes and shapes, see `galzoo.tasks.reconstruct.products`."""
        from galzoo.tasks.reconstruct.products import catalogue

        return catalogue(self._stamps(), self)

    def _stamps(self):
        if self.stamps is None:
            raise InputError("a reconstruction without its stamps; make it with stamps=...")
        return self.stamps


def reconstruct(model, stamps, batch_size=64, progress=False, refine_steps=30):
    """Run a model over stamps.

    Parameters
    ----------
    model : galzoo.contracts.codec.Reconstructor
    stamps : Stamps
        Any number and size; bands in any order, by name those of the model. An absent variance is estimated from the
        sky of each stamp; an absent PSF means that the model shows the image as seen.
    batch_size : int
        Stamps at a time; bounds the memory.
    progress : bool
        Show a progress bar.
    refine_steps : int
        At most so many likelihood updates of the model's image (`galzoo.inference.refine`); 0 gives what the codes
        alone say. Pictures (unit "") are not refined: their noise is nominal.

    Returns
    -------
    Reconstruction

    Raises
    ------
    InputError
        If the bands are not those of the model.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 stamp or more at a time")
    given, stamps = stamps, in_order(stamps, model.bands)
    parts = []
    for start in track(range(0, len(stamps), batch_size), "reconstructing", progress):
        batch = stamps_batch(stamps, slice(start, start + batch_size))
        outputs = model.reconstruct(batch)
        outputs = {key: keras.ops.convert_to_numpy(outputs[key]) for key in _KEPT if key in outputs}
        if refine_steps and stamps.unit:
            outputs["deconvolved"] = refine(outputs["deconvolved"], batch, model.model_sigma, refine_steps)
            seen = convolve(outputs["deconvolved"], batch.get("psf"), model.model_sigma)
            outputs["image"] = keras.ops.convert_to_numpy(seen)
        parts.append(
            {**outputs, "chi2": chi2_per_pixel(batch["image"], outputs["image"], batch["variance"], batch["mask"])}
        )
    if not parts:
        raise InputError("no stamps to reconstruct; the file or selection is empty")
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    # Images come back in the order of the bands that they were given in.
    back = [model.bands.index(band) for band in given.bands]
    for key in ("image", "deconvolved"):
        joined[key] = joined[key][..., back]
    return Reconstruction(**joined, model_sigma=model.model_sigma, stamps=given)
