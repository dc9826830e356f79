"""`galzoo list`, `galzoo show` and `galzoo cite`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import UnknownNameError
from galzoo.options import complete_family, complete_preset


def register(app):
    """Add the commands to the application."""
    app.command("list")(list_)
    app.command()(show)
    app.command()(cite)


def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False):
    """List families, their recipes, tasks, data sets and the presets."""
    from galzoo.presets import list_presets, load_card
    from galzoo.recipe import list_recipes
    from galzoo.registry import datasets, families, tasks

    rows = {
        name: {"title": family.title, "tasks": list(family.tasks), "recipes": list_recipes(name)}
        for name, family in families().items()
    }
    uses = {name: task.title for name, task in tasks().items()}
    sets = {name: dataset.title for name, dataset in datasets().items()}
    presets = {name: load_card(name, metrics=False).get("title", "") for name in list_presets()}
    if as_json:
        sys.stdout.write(
            json.dumps({"families": rows, "tasks": uses, "datasets": sets, "presets": presets}, indent=2) + "\n"
        )
        return
    lines = ["Families"]
    for name, row in rows.items():
        lines += [f"  {name:<16} {row['title']}", f"  {'':<16} recipes: {', '.join(row['recipes'])}"]
    lines += ["", "Tasks", *(f"  {name:<16} {title}" for name, title in uses.items())]
    lines += ["", "Data sets", *(f"  {name:<16} {title}" for name, title in sets.items())]
    lines += ["", "Presets", *(f"  {name:<24} {title}" for name, title in presets.items())]
    sys.stdout.write("\n".join(lines) + "\n")


def _complete(incomplete: str):
    return [*complete_family(incomplete), *complete_preset(incomplete)]


Name = Annotated[str, typer.Argument(help="A preset, run folder or family.", autocompletion=_complete)]


def show(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="All that the card holds, as YAML.")] = False,
):
    """Show what a preset is worth, or what is known of a family."""
    import yaml

    from galzoo.cards import conditions_of, family_summary, summary
    from galzoo.presets import load_card
    from galzoo.registry import families

    _check_known(name)
    if name in families():
        family = families()[name]
        lines = family_summary(family)
        content = {key: getattr(family, key) for key in ("name", "title", "reference")}
        content |= {key: list(getattr(family, key)) for key in ("tasks", "inputs", "keys", "required")}
    else:
        content = load_card(name, metrics=full)
        lines = [*summary(content, conditions_of(name)), f"all: galzoo show {name} --full"]
    if full:
        lines = [yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100).rstrip()]
    sys.stdout.write("\n".join(lines) + "\n")


def cite(name: Name):
    """Print BibTeX of galzoo, of a preset, and of the papers of its family."""
    from galzoo.cite import citation

    _check_known(name)
    sys.stdout.write(citation(name))


def _check_known(name):
    from galzoo.presets import list_presets
    from galzoo.registry import families

    if name not in families() and name not in list_presets() and not Path(name).is_dir():
        raise UnknownNameError.of("preset or family", name, [*families(), *list_presets()])
