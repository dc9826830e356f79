"""Opening a field from FITS in all its forms: a cube, extensions, a file a band, or a pattern of names."""

import os
import warnings
from pathlib import Path

from galzoo.data.bands import checked
from galzoo.data.fits import open_mosaic
from galzoo.data.per_band import one_a_band
from galzoo.data.planes import is_band, is_generic, is_picture
from galzoo.errors import InputError
from galzoo.field.field import Field
from galzoo.files import expanded


def open_field(
    paths, bands=None, names=None, weight=None, rms=None, variance=None, flags=None, zero_point=None, pixel_scale=None,
    subtract_sky=True, saturation=None, gain=None,
):  # fmt: skip
    """Open a field: a cube, a file with an extension a band, one file a band, or a pattern with ``{band}``.

    Parameters
    ----------
    paths : path or sequence of paths
        ``field_{band}.fits`` stands for a file of each of `bands`.
    bands : sequence of str, optional
        Names in the files, in their order; extension names, or FILTER in the headers, by default.
    names : sequence of str, optional
        What the model calls each of them; "-" leaves a band out.
    weight, rms, variance : path or sequence of paths, optional
        Inverse variance, standard deviation or variance in the unit of the image. At most one kind.
    flags : path or sequence of paths, optional
        Not 0 = bad; one for all bands, or one a band.
    zero_point, pixel_scale
        As in `galzoo.data.fits.open_mosaic`.
    subtract_sky, saturation, gain
        As in `Field`.

    Returns
    -------
    Field

    Raises
    ------
    InputError
        If a file is missing, damaged, or does not fit the others.
    """
    kinds = {"weight": weight or None, "rms": rms or None, "variance": variance or None}
    given = [kind for kind, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"both {given[0]} and {given[1]} maps given; give one kind")
    paths = as_list(paths)
    if bands is None and len(paths) == 1 and "{band}" not in paths[0]:
        bands = _extension_names(paths[0])
    paths = expand(paths, bands)
    if names is not None:
        if bands is None or len(names) != len(bands):
            raise InputError(f"--as has {len(names)} names for {len(bands or ())} bands; give one a name in --bands")
        if len(paths) == len(bands):
            keep = [index for index, name in enumerate(names) if name != "-"]
        elif "-" in names:
            raise InputError(f"{paths[0]}: a layer of a cube cannot be left out; give one file or extension a band")
        else:
            keep = list(range(len(names)))
        paths = [paths[index] for index in keep] if len(paths) == len(bands) else paths
        kinds = {kind: _pick(expand(as_list(value), bands), keep, len(bands)) for kind, value in kinds.items()}
        flags = _pick(expand(as_list(flags), bands), keep, len(bands))
        zero_point, saturation, gain = (
            _kept(value, keep, bands, what)
            for value, what in ((zero_point, "zero points"), (saturation, "saturation levels"), (gain, "gains"))
        )
        bands, names = [bands[index] for index in keep], [names[index] for index in keep]
    else:
        kinds = {kind: expand(as_list(value), bands) for kind, value in kinds.items()}
        flags = expand(as_list(flags), bands)
    checked(names or bands or (), *paths[:1])
    mosaic = open_mosaic(
        paths,
        bands,
        **{kind: value or None for kind, value in kinds.items()},
        flags=flags or None,
        zero_point=zero_point,
        pixel_scale=pixel_scale,
        unit="nJy",
    )
    try:
        return Field(mosaic, names, subtract_sky, saturation, gain=gain)
    except BaseException:
        mosaic.close()
        raise


def as_list(paths):
    """Return paths as a list of strings; empty for None."""
    if paths is None:
        return []
    return [expanded(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def expand(paths, bands):
    """Write out ``{band}``, and one file with an extension a band; `InputError` where no bands are known for it."""
    if not bands and any("{band}" in path for path in paths):
        raise InputError(f"{paths[0]}: which bands? name them with --bands, e.g. --bands g,r,i")
    if bands and any("{band}" in path for path in paths):
        return [path.replace("{band}", band) for path in paths for band in (bands if "{band}" in path else [""])]
    if bands and len(paths) == 1 and len(bands) > 1:
        found = {name.upper(): name for name in _extension_names(paths[0]) or ()}
        if all(band.upper() in found for band in bands):
            return [f"{paths[0]}[{found[band.upper()]}]" for band in bands]
    return paths


def _extension_names(path):
    """Return the names of image extensions of one size in a FITS file, None where there are fewer than two."""
    from astropy.io import fits

    if not Path(path).is_file() or is_picture(path):
        return None
    try:
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore")
            images = [
                hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS") == 2 and hdu.name not in ("", "PRIMARY")
            ]
            images = [hdu for hdu in images if is_band(hdu.name) and hdu.shape == images[0].shape]
            names = [hdu.header["EXTNAME"] for hdu in images]
    except Exception:  # a damaged file is described by the reader that opens it
        return None
    # Where one is called the image, or two have one name, they are no bands; the reader finds or asks for one.
    different = len({name.upper() for name in names}) == len(names) > 1
    return names if different and not any(map(is_generic, names)) else None


def _kept(value, keep, bands, what):
    """Return what is given band by band without the bands that are left out; one number for all as it is."""
    if value is None or isinstance(value, int | float):
        return value
    values = one_a_band(value, bands, what)
    return [values[index] for index in keep]


def _pick(values, keep, n):
    return [values[index] for index in keep] if values is not None and len(values) == n else values
