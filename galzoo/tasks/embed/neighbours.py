"""Galaxies like a given one, the strangest of a file, and the same galaxies in two surveys, with their pages."""

import re
from pathlib import Path

import numpy as np
from astropy.table import QTable

from galzoo.errors import InputError
from galzoo.files import write_table
from galzoo.tasks.embed.outliers import LatentDensity, ranked, usual_rows
from galzoo.viz.panels import panel, save

_LIKE, _STRANGEST, _PAIRS = 24, 32, 12


def rows_of(catalogue, names):
    """Return the row of each id (or, where no id is like it, row number) in a catalogue.

    Raises
    ------
    InputError
        If there is none.
    """
    n = len(catalogue)
    ids = [str(value) for value in catalogue["id"]] if "id" in catalogue.colnames else []
    rows = []
    for name in names:
        if str(name) in ids:
            rows.append(ids.index(str(name)))
        elif str(name).isdigit() and int(name) < n:
            rows.append(int(name))
        else:
            shown = f"ids such as {ids[0]}, or " if ids else ""
            raise InputError(f"no stamp {name!r}; name one of {shown}a row from 0 to {n - 1}")
    return rows


def nearest(features, row, number=_LIKE):
    """Return the rows most like one of them, nearest first, and their distances in the latent space.

    Parameters
    ----------
    features : array, (n, feature)
    row : int
    number : int
        How many, itself left out.
    """
    features = np.asarray(features, np.float64)
    if not 0 <= row < len(features):
        raise InputError(f"row is {row}; there are stamps 0 to {len(features) - 1}")
    distance = np.sqrt(((features - features[row]) ** 2).sum(axis=1))
    order = np.argsort(distance, kind="stable")
    order = order[order != row][:number]
    return order, distance[order]


def write_like(stamps, features, names, folder):
    """Write a page and a table of the stamps most like each of some; see `rows_of` for their names.

    Returns
    -------
    list of Path
        ``like_<name>.png`` and ``like_<name>.ecsv`` of each.
    """
    written = []
    for name, row in zip(names, rows_of(stamps.catalogue, names), strict=True):
        order, distance = nearest(features, row)
        path = Path(folder) / f"like_{re.sub(r'[^A-Za-z0-9.+-]+', '_', str(name))}.png"
        labels = ["this one", *(f"{value:.2f}" for value in distance)]
        save(panel(stamps, [row, *order], labels, columns=5, title=f"Most like {name}, by distance"), path)
        table = QTable(stamps.catalogue[order], copy=True)
        table["distance"] = distance
        written += [path, write_table(path.with_suffix(".ecsv"), table)]
    return written


def write_strangest(stamps, features, chi2, folder, seed=0):
    """Write a table of how strange every stamp is, and a page of the strangest by each score.

    Parameters
    ----------
    stamps : Stamps
    features : array, (n, feature)
    chi2 : array, (n,), or None
        A pixel, of the reconstruction.
    folder : Path
    seed : int

    Returns
    -------
    list of Path
        ``outliers.ecsv`` (``strangeness`` in nats, ``chi2_a_pixel``, and the share of stamps that are less strange by
        each), ``strangest_latent.png`` and, with chi2, ``strangest_chi2.png``.
    """
    density = LatentDensity(np.asarray(features)[usual_rows(stamps.catalogue, seed)], seed)
    scores = {"strangeness": density.strangeness(features)}
    if chi2 is not None:
        scores["chi2_a_pixel"] = chi2
    table, written = QTable(stamps.catalogue, copy=True), []
    for (name, values), word in zip(scores.items(), ("latent", "chi2"), strict=False):
        table[name], table[f"{name}_rank"] = values, ranked(values)
        order = np.argsort(-values, kind="stable")[:_STRANGEST]
        path = Path(folder) / f"strangest_{word}.png"
        title = {"latent": "Least dense in the latent space, nats", "chi2": "Worst reconstructed, chi2 a pixel"}[word]
        save(panel(stamps, order, [f"{value:.3g}" for value in values[order]], columns=8, title=title), path)
        written.append(path)
    table.meta["gaussians"] = int(density.mixture.n_components)
    return [write_table(Path(folder) / "outliers.ecsv", table), *written]


def pair_distances(first, second):
    """Measure how near the vectors of the same galaxies in two surveys are.

    Parameters
    ----------
    first, second : array, (n, feature)
        Row by row of the same galaxy.

    Returns
    -------
    distance : array, (n,)
        Of each pair, over the median distance of a galaxy and another one in the other survey.
    rank : int array, (n,)
        How many others of the second survey are nearer than the partner.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        raise InputError(f"vectors have the shapes {first.shape} and {second.shape}; give two or more pairs")
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    every = np.sqrt(np.maximum(square, 0))
    own = np.diag(every).copy()
    others = every[~np.eye(len(every), dtype=bool)]
    return own / max(float(np.median(others)), 1e-30), (every < own[:, None]).sum(axis=1)


def write_pairs(first, second, vectors, folder):
    """Write distances of pairs of stamps of two files, joined by id, and pages of the most and the least alike.

    Parameters
    ----------
    first, second : Stamps
        With a column ``id``.
    vectors : pair of arrays, (n, feature) and (m, feature)
    folder : Path

    Returns
    -------
    list of Path
        ``pairs.ecsv``, ``like.png``, ``dislike.png``.
    """
    for stamps in (first, second):
        if "id" not in stamps.catalogue.colnames:
            raise InputError("stamps have no column 'id', by which pairs are found")
    names = [np.asarray(stamps.catalogue["id"]).astype(str) for stamps in (first, second)]
    _, left, right = np.intersect1d(*names, return_indices=True)
    if len(left) < 2:
        raise InputError(f"{len(left)} ids are in both files; pairs need the same galaxies by the same id")
    distance, rank = pair_distances(vectors[0][left], vectors[1][right])
    order = np.argsort(distance, kind="stable")
    table = QTable({"id": names[0][left], "distance": distance, "rank": rank})[order]
    table.meta |= {"found_first": float(np.mean(rank == 0)), "median_distance": float(np.median(distance))}
    written = [write_table(Path(folder) / "pairs.ecsv", table)]
    for word, chosen in (("like", order[:_PAIRS]), ("dislike", order[::-1][:_PAIRS])):
        written.append(Path(folder) / f"{word}.png")
        save(_pairs_page(first[left[chosen]], second[right[chosen]], distance[chosen]), written[-1])
    return written


def _pairs_page(first, second, distance):
    from galzoo.viz.colour import to_rgb
    from galzoo.viz.panels import picture_grid

    columns = {}
    for stamps, name in ((first, first.survey or "first"), (second, second.survey or "second")):
        name = name if name not in columns else f"{name} (second)"
        columns[name] = [
            to_rgb(stamps.image[row], stamps.bands, None if stamps.variance is None else stamps.variance[row])
            for row in range(len(stamps))
        ]
    return picture_grid(columns, [f"{value:.2f}" for value in distance])
