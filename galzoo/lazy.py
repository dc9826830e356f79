"""Public names that are imported when they are first used, so that importing a package never waits for a back end."""

import importlib


def publish(package, places):
    """Return ``__getattr__`` and ``__dir__`` for a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    places : dict of str to str
        Public name to the module that has it.
    """

    def __getattr__(name):
        if name in places:
            return getattr(importlib.import_module(places[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__, lambda: sorted(places)
