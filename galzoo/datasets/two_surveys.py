"""Two surveys in one file, each stamp with the survey that it is of: what domain adaptation learns from."""

from galzoo.errors import InputError
from galzoo.registry import DataSet

DATASET = DataSet(
    name="two_surveys",
    title="stamps of two surveys, or of one and its shifted half, with the survey of each",
    build="galzoo.datasets.two_surveys:make_two_surveys",
    kind="stamps",
)


def make_two_surveys(output, source, target=None, shift=None, where=None, size=None, test=0.1, valid=0.1, seed=0):
    """Join stamps of two surveys.

    Parameters
    ----------
    output : str or Path
        The stamp file to make.
    source, target : str or Path
        Stamp files with the same bands and unit. Without a target half of the source's galaxies are it, by their
        ``id``; a shift is then needed.
    shift : dict, optional
        What is done to the target: ``fwhm, noise, scale, stretch`` as in `galzoo.simulate.survey_shift.shift_survey`.
    where : str, optional
        Rows of both to keep, e.g. ``"label>=0"``.
    size : int, optional
        Pixels on a side; the smaller of both stamps by default. Larger stamps lose their rim.
    test, valid : float
        Fractions of galaxies kept for testing and validation; those of one ``id`` are in one of them.
    seed : int
        Of the halves and of the shift's noise.

    Returns
    -------
    int
        Number of stamps.

    Raises
    ------
    InputError
        If the files do not fit each other, there is nothing to tell the surveys apart, or a survey has no stamps.

    Notes
    -----
    Adds the columns ``domain`` (0 source, 1 target) and ``split``; columns that only one survey has are dropped. The
    pixel scale of the file is the source's.
    """
    import dataclasses

    import numpy as np

    from galzoo.data.splits import split_names
    from galzoo.data.stamps import Stamps
    from galzoo.simulate.survey_shift import shift_survey

    if target is None and not shift:
        raise InputError("two_surveys: give target, a second stamp file, or shift, what is done to half of the source")
    first = _chosen(Stamps.load(source), where)
    if target is None:
        half = split_names({"id": first.catalogue["id"]}, valid=0.0, test=0.5, seed=seed + 1) == "test"
        parts = [first[~half], first[half]]
    else:
        parts = [first, _chosen(Stamps.load(target), where)]
    for part, path in zip(parts, (source, target or source), strict=True):
        if not len(part):
            raise InputError(f"{path}: no stamps for one of the two surveys; give a larger file or another 'where'")
    if shift:
        parts[1] = shift_survey(parts[1], **shift, seed=seed)
    side = size or min(min(part.shape) for part in parts)
    meta = {"origin": [str(source), str(target or source)], "shift": shift or {}}
    for number, part in enumerate(parts):
        part = dataclasses.replace(_middle(part, side), pixel_scale=first.pixel_scale, meta=meta)
        part.catalogue["domain"] = np.full(len(part), number, np.int32)
        parts[number] = part
    joined = Stamps.concatenate(parts)
    # Mixed, so that batches of validation, which are not shuffled, have stamps of both.
    joined = joined[np.random.default_rng(seed).permutation(len(joined))]
    names = {"id": joined.catalogue["id"]}
    joined.catalogue["split"] = split_names(names, valid=valid, test=test, seed=seed)
    joined.save(output)
    return len(joined)


def _chosen(stamps, where):
    from galzoo.data.where import passing

    return stamps if where is None else stamps[passing(stamps.catalogue, where)]


def _middle(stamps, side):
    """Return stamps with the central `side` pixels."""
    from galzoo.data.crop import crop_stamps

    if min(stamps.shape) < side:
        raise InputError(f"stamps of {stamps.shape} pixels have no {side} on a side; give a smaller size")
    return crop_stamps(stamps, side)
