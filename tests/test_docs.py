"""What the documents say is so: tables follow the cards, links resolve, commands exist, and the examples run."""

import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import galzoo
from galzoo.cli import app
from galzoo.recipe import load_recipe
from galzoo.registry import families

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.S)
FILE = re.compile(r"(?:# |<!-- )(\S+\.(?:py|yaml|md))(?: -->)?\n")


def blocks(page, *languages):
    return [body for language, body in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page):
    """Return the shell lines of a page, as lists of words."""
    lines = [line for body in blocks(page, "sh") for line in body.replace("\\\n", " ").splitlines()]
    lines = [line.partition(" > ")[0] for line in lines]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def inline_commands(page):
    """Return the words of `galzoo ...` within sentences, which may be incomplete."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [shlex.split(found) for found in re.findall(r"`(galzoo [a-z][^`]*)`", text)]


def verb(words):
    """Return the command of ``galzoo ...`` and its arguments."""
    command, arguments = typer.main.get_command(app), words[1:]
    while hasattr(command, "list_commands"):
        assert arguments, f"{' '.join(words)}: no verb"
        context = typer.Context(command)
        assert arguments[0] in command.list_commands(context), f"{' '.join(words)}: no verb {arguments[0]!r}"
        command, arguments = command.get_command(context, arguments[0]), arguments[1:]
    return command, arguments


def run(code, folder, **changes):
    environment = {**os.environ, "MPLBACKEND": "Agg", **changes}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def test_tables_are_up_to_date(tmp_path):
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "scripts" / "make_tables.py")
    make_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_tables)
    written = ("README.md", "docs/architecture.md")
    (tmp_path / "docs").mkdir()
    for name in written:
        shutil.copyfile(ROOT / name, tmp_path / name)
    make_tables.update(tmp_path)
    for name in written:
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), f"{name}: run python scripts/make_tables.py"


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name):
    text = BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http://", "https://"))]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name}: {link} leads nowhere"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            anchors = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in anchors, f"{name}: {link}"


@pytest.mark.parametrize("name", NAMES)
def test_commands_parse(name):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for words in commands(ROOT / name):
        if words[0] == "galzoo":
            command, arguments = verb(words)
            context = command.make_context(command.name, arguments)
            if "recipe" in context.params and context.params["family"] in families():
                load_recipe(context.params["family"], context.params["recipe"], context.params["overrides"] or ())
        elif words[0] == "make":
            assert words[1] in targets, " ".join(words)
        for word in words:
            if word.startswith("scripts/"):
                assert (ROOT / word).is_file(), " ".join(words)
    for words in inline_commands(ROOT / name):
        command, arguments = verb(words)
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in arguments:
            assert not word.startswith("-") or word in options, " ".join(words)


def test_recipe_headers_give_commands_that_parse():
    for path in sorted((ROOT / "zoo_configs").glob("*/*.yaml")):
        lines = re.findall(r"^#.*?(galzoo (?:train|data).*)$", path.read_text(), re.M)
        for line in (part.strip() for text in lines for part in text.split("&&")):
            verb(shlex.split(line))


def test_readme_example_runs(tmp_path):
    """The README's Python, on one galaxy for each that it simulates there."""
    (code,) = blocks(ROOT / "README.md", "python")
    preset = re.search(r'galzoo.load\("(\w+)"\)', code)[1]
    if preset not in galzoo.list_presets():
        pytest.skip(f"preset {preset} is not made in this tree; run scripts/make_pretrained.py")
    run(code.replace("range(16)", "range(2)"), tmp_path)
    assert (tmp_path / "lsst.h5").is_file()


def test_data_example_runs(tmp_path):
    for code in blocks(ROOT / "docs" / "data.md", "python"):
        run(code, tmp_path)
    assert (tmp_path / "mine.h5").is_file()


@pytest.mark.parametrize(
    ("page", "module"), [("deblend", "galzoo.contracts.deblended"), ("detect", "galzoo.tasks.detect.measure")]
)
def test_tables_of_flags_have_every_bit(page, module):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    told = {name: int(bit) for bit, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.M)}
    assert told == importlib.import_module(module).FLAGS
