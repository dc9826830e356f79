"""What training and suites read data from, and what makes data in the graph."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Source(Protocol):
    """Objects of one split, served in batches."""

    def __len__(self):
        """Return the number of objects."""

    def header(self):
        """Return what is the same for all objects.

        Returns
        -------
        dict
            ``kind`` ("stamps" or "scenes"), ``shape`` (y, x), ``bands, pixel_scale, unit, survey, meta``.
        """

    def keys(self):
        """Return the keys that every batch has, a tuple of those of `galzoo.data.keys`."""

    def batch(self, positions):
        """Return a batch.

        Parameters
        ----------
        positions : int array, (n,)
            Which objects, from 0 to ``len - 1``; they may repeat.

        Returns
        -------
        dict of arrays
            Exactly the keys of `keys`, with shapes and units as in `galzoo.data.keys`. All but the first axis have the
            same size in every batch. Images are finite; bad pixels are 0 and masked.
        """


@runtime_checkable
class DataLayer(Protocol):
    """A seeded Keras layer that turns batches of one source into what another would serve, truth included.

    All its random numbers come from one `keras.random.SeedGenerator`, its attribute ``seed_generator``; a batch is then
    a function of that seed and of the batch that is given, and nothing else of the layer changes in a call.
    """

    def __call__(self, batch):
        """Return the dict that a source would serve, made of a dict of tensors."""

    def needs(self, keys):
        """Return which of the `keys` that a source can serve are read; raise `InputError` if one is missing."""

    def serves(self, keys):
        """Return the keys of the result where a source serves `keys`."""

    def stamps(self, batch_size):
        """Return how many objects a batch of `batch_size` is made of."""

    def shape(self, shape):
        """Return the size (y, x) of the images made of images of `shape`."""
