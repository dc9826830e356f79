"""Cards in words: the README of a preset and the table of all presets, written from the cards and never by hand."""

import textwrap
from pathlib import Path

import yaml

from galzoo.data.bands import magnitude_columns
from galzoo.evaluate.run import result_of
from galzoo.files import write_text
from galzoo.presets import hyper_parameters, list_presets, load_card
from galzoo.recipe import list_recipes
from galzoo.registry import suites

_README = "README.md"
# Columns of a terminal that `galzoo show` fills.
_WIDTH = 100
_START, _END = "<!-- presets: made by scripts/make_tables.py -->", "<!-- end of presets -->"


def write_readme(folder, card):
    """Write the README of a preset's folder from its card."""
    from galzoo.evaluate.report import markdown_table

    training, data = card["training"], card["data"]
    parts = [
        f"# {card['name']}",
        f"{card['title']}. Family `{card['family']}`; written from `card.yaml` and `metrics.json`.",
        f'```python\nimport galzoo\n\nmodel = galzoo.load("{card["name"]}")\n```',
        *_picture(Path(folder), card["name"]),
        "## Data",
        f"{data['origin'].strip()}",
        f"Bands {', '.join(data['bands'])}; {data['pixel_scale_arcsec']:g} arcsec per pixel; trained on stamps of "
        f"{data['stamp_size'][0]} pixels; unit {data['unit'] or 'none (8-bit pictures)'}.{_sizes(card)}",
        "## Training",
        f"{training['n_train']} images, {training['steps']} steps, {_hours(training)}"
        f"{training['hardware']} ({training['backend']} back end). Recipe: `{card['family']}`, in full in the card.",
        *([f"Weights are converted: {training['converted']}."] if "converted" in training else []),
        "## Limits",
        card["limits"].strip(),
        "## Scores",
        "On objects that training never saw. Errors are by bootstrap over stamps.",
        *_evaluation(card),
    ]
    for title, rows in result_of(card["metrics"]).tables().items():
        parts += [f"### {title}", markdown_table(rows)]
    parts += ["## Licence", card["licence"]]
    parts += ["## Citation", f"{card['citation']}. BibTeX: `galzoo cite {card['name']}`."]
    parts += ["## Changelog", "\n".join(_change(entry) for entry in card["changelog"])]
    write_text(Path(folder) / _README, "\n\n".join(parts) + "\n")


def _picture(folder, name):
    """Return the lines that show the picture of a preset that lies in a checkout; none where there is none."""
    images = folder.resolve().parents[1] / "docs" / "images"
    captions = images / "captions.yaml"
    if not (images / f"{name}.png").exists() or not captions.exists():
        return []
    caption = yaml.safe_load(captions.read_text(encoding="utf-8")).get(name)
    return [f"![What {name} does](../../docs/images/{name}.png)", *([caption] if caption else [])]


def magnitudes_of(model, card):
    """Return in which band conditions of a prior are AB magnitudes, column to band, as far as it is known.

    Parameters
    ----------
    model : dict
        Its hyper-parameters: ``columns, bands`` and where it has them ``flux_column, flux_band``.
    card : dict
        Of its preset, which says what the reference band of simulated training data was.
    """
    columns, bands = model.get("columns") or (), model.get("bands") or ()
    known = magnitude_columns(bands, card.get("data", {}).get("meta", {}))
    known["mag"] = known["mag"] or (bands[0] if len(bands) == 1 else None)
    if model.get("flux_column") is not None:
        known[model["flux_column"]] = model["flux_band"]
    return {column: known[column] for column in columns if known.get(column) is not None}


def conditions_of(name):
    """Return what samples of a preset can be asked for, as its model file says: columns, with the band of a magnitude.

    Parameters
    ----------
    name : str or Path
        A preset or run; a run without a model yet has none.

    Returns
    -------
    list of str
    """
    model = hyper_parameters(name)
    band = magnitudes_of(model, load_card(name, metrics=False))
    return [f"{column} (AB in {band[column]})" if column in band else column for column in model.get("columns") or ()]


def summary(card, conditions=()):
    """Return what is to know of a preset or run on one screen, as lines.

    Parameters
    ----------
    card : dict
        As `galzoo.presets.load_card` returns it; its metrics are not needed.
    conditions : sequence of str
        Of `conditions_of`.
    """
    from galzoo.evaluate.report import format_value

    data, training = card.get("data", {}), card.get("training", {})
    rows = {"family": card["family"], "made": card.get("created"), "galzoo": card.get("galzoo")}
    if data:
        rows["data"] = " ".join(data["origin"].split())
        rows["survey"] = data["survey"]
        rows["bands"] = ", ".join(data["bands"])
        rows["pixels"] = f"{data['pixel_scale_arcsec']:g} arcsec, trained on stamps of {data['stamp_size'][0]}"
        rows["unit"] = data["unit"] or "none (8-bit pictures)"
    rows["sizes"] = _sizes(card).strip()
    rows["conditions"] = ", ".join(conditions)
    if training:
        rows["training"] = f"{training['n_train']} images, {training['steps']} steps{_short_hours(training)}"
        rows["hardware"] = training["hardware"]
    rows["limits"] = " ".join(card.get("limits", "").split())
    rows |= {name: format_value(value) for name, value in card.get("headline", {}).items()}
    rows["licence"] = card.get("licence")
    rows["cite"] = card.get("citation")
    lines = [f"{card['name']}: {card['title']}" if card.get("title") else card["name"]]
    for name, value in rows.items():
        if value:
            lines += textwrap.wrap(f"{name}: {value}", _WIDTH, initial_indent="  ", subsequent_indent="      ")
    return lines


def family_summary(family):
    """Return what is known of a `Family`, its recipes and presets, as lines."""
    presets = [name for name in list_presets() if load_card(name, metrics=False)["family"] == family.name]
    rows = {
        "tasks": family.tasks, "recipes": list_recipes(family.name), "presets": presets, "trains on": family.inputs,
        "reads": family.keys, "needs": family.required, "reference": [family.reference],
    }  # fmt: skip
    lines = [f"{family.name}: {family.title}"]
    for name, values in rows.items():
        text = f"{name}: {', '.join(values) or 'none'}"
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="      ")
    return lines


def _sizes(card):
    """Return a sentence on the sizes of stamps that were tried."""
    sizes = card.get("sizes")
    if sizes is None:
        return ""
    said = f" Runs on stamps of {', '.join(map(str, sizes['legal']))} pixels"
    return said + (f", not of {', '.join(map(str, sizes['refused']))}." if sizes["refused"] else ".")


def _change(entry):
    figure = "".join(f", {name} {value:.6g}" for name, value in entry.get("figure", {}).items())
    return f"- {entry['date']}, galzoo {entry['galzoo']}: model `{entry['sha256'][:12]}`{figure}"


def _evaluation(card):
    """Return a paragraph on what the scores were measured on, and the command that measures them again, if known."""
    judged = card.get("evaluation")
    if judged is None:
        return []
    files = ", ".join(f"`{name}` ({file['rows']}, `{file['sha256'][:12]}`)" for name, file in judged["files"].items())
    command = f"python scripts/make_pretrained.py --score {card['name']} --data ROOT --work WORK"
    return [
        f"At most {judged['limit']} held-out objects of each file, with its rows and the beginning of its sha256: "
        f"{files}. Again: `{command}` ([how](../../docs/train.md))."
    ]


def _hours(training):
    """Return how long training took, which is not known of weights that others have trained."""
    return f"{training['hours']:g} hours on " if "hours" in training else ""


def _short_hours(training):
    return f", {training['hours']:.2g} h" if "hours" in training else ", converted"


def preset_table():
    """Return the tables of all presets for the project's README, one a suite, as Markdown."""
    from galzoo.evaluate.report import markdown_table

    tables = {name: [] for name in suites()}
    for name in list_presets():
        card = load_card(name)
        row = {
            "preset": f"[`{name}`](pretrained/{name}/README.md)",
            "what": card["title"],
            "bands": ", ".join(card["data"]["bands"]),
            "trained on": f"{card['training']['n_train']} images{_short_hours(card['training'])}",
        }
        tables[card["metrics"]["suite"]].append(row | result_of(card["metrics"]).headline())
    return "\n".join(markdown_table(rows) for rows in tables.values() if rows)


def update_readme(path):
    """Put the table of presets between its marks in the README at `path`."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    write_text(path, f"{before}{_START}\n{preset_table()}\n{_END}{after}")
