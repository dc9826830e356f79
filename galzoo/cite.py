"""BibTeX of a preset or family, and of galzoo itself."""

import importlib.resources
import re
from pathlib import Path

from galzoo import __version__
from galzoo.errors import InputError
from galzoo.registry import families, get_family

FILE = "references.bib"
_ENTRY = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,")
_FIELD = re.compile(r"\s*(\w+)\s*=\s*\{")
_NEEDED = "author", "title", "year"
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
# A paper of a descriptor's `reference`: authors, year, and the arXiv numbers that follow.
_PAPER = re.compile(r"(?:^|[;:,]\s*)([^;:,()]+?)\s+(\d{4})\s*\(([^)]*)\)")


def citation(name):
    """Return what to cite for a preset, a run or a family: checked BibTeX entries, one after the other.

    Parameters
    ----------
    name : str or Path

    Returns
    -------
    str

    Raises
    ------
    UnknownNameError
        If there is neither such a preset nor such a family.
    InputError
        If the family's references are not valid BibTeX.
    """
    entries = [_own()]
    if str(name) in families():
        family = str(name)
    else:
        from galzoo.presets import load_card

        card = load_card(name)
        family = card["family"]
        entries.append(_preset(card))
    text = "\n\n".join([*entries, references(get_family(family))]) + "\n"
    parse(text, name)
    return text


def references(family):
    """Return the BibTeX of a `Family`'s papers: its ``references.bib``, or entries made of its ``reference``."""
    package = family.model.partition(":")[0].rpartition(".")[0]
    path = Path(str(importlib.resources.files(package))) / FILE if package else Path(FILE)
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    made = []
    for authors, year, numbers in _PAPER.findall(family.reference):
        for number in _ARXIV.findall(numbers):
            fields = {
                "author": authors.replace(" et al.", " and others").replace(" & ", " and "), "title": f"arXiv:{number}",
                "year": year, "eprint": number, "archivePrefix": "arXiv",
            }  # fmt: skip
            made.append(_entry("misc", f"arxiv{number}", fields))
    return "\n\n".join(made)


def parse(text, origin="BibTeX"):
    """Return the entries of BibTeX text, key -> dict of fields; `InputError` where one is not valid or incomplete."""
    found, place = {}, 0
    while match := _ENTRY.search(text, place):
        if text[place : match.start()].strip():
            raise InputError(f"{origin}: {text[place : match.start()].strip()[:40]!r} is no BibTeX entry")
        key, place, fields = match[2], match.end(), {}
        while text[place:].lstrip(" \n,")[:1] != "}":
            field = _FIELD.match(text, place + len(text[place:]) - len(text[place:].lstrip(" \n,")))
            end = field and _closing(text, field.end())
            if not end:
                raise InputError(f"{origin}: entry {key}: {text[place : place + 40].strip()!r} is no field = {{value}}")
            fields[field[1].lower()] = text[field.end() : end]
            place = end + 1
        place = text.index("}", place) + 1
        lacking = [name for name in _NEEDED if not fields.get(name)]
        if lacking or key in found:
            raise InputError(f"{origin}: entry {key} " + (f"has no {lacking[0]}" if lacking else "is there twice"))
        found[key] = fields
    if not found or text[place:].strip():
        raise InputError(f"{origin}: {text[place:].strip()[:40]!r} is no BibTeX entry")
    return found


def _closing(text, place):
    depth = 1
    for index in range(place, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if not depth:
            return index
    return None


def _own():
    fields = {
        "author": "{The galzoo developers}",
        "title": "{galzoo: a Keras 3 model zoo for overlapping galaxies and stars}",
        "version": __version__, "year": "2026",
    }  # fmt: skip
    return _entry("software", "galzoo", fields)


def _preset(card):
    fields = {
        "author": "{The galzoo developers}", "title": f"{{galzoo preset {card['name']}: {card.get('title', '')}}}",
        "version": card.get("galzoo", __version__), "year": str(card.get("created", "2026"))[:4],
    }  # fmt: skip
    if "sha256" in card:
        fields["note"] = f"sha256 {card['sha256']}"
    return _entry("software", f"galzoo_{re.sub(r'[^A-Za-z0-9_-]', '_', card['name'])}", fields)


def _entry(kind, key, fields):
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}\n}}"
