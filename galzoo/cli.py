"""The `galzoo` command. Each verb is a few lines; heavy imports are inside, so that help and lists are instant."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo import __version__
from galzoo.errors import GalzooError, InputError, UnknownNameError

# TensorFlow's C++ start-up notices say nothing that a user can act on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The exit code of a program that Ctrl-C ended, as shells have it.
_INTERRUPTED = 130

app = typer.Typer(
    help="A model zoo for overlapping galaxies and stars.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Make and look at data.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

Preset = Annotated[str, typer.Argument(help="Name of a preset, or the folder of a preset or run.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder or file to write.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe: section.key=value, e.g. stages.0.epochs=2.")
]


def main():
    """Run the command line; errors that a user can mend are one line and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except GalzooError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'reading or writing'}: {error.strerror or error}")
    except Exception as error:
        _fail_usage(error)
    if code == _INTERRUPTED:
        sys.stderr.write("\ninterrupted; what was finished is kept, and `galzoo train ... --resume` goes on\n")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message):
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(2)


def _fail_usage(error):
    """Report a wrong command line in one line; anything else is a bug and keeps its traceback."""
    # The class of these errors is click's or typer's own, by the version of typer.
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    if not hasattr(error, "format_message"):
        raise error
    context = getattr(error, "ctx", None)
    hint = f"; see `{context.command_path} --help`" if context is not None else ""
    _fail(f"{error.format_message().rstrip('.')}{hint}")


def _say(text=""):
    sys.stdout.write(f"{text}\n")


def _version(wanted: bool):
    if wanted:
        _say(f"galzoo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
):
    """Global options."""


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False):
    """List families, their recipes and the presets."""
    from galzoo.presets import list_presets, load_card
    from galzoo.recipe import list_recipes
    from galzoo.registry import families

    rows = {
        name: {"title": family.title, "tasks": list(family.tasks), "recipes": list_recipes(name)}
        for name, family in families().items()
    }
    presets = {name: load_card(name).get("title", "") for name in list_presets()}
    if as_json:
        _say(json.dumps({"families": rows, "presets": presets}, indent=2))
        return
    _say("Families")
    for name, row in rows.items():
        _say(f"  {name:<16} {row['title']}")
        _say(f"  {'':<16} recipes: {', '.join(row['recipes'])}")
    _say("\nPresets")
    for name, title in presets.items():
        _say(f"  {name:<24} {title}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A preset, run folder or family.")]):
    """Show the card of a preset, or what is known of a family."""
    import yaml

    from galzoo.presets import list_presets, load_card
    from galzoo.registry import families

    if name not in families() and name not in list_presets() and not Path(name).is_dir():
        raise UnknownNameError.of("preset or family", name, [*families(), *list_presets()])
    if name in families():
        family = families()[name]
        card = {key: getattr(family, key) for key in ("name", "title", "reference")}
        card |= {key: list(getattr(family, key)) for key in ("tasks", "keys")}
    else:
        card = load_card(name)
    _say(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100).rstrip())


@app.command()
def train(
    family: Annotated[str, typer.Argument(help="Which family, e.g. vqvae.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of the family, or a YAML file.")] = "default",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the run.")] = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")] = False,
    init: Annotated[str | None, typer.Option(help="Start from this preset or run.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the resolved recipe and the model, train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: the resolved recipe as JSON.")] = False,
):
    """Train a model on your stamps or on data made for it."""
    from galzoo.recipe import check_model_arguments, load_recipe

    if as_json and not dry_run:
        raise InputError("--json shows a recipe without training; add --dry-run")
    chosen = load_recipe(family, recipe, overrides or ())
    output = output or Path("runs") / f"{family}_{Path(recipe).stem}"
    if dry_run and as_json:
        _say(json.dumps(chosen.resolved(), indent=2))
        return
    from galzoo.registry import get_family
    from galzoo.train import make_model

    if dry_run:
        import yaml

        _say(yaml.safe_dump(chosen.resolved(), sort_keys=False, width=100))
    model_class = get_family(family).model_class()
    check_model_arguments(model_class, chosen.model, f"recipe {recipe}")
    if dry_run:
        from galzoo.parts import PREFIX

        parts = [name for name, value in chosen.model.items() if str(value).startswith(PREFIX)]
        if parts:
            _say(f"model.{parts[0]} is trained first; there is no summary of the whole before that")
        else:
            make_model(get_family(family), chosen.model).summary()
        return
    from galzoo.data.named import prepare
    from galzoo.parts import train_parts
    from galzoo.presets import load
    from galzoo.train import train as run

    start = load(init) if init else None
    path = prepare(chosen.data)
    chosen = train_parts(chosen, path, output, resume)
    run(chosen.resolved(), path, output, resume=resume, init=start)
    _say(f"done: {output / 'model.keras'}")
    task = f"galzoo sample {output}" if "sample" in get_family(family).tasks else f"galzoo reconstruct {output} {path}"
    _say(f"next: `galzoo evaluate {output} --data {path}` or `{task}`")


@app.command()
def reconstruct(
    preset: Preset,
    stamps: Annotated[Path, typer.Argument(help="Stamp file (HDF5).")],
    output: Output = Path("out"),
    batch_size: Annotated[int, typer.Option(min=1, help="Stamps at a time; bounds the memory.")] = 64,
    limit: Annotated[int | None, typer.Option(help="Only the first so many stamps.")] = None,
    refine_steps: Annotated[
        int, typer.Option(help="Likelihood updates at most; 0 shows what the codes alone say.", min=0)
    ] = 30,
):
    """Reconstruct and deconvolve stamps: FITS, a catalogue and a picture."""
    from galzoo.data.stamps import Stamps
    from galzoo.presets import load
    from galzoo.tasks.products import write_reconstruction
    from galzoo.tasks.reconstruct import reconstruct as run

    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; give 1 or more")
    data = Stamps.load(stamps, slice(0, limit))
    result = run(load(preset), data, batch_size, progress=True, refine_steps=refine_steps)
    for path in write_reconstruction(data, result, output):
        _say(str(path))


@app.command()
def evaluate(
    preset: Preset,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Stamps as the model was trained on, or scenes (repeatable); new ones by default."),
    ] = None,
    real: Annotated[list[Path] | None, typer.Option("--real", help="Real stamps to judge on too; repeatable.")] = None,
    output: Output = Path("evaluation"),
    limit: Annotated[int | None, typer.Option(help="Use at most so many held-out stamps.")] = None,
    suite: Annotated[str | None, typer.Option(help="Suite of measurements; the recipe's by default.")] = None,
):
    """Measure a model on held-out stamps: JSON, tables and a picture report."""
    from galzoo.evaluate.suites import evaluate as run

    for line in run(preset, data, real or [], output, suite=suite, limit=limit):
        _say(line)


@data_app.command("info")
def info(
    path: Annotated[Path, typer.Argument(help="Stamp file (HDF5).")],
    picture: Annotated[Path | None, typer.Option(help="Where to draw a panel; beside the file by default.")] = None,
):
    """Say what a stamp file holds and draw a panel of it."""
    from galzoo.data.info import describe, draw

    for line in describe(path):
        _say(line)
    picture = picture or path.with_suffix(".png")
    draw(path, picture)
    _say(f"picture: {picture}")


def _register_more():
    """Add the commands whose options are many."""
    from galzoo import cli_data, cli_deblend, cli_latent, cli_prior, cli_simulate

    cli_prior.register(app)
    cli_latent.register(app)
    cli_deblend.register(app)
    cli_data.register(data_app)
    cli_simulate.register(app)


_register_more()

if __name__ == "__main__":
    main()
