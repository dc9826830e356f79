"""`galzoo segment`: the class of every pixel of a field."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo import options


def segment(
    field: options.FieldFiles,
    output: options.Folder = Path("out"),
    preset: options.FieldPreset = None,
    bands: options.Bands = None,
    names: options.Names = None,
    stride: Annotated[
        int | None,
        typer.Option(help="Pixels between windows; 1 is the published vote: exact, slow. Small fields 1, others 7."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Most votes for the background of a pixel that is certainly a source's.")
    ] = 0.5,
    distance: Annotated[int, typer.Option(help="Peaks nearer than this many pixels are one source; 0: all.")] = 20,
    band: Annotated[str | None, typer.Option(help="Band that classes are weighted by; the preset's first.")] = None,
    weight: options.Weight = None,
    rms: options.Rms = None,
    variance: options.Variance = None,
    flags: options.Flags = None,
    zero_point: options.ZeroPoint = None,
    pixel_scale: options.PixelScale = None,
    saturation: options.Saturation = None,
    background: options.Background = True,
    tile: options.Tile = 1024,
    restart: options.Restart = False,
    report: options.Report = True,
):
    """Segment a field: class planes, segmentation, a catalogue with classes, pictures and a report."""
    from galzoo.tasks.segment.run import Settings, segment_field

    written = segment_field(
        field,
        output,
        preset=preset,
        settings=Settings(stride, threshold, distance, band, tile, report),
        progress=True,
        restart=restart,
        **options.field_options(
            bands, names, weight, rms, variance, flags, zero_point, pixel_scale, background, saturation
        ),
    )
    for path in written:
        sys.stdout.write(f"{path}\n")
