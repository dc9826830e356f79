"""Splits are of objects: the same galaxy is never on both sides."""

import numpy as np
import pytest

from galzoo.data.splits import scenes_of_split, sky_cells, split_names
from galzoo.errors import InputError

IDS = np.array([f"g{number}" for number in range(4000)])


def test_fractions_are_met():
    names = split_names({"id": IDS}, valid=0.2, test=0.1)
    shares = [np.mean(names == name) for name in ("train", "valid", "test")]
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.02)


def test_the_same_object_in_two_files_lands_in_one_split():
    rng = np.random.default_rng(0)
    one, two = rng.permutation(IDS)[:3000], rng.permutation(IDS)[:3000]
    first, second = (dict(zip(ids, split_names({"id": ids}), strict=True)) for ids in (one, two))
    shared = set(one) & set(two)
    assert len(shared) > 1000
    assert all(first[name] == second[name] for name in shared)


def test_all_images_of_an_object_land_in_one_split():
    repeated = np.repeat(IDS[:300], 5)
    names = split_names({"id": repeated}, valid=0.3, test=0.3).reshape(300, 5)
    assert np.all(names == names[:, :1])
    assert set(names[:, 0]) == {"train", "valid", "test"}


def test_neighbours_on_the_sky_stay_together_whatever_their_ids():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    first = split_names({"id": IDS[:500], "ra": ra, "dec": dec}, valid=0.3, test=0.3)
    second = split_names({"id": IDS[500:1000], "ra": ra, "dec": dec}, valid=0.3, test=0.3)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, split_names({"id": IDS[:500]}, valid=0.3, test=0.3))


def test_positions_that_are_not_known_do_not_count():
    ra = np.full(500, 10.0)
    ra[3] = np.nan
    names = split_names({"id": IDS[:500], "ra": ra, "dec": np.zeros(500)})
    np.testing.assert_array_equal(names, split_names({"id": IDS[:500]}))


def test_right_ascension_goes_round():
    assert sky_cells([359.999999], [1.0]).shape == (1,)
    np.testing.assert_array_equal(sky_cells([370.0, -350.0], [5.0, 5.0]), sky_cells([10.0, 10.0], [5.0, 5.0]))
    assert len(set(sky_cells([10.0, 10.1], [5.0, 5.0]))) == 2
    assert len(sky_cells([0.0, 0.0], [90.0, -90.0])) == 2


def test_the_seed_draws_again():
    assert not np.array_equal(split_names({"id": IDS}, seed=0), split_names({"id": IDS}, seed=1))


def test_a_split_column_wins():
    names = ["test", "train", "valid"]
    np.testing.assert_array_equal(split_names({"id": IDS[:3], "split": names, "ra": [0] * 3, "dec": [0] * 3}), names)
    with pytest.raises(InputError, match="'holdout'"):
        split_names({"id": IDS[:1], "split": ["holdout"]})


@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.1, -0.1)])
def test_fractions_that_leave_nothing(valid, test):
    with pytest.raises(InputError, match="below 1"):
        split_names({"id": IDS}, valid, test)


def test_a_tenth_each_is_for_validation_and_test_by_default():
    names = split_names({"id": IDS})
    np.testing.assert_allclose([np.mean(names == name) for name in ("valid", "test")], 0.1, atol=0.015)


def test_what_is_for_test_stays_so_whatever_is_for_validation():
    few, many = (split_names({"id": IDS}, valid=valid, test=0.2) == "test" for valid in (0.0, 0.5))
    np.testing.assert_array_equal(few, many)


def test_cells_are_two_arcmin_high_and_as_wide_on_the_sky():
    """From the equator up to 2 arcmin, and at 60 degrees twice as many degrees of right ascension wide."""
    assert len(set(sky_cells([10, 10, 10], np.array([-0.1, 0.1, 2.1]) / 60))) == 3
    assert len(set(sky_cells([10, 10], np.array([0.1, 1.9]) / 60))) == 1
    ra = np.linspace(0, 360, 50001)[:-1]
    for dec, count in ((0.01, 10800), (60.01, 5400)):
        cells = len(np.unique(sky_cells(ra, np.full(len(ra), dec))))
        assert cells == pytest.approx(count, rel=2e-3)


def test_scenes_are_in_the_split_of_all_their_galaxies():
    """The first is of two for training, the second of one each for training and test, others of none that is known."""
    of = dict(zip(IDS, split_names({"id": IDS}), strict=True))
    train, test = ([name for name in IDS if of[name] == split] for split in ("train", "test"))
    columns = {"id": [test[0], train[0], test[1], train[1]]}
    parents = [train[2], train[3], train[2], test[2], "", ""]
    sources = {"scene": [0, 0, 1, 1, 2, 3], "parent": parents}
    assert scenes_of_split(columns, sources, "train").tolist() == [True, False, False, True]
    assert scenes_of_split(columns, sources, "test").tolist() == [False, False, True, False]
    # Without galaxies, and where a column says it, that decides.
    assert scenes_of_split(columns, {"scene": [0]}, "train").tolist() == [False, True, False, True]
    named = columns | {"split": ["valid", "test", "train", "test"]}
    assert scenes_of_split(named, sources, "test").tolist() == [False, True, False, True]
