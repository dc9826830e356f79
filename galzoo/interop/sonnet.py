"""VQ-VAEs trained with Sonnet: read their checkpoints into galzoo's VQVAE.

The layout is the one of Sonnet's own VQ-VAE example (and of the many programs made from it): encoder conv 4x4 stride 2,
conv 4x4 stride 2, conv 3x3, residual blocks, 1x1 to the codes; decoder conv 3x3, residual blocks, two transposed conv
4x4 stride 2. Both Sonnet 2 (`tf.train.Checkpoint`) and Sonnet 1 (`tf.train.Saver`) names are known.
"""

import re
from pathlib import Path

import numpy as np

from galzoo.errors import InputError, MissingDependencyError

# Names of the layers in a checkpoint, without the variable: Sonnet 2 stores attributes, Sonnet 1 variable scopes.
_NAMES = {
    "enc_1": r"_?encoder/_?enc_1",
    "enc_2": r"_?encoder/_?enc_2",
    "enc_3": r"_?encoder/_?enc_3",
    "to_vq": r"(?:_?pre_vq_conv1|to_vq)",
    "dec_1": r"_?decoder/_?dec_1",
    "dec_2": r"_?decoder/_?dec_2",
    "dec_3": r"_?decoder/_?dec_3",
}
_BLOCK = r"_?{part}/(?:_?residual_stack/_layers/{block}/{place}|(?:residual_stack/)?{name}_{block})"
_EMBEDDINGS = r"embeddings?"
_AVERAGES = {"steps": r"ema_dw/_counter", "counts": r"ema_cluster_size/_hidden", "sums": r"ema_dw/_hidden"}


class _Checkpoint:
    """The arrays of a TensorFlow checkpoint, found by a pattern for the end of their name."""

    def __init__(self, path):
        try:
            import tensorflow as tf
        except ImportError:
            raise MissingDependencyError(
                "reading a Sonnet checkpoint needs TensorFlow: pip install tensorflow"
            ) from None
        self.path = str(path)
        if Path(self.path).is_dir():
            self.path = tf.train.latest_checkpoint(self.path) or self.path
        if not Path(f"{self.path}.index").is_file():
            raise InputError(
                f"{path}: no TensorFlow checkpoint; give its prefix, such as run/model-100 for model-100.index"
            )
        self._reader = tf.train.load_checkpoint(self.path)
        # Optimisers keep copies under the names of the variables.
        names = (name for name in self._reader.get_variable_to_shape_map() if "OPTIMIZER_SLOT" not in name)
        self._names = {name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): name for name in names}

    def find(self, pattern):
        """Return the one array whose name ends in `pattern`, or None."""
        found = [key for key in self._names if re.search(f"(?:^|/){pattern}$", key)]
        if len(found) > 1:
            raise InputError(f"{self.path}: both {found[0]} and {found[1]} fit; it holds more than one VQ-VAE")
        return self._reader.get_tensor(self._names[found[0]]) if found else None

    def get(self, pattern, what):
        """Return the one array whose name ends in `pattern`; there must be one."""
        value = self.find(pattern)
        if value is None:
            raise InputError(f"{self.path}: no {what}; it is not a VQ-VAE in the layout of Sonnet's example")
        return value

    def layer(self, pattern, what):
        """Return kernel and bias of a layer."""
        return self.get(f"{pattern}/w", f"kernel of {what}"), self.get(f"{pattern}/b", f"bias of {what}")

    def block(self, part, block):
        """Return the two convolutions of a residual block, [(kernel, bias), (kernel, bias)]; None if there is none."""
        layers = []
        for place, name in ((0, "res3x3"), (1, "res1x1")):
            pattern = _BLOCK.format(part=part, block=block, place=place, name=name)
            if self.find(f"{pattern}/w") is None:
                return None
            layers.append(self.layer(pattern, f"{part} {name}_{block}"))
        return layers

    def blocks(self, part):
        """Return all residual blocks of "encoder" or "decoder"."""
        found = []
        while (block := self.block(part, len(found))) is not None:
            found.append(block)
        return found


def load_vqvae(path, bands=None, **changes):
    """Make a galzoo VQVAE from a Sonnet checkpoint.

    Parameters
    ----------
    path : path
        Prefix of the checkpoint, or the folder it is in (then the latest).
    bands : sequence of str, optional
        Names of the bands, in the order of the Sonnet model's channels.
    **changes
        Other arguments of `galzoo.models.vqvae.model.VQVAE` that do not change the shape of the network, such as
        ``model_sigma``.

    Returns
    -------
    VQVAE
        With the sizes found in the checkpoint. Encoder, codebook and decoder compute what Sonnet's do (`reconstruct`).
        Called as a model it puts galzoo's scaling and forward model around them, which the Sonnet model was not trained
        for: train it on from here.

    Raises
    ------
    InputError
        If there is no checkpoint, it has another layout, or its arrays have shapes that do not fit each other.
    MissingDependencyError
        If TensorFlow is not installed.
    """
    from galzoo.models.vqvae.model import VQVAE

    checkpoint = _Checkpoint(path)
    layers = {name: checkpoint.layer(pattern, name) for name, pattern in _NAMES.items()}
    encoder_blocks, decoder_blocks = (checkpoint.blocks(part) for part in ("encoder", "decoder"))
    if not encoder_blocks or len(encoder_blocks) != len(decoder_blocks):
        raise InputError(
            f"{checkpoint.path}: {len(encoder_blocks)} residual blocks in the encoder and {len(decoder_blocks)} in the "
            "decoder; galzoo's VQVAE has the same number, at least one"
        )
    embeddings = checkpoint.get(_EMBEDDINGS, "codebook").T
    averages = {name: checkpoint.find(pattern) for name, pattern in _AVERAGES.items()}
    has_averages = all(value is not None for value in averages.values())

    channels = layers["enc_1"][0].shape[2]
    bands = tuple(bands) if bands else tuple(f"band{number}" for number in range(channels))
    if len(bands) != channels:
        raise InputError(f"{checkpoint.path}: was trained on {channels} bands, but {len(bands)} names were given")
    model = VQVAE(
        bands=bands,
        hidden=layers["enc_2"][0].shape[3],
        blocks=len(encoder_blocks),
        block_hidden=encoder_blocks[0][0][0].shape[3],
        downsample=2,
        codebook_size=embeddings.shape[0],
        code_dim=embeddings.shape[1],
        quantizer="ema" if has_averages else "gradient",
        upsampling="transposed",
        # What the example does not have.
        **{
            "normalize": False,
            "cosine": False,
            "restart_below": 0.0,
            "diversity": 0.0,
            "psf_channels": False,
            **changes,
        },
    )
    _fill(model, layers, encoder_blocks, decoder_blocks, checkpoint.path)
    _assign(model.quantizer.embeddings, embeddings, "codebook", checkpoint.path)
    if has_averages:
        for variable, value in (
            (model.quantizer.steps, averages["steps"]),
            (model.quantizer.hidden_counts, averages["counts"]),
            (model.quantizer.hidden_sums, averages["sums"].T),
        ):
            _assign(variable, np.asarray(value, "float32"), variable.path, checkpoint.path)
    return model


def _fill(model, layers, encoder_blocks, decoder_blocks, path):
    """Put the arrays of a checkpoint into the layers of `model`."""
    first, second, third, encoder_stack, to_codes = model.encoder.layers
    start, decoder_stack, grow, _, last = model.decoder.layers
    # The encoder also reads which pixels are good; the example knows no bad ones.
    kernel, bias = layers["enc_1"]
    layers["enc_1"] = np.concatenate([kernel, np.zeros_like(kernel)], axis=2), bias
    targets = (first, second, third, to_codes, start, grow.convolution, last)
    pairs = [(target, *layers[name], name) for target, name in zip(targets, _NAMES, strict=True)]
    for part, stack, blocks in (("encoder", encoder_stack, encoder_blocks), ("decoder", decoder_stack, decoder_blocks)):
        arrays = [layer for block in blocks for layer in block]
        for number, (target, layer) in enumerate(zip(stack.convolutions, arrays, strict=True)):
            pairs.append((target, *layer, f"{part} residual block {number // 2}"))
    for target, kernel, bias, name in pairs:
        _assign(target.kernel, kernel, f"kernel of {name}", path)
        _assign(target.bias, bias, f"bias of {name}", path)


def _assign(variable, value, what, path):
    """Set a variable after checking the shape."""
    if tuple(variable.shape) != np.shape(value):
        raise InputError(f"{path}: {what} has shape {np.shape(value)}, and {tuple(variable.shape)} is needed")
    variable.assign(value)


def reconstruct(model, image, batch_size=32):
    """Reconstruct images as the Sonnet model does: linear pixels in and out, no forward model.

    Parameters
    ----------
    model : VQVAE
        From `load_vqvae`.
    image : array, (n, y, x, band)
        Images scaled as for the Sonnet model, e.g. to 0 to 1; sizes that 4 divides.
    batch_size : int

    Returns
    -------
    dict of array
        ``image`` (n, y, x, band), and ``codes`` (n, y / 4, x / 4) int32.

    Raises
    ------
    InputError
        If the image does not have that shape.
    """
    import keras

    image = np.asarray(image, "float32")
    if image.ndim != 4 or image.shape[-1] != len(model.bands) or image.shape[1] % 4 or image.shape[2] % 4:
        raise InputError(
            f"image has shape {image.shape}; it must be (n, y, x, {len(model.bands)}), y and x multiples of 4"
        )
    parts = []
    for start in range(0, len(image), batch_size):
        pixels = image[start : start + batch_size]
        channels = np.concatenate([pixels, np.ones_like(pixels)], axis=-1)
        quantised = model.quantizer(model.encoder(channels))
        parts.append(
            [keras.ops.convert_to_numpy(x) for x in (model.decoder(quantised["quantised"]), quantised["codes"])]
        )
    images, codes = zip(*parts, strict=True) if parts else ([image], [np.zeros((0, 0, 0), "int32")])
    return {"image": np.concatenate(images), "codes": np.concatenate(codes)}
