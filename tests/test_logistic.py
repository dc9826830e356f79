import numpy as np

from galzoo.models.logistic import expit


def test_probabilities_far_from_zero_keep_their_digits():
    with np.errstate(all="raise", under="ignore"):
        found = expit(np.array([-np.inf, -700.0, -40.0, 0.0, 40.0, 1e4, np.inf]))
    np.testing.assert_allclose(found, [0, np.exp(-700.0), np.exp(-40.0), 0.5, 1, 1, 1], rtol=1e-12)


def test_the_type_is_kept():
    assert expit(np.zeros(3, "float32")).dtype == np.float32
