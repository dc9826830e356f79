"""What `galzoo screen` writes."""

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo.evaluate.report import Report
from galzoo.field.provenance import catalogue_hdu, made_by
from galzoo.files import atomic_path, write_table
from galzoo.tasks.screen.flags import FLAGS
from galzoo.tasks.screen.pages import stamps_page
from galzoo.viz.panels import save

_SHOWN = 24


def write_products(result, output, about, header, report=True):
    """Write ``screen.ecsv`` and ``screen.fits``, and with a report ``suspicious.png`` and ``report.html``.

    Parameters
    ----------
    result : dict of arrays
        As of `galzoo.tasks.screen.field.screen_rows`, with ``id, x, y, ra, dec, p_blend``.
    output : Path
    about : dict
        For the header of the table.
    header : astropy.io.fits.Header
        Of ``screen.fits``, as of `galzoo.field.provenance.provenance`.
    report : bool

    Returns
    -------
    list of Path
    """
    table = make_table(result, about)
    written = [output / "screen.ecsv", output / "screen.fits"]
    write_table(written[0], table)
    with atomic_path(written[1]) as path:
        hdu = catalogue_hdu(table, header)
        hdu.header["PREVAL"], hdu.header["TRAINED"] = about["prevalence"], about["trained_share"]
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    if report:
        written += _write_report(table, result["stamp"], output, about)
    return written


def make_table(result, about):
    """Return the screened sources as a QTable, with a description of each column; see `write_products`."""
    table = QTable()

    def add(name, values, description, unit=None):
        table[name] = values if unit is None else values * unit
        table[name].info.description = description

    add("id", result["id"], "of the source in the catalogue; its row from 1 where that has none")
    add("ra", result["ra"], "right ascension", u.deg)
    add("dec", result["dec"], "declination", u.deg)
    add("x", result["x"], "position, pixels counted from 0", u.pix)
    add("y", result["y"], "position, pixels counted from 0", u.pix)
    add("p_blend", result["p_blend"], f"probability of two or more, if a share of {about['prevalence']:g} are blends")
    classes = result["probability"].shape[1]
    for number in range(classes):
        text = f"{number} or more" if number == classes - 1 else f"{number}"
        add(f"p_{number}", result["probability"][:, number], f"probability of {text} sources, as in training")
    add("entropy", result["entropy"], "of the number of sources, nats")
    add("mutual_information", result["mutual_information"], "part of the entropy that is doubt about the model, nats")
    bits = ", ".join(f"{bit} {name}" for name, bit in FLAGS.items())
    add("flags", result["flags"], f"sum of: {bits}")
    table.meta |= made_by()
    table.meta |= about | {"flag_bits": dict(FLAGS)}
    return table


def _write_report(table, stamps, output, about):
    p_blend = np.asarray(table["p_blend"])
    order = np.argsort(-np.nan_to_num(p_blend, nan=-1), kind="stable")
    order = order[np.isfinite(p_blend[order])][:_SHOWN]
    captions = [f"{table['id'][row]}\np {p_blend[row]:.2f}" for row in order]
    page = stamps_page(stamps[order], captions)
    save(page, output / "suspicious.png")
    report = Report("Screened catalogue", about["catalogue"].rpartition("/")[2])
    rows = about | {"sources": len(table), "screened": int(np.isfinite(p_blend).sum())}
    rows |= {"p_blend above 0.5": int(np.sum(p_blend > 0.5))}
    flags = np.asarray(table["flags"])
    rows |= {f"flag {name}": int(np.sum((flags & bit) > 0)) for name, bit in FLAGS.items()}
    report.section("Summary").table([{"": key, "value": value} for key, value in rows.items()])
    report.section("Most suspicious").figure(page, "Sources by their probability; neighbours' light is masked")
    names = ("id", "p_blend", "entropy", "mutual_information", "flags")
    report.table([{name: _plain(table[name][row]) for name in names} for row in order])
    return [output / "suspicious.png", report.write(output / "report.html")]


def _plain(value):
    value = getattr(value, "value", value)
    return value.item() if hasattr(value, "item") else value
