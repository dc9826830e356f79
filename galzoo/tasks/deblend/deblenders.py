"""Classical deblenders, the baselines of the suite "deblend": aperture, SEP, photutils, and the best that is possible.

A deblender is a callable ``deblend(batch) -> Deblended`` that answers for the sources of the batch, in their order.
One that finds sources by itself also has ``find(batch) -> Deblended`` with what it found, in any order, which
`galzoo.tasks.deblend.alignment.aligned` turns into an answer for the sources of the batch.
"""

import dataclasses

import numpy as np

from galzoo.contracts.deblended import FLAGS, Deblended
from galzoo.data.extraction import extract
from galzoo.errors import InputError
from galzoo.field.photometry import KRON_FACTOR, LEAST_RADIUS, automatic_radius, ellipse_fluxes, ellipses, kron_radius
from galzoo.metrics.deblending import present_sources
from galzoo.metrics.reconstruction import inverse_variance
from galzoo.tasks.deblend.alignment import aligned

# SExtractor's defaults: threshold in sigma, area in pixels, levels (Bertin & Arnouts 1996, A&AS 117, 393).
THRESHOLD, LEAST_AREA, LEVELS = 1.5, 5, 32
# Below its default of 0.005, as blends of a few galaxies want it: a smaller one finds no more of them.
CONTRAST = 1e-4
# Around a given position the Kron radius is measured within so many FWHM of the PSF.
KRON_REACH = 4.0
# Photutils' own default.
PHOTUTILS_CONTRAST = 0.001


def detection_image(image, variance, mask):
    """Add the bands of one scene, each with the inverse variance of its sky.

    Parameters
    ----------
    image, variance, mask : array, (y, x, band)
        Without sky; the mask is True where bad.

    Returns
    -------
    image : float64 array, (y, x)
        The weighted mean.
    noise : float
        Its standard deviation in a pixel of sky.
    bad : bool array, (y, x)
        Pixels that no band has.

    Raises
    ------
    InputError
        If no pixel can be used.
    """
    weight = inverse_variance(variance, mask)
    # A bright source has its own noise, which must not count against it: a band has one weight, that of its sky.
    levels = [np.median(plane[plane > 0]) if (plane > 0).any() else 0.0 for plane in np.moveaxis(weight, -1, 0)]
    weight = (weight > 0) * np.array(levels)
    total = weight.sum(axis=-1)
    bad = total == 0
    if bad.all():
        raise InputError("a scene has no pixel that can be used: all are masked or without variance")
    data = np.sum(np.where(weight > 0, image, 0.0) * weight, axis=-1) / np.where(bad, 1.0, total)
    return data, float(1 / np.sqrt(np.median(total[~bad]))), bad


@dataclasses.dataclass(frozen=True)
class Aperture:
    """Photometry of the blend as it is: circles of 2.5 Kron radii about the given positions, neighbours and all.

    References
    ----------
    Kron 1980, ApJS 43, 305.
    """

    def __call__(self, batch):
        """Measure the sources of a batch; see `galzoo.tasks.deblend.deblenders`."""
        scenes = []
        for scene in scenes_of(batch):
            data, _, bad = detection_image(scene["image"], scene["variance"], scene["mask"])
            x, y = scene["positions"].T
            circles = ellipses(x, y, np.ones(len(x)), np.ones(len(x)), np.zeros(len(x)))
            reach = KRON_REACH * _gaussian_fwhm(scene.get("psf"))
            # A circle about noise can have any Kron radius; light beyond the reach was not looked at.
            radius = np.clip(KRON_FACTOR * np.nan_to_num(kron_radius(data, bad, circles, reach)), LEAST_RADIUS, reach)
            flux, error, _ = ellipse_fluxes(scene["image"], scene["variance"], scene["mask"], circles, radius)
            rows, columns = np.indices(data.shape)
            inside = np.hypot(columns - x[:, None, None], rows - y[:, None, None]) <= radius[:, None, None]
            scenes.append((scene["positions"], flux, error, inside[..., None] * scene["image"]))
        return deblended_scenes(scenes, batch, batch["positions"].shape[1])


@dataclasses.dataclass(frozen=True)
class SEP:
    """Detection and segments by SEP, which is SExtractor as a library.

    Sources are found on the weighted mean of the bands. A source's image is the blend on its segment, and its flux the
    sum of that. Kron ellipses lose less light of a source alone and take more from its neighbours.

    Parameters
    ----------
    threshold : float
        In sigma of the sky.
    min_area : int
        Least number of connected pixels.
    levels, contrast : int, float
        Of the deblending.
    kron : bool
        Fluxes in Kron ellipses, where pixels of other segments are replaced by the ellipse's mean.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393; Barbary 2016, JOSS 1, 58.
    """

    threshold: float = THRESHOLD
    min_area: int = LEAST_AREA
    levels: int = LEVELS
    contrast: float = CONTRAST
    kron: bool = False

    def __call__(self, batch):
        """Measure the sources of a batch; those that were not found have no flux."""
        return aligned(self.find(batch), batch)

    def find(self, batch):
        """Return what is found, as `Deblended`."""
        return deblended_scenes([self._measure(scene) for scene in scenes_of(batch)], batch)

    def _measure(self, scene):
        data, noise, bad = detection_image(scene["image"], scene["variance"], scene["mask"])
        objects, labels = extract(data, self.threshold, noise, bad, self.min_area, self.levels, self.contrast)
        number = np.arange(1, len(objects) + 1)
        positions = np.stack([objects["x"], objects["y"]], axis=-1)
        images = _on_segments(scene["image"], labels, number)
        if self.kron:
            ellipse = ellipses(*(objects[key] for key in ("x", "y", "a", "b", "theta")))
            radius = automatic_radius(data, bad, ellipse, labels)
            planes = scene["image"], scene["variance"], scene["mask"]
            flux, error, _ = ellipse_fluxes(*planes, ellipse, radius, labels)
        else:
            flux, error = _segment_flux(scene, images, labels, number)
        return positions, flux, error, images


@dataclasses.dataclass(frozen=True)
class Photutils:
    """Detection, segments and Kron fluxes by photutils, on the same image as `SEP`.

    Parameters
    ----------
    threshold, min_area, contrast
        As for `SEP`; the contrast is photutils' own default.

    References
    ----------
    Bradley et al., photutils, https://doi.org/10.5281/zenodo.596036.
    """

    threshold: float = THRESHOLD
    min_area: int = LEAST_AREA
    contrast: float = PHOTUTILS_CONTRAST

    def __call__(self, batch):
        """Measure the sources of a batch; those that were not found have no flux."""
        return aligned(self.find(batch), batch)

    def find(self, batch):
        """Return what is found, as `Deblended`."""
        return deblended_scenes([self._measure(scene) for scene in scenes_of(batch)], batch)

    def _measure(self, scene):
        import inspect
        import warnings

        from astropy.convolution import convolve
        from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources, make_2dgaussian_kernel

        data, noise, bad = detection_image(scene["image"], scene["variance"], scene["mask"])
        kernel = make_2dgaussian_kernel(_gaussian_fwhm(scene.get("psf")), size=5)
        smooth = convolve(data, kernel, boundary="fill", fill_value=0.0)
        with warnings.catch_warnings():
            # Photutils warns where there is nothing, and where an ellipse has no area.
            warnings.simplefilter("ignore")
            segments = detect_sources(smooth, self.threshold * noise, self.min_area, mask=bad)
            bands = scene["image"].shape[-1]
            if segments is None:
                nothing = np.zeros((0, bands))
                return np.zeros((0, 2)), nothing, nothing, np.zeros((0, *scene["image"].shape))
            segments = deblend_sources(smooth, segments, self.min_area, contrast=self.contrast, progress_bar=False)
            found = SourceCatalog(data, segments, convolved_data=smooth, mask=bad)
            # Its name changed with photutils 3.
            names = inspect.signature(SourceCatalog).parameters
            shapes = "detection_catalog" if "detection_catalog" in names else "detection_cat"
            fluxes, errors = np.zeros((2, len(segments.labels), bands))
            for band in range(bands):
                weight = inverse_variance(scene["variance"][..., band], scene["mask"][..., band])
                if (weight > 0).any():
                    error = 1 / np.sqrt(np.where(weight > 0, weight, np.inf))
                    seen = SourceCatalog(
                        scene["image"][..., band].astype(np.float64), segments, error=error, mask=weight == 0,
                        **{shapes: found},
                    )  # fmt: skip
                    fluxes[:, band], errors[:, band] = seen.kron_flux, seen.kron_flux_err
                else:
                    fluxes[:, band] = errors[:, band] = np.nan
            positions = np.reshape(found.centroid, (-1, 2))
        return positions, fluxes, errors, _on_segments(scene["image"], segments.data, segments.labels)


@dataclasses.dataclass(frozen=True)
class Oracle:
    """The best that is possible: the true images of all sources, fitted together by weighted least squares.

    Each band is fitted by itself. What is left is what the noise does to the flux of a galaxy whose place and shape are
    known exactly, beside neighbours that are.
    """

    def __call__(self, batch):
        """Measure the sources of a batch, which must have ``isolated``."""
        if "isolated" not in batch:
            raise InputError("the oracle fits the true image of each source; give scenes with isolated images")
        isolated = batch["isolated"]
        n, most, *_, bands = isolated.shape
        total = isolated.sum(axis=(2, 3), dtype=np.float64)
        weight = inverse_variance(batch["variance"], batch.get("mask"))

        def rows(planes):
            return np.moveaxis(planes, -1, 1).reshape(n, bands, -1, planes.shape[-3] * planes.shape[-2])

        templates, root = rows(isolated), np.sqrt(rows(weight))
        weighted = templates * root
        normal = weighted @ np.swapaxes(weighted, -1, -2)
        right = (weighted @ np.swapaxes(rows(batch["image"]) * root, -1, -2))[..., 0]
        # Without light there is nothing to fit: unit rows keep the matrix regular.
        dark = np.einsum("nbss->nbs", normal) <= 0
        normal = np.where(dark[..., None] | dark[..., None, :], np.eye(most), normal)
        covariance = np.linalg.pinv(normal, hermitian=True)
        share = np.einsum("nbst,nbt->nbs", covariance, right)
        spread = np.sqrt(np.einsum("nbss->nbs", covariance))
        share, spread = (np.moveaxis(np.where(dark, np.nan, part), 1, 2) for part in (share, spread))
        made = isolated * np.nan_to_num(share)[:, :, None, None]
        present = present_sources(batch["positions"], batch["n_sources"])
        error = spread * total
        return _finished(made, share * total, batch["positions"], present, batch, error)


def baselines():
    """Return the classical deblenders by name, from doing nothing to the best that is possible."""
    return {"aperture": Aperture(), "SEP": SEP(), "photutils": Photutils(), "oracle": Oracle()}


def scenes_of(batch):
    """Yield the scenes of a batch as dicts of arrays without padding."""
    for row, count in enumerate(np.asarray(batch["n_sources"])):
        scene = {key: batch[key][row] for key in ("image", "variance", "mask", "psf") if key in batch}
        scene.setdefault("mask", np.zeros(scene["image"].shape, bool))
        yield scene | {"positions": np.asarray(batch["positions"][row, :count], dtype=np.float64)}


def _gaussian_fwhm(psf):
    """Return the FWHM in pixels of the Gaussian whose peak is that of the sharpest band's PSF; 3 without a PSF."""
    return 3.0 if psf is None else float(np.sqrt(4 * np.log(2) / np.pi / np.max(psf)))


def _segment_flux(scene, images, labels, numbers):
    """Return fluxes and errors (source, band) of what lies on segments; NaN in a band without pixels."""
    good = np.isfinite(scene["variance"]) & ~scene["mask"]
    noise = _on_segments(np.where(good, scene["variance"], 0.0), labels, numbers)
    seen = good.any(axis=(0, 1))
    flux, spread = images.sum(axis=(1, 2), dtype=np.float64), noise.sum(axis=(1, 2), dtype=np.float64)
    return np.where(seen, flux, np.nan), np.where(seen, np.sqrt(spread), np.nan)


def _on_segments(image, labels, numbers):
    return image * (labels == np.reshape(numbers, (-1, 1, 1)))[..., None]


def deblended_scenes(scenes, batch, most=1):
    """Pad what was measured scene by scene, positions, fluxes, errors and images, to `most` sources or more."""
    n, *shape = batch["image"].shape
    counts = np.array([len(positions) for positions, *_ in scenes])
    most = max(most, counts.max(initial=0))
    bands = shape[-1]
    flux, error, positions = (np.zeros((n, most, *size)) for size in ([bands], [bands], [2]))
    image = np.zeros((n, most, *shape), np.float32)
    for row, parts in enumerate(scenes):
        for padded, part in zip((positions, flux, error, image), parts, strict=True):
            padded[row, : len(part)] = part
    return _finished(image, flux, positions, np.arange(most) < counts[:, None], batch, error)


def _finished(image, flux, positions, present, batch, error):
    """Return `Deblended` with the residual of the sum."""
    weight = inverse_variance(batch["variance"], batch.get("mask"))
    residual = np.where(weight > 0, batch["image"] - image.sum(axis=1), 0.0)
    count = np.count_nonzero(weight, axis=(1, 2, 3))
    return Deblended(
        image=image.astype(np.float32, copy=False),
        flux=flux,
        positions=np.asarray(positions, dtype=np.float64),
        present=present,
        flux_error=error,
        chi2=np.sum(residual**2 * weight, axis=(1, 2, 3)) / np.where(count, count, np.nan),
        residual=residual.astype(np.float32),
        flags=np.where(present & (flux <= 0).any(axis=-1), FLAGS["negative_flux"], 0).astype(np.int32),
    )
