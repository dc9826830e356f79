"""What a solver reads and what it says of its answer: centres, chi squared, flags."""

import numpy as np
import pytest

from galzoo.contracts.deblended import FLAGS
from galzoo.inference.fit import batches
from galzoo.models.vae_deblender.model import VAEDeblender

HEIGHT, WIDTH = 30, 40


def batch_of(*places, noise=1.0):
    image = np.zeros((1, HEIGHT, WIDTH, 2), np.float32)
    return {
        "image": image,
        "variance": np.full_like(image, noise**2),
        "positions": np.array([places], np.float32),
        "n_sources": np.array([len(places)]),
    }


def finished(batch, flux=10.0):
    """Return an answer of sources without pixels, finished."""
    number = batch["positions"].shape[1]
    result = batches.empty((1, number, HEIGHT, WIDTH, 2), 0)
    result.flux[...] = flux
    batches.finish(result, batch)
    return result


def flagged(result, name):
    return ((result.flags[0] & FLAGS[name]) != 0).tolist()


def test_without_positions_there_is_one_source_in_the_middle():
    model = VAEDeblender.tiny(bands=("r", "i"))
    image = np.zeros((2, HEIGHT, WIDTH, 2))
    found = batches.checked(model, {"image": image, "variance": np.ones_like(image)})
    np.testing.assert_array_equal(found["positions"], [[[19.5, 14.5]]] * 2)
    np.testing.assert_array_equal(found["n_sources"], [1, 1])


def test_the_edge_is_three_pixels_wide_on_all_sides():
    middle = 15.0
    inside = [(3.0, middle), (middle, 3.0), (WIDTH - 4.0, middle), (middle, HEIGHT - 4.0)]
    assert flagged(finished(batch_of(*inside)), "edge") == [False] * 4
    outside = [(2.9, middle), (middle, 2.9), (WIDTH - 3.9, middle), (middle, HEIGHT - 3.9)]
    assert flagged(finished(batch_of(*outside)), "edge") == [True] * 4


def test_a_source_whose_pixel_is_bad_in_all_bands_is_masked():
    batch = batch_of((8.2, 20.4), (20.0, 8.0))
    batch["mask"] = np.zeros(batch["image"].shape, bool)
    batch["mask"][0, 20, 8] = True
    batch["mask"][0, 8, 20, 0] = True
    assert flagged(finished(batch), "masked") == [True, False]


@pytest.mark.parametrize(("level", "poor"), [(1.4, False), (1.6, True)])
def test_chi_squared_is_of_good_pixels(level, poor):
    batch = batch_of((20.0, 15.0), noise=2.0)
    batch["image"] += np.float32(2 * np.sqrt(level))
    batch["mask"] = np.zeros(batch["image"].shape, bool)
    batch["mask"][:, :20] = True
    batch["variance"][:, 25:] = np.inf
    result = finished(batch)
    assert result.chi2[0] == pytest.approx(level, rel=1e-5)
    assert flagged(result, "poor_fit") == [poor]
    assert not result.residual[:, :20].any()


def test_negative_is_what_is_dark_in_every_band_that_was_seen():
    batch = batch_of((10.0, 15.0), (20.0, 15.0), (30.0, 15.0))
    result = finished(batch, np.array([[-1.0, -1.0], [-1.0, 5.0], [5.0, 5.0]]))
    assert flagged(result, "negative_flux") == [True, False, False]
    batch["variance"][..., 1] = np.inf
    # Of a band without data a flux is 0, which says nothing.
    result = finished(batch, np.array([[-1.0, 0.0], [5.0, 0.0], [5.0, 0.0]]))
    assert flagged(result, "negative_flux") == [False, False, False]


def test_what_is_no_number_is_not_fitted():
    batch = batch_of((10.0, 15.0), (20.0, 15.0))
    result = batches.empty((1, 2, HEIGHT, WIDTH, 2), 0)
    result.flux[0] = [[3.0, np.nan], [3.0, 4.0]]
    result.image[0, 0] = np.nan
    batches.finish(result, batch)
    assert flagged(result, "not_fitted") == [True, False]
    np.testing.assert_array_equal(result.flux[0], [[0, 0], [3, 4]])
    assert not result.image[0, 0].any()
