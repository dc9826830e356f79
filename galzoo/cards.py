"""Cards in words: the README of a preset and the table of all presets, written from the cards and never by hand."""

from pathlib import Path

from galzoo.files import write_text
from galzoo.presets import list_presets, load_card

_README = "README.md"
_START, _END = "<!-- presets: made by scripts/make_tables.py -->", "<!-- end of presets -->"


def write_readme(folder, card):
    """Write the README of a preset's folder from its card."""
    from galzoo.evaluate.report import markdown_table
    from galzoo.evaluate.suites import result_tables

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
        f"{training['n_train']} images, {training['steps']} steps, {training['hours']:g} hours on "
        f"{training['hardware']} ({training['backend']} back end). Recipe: `{card['family']}`, in full in the card.",
        "## Limits",
        card["limits"].strip(),
        "## Scores",
        "On objects that training never saw. Errors are by bootstrap over stamps.",
    ]
    for title, rows in result_tables(card["metrics"]).items():
        parts += [f"### {title}", markdown_table(rows)]
    parts += ["## Licence", card["licence"]]
    write_text(Path(folder) / _README, "\n\n".join(parts) + "\n")


def preset_table():
    """Return the tables of all presets for the project's README, one a suite, as Markdown."""
    from galzoo.evaluate.report import markdown_table

    tables = {"reconstruction": [], "realism": [], "pairs": [], "deblend": []}
    for name in list_presets():
        card = load_card(name)
        suite = card["metrics"]["suite"]
        scores = {"realism": _realism, "pairs": _pairs, "deblend": _deblend}.get(suite, _reconstruction)
        row = {
            "preset": f"[`{name}`](pretrained/{name}/README.md)",
            "what": card["title"],
            "bands": ", ".join(card["data"]["bands"]),
            "trained on": f"{card['training']['n_train']} stamps, {card['training']['hours']:.2g} h",
        }
        tables[suite].append(row | scores(card["metrics"]))
    return "\n".join(markdown_table(rows) for rows in tables.values() if rows)


def _reconstruction(metrics):
    sets = metrics["codebook"]
    first = next(iter(sets))
    total = metrics["chi2"][first][-1]
    return {
        "perplexity": (sets[first]["perplexity"], sets[first]["perplexity_error"]),
        "codes used": f"{100 * sets[first]['share_used']:.0f} %",
        "chi2 per pixel, median": (total["median"], total["median_error"]),
        "error of Richardson-Lucy over galzoo's": _classical(metrics),
    }


def _realism(metrics):
    likelihood, memory = metrics["likelihood"], metrics["memorisation"]
    unit = likelihood["unit"]
    row = {
        f"nats per {unit}": (likelihood["model"]["value"], likelihood["model"]["value_error"]),
        f"nats per {unit}, each position by itself": (
            likelihood["positions"]["value"],
            likelihood["positions"]["value_error"],
        ),
    }
    found = metrics.get("statistics", {}).get("observed", {})
    for name, text in (("samples", "samples"), ("real", "real galaxies")):
        distance = (found[name]["mean"], found[name]["error"]) if name in found else None
        row[f"distance of morphology to real galaxies, {text}"] = distance
    row["nearest training galaxy, samples over held-out"] = (memory["ratio"], memory["error"])
    return row


def _pairs(metrics):
    scores, gain = metrics["scores"], metrics["gain"]
    row = {}
    for measure, unit in (("psnr", "PSNR in dB"), ("ssim", "SSIM")):
        for galaxy, text in (("first", "centred galaxy"), ("other", "other galaxy")):
            found = scores["model"][galaxy][measure]["all"]
            row[f"{unit}, {text}"] = (found["value"], found["value_error"])
    row["PSNR over the best other method"] = (gain["psnr"]["value"], gain["psnr"]["value_error"])
    return row


def _deblend(metrics):
    band, first = metrics["reference_band"], next(iter(metrics["sets"].values()))
    scores = first["methods"][metrics["model"]]

    def found(*path, key="scatter"):
        part = scores
        for name in path:
            part = part[name]
        return None if part[key] is None else (part[key], part[f"{key}_error"])

    seconds = scores["seconds"]
    return {
        f"scatter of the {band} flux": found("flux", "all"),
        "blendedness > 0.3": found("flux", "blended"),
        f"median error of the {band} flux": found("flux", "all", key="median"),
        "scatter of the ellipticity": found("ellipticity", "all"),
        "chi2 per pixel, median": found("chi2", key="median"),
        "ms per scene": None if seconds is None else 1000 * seconds,
    }


def _classical(metrics):
    """Return how many times larger the squared error of tuned Richardson-Lucy is, with its uncertainty."""
    found = metrics.get("deconvolution", {}).get("richardson_lucy")
    return (found["all"]["ratio"], found["all"]["ratio_error"]) if found else None


def update_readme(path):
    """Put the table of presets between its marks in the README at `path`."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    write_text(path, f"{before}{_START}\n{preset_table()}\n{_END}{after}")
