"""Tables of the suite "realism"."""

import numpy as np

from galzoo.tasks.reconstruct.report import bin_name

SETS = {"real": "real galaxies", "samples": "samples", "codec": "real, through the codec"}
PAIRS = {
    "samples": "samples against real",
    "codec": "real through the codec, against real",
    "real": "real against real",
    "prior": "samples against real through the codec",
}
VIEWS = {"observed": "as observed", "frame": "noiseless, in the model frame"}
DENSITIES = {
    "model": "this prior",
    "unconditional": "this prior, no condition given",
    "positions": "each position by itself",
    "uniform": "all values alike",
    "samples": "its own samples, under this prior",
}


def result_tables(results):
    """Return the tables of the suite's results, as rows of dicts for `Report.table`, `markdown_table` or `rich_table`.

    Parameters
    ----------
    results : dict
        From `evaluate_realism`.

    Returns
    -------
    dict of str to list of dict
        By title.
    """
    tables = {} if results["likelihood"] is None else _likelihood_tables(results["likelihood"])
    for view, part in results.get("statistics", {}).items():
        tables[f"Distance to real galaxies in standard deviations, {VIEWS[view]}"] = _statistics_rows(part)
    if "frechet" in results:
        tables["Wavelet scattering features, as observed"] = [
            {
                "sets": text,
                "Fréchet distance": _pair(results["frechet"].get(name, {}), "value", "error"),
                "accuracy of a classifier": _pair(results["two_sample"][name], "accuracy", "error"),
            }
            for name, text in PAIRS.items()
            if name in results["two_sample"]
        ]
        spectrum = results["power_spectrum"]
        tables[f"Power over that of real galaxies, {VIEWS[spectrum['view']]}"] = _spectrum_rows(spectrum)
    for name, part in results["conditions"].items():
        if "rows" in part:
            title = f"Got for {name} asked: {part['quantity']}"
            # What is set by construction is right or wrong for all.
            shown = part["rows"][-1:] if part["set"] else part["rows"]
            tables[title] = [_asked_row(row) for row in shown]
        else:
            tables[f"{name}, judged by a classifier"] = _judged_rows(part)
    memory = results["memorisation"]
    tables["Nearest training galaxy"] = [
        {
            "distance, samples": memory["samples"],
            "distance, test galaxies": memory["held_out"],
            "ratio": (memory["ratio"], memory["error"]),
            "nearer than the nearest 5 % of test galaxies, %": (100 * memory["near"], 100 * memory["near_error"]),
            "copies": memory["copies"],
        }
    ]
    speed = results["speed"]
    tables["Speed"] = [{"hardware": speed["hardware"], "samples per second": speed["samples_per_second"]}]
    return {title: rows for title, rows in tables.items() if rows}


def _likelihood_tables(likelihood):
    unit = likelihood["unit"]
    tables = {
        f"Held-out nats per {unit}": [
            {
                "density": text,
                f"nats per {unit}": (likelihood[name]["value"], likelihood[name]["value_error"]),
                "more than this prior": _pair(likelihood[name], "difference"),
            }
            for name, text in DENSITIES.items()
            if name in likelihood
        ]
    }
    if likelihood["conditions"]:
        tables[f"What a condition is worth, nats per {unit}"] = [
            {"condition": name, "galaxies": part["n"], "of another galaxy": part["shuffled"], "right": part["right"]}
            | {"difference": _pair(part, "difference")}
            for name, part in likelihood["conditions"].items()
        ]
    return tables


def _pair(part, key, error=None):
    return (part[key], part[error or f"{key}_error"]) if key in part else None


def _statistics_rows(part):
    sets = [name for name in ("samples", "codec", "real") if name in part]
    if not sets:
        return []
    names = {"real": "real against real"}
    rows = [
        {"statistic": name.replace("_", " "), **{names.get(key, SETS[key]): _distance(part[key], name) for key in sets}}
        for name in part["samples"]["statistics"]
    ]
    mean = {names.get(key, SETS[key]): (part[key]["mean"], part[key]["error"]) for key in sets}
    return [*rows, {"statistic": "mean", **mean}]


def _distance(part, name):
    return part["statistics"][name]["value"], part["statistics"][name]["error"]


def _spectrum_rows(spectrum, edges=(0.0, 0.05, 0.1, 0.2, 0.35, 0.51)):
    """Return the mean ratio in ranges of frequency; neighbouring bins err together, so errors are averaged."""
    frequency = np.array(spectrum["frequency"])
    rows = []
    for name in ("samples", "codec", "real"):
        if name in spectrum:
            ratio, error = (np.array(spectrum[name][key], dtype=float) for key in ("ratio", "error"))
            bins = [
                (f"{low:g}–{min(high, 0.5):g} / pixel", (frequency >= low) & (frequency < high))
                for low, high in zip(edges[:-1], edges[1:], strict=True)
            ]
            row = {text: (ratio[part].mean(), error[part].mean()) for text, part in bins if part.any()}
            rows.append({"set": "other real galaxies" if name == "real" else SETS[name], **row})
    return rows


def _asked_row(row):
    edges = {key: None if row[key] is None else float(f"{row[key]:.3g}") for key in ("low", "high")}
    result = {"asked": bin_name(edges), "galaxies": row["n"]}
    for name in ("samples", "real"):
        result[f"{name}: error, %"] = _scaled(row[name], row[f"{name}_error"], 100)
        result[f"{name}: scatter, %"] = _scaled(row[f"{name}_scatter"], None, 100)
    result["samples over real"] = _scaled(row["ratio"], row["ratio_error"])
    return result


def _scaled(value, error, factor=1):
    """Return a number and its error; digits beyond a hundredth of a percent are dropped."""
    if value is None:
        return None
    value, digits = factor * value, 4 if factor == 1 else 2
    if error is None or factor * error < 10**-digits:
        return round(value, digits) + 0.0
    return value, factor * error


def _judged_rows(part):
    sets = [name for name in SETS if name in part]
    if "classes" in part:
        rows = [
            {
                "set": SETS[name],
                "galaxies": part["n"],
                "as asked, %": (100 * part[name]["accuracy"], 100 * part[name]["accuracy_error"]),
                "mean over classes, %": 100 * part[name]["balanced"],
            }
            for name in sets
        ]
        balanced = 100 / len(part["classes"])
        return [
            *rows,
            {"set": "always the commonest", "as asked, %": 100 * part["majority"], "mean over classes, %": balanced},
        ]
    rows = [
        {
            "set": SETS[name],
            "galaxies": part["n"],
            "mean error": (part[name]["error"], part[name]["error_error"]),
            "rank correlation": (part[name]["rank"], part[name]["rank_error"]),
        }
        for name in sets
    ]
    return [*rows, {"set": "always the median", "mean error": part["constant"]}]
