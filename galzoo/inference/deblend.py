"""Blends deblended by any model that can."""

from galzoo.contracts.galaxy_model import GalaxyModel


def can_deblend(model):
    """Return whether `deblend` takes a model."""
    return isinstance(model, GalaxyModel) or callable(getattr(model, "deblend", None))


def deblend(model, batch, **options):
    """Separate the sources of blends.

    Parameters
    ----------
    model : GalaxyModel, or a model with ``deblend(batch, **options) -> Deblended``
    batch : dict of arrays
        ``image, variance`` (n, y, x, band) and, where the model takes them, ``mask, psf, positions, n_sources``.
    **options
        Of `galzoo.inference.fit.scenes.deblend` for a `GalaxyModel`, else of the model's own ``deblend``.

    Returns
    -------
    galzoo.contracts.deblended.Deblended
    """
    if isinstance(model, GalaxyModel):
        from galzoo.inference.fit.scenes import deblend as fit_scenes

        return fit_scenes(model, batch, **options)
    return model.deblend(batch, **options)
