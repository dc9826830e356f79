"""Make shipped presets: data, training, evaluation, card. What a preset is made from is said by its recipe.

    python scripts/make_pretrained.py vqvae_lsst --data ROOT --work WORK
    python scripts/make_pretrained.py --queue FILE --data ROOT --work WORK
    python scripts/make_pretrained.py --snapshot vqvae_lsst --data ROOT --work WORK
    python scripts/make_pretrained.py --score vqvae_lsst --data ROOT --work WORK
    python scripts/make_pretrained.py --repack vqvae_lsst --data ROOT --work WORK

`ROOT` holds the public images and catalogues (docs/data.md), `WORK` takes data files, runs and evaluations. A run is
named by its preset or as FAMILY/RECIPE. A line of the queue is such a name and changes of the recipe, quoted as in a
shell: ``pixelcnn/lsst stages.0.ema=0.999``; ``#`` begins a comment. The same command after an interruption goes on
where it was. A preset that is there is replaced only by a better one, by the figure that its recipe names. A
snapshot makes a preset of a run that goes on. ``--score`` makes the card of a preset again, from its model: on as many
objects of the same sets as the card says. ``--repack`` rounds the weights of a preset to what its recipe now keeps.
"""

import argparse
import datetime
import hashlib
import json
import shlex
import sys
from pathlib import Path

from galzoo import __version__, resources
from galzoo.cards import write_readme
from galzoo.contents import digest
from galzoo.data.build_dataset import make_named
from galzoo.data.open_source import read_header
from galzoo.errors import GalzooError, InputError, PresetError, RecipeError
from galzoo.evaluate.run import evaluate
from galzoo.files import atomic_path, write_json
from galzoo.pack import BITS, pack_model
from galzoo.presets import (
    MODEL_FILE,
    changelog_entry,
    check_better,
    checksum,
    find_preset,
    headline,
    load_card,
    write_card,
    write_preset,
)
from galzoo.recipe import list_recipes, load_recipe
from galzoo.registry import families
from galzoo.selftest import write_selftest
from galzoo.snapshot import snapshot
from galzoo.train import train

# Held-out stamps or scenes of each set that a new preset is scored on where its recipe says no number.
LIMIT = 600


def find_recipe(name):
    """Return family and recipe of a run given as FAMILY/RECIPE or by the name of its preset."""
    family, slash, recipe = name.partition("/")
    if slash:
        return family, recipe
    for family in families():
        for recipe in list_recipes(family):
            if load_recipe(family, recipe).export.preset == name:
                return family, recipe
    raise RecipeError(f"{name}: no recipe has this under export.preset; name a preset or FAMILY/RECIPE")


def filled(value, places):
    """Return a value of a recipe with {ROOT}, {WORK} and {TRAINED} filled in."""
    if isinstance(value, dict):
        return {key: filled(part, places) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, places) for part in value]
    if not isinstance(value, str):
        return value
    path = value
    for name, folder in places.items():
        path = path.replace(f"{{{name}}}", str(folder))
    if path != value and not Path(path).exists():
        raise InputError(f"{path}: no such file or folder; docs/data.md says how to make it")
    return path


def make_data(name, options, places):
    """Make a named data set, unless it is there, and return its path: one file for each set of options."""
    text = json.dumps([name, options], sort_keys=True)
    if "{TRAINED}" in text:
        text += str(places["TRAINED"].name)
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = places["WORK"] / "data" / f"{name}-{key}.h5"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        options = filled(options, places)
        make_named(name, path, options)
    return path


def judged_on(sets, places, missing=False):
    """Return the paths of evaluation sets, each named as its set; with `missing`, those that are there."""
    paths = []
    for name, data in sets.items():
        if data.path is not None:
            try:
                paths.append(Path(filled(data.path, places)))
            except InputError:
                if not missing:
                    raise
            continue
        made = make_data(data.name, data.options, places)
        # The suites name a set by its file.
        link = places["WORK"] / "sets" / made.stem / f"{data.name}_{name}.h5"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(made.resolve())
        paths.append(link)
    return paths


def data_of(recipe, places):
    """Return the file that a recipe trains on, made first if need be."""
    if recipe.data.path is not None:
        return Path(filled(recipe.data.path, places))
    return make_data(recipe.data.name, {**recipe.data.options, **recipe.export.data}, places)


def judge(recipe, folder, data, places, limit, evaluation):
    """Score the model in `folder` into the folder `evaluation`.

    Returns lines to show, the numbers, and what they were measured on, for the card.
    """
    places, limit = {**places, "TRAINED": data}, limit or recipe.evaluate.limit or LIMIT
    on = judged_on(recipe.evaluate.data, places) or [data]
    real = judged_on(recipe.evaluate.real, places, missing=True)
    lines = evaluate(folder, on, real, evaluation, limit=limit)
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    files = {path.name: {"rows": read_header(path)["n"], "sha256": digest(path)} for path in (*on, *real)}
    return lines, metrics, {"limit": limit, "galzoo": __version__, "files": files}


def export(recipe, folder, data, places, limit):
    """Score the finished run or snapshot in `folder` and make it the preset if it is better; return lines to show."""
    lines, metrics, judged = judge(recipe, folder, data, places, limit, folder / "evaluation")
    preset = resources.pretrained_dir() / recipe.export.preset
    check_better(preset, metrics, recipe.export.better)
    write_preset(folder, preset, metrics, read_header(data), _today(), judged)
    write_selftest(preset)
    write_readme(preset, load_card(preset))
    return [*lines, str(preset)]


def score(name, places, limit=None):
    """Make the card of a preset again from its model, on what the card was made on; return lines to show.

    The changelog says if the figure that the preset was chosen by has moved.
    """
    folder, card = find_preset(name), load_card(name)
    recipe = load_recipe(*find_recipe(card["name"]))
    limit = limit or card.get("evaluation", {}).get("limit")
    evaluation = places["WORK"] / "evaluations" / card["name"]
    lines, metrics, judged = judge(recipe, folder, data_of(recipe, places), places, limit, evaluation)
    better = recipe.export.better
    entry = changelog_entry(_today(), __version__, card["sha256"], metrics, better and better.model_dump())
    if entry.get("figure") != card["changelog"][-1].get("figure"):
        card["changelog"].append(entry)
    card |= {"evaluation": judged, "headline": headline(metrics), "metrics": metrics}
    write_card(folder, json.loads(json.dumps(card)))
    write_readme(folder, load_card(folder))
    return [*lines, str(folder)]


def renew(folder):
    """Let the card and the self-test of a preset be those of its model, packed, and of what its recipe says of it."""
    card = load_card(folder)
    export = load_recipe(*find_recipe(card["name"])).export
    with atomic_path(folder / MODEL_FILE) as path:
        pack_model(folder / MODEL_FILE, path, bits=export.mantissa or BITS)
    card["sha256"], card["limits"] = checksum(folder / MODEL_FILE), export.limits
    card["data"]["origin"], card["recipe"]["export"]["mantissa"] = export.data_origin, export.mantissa
    card["changelog"].append(changelog_entry(_today(), __version__, card["sha256"], card["metrics"]))
    write_card(folder, card)
    write_selftest(folder)
    write_readme(folder, load_card(folder))


def _today():
    return datetime.date.today().isoformat()


def make(name, changes, places, limit, from_snapshot=False):
    """Train the recipe of a preset, or take a snapshot of its run, and make the preset; return lines to show."""
    family, which = find_recipe(name)
    recipe = load_recipe(family, which, changes)
    if recipe.export.preset is None:
        raise RecipeError(f"{name}: the recipe has no export.preset, so there is nothing to make")
    run = places["WORK"] / "runs" / recipe.export.preset
    data = data_of(recipe, places)
    if from_snapshot:
        return export(recipe, snapshot(run, data), data, places, limit)
    outcome = run / "outcome.json"
    if outcome.exists():
        return [f"done before; delete {run} to make it again"]
    if not (run / "model.keras").exists():
        recipe = load_recipe(family, which, [*changes, f"data.path={data}"])
        train(recipe.resolved(), data, run, resume=(run / "state.h5").exists())
    try:
        lines = export(recipe, run, data, places, limit)
    except PresetError as error:
        lines = [f"error: {error}"]
    write_json(outcome, {"lines": lines})
    return lines


def read_queue(path):
    """Return the runs of a queue file, (name, changes) each."""
    lines = (shlex.split(line, comments=True) for line in path.read_text(encoding="utf-8").splitlines())
    return [(words[0], words[1:]) for words in lines if words]


def work_off(runs, places, limit, say):
    """Make one preset after the other; a run that fails does not keep the next from its turn. Return the exit code."""
    failed = 0
    wanted = [load_recipe(*find_recipe(name), changes).runtime.hours for name, changes in runs]
    for number, (name, changes) in enumerate(runs):
        left = sum(hours or 0 for hours in wanted[number:])
        say(f"{number + 1}/{len(runs)} {name}: wants {wanted[number] or '?'} h, the queue {left:.3g} h")
        try:
            lines = make(name, changes, places, limit)
        except (GalzooError, OSError) as error:
            lines = [f"error: {error}"]
        failed += lines[0].startswith("error:")
        say("\n".join(lines))
    return 2 if failed else 0


def say(text):
    """Print at once, also into a file."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments=None):
    """Make one preset, those of a queue, or one of a snapshot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("preset", nargs="?", help="name of a preset, or FAMILY/RECIPE")
    what.add_argument("--queue", type=Path, help="file with a run a line")
    what.add_argument("--snapshot", metavar="RUN", help="make the preset from the state of a run that is not finished")
    what.add_argument("--score", metavar="PRESET", help="make the card of a preset that is there again")
    what.add_argument("--repack", metavar="PRESET", help="round the weights of a preset as its recipe says")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public images and catalogues")
    parser.add_argument("--work", type=Path, required=True, help="folder for data files, runs and evaluations")
    parser.add_argument("--limit", type=int, help=f"held-out objects to score: as the recipe or card says, or {LIMIT}")
    parser.add_argument("--set", action="append", default=[], help="change the recipe, as in galzoo train")
    options = parser.parse_args(arguments)
    places = {"ROOT": options.data, "WORK": options.work}
    try:
        if options.score:
            say("\n".join(score(options.score, places, options.limit)))
            return 0
        if options.repack:
            renew(find_preset(options.repack))
            return 0
        if options.snapshot:
            say("\n".join(make(options.snapshot, options.set, places, options.limit, from_snapshot=True)))
            return 0
        runs = read_queue(options.queue) if options.queue else [(options.preset, [])]
        runs = [(name, [*changes, *options.set]) for name, changes in runs]
        return work_off(runs, places, options.limit, say)
    except (GalzooError, OSError) as error:
        say(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
