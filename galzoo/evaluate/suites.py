"""Run the suite of a preset on held-out stamps: numbers as JSON and tables, and a report with pictures."""

from pathlib import Path

import numpy as np

from galzoo.data import hdf5
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError, UnknownNameError
from galzoo.files import write_json, write_text

# Suite: the task that a family must have.
SUITES = {"reconstruction": "reconstruct", "realism": "sample", "pairs": "deblend", "deblend": "deblend"}
# Enough for a fifth, the held-out splits, to give errors of a few percent; a minute or two to simulate.
_NEW_STAMPS, _NEW_SEED = 3000, 1000
# Realism: galaxies that samples are drawn for, and training galaxies that they are compared with, for time. Fewer of
# these where their planes would fill so many bytes.
_SAMPLES, _TRAIN, _TRAIN_BYTES = 1000, 4000, 1.5e9


def evaluate(preset, data=None, real=(), output="evaluation", suite=None, limit=None):
    """Evaluate a preset and write ``metrics.json``, ``tables.md`` and ``report.html`` into a folder.

    Parameters
    ----------
    preset : str or Path
        Name of a preset, or folder of a preset or run.
    data : str or Path, or sequence of them, optional
        Stamps as the model was trained on; only objects of the recipe's test split are scored. Classical methods are
        tuned on its validation split, and samples of a prior compared with its training split. By default new stamps,
        where the recipe simulates its own. The suite "deblend" takes scenes instead, and any number of files.
    real : sequence of str or Path
        Observed stamps to judge reconstructions on too; a set is named by its file.
    output : str or Path
        Folder to write.
    suite : str, optional
        By default the recipe's.
    limit : int, optional
        Use at most so many stamps of each split and set.

    Returns
    -------
    list of str
        Lines to show: the tables and where the files lie.

    Raises
    ------
    UnknownNameError
        If there is no such suite.
    InputError
        If a split is empty, or the model cannot do what the suite measures.
    """
    from galzoo.evaluate.report import markdown_table
    from galzoo.presets import load, load_card

    card = load_card(preset)
    recipe = card["recipe"]
    suite = suite or recipe["evaluate"]["suite"]
    if suite not in SUITES:
        raise UnknownNameError.of("suite", suite, SUITES)
    _check_task(card, suite)
    output = Path(output)
    files = [] if data is None else [data] if isinstance(data, (str, Path)) else list(data)
    if suite == "deblend":
        data = files
    elif len(files) > 1:
        raise InputError(f"suite {suite!r} is of one file; leave out --data {files[1]}")
    else:
        data = files[0] if files else new_stamps(recipe["data"], card["name"])
    run = {"reconstruction": _reconstruction, "realism": _realism, "pairs": _pairs, "deblend": _deblend}[suite]
    results = run(load(preset), card, data, real, limit, output / "report.html")
    write_json(output / "metrics.json", results)
    tables = {title: markdown_table(rows) for title, rows in result_tables(results).items()}
    text = "\n\n".join(f"### {title}\n\n{table}" for title, table in tables.items())
    write_text(output / "tables.md", f"# {card['name']}\n\n{text}\n")
    return [text, "", *(str(output / name) for name in ("metrics.json", "tables.md", "report.html"))]


def _check_task(card, suite):
    from galzoo.registry import get_family

    tasks = get_family(card["family"]).tasks
    if SUITES[suite] not in tasks:
        fit = [name for name, task in SUITES.items() if task in tasks]
        mend = f"use {' or '.join(fit)}" if fit else "it has no suite yet"
        raise InputError(f"suite {suite!r} is for models that {SUITES[suite]}, {card['family']} does not; {mend}")


def _reconstruction(model, card, data, real, limit, report):
    from galzoo.evaluate.reconstruction import evaluate_reconstruction

    recipe = card["recipe"]
    splits = recipe["data"]["split"]
    return evaluate_reconstruction(
        model,
        held_out(data, "test", splits, limit),
        real={Path(path).stem.removeprefix("real_"): _spread(path, limit=limit) for path in real},
        tuning=held_out(data, "valid", splits, limit),
        batch_size=recipe["evaluate"]["batch_size"],
        report=report,
    )


def _realism(model, card, data, real, limit, report):
    from galzoo.evaluate.realism import evaluate_realism

    if real:
        raise InputError(f"samples are compared with galaxies as they were trained on; leave out --real {real[0]}")
    recipe = card["recipe"]
    splits = recipe["data"]["split"]
    limit = _SAMPLES if limit is None else limit
    header = hdf5.read_header(data)
    bytes_each = 4 * len(header["keys"]) * len(header["bands"]) * header["shape"][0] * header["shape"][1]
    train = int(min(_TRAIN, max(4 * limit, 100), _TRAIN_BYTES // bytes_each))
    return evaluate_realism(
        model,
        held_out(data, "test", splits, limit, once=True),
        held_out(data, "train", splits, train),
        held_out(data, "valid", splits, limit, once=True),
        n=limit,
        batch_size=recipe["evaluate"]["batch_size"],
        report=report,
        title=f"Realism of {card['name']}",
    )


def _pairs(model, card, data, real, limit, report):
    from galzoo.evaluate.pairs import evaluate_pairs

    if real:
        raise InputError(f"pairs are made of single galaxies whose truth is known; leave out --real {real[0]}")
    recipe = card["recipe"]
    test = held_out(data, "test", recipe["data"]["split"], limit, once=True)
    size = recipe["evaluate"]["batch_size"]
    return evaluate_pairs(model, test, batch_size=size, report=report, title=f"Pairs by {card['name']}")


def _deblend(model, card, data, real, limit, report):
    from galzoo.evaluate.deblending_suite import evaluate_preset

    if real:
        raise InputError(f"sources are scored where their truth is known; leave out --real {real[0]}")
    return evaluate_preset(model, card, data, limit, report)


def result_tables(results):
    """Return the tables of any suite's results, title -> rows of dicts."""
    if results["suite"] == "realism":
        from galzoo.evaluate.realism_tables import result_tables as tables
    elif results["suite"] == "pairs":
        from galzoo.evaluate.pairs_figures import result_tables as tables
    elif results["suite"] == "deblend":
        from galzoo.evaluate.deblending_tables import result_tables as tables
    else:
        from galzoo.evaluate.figures import result_tables as tables
    return tables(results)


def new_stamps(data, name):
    """Return a file of stamps simulated for evaluation, by a recipe's data section but with another seed."""
    from galzoo.data.named import prepare
    from galzoo.recipe import Data

    if data["name"] != "simulated":
        raise InputError(f"{name} was trained on data of yours; give them with --data")
    options = {**data["options"], "n": _NEW_STAMPS, "seed": data["options"].get("seed", 0) + _NEW_SEED}
    return prepare(Data(**{**data, "path": None, "options": options}))


def held_out(path, split, options, limit=None, once=False):
    """Return the `Stamps` of one split of a file, at most `limit` of them, evenly spread through it.

    With `once`, a galaxy that is there several times, as one id, counts once.
    """
    columns = hdf5.read_columns(path)
    rows = np.flatnonzero(split_names(columns, **options) == split)
    if once:
        rows = rows[np.sort(np.unique(columns["id"][rows], return_index=True)[1])]
    if not len(rows):
        raise InputError(
            f"{path}: no stamp in split {split!r}; use the file that the model was trained on, or a larger one"
        )
    return _spread(path, rows, limit)


def _spread(path, rows=None, limit=None):
    """Return the `Stamps` of some rows of a file, at most `limit` of them, evenly spread."""
    rows = np.arange(hdf5.read_header(path)["n"]) if rows is None else rows
    if limit is not None and limit < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, limit).astype(int)]
    return Stamps.load(path, rows)
