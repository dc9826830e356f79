"""Sources larger than any window: taken off the field by their profiles before the rest is looked at."""

import numpy as np

from galzoo.contracts.deblended import FLAGS
from galzoo.field.coadd import coadd
from galzoo.field.halos import WithoutHalos, measure_halo
from galzoo.field.photometry import automatic_radius, ellipse_fluxes, ellipses
from galzoo.field.windows import SIDES, group_unit, make_units
from galzoo.tasks.deblend.fit_groups import margin
from galzoo.tasks.deblend.flags import core_pixels

DOUBT = 0.3
"""Part of a halo's light that may be wrong in each pixel: what stands out of it less is none of the other sources."""
# A group may have several large sources: the brightest is taken off, and what is left is looked at again, so often.
_ROUNDS = 4
# A source is large where its light is above the noise beyond this part of the side of a group's largest window.
_LARGE = 0.25
# How often each is measured without the light of the others.
_SWEEPS = 2
# Nothing else is told from the core of a halo: so many FWHM of the PSF, and where it has so much of its greatest light.
_CORE, _CORE_LIGHT = 2.0, 0.1


def take_off(field, sources, segmentation, places, detection, find):
    """Take large sources off a field and find the rest anew.

    Parameters
    ----------
    field : Field
    sources : dict of arrays
        As of `galzoo.field.tiles.collect`.
    segmentation : int array, (y, x)
        Group number + 1.
    places : array, (n, 2), or None
        Positions of a catalogue, which ``row`` of the sources counts.
    detection : galzoo.field.detection.Detection
    find : callable
        ``find(field, places, number)`` returns sources and segmentation.

    Returns
    -------
    less : Field
        Without the large sources.
    sources, segmentation
        Of the rest.
    halos : list of galzoo.field.halos.Halo
    known : dict of arrays
        ``snr`` and ``row`` of the large sources.
    """
    less, halos, known = field, [], {"snr": np.zeros(0), "row": np.zeros(0, int)}
    for number in range(_ROUNDS):
        rows, found = _large(less, sources, detection)
        if not found:
            break
        known = {key: np.append(values, sources[key][rows]) for key, values in known.items()}
        if places is not None:
            # Nowhere, so that the numbers of the others stay.
            places = np.array(places, float)
            places[sources["row"][rows]] = np.nan
        rest = np.delete(np.stack([sources["x"], sources["y"]], axis=-1), rows, axis=0)
        halos = _settled(field, halos + found, rest, detection)
        less = WithoutHalos(field, halos, DOUBT)
        sources, segmentation = find(less, places, number)
        if places is None:
            kept = np.ones(len(sources["x"]), bool)
            for halo in halos:
                reach = max(_CORE * detection.fwhm, halo.core(_CORE_LIGHT))
                kept &= np.hypot(sources["x"] - halo.x, sources["y"] - halo.y) > reach
            sources = {key: values[kept] for key, values in sources.items()}
    if halos:
        # What was found on them is left out of them.
        rest = np.stack([sources["x"], sources["y"]], axis=-1)
        halos = _settled(field, halos, rest, detection)
        less = WithoutHalos(field, halos, DOUBT)
    return less, sources, segmentation, halos, known


def _large(field, sources, detection):
    """Return the brightest sources of groups that no window holds, where they are large by themselves, and halos."""
    rows, halos, pad = [], [], margin(detection.fwhm)
    places = np.stack([sources["x"], sources["y"]], axis=-1)
    starts = np.flatnonzero(np.diff(sources["group"], prepend=-1))
    for members in np.split(np.arange(len(places)), starts[1:]):
        units = make_units(sources, members, pad) if len(members) else []
        if len(units) == 1 and not units[0].truncated or not units:
            continue
        leader = int(members[np.argmax(np.nan_to_num(sources["snr"][members], nan=-np.inf))])
        unit = next(one for one in units if leader in one.sources)
        window = group_unit(unit, sources, int(np.flatnonzero(unit.sources == leader)[0]))
        planes = field.read(window.y0, window.y0 + window.side, window.x0, window.x0 + window.side)
        others = np.delete(places, leader, axis=0)
        halo = measure_halo(planes, (window.x0, window.y0), places[leader], others, detection.fwhm, detection.weights)
        if halo is not None and halo.seen > _LARGE * SIDES[-1]:
            rows.append(leader)
            halos.append(halo)
    return np.array(rows, int), halos


def _settled(field, halos, rest, detection):
    """Return halos measured anew, each without the light of the others; `rest` (n, 2) are the other sources."""
    halos = list(halos)
    for _ in range(_SWEEPS):
        for number, halo in enumerate(halos):
            others = halos[:number] + halos[number + 1 :]
            x0, y0, side = _box(halo)
            planes = WithoutHalos(field, others, 0.0).read(y0, y0 + side, x0, x0 + side)
            places = np.concatenate([rest, np.reshape([(one.x, one.y) for one in others], (-1, 2))])
            new = measure_halo(planes, (x0, y0), (halo.x, halo.y), places, detection.fwhm, detection.weights)
            halos[number] = halo if new is None else new
    return halos


def _box(halo):
    """Return x and y of the first pixel of the square that a halo is in, and its side."""
    return int(round(halo.x)) - halo.reach, int(round(halo.y)) - halo.reach, 2 * halo.reach + 1


def paint_halos(segmentation, halos, groups):
    """Write group numbers + 1 into a label image, in place, where halos are above the noise and no other group is."""
    for halo, group in zip(halos, groups, strict=True):
        x0, y0, side = _box(halo)
        (y0, y1), (x0, x1) = (
            (max(first, 0), min(first + side, length))
            for first, length in zip((y0, x0), segmentation.shape, strict=True)
        )
        part = segmentation[y0:y1, x0:x1]
        part[(halo.radius(y0, y1, x0, x1) <= halo.seen) & (part == 0)] = group + 1


def halo_rows(field, halos, known, detection, settings):
    """Return the rows of large sources, as `galzoo.tasks.deblend.fit_groups.fit_chunk` does, but for their groups.

    Parameters
    ----------
    field : Field
    halos : list of galzoo.field.halos.Halo
    known : dict of arrays
        Of `take_off`.
    detection : galzoo.field.detection.Detection
    settings : galzoo.tasks.deblend.run.Settings
    """
    n, bands = len(halos), len(field.bands)
    rows = [
        _row(field, halo, halos[:number] + halos[number + 1 :], detection, settings)
        for number, halo in enumerate(halos)
    ]
    found = {key: np.concatenate([one[key] for one in rows]) for key in rows[0]}
    unknown = {"position_error": (n, 2), "shape": (n, 3), "shape_error": (n, 3), "chi2": n}
    unknown |= dict.fromkeys(("blendedness", "psf_flux", "psf_flux_err"), (n, bands))
    found |= {key: np.full(shape, np.nan) for key, shape in unknown.items()}
    return found | {"snr": known["snr"], "row": known["row"], "n_in_group": np.ones(n, int)}


def _row(field, halo, others, detection, settings):
    x0, y0, side = _box(halo)
    planes = WithoutHalos(field, others, 0.0).read(y0, y0 + side, x0, x0 + side)
    model = halo.draw(y0, y0 + side, x0, x0 + side)
    flux, error = halo.flux()
    kron, kron_error = _aperture(planes, halo, model, (x0, y0), detection)
    height, width = field.shape
    light = model[max(-y0, 0) : max(height - y0, 0), max(-x0, 0) : max(width - x0, 0)].sum()
    core = core_pixels((side, side), halo.x - x0, halo.y - y0, 0.5 * detection.fwhm)
    flags = FLAGS["truncated"] | (FLAGS["edge"] if light < 0.99 * model.sum() else 0)
    flags |= FLAGS["masked"] if planes["mask"][core].any() else 0
    flags |= FLAGS["saturated"] if planes["saturated"][core].any() else 0
    # Where a band saw nothing its flux is no measurement.
    blind = planes["mask"].all(axis=(0, 1))
    measured = {"flux": flux, "aperture_flux": kron}
    errors = {"flux_error": error, "flux_like_err": error, "aperture_flux_err": kron_error}
    found = {key: np.where(blind, np.nan, value)[None] for key, value in measured.items()}
    found |= {key: np.where(blind, np.inf, value * detection.correlation)[None] for key, value in errors.items()}
    found |= {
        "x": np.array([halo.x]), "y": np.array([halo.y]), "flags": np.array([flags]),
        "model": model.ravel(), "box": np.array([(x0, y0, side)]),
    }  # fmt: skip
    size = settings.stamp_size
    if size:
        left, low = (int(np.floor(middle - (size - 1) / 2 + 0.5)) for middle in (halo.x, halo.y))
        found |= {
            "stamps": halo.draw(low, low + size, left, left + size)[None],
            "stamp_mask": field.read(low, low + size, left, left + size)["mask"][None],
            "stamp_x": np.array([left]), "stamp_y": np.array([low]),
        }  # fmt: skip
    return found


def _aperture(planes, halo, model, corner, detection):
    """Return the Kron flux of a halo in an image without the others and its error, (band,) each."""
    # How large it is follows from the halo alone: other sources would open it wide.
    image, _, empty = coadd(planes | {"image": model}, detection.weights)
    semi = halo.axis()
    ellipse = ellipses([halo.x - corner[0]], [halo.y - corner[1]], [semi], [semi * halo.ratio], [halo.theta])
    radius = automatic_radius(image.astype(np.float32), empty, ellipse)
    flux, error, _ = ellipse_fluxes(planes["image"], planes["variance"], planes["mask"], ellipse, radius)
    return flux[0], error[0]
