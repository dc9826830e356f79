"""Making data sets by name; `galzoo.registry.datasets` finds them."""

import hashlib
import inspect
import json
import os
from pathlib import Path

from galzoo.contents import digests, files_of
from galzoo.data.open_source import read_header
from galzoo.errors import InputError
from galzoo.files import check_hdf5, expanded
from galzoo.registry import get_dataset
from galzoo.values import check_numbers


def make_named(name, output, options=None):
    """Make a named data set.

    Parameters
    ----------
    name : str
        One of `galzoo.registry.datasets`.
    output : str or Path
        The file to make.
    options : dict, optional
        Arguments of the builder.

    Returns
    -------
    int
        Number of stamps or scenes.

    Raises
    ------
    UnknownNameError
        If there is no such data set.
    InputError
        If an option is unknown or one is missing.
    """
    function = get_dataset(name).builder()
    options = dict(options or {})
    known = {key: value for key, value in inspect.signature(function).parameters.items() if key != "output"}
    # A builder with free keywords (the simulator's specification) checks them itself.
    free = any(value.kind is inspect.Parameter.VAR_KEYWORD for value in known.values())
    odd = sorted(set(options) - set(known))
    if odd and not free:
        raise InputError(f"data set {name}: no option {odd[0]!r}; it has {', '.join(known)}")
    empty, keywords = inspect.Parameter.empty, inspect.Parameter.VAR_KEYWORD
    needed = {key for key, value in known.items() if value.default is empty and value.kind is not keywords}
    lacking = sorted(needed - set(options))
    if lacking:
        raise InputError(f"data set {name}: option {lacking[0]!r} is needed; give --set {lacking[0]}=...")
    check_numbers(options, {key: value.default for key, value in known.items()}, f"data set {name}")
    for path in files_of(options):
        if os.path.realpath(path) == os.path.realpath(output):
            raise InputError(f"{path}: is read, and would be written over; name another --output")
    check_hdf5(output)
    function(output=output, **options)
    return read_header(output)["n"]


def parse_options(pairs):
    """Turn ``key=value`` texts into a dict, the values read as YAML."""
    from galzoo.values import parse_value

    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InputError(f"option {pair!r} is not key=value; write e.g. --set size=64")
        try:
            options[key.strip()] = parse_value(text)
        except ValueError as error:
            raise InputError(f"option {pair!r}: {text!r} cannot be read as YAML ({error}); quote it") from None
    return options


def prepare(data):
    """Return the file of a recipe's data section, made first where it is a named data set.

    Parameters
    ----------
    data : object
        With ``path``, ``name`` and ``options``, as `galzoo.recipe.Data`.

    Returns
    -------
    Path
        A named data set lies in the cache (GALZOO_CACHE, or ~/.cache/galzoo), one file for each set of options.
    """
    if data.path is not None:
        return Path(expanded(data.path))
    path = cache_file(data.name, data.options)
    if not path.exists():
        make_named(data.name, path, data.options)
    return path


def cache_file(name, options):
    """Return where data of a name and some options lie in the cache, whether they are there or not.

    Other contents of the files that the options name are other data.
    """
    files = list(digests(options).values())
    text = json.dumps([name, options, files] if files else [name, options], sort_keys=True, default=str)
    root = Path(os.environ.get("GALZOO_CACHE") or Path.home() / ".cache" / "galzoo")
    return root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.h5"
