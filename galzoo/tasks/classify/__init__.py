"""Classify: labels of a table carried over to all galaxies, by what a trained encoder sees."""

from galzoo.lazy import publish
from galzoo.registry import Task

TASK = Task(
    name="classify",
    title="Carry labels over to all galaxies, with calibrated probabilities, on what a model encodes",
    roles={
        "model": "galzoo.contracts.codec:Codec",
        "prior": "galzoo.contracts.prior:Prior",
        "encoder": "galzoo.contracts.encoder:Encoder",
    },
    run="galzoo.tasks.classify.run:classify",
    command="galzoo.tasks.classify.command:classify",
    help="Learn classes from a table of labels and give every stamp calibrated probabilities.",
    next="galzoo classify {preset} {data} --column LABEL",
)

__getattr__, __dir__ = publish(
    __name__,
    {
        "classify": "galzoo.tasks.classify.run",
        "fit": "galzoo.tasks.classify.run",
        "read_labels": "galzoo.tasks.classify.labels",
        "labels_of": "galzoo.tasks.classify.labels",
        "load_classifier": "galzoo.tasks.classify.saved",
        "save_classifier": "galzoo.tasks.classify.saved",
    },
)
