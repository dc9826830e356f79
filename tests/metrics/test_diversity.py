"""Spread of draws over their error, by hand."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.diversity import draw_diversity


def test_two_draws_on_either_side_of_the_truth():
    # They are 2 apart and each is 1 off; draws that are alike have no spread; draws of the truth no error.
    draws = np.array([[[0.0], [4.0], [1.0]], [[2.0], [4.0], [1.0]]])
    np.testing.assert_allclose(draw_diversity(draws, [[1.0], [1.0], [1.0]]), [2, 0, np.nan])


def test_draws_of_the_posterior_have_a_ratio_of_1():
    random = np.random.default_rng(0)
    draws, truth = random.normal(size=(4, 500, 6)), random.normal(size=(500, 6))
    assert draw_diversity(draws, truth).mean() == pytest.approx(1, abs=0.05)


def test_what_has_no_spread_is_refused():
    with pytest.raises(InputError, match="at least 2"):
        draw_diversity([[1.0]], [1.0])
    with pytest.raises(InputError, match="draws have shape"):
        draw_diversity(np.zeros((2, 3)), np.zeros(4))
