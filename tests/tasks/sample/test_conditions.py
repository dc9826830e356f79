"""What is said of conditions that samples were asked for, on numbers that can be counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import QTable

from galzoo.data.stamps import Stamps
from galzoo.tasks.sample import conditions
from galzoo.tasks.sample.conditions import (
    _classes,
    _compare,
    _numbers,
    image_features,
    judged_conditions,
    numeric_conditions,
    rank_correlation,
    spiral_features,
)


def test_got_over_asked_in_fifths_and_over_all():
    """Samples are 10 % too large, real ones 20 % too small but for the upper half, which is right."""
    asked = np.arange(100.0) + 1
    wanted = 10 * asked
    got = {"samples": 1.1 * wanted, "real": np.where(asked > 50, 1.0, 0.8) * wanted}
    found = _compare(asked, wanted, got, 0)
    rows = found["rows"]
    assert [row["n"] for row in rows] == [20, 20, 20, 20, 20, 100]
    assert rows[0]["low"] == 1
    assert (rows[-1]["low"], rows[-1]["high"]) == (None, None)
    assert [row["samples"] for row in rows] == pytest.approx([0.1] * 6)
    assert [row["real"] for row in rows] == pytest.approx([-0.2, -0.2, -0.1, 0, 0, -0.1])
    assert [row["ratio"] for row in rows] == pytest.approx([1.375, 1.375, 1.2375, 1.1, 1.1, 1.2375])
    assert rows[-1]["real_scatter"] == pytest.approx(0.1)
    assert rows[0]["real_scatter"] == pytest.approx(0)
    assert found["rank"]["samples"]["value"] == pytest.approx(1)
    assert found["rank"]["real"]["value"] > 0.95
    # Where nothing real was measured there is no ratio.
    got["real"][:20] = np.nan
    assert np.isnan(_compare(asked, wanted, got, 0)["rows"][0]["ratio"])


def test_classes_and_numbers_that_are_told():
    """Of three 1's two are told, the one 2 is not, of four 3's two are."""
    found = _classes(np.array([1.0, 1, 1, 2, 3, 3, 3, 3]), np.array([1.0, 1, 2, 1, 3, 3, 1, 1]))
    assert found["accuracy"] == 0.5
    assert found["accuracy_error"] == pytest.approx(np.sqrt(0.25 / 8))
    assert found["balanced"] == pytest.approx((2 / 3 + 0 + 1 / 2) / 3)
    sure = _classes(np.ones(4), np.ones(4))
    # As if one in n were wrong.
    assert (sure["accuracy"], sure["accuracy_error"]) == (1, 0.25)
    asked = np.arange(10.0)
    numbers = _numbers(asked, asked + np.where(asked < 9, -1.0, 3.0), 0)
    assert numbers["error"] == pytest.approx(1.2)
    assert numbers["rank"] == pytest.approx(1)
    assert 0.05 < numbers["error_error"] < 0.4
    assert _numbers(asked, -asked, 0)["rank"] == pytest.approx(-1)


def test_rings_colours_and_concentrations_are_features():
    """A disc of 5 in one band and 2.5 in the other, over a scale of 0.5: differences of arcsinh of 10 and 5."""
    y, x = np.indices((33, 33)) - 16
    disc = (np.hypot(x, y) < 6).astype(float)
    image = np.stack([5 * disc, 2.5 * disc], axis=-1)[None]
    features = image_features(image, np.array([0.5, 0.5]))[0]
    for expected in (np.arcsinh(10), np.arcsinh(5), np.arcsinh(5) - np.arcsinh(10)):
        assert np.isclose(features, expected, atol=1e-5).any(), expected
    turned = image_features(np.rot90(image, axes=(1, 2)), np.array([0.5, 0.5]))[0]
    np.testing.assert_allclose(spiral_features(image.mean(axis=-1)), 0, atol=0.5)
    assert features.shape == turned.shape


def galaxies(flux, sigma, scale=0.2):
    """Return Gaussians of fluxes in g and in r, those in g of half the width, (n, y, x, band)."""
    grid = np.arange(33) - 16
    width = np.stack([sigma / 2, sigma], axis=-1)[:, None, None]
    light = np.exp(-0.5 * (grid[:, None, None] ** 2 + grid[:, None] ** 2) / width**2)
    return light * (flux / light.sum(axis=(1, 2)))[:, None, None]


def test_fluxes_and_sizes_are_measured_in_the_bands_and_units_of_what_was_asked():
    n = 12
    mag, sigma = np.linspace(20, 22, n), np.linspace(2.0, 3.0, n)
    # nJy of AB magnitudes, in r; half the light of a Gaussian is within 1.1774 sigma.
    flux = 10 ** (0.4 * (31.4 - mag))
    real = galaxies(np.stack([3 * flux, flux], axis=-1), sigma)
    samples = galaxies(np.stack([3 * flux, 1.2 * flux], axis=-1), 1.1 * sigma)
    asked = {"mag": mag, "half_light_radius": 1.1774 * sigma * 0.2, "z": mag, "kind": np.zeros(n)}
    asked["mag"][0] = np.nan
    test = Stamps(real, ["g", "r"], 0.2, catalogue=QTable(asked))
    model = SimpleNamespace(
        columns=tuple(asked), condition_ranges={**dict.fromkeys(asked, (0, 30)), "kind": [0, 1]}, bands=("g", "r"),
        flux_column="mag", flux_band="r",
    )  # fmt: skip
    results, measured, skipped = numeric_conditions(model, test, real, samples, 1)
    assert set(results) == set(measured) == {"mag", "half_light_radius"}
    assert skipped == {"z": "cannot be measured on an image"}
    assert results["mag"]["quantity"] == "flux in r, which is set to it"
    assert (results["mag"]["set"], results["half_light_radius"]["set"]) == (True, False)
    assert results["half_light_radius"]["quantity"] == "half-light radius in r, arcsec"
    magnitude, size = (results[name]["rows"][-1] for name in results)
    assert (magnitude["n"], size["n"]) == (n - 1, n)
    assert (magnitude["samples"], magnitude["real"]) == pytest.approx((0.2, 0), abs=1e-3)
    assert (size["samples"], size["real"]) == pytest.approx((0.1, 0), abs=0.01)
    np.testing.assert_allclose(measured["mag"]["asked"], flux[1:], rtol=1e-6)
    np.testing.assert_allclose(measured["mag"]["samples"], 1.2 * flux[1:], rtol=1e-3)
    np.testing.assert_allclose(measured["half_light_radius"]["real"], asked["half_light_radius"], rtol=0.01)
    # In the other band they are half as large.
    other = numeric_conditions(model, test, real, samples, 0)[0]["half_light_radius"]
    assert other["quantity"] == "half-light radius in g, arcsec"
    assert other["rows"][-1]["real"] == pytest.approx(-0.5, abs=0.02)


def test_sizes_are_of_so_many_and_a_column_of_few_is_left_out(monkeypatch):
    monkeypatch.setattr(conditions, "SIZES", 15)
    sigma = np.linspace(2.0, 3.0, 20)
    image = galaxies(np.ones((20, 2)), sigma)
    model = SimpleNamespace(columns=("half_light_radius",), condition_ranges={"half_light_radius": (0, 1)})
    test = Stamps(image, ["g", "r"], 0.2, catalogue=QTable({"half_light_radius": sigma}))
    assert numeric_conditions(model, test, image, image, 1)[0]["half_light_radius"]["rows"][-1]["n"] == 15
    test.catalogue["half_light_radius"][9:] = np.nan
    found = numeric_conditions(model, test, image, image, 1)
    assert found == ({}, {}, {"half_light_radius": "known for 9 galaxies only"})


def test_the_largest_is_in_the_last_bin():
    asked = np.arange(10.0)
    rows = _compare(asked, asked + 1, {"samples": asked, "real": asked}, 0)["rows"]
    assert [row["n"] for row in rows] == [2, 2, 2, 2, 2, 10]


def test_the_error_of_a_rank_is_that_of_other_draws():
    """Without a correlation it is the inverse root of the number of pairs; what is unknown is left out."""
    a, b = np.random.default_rng(1).normal(size=(2, 100))
    rank, error = rank_correlation(a, b)
    assert error == pytest.approx(0.1, rel=0.3)
    missing = np.full(5, np.nan)
    assert rank_correlation(np.r_[a, missing], np.r_[b, np.ones(5)]) == pytest.approx((rank, error))
    assert rank_correlation(np.r_[a, np.ones(5)], np.r_[b, missing]) == pytest.approx((rank, error))


class Judge:
    """Tells of each galaxy what its only feature says; keeps what it learnt."""

    def __init__(self, versions, label, classes):
        self.learnt, self.label, self.classes = versions, label, classes
        Judge.all.append(self)

    def predict(self, features):
        return features[:, 0]


@pytest.fixture
def judge(monkeypatch):
    Judge.all = []
    monkeypatch.setattr(conditions, "_fit", Judge)
    monkeypatch.setattr(conditions, "image_features", lambda image, scale: image[:, 0, 0])


def catalogue(**columns):
    n = len(next(iter(columns.values())))
    return Stamps(np.zeros((n, 4, 4, 1)), ["r"], 0.2, catalogue=QTable(columns))


def told(values):
    return np.broadcast_to(np.asarray(values, float)[:, None, None, None], (len(values), 4, 4, 1))


def test_classes_are_judged_where_they_are_learnt(judge):
    """Class 2 has 9 training galaxies, one less than are needed; -1 is no class."""
    learnt = np.repeat([0.0, 1, 2, -1], [20, 35, 9, 3])
    asked = np.repeat([0.0, 1, 2, -1], [6, 8, 2, 1])
    model = SimpleNamespace(columns=("kind",), condition_ranges={"kind": [0, 1, 2]})
    images = {"real": told(asked), "samples": told(np.where(np.arange(17) < 3, 1, asked))}
    versions = [told(np.arange(67)), told(100 + np.arange(67))]
    results, skipped = judged_conditions(model, catalogue(kind=asked), catalogue(kind=learnt), images, versions, 1)
    assert not skipped
    found = results["kind"]
    assert (found["n"], found["n_train"], found["classes"]) == (14, 55, {"0": 20, "1": 35})
    # Of the commonest of training.
    assert found["majority"] == 8 / 14
    assert found["real"]["accuracy"] == 1
    assert found["samples"]["accuracy"] == pytest.approx(11 / 14)
    assert found["samples"]["balanced"] == pytest.approx((3 / 6 + 1) / 2)
    (one,) = Judge.all
    assert [version[0, 0] for version in one.learnt] == [0, 100]
    assert one.label.tolist() == [0] * 20 + [1] * 35


def test_numbers_are_judged_where_that_is_asked(judge):
    learnt, asked = np.arange(61.0), np.r_[np.arange(20.0), np.nan]
    model = SimpleNamespace(columns=("size",), condition_ranges={"size": (0, 60)})
    sets = model, catalogue(size=asked), catalogue(size=learnt), {"samples": told(np.nan_to_num(asked) + 2)}
    assert judged_conditions(*sets, [told(learnt)], 1) == ({}, {})
    found = judged_conditions(*sets, [told(learnt)], 1, regress=True)[0]["size"]
    assert (found["n"], found["n_train"], found["samples"]["error"]) == (20, 61, 2)
    # The median of training is 30, of 0 to 19 the mean is 9.5.
    assert found["constant"] == 20.5
    assert found["samples"]["rank"] == pytest.approx(1)


@pytest.mark.parametrize(("train", "test"), [(49, 20), (60, 9)])
def test_of_too_few_galaxies_nothing_is_judged(train, test, judge):
    model = SimpleNamespace(columns=("kind",), condition_ranges={"kind": [0, 1]})
    sets = catalogue(kind=np.arange(test) % 2), catalogue(kind=np.arange(train) % 2)
    results, skipped = judged_conditions(model, *sets, {"real": told(np.zeros(test))}, [told(np.zeros(train))], 1)
    assert results == {}
    assert skipped == {"kind": f"known for {train} training and {test} test galaxies: too few"}
