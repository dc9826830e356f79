"""What a model may offer to training beside Keras' own methods."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Adapts(Protocol):
    """A model that starts from data, such as a codebook at the centres of what its encoder gives.

    Attributes
    ----------
    adapt_batches : int, optional
        How many batches it wants; 4 by default.
    """

    def adapt(self, batches):
        """Start a fresh model from a list of training batches, dicts of arrays as in training."""


@runtime_checkable
class TakesOver(Protocol):
    """A model that can start from one with other layers, by the parts that both have."""

    def take_over(self, start):
        """Copy what it can from the model `start`; raise `InputError` where they do not fit each other."""


@runtime_checkable
class Finishes(Protocol):
    """A model with something to fit once it is trained, such as a temperature, to data that training did not see."""

    def finish(self, batches):
        """Fit it to validation batches, an iterable of dicts of arrays as in training."""


class Frozen(Protocol):
    """A model with parts that no stage of a recipe trains.

    Attributes
    ----------
    frozen : tuple of str
        Names of the attributes that hold them; one that is None is left out.
    """
