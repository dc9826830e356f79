"""A report as one HTML file that needs nothing else: no network, no scripts, pictures inside."""

import base64
import html
import io
from pathlib import Path

from galzoo.errors import InputError
from galzoo.files import write_text

STYLE = """
:root { color-scheme: light dark;
  --ink: #1c1e21; --faint: #63686e; --line: #d9dce0; --paper: #ffffff; --zebra: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --faint: #9aa0a8; --line: #3a3f46; --paper: #17191c; --zebra: #1f2226; }
}
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
       background: var(--paper); max-width: 62rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
.subtitle, figcaption, caption { color: var(--faint); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; caption-side: top; padding-bottom: .4rem; }
th, td { padding: .3rem .9rem .3rem .5rem; text-align: right; white-space: nowrap;
         border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tbody tr:nth-child(even) { background: var(--zebra); }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; padding: 6px;
             box-sizing: border-box; }
@media print { body { max-width: none; margin: 0; } figure, table { break-inside: avoid; } }
"""


class Report:
    """Build a report part by part; every method returns the report, so that calls can be chained.

    Parameters
    ----------
    title : str
    subtitle : str
        One line below the title.

    Examples
    --------
    >>> report = Report("A model").section("Results").text("All is well.")
    >>> report.table([{"S/N": "5-10", "error": 0.1}]).html().startswith("<!doctype html>")
    True
    """

    def __init__(self, title, subtitle=""):
        self.title = str(title)
        self.subtitle = str(subtitle)
        self._parts = []

    def section(self, title):
        """Start a section."""
        return self._add(f"<h2>{_escape(title)}</h2>")

    def text(self, text):
        """Add paragraphs of plain text, separated by empty lines."""
        for paragraph in str(text).split("\n\n"):
            if paragraph.strip():
                self._add(f"<p>{_escape(paragraph.strip())}</p>")
        return self

    def table(self, rows, caption=""):
        """Add a table.

        Parameters
        ----------
        rows : sequence of dict
            A dict a row; the columns are all keys, in the order in which they appear. Pairs are shown as value ± error.
        caption : str
        """
        names, cells = table_cells(rows)
        head = "".join(f"<th>{_escape(name)}</th>" for name in names)
        body = "".join("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in line) + "</tr>" for line in cells)
        title = f"<caption>{_escape(caption)}</caption>" if caption else ""
        return self._add(
            f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def figure(self, figure, caption=""):
        """Add a picture.

        Parameters
        ----------
        figure : matplotlib.figure.Figure, or str or Path of a PNG file
        caption : str
            Also the text for readers who do not see the picture.
        """
        data = base64.b64encode(_png(figure)).decode("ascii")
        below = f"<figcaption>{_escape(caption)}</figcaption>" if caption else ""
        image = f'<img alt="{_escape(caption)}" src="data:image/png;base64,{data}">'
        return self._add(f"<figure>{image}{below}</figure>")

    def html(self):
        """Return the whole page."""
        subtitle = f'<p class="subtitle">{_escape(self.subtitle)}</p>' if self.subtitle else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{_escape(self.title)}</title><style>{STYLE}</style></head><body>\n"
            f"<h1>{_escape(self.title)}</h1>{subtitle}\n" + "\n".join(self._parts) + "\n</body></html>\n"
        )

    def write(self, path):
        """Write the page to `path` atomically and return the path."""
        write_text(path, self.html())
        return Path(path)

    def _add(self, part):
        self._parts.append(part)
        return self


def table_cells(rows):
    """Return the column names and the formatted cells of rows of dicts."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[format_value(row.get(name)) for name in names] for row in rows]


def markdown_table(rows):
    """Return rows of dicts as a Markdown table, numbers to the right."""
    names, cells = table_cells(rows)
    cells = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    rule = ["---"] + ["---:"] * (len(names) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (names, rule, *cells)) + "\n"


def rich_table(rows, title=None):
    """Return rows of dicts as a `rich.table.Table` for the terminal."""
    from rich import box
    from rich.table import Table

    names, cells = table_cells(rows)
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for position, name in enumerate(names):
        table.add_column(name, justify="right" if position else "left")
    for line in cells:
        table.add_row(*line)
    return table


def format_value(value):
    """Format a cell: text as it is, numbers to 3 digits, (value, error) to the 2 digits that the error allows."""
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return _with_error(*value)
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    if isinstance(value, int):
        return str(value)
    return "–" if value != value else _number(float(value))


def _with_error(value, error):
    import math

    if value is None or value != value:
        return "–"
    if error is None or error != error or not error > 0:
        return _number(float(value))
    digits = 1 - math.floor(math.log10(error))
    if digits > 6 or digits < -4:
        text = f"{value:.2e} ± {error:.1e}"
    else:
        text = f"{round(value, digits):.{max(digits, 0)}f} ± {round(error, digits):.{max(digits, 0)}f}"
    return text.replace("-", "−")


def _number(value):
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    else:
        text = f"{value:.2e}"
    return text.replace("-", "−")


def _escape(text):
    return html.escape(str(text), quote=True)


def _png(figure):
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()
    try:
        data = Path(figure).read_bytes()
    except OSError as error:
        raise InputError(f"{figure}: cannot be read ({error.strerror}); give a PNG file or a figure") from None
    if not data.startswith(b"\x89PNG"):
        raise InputError(f"{figure} is not a PNG file; only PNG pictures are embedded")
    return data
