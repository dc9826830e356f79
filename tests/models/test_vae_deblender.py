"""The VAE deblender by itself: its terms by hand, sources in any order and place, units, and what is not shown."""

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from galzoo.inference.fit.gaussian_profiles import Profiles
from galzoo.layers.psf import gaussian_psf
from galzoo.models.vae_deblender import encoder
from galzoo.models.vae_deblender.encoder import windows, windows_of
from galzoo.models.vae_deblender.model import VAEDeblender

SIDE, SIGMA = 32, 1.6
# x and y differ, and so do their fractions of a pixel.
PLACES = np.array([[10.3, 18.9], [21.6, 13.2], [16.2, 25.4]], "float32")


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(5)
    made = VAEDeblender.tiny(("g", "r"), error_floor=0.2, kl_weight=0.3)
    # An untrained head says nearly the same of all sources.
    made.encoder.head.kernel.assign(0.3 * np.random.default_rng(0).normal(size=made.encoder.head.kernel.shape))
    return made


def batch_of(n=3, seed=0):
    random = np.random.default_rng(seed)
    places = np.stack([PLACES + random.uniform(-1, 1, PLACES.shape) for _ in range(n)]).astype("float32")
    grid = np.arange(SIDE)
    image = random.normal(size=(n, SIDE, SIDE, 2))
    for row in range(n):
        for (x, y), size in zip(places[row], random.uniform(1.8, 3, 3), strict=True):
            blob = np.exp(-0.5 * ((grid[:, None] - y) ** 2 + (grid - x) ** 2) / size**2)[..., None]
            image[row] += blob * random.uniform(20, 80, 2)
    psf = np.repeat(gaussian_psf(21, SIGMA)[None, ..., None], 2, axis=-1).repeat(n, axis=0)
    variance = random.uniform(0.8, 1.5, image.shape).astype("float32")
    counts = np.array([3, 2, 1, 3, 2, 1][:n], "int32")
    return {
        "image": image.astype("float32"), "variance": variance, "mask": random.random(image.shape) < 0.05, "psf": psf,
        "positions": places, "n_sources": counts,
    }  # fmt: skip


def centroid(image):
    """Return the centroid (x, y) of (..., y, x)."""
    y, x = np.indices(image.shape[-2:])
    total = image.sum(axis=(-2, -1))
    return np.stack([(image * x).sum(axis=(-2, -1)), (image * y).sum(axis=(-2, -1))], axis=-1) / total[..., None]


class TestDivergence:
    """Against TensorFlow Probability."""

    mean = np.random.default_rng(1).normal(size=(4, 3, 5)).astype("float32")
    deviation = np.random.default_rng(2).normal(-1, 0.5, (4, 3, 5)).astype("float32")

    @pytest.fixture
    def tfd(self):
        return pytest.importorskip("tensorflow_probability").distributions

    def test_from_the_normal_prior_while_the_decoder_learns(self, model, tfd):
        expected = tfd.kl_divergence(
            tfd.MultivariateNormalDiag(self.mean, np.exp(self.deviation)), tfd.MultivariateNormalDiag(np.zeros(5, "f4"))
        )
        found = model._divergence(self.mean, self.deviation, None, None)
        np.testing.assert_allclose(array(found), expected.numpy(), rtol=1e-4)

    def test_from_the_flow_afterwards(self, tfd):
        model = VAEDeblender.tiny()
        model.decoder.trainable = False
        sample = self.mean + 0.3
        condition = np.zeros((4, 3, 1), "float32")
        entropy = tfd.MultivariateNormalDiag(self.mean, np.exp(self.deviation)).entropy().numpy()
        expected = -entropy - array(model.prior.log_prob(sample, condition))
        found = model._divergence(self.mean, keras.ops.convert_to_tensor(self.deviation), sample, condition)
        np.testing.assert_allclose(array(found), expected, rtol=1e-4)


class TestLosses:
    def test_terms_of_known_blends(self, model, monkeypatch):
        """Sources as the encoder is made to say, a tenth too bright and with an offset."""
        batch = batch_of()
        random = np.random.default_rng(4)
        n, count, kept = 3, 3, {}
        mean = random.normal(0, 0.5, (n, count, 5)).astype("float32")
        offset = random.normal(0, 0.2, (n, count, 2)).astype("float32")

        def encode(shown, training=False):
            kept["jitter"] = array(shown["positions"]) - batch["positions"]
            return mean, np.full_like(mean, -30.0), offset

        present = np.arange(count) < batch["n_sources"][:, None]
        unit = array(model.render(mean, batch["positions"], batch["psf"], (SIDE, SIDE)))
        flux = random.uniform(100, 2000, (n, count, 2)) * present[..., None]
        target = flux[:, :, None, None] * unit * (1 + 0.1 * random.normal(size=unit.shape))
        batch |= {"isolated": target.astype("float32"), "flux": flux.astype("float32"), "present": present}
        monkeypatch.setattr(model, "encode", encode)
        terms = {name: float(value) for name, value in model._learn(batch).items()}
        good = ~batch["mask"]
        weight = (good / (batch["variance"] + (0.2 * target.swapaxes(0, 1)) ** 2)).swapaxes(0, 1)
        square = (weight * unit**2).sum(axis=(2, 3))
        best = (weight * unit * target).sum(axis=(2, 3)) / square
        likelihood = 0.5 * (weight * (target - best[:, :, None, None] * unit) ** 2).sum(axis=(2, 3, 4))
        off = 0.5 * ((offset + kept["jitter"]) ** 2).sum(axis=-1) / 0.1**2
        miss = 0.5 * ((best - flux) ** 2 / ((0.01 * flux) ** 2 + 1 / square)).sum(axis=-1)
        divergence = 0.5 * (mean.astype(float) ** 2 - 1 + 60).sum(axis=-1)
        expected = {"likelihood": likelihood, "offset": off, "flux": miss, "divergence": divergence}
        for name, value in expected.items():
            assert terms[name] == pytest.approx(value[present].mean(), rel=2e-3), name
        assert 0.1 < np.abs(kept["jitter"]).mean() < 0.5

    def test_the_divergence_has_its_weight(self, model):
        terms = {"likelihood": np.float32(3.0), "divergence": np.float32(10.0), "flux": np.float32(0.5)}
        assert float(model.compute_loss(y_pred=terms)) == pytest.approx(3.0 + 0.3 * 10.0 + 0.5)

    def test_stamps_without_truth(self, model):
        batch, random = batch_of(), np.random.default_rng(7)
        batch["variance"][0, :5], batch["image"][0, :5] = np.inf, 1e9
        made = random.uniform(0, 60, batch["image"].shape).astype("float32")
        latent = random.normal(size=(3, 3, 5)).astype("float32")
        loss = float(model.compute_loss(x=batch, y_pred={"image": made, "latent": latent}))
        good = ~batch["mask"] & np.isfinite(batch["variance"])
        error = np.where(good, batch["image"] - made, 0.0) ** 2 / (batch["variance"] + (0.2 * made) ** 2)
        expected = 0.5 * error.sum(axis=(1, 2, 3)).mean()
        assert loss == pytest.approx(expected + 0.3 * 0.5 * (latent**2).sum(axis=(1, 2)).mean(), rel=1e-4)


class TestSources:
    def test_fluxes_are_those_of_least_squares(self, model):
        batch = batch_of()
        made = model(batch)
        full = {**batch, "present": np.arange(3) < batch["n_sources"][:, None]}
        latent, _, offset = model.encode(full)
        np.testing.assert_array_equal(array(latent), array(made["latent"]))
        unit = array(model.render(latent, batch["positions"] + offset, batch["psf"], (SIDE, SIDE)))
        for row, count in enumerate(batch["n_sources"]):
            for band in range(2):
                good = ~batch["mask"][row, ..., band]
                root = 1 / np.sqrt(batch["variance"][row, ..., band][good])
                matrix = unit[row, :count][:, good, band].T * root[:, None]
                flux = np.linalg.lstsq(matrix, batch["image"][row, ..., band][good] * root)[0]
                found = array(made["isolated"])[row, :count, ..., band]
                scale = np.abs(found).max()
                np.testing.assert_allclose(found, flux[:, None, None] * unit[row, :count, ..., band], atol=0.02 * scale)
        assert not array(made["isolated"])[1, 2:].any()
        np.testing.assert_allclose(array(made["image"]), array(made["isolated"]).sum(axis=1), rtol=1e-4, atol=1e-4)

    def test_their_order_is_that_of_the_positions(self, model):
        batch = {**batch_of(), "n_sources": np.full(3, 3, "int32")}
        order = np.array([2, 0, 1])
        one, other = model(batch), model({**batch, "positions": batch["positions"][:, order]})
        for key, step in (("isolated", 0.5), ("latent", 0.05)):
            expected = array(one[key])[:, order]
            np.testing.assert_allclose(array(other[key]), expected, atol=2e-3 * np.abs(expected).max())
            assert np.abs(expected - array(one[key])).max() > step
        np.testing.assert_allclose(array(one["image"]), array(other["image"]), atol=0.05)

    def test_they_move_with_their_positions(self, model):
        """By parts of a pixel, x and y each in its own direction, and by the offset that the encoder adds."""
        latent = np.zeros((1, 1, 5), "float32")
        psf = batch_of(1)["psf"]
        for place in ([15.0, 15.0], [15.3, 14.4], [12.75, 17.5]):
            image = array(model.render(latent, np.float32([[place]]), psf, (SIDE, SIDE)))
            np.testing.assert_allclose(centroid(image[0, 0, ..., 1]), place, atol=0.02)
        batch = {**batch_of(1), "mask": None, "n_sources": np.ones(1, "int32")}
        offset = np.float32([[[0.7, -0.4], [0, 0], [0, 0]]])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model, "encode", lambda *_, **__: (np.zeros((1, 3, 5), "float32"), None, offset))
            found = array(model(batch)["isolated"])[0, 0, ..., 0]
        np.testing.assert_allclose(centroid(found), batch["positions"][0, 0] + offset[0, 0], atol=0.15)

    def test_a_blend_that_is_moved_is_answered_moved(self, model):
        batch, (dx, dy) = batch_of(), (3, -2)
        batch["n_sources"] = np.full(3, 3, "int32")
        far = {key: np.pad(batch[key], ((0, 0), (12, 12), (12, 12), (0, 0))) for key in ("image", "mask")}
        far["variance"] = np.pad(batch["variance"], ((0, 0), (12, 12), (12, 12), (0, 0)), constant_values=1)
        far |= {"psf": batch["psf"], "positions": batch["positions"] + 12, "n_sources": batch["n_sources"]}
        moved = {key: np.roll(far[key], (dy, dx), (1, 2)) for key in ("image", "mask", "variance")}
        one, other = model(far), model({**far, **moved, "positions": far["positions"] + np.float32([dx, dy])})
        np.testing.assert_allclose(array(other["latent"]), array(one["latent"]), atol=1e-3)
        expected = np.roll(array(one["isolated"]), (dy, dx), (2, 3))
        inside = np.s_[:, :, 6:-6, 6:-6]
        np.testing.assert_allclose(array(other["isolated"])[inside], expected[inside], atol=2e-3 * expected.max())

    def test_units_do_not_matter(self, model):
        batch = batch_of()
        one = model(batch)
        other = model({**batch, "image": 10 * batch["image"], "variance": 100 * batch["variance"]})
        np.testing.assert_allclose(array(other["latent"]), array(one["latent"]), atol=1e-3)
        expected = 10 * array(one["isolated"])
        np.testing.assert_allclose(array(other["isolated"]), expected, atol=1e-3 * np.abs(expected).max())

    def test_windows_are_cut_about_their_sources(self):
        planes = np.random.default_rng(0).normal(size=(2, 20, 28, 3)).astype("float32")
        corners = np.array([[[3, 5], [-4, 2]], [[22, 9], [0, 15]]], "int32")
        padded = np.pad(planes, ((0, 0), (8, 8), (8, 8), (0, 0)))
        expected = [[padded[n, y + 8 : y + 16, x + 8 : x + 16] for x, y in corners[n]] for n in range(2)]
        np.testing.assert_allclose(array(windows(planes, corners, 8)), expected, atol=1e-6)
        cut, marked, fraction = windows_of(planes[0], np.array([[7.3, 9.4], [0.0, 6.0]]), 8)
        np.testing.assert_allclose(cut, expected[0], atol=1e-6)
        np.testing.assert_allclose(fraction, [[0.3, 0.4], [0, 0]], atol=1e-6)
        # In the first window the other source is seven pixels left of, and three below, the first's.
        place = np.array([0.0, 6.0]) - corners[0, 0]
        y, x = np.indices((8, 8))
        near = np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2) / 4)
        np.testing.assert_allclose(marked[0, ..., 0], near, atol=1e-5)


def moments_of(model, latent, band):
    weights, covariances, _ = model.profiles(latent)
    return Profiles(array(weights), array(covariances)).moments(band)[0]


class TestProfiles:
    @pytest.mark.parametrize(
        ("shear", "axis"), [((0.8, 0.0), 0), ((-0.8, 0.0), 90), ((0.0, 0.8), 45), ((0.0, -0.8), 135)]
    )
    def test_direction_of_the_major_axis(self, model, shear, axis):
        """From +x towards +y, in the picture and in the moments."""
        latent = np.zeros((1, 5), "float32")
        latent[0, 1:3] = shear
        image = array(model.decoder.render(latent, np.float32([[40, 40]]), (81, 81)))[0, ..., 0]
        y, x = np.indices(image.shape) - 40.0
        xx, yy, xy = ((image * term).sum() for term in (x**2, y**2, x * y))
        angle = np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) % 180
        assert angle == pytest.approx(axis, abs=1)
        e1, e2, _ = moments_of(model, latent, 0)[0]
        assert np.rad2deg(0.5 * np.arctan2(e2, e1)) % 180 == pytest.approx(axis, abs=1)

    def test_size_is_half_of_the_light_and_flux_is_one(self, model):
        latent = np.random.default_rng(3).normal(0, 0.4, (3, 5)).astype("float32")
        latent[:, 0], latent[:, 1:3] = [0.8, 1.2, 1.5], 0
        image = array(model.decoder.render(latent, np.full((3, 2), 100, "float32"), (201, 201)))
        np.testing.assert_allclose(image.sum(axis=(1, 2)), 1, atol=0.02)
        y, x = np.indices(image.shape[1:3]) - 100.0
        radius = np.hypot(x, y).ravel()
        order = np.argsort(radius, kind="stable")
        for row in range(3):
            light = np.cumsum(image[row, ..., 1].ravel()[order])
            half = radius[order][np.searchsorted(light, 0.5)]
            found = moments_of(model, latent[row : row + 1], 1)[0, 2]
            # The picture has the blur of the model frame.
            assert found == pytest.approx(half, rel=0.08)

    def test_rendered_through_the_psf(self, model):
        latent = np.random.default_rng(2).normal(0, 0.3, (1, 1, 5)).astype("float32")
        place = np.float32([[[15.2, 16.7]]])
        frame = array(model.render(latent, place, None, (SIDE, SIDE)))[0, 0, ..., 0]
        seen = array(model.render(latent, place, batch_of(1)["psf"], (SIDE, SIDE)))[0, 0, ..., 0]
        blur = np.sqrt(SIGMA**2 - model.model_sigma**2)
        np.testing.assert_allclose(
            seen, gaussian_filter(frame, blur, mode="constant", truncate=6), atol=0.01 * seen.max()
        )


def test_bands_that_are_not_shown_in_training(model):
    batch = {**batch_of(), "present": np.ones((3, 3), bool)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "band_dropout", 1.0)
        use, blind = array(model.encode(batch)[0]), array(model.encode(batch, training=True)[0])
    shown = array(model.encode(batch)[0])
    np.testing.assert_allclose(use, shown, rtol=1e-5)
    assert np.abs(blind - shown).max() > 0.01
    dark = {**batch, "image": 0 * batch["image"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "band_dropout", 1.0)
        np.testing.assert_allclose(array(model.encode(dark, training=True)[0]), blind, atol=1e-5)


def test_windows_begin_half_their_side_before_the_nearest_pixel():
    planes = np.random.default_rng(0).normal(size=(40, 50, 2)).astype("float32")
    cut, _, fraction = encoder.windows_of(planes, np.array([[10.6, 20.4]]), 8)
    np.testing.assert_array_equal(cut[0], planes[16:24, 7:15])
    np.testing.assert_allclose(fraction, [[-0.4, 0.4]], atol=1e-6)


def test_marks_are_where_the_others_are():
    """In the window of the first, which begins at (2, 1); the second is not shown itself, nor one that is not there."""
    positions = np.array([[[5.0, 6.0], [10.0, 4.0], [3.0, 3.0]]], "float32")
    corners, present = np.array([[[2, 1]] * 3]), np.array([[True, True, False]])
    found = np.asarray(encoder.marks(corners, positions, present, 12))[0, ..., 0]
    y, x = np.indices((12, 12))
    for row, (px, py) in enumerate([(8, 3), (3, 5)]):
        np.testing.assert_allclose(found[row], np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8), atol=1e-6)


def test_masked_pixels_are_not_shown():
    batch = {
        "image": np.ones((1, 12, 12, 1)),
        "variance": np.full((1, 12, 12, 1), 4.0),
        "mask": np.zeros((1, 12, 12, 1)),
    }
    batch |= {"positions": np.array([[[6.0, 5.0]]]), "mask": np.zeros((1, 12, 12, 1))}
    batch["mask"][0, 5, 6] = 1
    noise, (image, valid, *_) = encoder.scene_windows(batch, np.ones((1, 1)), np.array([[True]]), 4)
    expected = np.ones((4, 4))
    expected[2, 2] = 0
    np.testing.assert_array_equal(image[0, ..., 0], expected)
    np.testing.assert_array_equal(valid[0, ..., 0], expected)
    assert noise[0, 0, 0, 0] == pytest.approx(2)
