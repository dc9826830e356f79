"""What suites measure on: objects that training never saw, of the user's files or simulated anew."""

import logging
from pathlib import Path

import numpy as np

from galzoo.brief import counted
from galzoo.data import hdf5
from galzoo.data.splits import split_names
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError

logger = logging.getLogger(__name__)

# Fewer stamps tell nothing of a median and its error.
LEAST = 5
# Enough for a fifth, the held-out splits, to give errors of a few percent; a minute or two to simulate.
_NEW_STAMPS, _NEW_SEED = 3000, 1000


def stamp_file(request):
    """Return the one stamp file of a suite's request: the user's, or new stamps where the recipe simulates its own.

    Raises
    ------
    InputError
        If several are given, or none for a model of the user's data.
    """
    if len(request.files) > 1:
        raise InputError(f"this suite is of one file; leave out --data {request.files[1]}")
    return request.files[0] if request.files else new_stamps(request.recipe["data"], request.card["name"])


def refuse_real(request, why):
    """Raise `InputError` where observed images are given to a suite that has no use for them; `why` says so."""
    if request.real:
        raise InputError(f"{why}; leave out --real {request.real[0]}")


def new_stamps(data, name):
    """Return a file of stamps simulated for evaluation, by a recipe's data section but with another seed."""
    from galzoo.data.build_dataset import prepare
    from galzoo.recipe import Data

    if data["name"] != "simulated":
        raise InputError(f"{name} was trained on data of yours; give them with --data")
    options = usable_options(data["options"], name)
    options |= {"n": _NEW_STAMPS, "seed": options.get("seed", 0) + _NEW_SEED}
    return prepare(Data(**{**data, "path": None, "options": options}))


def usable_options(options, name):
    """Return a simulation's options without what is not on this machine, and say in the log what is left out.

    Parameters
    ----------
    options : dict
        Of a recipe that simulates its data.
    name : str
        Of the preset.
    """
    absent = [key for key in ("catalogue", "real_galaxies") if options.get(key) and not Path(options[key]).exists()]
    kept = {key: value for key, value in options.items() if key not in absent}
    if kept.get("real_fraction", 0) > 0 and not kept.get("real_galaxies"):
        share = 100 * kept.pop("real_fraction")
        logger.warning(
            "%s: the real galaxies that were %g %% of its training are not here; it is judged on simulated ones alone, "
            "so its numbers differ from the card's; give --data to judge it on others",
            *(name, share),
        )
    if "catalogue" in absent:
        logger.warning("%s: %s is not here; the built-in galaxies take its place", name, options["catalogue"])
    return kept


def held_out(path, split, options, limit=None, once=False):
    """Return the `Stamps` of one split of a file, at most `limit` of them, evenly spread through it.

    With `once`, a galaxy that is there several times, as one id, counts once. Of the split "test" the log says how many
    there are; `InputError` where they are too few to judge on.
    """
    columns = hdf5.read_columns(path)
    rows = np.flatnonzero(split_names(columns, **options) == split)
    if split == "test" and len(rows):
        say_held_out(path, len(rows), len(columns["id"]), least=LEAST)
    if once:
        rows = rows[np.sort(np.unique(columns["id"][rows], return_index=True)[1])]
    if not len(rows):
        raise InputError(
            f"{path}: no stamp in split {split!r}; use the file that the model was trained on, or a larger one"
        )
    return some(path, rows, limit)


def say_held_out(path, found, total, kind="stamp", least=1):
    """Say in the log how many of a file's objects are held out; `InputError` where they are fewer than `least`."""
    said = f"{path}: {found} of {counted(total, kind)} {'is' if found == 1 else 'are'} held out, split 'test'"
    if found < least:
        raise InputError(
            f"{said}: too few to judge on; give {least} or more, of a larger file, or with a column 'split' that is "
            "'test' for all that training did not see"
        )
    logger.warning("%s", said)


def some(path, rows=None, limit=None):
    """Return the `Stamps` of some rows of a file, at most `limit` of them, evenly spread."""
    rows = np.arange(hdf5.read_header(path)["n"]) if rows is None else rows
    return Stamps.load(path, evenly(rows, limit))


def parents_of(stamps):
    """Return the numbers of the galaxies that stamps are of, (n,), by their ``id``; None where each is of its own.

    Errors of stamps of one galaxy go together, as where few real galaxies are rotated: the bootstrap draws galaxies.
    """
    if "id" not in stamps.catalogue.colnames:
        return None
    galaxies, number = np.unique(np.asarray(stamps.catalogue["id"]).astype(str), return_inverse=True)
    return number if len(galaxies) < len(stamps) else None


def evenly(rows, limit=None):
    """Return at most `limit` of `rows`, evenly spread."""
    if limit is None or limit >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).astype(int)]
