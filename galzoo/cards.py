"""Cards in words: the README of a preset and the table of all presets, written from the cards and never by hand."""

from pathlib import Path

from galzoo.evaluate.run import result_of
from galzoo.files import write_text
from galzoo.presets import list_presets, load_card
from galzoo.registry import suites

_README = "README.md"
_START, _END = "<!-- presets: made by scripts/make_tables.py -->", "<!-- end of presets -->"


def write_readme(folder, card):
    """Write the README of a preset's folder from its card."""
    from galzoo.evaluate.report import markdown_table

    training, data = card["training"], card["data"]
    parts = [
        f"# {card['name']}",
        f"{card['title']}. Family `{card['family']}`; written from `card.yaml`.",
        f'```python\nimport galzoo\n\nmodel = galzoo.load("{card["name"]}")\n```',
        "## Data",
        f"{data['origin'].strip()}",
        f"Bands {', '.join(data['bands'])}; {data['pixel_scale_arcsec']:g} arcsec per pixel; trained on stamps of "
        f"{data['stamp_size'][0]} pixels; unit {data['unit'] or 'none (8-bit pictures)'}.",
        "## Training",
        f"{training['n_train']} images, {training['steps']} steps, {_hours(training)}"
        f"{training['hardware']} ({training['backend']} back end). Recipe: `{card['family']}`, in full in the card.",
        *([f"Weights are converted: {training['converted']}."] if "converted" in training else []),
        "## Limits",
        card["limits"].strip(),
        "## Scores",
        "On objects that training never saw. Errors are by bootstrap over stamps.",
    ]
    for title, rows in result_of(card["metrics"]).tables().items():
        parts += [f"### {title}", markdown_table(rows)]
    parts += ["## Licence", card["licence"]]
    write_text(Path(folder) / _README, "\n\n".join(parts) + "\n")


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
