import numpy as np

from galzoo.tasks.detect.refine import signal_to_noise


def test_signal_to_noise_is_that_of_all_bands_and_finite_of_fluxes_beyond_squares():
    flux = np.array([[3.0, -8.0], [0.0, 0.0], [1e200, 1e200], [5.0, 0.0], [np.nan, 2.0]])
    error = np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    found = signal_to_noise(flux, error)
    np.testing.assert_allclose(found, [5.0, 0.0, np.sqrt(2) * 1e200, np.inf, 2.0])
    np.testing.assert_allclose(signal_to_noise(-flux[:1, :1], error[:1, :1]), [3.0])
