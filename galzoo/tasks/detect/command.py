"""`galzoo detect`: the sources of a field."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo import options
from galzoo.errors import InputError


def detect(
    field: options.FieldFiles,
    output: options.Folder = Path("detected"),
    preset: Annotated[
        str | None,
        typer.Option(
            help="A preset, or the folder of a run; the classical detection by SEP by default.",
            autocompletion=options.complete_preset,
        ),
    ] = None,
    bands: options.Bands = None,
    names: options.Names = None,
    threshold: Annotated[float, typer.Option(help="Least probability; 0.5 is S/N 5 without a preset.")] = 0.5,
    psf: options.Psf = None,
    seeing: options.Seeing = None,
    truth: Annotated[Path | None, typer.Option(help="Catalogue of what is there: completeness and purity.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Its column names where they are not known: ra=...,dec=...,mag=...")
    ] = None,
    match: Annotated[float, typer.Option(help="Arcsec between a detection and the source that it is.")] = 1.0,
    inject: Annotated[int, typer.Option(help="Artificial sources to add and find again.")] = 0,
    inject_magnitudes: Annotated[
        str | None,
        typer.Option(metavar=options.PAIR, help="Their AB magnitudes, e.g. 20,26.5; about the depth by default."),
    ] = None,
    inject_kind: Annotated[str, typer.Option(help="What they are: both, star or galaxy.")] = "both",
    samples: Annotated[
        int | None, typer.Option(help="Catalogues drawn from the posterior; 50 where the preset can.")
    ] = None,
    daophot: Annotated[bool, typer.Option("--daophot", help="Write the catalogue as ALLSTAR files too.")] = False,
    refine: Annotated[
        bool, typer.Option("--refine", help="Fit the stars that the preset found together, to the pixels.")
    ] = False,
    faintest: Annotated[
        float | None, typer.Option(help="AB magnitude of the faintest star that counts, in the preset's first band.")
    ] = None,
    wake: Annotated[
        bool, typer.Option("--wake", help="Fit the PSF and the sky to the field by the stars that the preset finds.")
    ] = False,
    gain: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Electrons per unit of the file: 4.6, or r=4.6,i=5.2.")
    ] = None,
    iterate: Annotated[
        bool, typer.Option("--iterate", help="Deblend, look into the residual, and again until nothing new is found.")
    ] = False,
    residual: Annotated[
        str | None, typer.Option(help="Preset that looks into the residual; galzoo deblend's second look by default.")
    ] = None,
    deblender: Annotated[str | None, typer.Option(help="Preset that deblends for --iterate.")] = None,
    rounds: Annotated[int, typer.Option(help="Most rounds of --iterate.")] = 4,
    weight: options.Weight = None,
    rms: options.Rms = None,
    variance: options.Variance = None,
    flags: options.Flags = None,
    zero_point: options.ZeroPoint = None,
    pixel_scale: options.PixelScale = None,
    saturation: options.Saturation = None,
    background: options.Background = True,
    tile: options.Tile = 1024,
    coco: Annotated[bool, typer.Option("--coco", help="Write the masks as COCO JSON too.")] = False,
    report: options.Report = True,
    restart: options.Restart = False,
):
    """Find the sources of a field: catalogue, instance map, regions, picture and report."""
    from galzoo.tasks.detect.iterate import detect_iterated
    from galzoo.tasks.detect.run import Settings, detect_field

    if (residual or deblender) and not iterate:
        raise InputError(f"--{'residual' if residual else 'deblender'} is for --iterate; add --iterate or leave it out")
    settings = Settings(
        threshold, tile, coco, report, inject, options.pair(inject_magnitudes, "--inject-magnitudes"), match=match,
        inject_kind=inject_kind, samples=samples, daophot=daophot, refine=refine, faintest=faintest, wake=wake,
    )  # fmt: skip
    asked = {
        "preset": preset,
        "psf": psf or None,
        "seeing": seeing,
        "truth": truth,
        "columns": options.column_names(columns),
        "settings": settings,
        "progress": True,
        "restart": restart,
        **options.field_options(
            bands, names, weight, rms, variance, flags, zero_point, pixel_scale, background, saturation, gain
        ),
    }
    if iterate:
        written = detect_iterated(field, output, residual=residual, deblender=deblender, rounds=rounds, **asked)
    else:
        written = detect_field(field, output, **asked)
    for path in written:
        sys.stdout.write(f"{path}\n")
