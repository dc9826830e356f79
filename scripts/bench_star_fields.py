"""What a StarNet finds in real fields whose stars are listed elsewhere, beside what others find there.

    python scripts/bench_star_fields.py PRESET sdss --data DATA [-o docs/benchmarks/star_fields_sdss.json]
    python scripts/bench_star_fields.py PRESET glimpse --data DATA [-o docs/benchmarks/star_fields_glimpse.json]
    python scripts/bench_star_fields.py PRESET m2 --data DATA [-o docs/benchmarks/star_fields_m2.json]

`sdss` is frame 94-1-12 in r and i against the catalogue of the deeper coadd: recall and precision by magnitude within a
pixel, of stars and of all, beside SDSS's own catalogue of the frame and the classical detection. `glimpse` is a
Spitzer mosaic at 4.5 micrometres, whose PSF is narrower than those of training, against the listed sources, which are
the bright ones: completeness within a pixel and .75 mag, flux scatter, and which share of what is found 1.5 times
brighter than the faintest of the list is in it, beside photutils. `m2` is the field of Liu et al. 2021, of which
nothing is compared: how many stars, chi-square a pixel, and what `--wake` changes, for each way of searching. Ways that
the output file has are not run again, and one that was ended goes on from what is in `--keep`; `--ways` ends it after
so many. DATA is the folder described in docs/data.md.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates

from galzoo.data.sdss_frames import BANDS, eigen_psf
from galzoo.files import write_json
from galzoo.metrics.binned import scatter68
from galzoo.metrics.calibration import resample
from galzoo.metrics.detection import share
from galzoo.metrics.matching import match
from galzoo.metrics.star_catalogues import match_stars
from galzoo.tasks.detect.psf_photometry import PSFPhotometry
from galzoo.tasks.detect.run import Settings, detect_field

# Electrons per count, counts of the sky and dark variance of M2's psField file, and its faintest star.
_M2 = {"gain": {"r": 4.6, "i": 5.195}, "sky": {"r": 150.75, "i": 215.5}, "dark": {"r": 1.0, "i": 6.25}}
_M2_FIELD, _M2_FAINTEST = (310, 630, 100), 22.33
_EDGES = np.array([14, 17, 18, 19, 20, 21, 21.5, 22, 22.5, 23, 23.5])
# A source is one that is listed within so many pixels; sources nearer to the edge than so many are not counted.
_NEAR, _BORDER = 1.0, 8.0
# A cryogenic MJy per steradian of IRAC's mosaic in nJy a pixel of 1.2 arcsec.
_GLIMPSE_NJY = 23504.5 * 1.2**2
_IRAC_FINE = 0.30325
# Greatest difference from the list in magnitudes; found so many times brighter than its faintest, a star is in it.
_BLENDED, _SURELY = 0.75, 1.5


def planes_of(folder, stem, field, sky, gain, dark):
    """Return r and i of a field of two SDSS frames, i moved onto r: images and variances in nJy, electrons per nJy."""
    x0, y0, width, height = field
    frames = {band: fits.open(next(folder.glob(f"frame-{band}-{stem}.fits*")))[0] for band in "ri"}
    wcs = {band: WCS(frame.header) for band, frame in frames.items()}
    rows, columns = np.mgrid[y0 : y0 + height, x0 : x0 + width]
    images, variances, gains = [], [], {}
    for band, frame in frames.items():
        nmgy, data = frame.header["NMGY"], frame.data.astype(float)
        image = data[y0 : y0 + height, x0 : x0 + width]
        if band != "r":
            # Frames of two bands drift apart by half a pixel from one side to the other.
            x, y = wcs[band].all_world2pix(*wcs["r"].all_pix2world(columns, rows, 0), 0)
            image = map_coordinates(data, (y, x), order=5, mode="nearest")
        counts = np.maximum(image, 0) / nmgy + sky[band]
        images.append(3631 * image)
        variances.append((counts / gain[band] + dark[band]) * (3631 * nmgy) ** 2)
        gains[band] = gain[band] / (3631 * nmgy)
    return images, variances, gains, wcs["r"][y0 : y0 + height, x0 : x0 + width]


def written(folder, images, variances, wcs, bands=("r", "i"), pixel_scale=None):
    """Write a field in nJy for `galzoo detect` and return what is told of it."""
    for name, planes in (("field", images), ("variance", variances)):
        hdus = [fits.PrimaryHDU()]
        for band, plane in zip(bands, planes, strict=True):
            hdus.append(
                fits.ImageHDU(np.asarray(plane, "float32"), None if wcs is None else wcs.to_header(), name=band)
            )
            hdus[-1].header["MAGZERO"] = 31.4
            if pixel_scale is not None:
                hdus[-1].header["PIXSCALE"] = pixel_scale
        fits.HDUList(hdus).writeto(folder / f"{name}.fits", overwrite=True)
    return {"bands": list(bands), "variance": [f"{folder / 'variance.fits'}[{band}]" for band in bands]}


def ways(preset, *asked):
    """Return what to ask for in each of some ways of searching with a preset, by name."""
    said = {"wake": "awake", "refine": "refined"}
    return {", ".join([Path(preset).name, *map(said.get, one)]): dict.fromkeys(one, True) for one in asked}


def found_by(folder, preset, name, told, psf, **settings):
    """Search the field of a folder, or go on where an earlier run was ended, and return the catalogue."""
    settings = Settings(**{"report": False, "samples": 0, "tile": 384} | settings)
    detect_field(folder / "field.fits", folder / name, preset=preset, psf=psf, settings=settings, **told)
    return QTable.read(folder / name / "catalogue.ecsv")


def sdss(preset, data, keep, result):
    folder = data / "sdss_frames"
    psfield = folder / "psField-000094-1-0012.fit"
    with fits.open(psfield) as hdus:
        row = hdus[6].data[0]
        values = {
            key: {band: float(row[name][BANDS.index(band)]) for band in "ri"}
            for key, name in (("sky", "sky"), ("gain", "gain"), ("dark", "dark_variance"))
        }
        names = ("nrow_b", "ncol_b", "c", "RNROW", "RNCOL", "RROWS")
        eigen = {
            band: [{name: np.array(one[name]) for name in names} for one in hdus[1 + BANDS.index(band)].data]
            for band in "ri"
        }
    images, variances, gain, wcs = planes_of(folder, "000094-1-0012", (0, 0, 2048, 1489), **values)
    coadd = Table.read(folder / "coadd_catalog_94_1_12.fits")
    photo = Table.read(folder / "photoObj-000094-1-0012_cols.fits")
    photo = photo[((photo["MODE"] == 1) | (photo["MODE"] == 2)) & (photo["NCHILD"] == 0)]
    places = np.stack(wcs.all_world2pix(coadd["ra"], coadd["dec"], 0), axis=-1)
    magnitude, stars = np.asarray(coadd["mag"], float), ~np.asarray(coadd["galaxy_bool"], bool)

    def psf_of(x, y):
        planes = [
            [eigen_psf(eigen[band], py, px)[13:-13, 13:-13] for band in "ri"] for px, py in zip(x, y, strict=True)
        ]
        planes = np.maximum(np.moveaxis(np.array(planes), 1, -1), 0)
        return (planes / planes.sum(axis=(1, 2), keepdims=True)).astype(np.float32)

    shape = images[0].shape

    def scored(name, found, measured, star=None):
        result[name] = against(found, measured, places, magnitude, stars, shape, star)
        return result

    flux = np.asarray(photo["PSFFLUX"], float)[:, 2]
    at = np.stack(wcs.all_world2pix(photo["RA"], photo["DEC"], 0), axis=-1)
    yield scored("SDSS photoObj", at, 22.5 - 2.5 * np.log10(np.maximum(flux, 1e-9)))
    runs = {"SEP": {"samples": None}} | ways(preset, (), ("refine",))
    told = written(keep, images, variances, wcs) | {"gain": gain, "subtract_sky": False}
    for name, how in runs.items():
        if name in result:
            continue
        table = found_by(keep, None if name == "SEP" else preset, name, told, psf_of, **how)
        measured = table["mag_r"] if "mag_r" in table.colnames else table["mag_aper_r"]
        found = np.stack([table["x"].value, table["y"].value], axis=-1)
        yield scored(name, found, np.asarray(measured.value, float), np.asarray(table["p_star"]) > 0.5)


def inside(places, shape):
    x, y = np.transpose(places)
    return (x > _BORDER) & (y > _BORDER) & (x < shape[1] - 1 - _BORDER) & (y < shape[0] - 1 - _BORDER)


def against(found, measured, truth, magnitude, stars, shape, star=None):
    """Return recall by true magnitude, of stars and of all, and precision by measured magnitude.

    Where `star` says which of those found are stars, also how many of the listed stars and galaxies that are found are
    called what they are.
    """
    pair = match(found, truth, _NEAR)
    hit, right = pair.found_of_truth >= 0, pair.truth_of_found >= 0
    own, counted = inside(truth, shape), inside(found, shape)
    rows = []
    for low, high in [*zip(_EDGES[:-1], _EDGES[1:], strict=True), (_EDGES[0], 22.5), (_EDGES[0], 25.0)]:
        some = own & (magnitude >= low) & (magnitude < high)
        with np.errstate(invalid="ignore"):
            seen = counted & (measured >= low) & (measured < high)
        row = {"low": float(low), "high": float(high), "listed": int(some.sum()), "found": int(seen.sum())}
        values = {"recall": hit[some], "recall_stars": hit[some & stars], "precision": right[seen]}
        if star is not None:
            for name, kind in (("stars_right", stars), ("galaxies_right", ~stars)):
                values[name] = star[pair.found_of_truth[some & kind & hit]] == (name == "stars_right")
        for name, ones in values.items():
            row[name], row[f"{name}_error"] = (float(value) for value in share(ones))
        rows.append(row)
    print(rows[-2:], flush=True)
    return rows


def irac_psf(path, side=25):
    """Return the PSF of a file of fine pixels on pixels of 1.2 arcsec, whose response it gets by their mean."""
    fine = fits.getdata(path).astype(float)
    y, x = np.unravel_index(fine.argmax(), fine.shape)
    near = fine[y - 3 : y + 4, x - 3 : x + 4]
    rows, columns = np.indices(near.shape) - 3
    middle = y + (near * rows).sum() / near.sum(), x + (near * columns).sum() / near.sum()
    step, parts = 1.2 / _IRAC_FINE, 8
    line = (np.arange(side) - side // 2)[:, None] + (np.arange(parts) + 0.5) / parts - 0.5
    line = step * line.ravel()
    at = np.meshgrid(line + middle[0], line + middle[1], indexing="ij")
    image = map_coordinates(fine, at, order=3).reshape(side, parts, side, parts).mean(axis=(1, 3))
    image = np.maximum(image, 0)
    return (image / image.sum()).astype(np.float32)


def glimpse(preset, data, keep, result):
    folder = data / "misc_fields"
    with fits.open(folder / "spitzer_glimpse_irac2.fits.fz") as hdus:
        image, header = hdus[1].data.astype(float), hdus[1].header
    listed = Table.read(folder / "spitzer_glimpse_catalog.xml", format="votable")
    wcs = WCS(header)
    places = np.stack(wcs.all_world2pix(listed["l"], listed["b"], 0), axis=-1)
    flux = 1e6 * np.asarray(listed["f4_5"], float)
    there = inside(places, image.shape)
    places, flux = places[there], flux[there]
    bad = ~np.isfinite(image)
    image = np.where(bad, 0, image)
    # Noise of the sky from differences of neighbours, and of photons by the gain.
    sky = float(np.median(image[~bad]))
    electrons = header["GAIN"] * header["EXPTIME"] / header["FLUXCONV"] / _GLIMPSE_NJY
    nebula = 1.4826 * np.median(np.abs(np.diff(image, axis=1))) / np.sqrt(2) * _GLIMPSE_NJY
    variance = nebula**2 + np.maximum((image - sky) * _GLIMPSE_NJY, 0) / electrons
    variance[bad] = np.inf
    psf = irac_psf(data / "psf" / "spitzer_irac_ch2_flight.fits")
    result |= {"listed": len(flux), "least_mjy": float(flux.min() / 1e6)}

    def scored(name, at, measured):
        partner = match_stars(at, measured, places, flux, _NEAR, _BLENDED)
        hit, bright = partner >= 0, measured > _SURELY * flux.min()
        ratio = -2.5 * np.log10(measured[partner[hit]] / flux[hit])
        bright &= inside(at, image.shape)
        values = {"completeness": hit, "listed_of_bright": np.isin(np.flatnonzero(bright), partner[hit])}
        result[name] = {"found": len(at), "bright": int(bright.sum())}
        for key, value in values.items():
            result[name][key], result[name][f"{key}_error"] = (float(one) for one in share(value))
        result[name] |= {
            "median_mag": float(np.median(ratio)), "scatter_mag": float(scatter68(ratio)),
            "scatter_mag_error": float(resample(scatter68, ratio)[1]),
        }  # fmt: skip
        print(name, result[name], flush=True)
        return result

    plane = np.where(bad, np.nan, image * _GLIMPSE_NJY)
    told = written(keep, [plane], [variance], None, ("r",), 1.2)
    told["gain"] = {"r": float(electrons)}
    given = psf[None, ..., None]
    for name, how in ways(preset, (), ("refine",), ("wake",)).items():
        if name not in result:
            table = found_by(keep, preset, name, told, given, **how)
            at = np.stack([table["x"].value, table["y"].value], axis=-1)
            yield scored(name, at, np.asarray(table["flux_r"].value))
    for threshold in (5.0, 10.0):
        name = f"photutils, {threshold:g} sigma"
        if name not in result:
            phot = PSFPhotometry(threshold, sky=30.0)
            at, measured = phot(image[..., None] * _GLIMPSE_NJY, variance[..., None], bad[..., None], psf[..., None])
            yield scored(name, at, measured)


def m2(preset, data, keep, result):
    folder = data / "m2"
    x0, y0, side = _M2_FIELD
    images, variances, gain, wcs = planes_of(folder, "002583-2-0136", (x0, y0, side, side), **_M2)
    psfs = []
    for band in "ri":
        psf = np.maximum(fits.getdata(folder / f"sdss-002583-2-0136-psf-{band}.fits").astype(float), 0)
        psfs.append(psf / psf.sum())
    told = written(keep, images, variances, wcs) | {"gain": gain, "subtract_sky": False}
    psf = np.stack(psfs, axis=-1)[None].astype(np.float32)
    for name, how in ways(preset, (), ("refine",), ("wake",), ("wake", "refine")).items():
        if name in result:
            continue
        table = found_by(keep, preset, name, told, psf, **{"faintest": _M2_FAINTEST, "samples": 50} | how)
        out = keep / name
        counts = QTable.read(out / "counts.ecsv")
        with fits.open(out / "residual.fits") as hdus:
            left = [hdus[band].data[5:-5, 5:-5] ** 2 / variances[row][5:-5, 5:-5] for row, band in enumerate("ri")]
        result[name] = {
            "listed": len(table), "mean": float(counts["mean"][0]), "low": float(counts["low"][0]),
            "high": float(counts["high"][0]), "chi2_r": float(np.nanmean(left[0])),
            "chi2_i": float(np.nanmean(left[1])), "median_chi2_r": float(np.nanmedian(left[0])),
        }  # fmt: skip
        if (out / "wake.json").is_file():
            result[name]["wake"] = json.loads((out / "wake.json").read_text())
        print(name, result[name], flush=True)
        yield result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("what", choices=("sdss", "glimpse", "m2"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, default=Path("runs/star_fields"))
    parser.add_argument("--ways", type=int, help="most ways of searching in one run")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    before = {}
    if options.output is not None and options.output.is_file():
        before = json.loads(options.output.read_text())[options.what]
    keep = options.keep / options.what
    keep.mkdir(parents=True, exist_ok=True)
    measure = {"sdss": sdss, "glimpse": glimpse, "m2": m2}[options.what]
    for result in itertools.islice(measure(options.preset, options.data, keep, before), options.ways):
        if options.output is not None:
            write_json(options.output, {options.what: result})


if __name__ == "__main__":
    main()
