"""`galzoo embed`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import BatchSize, Conform, Folder, Preset

# Columns that are told best, printed at the end.
_SAID = 8


def embed(
    preset: Preset,
    stamps: Annotated[Path, typer.Argument(help="Stamp file (HDF5).")],
    output: Folder = Path("out"),
    method: Annotated[str, typer.Option(help="tsne, umap (needs umap-learn) or pca.")] = "tsne",
    colour: Annotated[
        list[str] | None,
        typer.Option(help="Catalogue column to colour by; repeatable. The best told by default."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many stamps, drawn at random by --seed.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, the map and the scores.")] = 0,
    perplexity: Annotated[float, typer.Option(help="About how many neighbours count; not for pca.")] = 30.0,
    batch_size: BatchSize = 64,
    depth: Annotated[
        str, typer.Option(help="What of an encoder is mapped: vector, or levels, the maps that led to it.")
    ] = "vector",
    like: Annotated[
        list[str] | None, typer.Option(help="Id or row of a galaxy: a page of those most like it; repeatable.")
    ] = None,
    outliers: Annotated[
        bool, typer.Option("--outliers", help="Score how strange each is; pages of the strangest.")
    ] = False,
    pairs: Annotated[
        Path | None, typer.Option(help="Stamps of the same galaxies (same id) in another survey: how near pairs are.")
    ] = None,
    conform: Conform = False,
):
    """Map stamps by what a model finds alike, and show what its codes stand for."""
    from galzoo.data import hdf5
    from galzoo.data.stamps import Stamps
    from galzoo.domain import in_domain
    from galzoo.field.pieces import check_folder
    from galzoo.presets import card_for, load_for
    from galzoo.viz.columns import read_column

    if limit is not None and limit < 3:
        raise InputError(f"--limit is {limit}; a map needs at least 3 stamps")
    check_folder(output, "embed", stamps, pairs)
    data = Stamps.load(stamps, _rows(hdf5.read_header(stamps)["n"], limit, seed))
    card = card_for("embed", preset, "model", "prior", "encoder")
    data = in_domain(data, card, conform)
    other = None if pairs is None else in_domain(Stamps.load(pairs), card, conform)
    # Wrong bands and names should not cost the time of TensorFlow and the model.
    for name in colour or ():
        read_column(data.catalogue, name)
    from galzoo.inference.stamp_features import features
    from galzoo.tasks.embed.neighbours import rows_of, write_like, write_pairs, write_strangest
    from galzoo.tasks.embed.outliers import chi2_a_pixel
    from galzoo.tasks.embed.run import embed as run
    from galzoo.tasks.embed.run import write_embedding

    rows_of(data.catalogue, like or ())
    model = load_for("embed", preset, "model", "prior", "encoder")
    result = run(model, data, method, seed, perplexity, batch_size, progress=True, depth=depth)
    about = {"model": preset, "file": str(stamps), "depth": depth}
    written = write_embedding(data, result, output, colour, about)
    written += write_like(data, result.features, like or (), output)
    if outliers:
        written += write_strangest(data, result.features, chi2_a_pixel(model, data, batch_size, True), output, seed)
    if other is not None:
        vectors = result.features, features(model, other, batch_size, progress=True, depth=depth)[0]
        written += write_pairs(data, other, vectors, output)
    for path in written:
        sys.stdout.write(f"{path}\n")
    for line in _told(output / "summary.json", result.notes):
        sys.stdout.write(f"{line}\n")


def _rows(n, limit, seed):
    import numpy as np

    if limit is None or limit >= n:
        return slice(None)
    # Files are often sorted by origin, so the first stamps would not stand for the rest.
    return np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))


def _told(path, notes):
    """Yield lines that say what should be known without opening a file."""
    import json

    yield from (f"note: {note}" for note in notes)
    for row in json.loads(path.read_text(encoding="utf-8"))["knows"][:_SAID]:
        yield f"{row['column']:<24} R2 {row['r2']:.2f} ± {row['r2_error']:.2f} ({row['n']} stamps)"
