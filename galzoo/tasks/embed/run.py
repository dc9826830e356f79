"""See the latent space: a map of stamps that look alike to a model, what it knows of each, and what its codes mean."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
from astropy.table import QTable

from galzoo.data.batches import stamps_batch
from galzoo.errors import InputError, MissingDependencyError, UnknownNameError
from galzoo.evaluate.held_out import parents_of
from galzoo.files import write_json, write_table
from galzoo.inference.stamp_features import cell_radius, codec_of, features
from galzoo.layers.flux import noise_level
from galzoo.metrics.codebook import code_counts, codebook_usage, perplexity_of_counts
from galzoo.tasks.embed.latent_scores import NEAR, code_usage, per_use, scores, telling

METHODS = ("tsne", "umap", "pca")
# Principal components that t-SNE and UMAP start from: the rest is noise, and distances cost less.
_COMPONENTS = 50


@dataclasses.dataclass
class Embedding:
    """Where a model puts some stamps.

    Parameters
    ----------
    xy : array, (n, 2)
        The map: near each other is alike. Axes of t-SNE and UMAP mean nothing; those of PCA are its components.
    features : array, (n, feature)
        What the map was made from; see `features`.
    method : {"tsne", "umap", "pca"}
    seed : int
    codes : int array, (n, y, x), optional
        One code a cell. This and the next four are None for a model that gives one vector a stamp.
    codebook_size : int, optional
    cell : int, optional
        Pixels along a cell.
    patches : array, (K, 3 cell, 3 cell, band), optional
        What each code decodes to, with its surroundings, averaged over its uses; in noise levels, NaN where never used.
    noise : array, (band,), optional
        Median noise level of the stamps, in their unit.
    perplexity : float, optional
        As used (t-SNE; for UMAP its number of neighbours).
    explained_variance : list of float, (2,), optional
        Share of the features' variance in each axis (PCA).
    notes : list of str
        What a reader should be told, such as a perplexity that was lowered.
    """

    xy: np.ndarray
    features: np.ndarray
    method: str
    seed: int
    codes: np.ndarray | None = None
    codebook_size: int | None = None
    cell: int | None = None
    patches: np.ndarray | None = None
    noise: np.ndarray | None = None
    perplexity: float | None = None
    explained_variance: list | None = None
    notes: list = dataclasses.field(default_factory=list)


def embed(model, stamps, method="tsne", seed=0, perplexity=30.0, batch_size=64, progress=False, depth="vector"):
    """Put stamps on a map on which those that the model finds alike are near each other.

    Parameters
    ----------
    model, stamps, batch_size, progress, depth
        As for `features`.
    method : {"tsne", "umap", "pca"}
        UMAP needs umap-learn.
    seed : int
    perplexity : float
        How many neighbours count, about; lowered to a third of the stamps where there are few. Not for PCA.

    Returns
    -------
    Embedding

    Raises
    ------
    InputError
        If there are fewer than 3 stamps, or all have the same features.
    UnknownNameError
        If the method is unknown.
    MissingDependencyError
        If UMAP is not installed.
    """
    if method not in METHODS:
        raise UnknownNameError.of("method", method, METHODS)
    if not perplexity >= 1:
        raise InputError(f"perplexity is {perplexity}; give 1 or more, such as 30")
    if len(stamps) < 3:
        raise InputError(f"{len(stamps)} stamps; a map needs at least 3")
    if method == "umap":
        _umap()
    described, codes = features(model, stamps, batch_size, progress, depth=depth)
    place = {"tsne": _tsne, "umap": _place_umap, "pca": _pca}[method]
    xy, extra = place(_varying(described), seed, perplexity)
    if method == "pca":
        extra["explained_variance"] = [float(share) for share in xy.var(axis=0) / described.var(axis=0).sum()]
    if codes is not None:
        codec, stamps = codec_of(model, stamps)
        extra["patches"], extra["noise"] = _patches(codec, stamps, codes, batch_size)
        extra |= {"codes": codes, "cell": _cell(stamps.shape, codes)}
        extra["codebook_size"] = int(codec.quantizer.codebook_size)
    return Embedding(xy, described, method, seed, **extra)


def write_embedding(stamps, embedding, folder, colour=None, about=None):
    """Write an embedding into a folder.

    Parameters
    ----------
    stamps : Stamps
        What was embedded.
    embedding : Embedding
    folder : str or Path
        Made if absent.
    colour : sequence of str, optional
        Catalogue columns that colour the pictures and are summed up for each code; by default the three that the
        latent space tells best, those left out that say the same as another.
    about : dict, optional
        Written into the summary as it is, e.g. the name of the model.

    Returns
    -------
    list of Path
        ``embedding.ecsv`` (the catalogue with ``latent_x`` and ``latent_y``), ``embedding.png`` and ``summary.json``
        (with `scores`, which are in the table's meta as well); of a model with codes also ``codes.ecsv`` (see
        `code_usage`) and ``codes.png``.

    Raises
    ------
    UnknownNameError
        If a column is not there.
    InputError
        If the embedding is of other stamps.
    """
    from galzoo.viz.columns import read_column
    from galzoo.viz.latent import codes_figure, embedding_figure
    from galzoo.viz.panels import save

    if len(embedding.xy) != len(stamps):
        raise InputError(f"the embedding is of {len(embedding.xy)} stamps, given are {len(stamps)}")
    for name in colour or ():
        read_column(stamps.catalogue, name)
    known = scores(embedding.features, embedding.xy, stamps.catalogue, embedding.seed, parents_of(stamps))
    columns = [read_column(stamps.catalogue, name) for name in colour or telling(known, stamps.catalogue)]
    folder = Path(folder)
    summary = {**(about or {}), "method": embedding.method, "seed": embedding.seed, "stamps": len(stamps)}
    summary |= {key: getattr(embedding, key) for key in ("perplexity", "explained_variance", "notes")}
    if embedding.codes is not None:
        summary["codebook"] = codebook_usage(embedding.codes, embedding.codebook_size, seed=embedding.seed)
        near = code_counts(embedding.codes[:, cell_radius(embedding.codes.shape[1:]) < NEAR], embedding.codebook_size)
        summary["codebook"]["perplexity_near"] = float(perplexity_of_counts(near))
    summary["knows"] = known

    table = QTable(stamps.catalogue, copy=True)
    table["latent_x"], table["latent_y"] = np.asarray(embedding.xy, np.float64).T
    table.meta["latent_space"] = {key: value for key, value in summary.items() if key != "codebook"}
    paths = [write_table(folder / "embedding.ecsv", table)]
    if embedding.codes is not None:
        told = {column.name: column.plain for column in columns}
        usage = code_usage(embedding.codes, told, embedding.codebook_size)
        usage.meta["cell_pixels"] = embedding.cell
        paths.append(write_table(folder / "codes.ecsv", usage))
    paths.append(folder / "embedding.png")
    save(embedding_figure(stamps, embedding, columns, known), paths[-1])
    if embedding.codes is not None:
        paths.append(folder / "codes.png")
        save(codes_figure(stamps, embedding, usage, columns), paths[-1])
    paths.append(folder / "summary.json")
    write_json(paths[-1], summary)
    return paths


def _cell(shape, codes):
    """Return the pixels along a cell, a power of two, of stamps of `shape`."""
    return 2 ** round(np.log2(shape[0] / codes.shape[1]))


def _varying(described):
    """Return the features' principal components, strongest first; at least two columns."""
    centred = described - described.mean(axis=0)
    if np.abs(centred).max() < 1e-9:
        raise InputError("the model describes all stamps alike, so there is nothing to map; is it trained?")
    from sklearn.decomposition import PCA

    components = PCA(min(_COMPONENTS, *centred.shape), svd_solver="full").fit(centred)
    total = centred.var(axis=0, ddof=1).sum()
    parts = components.transform(centred)[:, components.explained_variance_ > 1e-12 * total]
    # PCA starts of t-SNE and UMAP need two dimensions even where there is one.
    return np.pad(parts, ((0, 0), (0, max(0, 2 - parts.shape[1]))))


def _pca(parts, seed, perplexity):
    # They are principal components already, so neither seed nor neighbours matter.
    return parts[:, :2], {}


def _tsne(parts, seed, perplexity):
    from sklearn.manifold import TSNE

    perplexity, notes = _lowered(perplexity, len(parts), max(1.0, (len(parts) - 1) / 3))
    xy = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(parts)
    return xy, {"perplexity": perplexity, "notes": notes}


def _place_umap(parts, seed, perplexity):
    neighbours, notes = _lowered(perplexity, len(parts), len(parts) - 1)
    neighbours = max(2, round(neighbours))
    # A seed makes umap single-threaded, and it warns unless that is what was asked for.
    mapper = _umap().UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1)
    return mapper.fit_transform(parts), {"perplexity": float(neighbours), "notes": notes}


def _lowered(perplexity, n, most):
    if perplexity <= most:
        return float(perplexity), []
    return float(most), [f"perplexity lowered from {perplexity:g} to {most:.3g}: there are only {n} stamps"]


def _umap():
    try:
        import umap
    except ImportError:
        raise MissingDependencyError(
            "method 'umap' needs umap-learn: pip install umap-learn, or use --method tsne"
        ) from None
    return umap


def _patches(codec, stamps, codes, batch_size):
    """Return what each code decodes to on average, (K, 3 cell, 3 cell, band) in noise levels, and the median noise."""
    from scipy.sparse import csr_array

    size, cell, bands = int(codec.quantizer.codebook_size), _cell(stamps.shape, codes), len(stamps.bands)
    side, totals, levels = 3 * cell, 0.0, []
    for start in range(0, len(codes), batch_size):
        batch = stamps_batch(stamps, slice(start, start + batch_size))
        levels.append(keras.ops.convert_to_numpy(noise_level(batch["variance"], batch.get("mask"))))
        shown = codes[start : start + batch_size]
        image = keras.ops.convert_to_numpy(codec.decode(shown, np.ones((len(shown), 1, 1, bands), "float32")))
        # Averaged on the asinh scale, or a few bright galaxies would speak for the code.
        padded = np.pad(np.arcsinh(image), ((0, 0), (cell, cell), (cell, cell), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::cell, ::cell]
        windows = np.moveaxis(windows, 3, -1).reshape(shown.size, -1)
        ones = np.ones(shown.size, np.float32), (shown.ravel(), np.arange(shown.size))
        totals = totals + csr_array(ones, shape=(size, shown.size)) @ windows
    mean = np.sinh(per_use(totals, code_counts(codes, size)[:, None]))
    return mean.reshape(size, side, side, bands), np.median(np.concatenate(levels)[:, 0, 0], axis=0)
