"""The data set `scenes`: drawn source by source by GalSim, or pasted from a bank of stamps where there are many."""

import inspect

import numpy as np

from galzoo.data import hdf5
from galzoo.data.scenes import Scenes
from galzoo.data.scenes_hdf5 import ScenesWriter
from galzoo.data.source import StampSource
from galzoo.data.splits import SPLITS
from galzoo.errors import InputError
from galzoo.progress import counter
from galzoo.simulate.scenes import make_scenes

_FAINT = 0.01
"""The image of a source alone is kept out to where it falls below this part of the noise of the sky in every band."""

_OWN = ("size", "sources", "window", "flux_range", "even_flux", "reference", "stars", "photons", "gain", "cutoff")
"""Arguments of `galzoo.layers.paste.PasteScenes` that are options."""


def make_scene_set(output, n=1000, bank=None, processes=None, progress=True, **options):
    """Make a scene file.

    Parameters
    ----------
    output : str or Path
        The file to make; it appears only when complete.
    n : int
        Number of scenes.
    bank : str or Path, optional
        Stamp file with ``truth``, ``variance`` and ``psf``: scenes are pasted from its galaxies (`paste_scenes`), which
        takes milliseconds a source where GalSim takes tens.
    processes : int, optional
        Without `bank`: worker processes, one for each core by default.
    progress : bool
        Show a bar.
    **options
        Without `bank` fields of `galzoo.simulate.scenes.SceneSpec`, with it arguments of `paste_scenes`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If an option is unknown or wrong.

    Examples
    --------
    >>> make_scene_set("blends.h5", n=500, survey="LSST", n_sources=(1, 4))               # doctest: +SKIP
    >>> make_scene_set("deep.h5", n=20, bank="lsst.h5", size=512, sources=(100, 300))     # doctest: +SKIP
    """
    if bank is None:
        return make_scenes(output, n, processes=processes, progress=progress, **options)
    known = [name for name in inspect.signature(paste_scenes).parameters if name not in ("output", "n", "bank")]
    odd = sorted({*options} - {*known, *_OWN})
    if odd:
        names = ", ".join(sorted({*known, *_OWN} - {"layer", "progress"}))
        raise InputError(f"scenes from a bank have no option {odd[0]!r}; they have {names}, and the bank says the rest")
    return paste_scenes(output, n, bank, progress=progress, **options)


def paste_scenes(
    output,
    n,
    bank,
    stamps=64,
    split="all",
    split_valid=0.1,
    split_test=0.1,
    split_seed=0,
    seed=0,
    progress=True,
    **layer,
):
    """Paste scenes of many sources from a bank of isolated stamps.

    Scene k depends on the options and on k alone. All galaxies of a scene are from one split.

    Parameters
    ----------
    output : str or Path
        The file to make; it appears only when complete.
    n : int
        Number of scenes.
    bank : str or Path
        Stamp file with ``truth``, ``variance`` and ``psf``.
    stamps : int
        Different stamps that are read for a scene; each may be shown several times.
    split : {"train", "valid", "test", "all"}
        Draw stamps of this split of the bank only; "all": each scene from one split, chosen by its number.
    split_valid, split_test, split_seed
        Arguments of `galzoo.data.splits.split_names`, which says in which split a stamp is.
    seed : int
        Another seed gives other scenes.
    progress : bool
        Show a bar.
    **layer
        Arguments of `galzoo.layers.paste.PasteScenes`: ``size``, ``sources``, ``stars``, ``flux_range`` and so on.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If an option is wrong, or the bank lacks truth, variance or PSF, or is not a stamp file.
    """
    from galzoo.layers.paste import PasteScenes

    if n < 1:
        raise InputError(f"n is {n}; give at least one scene")
    if split not in (*SPLITS, "all"):
        raise InputError(f"split {split!r} is unknown; use {', '.join(SPLITS)} or all")
    if hdf5.kind_of(bank) != "stamps":
        raise InputError(f"{bank}: holds {hdf5.kind_of(bank)}; a bank is a stamp file with truth, variance and psf")
    header = hdf5.read_header(bank)
    sigma = header["meta"].get("model_sigma", 0.7)
    try:
        paste = PasteScenes(bank=stamps, seed=seed, model_sigma=sigma, **layer)
    except (TypeError, ValueError) as error:
        raise InputError(f"scenes from a bank: {error}") from None
    options = {"valid": split_valid, "test": split_test, "seed": split_seed}
    chances = {"test": split_test, "valid": split_valid, "train": 1 - split_test - split_valid}
    wanted = [name for name, chance in chances.items() if chance > 0] if split == "all" else [split]
    keys = ("truth", "variance", "psf")
    sources = {name: StampSource(bank, keys, name, split_options=options) for name in wanted}
    columns = hdf5.read_columns(bank)
    with ScenesWriter(output) as writer, counter(n, f"{paste.size} px from {bank}", progress) as advance:
        for row in range(n):
            rng = np.random.default_rng([seed, row])
            one = str(rng.choice(wanted, p=[chances[name] for name in wanted])) if split == "all" else split
            writer.write(_pasted(paste, sources[one], columns, header, rng, f"scene-{seed}-{row}", one, row))
            advance(1)
    return writer.path


def _pasted(paste, source, columns, header, rng, name, split, row):
    """Return one scene as `Scenes`."""
    import keras

    from galzoo.data.in_graph import state_of

    places = rng.choice(len(source), paste.bank, replace=len(source) < paste.bank)
    batch = source.batch(places)
    generator = paste.seed_generator.state
    state = keras.ops.cast(state_of(paste.seed, row), generator.dtype)
    with keras.StatelessScope(state_mapping=[(generator, state)]):
        choice = paste.choose(batch)
        made = paste.paste(batch, choice)
    made = {key: keras.ops.convert_to_numpy(value) for key, value in made.items()}
    choice = {key: keras.ops.convert_to_numpy(value) for key, value in choice.items()}
    count = int(made["n_sources"][0])
    stamp = choice["stamp"][0, :count]
    rows, star = source.rows[places[stamp]], made["source_class"][0, :count] == 1
    sky = np.sqrt(made["variance"][0].min(axis=(0, 1)))
    cutouts, corners = _trimmed(made["source_images"][0, :count], made["corners"][0, :count], sky)
    table = _sources(made, count, header["bands"], columns, rows, star, choice["turn"][stamp])
    table |= {"cutout_x": corners[:, 0], "cutout_y": corners[:, 1]}
    catalogue = {"id": [name], "split": [split]}
    for key in ("gain", "sky"):
        catalogue |= {f"{key}_{band}": made[key][:, place] for place, band in enumerate(header["bands"])}
    return Scenes(
        made["image"],
        header["bands"],
        header["pixel_scale"],
        unit=header["unit"],
        variance=made["variance"],
        psf=made["psf"],
        segmentation=made["segmentation"],
        cutouts=cutouts,
        sources=table,
        catalogue=catalogue,
        survey=header["survey"],
        meta={"origin": "pasted", "paste": paste.get_config() | {"name": "paste"}},
    )


def _sources(made, count, bands, columns, rows, star, turn):
    """Return the columns of the table of sources."""
    import keras

    from galzoo.layers.geometry import turn_ellipticity

    table = {"scene": np.zeros(count, np.int32), "source": np.arange(count, dtype=np.int32)}
    table["parent"] = np.where(star, "", columns["id"][rows].astype(str)).astype(str)
    table["kind"] = np.where(star, "star", "galaxy")
    for axis, column in enumerate(("x", "y")):
        table[column] = made["positions"][0, :count, axis]
    for place, band in enumerate(bands):
        table[f"flux_{band}"] = made["flux"][0, :count, place]
    for place, column in enumerate(("box_x0", "box_y0", "box_x1", "box_y1")):
        table[column] = made["boxes"][0, :count, place]
    if "half_light_radius" in columns:
        table["half_light_radius"] = np.where(star, 0, columns["half_light_radius"][rows]).astype(np.float32)
    if {"e1", "e2"} <= columns.keys():
        e = np.where(star[:, None], 0, np.stack([columns["e1"][rows], columns["e2"][rows]], axis=-1))
        turned = keras.ops.convert_to_numpy(turn_ellipticity(e[:, None].astype("float32"), turn))[:, 0]
        table["e1"], table["e2"] = turned[:, 0], turned[:, 1]
    return table


def _trimmed(images, corners, sigma):
    """Return each image (source, y, x, band) cut to where it counts, and the pixel of the scene its first lies on."""
    found, places = [], np.zeros((len(images), 2), np.int32)
    for number, image in enumerate(images):
        above = np.any(np.abs(image) > _FAINT * sigma, axis=-1)
        y, x = np.nonzero(above) if above.any() else ([0], [0])
        window = np.s_[np.min(y) : np.max(y) + 1, np.min(x) : np.max(x) + 1]
        found.append(image[window])
        places[number] = corners[number] + [np.min(x), np.min(y)]
    return found, places
