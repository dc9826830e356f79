"""Where a pixel lies on the sky and back, whatever the header's frame, axis order and distortion.

All of galzoo's positions on the sky are ICRS in degrees, right ascension from 0 to 360.

References
----------
Greisen & Calabretta 2002, A&A 395, 1061; Calabretta & Greisen 2002, A&A 395, 1077 (WCS). Shupe et al. 2005, ASPC 347,
491 (SIP).
"""

import warnings

import numpy as np

from galzoo.data.wcs_header import AXES, mended
from galzoo.errors import InputError

# A position is one on the image only if its pixel lies back on it to this part of a pixel.
_ROUND_TRIP = 0.01
# Sides of a pixel may differ by so much: plates and distorted fields do a little.
_SQUARE = 0.02
# Places further from the middle than so many half-diagonals of the image are not looked for.
_FAR = 3.0


def read_wcs(header, name="image", hdus=None):
    """Return the celestial WCS of an image, or None where the header has none.

    Parameters
    ----------
    header : astropy Header or mapping
    name : str
        What to call the image in errors.
    hdus : astropy HDUList, optional
        The file, which has the tables of a distortion where the header names some.

    Returns
    -------
    astropy WCS or None
        With two axes, those of the pixels.

    Raises
    ------
    InputError
        If astropy cannot use what is there, or the sky is not on the first two axes.
    """
    if "CTYPE1" not in header:
        return None
    from astropy.wcs import WCS

    header = mended(header, name)
    on_sky = [axis for axis in range(1, 10) if str(header.get(f"CTYPE{axis}", ""))[:4].strip("-") in AXES]
    if on_sky and on_sky != [1, 2]:
        raise InputError(
            f"{name}: axes {', '.join(map(str, on_sky))} are those of the sky, not 1 and 2; bring them to the front"
        )
    try:
        with warnings.catch_warnings():
            # Old headers are mended by astropy with a warning for each card.
            warnings.simplefilter("ignore")
            # Distortions work in two dimensions only; further axes are layers of a cube, or of length one.
            wcs = WCS(header, fobj=hdus, naxis=2)
            if wcs.has_celestial:
                wcs.wcs.set()
                wcs.all_pix2world([0.0, 1.0], [0.0, 1.0], 0)
    except InputError:
        raise
    except Exception as error:  # wcslib and astropy raise whatever the header makes them
        reason = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        mend = "mend or remove it"
        if (kind := str(header["CTYPE1"]).strip()[-3:]) in ("TNX", "ZPX"):
            mend = f"{kind} is IRAF's, with polynomials in WAT1_001 ...: write it as TPV or TAN-SIP, or remove it"
        raise InputError(f"{name}: its WCS cannot be used ({reason[-1].strip(' :')}); {mend}") from None
    if not wcs.has_celestial or not all("-" in kind for kind in wcs.wcs.ctype):
        if on_sky:
            kinds = ", ".join(str(header[f"CTYPE{axis}"]) for axis in (1, 2))
            raise InputError(
                f"{name}: CTYPE1 and 2 are {kinds}, no projection of the sky; write e.g. RA---TAN, DEC--TAN"
            )
        return None
    frame_of(wcs, name)
    return wcs


def wcs_cards(wcs):
    """Return the header that has a WCS, and the image extensions with the tables of its distortion.

    Parameters
    ----------
    wcs : astropy WCS or None
        Of `read_wcs`; the header is empty without one.

    Returns
    -------
    header : astropy Header
    tables : list of astropy ImageHDU
        They belong into every file whose header has the cards.
    """
    from astropy.io.fits import Header

    if wcs is None:
        return Header(), []
    first, *tables = wcs.to_fits(relax=True)
    return first.header.copy(strip=True), tables


def frame_of(wcs, name="image"):
    """Return the astropy frame of a celestial WCS; raise `InputError` where it is not known."""
    from astropy import coordinates
    from astropy.time import Time
    from astropy.wcs.utils import wcs_to_celestial_frame

    kind, system = wcs.wcs.lngtyp.strip("-"), wcs.wcs.radesys.strip().upper()
    if system != wcs.wcs.radesys:
        wcs = wcs.deepcopy()
        wcs.wcs.radesys = system
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "ELON":
            year = wcs.wcs.equinox if np.isfinite(wcs.wcs.equinox) else 2000.0
            return coordinates.BarycentricMeanEcliptic(equinox=Time(year, format="jyear"))
        if kind == "SLON":
            return coordinates.Supergalactic()
        try:
            frame = wcs_to_celestial_frame(wcs) if kind in ("RA", "GLON") else None
        except ValueError:
            frame = None
    if frame is None or not hasattr(frame, "is_transformable_to") or not frame.is_transformable_to(coordinates.ICRS()):
        radesys = f", RADESYS {wcs.wcs.radesys}" if wcs.wcs.radesys else ""
        raise InputError(
            f"{name}: coordinates {wcs.wcs.lngtyp}, {wcs.wcs.lattyp}{radesys} are not known on the sky; "
            "give an image in ICRS, FK5, FK4, galactic or ecliptic coordinates"
        )
    return frame


def pixel_to_sky(wcs, x, y):
    """Return right ascension and declination (ICRS, degrees) of 0-based pixel positions.

    Parameters
    ----------
    wcs : astropy WCS
        Of `read_wcs`.
    x, y : array, (n,)

    Returns
    -------
    ra, dec : float64 arrays, (n,)
        ra from 0 to 360; NaN where a pixel is not on the sky.
    """
    lon, lat = _native(wcs, x, y)
    ra, dec = _turned(lon, lat, frame_of(wcs), None)
    ra = ra % 360.0
    # What is below 0 by less than a rounding error would become 360.
    return np.where(ra >= 360.0, 0.0, ra), dec


def sky_to_pixel(wcs, ra, dec, frame="icrs"):
    """Return 0-based pixel positions of places on the sky.

    Parameters
    ----------
    wcs : astropy WCS
        Of `read_wcs`.
    ra, dec : array, (n,)
        Longitude and latitude in degrees.
    frame : str
        Of the positions, as `galzoo.data.columns.sky_positions` names it.

    Returns
    -------
    x, y : float64 arrays, (n,)
        NaN where a place is no place on the sky, or has no pixel: beyond the projection, or where a distortion has no
        solution.
    """
    ra, dec = (np.array(values, float, ndmin=1) for values in (ra, dec))
    own = frame_of(wcs)
    lon, lat = _turned(*_places(ra, dec), _named(frame, own), own)
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    rows = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    if len(rows):
        x[rows], y[rows] = _inverse(wcs, lon[rows], lat[rows])
    return x, y


def to_icrs(lon, lat, frame, name="catalogue"):
    """Return right ascension and declination of positions in a named frame, where there is no image."""
    if frame == "image":
        raise InputError(
            f"{name}: its coordinates are in the frame of an image without a WCS; map ra and dec to others"
        )
    ra, dec = _turned(*_places(lon, lat), _named(frame, None), None)
    return ra % 360.0, dec


def _places(lon, lat):
    """Return positions as they are, NaN where they are none: marks such as -999 would wrap round to a real place."""
    lon, lat = np.array(lon, float), np.array(lat, float)
    with np.errstate(invalid="ignore"):
        bad = ~((np.abs(lat) <= 90) & (lon >= -360) & (lon <= 720))
    lon[bad], lat[bad] = np.nan, np.nan
    return lon, lat


def _named(frame, own):
    """Return the astropy frame of a name, on an image in the frame `own`; None for ICRS."""
    from astropy import coordinates

    if frame == "image":
        return own
    if frame == "j2000":
        return own if own is not None and own.is_equivalent_frame(coordinates.FK5()) else None
    return None if frame == "icrs" else coordinates.frame_transform_graph.lookup_name(frame)()


def scale_of(wcs, name="image"):
    """Return arcsec per pixel, the square root of the area of the pixel at the reference position.

    Raises
    ------
    InputError
        If pixels are not square: a PSF, a radius and an ellipticity would mean nothing.
    """
    from astropy.wcs.utils import proj_plane_pixel_scales

    sides = proj_plane_pixel_scales(wcs) * 3600
    if abs(sides[0] / sides[1] - 1) > _SQUARE:
        raise InputError(f"{name}: pixels of {sides[0]:.4g} x {sides[1]:.4g} arcsec; resample it to square ones")
    return float(np.sqrt(np.prod(sides)))


def largest_shift(first, other, shape):
    """Return by how many pixels two WCS of images of one shape (y, x) differ at most; infinite where not comparable."""
    height, width = shape
    x, y = np.array([0, width - 1, 0, width - 1, width / 2]), np.array([0, 0, height - 1, height - 1, height / 2])
    moved = np.hypot(*(a - b for a, b in zip(sky_to_pixel(other, *pixel_to_sky(first, x, y)), (x, y), strict=True)))
    return float(np.where(np.isfinite(moved), moved, np.inf).max())


def _native(wcs, x, y):
    """Return longitude and latitude in the frame of a WCS."""
    x, y = (np.array(values, float, ndmin=1) for values in (x, y))
    if not len(x):
        return x, y
    world = _by_halves(lambda a, b: wcs.all_pix2world(a, b, 0), x, y)
    return world[wcs.wcs.lng], world[wcs.wcs.lat]


def _inverse(wcs, lon, lat):
    x, y = np.full(len(lon), np.nan), np.full(len(lon), np.nan)
    rows = _near(wcs, lon, lat)
    if not len(rows):
        return x, y
    lon, lat = lon[rows], lat[rows]
    first, second = (lon, lat) if wcs.wcs.lng == 0 else (lat, lon)
    if wcs.has_distortion:
        # Rows that have not converged are weeded out below.
        options = {"tolerance": 1e-5, "maxiter": 50, "adaptive": True, "quiet": True}
        found = _by_halves(lambda a, b: wcs.all_world2pix(a, b, 0, **options), first, second)
    else:
        found = _by_halves(lambda a, b: wcs.wcs_world2pix(a, b, 0), first, second)
    found = [np.where(np.isfinite(values), values, np.nan) for values in found]
    # A projection gives a pixel to what lies behind it, and a polynomial far out to nearly anything.
    back = _native(wcs, *found)
    beside = _native(wcs, found[0] + 0.5, found[1] + 0.5)
    with np.errstate(invalid="ignore"):
        good = _separation(*back, lon, lat) <= _ROUND_TRIP * _separation(*back, *beside)
    x[rows[good]], y[rows[good]] = found[0][good], found[1][good]
    return x, y


def _near(wcs, lon, lat):
    """Return the rows not far outside the image: there a distortion has no solution, or takes long to find it."""
    shape = wcs.pixel_shape
    if shape is None or not all(shape):
        return np.arange(len(lon))
    width, height = shape[:2]
    x, y = np.array([width / 2, 0, width, 0, width]), np.array([height / 2, 0, 0, height, height])
    corners = _native(wcs, x, y)
    reach = _FAR * _separation(corners[0][1:], corners[1][1:], corners[0][0], corners[1][0]).max()
    if not reach < 90:
        return np.arange(len(lon))
    return np.flatnonzero(_separation(lon, lat, corners[0][0], corners[1][0]) < reach)


def _separation(lon, lat, other_lon, other_lat):
    """Return angles between places in degrees."""
    from astropy.coordinates import angular_separation

    return np.rad2deg(angular_separation(*map(np.deg2rad, (lon, lat, other_lon, other_lat))))


def _by_halves(function, first, second):
    """Call a function of two arrays; where it raises, leave out the rows that make it, as NaN."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return tuple(np.asarray(values, float) for values in function(first, second))
    except Exception:  # wcslib refuses all rows for the sake of one
        if len(first) == 1:
            return np.full(1, np.nan), np.full(1, np.nan)
        half = len(first) // 2
        parts = [_by_halves(function, first[rows], second[rows]) for rows in (slice(half), slice(half, None))]
        return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def _turned(lon, lat, old, new):
    """Return longitude and latitude of one frame in another; None is ICRS."""
    from astropy import units as u
    from astropy.coordinates import ICRS, SkyCoord

    old, new = (ICRS() if frame is None else frame for frame in (old, new))
    lon, lat = np.array(lon, float), np.array(lat, float)
    good = np.isfinite(lon) & np.isfinite(lat)
    if old.is_equivalent_frame(new) or not good.any():
        return lon, lat
    place = SkyCoord(lon[good] * u.deg, lat[good] * u.deg, frame=old).transform_to(new).spherical
    lon[good], lat[good] = place.lon.deg, place.lat.deg
    lon[~good], lat[~good] = np.nan, np.nan
    return lon, lat
