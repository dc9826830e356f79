"""The encoder: a window around each source of a blend, to a Gaussian in latent space."""

import keras
import numpy as np
from keras import layers, ops

# Width in pixels of the marks that show an encoder where the other sources are.
_MARK = 2.0


def windows(planes, corners, size):
    """Cut windows out of planes; what lies beyond the edge is 0.

    Parameters
    ----------
    planes : tensor, (n, y, x, channel)
    corners : int tensor, (n, source, 2)
        Pixel (x, y) that becomes the window's first.
    size : int
        Pixels on a side.

    Returns
    -------
    tensor, (n, source, size, size, channel)
    """
    height, width, channels = planes.shape[1:]
    sources = corners.shape[1]

    def selector(first, length):
        wanted = first[..., None] + np.arange(size, dtype="int32")
        return ops.cast(wanted[..., None] == np.arange(length, dtype="int32"), "float32")

    rows, columns = selector(corners[..., 1], height), selector(corners[..., 0], width)
    flat = ops.reshape(planes, (-1, height, width * channels))
    cut = ops.matmul(ops.reshape(rows, (-1, sources * size, height)), flat)
    cut = ops.transpose(ops.reshape(cut, (-1, sources, size, width, channels)), (0, 1, 3, 2, 4))
    cut = ops.matmul(columns, ops.reshape(cut, (-1, sources, width, size * channels)))
    return ops.transpose(ops.reshape(cut, (-1, sources, size, size, channels)), (0, 1, 3, 2, 4))


def marks(corners, positions, present, size):
    """Return maps, (n, source, size, size, 1), with a Gaussian mark at each other source that lies in the window."""
    sources = positions.shape[1]
    local = positions[:, None, :, :] - ops.cast(corners, "float32")[:, :, None, :]
    axis = np.arange(size, dtype="float32")
    x = ops.exp(-0.5 * ops.square((axis - local[..., 0:1]) / _MARK))
    y = ops.exp(-0.5 * ops.square((axis - local[..., 1:2]) / _MARK))
    others = (1.0 - np.eye(sources, dtype="float32")) * ops.cast(present, "float32")[:, None, :]
    return ops.einsum("nsty,nstx,nst->nsyx", y, x, others)[..., None]


def windows_of(planes, positions, size):
    """Cut windows out of the planes of one scene, as `windows` and `marks` do for many, in NumPy.

    Parameters
    ----------
    planes : array, (y, x, channel)
    positions : array, (source, 2)
    size : int
        Pixels on a side.

    Returns
    -------
    cut : array, (source, size, size, channel)
    marked : array, (source, size, size, 1)
    fraction : array, (source, 2)
        Of the positions, from the middle of their pixels.
    """
    centres = np.floor(positions + 0.5).astype(int)
    cut = np.zeros((len(positions), size, size, planes.shape[-1]), np.float32)
    limits = np.array(planes.shape[1::-1])
    for window, corner in zip(cut, centres - size // 2, strict=True):
        (x, y), (right, top) = np.clip(corner, 0, limits), np.clip(corner + size, 0, limits)
        window[y - corner[1] : top - corner[1], x - corner[0] : right - corner[0]] = planes[y:top, x:right]
    local = positions[None] - (centres - size // 2)[:, None]
    along = np.exp(-0.5 * ((np.arange(size) - local[..., None]) / _MARK) ** 2)
    along *= 1 - np.eye(len(positions))[:, :, None, None]
    marked = np.einsum("sty,stx->syx", along[:, :, 1], along[:, :, 0])[..., None]
    return cut, marked.astype(np.float32), (positions - centres).astype(np.float32)


def scene_windows(batch, sharpness, present, size):
    """Cut out what the encoder sees of the sources of scenes, see `galzoo.contracts.galaxy_model.GalaxyModel.windows`.

    Parameters
    ----------
    batch, present
        As there.
    sharpness : array, (n, band)
        Of the PSF.
    size : int
        Pixels on a side.
    """
    n, *_, bands = batch["image"].shape
    noise = np.ones((n, 1, 1, bands), np.float32)
    sources = []
    for row in range(n):
        variance = batch["variance"][row]
        valid = np.isfinite(variance) & (variance > 0) & np.isfinite(batch["image"][row])
        if "mask" in batch:
            valid &= ~batch["mask"][row].astype(bool)
        weight = np.where(valid, 1 / np.where(valid, variance, 1), 0).sum(axis=(0, 1))
        noise[row] = np.sqrt(valid.sum(axis=(0, 1)) / np.where(weight > 0, weight, 1)) + (weight == 0)
        planes = np.concatenate([np.where(valid, batch["image"][row], 0), valid], axis=-1, dtype=np.float32)
        cut, marked, fraction = windows_of(planes, batch["positions"][row, present[row]], size)
        each = (np.tile(value, (len(cut), 1, 1, 1)) for value in (noise[row], sharpness[row]))
        sources.append((cut[..., :bands], cut[..., bands:], *each, marked, fraction))
    return noise, [np.concatenate(parts) for parts in zip(*sources, strict=True)]


@keras.saving.register_keras_serializable(package="galzoo")
class WindowEncoder(keras.layers.Layer):
    """Encode a window around a source.

    Parameters
    ----------
    channels : int
        Of the input.
    latent : int
        Length of a latent vector.
    window : int
        Pixels on a side of the window, a multiple of 8.
    filters : int
        Channels of the first convolution; the second and third halving of the window double them.
    hidden : int
        Units of the dense layer.
    """

    def __init__(self, channels, latent, window=48, filters=32, hidden=256, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.latent, self.window = int(channels), int(latent), int(window)
        self.filters, self.hidden = int(filters), int(hidden)
        self.convolutions = []
        before = self.channels
        for step, (kernel, stride) in enumerate(((4, 2), (3, 1), (4, 2), (3, 1), (4, 2))):
            now = self.filters * 2 ** (step // 2)
            layer = layers.Conv2D(now, kernel, strides=stride, padding="same", activation="relu")
            layer.build((None, None, None, before))
            self.convolutions.append(layer)
            before = now
        self.norm = layers.LayerNormalization()
        self.norm.build((None, before))
        # Beside the pixels: where in its pixel the source lies.
        self.dense = layers.Dense(self.hidden, activation="gelu")
        self.dense.build((None, (self.window // 8) ** 2 * before + 2))
        # Mean and log-deviation of the latent vector; mean offset from the given position.
        small = keras.initializers.RandomNormal(stddev=0.01)
        self.head = layers.Dense(2 * self.latent + 2, kernel_initializer=small, dtype="float32")
        self.head.build((None, self.hidden))
        self.built = True

    def call(self, cut, fraction):
        """Return mean (n, latent), log-deviation (n, latent) and offset (n, 2) of windows (n, y, x, channel)."""
        x = cut
        for layer in self.convolutions:
            x = layer(x)
        x = self.norm(x)
        x = ops.concatenate([ops.reshape(x, (-1, self.dense.kernel.shape[0] - 2)), fraction], axis=-1)
        x = self.head(self.dense(x))
        mean, deviation = x[:, : self.latent], x[:, self.latent : 2 * self.latent]
        # Deviations from 0.004 to 1.6, and offsets of at most 2 pixels.
        return 5.0 * ops.tanh(mean / 5.0), -2.5 + 3.0 * ops.tanh(deviation / 3.0), 2.0 * ops.tanh(x[:, -2:] / 2.0)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "latent": self.latent,
            "window": self.window,
            "filters": self.filters,
            "hidden": self.hidden,
        }
