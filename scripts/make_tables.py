"""Write what is generated of the documentation: tables of the README and of docs/architecture.md, pages of presets.

python scripts/make_tables.py
"""

from pathlib import Path

from galzoo.cards import update_readme, write_readme
from galzoo.data.keys import KEYS
from galzoo.files import write_text
from galzoo.presets import load_card
from galzoo.recipe import list_recipes
from galzoo.registry import families

ROOT = Path(__file__).parents[1]


def family_table():
    """Return the table of the families that galzoo itself brings, as Markdown."""
    lines = ["| family | tasks | recipes | reference |", "| --- | --- | --- | --- |"]
    for family in families().values():
        if family.model.startswith("galzoo.models."):
            name = f"[`{family.name}`](galzoo/models/{family.name}/README.md) {family.title}"
            recipes = ", ".join(f"`{recipe}`" for recipe in list_recipes(family.name))
            lines.append(f"| {name} | {', '.join(family.tasks)} | {recipes} | {family.reference} |")
    return "\n".join(lines) + "\n"


def key_table():
    """Return the table of the keys of a batch, as Markdown."""
    return "\n".join(["| key | |", "| --- | --- |", *(f"| `{key}` | {what} |" for key, what in KEYS.items())]) + "\n"


def put(path, name, table):
    """Put a table between the marks called `name` in the file at `path`."""
    start, end = f"<!-- {name}: made by scripts/make_tables.py -->", f"<!-- end of {name} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    write_text(path, f"{before}{start}\n{table}\n{end}{after}")


def update(root):
    """Write all tables, and the pages of the presets, of the source tree at `root`."""
    put(root / "README.md", "families", family_table())
    put(root / "docs" / "architecture.md", "keys", key_table())
    update_readme(root / "README.md")
    for card in (root / "pretrained").glob("*/card.yaml"):
        write_readme(card.parent, load_card(card.parent.name))


if __name__ == "__main__":
    update(ROOT)
