"""A picture of what a prior draws."""

import numpy as np

# Training has seed 0; new stamps to choose from, galaxies that samples are shown beside, and what is shown of more
# than three bands.
SEED, DRAWN, GALAXIES, SHOWN = 2026, 60, 24, ("g", "r", "i")
# Galaxies a row of a page, and rows of a class or range.
_COLUMNS, _ROWS = 8, 6
# Percentiles of training galaxies from which to which a picture goes in a condition.
_MOST = (3, 97)


def preset_figure(model, card):
    """Draw samples of a prior: below new galaxies of the same conditions where those can be simulated, else by type.

    Parameters
    ----------
    model : galzoo.contracts.prior.Prior
    card : dict

    Returns
    -------
    figure : matplotlib Figure
    caption : str
        Markdown.
    """
    from galzoo.data.crop import crop_stamps
    from galzoo.data.stamps import Stamps
    from galzoo.simulate.observe import observe
    from galzoo.tasks.sample.run import class_names
    from galzoo.viz.page import page

    name, title = card["name"], card["title"]
    if card["recipe"]["data"]["name"] != "simulated":
        column, values = _first_range(model)
        samples = model.sample(len(values), {column: values} if column else None, seed=SEED)
        said, names = f"samples of {name} by {column}", class_names(card)
        figure = page(observe(samples), {column: values} if column else None, title=said, names=names)
        return figure, f"None of these galaxies exists: samples of the preset `{name}` ({title}), by {column}."
    from galzoo.tasks.reconstruct.picture import new_stamps

    stamps = new_stamps(card)
    bright = np.argsort(-np.asarray(stamps.catalogue["snr"]))[:GALAXIES]
    stamps = stamps[np.sort(bright)]
    wanted = {column: np.asarray(stamps.catalogue[column], float) for column in model.columns}
    drawn = model.sample(len(stamps), wanted, seed=SEED)
    if stamps.shape != drawn.image.shape[1:3]:
        # A prior may learn from the middles of larger stamps.
        stamps = crop_stamps(stamps, drawn.image.shape[1])
    several = len(stamps.bands) > len(SHOWN)
    chosen = [stamps.bands.index(band) for band in SHOWN] if several else slice(None)
    both = Stamps(
        np.concatenate([stamps.truth, drawn.image])[..., chosen],
        bands=SHOWN if several else stamps.bands,
        pixel_scale=stamps.pixel_scale,
        unit=stamps.unit,
    )
    said = f"above: GalSim's galaxies, below: samples of {name} for the same magnitudes and sizes"
    return page(both, title=said), f"Samples of the preset `{name}` ({title}) below GalSim's galaxies of the same kind."


def _first_range(model):
    """Return the first condition of a prior and values of a page, a row each: classes, or where most galaxies are."""
    if not model.columns:
        return None, np.full(_COLUMNS * _ROWS, np.nan)
    column = model.columns[0]
    known = model.condition_ranges[column]
    if isinstance(known, list):
        steps = known[:: max(1, len(known) // _ROWS)][:_ROWS]
    else:
        # Of the ends of the range a prior has seen few.
        values = np.asarray(model.conditions.table)[: int(model.conditions.filled), 0]
        steps = np.nanpercentile(values, np.linspace(*_MOST, _ROWS))
    return column, np.repeat(np.asarray(steps, float), _COLUMNS)
