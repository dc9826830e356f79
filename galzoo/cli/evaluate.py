"""`galzoo evaluate`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.options import Folder, Preset, complete_suite


def register(app):
    """Add the command to the application."""
    app.command()(evaluate)


def evaluate(
    preset: Preset,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Stamps as the model was trained on, or scenes (repeatable); new ones by default."),
    ] = None,
    real: Annotated[list[Path] | None, typer.Option("--real", help="Real stamps to judge on too; repeatable.")] = None,
    output: Folder = Path("evaluation"),
    limit: Annotated[int | None, typer.Option(help="Use at most so many held-out objects.")] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="Suite of measurements; the recipe's by default.", autocompletion=complete_suite),
    ] = None,
):
    """Measure a model on held-out data: JSON, tables and a picture report."""
    from galzoo.evaluate.run import evaluate as run

    for line in run(preset, data, real or [], output, suite=suite, limit=limit):
        sys.stdout.write(f"{line}\n")
