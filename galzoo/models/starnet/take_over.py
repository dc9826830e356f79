"""The weights of one StarNet given to another, which may know more."""

import numpy as np
from keras import ops

from galzoo.errors import InputError

# Where galaxies are new, this is where the logits that a source is a star start.
_MOSTLY_STARS = 2.0


def take_over(model, start):
    """Copy the weights of another StarNet.

    Parameters
    ----------
    model : StarNet
        Its weights change.
    start : StarNet
        One that cannot be told which stars count, or does not tell galaxies from stars, will do: at first the model
        then answers as it does, and takes nearly all for stars.

    Raises
    ------
    InputError
        If its other layers are not the same.
    """
    limited = model.limit_told is not None and start.limit_told is not None
    mine, theirs = (_common(one, limited) for one in (model, start))
    alike = [tuple(one.shape) for one in mine] == [tuple(one.shape) for one in theirs]
    if not alike or not _outputs(start).items() <= _outputs(model).items():
        raise InputError(f"the start model has other layers than the recipe's; use its own: {start.get_config()}")
    for weight, value in zip(mine, theirs, strict=True):
        weight.assign(value)
    if model.tiles is None:
        _copy_last(model, start)
    if model.limit_told is not None and not limited:
        # At first nothing changes by what is told.
        kernel = model.limit_told.layers[-1].kernel
        kernel.assign(ops.zeros_like(kernel))


def _common(model, limited):
    """Return the weights that two models have alike, without the last layer's; a limit's if both know it."""
    others = [] if model.tiles is not None else list(model.last.weights)
    if model.limit_told is not None and not limited:
        others += [*model.limit_told.weights, *model.spread.weights]
    others = {id(weight) for weight in others}
    return [weight for weight in model.weights if id(weight) not in others]


def _outputs(model):
    return {} if model.tiles is not None else model.parts | {"inputs": model.last.kernel.shape[0]}


def _copy_last(model, start):
    """Copy the last layer, whose outputs are those of four cells; what only the model says is the last of each."""
    own = sum(start.parts.values())
    more = sum(model.parts.values()) - own
    for mine, theirs, rest in zip(model.last.weights, start.last.weights, (0.0, _MOSTLY_STARS), strict=True):
        value = ops.convert_to_numpy(theirs)
        value = value.reshape(*value.shape[:-1], 4, own)
        value = np.concatenate([value, np.full((*value.shape[:-1], more), rest, value.dtype)], axis=-1)
        mine.assign(value.reshape(*value.shape[:-2], -1))
