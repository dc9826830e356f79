"""Where recipes and presets lie (wheel, editable install or source tree); cores and memory of the machine."""

import mmap
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


def release(*arrays):
    """Take the pages of arrays that map files out of memory; they are read again where they are needed.

    The system would do so only when memory runs short, and until then count them to this process. Arrays that map no
    file, or systems that cannot do this, stay as they are. What was changed in a private copy of a file is lost.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    for array in arrays:
        while array is not None and not isinstance(array, mmap.mmap):
            array = getattr(array, "base", None)
        if array is not None:
            array.madvise(mmap.MADV_DONTNEED)
