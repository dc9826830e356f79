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
    """Yield (title, rows) for every list of dicts in a benchmark's JSON."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        yield title, [{key: _cell(cell) for key, cell in row.items() if not isinstance(cell, dict)} for row in value]
    elif isinstance(value, dict):
        plain = {key: cell for key, cell in value.items() if not isinstance(cell, (list, dict))}
        if plain:
            yield title, [plain]
        for key, item in value.items():
            if isinstance(item, (list, dict)):
                yield from tables_of(item, key.replace("_", " "))


def _cell(value):
    """Return a shape as text, anything else as it is."""
    return " x ".join(map(str, value)) if isinstance(value, list) else value


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
