"""Whether a batch fits a model."""

from galzoo.errors import InputError


def check_batch(batch, bands, family):
    """Raise `InputError` if a batch has no image or no variance, or another number of bands than a model.

    Parameters
    ----------
    batch : dict
        Keys of `galzoo.data.keys`.
    bands : sequence of str
        Of the model.
    family : str
        Its name, for the message.
    """
    missing = [key for key in ("image", "variance") if batch.get(key) is None]
    if missing:
        raise InputError(f"the batch has no {missing[0]!r}; {family} needs image and variance")
    found = batch["image"].shape[-1]
    if found != len(bands):
        raise InputError(f"image has {found} bands, this model has {len(bands)}: {', '.join(bands)}")
