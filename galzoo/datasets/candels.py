"""CANDELS: mosaics, catalogue and PSF brought to stamps."""

from galzoo.errors import InputError
from galzoo.registry import DataSet

DATASET = DataSet(
    name="candels",
    title="CANDELS mosaics with catalogue and PSF, from local files",
    build="galzoo.datasets.candels:make_candels",
    kind="stamps",
)


def make_candels(
    output,
    mosaics,
    catalogue=None,
    psf=None,
    bands=("F160W",),
    size=84,
    weight=None,
    rms=None,
    segmentation=None,
    where=None,
    columns=None,
):
    """Cut stamps out of CANDELS mosaics.

    Parameters
    ----------
    output : str or Path
        The stamp file to make.
    mosaics : path or sequence of paths
        Drizzled science images in electrons per second, one a band; or one HDF5 file of ready-cut stamps (``images``,
        ``segmap``, ``id``).
    catalogue : path, optional
        The field's photometric catalogue; sources are detected where absent.
    psf : path or sequence of paths, optional
        One a band.
    bands : sequence of str
        HST filters, as in `galzoo.data.candels.ZERO_POINTS`.
    size : int
        Side of a stamp in pixels of 0.06 arcsec.
    weight, rms, segmentation : paths, optional
        See `galzoo.data.fits.open_mosaic`.
    where : str, optional
        Rows to keep, e.g. ``"FLUX_ISO>1, CLASS_STAR<0.9"``.
    columns : dict, optional
        See `galzoo.data.columns.find_columns`.

    Returns
    -------
    int
        Number of stamps.

    Raises
    ------
    InputError
        If a file or filter is unknown, or they do not fit each other.
    """
    from galzoo.data.candels import PIXEL_SCALE, ZERO_POINTS, read_candels_stamps
    from galzoo.field.cutouts import cutouts_from_files

    bands = [bands] if isinstance(bands, str) else list(bands)
    odd = [band for band in bands if band.upper() not in ZERO_POINTS]
    if odd:
        raise InputError(f"band {odd[0]!r} is not a CANDELS filter; use {', '.join(ZERO_POINTS)}")
    points = [ZERO_POINTS[band.upper()] for band in bands]
    if isinstance(mosaics, list | tuple) or not str(mosaics).endswith((".h5", ".hdf5")):
        return cutouts_from_files(
            mosaics, output, size, catalogue, bands, weight, rms, segmentation, psf=psf, zero_point=points,
            columns=columns, where=where, survey="CANDELS", pixel_scale=PIXEL_SCALE,
        )  # fmt: skip
    stamps = read_candels_stamps(mosaics, bands, psf, size)
    stamps.save(output)
    return len(stamps)
