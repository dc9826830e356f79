import galsim
import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.psf import ConvolvePSF, convolve, difference_kernel, gaussian_psf, sharpness

MODEL_SIGMA = 0.7


def draw(profile, size):
    """Draw a profile that has its pixel response in it already; one pixel is one unit of length."""
    return profile.drawImage(nx=size, ny=size, scale=1.0, method="no_pixel", dtype=np.float64).array


def effective_psf(fwhm, g1=0.0):
    return galsim.Convolve(galsim.Moffat(beta=3.5, fwhm=fwhm).shear(g1=g1), galsim.Pixel(1.0))


def centroid(image):
    y, x = np.indices(image.shape)
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


GALAXY = galsim.Sersic(n=1.5, half_light_radius=3.0, flux=100.0).shear(g1=0.2, g2=0.1).shift(0.3, -0.2)
SMALL = galsim.Sersic(n=1.0, half_light_radius=2.0, flux=50.0).shear(g1=-0.1, g2=0.3)


@pytest.mark.parametrize("size", [48, 49])
@pytest.mark.parametrize("psf_size", [31, 32, 60])
def test_model_frame_to_observed_agrees_with_galsim(size, psf_size):
    galaxies, fwhms = (GALAXY, SMALL), (3.0, 4.0)
    model = galsim.Gaussian(sigma=MODEL_SIGMA)
    image = np.empty((2, size, size, 2), "float32")
    truth = np.empty_like(image)
    psf = np.empty((2, psf_size, psf_size, 2), "float32")
    for i, galaxy in enumerate(galaxies):
        for band, fwhm in enumerate(fwhms):
            profile = effective_psf(fwhm, g1=0.03 * i)
            image[i, ..., band] = draw(galsim.Convolve(galaxy, model), size)
            truth[i, ..., band] = draw(galsim.Convolve(galaxy, profile), size)
            psf[i, ..., band] = draw(profile, psf_size)
    result = numpy(ConvolvePSF(MODEL_SIGMA)(image, psf))
    peak = truth.max(axis=(1, 2), keepdims=True)
    assert np.abs((result - truth) / peak).max() < 1e-3


def test_intrinsic_image_agrees_with_galsim_without_a_model_frame():
    wide = galsim.Convolve(GALAXY, galsim.Gaussian(sigma=1.5))
    psf = effective_psf(3.0)
    result = numpy(convolve(draw(wide, 48)[None, ..., None].astype("float32"), draw(psf, 41)[None, ..., None]))
    truth = draw(galsim.Convolve(wide, psf), 48)
    assert np.abs(result[0, ..., 0] - truth).max() < 1e-3 * truth.max()


@pytest.mark.parametrize("model_sigma", [None, MODEL_SIGMA])
@pytest.mark.parametrize(("size", "psf_size"), [(64, 25), (65, 25), (64, 24), (65, 24)])
def test_flux_and_centroid_are_kept(size, psf_size, model_sigma):
    offset = np.array([1.3, -2.6])
    line = np.arange(size) - (size - 1) / 2
    image = np.exp(-((line[:, None] - offset[1]) ** 2 + (line - offset[0]) ** 2) / (2 * 2.5**2))
    psf = gaussian_psf(psf_size, 1.6)
    result = numpy(convolve(image[None, ..., None].astype("float32"), psf[None, ..., None], model_sigma))[0, ..., 0]
    assert abs(result.sum(dtype=np.float64) / image.sum() - 1) < 1e-5
    assert np.abs(centroid(result.astype(float)) - centroid(image)).max() < 0.01
    moments = galsim.hsm.FindAdaptiveMom(galsim.Image(result.astype(float)))
    # GalSim counts pixels from 1.
    shift = np.array([moments.moments_centroid.x, moments.moments_centroid.y]) - 1 - (size - 1) / 2 - offset
    assert np.abs(shift).max() < 0.01


@pytest.mark.parametrize("psf_size", [24, 25, 80, 81])
def test_a_source_at_the_edge_does_not_wrap(psf_size):
    image = np.zeros((1, 40, 40, 1), "float32")
    image[0, 0, 20] = image[0, 20, 39] = 1
    result = numpy(convolve(image, gaussian_psf(psf_size, 2.0)[None, ..., None]))[0, ..., 0]
    assert np.abs(result[30:, 15:25]).max() < 1e-6
    assert np.abs(result[15:25, :10]).max() < 1e-6
    assert result[0, 20] > 0.03


def test_rectangles_agree_with_direct_convolution():
    from scipy.signal import convolve2d

    random = np.random.default_rng(1)
    image = random.normal(size=(2, 17, 22, 2)).astype("float32")
    psf = random.random(size=(1, 9, 61, 2)).astype("float32")
    result = numpy(convolve(image, psf))
    for i in range(2):
        for band in range(2):
            full = convolve2d(image[i, ..., band], psf[0, ..., band])
            np.testing.assert_allclose(result[i, ..., band], full[4:21, 30:52], atol=2e-5)


def test_no_psf_is_the_identity():
    image = np.random.default_rng(0).normal(size=(2, 9, 9, 1)).astype("float32")
    np.testing.assert_array_equal(numpy(ConvolvePSF(MODEL_SIGMA)(image)), image)


def test_a_delta_is_the_identity():
    image = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    psf = np.zeros((1, 5, 5, 3), "float32")
    psf[:, 2, 2] = 1
    np.testing.assert_allclose(numpy(convolve(image, psf)), image, atol=1e-6)


def test_difference_kernel_of_gaussians_is_a_gaussian():
    kernel = numpy(difference_kernel(gaussian_psf(31, 1.5)[None, ..., None], MODEL_SIGMA))[0, ..., 0]
    expected = gaussian_psf(31, np.sqrt(1.5**2 - MODEL_SIGMA**2))
    assert kernel.shape == (31, 31)
    assert np.abs(kernel - expected).max() < 1e-3 * expected.max()
    assert abs(kernel.sum() - 1) < 1e-5


def test_gradient_is_finite_and_the_adjoint():
    import keras.ops as ops

    random = np.random.default_rng(2)
    image, other = (random.normal(size=(2, 16, 16, 1)).astype("float32") for _ in range(2))
    psf = effective_psf(3.0, g1=0.1)
    psf = draw(psf, 15)[None, ..., None].astype("float32")
    forward = numpy(convolve(image, psf, MODEL_SIGMA))
    backward = numpy(convolve(other, psf[:, ::-1, ::-1], MODEL_SIGMA))
    # <A x, y> = <x, A* y>, with the mirrored PSF as the adjoint.
    assert np.sum(forward * other) == pytest.approx(np.sum(image * backward), abs=1e-3)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        variable = tf.Variable(image)
        with tf.GradientTape() as tape:
            value = ops.sum(convolve(variable, psf, MODEL_SIGMA) * other)
        np.testing.assert_allclose(tape.gradient(value, variable), backward, atol=1e-4)


def test_half_precision_policy_keeps_the_flux():
    image = np.full((1, 32, 32, 1), 1e5, "float32")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        result = numpy(ConvolvePSF()(image, gaussian_psf(9, 1.0)[None, ..., None]))
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_allclose(result[0, 16, 16], 1e5, rtol=1e-5)


def test_config_round_trip():
    layer = ConvolvePSF(MODEL_SIGMA, name="telescope")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert again.model_sigma == MODEL_SIGMA


@pytest.mark.parametrize(
    ("image", "psf"),
    [((2, 8, 8), (1, 5, 5, 1)), ((2, 8, 8, 2), (1, 5, 5, 1)), ((2, 8, 8, 1), (3, 5, 5, 1)), ((2, 8, 8, 1), (5, 5))],
)
def test_shapes_that_do_not_fit(image, psf):
    with pytest.raises(InputError):
        convolve(np.zeros(image, "float32"), np.zeros(psf, "float32"))


def test_a_difference_kernel_is_as_large_as_the_larger_side():
    psf = np.zeros((1, 4, 8, 1), "float32")
    psf[:, 1:3, 3:5] = 0.25
    assert difference_kernel(psf, MODEL_SIGMA).shape == (1, 9, 9, 1)


def test_bad_numbers():
    with pytest.raises(InputError, match="model_sigma"):
        convolve(np.zeros((1, 8, 8, 1), "float32"), gaussian_psf(5, 1.0)[None, ..., None], 0.0)
    with pytest.raises(InputError, match="model_sigma"):
        ConvolvePSF(0.0)
    with pytest.raises(InputError, match="odd"):
        difference_kernel(gaussian_psf(9, 1.0)[None, ..., None], MODEL_SIGMA, size=8)


def test_sharpness_by_hand():
    psf = np.zeros((1, 2, 2, 2), "float32")
    psf[..., 0], psf[0, 0, 0, 1] = 0.25, 1.0
    np.testing.assert_allclose(numpy(sharpness(psf, 2)), [[3 + np.log(0.25), 3]], rtol=1e-6)
    np.testing.assert_array_equal(numpy(sharpness(None, 2)), [[0, 0]])
