"""What a cell is told of its place on the map, and checks of what samples are conditioned on."""

import numpy as np

from galzoo.errors import RecipeError

# Widths, in cells, of the bumps about the centre that tell a cell how far out it is.
_PLACE_WIDTHS = 1.0, 2.5, 6.0
PLACE_FEATURES = 4 + len(_PLACE_WIDTHS)


def place_features(height, width):
    """Return what tells a cell where on the map it is, float32 (1, y, x, PLACE_FEATURES)."""
    y, x = (np.arange(size, dtype="float32") - (size - 1) / 2 for size in (height, width))
    y, x = np.meshgrid(y, x, indexing="ij")
    radius2 = x**2 + y**2
    bumps = [np.exp(-0.5 * radius2 / width**2) for width in _PLACE_WIDTHS]
    features = np.stack([x / 8, y / 8, np.sqrt(radius2) / 8, radius2 / 64, *bumps], axis=-1)
    return features[None].astype("float32")


def check_flux(column, band, columns, bands):
    """Raise `RecipeError` if the flux of samples is set by what is no condition, or in what is no band."""
    if column is not None and (column not in columns or band not in bands):
        raise RecipeError(
            f"flux_column {column!r} must be a condition ({', '.join(columns) or 'there is none'}) and "
            f"flux_band {band!r} a band ({', '.join(bands)})"
        )
