"""Surveys: the instrument numbers that a simulation needs, as astropy Quantities.

Numbers come from the package `surveycodex` where it has the survey, and where it has not from
``zoo_configs/surveys/*.yaml``, each with its reference. Pixels are in nJy everywhere:
AB magnitude = 31.4 - 2.5 log10(flux / nJy).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import yaml
from astropy import units as u

from galzoo.data.zeropoint import magnitude_to_njy, njy_per_count, njy_to_magnitude
from galzoo.errors import InputError, UnknownNameError
from galzoo.resources import configs_dir


@dataclasses.dataclass(frozen=True)
class Band:
    """One band of a survey.

    Parameters
    ----------
    name : str
        Name of the band.
    psf_fwhm : Quantity
        Full width at half maximum of the PSF with the pixel response in it, arcsec.
    zero_point : float
        AB magnitude of a source that gives 1 electron per second.
    sky_brightness : float
        AB magnitude per square arcsec.
    exposure_time : Quantity
        Exposure of the full survey, s.
    effective_wavelength : Quantity
        Effective wavelength, nm.
    extra_noise : float
        Electrons^2 per pixel that are neither sky nor source: dark current and read-out.
    """

    name: str
    psf_fwhm: u.Quantity
    zero_point: float
    sky_brightness: float
    exposure_time: u.Quantity
    effective_wavelength: u.Quantity
    extra_noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class Survey:
    """A survey: pixel scale, telescope and bands.

    Parameters
    ----------
    name : str
        Name of the survey.
    pixel_scale : Quantity
        Arcsec per pixel.
    gain : float
        Electrons per ADU; for information, as pixels here are never in ADU.
    mirror_diameter : Quantity
        Diameter of the primary mirror, m.
    obscuration : float
        Fraction of the area of the mirror that is obscured.
    in_space : bool
        Whether the PSF is diffraction and jitter (True) or seeing (False).
    bands : dict of str to Band
        The bands, blue to red.
    references : dict
        Where the numbers are from.
    """

    name: str
    pixel_scale: u.Quantity
    gain: float
    mirror_diameter: u.Quantity
    obscuration: float
    in_space: bool
    bands: dict
    references: dict = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def band(self, name):
        """Return the band called `name`.

        Raises
        ------
        UnknownNameError
            If the survey has no such band.
        """
        if name not in self.bands:
            raise UnknownNameError.of(f"band of {self.name}", name, self.bands)
        return self.bands[name]


def list_surveys():
    """Return the names of all surveys, sorted."""
    import surveycodex

    return sorted({*surveycodex.available_surveys, *_files()})


@functools.cache
def get_survey(name):
    """Return a survey by name.

    Parameters
    ----------
    name : str
        One of `list_surveys`.

    Raises
    ------
    UnknownNameError
        If there is no such survey; the nearest name is in the message.

    Examples
    --------
    >>> get_survey("LSST").pixel_scale
    <Quantity 0.2 arcsec>
    """
    import surveycodex

    files = _files()
    if name in files:
        return _from_yaml(files[name])
    if name in surveycodex.available_surveys:
        return _from_surveycodex(surveycodex.get_survey(name))
    raise UnknownNameError.of("survey", name, list_surveys())


def electrons_per_njy(survey, band, depth=1.0):
    """Return the electrons that a source of 1 nJy gives in the full exposure times `depth`."""
    numbers = _survey(survey).band(band)
    rate = 1 / njy_per_count(numbers.zero_point)
    return rate * numbers.exposure_time.to_value(u.s) * depth


def noise_sigma(survey, band, depth=1.0):
    """Return the noise per pixel where there is no source: sky, dark current and read-out.

    Parameters
    ----------
    survey : Survey or str
        The survey or its name.
    band : str
        Name of the band.
    depth : float
        Exposure in units of the full survey's.

    Returns
    -------
    float
        Standard deviation, nJy per pixel.
    """
    survey = _survey(survey)
    if not depth > 0:
        raise InputError(f"depth is {depth}; give the exposure in units of the full survey's, above 0")
    numbers = survey.band(band)
    area = survey.pixel_scale.to_value(u.arcsec) ** 2
    sky_njy = magnitude_to_njy(numbers.sky_brightness) * area
    gain = electrons_per_njy(survey, band, depth)
    return float(np.sqrt(sky_njy * gain + numbers.extra_noise * depth) / gain)


def limiting_magnitude(survey, band, depth=1.0):
    """Return the AB magnitude of a 5 sigma point source, for a Gaussian PSF and matched-filter photometry."""
    survey = _survey(survey)
    fwhm = (survey.band(band).psf_fwhm / survey.pixel_scale).to_value(u.one)
    # A Gaussian's matched filter sees an effective area of 4 pi sigma^2.
    area = 4 * np.pi * (fwhm / np.sqrt(8 * np.log(2))) ** 2
    return njy_to_magnitude(5 * noise_sigma(survey, band, depth) * np.sqrt(area))


def _survey(survey):
    return survey if isinstance(survey, Survey) else get_survey(survey)


def _files():
    return {path.stem: path for path in sorted((configs_dir() / "surveys").glob("*.yaml"))}


def _from_surveycodex(codex):
    bands = {}
    for name in codex.available_filters:
        band = codex.get_filter(name)
        bands[name] = Band(
            name=name,
            psf_fwhm=band.psf_fwhm.to(u.arcsec),
            zero_point=float(band.zeropoint.value),
            sky_brightness=float(band.sky_brightness.value),
            exposure_time=band.full_exposure_time.to(u.s),
            effective_wavelength=band.effective_wavelength.to(u.nm),
        )
    return Survey(
        name=codex.name,
        pixel_scale=codex.pixel_scale.to(u.arcsec),
        gain=float(codex.gain.value),
        mirror_diameter=codex.mirror_diameter.to(u.m),
        obscuration=float(u.Quantity(codex.obscuration).value),
        # surveycodex integrates its zero points at airmass 0 for telescopes above the atmosphere.
        in_space=float(u.Quantity(codex.zeropoint_airmass).value) == 0,
        bands=bands,
        references={"package": "surveycodex", **codex.references},
    )


def _from_yaml(path):
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        bands = {
            name: Band(
                name=name,
                psf_fwhm=u.Quantity(band["psf_fwhm"]).to(u.arcsec),
                zero_point=float(band["zero_point"]),
                sky_brightness=float(band["sky_brightness"]),
                exposure_time=u.Quantity(band["exposure_time"]).to(u.s),
                effective_wavelength=u.Quantity(band["effective_wavelength"]).to(u.nm),
                extra_noise=float(band.get("extra_noise", 0)),
            )
            for name, band in data["bands"].items()
        }
        return Survey(
            name=path.stem,
            pixel_scale=u.Quantity(data["pixel_scale"]).to(u.arcsec),
            gain=float(data["gain"]),
            mirror_diameter=u.Quantity(data["mirror_diameter"]).to(u.m),
            obscuration=float(data["obscuration"]),
            in_space=bool(data["in_space"]),
            bands=bands,
            references=data["references"],
        )
    except (KeyError, TypeError, ValueError, u.UnitConversionError) as error:
        raise InputError(f"{path}: a survey number is missing or has the wrong unit: {error}") from None
