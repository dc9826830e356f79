"""`galzoo sample`: galaxies from a prior, as any survey would see them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import BatchSize, Folder, Preset

MOST = 100_000
"""Most galaxies of one command: their images are held in memory. Other seeds give other galaxies."""


def sample(
    name: Preset,
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=MOST, help="How many galaxies.")] = 16,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--condition", "-c", help="What to draw: column=value or column=low:high; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other galaxies and noise.")] = 0,
    temperature: Annotated[
        float, typer.Option(min=0, help="Below 1 more typical galaxies, above 1 stranger ones.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k most probable codes only.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Above 1 conditions count for more than in the data; the preset's by default.")
    ] = None,
    survey: Annotated[str | None, typer.Option(help="Who looks, e.g. HSC; nobody by default.")] = None,
    bands: Annotated[str | None, typer.Option(help="Bands of the survey, comma-separated.")] = None,
    noise: Annotated[bool, typer.Option("--noise", help="Add the noise of the survey.")] = False,
    size: Annotated[int | None, typer.Option(min=1, help="Pixels on a side; the same field by default.")] = None,
    depth: Annotated[float, typer.Option(help="Exposure in units of the full survey's.")] = 1.0,
    psf: Annotated[list[Path] | None, typer.Option(help="An own PSF image, or one a band.")] = None,
    batch_size: BatchSize = 64,
    output: Folder = Path("out"),
):
    """Draw galaxies from a trained prior: stamps, FITS and a picture."""
    from galzoo.cards import magnitudes_of
    from galzoo.field.pieces import check_folder
    from galzoo.presets import load_card, load_for
    from galzoo.simulate.observe import observe, plan
    from galzoo.tasks.sample.run import class_names, parse_conditions, warnings_of, write_samples

    if survey is not None:
        from galzoo.simulate.surveys import get_survey

        # What is wrong with the command line is said before TensorFlow is loaded.
        get_survey(survey)
    check_folder(output, "sample", psf)
    if not temperature > 0:
        raise InputError(f"--temperature is {temperature}; give a number above 0")
    if not depth > 0:
        raise InputError(f"--depth is {depth}; give the exposure in units of the full survey's, above 0")
    if depth != 1.0 and not noise:
        raise InputError("--depth is how deep the noise is; add --noise, or leave it out")
    model = load_for("sample", name)
    plan(model, survey, bands, noise, psf, say=False)
    card = load_card(name, metrics=False)
    names = class_names(card)
    # Not every prior has these: what is asked for is passed on, and refused where it means nothing.
    usual = {"temperature": 1.0, "top_k": None, "guidance": None}
    asked = {"temperature": temperature, "top_k": top_k, "guidance": guidance}
    drawn = model.sample(
        number,
        condition=parse_conditions(conditions or (), model, number, seed, names) or None,
        seed=seed,
        batch_size=batch_size,
        progress=True,
        **{option: value for option, value in asked.items() if value != usual[option]},
    )
    stamps = observe(drawn, survey, bands, noise, size, seed, depth, psf or None)
    for path in write_samples(drawn, stamps, output, names):
        sys.stdout.write(f"{path}\n")
    asked_for = {text.partition("=")[0].strip() for text in conditions or ()}
    known = {"columns": model.columns, "bands": model.bands}
    known |= {key: getattr(model, key, None) for key in ("flux_column", "flux_band")}
    for column, band in magnitudes_of(known, card).items():
        if column in asked_for:
            sys.stdout.write(f"note: {column} is the AB magnitude in {band}\n")
    for sentence in warnings_of(card):
        sys.stdout.write(f"note: {sentence}\n")
