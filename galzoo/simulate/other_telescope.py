"""A noiseless image of a galaxy as another telescope sees it: its bands, its PSF, its pixels."""

import logging

import numpy as np

from galzoo.errors import InputError

logger = logging.getLogger(__name__)

FLOOR = 1e-2
"""Below this transfer of the model-frame Gaussian an image has next to no signal; as in `galzoo.layers.psf`."""

MOST_GAIN = 1.25
"""A PSF through which any wave number would be amplified by more than this resolves finer than the model frame."""

_FAR = 0.15
"""Bands whose wavelengths differ by more than this part stand in for each other, but that is said."""

_FINEST = 4


def match_bands(source, bands, survey, wanted=(), say=True):
    """Find which bands of an image stand for the bands of a survey.

    Parameters
    ----------
    source : str
        Survey of the image, whose wavelengths are used where it is known.
    bands : sequence of str
        Bands of the image.
    survey : Survey
    wanted : sequence of str
        Bands of the survey. By default those with a namesake among `bands`; if there is none, the nearest to each.
    say : bool
        Warn in the log of bands that are far from their stand-ins.

    Returns
    -------
    dict of str to int
        For each band of the survey the number of its namesake in `bands` (F814W is f814w), else of the nearest in
        wavelength.

    Raises
    ------
    UnknownNameError
        If the survey has no such band.
    InputError
        If a band has no namesake and wavelengths are not known.
    """
    from galzoo.simulate.surveys import get_survey, list_surveys

    known = get_survey(source).bands if source in list_surveys() else {}
    own = np.array([_nm(known[name]) if name in known else np.nan for name in bands])
    names = [name.casefold() for name in bands]
    new = {name: _nm(band) for name, band in survey.bands.items()}
    wanted = [survey.band(name).name for name in wanted] or [name for name in new if name.casefold() in names]
    if not wanted:
        near = {min(new, key=lambda name: abs(new[name] - value)) for value in own if np.isfinite(value)}
        wanted = [name for name in new if name in near]
    if not wanted:
        raise InputError(
            f"no band of {survey.name} ({', '.join(new)}) has a namesake among the model's ({', '.join(bands)}), whose "
            "wavelengths are not known; choose with bands which to show"
        )
    picked = {}
    for name in wanted:
        if name.casefold() in names:
            picked[name] = names.index(name.casefold())
        elif len(bands) > 1 and np.isnan(own).any():
            raise InputError(
                f"band {name!r} of {survey.name} has no namesake among the model's ({', '.join(bands)}), whose "
                f"wavelengths are not known; choose other bands of {', '.join(new)}"
            )
        else:
            picked[name] = int(np.argmin(np.abs(np.log(own / new[name]))))
        if say and (value := own[picked[name]]) and abs(np.log(value / new[name])) > _FAR:
            logger.warning(
                "%s %s (%.0f nm) is made of the model's %s (%.0f nm), flux as it is in nJy: colour is not carried over",
                *(survey.name, name, new[name], bands[picked[name]], value),
            )
    return picked


def _nm(band):
    return band.effective_wavelength.to_value("nm")


class Waves:
    """Exact transforms of images between pixels of any sizes; nothing wraps around within `field`.

    Parameters
    ----------
    scale : float
        Arcsec per pixel of the images whose transforms are taken: wave numbers end at their Nyquist frequency.
    field : float
        Arcsec from which light is kept apart; the transform has this period.

    Notes
    -----
    The grids need not fit each other, so the sums over pixels and wave numbers are written as products of matrices.
    Origins are the true centres, ``(n - 1) / 2``.
    """

    def __init__(self, scale, field):
        count = int(np.ceil(field / (2 * scale)))
        self.length = (2 * count + 1) * scale
        self.ky = 2 * np.pi / self.length * np.arange(-count, count + 1)
        # Images are real: the other half plane is the conjugate.
        self.kx = self.ky[count:]
        self.radius = np.hypot(self.ky[:, None], self.kx)
        self._phases = {}

    def _phase(self, axis, n, scale):
        key = axis, n, scale
        if key not in self._phases:
            places = (np.arange(n) - (n - 1) / 2) * scale
            self._phases[key] = np.exp(-1j * np.outer(getattr(self, axis), places))
        return self._phases[key]

    def forward(self, image, scale):
        """Return the transform (..., ky, kx) of an image (..., y, x) in flux per pixel of `scale` arcsec."""
        return self._phase("ky", image.shape[-2], scale) @ image @ self._phase("kx", image.shape[-1], scale).T

    def backward(self, spectrum, shape, scale):
        """Return the image (..., y, x) of `shape` that a transform has on pixels of `scale` arcsec, flux per pixel."""
        weight = np.where(self.kx > 0, 2, 1) * (scale / self.length) ** 2
        columns = self._phase("kx", shape[1], scale).conj() * weight[:, None]
        return (self._phase("ky", shape[0], scale).conj().T @ spectrum @ columns).real

    def gaussian(self, sigma):
        """Return the transform of a round Gaussian of `sigma` arcsec."""
        return np.exp(-0.5 * (sigma * self.radius) ** 2)


class Optics:
    """The PSFs of some bands, drawn finer than the pixels, pixel response included.

    Parameters
    ----------
    survey : Survey or None
        Whose PSFs, unless `psf` is given.
    bands : sequence of str
    scale : float
        Arcsec per pixel of the telescope.
    finest : float
        The PSFs are sampled at half of this, but between 1/2 and 1/4 of `scale`: no PSF has anything beyond.
    size : int
        Pixels on a side, odd.
    psf : array (y, x) or (y, x, band), path or sequence of paths, optional
        An own PSF; it is centred.
    psf_scale : float, optional
        Arcsec per pixel of `psf`; by default from PSF files' headers (PIXSCALE), else `scale`.
    vary : bool
        Other PSFs for each generator, as the simulator has; else `nominal` always.

    Attributes
    ----------
    nominal : array, (band, y, x)
        Fine images, unit sum. From the ground a Moffat profile of index 3.5 with the survey's width.
    """

    def __init__(self, survey, bands, scale, finest, size, psf=None, psf_scale=None, vary=True):
        self.size, self.fine = size, int(np.clip(np.ceil(2 * scale / finest), 2, _FINEST))
        self.step = scale / self.fine
        self._side = self.fine * (size - 1) + 1
        self.fixed = psf is not None or not vary
        if psf is not None:
            self.nominal = self._own(psf, bands, scale, psf_scale)
        else:
            from galzoo.simulate.psf import Nominal, PSFModel

            self._model = PSFModel(survey, tuple(bands))
            self.nominal = self.draw(Nominal())

    def draw(self, rng):
        """Return the fine images (band, y, x) of one object."""
        return np.stack([profile.image(self._side, self.step) for profile in self._model.draw(rng)])

    def pixels(self, fine):
        """Return the PSFs (size, size, band) of fine images on the telescope's pixels, unit sum."""
        middle, reach = fine.shape[-1] // 2, fine.shape[-1] // 2 // self.fine
        index = middle + self.fine * np.arange(-reach, reach + 1)
        image = np.pad(fine[:, index[:, None], index], ((0, 0), *[(self.size // 2 - reach,) * 2] * 2))
        return np.moveaxis(image / image.sum(axis=(1, 2), keepdims=True), 0, -1)

    def _own(self, psf, bands, scale, psf_scale):
        from galzoo.data.psf import prepare_psf, read_psf, stack_psf

        if not isinstance(psf, np.ndarray):
            if psf_scale is None:
                psf_scale = _header_scale(psf) or scale
            return np.moveaxis(read_psf(psf, bands, self._side, self.step, psf_scale)[0], -1, 0).astype(float)
        images = np.moveaxis(np.atleast_3d(psf), -1, 0)
        if len(images) not in (1, len(bands)):
            raise InputError(f"psf has shape {psf.shape}; give (y, x), or (y, x, band) with {len(bands)} bands")
        ratio = self.step / (psf_scale or scale)
        found = [prepare_psf(image, self._side, ratio) for image in images]
        return np.moveaxis(stack_psf(found * len(bands) if len(found) == 1 else found), -1, 0).astype(float)


def _header_scale(paths):
    from galzoo.data.fits_keywords import pixel_scale
    from galzoo.data.planes import open_planes

    planes = open_planes(paths[0] if isinstance(paths, list | tuple) else paths, kind="psf")
    scale = pixel_scale(planes[0].header, planes[0].name)
    for plane in planes:
        plane.close()
    return scale


class View:
    """How images in a model frame look on other pixels.

    Parameters
    ----------
    shape : (int, int)
        Of the images, y and x.
    scale : float
        Their arcsec per pixel.
    sigma : float
        Of their Gaussian PSF in their pixels; 0 where the PSF is not known: nothing is taken out.
    new_shape, new_scale
        Of the view.
    optics : Optics, optional
        The telescope; without it the view stays in the model frame.

    Attributes
    ----------
    sigma : float
        Of the view's model frame in its own pixels: as in the images, or more where the new pixels are finer, since
        nothing is sharpened.
    kept : bool array, (band,)
        Bands whose PSF resolves finer than the model frame: they stay as sharp as the images are. None without optics.

    Notes
    -----
    The image is band-limited, so the transform of the PSF over that of the Gaussian is applied to its exact transform,
    which is evaluated at the new pixels.
    """

    def __init__(self, shape, scale, sigma, new_shape, new_scale, optics=None):
        self.scale, self.shape, self.new_scale, self.optics = scale, new_shape, new_scale, optics
        self.sigma = sigma * max(1.0, scale / new_scale)
        self._same = tuple(shape) == tuple(new_shape) and scale == new_scale
        field = max(*(n * scale for n in shape), *(n * new_scale for n in new_shape))
        # Twice the field where there is no PSF: the sharp edge of a stamp swings on for a while.
        wings = optics.size * new_scale / 2 if optics else field
        self._waves = Waves(scale, field + wings)
        self._gaussian = np.maximum(self._waves.gaussian(sigma * scale), FLOOR)
        wider = np.sqrt(max((self.sigma * new_scale) ** 2 - (sigma * scale) ** 2, 0))
        self._frame = self._waves.gaussian(wider)
        self.kept, self._fixed = None, None
        if optics:
            # Beyond the circle, in the corners of the square of wave numbers, there is nothing to amplify.
            inside = self._waves.radius <= self._waves.ky[-1]
            gain = np.where(inside, np.abs(self._transfer(optics.nominal)), 0).max(axis=(1, 2))
            self.kept = (gain > MOST_GAIN) & (sigma > 0)
            self._sampled = sampled_gaussian(optics.size, sigma * scale / new_scale) if sigma else None
            self._fixed = self._through(optics.nominal) if optics.fixed else None

    def frame(self, image):
        """Return images (band, y, x) in the model frame of the view's pixels."""
        return np.asarray(image, float) if self._same else self._apply(image, self._frame)

    def look(self, image, rng):
        """Return images (band, y, x) through the PSFs drawn with `rng`, and these PSFs, (size, size, band)."""
        transfer, psf = self._fixed or self._through(self.optics.draw(rng))
        return self._apply(image, transfer), psf

    def _apply(self, image, transfer):
        return self._waves.backward(self._waves.forward(image, self.scale) * transfer, self.shape, self.new_scale)

    def _transfer(self, fine):
        # A sampled PSF's transform repeats beyond its Nyquist frequency, where the telescope sees nothing.
        known = np.maximum(np.abs(self._waves.ky[:, None]), self._waves.kx) < np.pi / self.optics.step
        return np.where(known, self._waves.forward(fine, self.optics.step) / self._gaussian, 0)

    def _through(self, fine):
        transfer, psf = self._transfer(fine), self.optics.pixels(fine)
        if self.kept.any():
            transfer = np.where(self.kept[:, None, None], 1.0, transfer)
            psf = np.where(self.kept, self._sampled[..., None], psf)
        return transfer, psf


def sampled_gaussian(size, sigma):
    """Return a Gaussian PSF (size, size) of unit sum, `sigma` in pixels."""
    line = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    return np.outer(line, line) / line.sum() ** 2
