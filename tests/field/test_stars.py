"""Seeing is that of the stars, also where most bright sources are galaxies; a PSF that they contradict is said."""

import logging

import numpy as np
import pytest

from galzoo.data.psf import fwhm_of
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.psf import constant_psf, contradiction, field_psf, measured_psf
from galzoo.field.stars import find_stars, on_branch, sizes
from galzoo.tasks.detect.run import Settings, detect_field
from tests.field.fields import BANDS, FWHM, SCALE, draw, write

SHAPE = (400, 420)


def sky(folder, stars=12, galaxies=36):
    """Return a field of stars among many more galaxies that are as bright, its sources, and which are stars."""
    rng = np.random.default_rng(3)
    places = [(x, y) for x in range(25, 415, 40) for y in range(25, 395, 45)]
    rng.shuffle(places)
    sizes = np.r_[np.zeros(stars), rng.uniform(0.8, 3.0, galaxies)]
    fluxes = np.exp(rng.uniform(np.log(800), np.log(9000), len(sizes)))
    listed = [(*place, flux, size) for place, flux, size in zip(places, fluxes, sizes, strict=False)]
    path = write(folder / "field.fits", draw(SHAPE, listed, seed=2))
    x, y, flux, _ = np.array(listed).T
    return path, {"x": x, "y": y, "snr": flux / 10}, sizes == 0


def test_stars_are_found_among_galaxies(tmp_path):
    path, sources, star = sky(tmp_path)
    with open_field(path, bands=BANDS) as field:
        rows, radii = find_stars(field, sources)
    assert star[rows].mean() > 0.9
    assert star[rows].sum() >= 0.8 * star.sum()
    # Half the light of a Gaussian lies within half its FWHM.
    np.testing.assert_allclose(np.median(radii), FWHM / 2, rtol=0.03)


def test_a_star_beside_another_source_is_no_witness(tmp_path):
    """Three are alone, two are 6 pixels apart, which is less than five of their radii."""
    places = [(20, 20), (60, 20), (20, 60), (60, 60), (66, 60)]
    path = write(tmp_path / "field.fits", draw((80, 84), [(*place, 5000, 0) for place in places]))
    x, y = np.array(places, float).T
    with open_field(path, bands=BANDS) as field:
        rows, _ = sizes(field, {"x": x, "y": y, "snr": np.array([90.0, 80, 70, 99, 95])})
    assert rows.tolist() == [0, 1, 2]


def test_faint_sources_of_one_size_above_brighter_smaller_ones_are_no_stars():
    radii = np.exp([0.0, 0.01, 0.02, -0.1, -0.2, -0.3])
    faint = np.array([31.0, 31, 31])
    assert len(on_branch(np.arange(6), radii, np.r_[faint, 3000, 3000, 3000])[0]) == 0
    assert on_branch(np.arange(3), radii[:3], faint)[0].tolist() == [0, 1, 2]


def test_the_measured_psf_is_the_stars(tmp_path):
    path, sources, _ = sky(tmp_path)
    with open_field(path, bands=BANDS) as field:
        psf = measured_psf(field, sources)
    assert psf.shape[0] == 1
    np.testing.assert_allclose(psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose([fwhm_of(plane) for plane in np.moveaxis(psf[0], -1, 0)], FWHM, rtol=0.05)


def test_without_a_branch_there_are_no_stars_and_it_is_said(tmp_path, caplog):
    path, sources, star = sky(tmp_path, stars=0, galaxies=6)
    with open_field(path, bands=BANDS) as field, caplog.at_level(logging.WARNING):
        assert not len(find_stars(field, sources)[0])
        assert measured_psf(field, sources).shape[-1] == len(BANDS)
        assert "may be galaxies" in caplog.text
        with pytest.raises(InputError, match="--seeing"):
            measured_psf(field, {key: values[:0] for key, values in sources.items()})


def test_a_few_cosmic_rays_below_the_branch_are_not_it():
    rng = np.random.default_rng(0)
    radii = np.r_[rng.normal(2.0, 0.02, 20), rng.uniform(2.3, 4.5, 80), [0.8, 0.81, 0.9]]
    snr = np.r_[np.geomspace(40, 3000, 20), np.geomspace(31, 400, 80), [60, 50, 40]]
    rows, _ = on_branch(np.arange(len(radii)), radii, snr)
    assert len(rows) >= 18
    assert rows.max() < 20


@pytest.mark.parametrize(("part", "said"), [(1.0, False), (1.06, False), (1.3, True), (0.7, True)])
def test_a_psf_that_stars_contradict_is_said(tmp_path, caplog, part, said):
    path, sources, _ = sky(tmp_path)
    with open_field(path, bands=BANDS) as field, caplog.at_level(logging.WARNING):
        given = constant_psf(field_psf(field, seeing=part * FWHM * SCALE), field)
        found = contradiction(field, sources, given)
    assert set(found) == (set(BANDS) if said else set())
    assert ("differ by more than 10 %" in caplog.text) is said
    for one, other in found.values():
        assert one / other == pytest.approx(part, rel=0.06)


@pytest.mark.parametrize(("part", "said"), [(1.0, False), (1.3, True)])
def test_detection_says_it_too(tmp_path, caplog, part, said):
    path, _, _ = sky(tmp_path)
    with caplog.at_level(logging.WARNING):
        detect_field(path, tmp_path / "out", bands=BANDS, seeing=part * FWHM * SCALE, settings=Settings(report=False))
    assert ("differ by more than 10 %" in caplog.text) is said
