"""Images of the same sky in several bands, each on its own pixels, brought onto the pixels of the first."""

import re

import numpy as np

from galzoo.contents import refuse_input
from galzoo.data.bands import checked
from galzoo.data.fits_keywords import filter_of
from galzoo.data.no_data import without_data
from galzoo.data.planes import open_planes
from galzoo.data.sky import pixel_to_sky, read_wcs, scale_of, sky_to_pixel, wcs_cards
from galzoo.errors import InputError
from galzoo.field.open_field import as_list
from galzoo.field.provenance import CREATOR
from galzoo.files import atomic_path
from galzoo.progress import track

# Where a pixel of the first image lies on another is solved for every so many pixels, and a spline between.
_GRID = 32
# Pixels whose sides differ by more than this would change fluxes.
_SAME_SIDE = 2e-3
# Rows that are made at a time.
_STRIP = 256
# Places so far beyond the middle of the outermost pixels are on them: a rounding error is no shift.
_EDGE = 1e-3
# Cards of a WCS and of distortions, and of where an image was cut from a larger one.
_WCS = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CNAME|CRDER|CSYER|LTV|CPDIS|CPERR|CQDIS|CQERR)\d[A-Z]?|D[PQ]\d.*|"
    r"(CD|PC|PV|PS|LTM|WAT)\d+_\d+[A-Z]?|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)|(PC|CD)00\d00\d|D2IM.*|"
    r"(LONPOLE|LATPOLE|RADESYS|EQUINOX|WCSAXES|WCSNAME|WCSDIM)[A-Z]?|EPOCH|RADECSYS"
)


def align(paths, output, bands=None, progress=False):
    """Bring images onto the pixels of the first by their WCS and write one file with an extension a band.

    Parameters
    ----------
    paths : sequence of paths
        FITS images, one a band; the first says the pixels.
    output : str or Path
        FITS file to write: an extension a band, with the header of its image but for the WCS.
    bands : sequence of str, optional
        Names of the bands; by default the filters of the headers.
    progress : bool
        Show a bar.

    Returns
    -------
    tuple of str
        Names of the bands.

    Raises
    ------
    InputError
        If an image has no WCS, other sizes of pixels, no part of the first, or bands are not known.

    Notes
    -----
    Values are those of a cubic spline through the image. Where it has none, or the pixel at a place or one beside it
    holds no data, the result is NaN. Interpolation makes the noise of near pixels alike and smaller than before; what
    galzoo measures of it in the result is true, a noise map of the image before is not.
    """
    from astropy.io import fits

    paths, planes = as_list(paths), []
    if not paths:
        raise InputError("no image; give one a band")
    refuse_input(output, *paths)
    try:
        for path in paths:
            planes += open_planes(path)
        names = tuple(bands or [filter_of(plane.header) for plane in planes])
        if len(names) != len(planes):
            raise InputError(f"{len(names)} names for {len(planes)} images; give --bands one a file, in their order")
        if not all(names):
            raise InputError(f"{planes[names.index('')].name}: no FILTER in its header; name all with --bands")
        checked(names, paths[0])
        skies = [read_wcs(plane.header, plane.name, plane.hdus) for plane in planes]
        for plane, wcs in zip(planes, skies, strict=True):
            if wcs is None:
                raise InputError(f"{plane.name}: no WCS, by which it could be aligned; add one")
            sides = scale_of(wcs, plane.name), scale_of(skies[0], planes[0].name)
            if abs(sides[0] / sides[1] - 1) > _SAME_SIDE:
                raise InputError(
                    f"{plane.name}: pixels of {sides[0]:.5g} arcsec, {planes[0].name} has {sides[1]:.5g}; resample it "
                    "by a tool that conserves flux, e.g. reproject_exact"
                )
        header, tables = wcs_cards(skies[0])
        # A WCS has the date of its image, too.
        cards = [card for card in header.cards if _WCS.fullmatch(card.keyword)]
        hdus = [fits.PrimaryHDU()]
        for plane, wcs, name in zip(planes, skies, track(names, "aligning", progress), strict=True):
            image = _moved(plane, wcs, skies[0], planes[0])
            if plane is not planes[0] and not np.isfinite(image).any():
                raise InputError(f"{plane.name}: no part of {planes[0].name} by its WCS; give images of one sky")
            hdus.append(fits.ImageHDU(image, _without_wcs(plane.header)))
            hdus[-1].header.extend(cards)
            hdus[-1].header.update(EXTNAME=name, FILTER=name, CREATOR=CREATOR)
        with atomic_path(output) as path:
            fits.HDUList([*hdus, *tables]).writeto(path, overwrite=True)
    finally:
        for plane in planes:
            plane.close()
    return names


def _moved(plane, wcs, first_wcs, first):
    """Return the image of a plane on the pixels of another, float32 (y, x), NaN where there is none."""
    from scipy.interpolate import RectBivariateSpline
    from scipy.ndimage import distance_transform_edt, map_coordinates, maximum_filter, spline_filter

    height, width = plane.shape
    image = np.asarray(plane.read(0, height, 0, width))
    empty = without_data(plane, 0, height, 0, width, image) | ~np.isfinite(image)
    if plane is first:
        return np.where(empty, np.nan, image).astype(np.float32)
    if empty.all():
        return np.full(first.shape, np.nan, np.float32)
    if empty.any():
        # A spline would ring about another value.
        image = image[tuple(distance_transform_edt(empty, return_distances=False, return_indices=True))]
    rows, columns = (np.unique(np.append(np.arange(0, side, _GRID), [side - 1, side // 2])) for side in first.shape)
    y, x = (index.ravel().astype(float) for index in np.meshgrid(rows, columns, indexing="ij"))
    places = sky_to_pixel(wcs, *pixel_to_sky(first_wcs, x, y))
    if not np.isfinite(places).any():
        return np.full(first.shape, np.nan, np.float32)
    if not np.isfinite(places).all():
        raise InputError(f"{plane.name}: {first.name} reaches far beyond it; cut that to the same sky")
    degrees = [min(3, len(ends) - 1) for ends in (rows, columns)]
    there = [
        RectBivariateSpline(rows, columns, values.reshape(len(rows), len(columns)), kx=degrees[0], ky=degrees[1])
        for values in places
    ]
    empty = maximum_filter(empty, 3) if empty.any() else empty
    splines, made = spline_filter(image.astype(float), output=np.float32), np.full(first.shape, np.nan, np.float32)
    for start in range(0, first.shape[0], _STRIP):
        lines = np.arange(start, min(start + _STRIP, first.shape[0]))
        x, y = (of(lines, np.arange(first.shape[1])) for of in there)
        inside = (x > -_EDGE) & (x < width - 1 + _EDGE) & (y > -_EDGE) & (y < height - 1 + _EDGE)
        if not inside.any():
            continue
        near = np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)
        values = map_coordinates(splines, [y[inside], x[inside]], order=3, mode="mirror", prefilter=False)
        made[lines[0] : lines[-1] + 1][inside] = np.where(empty[near], np.nan, values)
    return made


def _without_wcs(header):
    """Return a copy of an image's header without what says where its pixels lie."""
    kept = header.copy(strip=True)
    for key in [key for key in kept if _WCS.fullmatch(key)]:
        kept.remove(key, ignore_missing=True, remove_all=True)
    # Nor what is true of the file or of whole numbers alone.
    for key in ("EXTNAME", "EXTVER", "INHERIT", "BLANK", "CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM"):
        kept.remove(key, ignore_missing=True)
    return kept
