"""The population: joint distributions, colours, sizes and what is drawn from them."""

import numpy as np
import pytest
from astropy.table import Table

from galzoo.errors import InputError
from galzoo.simulate.galaxies import WAVELENGTHS, GalaxySampler, Population, catsim_population
from galzoo.simulate.mixture import builtin_population

BANDS = np.array([486.4, 756.5])


@pytest.fixture(scope="module")
def population():
    return builtin_population(n=4000)


def sampler(population, **changes):
    settings = {"reference": 1, "magnitude_range": (20, 25), "largest_radius": 2.0} | changes
    return GalaxySampler(population, BANDS, **settings)


def one(**changes):
    columns = {
        "id": np.array(["a"]),
        "magnitudes": np.full((1, 6), 24.0),
        "redshift": np.ones(1),
        "bulge_radius": np.full(1, 0.2),
        "bulge_ratio": np.full(1, 0.8),
        "disc_radius": np.full(1, 0.6),
        "disc_ratio": np.full(1, 0.5),
        "bulge_fraction": np.full(1, 0.3),
    }
    return Population(**(columns | {name: np.asarray(value) for name, value in changes.items()}))


def test_the_built_in_population_is_reproducible_and_sane(population):
    again = builtin_population(n=4000)
    np.testing.assert_array_equal(population.magnitudes, again.magnitudes)
    assert not np.array_equal(population.magnitudes, builtin_population(seed=1, n=4000).magnitudes)
    assert len(set(population.id)) == len(population) == 4000
    assert np.all((population.disc_ratio > 0.1) & (population.disc_ratio <= 1))
    radius = population.half_light_radii(population.bulge_fraction)
    bright, faint = population.magnitudes[:, 3] < 24, population.magnitudes[:, 3] > 26
    assert np.median(radius[bright]) > 1.2 * np.median(radius[faint])
    assert population.bulge_fraction[bright].mean() > population.bulge_fraction[faint].mean()


def test_magnitudes_are_the_bands_own_and_extend_smoothly():
    table = one(magnitudes=[[26.0, 25.5, 25.0, 24.6, 24.4, 24.2]])
    np.testing.assert_allclose(table.magnitudes_at(WAVELENGTHS), table.magnitudes)
    infrared, middle = table.magnitudes_at([1540.0, 690.0])[0]
    assert 23.0 < infrared < 24.2
    assert 24.6 < middle < 25.0


def test_bulges_are_redder_than_discs():
    blue, red = one().bulge_fractions_at([486.4, 756.5], colour=0.3)[0]
    ratio = (red / (1 - red)) / (blue / (1 - blue))
    assert 2.5 * np.log10(ratio) == pytest.approx(0.3, abs=1e-3)


def test_half_light_radius_of_both_lies_between(population):
    assert one(bulge_fraction=[0.0]).half_light_radii(np.zeros(1))[0] == pytest.approx(0.6, rel=1e-4)
    assert one(bulge_fraction=[1.0]).half_light_radii(np.ones(1))[0] == pytest.approx(0.2, rel=1e-4)
    assert 0.2 < one().half_light_radii(np.array([0.3]))[0] < 0.6


def test_draws_keep_to_range_and_size_and_sum_up(population):
    draw = sampler(population, largest_radius=0.6)
    rng = np.random.default_rng(0)
    galaxies = [draw.draw(rng) for _ in range(100)]
    flux = np.array([galaxy.flux for galaxy in galaxies])
    magnitude = 31.4 - 2.5 * np.log10(flux[:, 1])
    assert magnitude.min() > 20
    assert magnitude.max() < 25
    assert max(galaxy.half_light_radius for galaxy in galaxies) < 0.6
    assert all(np.all(part.flux >= 0) for galaxy in galaxies for part in galaxy.components)
    assert {part.kind for galaxy in galaxies for part in galaxy.components} == {"bulge", "disc", "knots"}
    assert all(np.hypot(*galaxy.ellipticity) < 1 for galaxy in galaxies)


def test_flat_magnitudes_have_more_bright_galaxies(population):
    rng = np.random.default_rng(0)
    flat, counts = (sampler(population, flat_magnitude=share) for share in (1.0, 0.0))
    bright = [np.mean([draw._sorted[draw.row(rng)] < 22.5 for _ in range(400)]) for draw in (flat, counts)]
    assert bright[0] > 0.35
    assert bright[1] < 0.1


def test_nothing_in_range_is_an_error(population):
    with pytest.raises(InputError, match="widen the range"):
        sampler(population, magnitude_range=(10, 11))


def catsim(path, **changes):
    table = Table({name: np.full(3, 0.3) for name in ("redshift", "a_b", "b_b", "a_d")})
    table["b_d"] = 0.12
    table["fluxnorm_bulge"], table["fluxnorm_disk"] = [1.0, 0.0, 0.0], [3.0, 1.0, 0.0]
    table["galtileid"] = [11, 12, 13]
    for band in "ugrizy":
        table[f"{band}_ab"] = 24.0
    table.remove_columns([name for name, keep in changes.items() if not keep])
    table.write(path)
    return path


def test_catsim_columns(tmp_path):
    table = catsim_population(catsim(tmp_path / "catsim.fits"))
    assert list(table.id) == ["catsim-11", "catsim-12"]  # a galaxy without flux is none
    np.testing.assert_allclose(table.bulge_fraction, [0.25, 0])
    np.testing.assert_allclose(table.disc_radius, np.sqrt(0.3 * 0.12), rtol=1e-6)
    np.testing.assert_allclose(table.disc_ratio, 0.4, rtol=1e-6)


def test_catsim_errors_name_file_and_column(tmp_path):
    with pytest.raises(InputError, match="nowhere.fits: no such catalogue"):
        catsim_population(tmp_path / "nowhere.fits")
    with pytest.raises(InputError, match="no column 'a_d'"):
        catsim_population(catsim(tmp_path / "catsim.fits", a_d=False))
