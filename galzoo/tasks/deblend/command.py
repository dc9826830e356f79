"""`galzoo deblend`: the sources of a field, taken apart."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import Saturation, ZeroPoint, complete_preset


def deblend(
    field: Annotated[
        list[str],
        typer.Argument(help="FITS: a cube, a file with an extension a band, or a file a band."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("out"),
    preset: Annotated[
        str | None,
        typer.Option(
            help="A preset, or the folder of a run; the packaged one that fits by default.",
            autocompletion=complete_preset,
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="A preset or run that is a prior over pixels: the answer is fitted again, pixel by pixel (slow).",
            autocompletion=complete_preset,
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="map, encoder (fast) or hmc (slow, samples).")] = "map",
    bands: Annotated[str | None, typer.Option(help="Names of the bands in the files, comma-separated.")] = None,
    names: Annotated[
        str | None, typer.Option("--as", help="What the preset calls each of --bands; - leaves one out.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="Preset that finds the sources, where it is sure.", autocompletion=complete_preset),
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="Positions of the sources; detected by default.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Column names where they are not known: x=X_IMAGE,y=Y_IMAGE or ra=...,dec=...")
    ] = None,
    psf: Annotated[list[Path] | None, typer.Option(help="PSF image, one for all or one a band.")] = None,
    seeing: Annotated[float | None, typer.Option(help="FWHM of a Gaussian PSF in arcsec, without --psf.")] = None,
    weight: Annotated[list[str] | None, typer.Option(help="Weight map a band (inverse variance).")] = None,
    rms: Annotated[list[str] | None, typer.Option(help="Noise map a band.")] = None,
    variance: Annotated[list[str] | None, typer.Option(help="Variance map a band.")] = None,
    flags: Annotated[list[str] | None, typer.Option(help="Flag map; not 0 = bad.")] = None,
    zero_point: ZeroPoint = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel, where the header has no WCS.")] = None,
    saturation: Saturation = None,
    background: Annotated[bool, typer.Option(help="Subtract the sky, measured on a mesh.")] = True,
    threshold: Annotated[float, typer.Option(help="Least signal-to-noise of a detection.")] = 5.0,
    add_sources: Annotated[bool, typer.Option(help="Add sources where the residual asks for them.")] = True,
    tile: Annotated[int, typer.Option(help="Side of a tile in pixels; bounds the memory.")] = 1024,
    stamp_size: Annotated[int, typer.Option(help="Side of the stamps in pixels; 0 for none.")] = 64,
    report: Annotated[bool, typer.Option(help="Draw pictures and write the report.")] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew although a run is unfinished.")] = False,
):
    """Deblend a field: catalogue, model and residual images, stamps, pictures and a report."""
    from galzoo.data.per_band import parse
    from galzoo.tasks.deblend.run import Settings, deblend_field

    settings = Settings(threshold, add_sources, tile, stamp_size, report)
    if names is not None and bands is None:
        raise InputError("--as renames --bands, which is not given; name the bands of the files first")
    written = deblend_field(
        field,
        output,
        preset=preset,
        prior=prior,
        method=method,
        catalogue=catalog,
        detector=detector,
        columns=dict(pair.partition("=")[::2] for pair in columns.split(",")) if columns else None,
        psf=psf or None,
        seeing=seeing,
        settings=settings,
        progress=True,
        restart=restart,
        bands=bands.split(",") if bands else None,
        names=names.split(",") if names else None,
        weight=weight,
        rms=rms,
        variance=variance,
        flags=flags,
        zero_point=parse(zero_point, "--zero-point"),
        pixel_scale=pixel_scale,
        subtract_sky=background,
        saturation=parse(saturation, "--saturation"),
    )
    for path in written:
        sys.stdout.write(f"{path}\n")
