"""Catalogue columns as numbers or categories, and their colours in a picture."""

import dataclasses

import numpy as np

from galzoo.errors import InputError, UnknownNameError
from galzoo.viz.panels import FAINT, INK

# Positive columns that span more than this factor, outliers aside, are shown (and scored) on a log scale.
_LOG_FACTOR = 20.0
# Most values of an integer and of a text column that are categories; of these the commonest get a colour.
_INTEGERS, _TEXTS, _COLOURS = 12, 40, 9
MISSING = "#d4d4d4"


@dataclasses.dataclass
class Column:
    """A catalogue column as a picture needs it.

    Parameters
    ----------
    name : str
    values : float array, (n,)
        Numbers, or the index of the category; NaN where unknown.
    categories : tuple of str
        Names of the categories, commonest first; empty for numbers.
    log : bool
        To be shown on a log scale.
    unit : astropy.units.Unit, optional
        Of the numbers.
    """

    name: str
    values: np.ndarray
    categories: tuple[str, ...] = ()
    log: bool = False
    unit: object = None

    @property
    def label(self):
        """Name and unit."""
        text = "" if self.unit is None else self.unit.to_string()
        return f"{self.name} [{text}]" if text else self.name

    @property
    def plain(self):
        """The values as a table holds them: numbers with their unit, or the names of the categories ("" = unknown)."""
        if self.categories:
            known = np.isfinite(self.values)
            return np.array([*self.categories, ""])[np.where(known, self.values, -1).astype(int)]
        return self.values if self.unit is None else self.values * self.unit


def read_column(catalogue, name):
    """Return a column of a catalogue as numbers or categories.

    Text, booleans and integers with at most 12 values are categories.

    Parameters
    ----------
    catalogue : QTable
    name : str

    Returns
    -------
    Column

    Raises
    ------
    UnknownNameError
        If there is no such column; the message lists those that are there.
    InputError
        If the column has more than one value a row.
    """
    if name not in catalogue.colnames:
        raise UnknownNameError.of("column", name, catalogue.colnames)
    column = catalogue[name]
    unit = getattr(column, "unit", None)
    masked = np.ma.asarray(getattr(column, "value", column))
    plain, missing = np.ma.getdata(masked), np.ma.getmaskarray(masked)
    if plain.ndim != 1:
        raise InputError(f"column {name!r} has {plain.shape[1:]} values a row; choose one with a single value")
    if plain.dtype.kind in "fiu" and not _few_integers(plain[~missing]):
        values = np.where(missing, np.nan, plain.astype(np.float64))
        values[~np.isfinite(values)] = np.nan
        return Column(name, values, log=spans(values), unit=unit)
    text = np.char.strip(np.where(missing, "", plain.astype(str)))
    found, index, count = np.unique(text, return_inverse=True, return_counts=True)
    # Commonest first; numbers in their own order, which means something.
    order = np.argsort(-count, kind="stable") if plain.dtype.kind not in "iu" else np.argsort(found.astype(float))
    order = order[found[order] != ""]
    rank = np.full(len(found), np.nan)
    rank[order] = np.arange(len(order))
    return Column(name, rank[index], tuple(str(name) for name in found[order]))


def _few_integers(values):
    return values.dtype.kind in "iu" and len(np.unique(values)) <= _INTEGERS


def spans(values):
    """Say whether values are positive and span more than a factor of 20, outliers aside."""
    known = values[np.isfinite(values)]
    if not len(known) or known.min() <= 0:
        return False
    low, high = np.percentile(known, [2, 98])
    return bool(high > _LOG_FACTOR * low)


def legend(axis, column, index=None):
    """List the categories to the right of `axis`, and how many there are of each: of `index`, the stamps by default."""
    from matplotlib.lines import Line2D

    index = column.values if index is None else index
    known = np.isfinite(index)
    index = index[known].astype(int)
    shown, count = _coloured(column), np.bincount(index, minlength=len(column.categories))
    entries = [(f"{column.categories[one]} ({count[one]})", colour) for one, colour in shown.items() if count[one]]
    others = count.sum() - sum(count[one] for one in shown)
    if others:
        entries.append((f"other ({others})", "#8a8a8a"))
    if (~known).any():
        entries.append((f"unknown ({(~known).sum()})", MISSING))
    handles = [Line2D([], [], marker="o", ls="", ms=5, mew=0, color=colour, label=name) for name, colour in entries]
    axis.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=7, labelcolor=INK,
        handletextpad=0.1, borderaxespad=0.1,
    )  # fmt: skip


def _coloured(column):
    """Return the categories with a colour of their own, by index."""
    import matplotlib

    colours = matplotlib.colormaps["tab10"].colors
    colours = [colour for place, colour in enumerate(colours) if place != 7]
    index = column.values[np.isfinite(column.values)].astype(int)
    count = np.bincount(index, minlength=len(column.categories))
    most = np.sort(np.argsort(-count, kind="stable")[:_COLOURS])
    return {int(one): colour for one, colour in zip(most, colours, strict=False) if count[one]}


def rgba(column, index=None):
    """Return a colour for each value, (n, 4), or for each category of `index`."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import to_rgba

    values = column.values if index is None else index
    result = np.tile(to_rgba(MISSING), (len(values), 1))
    known = np.isfinite(values)
    if column.categories:
        result[known] = to_rgba("#8a8a8a")
        for one, colour in _coloured(column).items():
            result[values == one] = to_rgba(colour)
    elif known.any():
        result[known] = ScalarMappable(**scale(column)).to_rgba(values[known])
    return result


def scale(column):
    """Return colour map and norm, from the 2nd to the 98th percentile."""
    from matplotlib.colors import LogNorm, Normalize

    known = column.values[np.isfinite(column.values)]
    low, high = np.percentile(known, [2, 98]) if len(known) else (0.0, 1.0)
    high = high if high > low else low + max(abs(low), 1.0) * 1e-3
    return {"cmap": "viridis", "norm": (LogNorm if column.log else Normalize)(low, high)}


def colour_bar(axis, drawn, column):
    """Put a slim colour bar to the right of `axis`; it ends at the 2nd and the 98th percentile."""
    figure = axis.figure
    box, width = axis.get_position(), figure.get_figwidth()
    slot = figure.add_axes([box.x1 + 0.08 / width, box.y0, 0.1 / width, box.height])
    bar = figure.colorbar(drawn, cax=slot)
    bar.outline.set_visible(False)
    slot.tick_params(which="both", length=0, pad=3, labelsize=7, colors=FAINT)
    if column.log:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        low, high = drawn.norm.vmin, drawn.norm.vmax
        subs = (1.0,) if high > 1e4 * low else (1.0, 3.0) if high > 30 * low else (1.0, 2.0, 5.0)
        slot.yaxis.set_major_locator(LogLocator(subs=subs))
        slot.yaxis.set_minor_locator(NullLocator())
        slot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
