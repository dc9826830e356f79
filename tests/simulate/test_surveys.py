"""Survey numbers: against surveycodex, and against what the numbers must mean."""

import numpy as np
import pytest
import surveycodex
from astropy import units as u
from surveycodex.utilities import mean_sky_level

from galzoo.data.zeropoint import magnitude_to_njy, njy_to_magnitude
from galzoo.errors import InputError, UnknownNameError
from galzoo.simulate import surveys
from galzoo.simulate.surveys import electrons_per_njy, get_survey, limiting_magnitude, list_surveys, noise_sigma


def test_lsst_agrees_with_surveycodex():
    codex, survey = surveycodex.get_survey("LSST"), get_survey("LSST")
    assert survey.pixel_scale == codex.pixel_scale
    assert list(survey.bands) == list(codex.available_filters)
    for name, band in survey.bands.items():
        other = codex.get_filter(name)
        assert band.psf_fwhm == other.psf_fwhm
        assert band.zero_point == other.zeropoint.value
        assert band.exposure_time == other.full_exposure_time


@pytest.mark.parametrize("band", "ugrizy")
def test_sky_noise_agrees_with_surveycodex(band):
    # surveycodex cuts the electrons per square arcsec to an integer.
    sky = mean_sky_level("LSST", band).value
    electrons = noise_sigma("LSST", band) * electrons_per_njy("LSST", band)
    np.testing.assert_allclose(electrons**2, sky, rtol=1e-4)


def test_ten_year_depth_of_lsst_is_the_requirement():
    # Coadded r depth 27.5 (LSST Science Requirements Document, design goal), within what the seeing model leaves open.
    assert abs(limiting_magnitude("LSST", "r") - 27.5) < 0.25


def test_depth_scales_the_noise():
    assert noise_sigma("LSST", "i", depth=0.25) == pytest.approx(2 * noise_sigma("LSST", "i"))
    with pytest.raises(InputError, match="depth is 0"):
        noise_sigma("LSST", "i", depth=0)


def test_every_survey_reads():
    names = list_surveys()
    assert {"LSST", "HSC", "DES", "CFHTLS", "Euclid_VIS", "COSMOS", "CANDELS"} <= set(names)
    for name in names:
        survey = get_survey(name)
        assert survey.references
        assert all(np.isfinite(limiting_magnitude(survey, band)) for band in survey.bands)


def test_space_and_ground_are_told_apart():
    assert get_survey("Euclid_VIS").in_space
    assert get_survey("CANDELS").in_space
    assert not get_survey("LSST").in_space


def test_candels_h_band():
    survey = get_survey("CANDELS")
    assert survey.pixel_scale == 0.06 * u.arcsec
    assert 0.17 <= survey.band("F160W").psf_fwhm.to_value(u.arcsec) <= 0.18
    # 5 sigma within a radius of 0.17 arcsec is 27.4 in CANDELS Wide (Guo et al. 2013, ApJS 207, 24).
    aperture = np.pi * (0.17 / 0.06) ** 2
    assert abs(njy_to_magnitude(5 * noise_sigma(survey, "F160W") * np.sqrt(aperture)) - 27.4) < 0.3


def test_unknown_names_say_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'LSST'"):
        get_survey("LSSTT")
    with pytest.raises(UnknownNameError, match="F160W"):
        get_survey("CANDELS").band("F161W")


def test_a_survey_file_with_a_missing_number_is_named(tmp_path, monkeypatch):
    (tmp_path / "surveys").mkdir()
    (tmp_path / "surveys" / "Broken.yaml").write_text("pixel_scale: 0.1 arcsec\nbands: {r: {psf_fwhm: 1 arcsec}}\n")
    monkeypatch.setattr(surveys, "configs_dir", lambda: tmp_path)
    with pytest.raises(InputError, match="Broken.yaml.*zero_point"):
        get_survey("Broken")


def test_magnitudes_round_trip():
    assert magnitude_to_njy(31.4) == pytest.approx(1)
    np.testing.assert_allclose(njy_to_magnitude(magnitude_to_njy([20.0, 25.0])), [20, 25])
    assert np.isnan(njy_to_magnitude(-1.0))


def test_noise_of_the_detector_scales_with_the_depth_as_the_sky_does():
    assert get_survey("CANDELS").band("F160W").extra_noise > 0
    assert noise_sigma("CANDELS", "F160W", depth=0.25) == pytest.approx(2 * noise_sigma("CANDELS", "F160W"))


def test_the_limit_is_5_sigma_of_a_gaussian():
    survey = get_survey("LSST")
    sigma = survey.band("r").psf_fwhm.to_value(u.arcsec) / 0.2 / 2.3548
    limit = magnitude_to_njy(limiting_magnitude(survey, "r"))
    assert limit == pytest.approx(5 * noise_sigma(survey, "r") * np.sqrt(4 * np.pi) * sigma, rel=1e-4)
