"""Arms, bars, rings and lopsidedness: what they add up to, where they lie, how they are turned."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.simulate.galaxies import DISC_B, Component, GalaxySampler
from galzoo.simulate.mixture import builtin_population
from galzoo.simulate.render import StampGrid, component_transform
from galzoo.simulate.stamps import StampSpec, simulate_stamps
from galzoo.simulate.structure import Arms, Bar, Lopsided, Ring, StructureModel

GRID = StampGrid(81, 0.1, 21)


def drawn(pattern, angle=0.0, axis_ratio=1.0, scale_length=0.8):
    """The pattern of a disc at the centre of 81 pixels, (y, x), and the pixels' places in scale lengths."""
    part = Component("pattern", np.ones(1), scale_length * DISC_B, axis_ratio, pattern=pattern)
    column, row = GRID.shift(40, 40)
    image = GRID.sample(component_transform(part, angle, GRID) * GRID.gaussian(0.1) * column * row)
    place = (np.arange(81) - 40) * 0.1 / scale_length
    return image, place[None, :] + 0 * place[:, None], place[:, None] + 0 * place[None, :]


def harmonic(image, x, y, number, near, far):
    """The Fourier component e^(i number azimuth) of an annulus over its light."""
    annulus = (np.hypot(x, y) > near) & (np.hypot(x, y) < far)
    return np.sum(image[annulus] * np.exp(1j * number * np.arctan2(y, x)[annulus])) / image[annulus].sum()


@pytest.mark.parametrize(
    "pattern", [Arms(2, 0.3, 4.0, 0.5, 1.2, 0.4), Bar(1.0, 0.3, 0.7), Ring(1.5, 0.2), Lopsided(1.0)], ids=repr
)
@pytest.mark.parametrize("axis_ratio", [1.0, 0.4])
def test_a_pattern_has_the_flux_it_is_given_and_no_negative_light(pattern, axis_ratio):
    image, _, _ = drawn(pattern, angle=0.6, axis_ratio=axis_ratio, scale_length=0.5)
    assert image.sum() == pytest.approx(1, abs=0.01)
    assert image.min() > -1e-3 * image.max()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_arms_are_as_many_as_asked_and_wind_as_their_pitch_says(number):
    image, x, y = drawn(Arms(number, 0.4, 5.0, 0.4, 1.3, 0.0))
    strength = [abs(harmonic(image, x, y, m, 1.0, 1.3)) for m in (1, 2, 3)]
    assert int(np.argmax(strength)) + 1 == number
    # tan(pitch) = d ln(radius) / d azimuth along an arm.
    inner, outer = (np.angle(harmonic(image, x, y, number, r - 0.1, r + 0.1)) / number for r in (1.0, 1.6))
    turned = (outer - inner) % (2 * np.pi / number)
    assert turned == pytest.approx((np.log(1.6) / np.tan(0.4)) % (2 * np.pi / number), abs=0.12)


def test_a_bar_lies_at_its_azimuth_from_the_major_axis_of_the_galaxy():
    image, x, y = drawn(Bar(1.5, 0.3, 0.5), angle=0.3)
    azimuth = np.angle(harmonic(image, x, y, 2, 0.0, 3.0)) / 2
    assert azimuth == pytest.approx(0.8, abs=0.02)


def test_a_ring_is_where_it_should_be_and_inclined_with_its_disc():
    image, x, y = drawn(Ring(2.0, 0.15), axis_ratio=0.5)
    row, column = image[40], image[:, 40]
    # Circularised radius 2: axes 2 / sqrt(q) and 2 sqrt(q).
    assert abs(x[40][np.argmax(row)]) == pytest.approx(2 / np.sqrt(0.5), abs=0.15)
    assert abs(y[:, 40][np.argmax(column)]) == pytest.approx(2 * np.sqrt(0.5), abs=0.15)


def test_lopsided_light_is_on_its_side():
    image, x, y = drawn(Lopsided(2.0))
    first = harmonic(image, x, y, 1, 0.0, 4.0)
    assert np.angle(first) == pytest.approx(2.0, abs=0.02)
    assert abs(first) == pytest.approx(0.5, abs=0.02)


def test_structure_keeps_the_flux_and_takes_none_below_zero():
    population = builtin_population(n=2000)
    sampler = GalaxySampler(population, np.array([368.1, 756.5]), 1, (19, 25), 3.0, structure=1.0)
    smooth = GalaxySampler(population, np.array([368.1, 756.5]), 1, (19, 25), 3.0)
    rng = np.random.default_rng(3)
    galaxies = [sampler.draw(rng) for _ in range(300)]
    kinds = {part.kind for galaxy in galaxies for part in galaxy.components}
    assert kinds == {"bulge", "disc", "knots", "pattern"}
    assert all(np.all(part.flux >= 0) for galaxy in galaxies for part in galaxy.components)
    totals = dict(zip(population.id, population.magnitudes, strict=True))
    for galaxy in galaxies[:50]:
        magnitude = -2.5 * np.log10(galaxy.flux[1]) + 31.4
        assert magnitude == pytest.approx(totals[galaxy.id][3], abs=0.05)
    with_patterns = [g for g in galaxies if any(part.kind == "pattern" for part in g.components)]
    discs = [g for g in galaxies if any(part.kind == "disc" for part in g.components)]
    none = (1 - 0.8) * (1 - 0.3) * (1 - 0.12) * (1 - 0.5)
    assert len(with_patterns) / len(discs) == pytest.approx(1 - none, abs=0.06)
    assert not any(part.kind == "pattern" for _ in range(100) for part in smooth.draw(rng).components)


def test_shares_of_a_disc_stay_below_four_fifths():
    rng = np.random.default_rng(0)
    totals = [sum(share for _, share in StructureModel(strength=2.0).draw(rng)) for _ in range(200)]
    assert max(totals) == pytest.approx(0.8)


def test_simulated_stamps_have_structure_only_when_asked():
    options = {"survey": "GOODS", "bands": ["F850LP"], "stamp_size": 48, "magnitude_range": (19, 21), "seed": 4}
    smooth = simulate_stamps(StampSpec(**options), range(3))
    again = simulate_stamps(StampSpec(**options, structure=0.0), range(3))
    formed = simulate_stamps(StampSpec(**options, structure=1.0), range(3))
    np.testing.assert_array_equal(smooth.image, again.image)
    assert not np.allclose(smooth.truth, formed.truth, rtol=1e-2)
    with pytest.raises(InputError, match="structure is 1.5; give a fraction"):
        StampSpec(**options, structure=1.5)


def test_brightness_by_hand():
    assert Ring(2.0, 0.5).brightness(0.0, 2.5) == pytest.approx(np.exp(-0.5))
    even, uneven = (Arms(2, 0.3, 4.0, 0.5, 1.2, 0.4, one) for one in (0.0, 0.25))
    for side, share in ((1, 1.25), (-1, 0.75)):
        place = 1.5 * side * np.cos(0.4), 1.5 * side * np.sin(0.4)
        assert uneven.brightness(*place) == pytest.approx(share * even.brightness(*place))


def test_one_pattern_has_no_more_than_its_share_and_arms_begin_at_the_bar():
    rng = np.random.default_rng(0)
    ((_, share),) = StructureModel(arms=1, bar=0, ring=0, lopsided=0, strength=1e3).draw(rng)
    assert share == 0.7
    (bar, _), (arms, _) = StructureModel(arms=1, bar=1, ring=0, lopsided=0).draw(rng)
    assert arms.inner == bar.length
