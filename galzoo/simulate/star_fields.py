"""The data set `starfield`: what `galzoo.layers.starfield.StarField` makes, on disk."""

import numpy as np

from galzoo.data.in_graph import make_layer
from galzoo.data.scenes import Scenes
from galzoo.errors import InputError

_BATCH_PIXELS = 1 << 17


def make_star_fields(output, n=200, bands=("r", "i"), pixel_scale=0.396, unit="nJy", survey="", seed=0, **options):
    """Write a scene file of star fields.

    Parameters
    ----------
    output : str or Path
        The file to make; it appears only when complete.
    n : int
        Number of fields.
    bands : sequence of str
        Names of the bands.
    pixel_scale : float
        Arcsec.
    unit : str
        Of the images.
    survey : str
        Name for the header.
    seed : int
        Of the random numbers.
    **options
        Arguments of `galzoo.layers.starfield.StarField`.

    Raises
    ------
    InputError
        If an argument is out of its range.
    """
    import keras

    if not n > 0 or not len(bands):
        raise InputError(f"n is {n}, bands {list(bands)}; give at least one field and one band")
    layer = make_layer({"layer": "StarField", **options}, seed)
    each = max(1, min(n, _BATCH_PIXELS // layer.size**2))
    parts = []
    for start in range(0, n, each):
        number = min(each, n - start)
        made = layer({"image": np.zeros((number, 1, 1, len(bands)), "float32")})
        parts.append({key: keras.ops.convert_to_numpy(value) for key, value in made.items()})
    made = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    scene, source = np.nonzero(np.arange(made["flux"].shape[1]) < made["n_sources"][:, None])
    x, y = made["positions"][scene, source].T
    sources = {"scene": scene, "source": source, "x": x, "y": y, "kind": np.full(len(x), "star")}
    sources["source_class"] = made["source_class"][scene, source]
    catalogue = {"faintest": made["faintest"]}
    for index, band in enumerate(bands):
        sources[f"flux_{band}"] = made["flux"][scene, source, index]
        catalogue[f"gain_{band}"] = made["gain"][:, index]
        catalogue[f"sky_{band}"] = made["sky"][:, index]
    planes = {key: made[key] for key in ("image", "variance", "mask", "psf")}
    meta = {"layer": "StarField", "seed": seed} | layer.get_config()
    meta = {key: value for key, value in meta.items() if key not in ("name", "trainable", "dtype")}
    fields = Scenes(
        **planes, bands=bands, pixel_scale=pixel_scale, unit=unit, sources=sources, catalogue=catalogue, survey=survey,
        meta=meta,
    )  # fmt: skip
    fields.save(output)
