import numpy as np
import pytest
from keras import ops

from galzoo.inference.fit.gaussian_profiles import Canvas, Patch, Profiles
from galzoo.layers.psf import gaussian_psf

SHAPE = (40, 44)


@pytest.fixture
def psf():
    """Two bands, the second twice as wide and off its centre."""
    wide = np.roll(gaussian_psf(25, 2.6), 1, axis=1)
    return np.stack([np.pad(gaussian_psf(17, 1.4), 4), wide], axis=-1)


def profiles(rng, slopes=0):
    weights = rng.dirichlet(np.ones(3), size=(2, 2)).transpose(0, 2, 1)
    covariances = np.array([[[4.0, 1.0, 3.0]], [[2.0, -0.5, 5.0]]]) * np.array([0.3, 1.0, 3.0])[:, None]
    if not slopes:
        return Profiles(weights, covariances)
    return Profiles(weights, covariances, rng.normal(size=(2, 3, 2, slopes)), rng.normal(size=(2, 3, 3, slopes)))


def test_images_are_those_of_the_layers(psf):
    from galzoo.models.vae_deblender.model import VAEDeblender

    model = VAEDeblender.tiny(bands=("r", "i"), size=1.5)
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(1, 2, model.latent)).astype("float32")
    positions = np.float32([[[20.3, 17.8], [25.1, 22.4]]])
    wanted = ops.convert_to_numpy(model.render(latent, positions, psf[None], SHAPE))[0]
    parameters = model.decoder.parameters(latent[0])
    covariances = np.stack([ops.convert_to_numpy(x) for x in model.decoder.covariances(parameters)], axis=-1)
    drawn = Canvas(SHAPE, psf, 0.7).draw(
        Profiles(ops.convert_to_numpy(parameters["weights"]), covariances), positions[0]
    )
    np.testing.assert_allclose(np.moveaxis(drawn, 1, -1), wanted, atol=2e-3 * wanted.max())


def test_without_a_psf_gaussians_are_blurred_by_the_model_frame():
    one = Profiles(np.ones((1, 1, 1)), np.array([[[3.0, 0.0, 3.0]]]))
    drawn = Canvas((31, 31), None, 1.0).draw(one, np.array([[15.0, 15.0]]))[0, 0]
    np.testing.assert_allclose(drawn, gaussian_psf(31, 2.0), atol=1e-5)


def test_derivatives_are_those_of_differences(psf):
    rng = np.random.default_rng(2)
    start = profiles(rng, slopes=2)
    positions = np.array([[20.3, 17.8], [25.1, 22.4]])
    canvas = Canvas(SHAPE, psf, 0.7)
    found = np.stack(list(canvas.terms(start, positions)), axis=2)
    step = 1e-2

    def drawn(parameter, sign):
        moved, where = [start.weights, start.covariances], positions.copy()
        if parameter < 2:
            moved[0] = moved[0] + sign * step * start.weight_slopes[..., parameter]
            moved[1] = moved[1] + sign * step * start.covariance_slopes[..., parameter]
        else:
            where[:, parameter - 2] += sign * step
        return canvas.draw(Profiles(*moved), where)

    np.testing.assert_allclose(found[:, 0], canvas.draw(start, positions), atol=1e-7)
    for parameter in range(4):
        slope = (drawn(parameter, 1) - drawn(parameter, -1)) / (2 * step)
        np.testing.assert_allclose(found[:, 1 + parameter], slope, atol=2e-3 * np.abs(slope).max())


def test_moments_of_one_gaussian():
    """Its distortion is known, and half of its light lies within sqrt(2 ln 2) sigma; the second band counts."""
    weights = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    covariances = np.array([[[9.0, 0.0, 9.0], [5.0, 1.5, 3.0]]])
    values, slopes = Profiles(weights, covariances).moments(1)
    np.testing.assert_allclose(values[0], [2 / 8, 3 / 8, np.sqrt(2 * np.log(2) * np.sqrt(15 - 2.25))], rtol=1e-9)
    assert slopes is None


def test_derivatives_of_moments_are_those_of_differences():
    start = profiles(np.random.default_rng(6), slopes=3)
    step = 1e-5

    def moved(parameter, sign):
        weights = start.weights + sign * step * start.weight_slopes[..., parameter]
        covariances = start.covariances + sign * step * start.covariance_slopes[..., parameter]
        return Profiles(weights, covariances).moments(1)[0]

    # Weights keep their sum, as those of a model do.
    start.weight_slopes -= start.weight_slopes.mean(axis=1, keepdims=True)
    _, slopes = start.moments(1)
    for parameter in range(3):
        differences = (moved(parameter, 1) - moved(parameter, -1)) / (2 * step)
        np.testing.assert_allclose(slopes[..., parameter], differences, rtol=1e-4, atol=1e-7)


def test_products_leave_out_bad_pixels(psf):
    rng = np.random.default_rng(3)
    image = rng.normal(size=(*SHAPE, 2)).astype("float32")
    variance = np.full(image.shape, 0.25, "float32")
    variance[..., 1] = np.inf
    mask = np.zeros(image.shape, bool)
    mask[:, :20] = True
    image[3, 30] = np.nan
    patch = Patch(image, variance, mask, psf, 0.7)
    positions = np.array([[20.3, 17.8], [25.1, 22.4]])
    galaxies = profiles(rng)
    normal, right, power = patch.products(galaxies, positions)
    drawn = patch.canvas.draw(galaxies, positions)[:, 0]
    good = ~mask[..., 0] & np.isfinite(image[..., 0])
    drawn, data = drawn[:, good], image[good, 0]
    np.testing.assert_allclose(normal[0], 4 * drawn @ drawn.T, rtol=1e-4)
    np.testing.assert_allclose(right[0], 4 * drawn @ data, rtol=1e-4, atol=1e-5)
    assert np.all(normal[1] == 0)
    assert np.all(right[1] == 0)
    np.testing.assert_allclose(power, [4 * np.sum(data**2), 0], rtol=1e-5)
    assert normal.shape == (2, 2, 2)


def test_where_profiles_are_doubted_products_weigh_less_but_the_noise_stays(psf):
    rng = np.random.default_rng(4)
    image = rng.normal(size=(*SHAPE, 2)).astype("float32")
    variance, doubted = np.full(image.shape, 0.25, "float32"), np.zeros(image.shape, "float32")
    doubted[:, 22:] = 0.75
    patch = Patch(image, variance, None, psf, 0.7, model_variance=doubted)
    wide = Patch(image, variance + doubted, None, psf, 0.7)
    galaxies, places = profiles(np.random.default_rng(5)), np.array([[20.3, 17.8], [25.1, 22.4]])
    for found, expected in zip(patch.products(galaxies, places), wide.products(galaxies, places), strict=True):
        np.testing.assert_array_equal(found, expected)
    # Structure that profiles cannot show is looked for in the noise alone.
    np.testing.assert_array_equal(patch.variance, 0.25)


def test_light_that_leaves_on_one_side_does_not_come_in_on_the_other(psf):
    from galzoo.inference.fit.scene_windows import Patches, workers

    rng = np.random.default_rng(4)
    batch = {
        "image": rng.normal(size=(1, *SHAPE, 2)).astype("float32"),
        "variance": np.ones((1, *SHAPE, 2), "float32"),
        "psf": psf[None],
        "positions": np.float32([[[-25.0, 20.0], [22.0, 20.0]]]),
    }
    with workers() as pool:
        patches = Patches(batch, np.ones((1, 2), bool), np.ones((1, 2)), 0.7, pool)
        images = np.zeros((1, 2, *SHAPE, 2), np.float32)
        patches.draw(profiles(rng), np.zeros((1, 2, 2)), np.ones((1, 2, 2)), images, np.array([0]))
    assert np.abs(images[0, 0]).sum() < 1e-2
    assert images[0, 1].sum() > 1.9
