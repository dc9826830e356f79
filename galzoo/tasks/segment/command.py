"""`galzoo segment`: the class of every pixel of a field."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import complete_preset


def segment(
    field: Annotated[
        list[str],
        typer.Argument(help="FITS: a cube, a file with an extension a band, or a file a band."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("out"),
    preset: Annotated[
        str | None,
        typer.Option(
            help="A preset, or the folder of a run; the packaged one that fits the bands by default.",
            autocompletion=complete_preset,
        ),
    ] = None,
    bands: Annotated[str | None, typer.Option(help="Names of the bands in the files, comma-separated.")] = None,
    names: Annotated[
        str | None, typer.Option("--as", help="What the preset calls each of --bands; - leaves one out.")
    ] = None,
    stride: Annotated[int, typer.Option(help="Pixels between windows; 1 is the published vote: exact, slow.")] = 7,
    threshold: Annotated[
        float, typer.Option(help="Most votes for the background of a pixel that is certainly a source's.")
    ] = 0.5,
    distance: Annotated[int, typer.Option(help="Peaks nearer than this many pixels are one source; 0: all.")] = 20,
    band: Annotated[str | None, typer.Option(help="Band that classes are weighted by; the preset's first.")] = None,
    weight: Annotated[list[str] | None, typer.Option(help="Weight map a band (inverse variance).")] = None,
    rms: Annotated[list[str] | None, typer.Option(help="Noise map a band.")] = None,
    variance: Annotated[list[str] | None, typer.Option(help="Variance map a band.")] = None,
    flags: Annotated[list[str] | None, typer.Option(help="Flag map; not 0 = bad.")] = None,
    zero_point: Annotated[
        str | None, typer.Option(help="AB zero point, or one a band, comma-separated, where headers have none.")
    ] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel, where the header has no WCS.")] = None,
    saturation: Annotated[float | None, typer.Option(help="Pixels of this value and above are saturated.")] = None,
    background: Annotated[bool, typer.Option(help="Subtract the sky, measured on a mesh.")] = True,
    tile: Annotated[int, typer.Option(help="Side of a tile in pixels; bounds the memory.")] = 1024,
    report: Annotated[bool, typer.Option(help="Draw pictures and write the report.")] = True,
):
    """Segment a field: class planes, segmentation, a catalogue with classes, pictures and a report."""
    from galzoo.tasks.segment.run import Settings, segment_field

    if names is not None and bands is None:
        raise InputError("--as renames --bands, which is not given; name the bands of the files first")
    written = segment_field(
        field,
        output,
        preset=preset,
        settings=Settings(stride, threshold, distance, band, tile, report),
        progress=True,
        bands=bands.split(",") if bands else None,
        names=names.split(",") if names else None,
        weight=weight,
        rms=rms,
        variance=variance,
        flags=flags,
        zero_point=_numbers(zero_point),
        pixel_scale=pixel_scale,
        subtract_sky=background,
        saturation=saturation,
    )
    for path in written:
        sys.stdout.write(f"{path}\n")


def _numbers(text):
    """Return a number, or a list of one a band; None as it is."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--zero-point is {text!r}; give an AB magnitude, or one a band, comma-separated") from None
    return values[0] if len(values) == 1 else values
