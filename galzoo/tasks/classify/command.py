"""`galzoo classify`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import BatchSize, Conform, Folder, Report, complete_preset


def classify(
    preset: Annotated[
        str,
        typer.Argument(
            help="A preset or run that encodes, to fit a classifier on; or the folder of a fitted classifier.",
            autocompletion=complete_preset,
        ),
    ],
    stamps: Annotated[Path, typer.Argument(help="Stamp file (HDF5).")],
    output: Folder = Path("classified"),
    column: Annotated[str | None, typer.Option(help="Column of the labels, in --labels or the stamps.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Table of labels: FITS, VOTable, ECSV, CSV; rows by id, else by order.")
    ] = None,
    match: Annotated[str | None, typer.Option(help="Column that rows are matched by, instead of id.")] = None,
    unknown: Annotated[list[str] | None, typer.Option(help="Value that means not known; repeatable.")] = None,
    least: Annotated[int, typer.Option(help="Classes with fewer labels are left out.")] = 5,
    method: Annotated[str, typer.Option(help="linear, knn, forest, or finetune (trains the encoder too).")] = "linear",
    prior: Annotated[
        str, typer.Option(help="Frequencies of classes: labels, as among the labels; equal, all alike.")
    ] = "labels",
    test: Annotated[float, typer.Option(help="Share of the labelled objects held out to be scored on.")] = 0.2,
    views: Annotated[int | None, typer.Option(help="Orientations averaged over, 1 to 8; each costs as much.")] = None,
    depth: Annotated[
        str | None,
        typer.Option(
            help="What is learnt from: levels, the maps that lead to an encoder's vector (default), or the vector."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Of finetune, at most.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of what is held out, folds and training.")] = 0,
    batch_size: BatchSize = 64,
    report: Report = True,
    conform: Conform = False,
):
    """Learn classes from a table of labels and give every stamp calibrated probabilities."""
    from galzoo.field.pieces import check_folder
    from galzoo.tasks.classify.saved import is_classifier

    check_folder(output, "classify", stamps, labels)
    if is_classifier(preset):
        if column is not None or labels is not None:
            raise InputError(f"{preset} is a fitted classifier, which takes no labels; name a preset to fit another")
        written, lines = _apply(preset, stamps, output, views, depth, batch_size, report, conform)
    else:
        if column is None:
            raise InputError("--column names the labels to learn, and is not given; a fitted classifier needs none")
        chosen = {"method": method, "prior": prior, "test": test, "views": views or 8, "seed": seed, "epochs": epochs}
        chosen["depth"] = depth
        told = {"unknown": unknown or (), "least": least}
        written, lines = _fit(preset, stamps, output, column, labels, match, told, chosen, batch_size, report, conform)
    for line in [*map(str, written), *lines]:
        sys.stdout.write(f"{line}\n")


def _fit(preset, path, output, column, labels, match, told, chosen, batch_size, report, conform):
    from galzoo.data.stamps import Stamps
    from galzoo.domain import in_domain
    from galzoo.errors import UnknownNameError
    from galzoo.presets import card_for, load_for, model_checksum
    from galzoo.tasks.classify.labels import labels_of, read_labels

    roles = ("model", "prior", "encoder")
    card = card_for("classify", preset, *roles)
    data = Stamps.load(path)
    # Wrong labels should not cost the time of the model.
    if labels is not None:
        known = read_labels(labels, column, data.catalogue, match=match, **told)
    elif column in data.catalogue.colnames:
        known = labels_of(data.catalogue[column], name=f"{path}: {column}", **told)
    else:
        raise UnknownNameError.of("column", column, data.catalogue.colnames)
    data = in_domain(data, card, conform)
    # Nor should wrong bands.
    from galzoo.tasks.classify.products import write_products
    from galzoo.tasks.classify.run import fit, usual_depth
    from galzoo.tasks.classify.saved import save_classifier

    model = load_for("classify", preset, *roles)
    chosen["depth"] = chosen["depth"] or usual_depth(model, chosen["method"])
    result = fit(model, data, known, batch_size=batch_size, progress=True, **chosen)
    about = {"encoder": preset, "file": str(path), "labels": str(labels or path), "column": column}
    about |= {name: chosen[name] for name in ("views", "depth", "seed")}
    sha = {"sha256": model_checksum(preset), "bands": list(data.bands)}
    written = [
        *write_products(data, result, output, about, report),
        *save_classifier(result.classifier, output, about | sha),
    ]
    found = result.metrics
    lines = [f"note: {note}" for note in result.notes]
    for name in ("balanced_accuracy", "accuracy", "nll", "ece"):
        error, of = found[f"{name}_error"], f"{found['n']} stamps {found['of']}"
        lines.append(f"{name:<18} {found[name]:.3f} ± {error:.3f} ({of})")
    lines += [
        f"{row['class']:<18} found {row['found']:.2f} of {row['n']}, pure {row['pure']:.2f}" for row in found["classes"]
    ]
    return written, lines


def _apply(folder, path, output, views, depth, batch_size, report, conform):
    from galzoo.data.stamps import Stamps
    from galzoo.domain import in_domain
    from galzoo.presets import load_card
    from galzoo.tasks.classify.products import write_products
    from galzoo.tasks.classify.run import classify as run
    from galzoo.tasks.classify.saved import encoder_of, load_classifier

    if output.resolve() == Path(folder).resolve():
        raise InputError(f"{output}: is the folder of the classifier; write elsewhere (-o)")
    classifier, about = load_classifier(folder)
    data = Stamps.load(path)
    if about.get("encoder"):
        data = in_domain(data, load_card(about["encoder"], metrics=False), conform)
    model = None if classifier.kind == "finetune" else encoder_of(about, folder)
    views, fitted = views or about.get("views", 8), about.get("depth", "vector")
    if depth not in (None, fitted):
        raise InputError(f"{folder}: was fitted with --depth {fitted}, not {depth}; leave --depth out")
    result = run(model, data, classifier, views, batch_size, progress=True, depth=fitted)
    said = {"classifier_folder": str(folder), "encoder": about.get("encoder"), "file": str(path), "views": views}
    given = [(name, int((result.chosen == number).sum())) for number, name in enumerate(result.names)]
    return write_products(data, result, output, said, report), [f"{name:<18} {count}" for name, count in given]
