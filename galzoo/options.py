"""Arguments and options that several commands share, and the completion of names in a shell."""

from pathlib import Path
from typing import Annotated

import typer


def complete_preset(incomplete: str):
    """Return the presets whose names begin so."""
    from galzoo.presets import list_presets

    return [name for name in list_presets() if name.startswith(incomplete)]


def complete_family(incomplete: str):
    """Return the families whose names begin so."""
    from galzoo.registry import list_families

    return [name for name in list_families() if name.startswith(incomplete)]


def complete_recipe(context: typer.Context, incomplete: str):
    """Return the recipes whose names begin so, of the family that was typed before."""
    from galzoo.recipe import list_recipes
    from galzoo.registry import families

    family = context.params.get("family")
    return [name for name in list_recipes(family) if name.startswith(incomplete)] if family in families() else []


def complete_suite(incomplete: str):
    """Return the suites whose names begin so."""
    from galzoo.registry import suites

    return [name for name in suites() if name.startswith(incomplete)]


Preset = Annotated[
    str,
    typer.Argument(help="Name of a preset, or the folder of a preset or run.", autocompletion=complete_preset),
]
Conform = Annotated[
    bool, typer.Option("--conform", help="Bring the stamps to the preset's bands and pixels, where they have others.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder or file to write.")]
