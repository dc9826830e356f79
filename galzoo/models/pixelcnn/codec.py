"""The VQ-VAE inside a prior over codes."""

import keras

from galzoo.errors import RecipeError
from galzoo.models.vqvae.model import VQVAE
from galzoo.presets import MODEL_FILE, find_preset


def load_codec(codec, bands):
    """Return a VQ-VAE by name, by folder, or without its weights by configuration.

    Parameters
    ----------
    codec : str, Path or dict
        Name of a preset, folder of a preset or run, or what `VQVAE.get_config` gives.
    bands : sequence of str
        Bands of the data, whose number must be the codec's.

    Raises
    ------
    RecipeError
        If it is no VQ-VAE, or is one of other bands.
    """
    policy = keras.config.dtype_policy()
    # In half precision a tenth of the codes would be others than those that the codec gives elsewhere.
    keras.config.set_dtype_policy("float32")
    try:
        if isinstance(codec, dict):
            model = VQVAE.from_config(codec)
        else:
            # The file alone is read, not its card, so that training needs no YAML.
            model = keras.saving.load_model(find_preset(codec) / MODEL_FILE, compile=False)
    finally:
        keras.config.set_dtype_policy(policy)
    if not isinstance(model, VQVAE):
        raise RecipeError(f"codec {codec!r} is a {type(model).__name__}, not a VQ-VAE; name a vqvae preset or run")
    if len(model.bands) != len(bands):
        raise RecipeError(
            f"codec {codec!r} has {len(model.bands)} bands ({', '.join(model.bands)}), the data have {len(bands)} "
            f"({', '.join(bands)}); use a codec of the same bands"
        )
    return model
