"""The PixelCNN: exact probabilities, the same samples from both samplers, conditions and bad input."""

import keras
import numpy as np
import pytest
from astropy import units as u
from keras import ops
from scipy.stats import norm

from galzoo.contracts.deblended import Deblended
from galzoo.contracts.prior import Prior, Samples
from galzoo.data.batches import stamps_batch
from galzoo.errors import InputError, RecipeError
from galzoo.inference.pixel_samples import sample_pixels
from galzoo.models.pixelcnn import sample as sampling
from galzoo.models.pixelcnn.conditions import place_features
from galzoo.models.pixelcnn.heads import CodeHead, MixtureHead
from galzoo.models.pixelcnn.model import PixelCNN
from galzoo.models.vqvae.model import VQVAE
from tests.conftest import make_stamps

COLUMNS, CLASSES = ("mag", "t_type"), {"t_type": [-3, -2, -1, 5]}


def batch_of(n=16, size=16, seed=0, conditional=True):
    stamps = make_stamps(n=n, size=size, seed=seed)
    batch = stamps_batch(stamps, slice(None)) | {"truth": stamps.truth}
    if conditional:
        kinds = np.array([*CLASSES["t_type"], 9, np.nan])
        batch["condition"] = np.stack([np.linspace(20, 25, n), kinds[np.arange(n) % 6]], axis=-1).astype("float32")
    return batch


_made = {}


def prior(**options):
    """Return a small prior that has seen some data, the same object for the same options: do not change it."""
    key = repr(sorted(options.items()))
    if key not in _made:
        _made[key] = fresh_prior(**options)
    return _made[key]


def fresh_prior(seed=0, size=16, steps=3, **changes):
    keras.utils.set_random_seed(seed)
    options = {"columns": COLUMNS, "classes": CLASSES, "stamp_size": (size, size), **changes}
    model = PixelCNN.tiny(**options)
    batch = batch_of(size=size, conditional=bool(model.columns))
    if model.columns:
        batch["condition"] = batch["condition"][:, : len(model.columns)]
    model.adapt([batch])
    # Tracing takes longer than so few steps.
    model.compile(optimizer=keras.optimizers.Adam(1e-2), run_eagerly=steps < 10)
    for _ in range(steps):
        model.train_on_batch(batch)
    return model


def toy(head_bands=None, **changes):
    """Return a prior over 2 x 2 maps of three codes."""
    codec = VQVAE.tiny(codebook_size=3, diversity=0.0, restart_below=0.0).get_config()
    return prior(size=8, codec=codec, columns=(), classes=None, **changes)


class TestProbability:
    def test_sums_to_one_over_all_maps(self):
        maps = np.stack(np.meshgrid(*[range(3)] * 4, indexing="ij"), axis=-1).reshape(-1, 2, 2)
        assert len(np.unique(maps, axis=0)) == 81
        total = np.exp(toy().log_prob(maps).astype("float64")).sum()
        assert total == pytest.approx(1.0, abs=1e-5)

    def test_samples_are_as_frequent_as_it_says(self):
        model = toy(steps=20)
        drawn = model.sample(4000, seed=1, batch_size=4000)
        maps, counts = np.unique(drawn.codes, axis=0, return_counts=True)
        expected = 4000 * np.exp(model.log_prob(maps))
        assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected) + 5)

    @pytest.mark.parametrize("head", ["gaussian", "logistic"])
    def test_a_pixel_integrates_to_one(self, head):
        layer = MixtureHead(1, mixtures=3, kind=head)
        parameters = np.random.default_rng(0).normal(size=(1, layer.parameters)).astype("float32")
        if head == "gaussian":
            grid = np.linspace(-30, 30, 20001, dtype="float32")
            step = grid[1] - grid[0]
        else:
            grid, step = np.arange(256, dtype="float32") * 2 / 255 - 1, 1.0
        density = np.exp(ops.convert_to_numpy(layer.log_prob(parameters, grid[:, None])).astype("float64"))
        assert density.sum() * step == pytest.approx(1.0, abs=1e-4)

    def test_score_is_the_gradient_of_the_density(self):
        model = prior(head="gaussian")
        image = batch_of(n=2)["image"]
        slope = model.score(image)
        rng = np.random.default_rng(3)
        direction = rng.normal(size=image.shape).astype("float32")
        step = 1e-2
        change = (model.log_prob(image + step * direction) - model.log_prob(image - step * direction)) / (2 * step)
        np.testing.assert_allclose((slope * direction).sum(axis=(1, 2, 3)), change, rtol=2e-2)

    def test_density_is_one_over_pixels_in_their_own_unit(self):
        """Twice the unit and twice the noise is half of the density, a pixel."""
        model = prior(head="gaussian", columns=(), classes=None)
        image, noise = batch_of(n=3, conditional=False)["image"], np.ones((1, 1, 1, 1), "float32")
        difference = model.log_prob(image, noise=noise) - model.log_prob(2 * image, noise=2 * noise)
        np.testing.assert_allclose(difference, 256 * np.log(2), rtol=1e-4)

    def test_bad_pixels_do_not_count(self):
        model, batch = prior(head="gaussian"), batch_of(n=2)
        batch["mask"] = np.zeros_like(batch["mask"])
        batch["mask"][:, 3:5, 3:7] = True
        other = {**batch, "image": np.where(batch["mask"], 1e4, batch["image"]).astype("float32")}
        one, two = (ops.convert_to_numpy(model(part)["log_prob"]) for part in (batch, other))
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(ops.convert_to_numpy(model(batch)["positions"]), 256 - 8)


class TestNoiselessPixels:
    """A prior over noiseless galaxies in their own flux, in units of the typical noise of the data."""

    @pytest.fixture
    def model(self):
        return prior(head="gaussian", noiseless=True, columns=(), classes=None)

    def test_values_are_the_truth_in_units_of_the_typical_noise(self, model):
        batch = batch_of(conditional=False)
        typical = np.median(np.sqrt(batch["variance"]))
        values, _, weight, _ = model.prepare({**batch, "variance": 9 * batch["variance"]})
        left = ops.convert_to_numpy(values) - np.arcsinh(batch["truth"] / typical)
        assert left.std() == pytest.approx(model.jitter, rel=0.05)
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), 1)
        again, *_ = model.prepare(batch)
        np.testing.assert_array_equal(ops.convert_to_numpy(values), ops.convert_to_numpy(again))

    def test_score_is_the_gradient_of_the_density(self, model):
        batch = batch_of(n=4, conditional=False)
        rng = np.random.default_rng(3)
        noise = np.asarray(model.typical)
        image = noise * np.sinh(np.arcsinh(batch["truth"] / noise) + 0.1 * rng.normal(size=batch["truth"].shape))
        image, step = image.astype("float32"), 1e-3 * noise * rng.normal(size=image.shape).astype("float32")
        change = model.log_prob(image + step) - model.log_prob(image - step)
        slope = (model.score(image) * 2 * step).sum(axis=(1, 2, 3))
        assert np.abs(slope - change).max() < 2e-2 * np.abs(change).max()
        density = ops.convert_to_numpy(model.image_density(image, np.full((4, 1), np.nan, "float32")))
        np.testing.assert_allclose(density, model.log_prob(image), rtol=1e-5)

    def test_it_saves_its_unit_and_draws_in_the_model_frame(self, model, tmp_path):
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        image = batch_of(n=2, conditional=False)["truth"]
        np.testing.assert_allclose(loaded.log_prob(image), model.log_prob(image), rtol=1e-6)
        drawn = loaded.sample(3, seed=1)
        assert drawn.model_sigma == 0.7
        assert np.all(drawn.image >= 0)

    @pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="chains run in TensorFlow")
    @pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning")
    def test_a_chain_of_blended_pixels_runs_under_it(self, model):
        """Two galaxies on each other: their light together is that of the data, told by no one alone."""
        truth = batch_of(n=2, conditional=False)["truth"]
        noise = 0.05 * truth.max()
        batch = {"image": truth.sum(axis=0, keepdims=True)}
        batch["variance"] = np.full_like(batch["image"], noise**2)
        middle = np.full((1, 2, 2), (truth.shape[1] - 1) / 2)
        first = Deblended(truth[None], truth.sum(axis=(1, 2))[None], middle, np.ones((1, 2), bool))
        found, accepted = sample_pixels(model, first, batch, model.model_sigma, draws=8, warmup=8, leapfrogs=3)
        assert accepted[0] > 0
        assert found.flux_error.min() > 0
        left = batch["image"][0] - found.image[0].sum(axis=0)
        assert np.sqrt((left**2).mean()) < 2 * noise

    def test_only_for_gaussian_pixels(self):
        for options in ({"head": "codes"}, {"head": "gaussian", "noiseless_snr": 100.0}):
            with pytest.raises(RecipeError, match="noiseless is for the head 'gaussian'"):
                PixelCNN.tiny(noiseless=True, **options)


def test_scales_of_pixels_stay_above_a_least_one():
    parameters = np.array([[0.0, 0.1, -0.2, -9.0, -5.5]], "float32")
    found = ops.convert_to_numpy(MixtureHead(2).log_prob(parameters, np.array([[0.1, -0.2]], "float32")))
    np.testing.assert_allclose(found, 2 * norm.logpdf(0, scale=np.exp(-5.0)), rtol=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "logistic"])
def test_pixels_are_drawn_at_quantiles_of_the_component(kind):
    """Of two components of weights 3 and 1 the second from .75 on, or, the colder, the later."""
    head = MixtureHead(1, mixtures=2, kind=kind)
    parameters = np.array([[np.log(3.0), 0.0, -0.3, 0.4, -3.0, -2.0]], "float32")
    deviate = norm.ppf(0.8) if kind == "gaussian" else np.log(4.0)
    for temperature, part in ((1.0, 0.75), (0.5, 0.9)):
        for uniform, mean, scale in ((part - 0.01, -0.3, np.exp(-3.0)), (part + 0.01, 0.4, np.exp(-2.0))):
            value = mean + temperature * scale * deviate
            if kind == "logistic":
                value = np.round((value + 1) / 2 * 255) / 255 * 2 - 1
            found = head.draw(parameters, np.array([[uniform, 0.8]], "float32"), temperature)
            np.testing.assert_allclose(ops.convert_to_numpy(found), [[value]], rtol=1e-4)


def test_codes_are_drawn_at_quantiles_of_those_that_are_open():
    head, logits = CodeHead(4), np.log(np.array([[0.1, 0.4, 0.2, 0.3]], "float32"))
    for uniform, temperature, top, code in (
        (0.09, 1, None, 0), (0.11, 1, None, 1), (0.69, 1, None, 2), (0.71, 1, None, 3),
        (0.01, 1, 2, 1), (0.56, 1, 2, 1), (0.58, 1, 2, 3), (0.6, 0.5, 2, 1), (0.65, 0.5, 2, 3),
    ):  # fmt: skip
        found = head.draw(logits, np.array([[uniform]], "float32"), temperature, top)
        assert ops.convert_to_numpy(found).tolist() == [[code]]
    np.testing.assert_allclose(head.mix(np.array([3.0]), np.array([1.0]), 1.5), [4.0])


def test_a_cell_is_told_its_place_in_units_of_eight_cells():
    found = place_features(6, 11)[0, 1, 9]
    x, y = 4.0, -1.5
    radius2 = x**2 + y**2
    bumps = [np.exp(-radius2 / 2 / width**2) for width in (1, 2.5, 6)]
    np.testing.assert_allclose(found, [x / 8, y / 8, np.sqrt(radius2) / 8, radius2 / 64, *bumps], rtol=1e-5)


class TestAgainstTensorFlowProbability:
    @pytest.fixture
    def tfd(self):
        return pytest.importorskip("tensorflow_probability").distributions

    def test_codes(self, tfd):
        logits = np.random.default_rng(0).normal(size=(7, 11)).astype("float32")
        codes = np.arange(7)[:, None]
        ours = ops.convert_to_numpy(CodeHead(11).log_prob(logits, codes))
        np.testing.assert_allclose(ours, tfd.Categorical(logits=logits).log_prob(codes[:, 0]).numpy(), rtol=1e-5)

    def test_gaussian_mixture(self, tfd):
        head, rng = MixtureHead(2, mixtures=3), np.random.default_rng(0)
        parameters, values = rng.normal(size=(9, head.parameters)), rng.normal(size=(9, 2))
        logits, means, scales = np.split(parameters.astype("float32"), [3, 9], axis=-1)
        theirs = tfd.MixtureSameFamily(
            tfd.Categorical(logits=logits),
            tfd.MultivariateNormalDiag(means.reshape(9, 3, 2), np.exp(scales.reshape(9, 3, 2))),
        ).log_prob(values.astype("float32"))
        ours = ops.convert_to_numpy(head.log_prob(parameters.astype("float32"), values.astype("float32")))
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-5)

    def test_discretised_logistic_mixture(self, tfd):
        head, rng = MixtureHead(1, mixtures=2, kind="logistic"), np.random.default_rng(0)
        parameters = rng.normal(size=(1, head.parameters)).astype("float32")
        logits, means, scales = np.split(parameters[0], [2, 4])
        # Their bin of a level ends at it, ours is centred on it.
        base = tfd.Logistic(127.5 * (means + 1) - 0.5, 127.5 * np.exp(scales))
        levels = np.arange(256, dtype="float32")
        each = tfd.QuantizedDistribution(base, low=0.0, high=255.0)
        theirs = tfd.MixtureSameFamily(tfd.Categorical(logits=logits), each).log_prob(levels).numpy()
        ours = ops.convert_to_numpy(head.log_prob(parameters, (levels * 2 / 255 - 1)[:, None]))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


class TestSampling:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"temperature": 0.7},
            {"top_k": 3},
            {"guidance": 2.5, "condition": {"t_type": -1}},
            {"guidance": 0.0, "top_k": 5},
        ],
    )
    def test_cached_is_naive(self, options):
        model = prior()
        one, two = (model.sample(3, seed=4, naive=naive, **options) for naive in (False, True))
        np.testing.assert_array_equal(one.codes, two.codes)
        np.testing.assert_allclose(one.log_prob, two.log_prob, rtol=1e-4)
        np.testing.assert_allclose(one.log_prob, model.log_prob(one.codes, one.condition), rtol=1e-4)

    @pytest.mark.parametrize("options", [{}, {"guidance": 2.5, "condition": {"t_type": -1}}])
    def test_cached_is_naive_with_attention(self, options):
        model = prior(attention=2, depth=4)
        assert max(np.abs(np.array(layer.outward.kernel)).max() for layer in model.attention) > 1e-3
        one, two = (model.sample(3, seed=4, naive=naive, **options) for naive in (False, True))
        np.testing.assert_array_equal(one.codes, two.codes)
        np.testing.assert_allclose(one.log_prob, model.log_prob(one.codes, one.condition), rtol=1e-4)

    def test_the_models_own_guidance_counts_where_the_caller_says_none(self):
        plain, guided = prior(), prior(guidance=3.0)
        wanted = {"n": 8, "condition": {"t_type": -1}, "seed": 4}
        asked = plain.sample(guidance=3.0, **wanted).codes
        np.testing.assert_array_equal(guided.sample(**wanted).codes, asked)
        assert np.any(plain.sample(**wanted).codes != asked)
        np.testing.assert_array_equal(guided.sample(guidance=1.0, **wanted).codes, plain.sample(**wanted).codes)
        assert type(guided).from_config(guided.get_config()).guidance == 3.0

    @pytest.mark.parametrize("head", ["gaussian", "logistic"])
    def test_cached_is_naive_for_pixels(self, head):
        model = prior(head=head, size=8)
        one, two = (model.sample(3, seed=4, naive=naive) for naive in (False, True))
        np.testing.assert_allclose(one.image, two.image, rtol=1e-3, atol=1e-3)

    def test_same_seed_same_galaxies_whatever_the_batches(self):
        model = prior()
        one, two = model.sample(5, seed=2, batch_size=2), model.sample(5, seed=2, batch_size=5)
        np.testing.assert_array_equal(one.codes, two.codes)
        np.testing.assert_allclose(one.image, two.image, rtol=1e-4, atol=1e-5)
        assert np.any(model.sample(5, seed=3).codes != one.codes)
        few = model.sample(3, seed=2, batch_size=3)
        np.testing.assert_array_equal(few.codes, one.codes[:3])
        np.testing.assert_array_equal(one[1:3].codes, one.codes[1:3])
        np.testing.assert_array_equal(one[-1].image, one.image[-1:])
        with pytest.raises(IndexError):
            one[5]

    def test_what_is_known_is_kept_and_informs_what_follows(self):
        model = prior(steps=30)
        full = model.sample(4, seed=1).codes
        partial = full.copy()
        partial[:, 2:] = -1
        again = model.sample(4, seed=9, partial=partial).codes
        np.testing.assert_array_equal(again[:, :2], full[:, :2])
        assert np.any(again[:, 2:] != full[:, 2:])
        np.testing.assert_array_equal(model.sample(4, seed=9, partial=full).codes, full)

    def test_the_most_probable_code_at_top_1(self):
        model = prior()
        one, two = model.sample(2, seed=1, top_k=1), model.sample(2, seed=2, top_k=1)
        values = one.codes[..., None].astype("int32")
        condition = np.stack([one.condition[name] for name in COLUMNS], axis=-1).astype("float32")
        best = ops.convert_to_numpy(model.network(values, condition)).argmax(axis=-1)
        np.testing.assert_array_equal(one.codes, best)
        assert two.codes.shape == one.codes.shape

    def test_other_sizes(self):
        model = prior()
        for size in ((16, 16), (20, 13), (16, 16)):
            assert model.sample(2, size=size).image.shape == (2, *size, 1)

    def test_it_is_a_prior(self):
        model = prior()
        assert isinstance(model, Prior)
        assert model.exact_log_prob
        assert (model.space, model.exact_score) == ("codes", False)
        assert (prior(head="gaussian").space, prior(head="gaussian").exact_score) == ("pixels", True)
        assert isinstance(model.sample(1), Samples)


@pytest.fixture(scope="module")
def lively():
    """A prior over 2 x 2 maps of three codes that are not equally probable."""
    codec = VQVAE.tiny(codebook_size=3, diversity=0.0, restart_below=0.0).get_config()
    model = fresh_prior(size=8, codec=codec, columns=(), classes=None, steps=0)
    random = np.random.default_rng(0)
    model.reader[1].kernel.assign(random.normal(size=model.reader[1].kernel.shape))
    model.reader[1].bias.assign([1.5, 0.0, -1.5])
    return model


class TestTemperature:
    """Against what NumPy makes of the network's logits."""

    maps = np.indices((3, 3, 3, 3)).reshape(4, -1).T.reshape(-1, 2, 2)

    def marginals(self, model, temperature):
        """Return how probable each code is at each position, (4, 3), over all maps that there are, and their log p."""
        values = self.maps[..., None].astype("int32")
        logits = np.asarray(model.network(values, np.zeros((81, 1), "float32")), float).reshape(81, 4, 3)
        weight = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
        each = np.take_along_axis(weight / weight.sum(axis=-1, keepdims=True), self.maps.reshape(81, 4, 1), axis=-1)
        joint = each.prod(axis=(1, 2))
        assert joint.sum() == pytest.approx(1, abs=1e-5)
        codes = self.maps.reshape(81, 4, 1) == np.arange(3)
        return (joint[:, None, None] * codes).sum(axis=0), np.log(joint)

    @pytest.mark.parametrize("naive", [False, True])
    @pytest.mark.parametrize("temperature", [0.5, 2.0])
    def test_frequencies(self, lively, naive, temperature):
        number = 2000
        drawn = lively.sample(number, seed=3, temperature=temperature, naive=naive, batch_size=number)
        share = (drawn.codes.reshape(number, 4, 1) == np.arange(3)).mean(axis=0)
        expected, _ = self.marginals(lively, temperature)
        np.testing.assert_allclose(share, expected, atol=3.5 * 0.5 / np.sqrt(number))
        # The three temperatures can be told apart.
        others = [self.marginals(lively, other)[0] for other in (0.5, 1.0, 2.0) if other != temperature]
        assert min(np.abs(share - other).max() for other in others) > 0.06
        # The probability is that of the prior, whatever the temperature.
        _, log_prob = self.marginals(lively, 1.0)
        rows = (drawn.codes.reshape(number, 4) * [27, 9, 3, 1]).sum(axis=1)
        np.testing.assert_allclose(drawn.log_prob, log_prob[rows], atol=1e-3)

    @pytest.mark.parametrize("naive", [False, True])
    def test_the_most_probable_codes_near_0(self, lively, naive):
        codes = lively.sample(5, seed=1, temperature=1e-3, naive=naive).codes
        logits = np.asarray(lively.network(codes[..., None].astype("int32"), np.zeros((5, 1), "float32")))
        np.testing.assert_array_equal(codes, logits.argmax(axis=-1))
        assert (codes == codes[:1]).all()

    @pytest.mark.parametrize("kind", ["gaussian", "logistic"])
    def test_pixels_scatter_in_proportion(self, kind):
        head, temperature = MixtureHead(2, 2, kind), 0.6
        share = np.linspace(0.01, 0.99, 99)
        uniform = np.stack([np.full(99, 0.3), share, share[::-1]], axis=-1).astype("float32")
        # Log-weights, means, log-scales. At 0.6 the first component holds 0.16 of the draws, at 1 it holds 0.27.
        means, scales = [-0.4, -0.5, 0.1, 0.2], [-2.0, -2.5, -3.0, -2.2]
        parameters = np.tile(np.float32([0.0, 1.0, *means, *scales]), (99, 1))
        drawn = np.asarray(head.draw(parameters, uniform, temperature))
        quantile = {"gaussian": norm.ppf, "logistic": lambda place: np.log(place / (1 - place))}[kind]
        spread = temperature * np.exp(scales[2:]) * quantile(uniform[:, 1:])
        # Levels of a picture are 2 / 255 apart.
        np.testing.assert_allclose(drawn, means[2:] + spread, atol=1e-4 if kind == "gaussian" else 1.01 / 255)
        uniform[:, 0] = share
        first = np.asarray(head.draw(parameters, uniform, temperature))[:, 0] < -0.2
        assert first.mean() == pytest.approx(1 / (1 + np.exp(1 / temperature)), abs=0.02)


class TestConditions:
    def test_what_is_hidden_in_training(self):
        """Each column by a chance, and all of them by the same chance again; nothing is hidden in use."""
        model, chance = fresh_prior(steps=0, condition_dropout=1.0, augment=False), 0.3
        known = np.tile(np.float32([[22.0, -1.0]]), (20000, 1))
        hidden = np.isnan(np.asarray(model.conditions.hide(known, chance, keras.random.SeedGenerator(1))))
        np.testing.assert_allclose(hidden.mean(axis=0), 1 - (1 - chance) ** 2, atol=0.015)
        assert hidden.all(axis=1).mean() == pytest.approx(chance + (1 - chance) * chance**2, abs=0.015)
        batch = batch_of()
        blank = {**batch, "condition": np.full_like(batch["condition"], np.nan)}
        use, training = (np.asarray(model(batch, training=flag)["log_prob"]) for flag in (False, True))
        np.testing.assert_allclose(training, np.asarray(model(blank)["log_prob"]), rtol=1e-5)
        assert np.abs(use - training).max() > 1e-3

    def test_negative_classes_differ(self):
        """Each of the T-types -3, -2, -1 has a one-hot of its own, and each differs from unknown."""
        model = prior()
        rows = np.array([[22.0, kind] for kind in (-3, -2, -1, np.nan)], "float32")
        features = ops.convert_to_numpy(model.conditions(rows))
        assert len(np.unique(features, axis=0)) == 4
        codes = model.sample(1).codes.repeat(4, axis=0)
        each = model.log_prob(codes, {"t_type": rows[:, 1]})
        assert len(np.unique(each)) == 4

    def test_a_class_that_is_not_listed_is_unknown(self):
        model = prior()
        rows = np.array([[22.0, 9.0], [22.0, np.nan]], "float32")
        features = ops.convert_to_numpy(model.conditions(rows))
        np.testing.assert_allclose(features[0], features[1], atol=1e-5)

    def test_open_columns_are_of_galaxies_near_what_is_given(self):
        model = fresh_prior(references=64, steps=0)
        table = np.stack([np.linspace(20, 25, 64), np.where(np.arange(64) < 32, -3, 5)], axis=-1)
        looks = np.zeros((64, model.conditions.looks))
        model.conditions.adapt(table.astype("float32"), np.linspace(1, 2, 64)[:, None], looks)
        given = model.sample(40, {"t_type": 5}).condition
        assert given["mag"].min() >= 22.5
        bright = model.sample(40, {"mag": 20.0}).condition
        assert set(bright["t_type"]) == {-3.0}

    def test_labels_and_galaxies_stay_together(self):
        """A condition that says what the galaxy is makes its codes more probable than another's does."""
        model, batch = prior(steps=150, condition_dropout=0.0, augment=False), batch_of()
        codes = ops.convert_to_numpy(model(batch)["codes"])
        right = {"mag": batch["condition"][:, 0]}
        wrong = {"mag": batch["condition"][::-1, 0]}
        assert model.log_prob(codes, right).mean() > model.log_prob(codes, wrong).mean() + 1.0

    def test_flux_is_what_was_asked_for(self):
        model = prior(flux_column="mag", flux_band="r", columns=("mag",), classes=None, unit="nJy", steps=0)
        drawn = model.sample(6, {"mag": np.arange(20.0, 26.0)})
        flux = drawn.image.sum(axis=(1, 2, 3))
        np.testing.assert_allclose(31.4 - 2.5 * np.log10(flux), np.arange(20.0, 26.0), atol=1e-3)
        with pytest.raises(InputError, match="mag is -99: nothing is so bright; give AB magnitudes"):
            model.sample(2, {"mag": np.array([-99.0, 22.0])})

    def test_saved_with_its_codec_and_what_it_remembers(self, tmp_path):
        model = prior()
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
        assert again.condition_ranges == model.condition_ranges
        one, two = model.sample(3, seed=5), again.sample(3, seed=5)
        np.testing.assert_array_equal(one.codes, two.codes)
        np.testing.assert_allclose(one.image, two.image, rtol=1e-5)

    def test_the_codec_is_not_trained(self):
        from galzoo.train import compile_stage

        model = fresh_prior(steps=0)
        stage = {
            "learning_rate": 1e-2,
            "epochs": 1,
            "steps_per_epoch": 1,
            "warmup_steps": 0,
            "schedule": "constant",
            "optimizer": "adam",
            "clip_norm": None,
            "freeze": [],
        }
        compile_stage(model, stage, {"jit": False, "precision": "float32"})
        before = [ops.convert_to_numpy(weight) for weight in model.codec.weights]
        model.train_on_batch(batch_of())
        for old, weight in zip(before, model.codec.weights, strict=True):
            np.testing.assert_array_equal(old, ops.convert_to_numpy(weight))


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n": 0}, "n is 0"),
            ({"n": -3}, "n is -3"),
            ({"n": 2.5}, "n is 2.5"),
            ({"seed": -1}, "seed is -1"),
            ({"condition": {"mag": 1.0 * u.uJy}}, "condition 'mag' is in uJy; give a number in the unit"),
            ({"condition": {"colour": 1.0}}, "no condition 'colour'; it has mag, t_type"),
            ({"condition": {"t_type": 4}}, "no class 4; its classes are -3, -2, -1, 5"),
            ({"condition": {"mag": [1.0, 2.0, 3.0]}}, "shape"),
            ({"temperature": 0.0}, "temperature is 0"),
            ({"top_k": 0}, "top_k is 0"),
            ({"guidance": -1.0}, "guidance is -1"),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"partial": np.zeros((3, 3), int)}, "known part has shape"),
            ({"partial": np.full((4, 4), 99)}, "code 99 is not in the codebook of 0 to 31"),
        ],
    )
    def test_sample(self, arguments, message):
        with pytest.raises(InputError, match=message):
            prior(steps=0).sample(**{"n": 2, **arguments})

    def test_magnitudes_may_have_their_unit(self):
        drawn = prior(steps=0).sample(1, {"mag": 21.5 * u.ABmag})
        assert drawn.condition["mag"] == 21.5

    def test_log_prob_of_other_codes(self):
        with pytest.raises(InputError, match="codes of another model"):
            prior(steps=0).log_prob(np.full((1, 4, 4), 32))

    def test_no_score_of_codes(self):
        with pytest.raises(InputError, match="no score"):
            prior(steps=0).score(np.zeros((1, 4, 4), int))

    def test_nan_pixels(self):
        with pytest.raises(InputError, match="NaN"):
            prior(head="gaussian", steps=0).log_prob(np.full((1, 16, 16, 1), np.nan))

    def test_untrained(self):
        with pytest.raises(InputError, match="not seen any data"):
            PixelCNN.tiny(stamp_size=(16, 16)).sample(1)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"head": "poisson", "codec": None}, "head 'poisson'"),
            ({"head": "codes", "codec": None}, "needs a codec"),
            ({"head": "gaussian", "codec": {"bands": ["r"]}}, "drop the codec"),
            ({"codec": "vqvae_lsst"}, "is a str, not a VQ-VAE.*parts.codec"),
            ({"codec": {"bands": list("ugrizy")}}, "6 bands"),
            ({"classes": {"kind": [1]}}, "'kind'"),
            ({"flux_column": "mag", "flux_band": "r"}, "must be a condition"),
            ({"handed": {"spin": [1, 2]}}, "handed names 'spin'"),
            ({"head": "gaussian", "codec": None, "guidance": 2.0}, "guidance is 2.0; give 1"),
        ],
    )
    def test_recipe(self, arguments, message):
        with pytest.raises(RecipeError, match=message):
            PixelCNN.tiny(**arguments)

    def test_noiseless_needs_truth(self):
        batch = batch_of(conditional=False)
        del batch["truth"]
        with pytest.raises(InputError, match="no noiseless truth"):
            PixelCNN.tiny(noiseless_snr=200.0)(batch)


def test_noise_goes_with_the_galaxy():
    """Codes are in units of the noise of their stamp; samples get that of the training galaxy that looks alike."""
    model = fresh_prior(columns=(), classes=None, steps=0)
    batch = batch_of(conditional=False)
    factor = np.linspace(1, 50, 16, dtype="float32").reshape(-1, 1, 1, 1)
    batch = {**batch, "image": batch["image"] / factor, "variance": np.full_like(batch["variance"], 1e-4)}
    model.adapt([batch])
    values, _, _, noise = model.prepare(batch)
    looks = sampling.looks_of(model, ops.convert_to_numpy(values))
    np.testing.assert_allclose(model.conditions.noise_like(looks), ops.convert_to_numpy(noise)[:, 0, 0], rtol=1e-5)


def test_codes_do_not_depend_on_the_precision_of_training():
    """In half precision about a tenth of them would be others."""
    before = keras.config.dtype_policy()
    codes = {}
    for precision in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(precision)
        try:
            model = PixelCNN.tiny()
            assert keras.config.dtype_policy().name == precision
        finally:
            keras.config.set_dtype_policy(before)
        codes[precision] = ops.convert_to_numpy(model.prepare(batch_of(conditional=False))[0])
    np.testing.assert_array_equal(codes["float32"], codes["mixed_bfloat16"])
