"""Where recipes and presets lie (in the wheel, an editable install or a source tree), and how many cores there are."""

import os
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _folder(name):
    inside = _HERE / name
    # A wheel carries the folder inside the package; a source tree and an editable install have it beside.
    return inside if inside.is_dir() else _HERE.parent / name


def configs_dir():
    """Return the folder of recipes and survey files (``zoo_configs``)."""
    return _folder("zoo_configs")


def pretrained_dir():
    """Return the folder of packaged presets (``pretrained``)."""
    return _folder("pretrained")


def cores():
    """Return the number of cores that this process may use."""
    # Not every system can keep a process to some of them.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
