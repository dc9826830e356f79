"""Catalogues of stars against counts made by hand."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.star_catalogues import catalogue_scores, f1_score, match_stars, nearest_stars


def test_one_found_star_serves_one_true_star():
    truth = np.array([[10.0, 10.0], [10.4, 10.0]])
    partner = match_stars([[10.2, 10.0]], [100.0], truth, [100.0, 100.0])
    assert sorted(partner) == [-1, 0]


def test_as_many_pairs_as_can_be():
    # The nearest pair first would leave the second true star alone.
    truth, found = np.array([[10.0, 5.0], [10.45, 5.0]]), np.array([[10.3, 5.0], [9.6, 5.0]])
    np.testing.assert_array_equal(match_stars(found, [1.0, 1.0], truth, [1.0, 1.0]), [1, 0])


@pytest.mark.parametrize(("flux", "match"), [(158.0, True), (160.0, False), (64.0, True), (62.0, False), (-1.0, False)])
def test_half_a_magnitude(flux, match):
    # 10^(0.4 x 0.5) = 1.585.
    assert (match_stars([[3.0, 3.0]], [flux], [[3.0, 3.0]], [100.0])[0] == 0) == match


@pytest.mark.parametrize(("offset", "match"), [((0.49, -0.49), True), ((0.51, 0.0), False), ((0.0, 0.51), False)])
def test_half_a_pixel_along_each_axis(offset, match):
    assert (match_stars([np.add(9.0, offset)], [1.0], [[9.0, 9.0]], [1.0])[0] == 0) == match


def test_f1_by_hand():
    # True: three inside, one in the border. Found: two of the inner ones, one too faint, one where nothing is.
    truth = [[20, 20], [30, 20], [20, 30], [2, 20]]
    found = [[20.2, 20], [30, 20.3], [20, 30], [35, 35], [2, 20]]
    scores = catalogue_scores(found, [10, 10, 1, 10, 10], truth, [10, 10, 10, 10], (50, 50))
    assert scores == {"true": 3, "found": 4, "recalled": 2, "right": 2}
    result = f1_score([scores, {"true": 1, "found": 0, "recalled": 0, "right": 0}])
    assert result["recall"] == pytest.approx(2 / 4)
    assert result["precision"] == pytest.approx(2 / 4)
    assert result["f1"] == pytest.approx(0.5)


def test_partners_may_lie_in_the_border():
    # The image is 60 wide and 40 high, so 54.4 is inside of it and 54.6 is not.
    scores = catalogue_scores([[54.6, 20]], [1], [[54.4, 20]], [1], (40, 60))
    assert scores == {"true": 1, "found": 0, "recalled": 1, "right": 0}
    assert catalogue_scores([[20, 34.6]], [1], [[20, 34.4]], [1], (40, 60))["true"] == 1
    assert catalogue_scores([[20, 35]], [1], [[20, 36]], [1], (40, 60))["true"] == 0


def test_nothing_found_and_nothing_there():
    nothing = np.zeros((0, 2))
    assert (match_stars(nothing, [], [[1, 1]], [1]) == -1).all()
    assert f1_score([catalogue_scores(nothing, [], nothing, [], (20, 20))])["f1"] == 0


def test_shapes_must_fit():
    with pytest.raises(InputError, match="2 found stars have 1 fluxes"):
        match_stars([[1, 1], [2, 2]], [1], [[1, 1]], [1])


def test_the_nearest_star_is_nearest_in_place_and_brightness():
    """Of two true stars the brighter one is farther from the only detection, which is as bright as it."""
    truth, flux = [[10.0, 10.0], [10.6, 10.0]], [10.0, 1000.0]
    np.testing.assert_array_equal(nearest_stars([[10.0, 10.0]], [900.0], truth, flux), [-1, 0])
    # Two that are as bright: the nearer one.
    np.testing.assert_array_equal(nearest_stars([[10.0, 10.0]], [900.0], truth, [1000.0, 1000.0]), [0, -1])
    # Too far, too faint by 0.76 mag, of no flux, or nothing there.
    assert nearest_stars([[11.7, 10.0]], [900.0], truth, flux).tolist() == [-1, -1]
    assert nearest_stars([[10.6, 10.0]], [1000 * 10**-0.304], truth, flux).tolist() == [-1, -1]
    assert nearest_stars([[10.6, 10.0]], [1000 * 10**-0.296], truth, flux).tolist() == [-1, 0]
    assert nearest_stars([[10.6, 10.0]], [-1.0], truth, flux).tolist() == [-1, -1]
    assert nearest_stars(np.zeros((0, 2)), [], truth, flux).tolist() == [-1, -1]
    with pytest.raises(InputError, match="1 found stars have 2 fluxes"):
        nearest_stars([[10.6, 10.0]], [1.0, 2.0], truth, flux)


def test_a_border_begins_at_the_edge_of_the_first_pixel():
    # Pixel 0 reaches from -0.5 to 0.5, so 4.6 is 5.1 from the edge.
    assert catalogue_scores([[4.6, 4.6]], [1], [[4.4, 20]], [1], (40, 40)) == {
        "true": 0,
        "found": 1,
        "recalled": 0,
        "right": 0,
    }
