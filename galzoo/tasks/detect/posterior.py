"""Catalogues drawn from the posterior of a whole field, and how many stars its regions have."""

import h5py
import numpy as np
from astropy.table import QTable

from galzoo.contracts.catalogues import region_counts
from galzoo.field.pieces import save_piece
from galzoo.files import atomic_path, write_table
from galzoo.progress import counter

REGION = 64
"""Side in pixels of the squares in which stars are counted."""
# A region's count is given with the interval that holds the middle 90 % of the draws.
_LOW, _HIGH = 0.05, 0.95


def draw_field(finder, sample, n, folder, seed=0, progress=False):
    """Draw catalogues of a field, block by block, each a file of its own in `folder` that is made once.

    Parameters
    ----------
    finder : galzoo.tasks.detect.finders.DetectorFinder
        Knows the blocks and what is told of them.
    sample : callable
        ``sample(batch, n, seed) -> Catalogues`` in the bands of the field.
    n : int
        Catalogues.
    folder : Path
    seed : int
    progress : bool

    Returns
    -------
    list of Path
        One a block, with ``draw, x, y`` (star,) and ``flux`` (star, band), the draws in order, and ``star``, which are
        no galaxies, where the detector tells them apart.

    Notes
    -----
    Of the stars of a block those stay whose place is in its core. Blocks are those of a fixed grid, each with a seed of
    its own, so that what is drawn does not depend on the size of tiles.
    """
    height, width = finder.field.shape
    cores = finder.cores((0, height, 0, width))
    paths = [folder / f"drawn_{number:05d}.npz" for number in range(len(cores))]
    with counter(len(cores), "drawing catalogues", progress) as advance:
        for number, (core, path) in enumerate(zip(cores, paths, strict=True)):
            if not path.is_file():
                drawn = sample(
                    finder.batch([core]), n, int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
                )
                save_piece(path, _of_core(drawn, core, finder))
            advance(1)
    return paths


def _of_core(drawn, core, finder):
    """Return the stars of the one image of `drawn` that lie in a core; the field's edge keeps those beyond it."""
    y0, y1, x0, x1 = core
    height, width = finder.field.shape
    places = drawn.positions[:, 0] + [x0 - finder.margin, y0 - finder.margin]
    x, y = np.moveaxis(places, -1, 0)
    there = np.arange(x.shape[1]) < drawn.count[:, :1]
    with np.errstate(invalid="ignore"):
        there &= (x >= max(x0 - 0.5, -0.5)) & (x < min(x1, width) - 0.5)
        there &= (y >= max(y0 - 0.5, -0.5)) & (y < min(y1, height) - 0.5)
    draw = np.nonzero(there)[0]
    found = {
        "draw": draw.astype(np.int32), "x": x[there].astype(np.float32), "y": y[there].astype(np.float32),
        "flux": drawn.flux[:, 0][there].astype(np.float32),
    }  # fmt: skip
    return found if drawn.star is None else found | {"star": drawn.star[:, 0][there]}


def write_posterior(field, paths, n, output, region=REGION):
    """Write ``posterior.h5``, the catalogues drawn, and ``counts.ecsv``, how many stars regions have.

    Parameters
    ----------
    field : Field
    paths : list of Path
        Of `draw_field`.
    n : int
        Catalogues.
    output : Path
    region : int
        Side in pixels of the squares in which stars are counted.

    Returns
    -------
    list of Path

    Notes
    -----
    The HDF5 file has ``draw, x, y`` (star,) and ``flux`` (star, band) in nJy, with attributes ``bands, draws, unit``
    and ``shape``; stars of one catalogue are those of one number ``draw``. ``star`` says which are no galaxies, where
    the detector tells them apart. Blocks are copied one by one.
    """
    rows, columns = (-(-side // region) for side in field.shape)
    counts, total = np.zeros((n, rows, columns), int), np.zeros(n, int)
    written = [output / "posterior.h5", output / "counts.ecsv"]
    with atomic_path(written[0]) as path, h5py.File(path, "w") as file:
        kinds = {"draw": "i4", "x": "f4", "y": "f4"}
        if paths:
            with np.load(paths[0]) as first:
                kinds |= {"star": "?"} if "star" in first else {}
        sets = {key: file.create_dataset(key, (0,), kind, maxshape=(None,), chunks=(1 << 14,), compression="gzip")
                for key, kind in kinds.items()}  # fmt: skip
        bands = len(field.bands)
        sets["flux"] = file.create_dataset(
            "flux", (0, bands), "f4", maxshape=(None, bands), chunks=(1 << 14, bands), compression="gzip"
        )
        for piece in paths:
            with np.load(piece) as part:
                arrays = {key: part[key] for key in sets}
            for key, values in arrays.items():
                start = len(sets[key])
                sets[key].resize(start + len(values), axis=0)
                sets[key][start:] = values
            counts += _counted(arrays, n, field.shape, region)
            total += np.bincount(arrays["draw"], minlength=n)
        file.attrs["format"] = "galzoo-posterior"
        file.attrs.update({"bands": list(field.bands), "draws": n, "unit": "nJy", "shape": field.shape})
        file.create_dataset("count", data=total)
        file["count"].attrs["of"] = "stars of each draw"
    write_table(written[1], count_table(counts, field.shape, region))
    return written


def _counted(arrays, n, shape, region):
    """Return the stars of each draw in each region, (n, rows, columns)."""
    count = np.bincount(arrays["draw"], minlength=n)
    most = max(int(count.max(initial=0)), 1)
    positions = np.zeros((n, most, 2))
    order = np.arange(len(arrays["draw"])) - np.repeat(np.cumsum(count) - count, count)
    positions[arrays["draw"], order] = np.stack([arrays["x"], arrays["y"]], axis=-1)
    return region_counts(positions, count, shape, region)


def count_table(counts, shape, region):
    """Return the posterior of the number of stars as a table: a row for the field, and one a region."""
    n, rows, columns = counts.shape
    y, x = (index.ravel() * region for index in np.indices((rows, columns)))
    samples = np.concatenate([counts.sum(axis=(1, 2))[:, None], counts.reshape(n, -1)], axis=1)
    low, high = np.quantile(samples, (_LOW, _HIGH), axis=0)
    table = QTable({
        "x0": np.append(0, x), "y0": np.append(0, y), "x1": np.append(shape[1], np.minimum(x + region, shape[1])),
        "y1": np.append(shape[0], np.minimum(y + region, shape[0])), "mean": samples.mean(axis=0),
        "std": samples.std(axis=0), "low": low, "high": high,
    })  # fmt: skip
    said = {
        "x0": "first column of the region; the first row is the whole field",
        "y0": "first line",
        "x1": "column after the last",
        "y1": "line after the last",
        "mean": "mean number of stars over the draws",
        "std": "standard deviation",
        "low": "5 % of the draws have fewer",
        "high": "5 % have more",
    }
    for key, text in said.items():
        table[key].info.description = text
    table.meta["draws"] = n
    return table


def read_draw(path, draw):
    """Return one catalogue of ``posterior.h5``: positions (star, 2) and fluxes (star, band) in nJy."""
    with h5py.File(path) as file:
        chosen = file["draw"][:] == draw
        return np.stack([file["x"][:][chosen], file["y"][:][chosen]], axis=-1), file["flux"][:][chosen]
