"""What is said of conditions that samples were asked for, on numbers that can be counted by hand."""

import numpy as np
import pytest

from galzoo.tasks.sample.conditions import _classes, _compare, _numbers, image_features, spiral_features


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
