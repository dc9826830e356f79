"""Tables of the suite "deblend"."""

from galzoo.tasks.reconstruct.report import bin_name

PARTS = {"all": "all", "blended": "blendedness > 0.3", "isolated": "blendedness < 0.05"}
ERRORS = {"flux_error": "as given", "flux_width": "noise alone, shapes held"}
BINS = {"blendedness": "blendedness", "magnitude": "magnitude", "separation": "separation in arcsec", "psf": "PSF"}


def result_tables(results):
    """Return the tables of the suite's results, as rows of dicts for `Report.table`, `markdown_table` or `rich_table`.

    Parameters
    ----------
    results : dict
        From `evaluate_deblending`.

    Returns
    -------
    dict of str to list of dict
        By title; with several sets, each set has its own, and the first compares them.
    """
    sets, band = results["sets"], results["reference_band"]
    tables = {}
    if len(sets) > 1:
        tables[f"Scatter of the {band} flux, relative, on every set"] = _set_rows(sets)
    for name, part in sets.items():
        for title, rows in set_tables(part, band).items():
            tables[f"{name}: {title[0].lower()}{title[1:]}" if len(sets) > 1 else title] = rows
    return {title: rows for title, rows in tables.items() if rows}


def set_tables(part, band):
    """Return the tables of one set, title -> rows.

    Parameters
    ----------
    part : dict
        Of ``sets`` in the results.
    band : str
        Reference band.
    """
    methods = part["methods"]
    detecting = {name: one for name, one in methods.items() if "purity" in one}
    tables = {
        f"Flux in {band}, relative to the truth": [
            {"method": name, **_spreads(one["flux"]), "sources": one["flux"]["all"]["n"]}
            for name, one in methods.items()
        ],
        "Scatter of the flux in each band": [
            {"method": name, **{key: pair(row, "scatter") for key, row in one["flux"]["bands"].items()}}
            for name, one in methods.items()
        ],
        f"Shape as observed, {band}": [
            {
                "method": name,
                **{
                    f"ellipticity scatter, {text}": pair(one["ellipticity"][key], "scatter")
                    for key, text in PARTS.items()
                },
                "size median": pair(one["size"]["all"], "median"),
                "size scatter": pair(one["size"]["all"], "scatter"),
                "failed, %": percent(one["shape_failed"]),
            }
            for name, one in methods.items()
        ],
        f"Magnitude in {band} and colours": [
            {
                "method": name,
                "magnitude median": pair(one["magnitude"]["all"], "median"),
                "magnitude scatter": pair(one["magnitude"]["all"], "scatter"),
                **{f"{key} scatter": pair(row, "scatter") for key, row in one["colour"].items()},
            }
            for name, one in methods.items()
        ],
        f"Images in {band}": [
            {
                "method": name,
                "PSNR, dB": pair(one["psnr"]["all"], "median"),
                "PSNR, blended": pair(one["psnr"]["blended"], "median"),
                "SSIM": pair(one["ssim"]["all"], "median"),
                "SSIM, blended": pair(one["ssim"]["blended"], "median"),
                "chi2 per pixel": pair(one["chi2"], "median"),
                "sum of fluxes over the truth, less 1": pair(one["conservation"], "median"),
            }
            for name, one in methods.items()
        ],
        "Error bars of the flux, all bands": [
            {
                "method": name,
                "error": ERRORS[key],
                "pull median": pair(row, "median"),
                "pull scatter": pair(row, "scatter"),
                "in 68 %, %": percent(row, "0.68"),
                "in 95 %, %": percent(row, "0.95"),
            }
            for name, one in methods.items()
            for key, row in one.get("pulls", {}).items()
        ],
        "Detection": [
            {
                "method": name,
                "completeness, %": percent(one["found"]["all"]),
                "purity, %": percent(one["purity"]["all"]),
                **{f"completeness, blendedness {bin_name(row)}": percent(row) for row in one["found"]["blendedness"]},
            }
            for name, one in detecting.items()
        ],
    }
    for by, text in BINS.items():
        tables[f"Scatter of the {band} flux by {text}"] = [
            {"method": name, **{_edges(row): pair(row, "scatter") for row in one["flux"][by] if row["n"]}}
            for name, one in methods.items()
            if by in one["flux"] and len([row for row in one["flux"][by] if row["n"]]) > 1
        ]
    tables["Time"] = [
        {"method": name, "ms per scene": _scaled(one["seconds"], one["seconds_error"], 1000)}
        for name, one in methods.items()
    ]
    return {title: rows for title, rows in tables.items() if rows}


def pair(row, key):
    """Return (value, error), or None where there is no value."""
    return None if row.get(key) is None else (row[key], row[f"{key}_error"])


def percent(row, key="share"):
    """Return (value, error) in percent, or None where there is no value."""
    return _scaled(row.get(key), row.get(f"{key}_error"), 100)


def _scaled(value, error, factor):
    return None if value is None else (factor * value, None if error is None else factor * error)


def _spreads(part):
    return {
        f"{key}, {text}": pair(part[name], key) for name, text in PARTS.items() for key in ("median", "scatter")
    }  # fmt: skip


def _edges(row):
    return bin_name({key: None if row[key] is None else float(f"{row[key]:.3g}") for key in ("low", "high")})


def _set_rows(sets):
    """Return the scatter of every method on every set, blended sources after all."""
    names = list(dict.fromkeys(name for part in sets.values() for name in part["methods"]))
    rows = []
    if all(part["psf_fwhm"] is not None for part in sets.values()):
        rows.append({"method": "PSF FWHM, arcsec", **{name: part["psf_fwhm"] for name, part in sets.items()}})
    for key in ("all", "blended"):
        for method in names:
            found = {
                name: pair(part["methods"][method]["flux"][key], "scatter")
                for name, part in sets.items()
                if method in part["methods"]
            }
            rows.append({"method": method if key == "all" else f"{method}, {PARTS[key]}", **found})
    return rows
