"""`galzoo data info`, `galzoo data cutouts`, `galzoo data align` and `galzoo data make`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.brief import counted
from galzoo.errors import InputError
from galzoo.files import check_hdf5
from galzoo.options import ZeroPoint, column_names, listed


def register(app):
    """Add the group `data` to the application."""
    group = typer.Typer(help="Make and look at data.", no_args_is_help=True, rich_markup_mode=None)
    for command in (info, cutouts, align, make):
        group.command()(command)
    app.add_typer(group, name="data")


def info(
    path: Annotated[Path, typer.Argument(help="Stamp or scene file (HDF5), or a FITS file.")],
    picture: Annotated[Path | None, typer.Option(help="Draw a panel of stamps or scenes, e.g. a.png.")] = None,
):
    """Say what a file holds, and draw a panel of stamps or scenes where asked."""
    from galzoo.data.info import describe
    from galzoo.data.tables import is_fits

    lines = describe(path)
    if picture is not None:
        if is_fits(path):
            raise InputError(f"{path}: is FITS, of which no panel is drawn; leave out --picture")
        from galzoo.viz.panels import draw_file

        draw_file(path, picture)
        lines.append(f"picture: {picture}")
    sys.stdout.write("\n".join(lines) + "\n")


def cutouts(
    mosaics: Annotated[list[str], typer.Argument(help="FITS mosaics or a picture; one file a band or file.fits[EXT].")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Stamp file to write (HDF5).")] = Path("stamps.h5"),
    catalog: Annotated[Path | None, typer.Option(help="Catalogue: FITS, ECSV, CSV or ASCII.")] = None,
    detect: Annotated[bool, typer.Option("--detect", help="Find the sources instead.")] = False,
    size: Annotated[int, typer.Option(help="Stamp size in pixels.")] = 64,
    bands: Annotated[str | None, typer.Option(help="Names of the bands, comma-separated.")] = None,
    weight: Annotated[list[str] | None, typer.Option(help="Weight map a band (inverse variance).")] = None,
    rms: Annotated[list[str] | None, typer.Option(help="Noise map a band.")] = None,
    segmentation: Annotated[str | None, typer.Option(help="Segmentation map.")] = None,
    flags: Annotated[str | None, typer.Option(help="Flag map; not 0 = bad.")] = None,
    psf: Annotated[list[Path] | None, typer.Option(help="PSF image a band.")] = None,
    zero_point: ZeroPoint = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel, where the header has no WCS.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Column names where they are not known: x=X_IMAGE,y=Y_IMAGE or ra=...,dec=...")
    ] = None,
    where: Annotated[str | None, typer.Option(help="Rows to keep, e.g. 'mag<24'.")] = None,
):
    """Cut stamps of catalogued or detected sources out of mosaics."""
    from galzoo.data.per_band import parse
    from galzoo.field.cutouts import cutouts_from_files

    if (catalog is None) == (not detect):
        raise InputError("give either --catalog FILE or --detect")
    # Before sources are looked for.
    check_hdf5(output)
    count = cutouts_from_files(
        mosaics,
        output,
        size=size,
        catalogue=catalog,
        bands=listed(bands, "--bands"),
        weight=weight,
        rms=rms,
        segmentation=segmentation,
        flags=flags,
        psf=psf,
        zero_point=parse(zero_point, "--zero-point"),
        pixel_scale=pixel_scale,
        columns=column_names(columns),
        where=where,
        progress=True,
    )
    sys.stdout.write(f"{counted(count, 'stamp')} in {output}\n")


def align(
    images: Annotated[list[str], typer.Argument(help="FITS images, one a band; the first says the pixels.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (FITS).")],
    bands: Annotated[str | None, typer.Option(help="Names of the bands; FILTER of the headers by default.")] = None,
):
    """Bring images of one sky onto the pixels of the first."""
    from galzoo.field.align import align as bring

    names = bring(images, output, listed(bands, "--bands"), progress=True)
    sys.stdout.write(f"{', '.join(names)} in {output}\n")


def make(
    name: Annotated[str, typer.Argument(help="A named data set; see galzoo list.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (HDF5).")],
    options: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the data set: key=value, repeatable; value in YAML.")
    ] = None,
):
    """Make a named data set."""
    from galzoo.data.build_dataset import make_named, parse_options
    from galzoo.registry import get_dataset

    count = make_named(name, output, parse_options(options or ()))
    sys.stdout.write(f"{count} {get_dataset(name).kind} in {output}\n")
