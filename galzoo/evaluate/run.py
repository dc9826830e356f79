"""Run a suite on a preset: numbers as JSON and tables, and a report with pictures."""

from pathlib import Path

from galzoo.contracts.suites import Request
from galzoo.errors import InputError
from galzoo.files import check_folder_name, expanded, write_json, write_text
from galzoo.registry import get_family, get_suite, import_object, suites_of


def evaluate(preset, data=None, real=(), output="evaluation", suite=None, limit=None):
    """Evaluate a preset and write ``metrics.json``, ``tables.md`` and ``report.html`` into a folder.

    Parameters
    ----------
    preset : str or Path
        Name of a preset, or folder of a preset or run.
    data : str or Path, or sequence of them, optional
        Files of the kind that the suite reads, stamps or scenes; only objects of the test split are scored. By default
        new ones, where the recipe simulates its own.
    real : sequence of str or Path
        Observed stamps without truth, for suites that use them.
    output : str or Path
        Folder to write.
    suite : str, optional
        By default the recipe's, or the first that judges the family.
    limit : int, optional
        Use at most so many objects of each split and set; by default as many as the recipe says, or all.

    Returns
    -------
    list of str
        Lines to show: the tables and where the files lie.

    Raises
    ------
    UnknownNameError
        If there is no such suite.
    InputError
        If a split is empty, or the suite does not judge such models.
    """
    from galzoo.evaluate.report import markdown_table
    from galzoo.presets import load_card

    check_folder_name(output)
    card = load_card(preset)
    chosen = choose_suite(card, suite)
    files = () if data is None else (data,) if isinstance(data, (str, Path)) else tuple(data)
    output = Path(expanded(output))
    request = Request(
        models=_models(preset, card, chosen),
        card=card,
        files=tuple(Path(path) for path in files),
        real=tuple(Path(path) for path in real),
        limit=card["recipe"]["evaluate"].get("limit") if limit is None else limit,
        report=output / "report.html",
    )
    result = import_object(chosen.run)(request)
    write_json(output / "metrics.json", result.metrics)
    tables = {title: markdown_table(rows) for title, rows in result.tables().items()}
    text = "\n\n".join(f"### {title}\n\n{table}" for title, table in tables.items())
    write_text(output / "tables.md", f"# {card['name']}\n\n{text}\n")
    return [text, "", *(str(output / name) for name in ("metrics.json", "tables.md", "report.html"))]


def choose_suite(card, name=None):
    """Return the `Suite` of a name, or the one that a preset is judged by, if it judges such models.

    Parameters
    ----------
    card : dict
        Of the preset, or what is known of a run.
    name : str, optional
        By default the recipe's, or the first that judges the family.

    Raises
    ------
    UnknownNameError
        If there is no such suite.
    InputError
        If it does not judge the family, or none does.
    """
    family = get_family(card["family"])
    fit = suites_of(family)
    name = name or card["recipe"]["evaluate"]["suite"]
    if name is None and not fit:
        raise InputError(f"no suite judges models of {family.name}; name one of its tasks in a suite")
    suite = fit[0] if name is None else get_suite(name)
    if suite not in fit:
        mend = f"use {' or '.join(one.name for one in fit)}" if fit else "it has no suite yet"
        raise InputError(
            f"suite {suite.name!r} is for models that {' or '.join(suite.tasks)}, not {family.name}; {mend}"
        )
    return suite


def result_of(metrics):
    """Return the result that a card kept, of whichever suite it is, as a `galzoo.contracts.suites.Result`."""
    return import_object(get_suite(metrics["suite"]).result)(metrics)


def _models(preset, card, suite):
    """Return the judged model under the role that it plays in the suite's tasks."""
    from galzoo.presets import load_for

    roles = get_family(card["family"]).roles()
    task, role = next(pair for pair in suite.roles() if pair in roles)
    return {role: load_for(task, preset, role)}
