"""The galaxy VAE by itself: its loss by hand, ordered dimensions, any stamp size, what does not count, adaptation."""

import keras
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from galzoo.contracts.codec import Reconstructor
from galzoo.contracts.encoder import Encoder
from galzoo.data.batches import stamps_batch
from galzoo.errors import InputError, RecipeError
from galzoo.inference.stamp_features import features
from galzoo.layers.adaptation import DomainLoss
from galzoo.layers.flux import noise_level
from galzoo.metrics.checkerboard import checkerboard_power
from galzoo.models.galaxy_vae.components import principal_components
from galzoo.models.galaxy_vae.density import Mixture
from galzoo.models.galaxy_vae.model import GalaxyVAE
from galzoo.models.galaxy_vae.networks import fit_to
from galzoo.tasks import embed
from galzoo.tasks.reconstruct import reconstruct
from tests.conftest import make_stamps

QUIET = {"augment": False, "mask_dropout": 0.0}


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)


def model_of(**changes):
    keras.utils.set_random_seed(3)
    return GalaxyVAE.tiny(("g", "r"), **{**QUIET, **changes})


def batch_of(n=6, size=16, seed=0):
    stamps = make_stamps(n, size=size, bands=("g", "r"), seed=seed)
    random = np.random.default_rng(seed)
    batch = {"image": stamps.image, "psf": stamps.psf_of(slice(None))}
    batch["variance"] = random.uniform(0.5, 3, stamps.image.shape).astype("float32")
    batch["mask"] = random.random(stamps.image.shape) < 0.1
    batch["variance"][1, ..., 0], batch["image"][2, 3, 4, 1] = np.inf, np.nan
    batch["mask"][2, 3, 4, 1] = True
    return batch


@pytest.mark.parametrize("likelihood", ["gaussian", "student"])
def test_loss_is_what_is_written_down(likelihood):
    model, batch = model_of(likelihood=likelihood, error_floor=0.3, kl_weight=2.0, free_bits=0.2), batch_of()
    random = np.random.default_rng(1)
    made = dict(model(batch))
    made["image"] = random.uniform(0, 5, batch["image"].shape).astype("float32")
    made["latent"] = random.normal(0, [2, 1, 1, 0.1, 0.1, 0.1], (6, 6)).astype("float32")
    made["log_deviation"] = np.tile([-2, -1, 0, 0, 0, -0.1], (6, 1)).astype("float32")
    loss = float(model.compute_loss(x=batch, y_pred=made))
    good = ~batch["mask"] & np.isfinite(batch["variance"])
    square = np.where(good, np.nan_to_num(batch["image"]) - made["image"], 0.0) ** 2
    variance = np.where(good, batch["variance"], 1.0) + (0.3 * made["image"]) ** 2
    pixels = good.sum(axis=(1, 2, 3))
    chi2 = (good * square / variance).sum(axis=(1, 2, 3)) / pixels
    nats = 0.5 * (np.log1p(chi2) if likelihood == "student" else chi2)
    deviation = np.exp(made["log_deviation"].astype(float))
    each = 0.5 * (made["latent"] ** 2 + deviation**2 - 1 - 2 * np.log(deviation))
    divergence = np.maximum(each.mean(axis=0), 0.2).sum()
    assert loss == pytest.approx(nats.mean() + 2.0 * divergence / pixels.mean(), rel=1e-4)


def test_the_noiseless_image_costs_half_its_squared_difference_in_scaled_values():
    model, batch = model_of(frame_weight=3.0, softening=2.0), batch_of()
    random = np.random.default_rng(2)
    batch["truth"] = random.uniform(0, 9, batch["image"].shape).astype("float32")
    made = dict(model(batch))
    plain = model_of(softening=2.0)
    more = float(model.compute_loss(x=batch, y_pred=made)) - float(plain.compute_loss(x=batch, y_pred=made))
    noise = array(noise_level(batch["variance"], batch["mask"]))
    one, other = (np.arcsinh(array(image) / (2 * noise)) for image in (made["deconvolved"], batch["truth"]))
    assert more == pytest.approx(3.0 * 0.5 * ((one - other) ** 2).mean(), rel=1e-3)
    assert more > 0.1
    with pytest.raises(RecipeError, match="frame_weight wants the noiseless image"):
        model.compute_loss(x={**batch, "truth": None}, y_pred=made)


def test_pixels_that_do_not_count_change_nothing():
    model, batch = model_of(), batch_of()
    wild = {**batch, "image": np.where(batch["mask"], 1e6, batch["image"]).astype("float32")}
    np.testing.assert_allclose(array(model.latents(batch)), array(model.latents(wild)), atol=1e-5)
    losses = [float(model.compute_loss(x=b, y_pred=model(b))) for b in (batch, wild)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_vectors_do_not_know_the_unit_of_the_image():
    model, batch = model_of(), batch_of()
    scaled = {**batch, "image": batch["image"] * 50, "variance": batch["variance"] * 2500}
    np.testing.assert_allclose(array(model.latents(batch)), array(model.latents(scaled)), atol=1e-4)
    # A band that is not there, as in the second stamp, has no noise to give its unit.
    ours, theirs = (np.delete(array(model(b)["image"]), 1, axis=0) for b in (scaled, batch))
    np.testing.assert_allclose(ours, 50 * theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [11, 16, 23])
def test_stamps_of_any_size_are_looked_at_in_the_middle(size):
    model, batch = model_of(), batch_of(size=size)
    outputs = model(batch)
    assert array(outputs["image"]).shape == batch["image"].shape
    assert np.isfinite(array(outputs["image"])).all()
    if size > 16:
        far = {**batch, "image": batch["image"].copy()}
        far["image"][:, 0], far["mask"] = 100.0, batch["mask"]
        # The rim is not looked at, and does not count for the loss.
        np.testing.assert_allclose(array(model.latents(far)), array(model.latents(batch)), atol=1e-5)
        losses = [float(model.compute_loss(x=b, y_pred=model(b))) for b in (batch, far)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_fit_keeps_the_middle():
    planes = np.arange(30, dtype="float32").reshape(1, 5, 6, 1)
    small = array(fit_to(planes, (3, 4)))
    np.testing.assert_array_equal(small, planes[:, 1:4, 1:5])
    large = array(fit_to(planes, (7, 9)))
    np.testing.assert_array_equal(large[:, 1:6, 1:7], planes)
    assert large.sum() == planes.sum()


def test_dimensions_are_dropped_from_the_last_on_and_each_number_as_often():
    model = model_of(nested=1.0)
    kept = array(model._kept(4000))
    assert set(np.unique(kept)) == {0.0, 1.0}
    assert np.all(np.diff(kept, axis=1) <= 0)
    counts = np.bincount(kept.sum(axis=1).astype(int), minlength=7)[1:] / 4000
    np.testing.assert_allclose(counts, 1 / 6, atol=0.03)
    assert array(model_of(nested=0.0)._kept(50)).min() == 1


def test_reconstruction_by_the_first_dimensions_ignores_the_others():
    model, batch = model_of(), batch_of()
    full = model.reconstruct(batch)
    np.testing.assert_array_equal(array(model.reconstruct(batch, 6)["image"]), array(full["image"]))
    noise = np.ones((6, 1, 1, 2), "float32")
    vectors = array(full["latent"]).astype("float32")
    two = array(model.decode(np.where(np.arange(6) < 2, vectors, 0), noise))
    from_batch = array(model.reconstruct({**batch, "variance": np.ones_like(batch["image"])}, 2)["deconvolved"])
    assert from_batch.shape == two.shape
    with pytest.raises(InputError, match="dimensions is 7; the vectors have 1 to 6"):
        model.reconstruct(batch, 7)


def test_training_lowers_the_loss():
    model, batch = model_of(nested=0.7, kl_weight=0.1, softening=5.0), batch_of(n=24)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    first = model.evaluate(batch, verbose=0, return_dict=True)["loss"]
    model.fit(batch, epochs=30, batch_size=24, verbose=0)
    assert model.evaluate(batch, verbose=0, return_dict=True)["loss"] < 0.9 * first


def test_saved_and_loaded_it_says_the_same(tmp_path):
    model, batch = model_of(adaptation="adversarial"), batch_of()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(model.latents(batch)), array(again.latents(batch)))


def test_it_serves_reconstruct_and_embed(tmp_path):
    model, stamps = model_of(), make_stamps(12, size=16, bands=("r", "g"))
    assert isinstance(model, Encoder)
    assert isinstance(model, Reconstructor)
    made = reconstruct(model, stamps)
    assert made.codes is None
    assert made.image.shape == stamps.image.shape
    from galzoo.tasks.reconstruct import write_reconstruction

    assert len(write_reconstruction(stamps, made, tmp_path / "r")) == 4
    found = embed.embed(model, stamps, method="pca")
    assert found.features.shape == (12, 6)
    assert {path.name for path in embed.write_embedding(stamps, found, tmp_path / "e")} == {
        "embedding.ecsv",
        "embedding.png",
        "summary.json",
    }


def test_vectors_of_embed_do_not_hang_on_how_the_stamp_is_turned():
    model, stamps = model_of(), make_stamps(3, size=16, bands=("g", "r"))
    turned = make_stamps(3, size=16, bands=("g", "r"))
    turned.image = np.rot90(stamps.image, axes=(1, 2)).copy()
    for name in ("variance", "psf", "mask"):
        plane = getattr(stamps, name)
        if plane is not None:
            setattr(turned, name, np.rot90(plane, axes=(1, 2)).copy())
    np.testing.assert_allclose(features(model, stamps)[0], features(model, turned)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 20}, "multiple of 8"),
        ({"size": 4}, "multiple of 8"),
        ({"latent": 0}, "latent is 0"),
        ({"channels": []}, r"channels is \[\]"),
        ({"channels": (8, 0)}, r"channels is \[8, 0\]"),
        ({"blocks": -1}, "blocks is -1"),
        ({"hidden": 0}, "hidden is 0"),
        ({"mixture": 0}, "mixture is 0"),
        ({"kl_weight": float("nan")}, "kl_weight is nan"),
        ({"free_bits": -0.1}, "free_bits is -0.1"),
        ({"nested": 1.5}, "nested is 1.5; give a number from 0 to 1"),
        ({"error_floor": -1}, "error_floor is -1"),
        ({"band_dropout": 1}, "band_dropout is 1"),
        ({"mask_dropout": 2}, "mask_dropout is 2"),
        ({"adaptation_weight": float("inf")}, "adaptation_weight is inf"),
        ({"softening": 0}, "softening is 0"),
        ({"likelihood": "poisson"}, "'poisson' is unknown"),
        ({"adaptation": "coral"}, "'coral' is unknown"),
    ],
)
def test_wrong_arguments_are_named(changes, words):
    with pytest.raises((InputError, RecipeError), match=words):
        model_of(**changes)


def test_adaptation_without_domains_is_refused():
    model, batch = model_of(adaptation="mmd"), batch_of()
    with pytest.raises(RecipeError, match="of which survey"):
        model.compute_loss(x=batch, y_pred=model(batch))


def test_discrepancy_of_two_gaussians_is_that_of_the_formula():
    random = np.random.default_rng(0)
    vectors = np.concatenate([random.normal(0, 1, (40, 3)), random.normal(1, 1, (20, 3))]).astype("float32")
    domain = np.repeat([0.0, 1.0], [40, 20]).astype("float32")
    found = float(DomainLoss("mmd")(vectors, domain))
    v = vectors / (vectors.std(axis=0) + 1e-3)
    d = ((v[:, None] - v[None]) ** 2).sum(axis=-1)
    k = np.mean([np.exp(-d / (w * d.mean())) for w in (0.25, 0.5, 1, 2, 4)], axis=0)
    expected = k[:40, :40].mean() + k[40:, 40:].mean() - 2 * k[:40, 40:].mean()
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", ["mmd", "sinkhorn"])
def test_distances_grow_with_the_shift_and_vanish_without(kind):
    random = np.random.default_rng(0)
    base = random.normal(size=(128, 4)).astype("float32")
    domain = np.tile([0.0, 1.0], 64).astype("float32")
    found = [float(DomainLoss(kind)(base + shift * domain[:, None], domain)) for shift in (0.0, 1.0, 3.0)]
    assert abs(found[0]) < 0.5 * found[1] < 0.25 * found[2]
    assert float(DomainLoss(kind)(base, np.zeros(128, "float32"))) == 0.0


def test_sinkhorn_of_two_far_points_is_their_cost():
    vectors = np.repeat([[0.0, 0.0], [3.0, 4.0]], 8, axis=0).astype("float32")
    domain = np.repeat([0.0, 1.0], 8).astype("float32")
    # Half of all pairs are apart, so the cost in units of the mean is 2.
    assert float(DomainLoss("sinkhorn")(vectors, domain)) == pytest.approx(2.0, abs=0.05)


def test_adversary_learns_to_tell_while_vectors_learn_to_leave_it_in_doubt():
    """Gradients by finite differences: of the network's loss for its weights, of the doubt for the vectors."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with TensorFlow")
    import tensorflow as tf

    random = np.random.default_rng(0)
    layer = DomainLoss("adversarial", hidden=4)
    layer.build((None, 2))
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    domain = np.tile([0.0, 1.0], 8).astype("float32")
    vectors = tf.Variable(random.normal(size=(16, 2)).astype("float32"))
    with tf.GradientTape() as tape:
        loss = layer(vectors, domain)
    by_vectors, by_weights = tape.gradient(loss, [vectors, layer.network.weights[-2].value])
    spread = array(vectors).std(axis=0) + 1e-3

    def logits(values):
        return array(layer.network((values / spread).astype("float32")))[:, 0]

    def doubt(values):
        logit = logits(values)
        return np.mean(0.5 * np.log((1 + np.exp(logit)) * (1 + np.exp(-logit))))

    def told():
        logit = logits(array(vectors))
        return np.mean(np.log1p(np.exp(np.where(domain < 0.5, -logit, logit))))

    assert float(loss) == pytest.approx(told() - np.log(2), rel=1e-4)
    step = np.zeros((16, 2))
    step[3, 1] = 1e-2
    slope = (doubt(array(vectors) + step) - doubt(array(vectors) - step)) / 2e-2
    assert float(by_vectors[3, 1]) == pytest.approx(slope, rel=0.02, abs=1e-5)
    last, shift = layer.network.weights[-2], np.zeros((4, 1), "float32")
    shift[2] = 1e-2
    start, values = array(last), []
    for sign in (1, -1):
        last.assign(start + sign * shift)
        values.append(told())
    assert float(by_weights[2, 0]) == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.02, abs=1e-5)


def test_adversary_learns_to_tell_domains_apart_where_vectors_cannot_answer():
    random = np.random.default_rng(0)
    domain = np.tile([0.0, 1.0], 64).astype("float32")
    vectors = (random.normal(size=(128, 4)) + 3 * domain[:, None]).astype("float32")
    layer = DomainLoss("adversarial")
    layer.build((None, 4))
    assert float(layer(vectors, domain)) == pytest.approx(0.0, abs=1e-5)
    assert float(layer(vectors, np.ones(128, "float32"))) < 0.0


@pytest.mark.parametrize("kind", ["mmd", "sinkhorn", "adversarial"])
def test_adaptation_trains_in_half_precision(kind):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = DomainLoss(kind)
        layer.build((None, 4))
        vectors = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        assert np.isfinite(float(layer(vectors, np.tile([0.0, 1.0], 4).astype("float32"))))
    finally:
        keras.config.set_dtype_policy("float32")


def test_only_images_of_the_second_survey_are_decoded_another_way():
    model, batch = model_of(adaptation="mmd"), batch_of()
    for weight in model.translation.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    told = {**batch, "condition": np.array([[0.0], [1.0]] * 3, "float32")}
    plain, known = (array(model(one)["deconvolved"]) for one in (batch, told))
    np.testing.assert_array_equal(known[::2], plain[::2])
    assert np.all(np.abs(known[1::2] - plain[1::2]).max(axis=(1, 2, 3)) > 0)
    np.testing.assert_array_equal(array(model.latents(told)), array(model.latents(batch)))
    np.testing.assert_array_equal(array(model.reconstruct(told, 6)["deconvolved"]), known)


@pytest.mark.parametrize("kind", ["mmd", "adversarial"])
def test_adaptation_starts_from_a_model_of_one_survey(kind):
    first, batch = model_of(), batch_of()
    keras.utils.set_random_seed(8)
    second = GalaxyVAE.tiny(("g", "r"), adaptation=kind, **QUIET)
    before = array(second.latents(batch))
    second.take_over(first)
    assert np.abs(before - array(first.latents(batch))).max() > 0
    told = {**batch, "condition": np.ones((6, 1), "float32")}
    # Nothing is added to the vectors of the second survey at first.
    for key in ("latent", "image"):
        np.testing.assert_array_equal(array(second(told)[key]), array(first(batch)[key]))
    with pytest.raises(InputError, match="another encoder"):
        model_of(latent=5).take_over(first)


def pictures_of(n=80, seed=0):
    """Return a batch of galaxies that are a sum of three fixed images, with noise of 1 and masked pixels."""
    random = np.random.default_rng(seed)
    y, x = np.indices((16, 16)) - 7.5
    shapes = [np.exp(-(y**2 + x**2) / 18), np.exp(-(y**2 + 4 * x**2) / 18), np.exp(-(4 * y**2 + x**2) / 18)]
    amount = random.uniform([60, 5, 0], [90, 40, 10], (n, 3))
    truth = np.einsum("nk,kyx->nyx", amount, shapes)[..., None].repeat(2, axis=-1) + 10
    mask = random.random(truth.shape) < 0.02
    image = np.where(mask, 1e4, truth + random.normal(size=truth.shape))
    return {"image": image.astype("float32"), "variance": np.ones_like(truth, "float32"), "mask": mask}, truth


def test_it_starts_as_the_principal_components_of_the_data():
    model = model_of(latent=4, softening=20.0, nested=0.0)
    batch, truth = pictures_of()
    model.adapt([{key: plane[start : start + 20] for key, plane in batch.items()} for start in range(0, 80, 20)])
    other, truth = pictures_of(seed=1)
    found = array(model(other)["image"])
    # Noise of 1 is beaten, and each dimension has the spread of the prior.
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.6
    told = array(model.latents(other))
    np.testing.assert_allclose(told[:, :2].std(axis=0), 1.0, atol=0.3)
    assert np.std(np.mean((array(model.reconstruct(other, 1)["image"]) - truth) ** 2, axis=(1, 2, 3))) > 0
    errors = [np.mean((array(model.reconstruct(other, k)["image"]) - truth) ** 2) for k in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]


def test_two_stamps_or_empty_ones_leave_the_start_as_it_was():
    model, (batch, _) = model_of(), pictures_of()
    before = array(model.encoder.get_layer("mean").kernel)
    model.adapt([{key: plane[:2] for key, plane in batch.items()}])
    np.testing.assert_array_equal(before, array(model.encoder.get_layer("mean").kernel))
    model.adapt([{**batch, "mask": np.ones_like(batch["mask"])}])
    assert np.isfinite(array(model(batch)["image"])).all()


def test_components_are_those_of_a_singular_value_decomposition():
    random = np.random.default_rng(0)
    values = random.normal(size=(30, 5)) @ random.normal(size=(5, 50)) + random.normal(size=(30, 50)) * 0.1 + 3
    found = principal_components(values, np.ones_like(values), 4)
    _, singular, basis = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.variance, singular[:4] ** 2 / 30, rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.sum(found.basis * basis[:4], axis=1)), 1.0, atol=1e-4)
    assert found.noise == pytest.approx((singular[4:] ** 2).sum() / 30 / 46, rel=1e-3)


def test_values_that_do_not_count_are_no_part_of_the_mean_of_components():
    random = np.random.default_rng(1)
    values, weight = random.normal(3, 1, (6, 20)), (random.random((6, 20)) < 0.7).astype(float)
    found = principal_components(values, weight, 9)
    np.testing.assert_allclose(found.mean, np.ma.masked_array(values, weight == 0).mean(axis=0).filled(0), rtol=1e-6)
    # Of six vectors there are five components.
    assert len(found.basis) == 5
    found = principal_components(values, weight, 3)
    np.testing.assert_allclose(found.loading**2, found.variance - found.noise, rtol=1e-6)
    assert found.noise > 0.01 * found.variance[-1]


def test_mixture_finds_two_clouds_and_draws_from_them():
    random = np.random.default_rng(0)
    vectors = np.concatenate([random.normal(-5, 0.5, (6000, 2)), random.normal([5, 0], [2, 0.2], (3000, 2))])
    mixture = Mixture(2, 2)
    before = mixture.log_density(np.zeros((1, 2)))
    assert before[0] == pytest.approx(-np.log(2 * np.pi))
    mixture.fit(vectors)
    drawn = mixture.sample(4000, seed=1)
    assert np.mean(drawn[:, 0] > 0) == pytest.approx(1 / 3, abs=0.04)
    right = drawn[drawn[:, 0] > 0]
    np.testing.assert_allclose(right.std(axis=0), [2, 0.2], rtol=0.15)
    assert mixture.log_density([[-5, -5]])[0] > mixture.log_density([[0, 5]])[0] + 10
    # Densities sum to one.
    grid = np.stack(np.meshgrid(np.linspace(-15, 15, 301), np.linspace(-10, 10, 401)), axis=-1).reshape(-1, 2)
    assert np.exp(mixture.log_density(grid)).sum() * 0.1 * 0.05 == pytest.approx(1.0, abs=0.02)


def test_a_step_of_the_mixture_is_that_of_expectation_maximisation():
    random = np.random.default_rng(4)
    vectors = random.normal(size=(40, 3)) @ random.normal(size=(3, 3)) + random.choice([-2, 2], (40, 1))
    mixture = Mixture(2, 3)
    mixture.fit(vectors, iterations=1, seed=5)
    whole, first = np.cov(vectors.T), vectors[np.random.default_rng(5).choice(40, 2, replace=False)]
    least = 1e-4 * np.trace(whole) / 3 * np.eye(3)
    told = np.stack([multivariate_normal(one, whole + least).pdf(vectors) for one in first], axis=1)
    told /= told.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(array(mixture.share), told.mean(axis=0), rtol=1e-5)
    for k, scale in enumerate(array(mixture.scale)):
        mean = np.average(vectors, axis=0, weights=told[:, k])
        np.testing.assert_allclose(array(mixture.mean)[k], mean, rtol=1e-4)
        spread = np.cov(vectors.T, aweights=told[:, k], ddof=0) * told[:, k].sum()
        # The spread of all counts as one member.
        np.testing.assert_allclose(scale @ scale.T, (spread + whole) / (told[:, k].sum() + 1) + least, rtol=1e-4)


def test_temperature_multiplies_the_variance_of_draws():
    random = np.random.default_rng(4)
    mixture, whole = Mixture(1, 2), np.array([[4.0, 1.5], [1.5, 1.0]])
    mixture.fit(random.multivariate_normal([1, 2], whole, 20_000))
    for temperature in (1.0, 0.25):
        drawn = mixture.sample(20_000, seed=1, temperature=temperature)
        np.testing.assert_allclose(np.cov(drawn.T), temperature * whole, rtol=0.08)


def test_mixture_is_fitted_to_validation_data_and_saved(tmp_path):
    model = model_of(mixture=2)
    batch, _ = pictures_of()
    model.finish([{key: plane[:40] for key, plane in batch.items()}])
    # Noise levels are remembered with the vectors: here all are 1.
    vectors = np.concatenate([array(model.latents(batch)), np.zeros((80, 2))], axis=1)
    assert model.mixture.log_density(vectors).mean() > model_of().mixture.log_density(vectors).mean() + 1
    assert array(model.draw(5, seed=1)).shape == (5, 16, 16, 2)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.mixture.sample(3), model.mixture.sample(3))


def test_features_of_levels_are_rings_of_each_level():
    model, stamps = model_of(), make_stamps(5, size=16, bands=("g", "r"))
    found = features(model, stamps, views=1, depth="levels")[0]
    fine, coarse = (array(level) for level in model.maps(stamps_batch(stamps)))
    assert [fine.shape, coarse.shape] == [(5, 4, 4, 8), (5, 2, 2, 16)]
    # The four cells about the centre are the first ring of the fine map, and all of the coarse one.
    np.testing.assert_allclose(found[:, :8], fine[:, 1:3, 1:3].mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(found[:, -32:-16], coarse.mean(axis=(1, 2)), atol=1e-5)
    with pytest.raises(InputError, match="no maps of several levels"):
        features(object(), stamps, depth="levels")


def test_training_leaves_components_and_mixture_as_they_are():
    from galzoo.train import compile_stage

    model = model_of()
    stage = {"freeze": [], "learning_rate": 1e-2, "epochs": 1, "steps_per_epoch": 2, "warmup_steps": 0, "name": "one"}
    stage |= {"schedule": "constant", "optimizer": "adam", "clip_norm": 1.0}
    batch, _ = pictures_of()
    model.adapt([batch])
    fixed = [weight for name in model.frozen for weight in getattr(model, name).weights]
    before, blocks = [array(weight) for weight in fixed], array(model.encoder.get_layer("mean").kernel)
    compile_stage(model, stage, {"precision": "float32", "jit": False})
    model.fit(batch, batch_size=40, verbose=0)
    for old, weight in zip(before, fixed, strict=True):
        np.testing.assert_array_equal(old, array(weight))
    assert np.abs(blocks - array(model.encoder.get_layer("mean").kernel)).max() > 0


def test_a_lattice_in_the_components_is_not_drawn_and_light_is_kept():
    """JPEG pictures store colour in squares of 2 pixels, which components copy."""
    model = model_of(size=32)
    random = np.random.default_rng(4)
    y, x = np.indices((32, 32)) - 15.5
    smooth = 3 * np.exp(-(x**2 + y**2) / 60)[..., None] + 0.01 * random.normal(size=(32, 32, 2))
    pattern = smooth + 0.2 * ((np.arange(32) % 2)[:, None, None] - 0.5) + 0.2 * ((np.arange(32) % 2)[:, None] - 0.5)
    drawn = {}
    for name, image in (("smooth", smooth), ("pattern", pattern)):
        model.decoder_components.bias.assign(image.ravel())
        model.decoder.get_layer("squares").kernel.assign(0 * model.decoder.get_layer("squares").kernel)
        drawn[name] = array(model.decoder(np.zeros((1, 6), "float32")))
    assert checkerboard_power(pattern[None], 2)[0] > 100
    assert checkerboard_power(drawn["pattern"], 2)[0] < 1
    np.testing.assert_allclose(drawn["pattern"], drawn["smooth"], atol=1e-5)
    np.testing.assert_allclose(drawn["smooth"].sum(), smooth.sum(), rtol=1e-3)
    np.testing.assert_allclose(drawn["smooth"][0].max(), smooth.max(), rtol=0.01)
