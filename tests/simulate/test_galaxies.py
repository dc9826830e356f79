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
    # By half of the slope from i to y, and of that from u to g, in the logarithm of the wavelength.
    assert infrared == pytest.approx(24.2 - 0.5 * 0.4 * np.log(1540.0 / 972.2) / np.log(972.2 / 756.5))
    assert 24.6 < middle < 25.0
    ultraviolet = table.magnitudes_at([200.0])[0, 0]
    assert ultraviolet == pytest.approx(26.0 + 0.5 * 0.5 * np.log(368.1 / 200.0) / np.log(486.4 / 368.1))


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


def test_what_is_long_does_not_fit_though_it_is_thin(population):
    """The half-light radius of a galaxy is circularised, .6 arcsec; along its major axis it is 1.2."""
    thin = one(bulge_fraction=[0.0, 0.0], disc_ratio=[0.25, 0.25], **{
        name: np.repeat(getattr(one(), name), 2, axis=0)
        for name in ("id", "magnitudes", "redshift", "bulge_radius", "bulge_ratio", "disc_radius")
    })  # fmt: skip
    assert len(sampler(thin, largest_radius=1.21).population) == 2
    with pytest.raises(InputError, match="0 of 2 galaxies"):
        sampler(thin, largest_radius=1.19)


def test_a_flat_draw_is_within_a_tenth_of_a_magnitude_or_one_of_ten(population):
    draw = sampler(population, flat_magnitude=1.0)

    class Fixed:
        """Draws of one magnitude, and the ends of what is drawn from."""

        def __init__(self, target):
            self.target = target

        def random(self):
            return 0.0

        def uniform(self, low, high):
            return self.target

        def integers(self, low, high):
            self.ends = low, high
            return low

    faint, bright = Fixed(24.0), Fixed(draw._sorted[0])
    draw.row(faint)
    chosen = draw._sorted[slice(*faint.ends)]
    assert len(chosen) > 10
    assert np.abs(chosen - 24.0).max() <= 0.1
    draw.row(bright)
    assert bright.ends == (0, 10)


def galaxies_of(table, n=60, **changes):
    """Return draws of one galaxy, which is there twice."""
    columns = {name: np.repeat(getattr(table, name), 2, axis=0) for name in vars(table)}
    draw = sampler(Population(**columns), magnitude_range=(20, 26), **changes)
    rng = np.random.default_rng(1)
    return [draw.draw(rng) for _ in range(n)]


def test_components_add_up_to_the_flux_of_the_galaxy():
    table = one(magnitudes=[[25.0, 24.5, 24.2, 24.0, 23.9, 23.8]])
    wanted = 10 ** (0.4 * (31.4 - table.magnitudes_at(BANDS)[0]))
    for galaxy in galaxies_of(table, structure=0.5):
        np.testing.assert_allclose(galaxy.flux, wanted)
        assert len({part.kind for part in galaxy.components} & {"bulge", "disc"}) == 2


def test_bulges_scatter_in_colour_and_knots_are_bluer_than_discs():
    table = one(magnitudes=[[25.0, 24.5, 24.2, 24.0, 23.9, 23.8]])
    differences = {"bulge": [], "knots": []}
    for galaxy in galaxies_of(table, 300):
        colour = {part.kind: -2.5 * np.log10(part.flux[0] / part.flux[1]) for part in galaxy.components}
        smooth = [part for part in galaxy.components if part.kind in ("disc", "knots")]
        disc = np.sum([part.flux for part in smooth], axis=0)
        for kind in set(colour) & set(differences):
            beside = disc if kind == "bulge" else galaxy.flux - galaxy.components[0].flux
            differences[kind].append(colour[kind] + 2.5 * np.log10(beside[0] / beside[1]))
    assert np.mean(differences["bulge"]) == pytest.approx(0.3, abs=0.03)
    assert np.std(differences["bulge"]) == pytest.approx(0.15, abs=0.02)
    np.testing.assert_allclose(differences["knots"], -0.3, atol=1e-6)


def test_ellipticity_is_the_distortion_along_the_position_angle():
    for galaxy in galaxies_of(one(bulge_fraction=[0.0]), 5, knots=0.0):
        e = (1 - 0.5**2) / (1 + 0.5**2)
        np.testing.assert_allclose(galaxy.ellipticity, (e * np.cos(2 * galaxy.angle), e * np.sin(2 * galaxy.angle)))


def test_colours_are_magnitudes_less_that_at_a_wavelength():
    table = one(magnitudes=[[25.0, 24.5, 24.2, 24.0, 23.9, 23.8]])
    columns = {name: np.repeat(getattr(table, name), 2, axis=0) for name in vars(table)}
    colours, redshift = sampler(Population(**columns)).colours(np.random.default_rng(0), WAVELENGTHS[3])
    np.testing.assert_allclose(colours, [0.5, 0.0], atol=1e-6)
    assert redshift == 1


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


def test_catsim_radii_are_circularised_and_rows_without_a_number_left_out(tmp_path):
    path = catsim(tmp_path / "catsim.fits")
    table = Table.read(path)
    table["a_b"], table["b_b"] = 0.9, 0.4
    table["r_ab"][0] = np.nan
    table.write(path, overwrite=True)
    found = catsim_population(path)
    assert found.id.tolist() == ["catsim-12"]
    np.testing.assert_allclose(found.bulge_radius, 0.6)
    np.testing.assert_allclose(found.disc_radius, np.sqrt(0.3 * 0.12))
    np.testing.assert_allclose(found.disc_ratio, 0.4)
