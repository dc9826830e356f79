"""The branched GAN: what its parts sum to, who moves whom, which order counts, and the blends it is trained on."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from galzoo.contracts.deblended import FLAGS
from galzoo.data.keys import KEYS
from galzoo.errors import InputError, RecipeError
from galzoo.models.branched_gan.deblended import centroids, deblended, nearest_branches
from galzoo.models.branched_gan.losses import adversarial_losses, content_loss
from galzoo.models.branched_gan.mix import MixGalaxies, recompose, repeatably, rim_level
from galzoo.models.branched_gan.model import BranchedGAN
from galzoo.models.branched_gan.networks import Blocks, Discriminator, Generator
from tests.conftest import make_stamps

ROOT = Path(__file__).parents[2]


def batch_of(n=8, size=24, seed=0, bands=("r",), truth=True):
    from galzoo.data.batches import stamps_batch

    stamps = make_stamps(n=n, size=size, bands=bands, seed=seed)
    batch = stamps_batch(stamps, slice(None))
    return batch | {"truth": stamps.truth} if truth else batch


def pictures(n=8, size=24, seed=0):
    random = np.random.default_rng(seed)
    y, x = np.indices((size, size)) - (size - 1) / 2
    width = random.uniform(2, 4, (n, 1, 1, 1))
    colour = random.uniform(0.4, 1, (n, 1, 1, 3))
    image = 230 * colour * np.exp(-0.5 * (x**2 + 2 * y**2)[None, :, :, None] / width**2)
    return {"image": image.astype("float32"), "variance": np.ones_like(image, "float32")}


def numbers(outputs):
    return {key: ops.convert_to_numpy(value) for key, value in outputs.items()}


class TestModel:
    @pytest.mark.parametrize("stride", [1, 2])
    def test_parts_share_out_a_non_negative_whole(self, stride):
        keras.utils.set_random_seed(0)
        model = BranchedGAN.tiny(branches=3, stride=stride)
        found = numbers(model(batch_of(size=17)))
        assert found["isolated"].shape == (8, 3, 17, 17, 1)
        assert found["isolated"].min() >= 0
        np.testing.assert_allclose(found["isolated"].sum(axis=1), found["image"], rtol=1e-5)
        # Where the light is well above the noise the whole starts as what is seen.
        batch = batch_of(size=17)
        bright = batch["image"] > 30
        assert np.corrcoef(found["image"][bright], batch["image"][bright])[0, 1] > 0.8

    def test_flux_scales_with_the_unit(self):
        keras.utils.set_random_seed(0)
        model, batch = BranchedGAN.tiny(), batch_of()
        larger = {**batch, "image": 50 * batch["image"], "variance": 2500 * batch["variance"]}
        one, two = model(batch)["isolated"], model(larger)["isolated"]
        np.testing.assert_allclose(50 * ops.convert_to_numpy(one), two, rtol=1e-3, atol=1e-3)

    def test_pictures_stay_between_black_and_white(self):
        model = BranchedGAN.tiny(bands="irg", output="tanh", blend="max")
        found = numbers(model(pictures()))
        assert 0 <= found["isolated"].min() < found["isolated"].max() <= 255
        np.testing.assert_array_equal(found["image"], found["isolated"].max(axis=1))

    def test_training_lowers_the_content_loss_and_a_network_beats_the_blend_itself(self):
        keras.utils.set_random_seed(0)
        model = BranchedGAN.tiny(bands="irg", output="tanh", blend="max", perturbation="exact", filters=12)
        optimizer = keras.optimizers.Adam(3e-3)
        optimizer.build(model.trainable_variables)
        model.compile(optimizer=optimizer)
        batch = pictures(16)
        before = model.evaluate(batch, verbose=0, return_dict=True)
        for _ in range(50):
            logs = model.train_on_batch(batch, return_dict=True)
        after = model.evaluate(batch, verbose=0, return_dict=True)
        assert after["loss"] == pytest.approx(after["content"])
        assert after["content"] < 0.7 * before["content"]
        assert 0.05 < logs["discriminator"] < 2
        assert float(model.steps) == 50
        blends = numbers(model.blends(batch))
        made = ops.convert_to_numpy(model({key: blends[key] for key in ("image", "variance")})["isolated"])
        errors = [np.mean((x - blends["isolated"]) ** 2) for x in (made, blends["image"][:, None])]
        assert errors[0] < errors[1]

    def test_evaluation_is_on_the_same_blends_each_time(self):
        model = BranchedGAN.tiny()
        model.compile()
        first, second = (model.evaluate(batch_of(), verbose=0, batch_size=8) for _ in range(2))
        assert first == second
        assert float(model.steps) == 0

    def test_the_last_stamp_of_a_data_set_may_be_alone(self):
        model = BranchedGAN.tiny(branches=3)
        blends = numbers(model.blends(batch_of(n=1)))
        assert blends["image"].shape == (1, 24, 24, 1)
        assert blends["isolated"].shape[:2] == (1, 3)

    def test_burn_in_leaves_the_discriminator_alone(self):
        keras.utils.set_random_seed(0)
        model = BranchedGAN.tiny(burn_in=1, blend="max", output="tanh")
        optimizer = keras.optimizers.SGD(1e-2)
        model.compile(optimizer=optimizer)
        batch = {key: value[..., :1] for key, value in pictures().items()}
        weights = [model.discriminator.logit.get_weights()[0]]
        for _ in range(2):
            model.train_on_batch(batch)
            weights.append(model.discriminator.logit.get_weights()[0])
        np.testing.assert_array_equal(weights[0], weights[1])
        assert np.any(weights[1] != weights[2])

    def test_no_discriminator_without_weight(self):
        model = BranchedGAN.tiny(adversarial_weight=0.0)
        assert model.discriminator is None

    def test_draws_differ_only_with_noise(self):
        keras.utils.set_random_seed(0)
        model, batch = BranchedGAN.tiny(noise_channels=2), batch_of(n=2, truth=False)
        draws = model.draws(batch, 3, seed=1)
        assert draws.shape == (3, 2, 2, 24, 24, 1)
        assert np.abs(draws[0] - draws[1]).max() > 0
        np.testing.assert_array_equal(draws, model.draws(batch, 3, seed=1))
        with pytest.raises(InputError, match="noise_channels"):
            BranchedGAN.tiny().draws(batch, 3)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"output": "relu"}, "'flux' or 'tanh'"),
            ({"branches": 1}, "at least 2"),
            ({"fewest": 3}, "from 1 to the 2"),
            ({"branches": 5, "permutation": "invariant"}, "at most 4"),
            ({"stride": 3}, "stride is 3"),
            ({"offset": (0.3, 0.1)}, "offset"),
            ({"perturbation": "none"}, "'free' or 'exact'"),
        ],
    )
    def test_wrong_arguments(self, changes, match):
        with pytest.raises(RecipeError, match=match):
            BranchedGAN.tiny(**changes)

    def test_keys_are_known(self):
        blends = BranchedGAN.tiny().blends(batch_of())
        assert set(blends) <= set(KEYS)


class TestLosses:
    def test_the_order_of_branches_counts_only_where_it_is_fixed(self):
        random = np.random.default_rng(0)
        true = random.normal(size=(4, 3, 8, 8, 2)).astype("float32")
        swapped = true[:, [2, 0, 1]]
        for kind in ("mse", "features"):
            np.testing.assert_allclose(content_loss(swapped, true, kind, "invariant"), 0, atol=1e-6)
            assert np.all(ops.convert_to_numpy(content_loss(swapped, true, kind, "fixed")) > 0.5)
            near = true + 0.1 * random.normal(size=true.shape).astype("float32")
            fixed, free = (content_loss(near, true, kind, order) for order in ("fixed", "invariant"))
            np.testing.assert_allclose(fixed, free, rtol=1e-5)
        np.testing.assert_allclose(content_loss(near, true), np.mean((near - true) ** 2, axis=(1, 2, 3, 4)), rtol=1e-5)

    def test_features_are_pixels_and_differences_at_three_scales(self):
        made, true = np.random.default_rng(1).normal(size=(2, 3, 2, 8, 12, 2)).astype("float32")
        expected = 0
        for scale in (1, 2, 4):
            off = (made - true).reshape(3, 2, 8 // scale, scale, 12 // scale, scale, 2).mean(axis=(3, 5))
            for part in (off, np.diff(off, axis=2), np.diff(off, axis=3)):
                expected = expected + (part**2).mean(axis=(1, 2, 3, 4))
        np.testing.assert_allclose(content_loss(made, true, "features"), expected, rtol=1e-5)

    def test_adversarial_losses_are_cross_entropies(self):
        class Judge:
            variables = ()

            def __call__(self, images, training=False):
                return ops.mean(images, axis=(1, 2, 3))

        made, true = np.random.default_rng(1).normal(1, 6, (2, 3, 2, 2, 1)).astype("float32")
        fake, real = (1 / (1 + np.exp(-one.mean(axis=(1, 2, 3)))) for one in (made, true))
        generator, judge = adversarial_losses(Judge(), ops.convert_to_tensor(made), ops.convert_to_tensor(true))
        np.testing.assert_allclose(generator, -np.log(fake).mean(), rtol=1e-5)
        np.testing.assert_allclose(judge, -(np.log(real).mean() + np.log(1 - fake).mean()) / 2, rtol=1e-5)

    def test_the_generators_loss_does_not_move_the_discriminator(self):
        """By the gradients themselves, and by the running means, which only the discriminator's own passes may move."""
        tf = pytest.importorskip("tensorflow")
        if keras.config.backend() != "tensorflow":
            pytest.skip("gradients are taken by TensorFlow")
        keras.utils.set_random_seed(0)
        judge = Discriminator(4, 8)
        judge.build((None, None, None, 1))
        random = np.random.default_rng(0)
        made, true = (tf.Variable(random.normal(size=(6, 16, 16, 1)).astype("float32")) for _ in range(2))
        weights = [variable.value for variable in judge.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            generator, discriminator = adversarial_losses(
                judge, ops.convert_to_tensor(made), ops.convert_to_tensor(true)
            )
        assert all(gradient is None for gradient in tape.gradient(generator, weights))
        assert tape.gradient(discriminator, made) is None
        assert np.abs(tape.gradient(generator, made)).max() > 0
        assert all(np.isfinite(gradient).all() for gradient in tape.gradient(discriminator, weights))
        moved = [np.array(norm.moving_mean) for norm in judge.norms]
        again = Discriminator(4, 8)
        again.build((None, None, None, 1))
        again.set_weights([*map(np.array, judge.get_weights())])
        for norm in again.norms:
            norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))
        again(ops.convert_to_tensor(true), training=True)
        again(ops.convert_to_tensor(made), training=True)
        for norm, mean in zip(again.norms, moved, strict=True):
            np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-6)


class TestMix:
    def test_exact_blends_keep_every_pixel(self):
        batch = pictures()
        blends = numbers(repeatably(MixGalaxies(perturbation="exact"), batch, seed=3))
        np.testing.assert_allclose(blends["isolated"][:, 0], batch["image"])
        np.testing.assert_array_equal(blends["image"], blends["isolated"].max(axis=1))
        for row in range(8):
            moved, other = blends["isolated"][row, 1], batch["image"][(row + 1) % 8]
            # All pixels that are still there are some of the galaxy's own.
            assert moved.max() == pytest.approx(other.max(), rel=1e-4)
            assert np.isin(np.round(moved[moved > 1], 2), np.round(other, 2)).mean() > 0.98

    def test_galaxies_are_where_it_says(self):
        batch = pictures(n=12, size=40)
        blends = numbers(repeatably(MixGalaxies(offset=(0.05, 0.15)), batch))
        np.testing.assert_allclose(centroids(blends["isolated"]), blends["positions"], atol=0.15)
        shift = np.abs(blends["positions"][:, 1] - blends["positions"][:, 0]) / 40
        assert 0.05 <= shift.min() < 0.08 < 0.12 < shift.max() <= 0.15

    def test_the_sky_goes_on_where_a_stamp_ends(self):
        batch = pictures()
        batch["image"] = batch["image"] + 20
        blends = numbers(repeatably(MixGalaxies(offset=(0.3, 0.4)), batch))
        assert blends["isolated"].min() > 19.9
        assert np.median(blends["isolated"][:, 1]) < 22

    def test_numbers_of_galaxies_and_what_adds(self):
        layer = MixGalaxies(branches=3, fewest=1, blend="add", perturbation="exact")
        batch = pictures(n=24)
        blends = numbers(repeatably(layer, batch))
        assert set(blends["n_sources"]) == {1, 2, 3}
        empty = np.arange(3) >= blends["n_sources"][:, None]
        assert np.all(blends["isolated"][empty] == 0)
        assert np.all(blends["positions"][empty] == 0)
        assert np.all(blends["isolated"][~empty].sum(axis=(1, 2, 3)) > 0)
        np.testing.assert_allclose(blends["image"], recompose(blends["isolated"], "add"))
        np.testing.assert_allclose(blends["variance"][:, 0, 0, 0], blends["n_sources"])

    def test_new_blends_each_time_and_the_same_by_seed(self):
        layer, batch = MixGalaxies(), pictures()
        one, two = (numbers(layer(batch))["image"] for _ in range(2))
        assert np.any(one != two)
        again = [numbers(repeatably(layer, batch, seed))["image"] for seed in (1, 1, 2)]
        np.testing.assert_array_equal(again[0], again[1])
        assert np.any(again[0] != again[2])

    @staticmethod
    def drawn(monkeypatch, image, numbers_drawn, **options):
        """Return the galaxies of blends whose random numbers are given: angle, mirror, size, shifts, signs."""
        draw = np.tile(np.array(numbers_drawn, "float32"), (len(image), 1))
        monkeypatch.setattr(keras.random, "uniform", lambda shape, seed=None: ops.convert_to_tensor(draw))
        most = options.get("branches", 2)
        batch = {"image": image.astype("float32"), "variance": np.ones(image.shape, "float32")}
        return numbers(MixGalaxies(fewest=most, **options)(batch))

    @pytest.mark.parametrize("mirror", [0.2, 0.8])
    @pytest.mark.parametrize("quarter", [0, 1, 2, 3])
    def test_exact_galaxies_are_mirrored_turned_and_moved(self, monkeypatch, quarter, mirror):
        shape = (20, 30) if quarter % 2 == 0 else (24, 24)
        image = np.zeros((1, *shape, 1))
        image[0, 8:-8, 8:-8, 0] = np.random.default_rng(2).uniform(1, 2, (shape[0] - 16, shape[1] - 16))
        draws = [quarter / 4 + 0.1, mirror, 0.5, 0.25, 1.0, 0.3, 0.7]
        found = self.drawn(monkeypatch, image, draws, perturbation="exact", offset=(0.1, 0.2))
        turned = np.rot90(image[0, :, ::-1, 0] if mirror < 0.5 else image[0, ..., 0], -quarter)
        # A quarter of the way from .1 to .2 of the width to the left, and .2 of the height down.
        x, y = -round(0.125 * shape[1]), round(0.2 * shape[0])
        np.testing.assert_allclose(found["isolated"][0, 1, ..., 0], np.roll(turned, (y, x), (0, 1)), atol=1e-4)
        np.testing.assert_allclose(found["positions"][0, 1] - found["positions"][0, 0], [x, y])

    def test_free_galaxies_are_smaller_or_larger(self, monkeypatch):
        y, x = np.indices((61, 61)) - 30
        image = np.exp(-0.5 * (x**2 + y**2) / 4.0**2)[None, ..., None]
        for draw, size in ((0.0, np.exp(-1)), (1.0, np.exp(0.5))):
            found = self.drawn(monkeypatch, image, [0, 0.9, draw, 0, 0, 0.9, 0.9], offset=(0, 0))["isolated"][
                0, 1, ..., 0
            ]
            np.testing.assert_allclose((found * x**2).sum() / found.sum(), (4 * size) ** 2, rtol=0.05)

    def test_galaxies_of_a_blend_are_the_next_ones_of_the_batch(self, monkeypatch):
        image = np.random.default_rng(3).normal(size=(5, 12, 12, 1))
        draws = [0, 0.9, 0, 0, 0, 0.9, 0.9]
        found = self.drawn(monkeypatch, image, draws, branches=3, perturbation="exact", offset=(0, 0))["isolated"]
        for source in range(3):
            np.testing.assert_allclose(found[:, source], np.roll(image, -source, axis=0), atol=1e-4)

    def test_sky_is_the_median_of_all_four_edges(self):
        image = np.random.default_rng(3).exponential(size=(2, 9, 13, 2)) + np.linspace(0, 9, 13)[:, None]
        edges = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
        np.testing.assert_allclose(rim_level(image.astype("float32"))[:, 0, 0], np.median(edges, axis=1), rtol=1e-5)


class TestAnswer:
    def test_branches_follow_known_positions(self):
        found = np.array([[10.0, 10.0], [20.0, 5.0], [np.nan, np.nan]])
        np.testing.assert_array_equal(nearest_branches(found, np.array([[19.0, 6.0], [9.0, 9.0]])), [1, 0])
        order = nearest_branches(found, np.array([[30.0, 30.0], [19.0, 6.0], [9.0, 9.0], [0.0, 0.0]]))
        assert sorted(order) == [-1, 0, 1, 2]
        assert order[1] == 1
        assert order[2] == 0

    def test_deblended(self):
        y, x = np.indices((25, 25))

        def blob(at_x, at_y, flux):
            return flux / (2 * np.pi * 4) * np.exp(-0.5 * ((x - at_x) ** 2 + (y - at_y) ** 2) / 4)

        parts = np.zeros((1, 3, 25, 25, 1), np.float32)
        parts[0, 0, ..., 0], parts[0, 1, ..., 0] = blob(8, 12, 500), blob(16.5, 11, 800)
        whole = parts.sum(axis=1)
        image = whole + 0.5
        mask = np.zeros(image.shape, bool)
        mask[0, :2], image[0, :2] = True, 1e6
        batch = {"image": image, "variance": np.full(image.shape, 4.0), "mask": mask}
        answer = deblended(parts, whole, batch)
        np.testing.assert_array_equal(answer.present, [[True, True, False]])
        np.testing.assert_allclose(answer.flux[0, :, 0], [500, 800, 0], rtol=1e-3)
        np.testing.assert_allclose(answer.positions[0, :2], [[8, 12], [16.5, 11]], atol=0.02)
        np.testing.assert_allclose(answer.chi2, 0.25 / 4, rtol=1e-4)
        assert np.all(answer.residual[mask] == 0)
        known = {**batch, "positions": np.array([[[17, 11], [8, 12], [0, 0], [2, 2], [0, 0]]]), "n_sources": [4]}
        answer = deblended(parts, whole, known)
        np.testing.assert_allclose(answer.flux[0, :2, 0], [800, 500], rtol=1e-3)
        assert answer.flags[0].tolist().count(FLAGS["not_fitted"]) == 1
        np.testing.assert_array_equal(answer.present[0], [True, True, True, True, False])

    def test_a_branch_of_five_sigma_holds_a_source_and_one_negative_band_is_told(self):
        parts = np.zeros((1, 3, 5, 5, 2), np.float32)
        parts[0, :, 2, 3] = [[2 * 4.9, 0], [2 * 3, -2 * 4.1], [2 * 4, 2 * 4]]
        batch = {"image": np.zeros((1, 5, 5, 2)), "variance": np.full((1, 5, 5, 2), 4.0)}
        found = deblended(parts, parts.sum(axis=1), batch)
        np.testing.assert_array_equal(found.present, [[False, True, True]])
        np.testing.assert_array_equal(found.flags, [[0, FLAGS["negative_flux"], 0]])

    def test_centroids_are_weighted_by_the_square_of_the_light(self):
        parts = np.zeros((1, 1, 4, 9, 2))
        parts[0, 0, 1, 2], parts[0, 0, 3, 8] = [1, 2], [0.5, 0.5]
        np.testing.assert_allclose(centroids(parts)[0, 0], [(9 * 2 + 8) / 10, (9 * 1 + 3) / 10])


class TestNetworks:
    def test_published_sizes(self):
        """Layers and channels as in the paper; a discriminator of 64 to 512 channels."""
        blocks = Blocks(10)
        blocks.build((None, None, None, 64))
        # Two convolutions, two normalisations (two of four numbers are not trained), one slope a channel.
        per_block = 2 * 9 * 64 * 64 + 2 * 4 * 64 + 64
        assert blocks.count_params() == 10 * per_block
        generator = Generator(3, 2, 64, 10, 6)
        generator.build((None, None, None, 3))
        joined = (81 * 3 * 64 + 64) + 64 + 9 * 64 * 64 + 4 * 64
        assert generator.count_params() == joined + 22 * per_block + 2 * (81 * 64 * 3 + 3)
        judge = Discriminator(64, 1024)
        assert [layer.filters for layer in judge.convolutions] == [64, 128, 128, 256, 256, 512, 512]
        assert [layer.strides[0] for layer in judge.convolutions] == [2, 1, 2, 1, 2, 1, 2]


PROGRAM = """
import sys
import keras
import numpy as np
from keras import ops
from galzoo.models.branched_gan.mix import MixGalaxies
from galzoo.models.branched_gan.model import BranchedGAN

data = dict(np.load(sys.argv[1]))
model = BranchedGAN.tiny(branches=3, permutation="invariant", augment=False)
for index, weight in enumerate(model.generator.weights):
    random = np.random.default_rng(index)
    value = 0.1 * random.standard_normal(weight.shape)
    weight.assign(np.abs(value) + 0.5 if "variance" in weight.path or "gamma" in weight.path else value)
results = {key: ops.convert_to_numpy(value) for key, value in model(data).items()}
mixer = MixGalaxies()
draw = np.random.default_rng(0).random((len(data["image"]), 7)).astype("float32")
matrix, _ = mixer._transform(ops.convert_to_tensor(draw), 20, 20)
moved = ops.image.affine_transform(data["image"], matrix, "bilinear", "constant", 0.0, "channels_last")
results["moved"] = ops.convert_to_numpy(moved)
if keras.config.backend() == "jax":
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer)
    before = [ops.convert_to_numpy(weight) for weight in model.discriminator.weights]
    losses = [model.train_on_batch(data, return_dict=True)["content"] for _ in range(8)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0], losses
    after = [ops.convert_to_numpy(weight) for weight in model.discriminator.weights]
    assert any(np.any(old != new) for old, new in zip(before, after, strict=True))
    assert float(model.steps) == 8
np.savez(sys.argv[2], **results)
"""


def test_tensorflow_and_jax_agree(tmp_path):
    """The same answer from the same weights, and JAX trains both networks."""
    pytest.importorskip("jax")
    pytest.importorskip("tensorflow")
    np.savez(tmp_path / "in.npz", **batch_of(n=6, size=20))
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    found = {}
    for name in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": name, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": quick}
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-c", PROGRAM, tmp_path / "in.npz", tmp_path / f"{name}.npz"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-2000:]
        found[name] = dict(np.load(tmp_path / f"{name}.npz"))
    for key, value in found["tensorflow"].items():
        np.testing.assert_allclose(found["jax"][key], value, rtol=1e-3, atol=1e-4 * np.abs(value).max(), err_msg=key)
