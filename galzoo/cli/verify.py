"""`galzoo verify`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.options import complete_preset


def register(app):
    """Add the command to the application."""
    app.command()(verify)


def verify(
    presets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or folders of presets; all packaged ones by default.", autocompletion=complete_preset
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the answers of those that fail.")] = Path(
        "verify"
    ),
):
    """Run presets on a known input and compare with what they answered when they were made."""
    from galzoo.presets import find_preset, list_presets
    from galzoo.selftest import PASSED
    from galzoo.selftest import verify as run

    folders = [find_preset(name) for name in presets or list_presets()]
    outcomes = []
    for folder in folders:
        verdict = run(folder, output)
        outcomes.append(verdict.outcome)
        sys.stdout.write(f"{verdict}\n")
        sys.stdout.flush()
    if outcomes.count(PASSED) < len(outcomes):
        raise typer.Exit(1)
