import keras
import numpy as np
import pytest
from scipy import stats

from galzoo.errors import InputError
from galzoo.layers.likelihood import clean, gaussian_nll, weights


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def make(n=3, size=7, bands=2):
    random = np.random.default_rng(0)
    shape = (n, size, size, bands)
    model = random.normal(size=shape)
    variance = random.uniform(0.5, 2, size=shape)
    image = model + np.sqrt(variance) * random.normal(size=shape)
    return (x.astype("float32") for x in (image, model, variance))


def test_agrees_with_scipy():
    image, model, variance = make()
    expected = -stats.norm.logpdf(image, model, np.sqrt(variance)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(numpy(gaussian_nll(image, model, variance)), expected, rtol=1e-5)


def spoil(image, variance):
    """Bad pixels of every kind, and the pixels that are left."""
    mask = np.zeros(image.shape, bool)
    image[0, 0, 0], mask[0, 0, 0] = np.nan, True
    image[0, 1, 1], mask[0, 1, 1] = np.inf, True
    image[1, 2, 2] = np.nan
    variance[0, 3, 3], variance[1, 3, 3], variance[1, 4, 4], variance[1, 5, 5] = np.inf, np.nan, 0, -1
    mask[2, ..., 1] = True
    variance[2, ..., 1] = np.nan
    good = ~mask & np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    return mask, good


def test_bad_pixels_do_not_count():
    image, model, variance = make()
    mask, good = spoil(image, variance)
    with np.errstate(invalid="ignore"):
        terms = -stats.norm.logpdf(image, model, np.sqrt(np.where(good, variance, 1)))
    expected = np.where(good, terms, 0).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(numpy(gaussian_nll(image, model, variance, mask)), expected, rtol=1e-5)
    weight = numpy(weights(variance, mask))
    assert np.isfinite(weight).all()
    assert (weight >= 0).all()
    assert (weight[mask] == 0).all()
    cleaned = numpy(clean(image, variance, mask))
    np.testing.assert_array_equal(cleaned, np.where(good, image, 0))


def test_gradient_is_finite_and_zero_under_the_mask():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the tape is TensorFlow's")
    import tensorflow as tf

    image, model, variance = make()
    mask, good = spoil(image, variance)
    variables = [tf.Variable(model), tf.Variable(variance)]
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(gaussian_nll(image, variables[0], variables[1], mask))
    for gradient in tape.gradient(value, variables):
        assert np.isfinite(gradient).all()
        assert (gradient.numpy()[~good] == 0).all()


def test_a_stamp_without_good_pixels():
    image = np.full((1, 4, 4, 1), np.nan, "float32")
    variance = np.full_like(image, np.inf)
    assert numpy(gaussian_nll(image, np.zeros_like(image), variance)) == 0


def test_shapes_that_do_not_fit():
    image = np.zeros((1, 4, 4, 1), "float32")
    with pytest.raises(InputError, match="shapes"):
        gaussian_nll(image, image[0], image)


def test_clean_empties_masked_pixels_with_and_without_a_variance():
    image, mask = np.full((1, 1, 3, 1), 5.0, "float32"), np.zeros((1, 1, 3, 1), bool)
    mask[0, 0, 1] = True
    for variance in (None, np.ones_like(image)):
        np.testing.assert_array_equal(numpy(clean(image, variance, mask)).ravel(), [5, 0, 5])
