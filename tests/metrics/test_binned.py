import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics import binned
from galzoo.metrics.binned import bootstrap, in_bins, scatter68


def test_scatter_of_a_gaussian_is_its_sigma():
    values = np.random.default_rng(0).normal(3, 2, 20000)
    assert scatter68(values) == pytest.approx(2, rel=0.02)
    values[:100] = 1e6
    assert scatter68(values) == pytest.approx(2, rel=0.03)


def test_bootstrap_error_of_the_mean():
    values = np.random.default_rng(1).normal(size=400)
    value, error = bootstrap(values, np.mean, draws=500)
    assert value == pytest.approx(values.mean())
    assert error == pytest.approx(1 / 20, rel=0.15)
    assert bootstrap(values, np.mean, draws=500) == (value, error)


def test_bootstrap_of_too_few_values():
    assert np.isnan(bootstrap([np.nan])).all()
    value, error = bootstrap([2.0, np.inf])
    assert value == 2
    assert np.isnan(error)


def test_bins_hold_their_lower_edge():
    rows = in_bins([1.0, 2.0, 3.0, np.nan, 9.0], [5, 9, 10, 11, 1], edges=(5, 10, np.inf))
    assert [row["n"] for row in rows] == [2, 1]
    assert rows[0]["median"] == 1.5
    assert rows[1]["high"] is None


def test_bad_bins_are_refused():
    with pytest.raises(InputError, match="rise"):
        in_bins([1.0], [1.0], edges=(5, 5))
    with pytest.raises(InputError):
        in_bins([1.0, 2.0], [1.0])


def test_groups_are_drawn_together():
    # Ten equal values a group: the error is that of the number of groups, not of values.
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(100), 10)
    values = np.repeat(random.normal(size=100), 10)
    _, error = bootstrap(values, np.mean, draws=400, groups=groups)
    _, alone = bootstrap(values, np.mean, draws=400)
    assert error == pytest.approx(values.std() / 10, rel=0.15)
    assert error > 2.5 * alone
    order = random.permutation(len(values))
    assert bootstrap(values[order], np.mean, draws=400, groups=groups[order])[1] == pytest.approx(error)
    row = in_bins(values, np.ones(1000), edges=(0, 2), statistics={"mean": np.mean}, draws=400, groups=groups)[0]
    assert row["mean_error"] == pytest.approx(error)


def test_one_group_has_no_error():
    assert np.isnan(bootstrap([1.0, 2.0, 3.0], groups=[7, 7, 7])[1])
    with pytest.raises(InputError, match="groups"):
        bootstrap([1.0, 2.0], groups=[0])


@pytest.mark.parametrize("statistic", [np.median, np.mean, scatter68])
def test_weights_give_what_repeated_values_give(statistic):
    random = np.random.default_rng(5)
    values, weight = np.sort(random.normal(size=23)), random.integers(0, 4, (6, 23))
    expected = [statistic(np.repeat(values, one), axis=0) for one in weight]
    np.testing.assert_allclose(binned._weighted(values, weight, statistic), expected, rtol=1e-12)


def test_of_several_groupings_the_largest_error_counts():
    rng = np.random.default_rng(4)
    galaxy, scene = np.repeat(np.arange(20), 30), np.tile(np.arange(300), 2)
    values = rng.normal(size=20)[galaxy] + rng.normal(size=600)
    errors = [bootstrap(values, np.mean, draws=300, groups=one)[1] for one in (galaxy, scene)]
    assert errors[0] > 2 * errors[1]
    assert bootstrap(values, np.mean, draws=300, groups=np.stack([scene, galaxy]))[1] == errors[0]
    row = in_bins(values, np.ones(600), (0, 2), {"mean": np.mean}, draws=300, groups=[scene, galaxy])[0]
    assert row["mean_error"] == errors[0]
    # One group says nothing of its error, whatever another grouping says.
    assert np.isnan(bootstrap(values, groups=[scene, np.zeros(600)])[1])
    with pytest.raises(InputError, match="groups have shape"):
        bootstrap(values, groups=[scene[1:], galaxy[1:]])


def test_any_statistic_can_be_drawn_by_groups():
    def largest(values, axis):
        return np.max(values, axis=axis)

    groups = np.repeat(np.arange(20), 3)
    values = np.random.default_rng(6).normal(size=60)
    value, error = bootstrap(values, largest, groups=groups)
    assert value == values.max()
    assert 0 < error < 1
