"""Imports go down the floors of the package only; what is imported inside a function counts too."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "galzoo"
# From the top down; a module belongs to the longest of these that its name begins with.
FLOORS = (
    ("cli", "__main__"),
    ("tasks",),
    ("cards",),
    ("evaluate",),
    (
        "train",
        "parts",
        "callbacks",
        "runtime",
        "snapshot",
        "bundle",
        "presets",
        "packaged_preset",
        "pack",
        "options",
        "interop",
        "selftest",
        "probes",
        "cite",
        "domain",
    ),
    ("inference", "field", "datasets"),
    ("models",),
    ("simulate", "viz"),
    ("data", "layers", "metrics"),
    ("registry", "recipe"),
    ("contracts",),
    ("files", "values", "contents", "brief", "errors", "resources", "progress", "lazy", "derivatives", "precision"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# Arrows that still go up, "importer -> imported": no new ones, and this set only shrinks.
UPWARD = set()


def module_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports():
    """Return module -> the modules of the package that it imports, wherever in the file it does."""
    found = {}
    for module, path in MODULES.items():
        found[module] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                # "from package import module" and "from module import name".
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in MODULES else node.module for name in names]
            found[module] |= {name for name in names if name in MODULES and name != module}
    return found


def floor_of(module):
    """Return the floor's number, None for the package itself, which hands names of any floor out."""
    parts = module.split(".")
    return FLOOR[parts[1]] if len(parts) > 1 else None


def test_every_module_has_a_floor():
    assert {module.split(".")[1] for module in MODULES if "." in module} <= set(FLOOR)


def test_imports_go_down_only():
    up = {
        f"{module} -> {other}"
        for module, others in imports().items()
        for other in others
        if module != "galzoo" and other != "galzoo" and floor_of(other) < floor_of(module)
    }
    assert up <= UPWARD, f"new arrows that go up: {sorted(up - UPWARD)}"
    assert up >= UPWARD, f"mended; take out of UPWARD: {sorted(UPWARD - up)}"


def test_no_circle():
    left = {module: set(others) for module, others in imports().items()}
    while True:
        leaves = {module for module, others in left.items() if not others}
        if not leaves:
            break
        left = {module: others - leaves for module, others in left.items() if module not in leaves}
    assert not left, f"modules that import each other, or such: {sorted(left)}"
