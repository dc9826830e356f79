"""The VQ-VAE inside a prior over codes."""

from galzoo.errors import RecipeError
from galzoo.models.vqvae.model import VQVAE


def checked_codec(codec, bands):
    """Return the VQ-VAE of a prior, made without its weights where its configuration is given.

    Parameters
    ----------
    codec : VQVAE or dict
        A model, or what `VQVAE.get_config` gives.
    bands : sequence of str
        Bands of the data, whose number must be the codec's.

    Raises
    ------
    RecipeError
        If it is no VQ-VAE, or is one of other bands.
    """
    model = VQVAE.from_config(codec) if isinstance(codec, dict) else codec
    if not isinstance(model, VQVAE):
        raise RecipeError(
            f"the codec is a {type(model).__name__}, not a VQ-VAE; name a vqvae preset or run in parts.codec"
        )
    if len(model.bands) != len(bands):
        raise RecipeError(
            f"the codec has {len(model.bands)} bands ({', '.join(model.bands)}), the data have {len(bands)} "
            f"({', '.join(bands)}); use a codec of the same bands"
        )
    return model
