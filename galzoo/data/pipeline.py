"""Feeding `fit`: a tf.data pipeline where TensorFlow is the back end, the same batches from a PyDataset elsewhere."""

import keras
import numpy as np

from galzoo.data.hdf5 import PLANES
from galzoo.data.source import step_positions


def training_batches(source, batch_size, seed, start=0, crop=None):
    """Return an endless, shuffled stream of full batches for `fit`.

    Parameters
    ----------
    source : StampSource
        The objects.
    batch_size : int
        Objects a batch.
    seed : int
        Of the order; the batch at a step is a function of (seed, step).
    start : int
        Step to begin at, when a run resumes.
    crop : int, optional
        Serve only the central pixels, so many on a side; stamps that are no larger stay whole.

    Returns
    -------
    tf.data.Dataset or keras.utils.PyDataset
        Dicts of tensors with the keys of `source`.
    """

    def make(step):
        batch = source.batch(step_positions(len(source), int(step), batch_size, seed))
        return batch if crop is None else crop_planes(batch, crop)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = _signature(make(start), tf)
        steps_ahead = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
        return _mapped(steps_ahead, make, signature, tf)
    return _Steps(make, start=start)


def crop_planes(batch, size):
    """Return a batch with its pixel planes, but not the PSF, cut to the central `size` pixels.

    Where an odd number of pixels goes, the one more is taken from the far side.
    """
    height, width = batch["image"].shape[1:3]
    y, x = max(height - size, 0) // 2, max(width - size, 0) // 2
    planes = [key for key in PLANES if key in batch]
    return {**batch, **{key: batch[key][:, y : y + size, x : x + size] for key in planes}}


def evaluation_batches(source, batch_size):
    """Return one pass over `source` in order, the last batch ragged; arguments and result as `training_batches`."""
    count = -(-len(source) // batch_size)

    def make(step):
        first = int(step) * batch_size
        return source.batch(np.arange(first, min(first + batch_size, len(source))))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return _mapped(tf.data.Dataset.range(count), make, _signature(make(0), tf), tf)
    return _Steps(make, count)


def _signature(batch, tf):
    return {key: tf.TensorSpec((None, *value.shape[1:]), value.dtype) for key, value in batch.items()}


def _mapped(steps, make, signature, tf):
    """Gather in a background thread: NumPy indexing of whole batches is quicker than element-wise tf.data."""
    keys = list(signature)
    # Keras adds batches up over replicas, which TensorFlow does not do for booleans.
    types = {key: tf.uint8 if spec.dtype == tf.bool else spec.dtype for key, spec in signature.items()}

    def gather(step):
        batch = make(step)
        return [batch[key].astype(types[key].as_numpy_dtype, copy=False) for key in keys]

    def load(step):
        values = tf.numpy_function(gather, [step], [types[key] for key in keys])
        for key, value in zip(keys, values, strict=True):
            value.set_shape(signature[key].shape)
        return dict(zip(keys, values, strict=True))

    return steps.map(load, num_parallel_calls=1).prefetch(2)


class _Steps(keras.utils.PyDataset):
    """Batches by step number, without TensorFlow; endless where `count` is None.

    An endless one is never rewound by `fit`, so its index is the step since `start`, over all epochs. Counting in
    `on_epoch_end` would be wrong: Keras calls it before the first epoch too.
    """

    def __init__(self, make, count=None, start=0):
        super().__init__(workers=1, use_multiprocessing=False)
        self._make, self._count, self._start = make, count, start

    @property
    def num_batches(self):
        return self._count

    def __getitem__(self, index):
        return self._make(self._start + index)
