"""What a suite of measurements is given, and what it answers."""

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Request:
    """What a suite measures.

    Parameters
    ----------
    models : mapping of str to keras.Model
        The models by the role that they play in the suite's task; "model" is the one judged.
    card : dict
        Card of the judged preset, or what is known of a run.
    files : tuple of Path
        Data given by the user; a suite makes its own where there are none and it can.
    real : tuple of Path
        Observed images without truth.
    limit : int, optional
        Use at most so many objects of each split and set.
    report : Path, optional
        Write an HTML report with pictures to this file.
    """

    models: Mapping[str, object]
    card: dict
    files: tuple[Path, ...] = ()
    real: tuple[Path, ...] = ()
    limit: int | None = None
    report: Path | None = None

    @property
    def model(self):
        """The model that is judged, whatever its role."""
        return next(iter(self.models.values()))

    @property
    def recipe(self):
        """The recipe that the judged model was trained by, as a dict."""
        return self.card["recipe"]


class Result(abc.ABC):
    """What a suite found.

    Parameters
    ----------
    metrics : dict
        All numbers, as JSON can hold them: None where one could not be measured, ``x_error`` the standard error of
        ``x``, ``suite`` the name of the suite. A result can be made again from what a card kept.
    """

    def __init__(self, metrics):
        self.metrics = metrics

    @abc.abstractmethod
    def tables(self):
        """Return all tables, title -> rows as dicts; a pair (value, error) is one cell."""

    @abc.abstractmethod
    def headline(self):
        """Return the row of the table of presets as a dict: the few numbers that models are chosen by."""
