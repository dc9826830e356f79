"""`galzoo screen`: which sources of a catalogue are likely blends."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo import options
from galzoo.errors import InputError


def screen(
    field: Annotated[
        list[str],
        typer.Argument(help="FITS: a cube, a file with an extension a band, or a file a band; the catalogue last."),
    ],
    output: options.Folder = Path("screened"),
    preset: options.FieldPreset = None,
    prevalence: Annotated[float, typer.Option(help="Share of the catalogue's sources that are blends.")] = 0.2,
    passes: Annotated[int, typer.Option(help="Random passes of the network.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of the passes.")] = 0,
    size: Annotated[int | None, typer.Option(help="Side of the stamps in pixels; that of training by default.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Column names where they are not known: id=...,ra=...,dec=...")
    ] = None,
    where: Annotated[str | None, typer.Option(help="Rows to screen, e.g. 'mag<24'; all mask their neighbours.")] = None,
    bands: options.Bands = None,
    names: options.Names = None,
    psf: options.Psf = None,
    seeing: options.Seeing = None,
    weight: options.Weight = None,
    rms: options.Rms = None,
    variance: options.Variance = None,
    flags: options.Flags = None,
    zero_point: options.ZeroPoint = None,
    pixel_scale: options.PixelScale = None,
    saturation: options.Saturation = None,
    background: options.Background = True,
    report: Annotated[bool, typer.Option(help="Draw the page of suspicious stamps and write the report.")] = True,
):
    """Say how likely each source of a catalogue is an unrecognised blend."""
    from galzoo.tasks.screen.field import Settings, screen_field

    if len(field) < 2:
        raise InputError("give the image files and then the catalogue: galzoo screen FIELD.fits CATALOGUE")
    written = screen_field(
        field[:-1],
        field[-1],
        output,
        preset=preset,
        settings=Settings(prevalence, passes, seed, size, where, report),
        columns=options.column_names(columns),
        psf=psf or None,
        seeing=seeing,
        **options.field_options(
            bands, names, weight, rms, variance, flags, zero_point, pixel_scale, background, saturation
        ),
    )
    for path in written:
        sys.stdout.write(f"{path}\n")
