"""Write what segmenting a field gave: class planes, segmentation, catalogue, pictures and a report."""

from astropy.io import fits

from galzoo.field.provenance import catalogue_hdu, provenance, sky_header
from galzoo.files import atomic_path, write_table
from galzoo.tasks.segment.catalogue import make_catalogue


def write_products(field, segmented, band, output, settings, about):
    """Write the products of a segmented field, each under its name only when it is complete.

    Parameters
    ----------
    field : galzoo.field.field.Field
    segmented : galzoo.contracts.segmentation.Segmented
    band : str
        Of the light that classes are weighted by.
    output : Path
        Folder.
    settings : galzoo.tasks.segment.run.Settings
    about : dict
        What the report says of the run.

    Returns
    -------
    list of Path
        ``classes.fits`` (an extension a class, share of the votes; ``WINDOWS``, how many there were),
        ``segmentation.fits`` (0 background, -1 where nothing voted), ``catalogue.ecsv``, ``catalogue.fits``, and with
        a report ``classes.png`` (as published: hue the class, brightness the votes against the background),
        ``field.png`` and ``report.html``.
    """
    about = about | {"stride": settings.stride, "threshold": settings.threshold, "band": band}
    table = make_catalogue(field, segmented, band)
    table.meta |= about
    header, distortion = sky_header(field)
    hdus = [fits.PrimaryHDU()]
    hdus += [
        fits.ImageHDU(plane, header, name=name) for name, plane in zip(segmented.classes, segmented.votes, strict=True)
    ]
    hdus.append(fits.ImageHDU(segmented.windows.astype("int32"), header, name="windows"))
    hdus += distortion
    with atomic_path(output / "classes.fits") as path:
        fits.HDUList(hdus).writeto(path, overwrite=True)
    with atomic_path(output / "segmentation.fits") as path:
        fits.HDUList([fits.PrimaryHDU(segmented.segmentation, header), *distortion]).writeto(path, overwrite=True)
    write_table(output / "catalogue.ecsv", table)
    with atomic_path(output / "catalogue.fits") as path:
        hdu = catalogue_hdu(table, provenance(field, about))
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    written = [output / name for name in ("classes.fits", "segmentation.fits", "catalogue.ecsv", "catalogue.fits")]
    if settings.report:
        from galzoo.tasks.segment.report import write_report

        written += write_report(field, segmented, table, band, output, about)
    return written
