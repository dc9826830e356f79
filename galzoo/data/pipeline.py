"""Feeding `fit`: a tf.data pipeline where TensorFlow is the back end, the same batches from a PyDataset elsewhere."""

import keras
import numpy as np

from galzoo.data.crop import crop_batch
from galzoo.data.in_graph import FixedSource, MadeSource, state_of
from galzoo.data.source import step_positions
from galzoo.errors import RecipeError

# What is made once for validation takes at most so much memory.
_FIXED_BYTES = 1 << 30
_FIXED_BATCH = 8


def training_batches(source, batch_size, seed, start=0, crop=None):
    """Return an endless, shuffled stream of full batches for `fit`.

    Parameters
    ----------
    source : galzoo.contracts.source.Source
        The objects. What a `galzoo.data.in_graph.MadeSource` makes is made in the graph, from a seed that is a function
        of (seed, step), so that a resumed training goes on with the same images.
    batch_size : int
        Objects a batch.
    seed : int
        Of the order; the batch at a step is a function of (seed, step).
    start : int
        Step to begin at, when a run resumes.
    crop : int, optional
        Serve only the central pixels, so many on a side (`galzoo.data.crop`); images that are no larger stay whole.

    Returns
    -------
    tf.data.Dataset or keras.utils.PyDataset
        Dicts of tensors with the keys of `source`.

    Raises
    ------
    RecipeError
        If what is made in the graph is to be cropped: the layer says how large it is.
    """
    made = isinstance(source, MadeSource)
    if made and crop is not None:
        raise RecipeError("stages: crop is not for data.make; ask its layer for another size")
    objects = source.layer.stamps(batch_size) if made else batch_size
    base = source.base if made else source

    def make(step):
        batch = base.batch(step_positions(len(base), int(step), objects, seed))
        if made:
            return batch | {_STATE: state_of(seed, int(step))}
        return batch if crop is None else crop_batch(batch, crop)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = _signature(make(start), tf, objects if made else None)
        batches = _mapped(tf.data.Dataset.range(start, np.iinfo(np.int64).max), make, signature, tf)
        if made:
            batches = batches.map(lambda batch: _no_booleans(_unpack(source, batch), tf), num_parallel_calls=1)
        return batches.prefetch(2)
    if made:
        function = _compiled(source)
        return _Steps(lambda step: function(make(step)), start=start)
    return _Steps(make, start=start)


# Key by which the state of the seed generator travels with a batch.
_STATE = "seed_state"


def _unpack(source, batch):
    batch = dict(batch)
    return source.made(batch, batch.pop(_STATE))


def _compiled(source):
    """Return the function of a batch with its state that runs a `MadeSource` as a graph."""

    def function(batch):
        return _unpack(source, batch)

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


def _no_booleans(batch, tf):
    # Keras adds batches up over replicas, which TensorFlow does not do for booleans.
    return {key: tf.cast(value, tf.uint8) if value.dtype == tf.bool else value for key, value in batch.items()}


def fixed_source(source, seed):
    """Return a `FixedSource` of what a `MadeSource` makes of its objects, each used once: the same for every call.

    At most 1 GiB is made.
    """
    objects = source.layer.stamps(_FIXED_BATCH)
    function = _compiled(source)
    parts, most = [], max(1, len(source.base) // objects)
    for step in range(most):
        positions = step_positions(len(source.base), step, objects, seed, shuffle=False)
        batch = source.base.batch(positions) | {_STATE: state_of(seed, step)}
        parts.append({key: keras.ops.convert_to_numpy(value) for key, value in function(batch).items()})
        if (step + 1) * sum(value.nbytes for value in parts[0].values()) > _FIXED_BYTES:
            break
    return FixedSource(source.header(), {key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def evaluation_batches(source, batch_size):
    """Return one pass over `source` in order, the last batch ragged; arguments and result as `training_batches`."""
    count = -(-len(source) // batch_size)

    def make(step):
        first = int(step) * batch_size
        return source.batch(np.arange(first, min(first + batch_size, len(source))))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return _mapped(tf.data.Dataset.range(count), make, _signature(make(0), tf), tf).prefetch(2)
    return _Steps(make, count)


def _signature(batch, tf, size=None):
    """Return the types of a batch; `size` is that of the first axis where every batch has the same."""
    specs = {key: tf.TensorSpec((size, *value.shape[1:]), value.dtype) for key, value in batch.items()}
    if _STATE in batch:
        specs[_STATE] = tf.TensorSpec(batch[_STATE].shape, batch[_STATE].dtype)
    return specs


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

    return steps.map(load, num_parallel_calls=1)


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
