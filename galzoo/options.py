"""Arguments and options that several commands share, and the completion of names in a shell."""

from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.files import check_folder_name


def complete_preset(incomplete: str):
    """Return the presets whose names begin so."""
    from galzoo.presets import list_presets

    return [name for name in list_presets() if name.startswith(incomplete)]


def complete_family(incomplete: str):
    """Return the families whose names begin so."""
    from galzoo.registry import list_families

    return [name for name in list_families() if name.startswith(incomplete)]


def complete_recipe(context: typer.Context, incomplete: str):
    """Return the recipes whose names begin so, of the family that was typed before."""
    from galzoo.recipe import list_recipes
    from galzoo.registry import families

    family = context.params.get("family")
    return [name for name in list_recipes(family) if name.startswith(incomplete)] if family in families() else []


def complete_suite(incomplete: str):
    """Return the suites whose names begin so."""
    from galzoo.registry import suites

    return [name for name in suites() if name.startswith(incomplete)]


Preset = Annotated[
    str,
    typer.Argument(help="Name of a preset, or the folder of a preset or run.", autocompletion=complete_preset),
]
Conform = Annotated[
    bool, typer.Option("--conform", help="Bring the stamps to the preset's bands and pixels, where they have others.")
]
ZeroPoint = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="AB zero point, where the header has none: 27 for all bands, or one a band: g=27,r=27.1.",
    ),
]
Saturation = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Pixels of this value and above, in the unit of the file, are saturated; for all bands or g=6e4,r=5e4.",
    ),
]


def _folder(path: Path):
    check_folder_name(path)
    return path


Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", callback=_folder)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder or file to write.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Stamps at a time; bounds the memory.")]
Report = Annotated[bool, typer.Option(help="Draw pictures and write the report.")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew although a run is unfinished.")]
Tile = Annotated[int, typer.Option(help="Side of a tile in pixels; bounds the memory.")]

PAIR = "LOW,HIGH"
"""Metavar of options that take two numbers; see `pair` and `galzoo.cli.pairs`."""

# What commands that take a field are told of it.
FieldFiles = Annotated[
    list[str], typer.Argument(help="FITS: a cube, a file with an extension a band, or a file a band.")
]
FieldPreset = Annotated[
    str | None,
    typer.Option(
        help="A preset, or the folder of a run; the packaged one that fits by default.", autocompletion=complete_preset
    ),
]
Bands = Annotated[str | None, typer.Option(help="Names of the bands in the files, comma-separated.")]
Names = Annotated[str | None, typer.Option("--as", help="What the preset calls each of --bands; - leaves one out.")]
Psf = Annotated[list[Path] | None, typer.Option(help="PSF image, one for all or one a band.")]
Seeing = Annotated[float | None, typer.Option(help="FWHM of a Gaussian PSF in arcsec, without --psf.")]
Weight = Annotated[list[str] | None, typer.Option(help="Weight map a band (inverse variance).")]
Rms = Annotated[list[str] | None, typer.Option(help="Noise map a band.")]
Variance = Annotated[list[str] | None, typer.Option(help="Variance map a band.")]
Flags = Annotated[list[str] | None, typer.Option(help="Flag map; not 0 = bad.")]
PixelScale = Annotated[float | None, typer.Option(help="Arcsec per pixel, where the header has no WCS.")]
Background = Annotated[bool, typer.Option(help="Subtract the sky, measured on a mesh.")]


def field_options(
    bands, names, weight, rms, variance, flags, zero_point, pixel_scale, background, saturation, gain=None
):
    """Return what `galzoo.field.open_field.open_field` is told, from options as typed.

    Raises
    ------
    InputError
        If one of them cannot be read.
    """
    from galzoo.data.per_band import parse

    if names is not None and bands is None:
        raise InputError("--as renames --bands, which is not given; name the bands of the files first")
    return {
        "bands": listed(bands, "--bands"),
        "names": listed(names, "--as"),
        "weight": weight,
        "rms": rms,
        "variance": variance,
        "flags": flags,
        "zero_point": parse(zero_point, "--zero-point"),
        "pixel_scale": pixel_scale,
        "subtract_sky": background,
        "saturation": parse(saturation, "--saturation"),
        **({} if gain is None else {"gain": parse(gain, "--gain")}),
    }


def listed(text, option):
    """Return the names of "g, r"; None as it is.

    Raises
    ------
    InputError
        If one is empty.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option} is {text!r}; give names, comma-separated, e.g. g,r,i")
    return names


def column_names(text):
    """Return the roles of columns, role to name, of "ra=RA_ICRS,dec=DE_ICRS"; None as it is.

    Raises
    ------
    InputError
        If it does not read so.
    """
    if text is None:
        return None
    pairs = [[part.strip() for part in pair.partition("=")] for pair in text.split(",")]
    if not all(role and name for role, _, name in pairs):
        raise InputError(f"--columns is {text!r}; give pairs, e.g. ra=RA_ICRS,dec=DE_ICRS")
    roles = [role for role, _, _ in pairs]
    doubled = next((role for role in roles if roles.count(role) > 1), None)
    if doubled is not None:
        raise InputError(f"--columns names {doubled} twice; give each role one column")
    return {role: name for role, _, name in pairs}


def pair(text, option, example="18,25.5"):
    """Return the two numbers of "18,25.5" or "18:25.5"; None as it is.

    Parameters
    ----------
    text : str or None
    option : str
        Its name, for errors.
    example : str
        Of the option; where there are whole numbers in it, whole numbers are asked for.

    Raises
    ------
    InputError
        If it does not read so.
    """
    if text is None:
        return None
    from galzoo.values import split_numbers

    numbers, whole = split_numbers(text), "." not in example
    if len(numbers) != 2 or (whole and not all(number.is_integer() for number in numbers)):
        raise InputError(f"{option} is {text!r}; give two {'whole ' * whole}numbers, LOW,HIGH, e.g. {example}")
    return tuple(map(int, numbers)) if whole else tuple(numbers)
