"""Stamps of catalogued or detected sources, from image files straight to a stamp file."""

from galzoo.contents import refuse_input
from galzoo.data.columns import read_table, select
from galzoo.data.cutouts import make_cutouts
from galzoo.data.fits import open_mosaic
from galzoo.data.planes import Plane
from galzoo.data.psf import read_psf
from galzoo.field.catalogue import detect
from galzoo.field.open_field import as_list, expand


def cutouts_from_files(mosaics, output, size=64, catalogue=None, bands=None, weight=None, rms=None, segmentation=None,
                       flags=None, psf=None, zero_point=None, pixel_scale=None, columns=None, where=None, unit=None,
                       survey="", progress=False):  # fmt: skip
    """Cut stamps of a catalogue, or of detected sources where there is none, from files to a file.

    Parameters
    ----------
    mosaics : path or sequence of paths
        See `open_mosaic`, so for `bands`, `weight`, `rms`, `segmentation`, `flags`, `zero_point`, `pixel_scale` and
        `unit`. ``field_{band}.fits`` stands for a file of each of `bands`, of mosaics, noise maps and PSFs.
    output : str or Path
    size : int
    catalogue : path, optional
        Sources are detected where absent (see `galzoo.field.catalogue`).
    psf : path or sequence of paths, optional
        PSF image a band; resampled where its header has PIXSCALE, else in the pixels of the mosaic.
    columns : dict, optional
        See `find_columns`.
    where : str, optional
        Rows to keep, e.g. ``"mag<24"``.

    Returns
    -------
    int
        Number of stamps.
    """
    inputs = mosaics, catalogue, weight, rms, segmentation, flags, psf
    refuse_input(output, *inputs, bands=bands or ())
    weight, rms, psf = (expand(as_list(paths), bands) or None for paths in (weight, rms, psf))
    options = {"weight": weight, "rms": rms, "segmentation": segmentation, "flags": flags}
    with open_mosaic(
        expand(as_list(mosaics), bands), bands, zero_point=zero_point, pixel_scale=pixel_scale, unit=unit, **options
    ) as mosaic:
        psf = read_psf(psf, mosaic.bands, size, mosaic.pixel_scale, images=mosaic.planes) if psf else None
        if catalogue is not None:
            table, name = read_table(catalogue, (columns or {}).get("id")), str(catalogue)
        else:
            table, labels = detect(mosaic)
            name = f"sources detected in {mosaic.planes[0].name}"
            if mosaic.segmentation is None:
                mosaic.segmentation = Plane(name, labels, {})
        if where:
            table = select(table, where, name)
        return make_cutouts(mosaic, table, output, size, psf, columns, survey, name, progress)["n"]
