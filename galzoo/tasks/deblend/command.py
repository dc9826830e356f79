"""`galzoo deblend`: the sources of a field, taken apart."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo import options


def deblend(
    field: options.FieldFiles,
    output: options.Folder = Path("out"),
    preset: options.FieldPreset = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="A preset or run that is a prior over pixels: the answer is fitted again, pixel by pixel (slow).",
            autocompletion=options.complete_preset,
        ),
    ] = None,
    conform: Annotated[
        bool, typer.Option("--conform", help="Bring the field to the preset's pixels, up to four times finer ones too.")
    ] = False,
    method: Annotated[str, typer.Option(help="map, encoder (fast) or hmc (slow, samples).")] = "map",
    bands: options.Bands = None,
    names: options.Names = None,
    detector: Annotated[
        str | None,
        typer.Option(help="Preset that finds the sources, where it is sure.", autocompletion=options.complete_preset),
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="Positions of the sources; detected by default.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Column names where they are not known: x=X_IMAGE,y=Y_IMAGE or ra=...,dec=...")
    ] = None,
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
    threshold: Annotated[float, typer.Option(help="Least signal-to-noise of a detection.")] = 5.0,
    add_sources: Annotated[bool, typer.Option(help="Add sources where the residual asks for them.")] = True,
    tile: options.Tile = 1024,
    stamp_size: Annotated[int, typer.Option(help="Side of the stamps in pixels; 0 for none.")] = 64,
    report: options.Report = True,
    restart: options.Restart = False,
):
    """Deblend a field: catalogue, model and residual images, stamps, pictures and a report."""
    from galzoo.tasks.deblend.run import Settings, deblend_field

    settings = Settings(threshold, add_sources, tile, stamp_size, report)
    written = deblend_field(
        field,
        output,
        preset=preset,
        prior=prior,
        conform=conform,
        method=method,
        catalogue=catalog,
        detector=detector,
        columns=options.column_names(columns),
        psf=psf or None,
        seeing=seeing,
        settings=settings,
        progress=True,
        restart=restart,
        **options.field_options(
            bands, names, weight, rms, variance, flags, zero_point, pixel_scale, background, saturation
        ),
    )
    for path in written:
        sys.stdout.write(f"{path}\n")
