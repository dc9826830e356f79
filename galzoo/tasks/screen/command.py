"""`galzoo screen`: which sources of a catalogue are likely blends."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import complete_preset


def screen(
    field: Annotated[
        list[str],
        typer.Argument(help="FITS: a cube, a file with an extension a band, or a file a band; the catalogue last."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("screened"),
    preset: Annotated[
        str | None,
        typer.Option(
            help="A preset, or the folder of a run; the packaged one by default.", autocompletion=complete_preset
        ),
    ] = None,
    prevalence: Annotated[float, typer.Option(help="Share of the catalogue's sources that are blends.")] = 0.2,
    passes: Annotated[int, typer.Option(help="Random passes of the network.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the passes.")] = 0,
    size: Annotated[int | None, typer.Option(help="Side of the stamps in pixels; that of training by default.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Column names where they are not known: id=...,ra=...,dec=...")
    ] = None,
    where: Annotated[str | None, typer.Option(help="Rows to screen, e.g. 'mag<24'; all mask their neighbours.")] = None,
    bands: Annotated[str | None, typer.Option(help="Names of the bands in the files, comma-separated.")] = None,
    names: Annotated[
        str | None, typer.Option("--as", help="What the preset calls each of --bands; - leaves one out.")
    ] = None,
    psf: Annotated[list[Path] | None, typer.Option(help="PSF image, one for all or one a band.")] = None,
    seeing: Annotated[float | None, typer.Option(help="FWHM of a Gaussian PSF in arcsec, without --psf.")] = None,
    weight: Annotated[list[str] | None, typer.Option(help="Weight map a band (inverse variance).")] = None,
    rms: Annotated[list[str] | None, typer.Option(help="Noise map a band.")] = None,
    variance: Annotated[list[str] | None, typer.Option(help="Variance map a band.")] = None,
    flags: Annotated[list[str] | None, typer.Option(help="Flag map; not 0 = bad.")] = None,
    zero_point: Annotated[float | None, typer.Option(help="AB zero point, where the header has none.")] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel, where the header has no WCS.")] = None,
    saturation: Annotated[float | None, typer.Option(help="Pixels of this value and above are saturated.")] = None,
    background: Annotated[bool, typer.Option(help="Subtract the sky, measured on a mesh.")] = True,
    report: Annotated[bool, typer.Option(help="Draw the page of suspicious stamps and write the report.")] = True,
):
    """Say how likely each source of a catalogue is an unrecognised blend."""
    from galzoo.tasks.screen.field import Settings, screen_field

    if len(field) < 2:
        raise InputError("give the image files and then the catalogue: galzoo screen FIELD.fits CATALOGUE")
    if names is not None and bands is None:
        raise InputError("--as renames --bands, which is not given; name the bands of the files first")
    pairs = [pair.partition("=") for pair in columns.split(",")] if columns else []
    if not all(sign and value for _, sign, value in pairs):
        raise InputError(f"--columns is {columns!r}; give pairs, e.g. ra=RA_ICRS,dec=DE_ICRS")
    written = screen_field(
        field[:-1],
        field[-1],
        output,
        preset=preset,
        settings=Settings(prevalence, passes, seed, size, where, report),
        columns={role: name for role, _, name in pairs} or None,
        psf=psf or None,
        seeing=seeing,
        bands=bands.split(",") if bands else None,
        names=names.split(",") if names else None,
        weight=weight,
        rms=rms,
        variance=variance,
        flags=flags,
        zero_point=zero_point,
        pixel_scale=pixel_scale,
        subtract_sky=background,
        saturation=saturation,
    )
    for path in written:
        sys.stdout.write(f"{path}\n")
