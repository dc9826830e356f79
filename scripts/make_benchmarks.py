"""Write docs/benchmarks.md from the JSON files that the bench_*.py scripts left in docs/benchmarks/.

for name in layers train pipeline cutouts simulate sample blend deblend; do
    python scripts/bench_$name.py --output docs/benchmarks/bench_$name.json
done
python scripts/bench_detection.py SCENES.h5 --output docs/benchmarks/bench_detection.json
python scripts/make_benchmarks.py
"""

import json
from pathlib import Path

from galzoo.evaluate.report import markdown_table
from galzoo.files import write_text

DOCS = Path(__file__).resolve().parents[1] / "docs"
_HEAD = """# Benchmarks

Made by `scripts/make_benchmarks.py` from what the `scripts/bench_*.py` wrote. Times are medians; a ratio is between two
things timed in one process, so it holds on other machines too. The load of the machine is given because it was shared.
"""


def tables_of(value, title=""):
    """Yield (title, rows) of a benchmark's JSON: a table a list of dicts, and one for plain dicts side by side."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        yield title, [_row(row) for row in value]
    elif isinstance(value, dict):
        plain = {key: cell for key, cell in value.items() if not isinstance(cell, dict | list) or _is_cell(cell)}
        if plain:
            yield title, [_row(plain)]
        alike = {key: cell for key, cell in value.items() if _is_plain(cell)}
        if len(alike) > 1:
            yield title, [{"": key.replace("_", " "), **_row(cell)} for key, cell in alike.items()]
        for key, item in value.items():
            if isinstance(item, dict | list) and not _is_cell(item) and (key not in alike or len(alike) < 2):
                name = key.replace("_", " ")
                yield from tables_of(item, f"{title}: {name}" if title else name)


def _is_plain(value):
    return isinstance(value, dict) and bool(value) and all(not isinstance(cell, dict | list) for cell in value.values())


def _is_cell(value):
    """Return whether a list is a value and its error, or a shape."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, int | float | str) for one in value)


def _row(row):
    """Return a row of a table: ``x`` and ``x_error`` are one cell, and what is no cell is left out."""
    cells = {}
    for key, value in row.items():
        if isinstance(value, dict) or key.removesuffix("_error") in row and key.endswith("_error"):
            continue
        paired = not isinstance(value, list | str) and f"{key}_error" in row
        cells[key] = (value, row[f"{key}_error"]) if paired else _cell(value)
    return cells


def _cell(value):
    """Return names and shapes, which are whole numbers, as text; other lists are a value and its error."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return " x ".join(map(str, value))
    return value


def main():
    """Write the page."""
    parts = [_HEAD]
    for path in sorted((DOCS / "benchmarks").glob("bench_*.json")):
        parts.append(f"## `scripts/{path.stem}.py`")
        for title, rows in tables_of(json.loads(path.read_text(encoding="utf-8"))):
            parts.append((f"{title.capitalize()}\n\n" if title else "") + markdown_table(rows).strip())
    write_text(DOCS / "benchmarks.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
