"""`galzoo train`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.files import check_folder_name
from galzoo.options import complete_family, complete_preset, complete_recipe


def register(app):
    """Add the command to the application."""
    app.command()(train)


def train(
    family: Annotated[str, typer.Argument(help="Which family, e.g. vqvae.", autocompletion=complete_family)],
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe of the family, or a YAML file.", autocompletion=complete_recipe)
    ] = "default",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the run.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: section.key=value, e.g. stages.0.epochs=2.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")] = False,
    init: Annotated[
        str | None, typer.Option(help="Start from this preset or run.", autocompletion=complete_preset)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the resolved recipe and the model, train nothing.")
    ] = False,
    bundle: Annotated[
        Path | None, typer.Option(help="Write what a machine with JAX needs to train this: a .tar file or a folder.")
    ] = None,
    wheels: Annotated[Path | None, typer.Option(help="With --bundle: folder with wheels of Keras.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: the resolved recipe as JSON.")] = False,
):
    """Train a model on your stamps or on data made for it."""
    from galzoo.recipe import check_model_arguments, load_recipe

    if as_json and not dry_run:
        raise InputError("--json shows a recipe without training; add --dry-run")
    if wheels and not bundle:
        raise InputError("--wheels go into a bundle; add --bundle, or leave them out")
    if init and (bundle or resume):
        other = "--bundle, which takes no model along" if bundle else "--resume, which goes on from the run's model"
        raise InputError(f"--init starts a run from another model and means nothing with {other}; leave one out")
    output = output or Path("runs") / f"{family}_{Path(recipe).stem}"
    check_folder_name(output)
    # A run goes on with what it was started with; options need not be given again.
    begun = resume and (output / "recipe.json").is_file()
    chosen = load_recipe(family, output / "recipe.json" if begun else recipe, overrides or ())
    if dry_run and as_json:
        _say(json.dumps(chosen.resolved(), indent=2))
        return
    from galzoo.registry import MODEL, get_family, get_task
    from galzoo.train import make_model

    if dry_run:
        import yaml

        _say(yaml.safe_dump(chosen.resolved(), sort_keys=False, width=100))
    descriptor = get_family(family)
    check_model_arguments(descriptor.model_class(), chosen.model, f"recipe {recipe}")
    if dry_run:
        from galzoo.parts import PREFIX

        parts = [name for name, value in chosen.parts.items() if value.startswith(PREFIX)]
        if parts:
            _say(f"parts.{parts[0]} is trained first; there is no summary of the whole before that")
        else:
            make_model(chosen.resolved()).summary()
        return
    from galzoo.data.build_dataset import prepare
    from galzoo.parts import PREFIX, train_parts
    from galzoo.presets import load
    from galzoo.train import check_output, check_same_recipe
    from galzoo.train import train as run

    if bundle:
        from galzoo.bundle import write_bundle

        size = write_bundle(chosen, prepare(chosen.data), bundle, wheels)
        _say(f"{bundle}: {size / 2**20:.1f} MiB\nnext: unpack it elsewhere and run `sh run.sh` in its folder")
        return
    # Before data are simulated, which takes minutes.
    whole = not any(value.startswith(PREFIX) for value in chosen.parts.values())
    if whole or begun:
        check_output(output, resume)
    if begun:
        check_same_recipe(output, chosen.resolved())
    start = load(init) if init else None
    path = prepare(chosen.data)
    chosen = train_parts(chosen, path, output, resume)
    run(chosen.resolved(), path, output, resume=resume, init=start)
    _say(f"done: {output / 'model.keras'}")
    uses = [get_task(task).next for task, role in descriptor.roles() if role == MODEL]
    uses = [f"galzoo evaluate {output} --data {path}", *(use.format(preset=output, data=path) for use in uses if use)]
    _say(f"next: {' or '.join(f'`{use}`' for use in dict.fromkeys(uses))}")


def _say(text):
    sys.stdout.write(f"{text}\n")
