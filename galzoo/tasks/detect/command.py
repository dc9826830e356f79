"""`galzoo detect`: the sources of a field."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import Saturation, ZeroPoint, complete_preset


def detect(
    field: Annotated[
        list[str],
        typer.Argument(help="FITS: a cube, a file with an extension a band, or a file a band."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("detected"),
    preset: Annotated[
        str | None,
        typer.Option(
            help="A preset, or the folder of a run; the classical detection by SEP by default.",
            autocompletion=complete_preset,
        ),
    ] = None,
    bands: Annotated[str | None, typer.Option(help="Names of the bands in the files, comma-separated.")] = None,
    names: Annotated[
        str | None, typer.Option("--as", help="What the preset calls each of --bands; - leaves one out.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Least probability; 0.5 is S/N 5 without a preset.")] = 0.5,
    psf: Annotated[list[Path] | None, typer.Option(help="PSF image, one for all or one a band.")] = None,
    seeing: Annotated[float | None, typer.Option(help="FWHM of a Gaussian PSF in arcsec, without --psf.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Catalogue of what is there: completeness and purity.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Its column names where they are not known: ra=...,dec=...,mag=...")
    ] = None,
    match: Annotated[float, typer.Option(help="Arcsec between a detection and the source that it is.")] = 1.0,
    inject: Annotated[int, typer.Option(help="Artificial sources to add and find again.")] = 0,
    inject_magnitudes: Annotated[
        str | None, typer.Option(help="Their AB magnitudes, e.g. 20,26; about the depth by default.")
    ] = None,
    inject_kind: Annotated[str, typer.Option(help="What they are: both, star or galaxy.")] = "both",
    samples: Annotated[
        int | None, typer.Option(help="Catalogues drawn from the posterior; 50 where the preset can.")
    ] = None,
    daophot: Annotated[bool, typer.Option("--daophot", help="Write the catalogue as ALLSTAR files too.")] = False,
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
    weight: Annotated[list[str] | None, typer.Option(help="Weight map a band (inverse variance).")] = None,
    rms: Annotated[list[str] | None, typer.Option(help="Noise map a band.")] = None,
    variance: Annotated[list[str] | None, typer.Option(help="Variance map a band.")] = None,
    flags: Annotated[list[str] | None, typer.Option(help="Flag map; not 0 = bad.")] = None,
    zero_point: ZeroPoint = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel, where the header has no WCS.")] = None,
    saturation: Saturation = None,
    background: Annotated[bool, typer.Option(help="Subtract the sky, measured on a mesh.")] = True,
    tile: Annotated[int, typer.Option(help="Side of a tile in pixels; bounds the memory.")] = 1024,
    coco: Annotated[bool, typer.Option("--coco", help="Write the masks as COCO JSON too.")] = False,
    report: Annotated[bool, typer.Option(help="Draw pictures and write the report.")] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew although a run is unfinished.")] = False,
):
    """Find the sources of a field: catalogue, instance map, regions, picture and report."""
    from galzoo.data.per_band import parse
    from galzoo.tasks.detect.iterate import detect_iterated
    from galzoo.tasks.detect.run import Settings, detect_field

    if names is not None and bands is None:
        raise InputError("--as renames --bands, which is not given; name the bands of the files first")
    if (residual or deblender) and not iterate:
        raise InputError(f"--{'residual' if residual else 'deblender'} is for --iterate; add --iterate or leave it out")
    settings = Settings(
        threshold, tile, coco, report, inject, _pair(inject_magnitudes), match=match,
        inject_kind=inject_kind, samples=samples, daophot=daophot,
    )  # fmt: skip
    options = {
        "preset": preset,
        "psf": psf or None,
        "seeing": seeing,
        "truth": truth,
        "columns": dict(pair.partition("=")[::2] for pair in columns.split(",")) if columns else None,
        "settings": settings,
        "progress": True,
        "restart": restart,
        "bands": bands.split(",") if bands else None,
        "names": names.split(",") if names else None,
        "weight": weight,
        "rms": rms,
        "variance": variance,
        "flags": flags,
        "zero_point": parse(zero_point, "--zero-point"),
        "pixel_scale": pixel_scale,
        "subtract_sky": background,
        "saturation": parse(saturation, "--saturation"),
        "gain": parse(gain, "--gain"),
    }
    if iterate:
        written = detect_iterated(field, output, residual=residual, deblender=deblender, rounds=rounds, **options)
    else:
        written = detect_field(field, output, **options)
    for path in written:
        sys.stdout.write(f"{path}\n")


def _pair(text):
    """Return the numbers of "20,26"."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--inject-magnitudes is {text!r}; give two numbers, e.g. 20,26") from None
