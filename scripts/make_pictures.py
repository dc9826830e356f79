"""Draw the pictures of the documentation: what each shipped preset does with data that it never saw.

    python scripts/make_pictures.py [--only PRESET]

Each task brings the function that draws for its presets; docs/images/readme.yaml says which the README shows. The page
of each preset shows its own, with the caption that docs/images/captions.yaml has.
"""

import argparse
import sys
from pathlib import Path

import yaml

import galzoo
from galzoo.cards import write_readme
from galzoo.files import write_text
from galzoo.registry import MODEL, get_family, get_task, import_object
from galzoo.viz.panels import save

ROOT = Path(__file__).parents[1]
START, END = "<!-- pictures: made by scripts/make_pictures.py -->", "<!-- end of pictures -->"
# The first resolution at which a picture is small enough to be committed is taken.
DPI, MOST_BYTES = (110, 95, 80), 400_000


def draw(name, folder):
    """Draw a preset's picture and return its caption, None where no task has one for it."""
    card = galzoo.load_card(name)
    roles = get_family(card["family"]).roles()
    drawer = next((get_task(task).picture for task, role in roles if role == MODEL and get_task(task).picture), None)
    drawn = drawer and import_object(drawer)(galzoo.load(name), card)
    if not drawn:
        return None
    figure, caption = drawn
    path = folder / f"{name}.png"
    for dpi in DPI:
        save(figure, path, dpi=dpi)
        size = path.stat().st_size
        if size <= MOST_BYTES:
            break
    else:
        sys.exit(f"error: {path}: {size} bytes, more than {MOST_BYTES}; lower DPI")
    sys.stdout.write(f"{path} {size // 1000} kB\n")
    return caption


def main():
    """Draw all pictures, or one, and put those of readme.yaml into the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one preset")
    only = parser.parse_args().only
    folder = ROOT / "docs" / "images"
    captions = {name: draw(name, folder) for name in galzoo.list_presets() if only in (None, name)}
    kept = folder / "captions.yaml"
    known = yaml.safe_load(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    known |= {name: caption for name, caption in captions.items() if caption}
    write_text(kept, yaml.safe_dump(known, width=120))
    for name in captions:
        write_readme(ROOT / "pretrained" / name, galzoo.load_card(name))
    if only is not None:
        return
    shown = yaml.safe_load((folder / "readme.yaml").read_text(encoding="utf-8"))
    parts = [f"![{task}: {name}](docs/images/{name}.png)\n\n{captions[name]}" for task, name in shown.items()]
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    write_text(readme, "".join([before, START, "\n", "\n\n".join(parts), "\n", END, after]))


if __name__ == "__main__":
    main()
