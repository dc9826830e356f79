"""Deblenders of galzoo inside the BlendingToolKit (BTK), for its metrics and comparisons.

BTK (Mendoza et al. 2021, Open J. Astrophys. 4, 14) draws blends of catalogue galaxies as a survey would see them and
scores what a deblender makes of them. Its images are (band, y, x) in electrons of the full exposure, without sky.
"""

import logging
from pathlib import Path

import numpy as np

from galzoo.data.zeropoint import njy_per_count
from galzoo.errors import InputError, MissingDependencyError
from galzoo.inference.deblend import can_deblend, deblend

logger = logging.getLogger(__name__)

INSTALL = 'pip install "blending-toolkit==1.0.9" "numpy<2.4"'
"""How to get BTK. The package `btk` on PyPI is another program."""

NOISES = ("all", "background")
_SMOOTHING = 0.7
"""Sigma in pixels of the blur of the data that the noise of the sources is taken from. A variance from the pixel alone
gives low pixels more weight, which pulls fluxes down; a wide blur takes the peaks off stars."""


class GalzooDeblender:
    """A deblender of galzoo as BTK's `btk.deblend.Deblender`; the model runs once for each batch of BTK.

    Parameters
    ----------
    model : str, Path or object
        Name of a preset, folder of a run, or anything with ``bands`` that
        `galzoo.inference.deblend.deblend` takes.
    method : str, optional
        Handed to `galzoo.inference.deblend.deblend`; None leaves it out, for deblenders that have one way only.
    max_n_sources : int, optional
        Most sources of a blend; that of each BTK batch by default.
    detector : callable, optional
        Where to deblend: called with the BTK batch, it returns a `DeblendBatch` (as BTK's own ``SepMultiBand`` does) or
        one catalogue a blend. The positions of the true catalogue by default.
    filters : dict of str to str, optional
        BTK's filter of each band of the model, where their names differ.
    noise : {"all", "background"}
        The ``add_noise`` of BTK's generator: whether the noise of the sources is in the images too.
    psf_size : int
        Side of the PSF images in pixels, odd.
    name : str, optional
        What BTK calls this deblender; the name of the preset by default.
    **options
        Handed to it too.

    Raises
    ------
    MissingDependencyError
        If BTK is not installed.
    InputError
        If the model is no deblender, or an argument has no such value.

    Notes
    -----
    The model sees nJy, by the zero points and exposures of BTK's survey; all that comes back is in electrons. Bands of
    the model that the survey lacks are given with infinite variance. Filters that the model lacks are not deblended:
    images have the filters of `filter_names`, in the survey's order.

    Examples
    --------
    >>> deblender = GalzooDeblender("vae_deblender_lsst", method="map")
    >>> blend_batch, answers = next(btk.deblend.DeblendGenerator(deblender, generator))
    """

    def __init__(
        self,
        model,
        method="map",
        max_n_sources=None,
        detector=None,
        filters=None,
        noise="all",
        psf_size=41,
        name=None,
        **options,
    ):
        _btk().deblend.Deblender.register(type(self))  # makes it a subclass without BTK at import
        if noise not in NOISES:
            raise InputError(f"noise {noise!r} is unknown; use {' or '.join(NOISES)}, as add_noise of BTK's generator")
        if psf_size != int(psf_size) or psf_size < 3 or psf_size % 2 == 0:
            raise InputError(f"psf_size is {psf_size}; give an odd number of pixels, 3 or more")
        self.pixel_scale = None
        if isinstance(model, str | Path):
            from galzoo.presets import load, load_card

            name = name or Path(model).name
            self.pixel_scale = load_card(model).get("data", {}).get("pixel_scale_arcsec")
            model = load(model)
        if not can_deblend(model) or not getattr(model, "bands", None):
            raise InputError(f"{name or type(model).__name__} is no deblender: it needs bands and deblend(batch)")
        unknown = [band for band in filters or {} if band not in model.bands]
        if unknown:
            raise InputError(f"filters has {unknown[0]!r}, which is no band of the model: {', '.join(model.bands)}")
        self.model = model
        self.max_n_sources = max_n_sources
        self.detector = detector
        self.filters = {band: (filters or {}).get(band, band) for band in model.bands}
        self.noise = noise
        self.psf_size = int(psf_size)
        self.name = name or type(self).__name__
        self.options = options if method is None else {"method": method, **options}

    def __repr__(self):
        # BTK takes the names in its results from here.
        return self.name

    def filter_names(self, survey):
        """Return the filters of `survey` that the model has, in the survey's order.

        Raises
        ------
        InputError
            If there is none.
        """
        names = [name for name in survey.available_filters if name in self.filters.values()]
        if not names:
            raise InputError(
                f"survey {survey.name} has the filters {', '.join(survey.available_filters)}, the model the bands "
                f"{', '.join(self.filters)}; say which are the same with filters={{band: filter}}"
            )
        return names

    def filter_indices(self, survey):
        """Return the indices of `filter_names` among the filters of `survey`, to cut BTK's arrays to them."""
        return [list(survey.available_filters).index(name) for name in self.filter_names(survey)]

    def __call__(self, blend_batch, njobs=1, **kwargs):
        """Deblend a batch; the same as `batch_call`."""
        return self.batch_call(blend_batch, njobs, **kwargs)

    def batch_call(self, blend_batch, njobs=1, reference_catalogs=None):
        """Deblend a batch of BTK with one call of the model.

        Parameters
        ----------
        blend_batch : btk.blend_batch.BlendBatch
            Blends of one survey.
        njobs : int
            Part of BTK's interface; the model runs in this process.
        reference_catalogs : list of Table, optional
            Where to deblend, one catalogue a blend; else the detector's, else the true ones.

        Returns
        -------
        btk.blend_batch.DeblendBatch
            ``catalog_list`` with ``ra, dec`` (arcsec from the centre), ``x_peak, y_peak`` (pixels) and what the model
            says of flux (electrons), shape and flags; ``deblended_images`` (n, source, band, y, x) in electrons, with
            PSF, without noise, cut off at 0 as BTK's scores ask; ``extra_data`` with the filters of the images and,
            where the model gives them, chi squared and samples of the flux (draw, source, band).

        Raises
        ------
        InputError
            If the batch cannot be used, or a blend has more sources than `max_n_sources`.
        """
        catalogs, images, extra = self._answer(blend_batch, reference_catalogs, range(_checked(blend_batch).batch_size))
        return _btk().blend_batch.DeblendBatch(
            blend_batch.batch_size,
            self._most(blend_batch),
            catalogs,
            images.shape[2],
            blend_batch.image_size,
            deblended_images=images,
            extra_data=extra,
        )

    def deblend(self, ii, blend_batch, reference_catalogs=None):
        """Deblend blend `ii` of a batch and return BTK's `DeblendExample`; see `batch_call`."""
        (catalog,), images, (extra,) = self._answer(_checked(blend_batch), reference_catalogs, [ii])
        return _btk().blend_batch.DeblendExample(
            self._most(blend_batch),
            catalog,
            images.shape[2],
            blend_batch.image_size,
            deblended_images=images[0],
            extra_data=extra,
        )

    def to_batch(self, blend_batch, catalogs, rows=None):
        """Return blends of BTK as a batch of galzoo.

        Parameters
        ----------
        blend_batch : btk.blend_batch.BlendBatch
            Blends of one survey.
        catalogs : list of Table
            Where the sources are, one catalogue a blend of the BTK batch: ``x_peak, y_peak`` in pixels, else
            ``ra, dec`` in arcsec.
        rows : sequence of int, optional
            Which blends; all by default.

        Returns
        -------
        dict of arrays
            ``image, variance, mask`` (n, y, x, band) in nJy, ``psf`` (n, py, px, band) with the pixel response,
            ``positions`` (n, source, 2) and ``n_sources`` (n,). The number of positions is that of the most sources
            that a blend may have, so that all batches have one shape.
        """
        survey = blend_batch.survey
        present = self.filter_names(survey)
        rows = list(range(blend_batch.batch_size) if rows is None else rows)
        electrons = np.asarray(blend_batch.blend_images, float)[rows]
        n, _, height, width = electrons.shape
        image = np.zeros((n, height, width, len(self.filters)), np.float32)
        variance = np.full_like(image, np.inf)
        psf = np.empty((n, self.psf_size, self.psf_size, len(self.filters)), np.float32)
        # A band that is absent has no weight, but the forward model wants some PSF for it.
        psf[...] = self._psf(blend_batch, present[0])[..., None]
        for band, name in enumerate(self.filters.values()):
            if name in present:
                pixels, scale = electrons[:, list(survey.available_filters).index(name)], njy_per_electron(survey, name)
                image[..., band] = pixels * scale
                variance[..., band] = noise_variance(pixels, survey, name, self.noise) * scale**2
                psf[..., band] = self._psf(blend_batch, name)
        positions = np.zeros((n, max(self._most(blend_batch), 1), 2), np.float32)
        n_sources = np.zeros(n, np.int32)
        for index, row in enumerate(rows):
            found = _positions(catalogs[row], blend_batch.wcs, row)
            if len(found) > self._most(blend_batch):
                raise InputError(
                    f"blend {row} has {len(found)} sources, max_n_sources is {self._most(blend_batch)}; raise it"
                )
            positions[index, : len(found)], n_sources[index] = found, len(found)
        return {
            "image": image,
            "variance": variance,
            "mask": np.zeros(image.shape, bool),
            "psf": psf,
            "positions": positions,
            "n_sources": n_sources,
        }

    def _answer(self, blend_batch, catalogs, rows):
        """Return a catalogue for each row, images (n, source, band, y, x) in electrons, and the extra data."""
        survey, most = blend_batch.survey, self._most(blend_batch)
        self._compare_scales(survey)
        if catalogs is None:
            catalogs = self.detector(blend_batch) if self.detector else blend_batch.catalog_list
        catalogs = list(getattr(catalogs, "catalog_list", catalogs))
        if len(catalogs) != blend_batch.batch_size:
            raise InputError(f"{len(catalogs)} catalogues for {blend_batch.batch_size} blends; give one for each")
        batch = self.to_batch(blend_batch, catalogs, rows)
        answer = deblend(self.model, batch, **self.options)
        names = self.filter_names(survey)
        bands = [list(self.filters.values()).index(name) for name in names]
        per_unit = 1 / np.array([njy_per_electron(survey, name) for name in names])
        images = np.zeros((len(rows), most, len(names), *batch["image"].shape[1:3]), np.float32)
        tables, extra = [], []
        for index, row in enumerate(rows):
            sources = np.flatnonzero(answer.present[index])
            if len(sources) > most:
                raise InputError(f"blend {row}: the model found {len(sources)} sources; raise max_n_sources to that")
            light = answer.image[index, sources][..., bands] * per_unit
            # BTK's scores want no pixel below zero; a PSF taken through Fourier space rings a little.
            images[index, : len(sources)] = np.maximum(np.moveaxis(light, -1, 1), 0)
            tables.append(_catalogue(answer, index, sources, bands, names, per_unit, blend_batch))
            extra.append({"filters": names})
            if answer.chi2 is not None:
                extra[-1]["chi2"] = float(answer.chi2[index])
            if answer.samples is not None:
                extra[-1]["flux_samples"] = answer.samples[:, index, sources][..., bands] * per_unit
        return tables, images, extra

    def _most(self, blend_batch):
        return blend_batch.max_n_sources if self.max_n_sources is None else self.max_n_sources

    def _psf(self, blend_batch, name):
        """Return the PSF of a filter with the pixel response, (psf_size, psf_size), sum 1."""
        psf = blend_batch.psf[list(blend_batch.survey.available_filters).index(name)]
        if not hasattr(psf, "drawImage"):
            raise InputError(
                "this BTK batch was read from a file, which holds its PSFs on pixels of another size; set batch.psf = "
                "[batch.survey.get_filter(name).psf for name in batch.survey.available_filters]"
            )
        scale = blend_batch.survey.pixel_scale.to_value("arcsec")
        image = psf.drawImage(nx=self.psf_size, ny=self.psf_size, scale=scale, dtype=float).array
        return image / image.sum()

    def _compare_scales(self, survey):
        scale = survey.pixel_scale.to_value("arcsec")
        if self.pixel_scale and abs(scale / self.pixel_scale - 1) > 0.01:
            logger.warning(
                "%s was trained on pixels of %g arcsec, those of %s have %g; sizes of galaxies will be off to it",
                self.name,
                self.pixel_scale,
                survey.name,
                scale,
            )


def njy_per_electron(survey, name):
    """Return the nJy of a source that gives one electron in the full exposure of a filter of a BTK survey."""
    band = survey.get_filter(name)
    return njy_per_count(band.zeropoint.value) / band.full_exposure_time.to_value("s")


def noise_variance(pixels, survey, name, noise="all"):
    """Return the variance of BTK's noise: Poisson of the sky and, with "all", of the sources.

    Parameters
    ----------
    pixels : array, (n, y, x)
        Blends in electrons, sky subtracted.
    survey, name
        BTK's survey and the name of the filter.
    noise : {"all", "background"}
        Which noise the images have.

    Returns
    -------
    array, (n, y, x)
        Electrons squared.
    """
    from scipy.ndimage import gaussian_filter
    from surveycodex.utilities import mean_sky_level

    sky = mean_sky_level(survey, survey.get_filter(name)).to_value("electron")
    if noise == "background":
        return np.full(pixels.shape, sky)
    return sky + np.maximum(gaussian_filter(pixels, (0, _SMOOTHING, _SMOOTHING)), 0.0)


def _btk():
    try:
        import btk.blend_batch
        import btk.deblend
    except ImportError as error:
        raise MissingDependencyError(
            f"BTK cannot be imported ({error}); in an environment of its own, Python 3.11 or 3.12: {INSTALL}"
        ) from None
    return btk


def _checked(blend_batch):
    if not hasattr(blend_batch, "blend_images"):
        raise InputError(
            f"{type(blend_batch).__name__} is no batch of one survey; of several surveys, give one: batch[survey_name]"
        )
    return blend_batch


def _positions(catalogue, wcs, row):
    """Return the positions (source, 2) in pixels of a BTK catalogue."""
    if {"x_peak", "y_peak"} <= set(catalogue.colnames):
        found = np.array([catalogue["x_peak"], catalogue["y_peak"]], float).T
    elif {"ra", "dec"} <= set(catalogue.colnames):
        degrees = np.array([catalogue["ra"], catalogue["dec"]], float) / 3600
        found = np.array(wcs.world_to_pixel_values(*degrees), float).reshape(2, -1).T
    else:
        raise InputError(f"the catalogue of blend {row} has neither x_peak and y_peak nor ra and dec")
    if not np.isfinite(found).all():
        raise InputError(f"the catalogue of blend {row} has a position that is not finite; drop that source")
    return found


def _catalogue(answer, index, sources, bands, names, per_unit, blend_batch):
    from astropy.table import Table

    table = Table()
    x, y = np.asarray(answer.positions[index, sources], float).T
    ra, dec = blend_batch.wcs.pixel_to_world_values(x, y)
    # BTK's true positions are arcsec from the centre of the stamp, on either side of 0.
    table["ra"], table["dec"] = (np.asarray(ra) + 180) % 360 - 180, dec
    table["ra"], table["dec"] = table["ra"] * 3600, table["dec"] * 3600
    table["x_peak"], table["y_peak"] = x, y
    for quantity in ("flux", "flux_error"):
        values = getattr(answer, quantity)
        if values is not None:
            for column, (band, name) in enumerate(zip(bands, names, strict=True)):
                table[f"{quantity}_{name}"] = values[index, sources, band] * per_unit[column]
                table[f"{quantity}_{name}"].unit = "electron"
    if answer.shape is not None:
        scale = blend_batch.survey.pixel_scale.to_value("arcsec")
        table["e1"], table["e2"], radius = answer.shape[index, sources].T
        table["half_light_radius"] = radius * scale
        table["half_light_radius"].unit = "arcsec"
    if answer.flags is not None:
        table["flags"] = answer.flags[index, sources]
    return table
