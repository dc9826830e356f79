"""What the columns of a deblend catalogue are, for the headers of its files."""

from galzoo.contracts.deblended import FLAGS

_COLUMNS = {
    "id": "name of the source",
    "x": "x of the centre, 0 is the middle of the first pixel",
    "y": "y of the centre, 0 is the middle of the first pixel",
    "ra": "right ascension",
    "dec": "declination",
    "group": "number of the group of sources fitted together",
    "n_in_group": "sources in the group",
    "snr": "signal-to-noise ratio of the detection",
    "flags": "sum of bits: " + ", ".join(f"{bit} {name}" for name, bit in FLAGS.items()),
    "chi2": "chi squared per pixel of the group",
    "extendedness": "share of the light that is not a star's: 0 of stars",
    "e1": "distortion before the PSF, (a^2-b^2)/(a^2+b^2) along x",
    "e2": "distortion before the PSF, towards y = x",
    "half_light_radius": "half-light radius before the PSF",
}
_OF_A_BAND = {
    "flux_like_err": "error of the flux by noise alone, shapes held",
    "flux_err": "standard deviation of the flux",
    "flux": "total flux; of the aperture where fallback is set",
    "mag_err": "standard deviation of the AB magnitude",
    "mag": "AB magnitude",
    "blendedness": "share of neighbours in the light at the source",
    "aperture_flux_err": "standard deviation of the aperture flux",
    "aperture_flux": "flux in an aperture, not deblended",
    "psf_flux_err": "standard deviation of the PSF flux",
    "psf_flux": "deblended flux as if it were a star",
}


def describe(table, bands):
    """Set the description of every column of a deblend catalogue."""
    for name in table.colnames:
        table[name].info.description = description(name, bands)


def description(name, bands):
    """Return what a column is in words; empty for one that is not known."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    if name.endswith("_err") and name[:-4] in _COLUMNS:
        return f"standard deviation of {name[:-4]}"
    for band in bands:
        kind = name.removesuffix(f"_{band}")
        if kind != name and kind in _OF_A_BAND:
            return f"{_OF_A_BAND[kind]}, band {band}"
    return ""
