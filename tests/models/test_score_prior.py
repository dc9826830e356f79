from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from galzoo.derivatives import value_and_gradients
from galzoo.errors import InputError, RecipeError
from galzoo.models.score_prior import sampling
from galzoo.models.score_prior.guess import guessed_values, maps_of
from galzoo.models.score_prior.model import ScorePrior
from galzoo.models.score_prior.network import Trunk, directions
from galzoo.models.score_prior.picture import draw_samples
from galzoo.models.score_prior.sampling import schedule
from tests.conftest import make_stamps


def batch_of(n=16, size=16, **options):
    stamps = make_stamps(n=n, size=size, **options)
    planes = {"image": stamps.image, "variance": stamps.variance, "truth": stamps.truth}
    return {key: np.asarray(value, "float32") for key, value in planes.items()}


@pytest.fixture(scope="module")
def stirred():
    """A prior whose heads are no longer nothing."""
    model = ScorePrior.tiny(noiseless=True, stamp_size=(16, 16), columns=("mag",))
    model.adapt([{**batch_of(), "condition": np.linspace(20, 24, 16, dtype="float32")[:, None]}])
    rng = np.random.default_rng(1)
    for head in (model.field, model.potential):
        head.kernel.assign(0.05 * rng.normal(size=head.kernel.shape))
    return model


def test_untrained_it_is_a_gaussian_at_the_greatest_noise():
    model = ScorePrior.tiny(noiseless=True)
    model.adapt([batch_of()])
    values = np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype("float32") * model.sigma_max
    found = ops.convert_to_numpy(model.log_density(values, ops.full((4,), np.log(50.0)), np.full((4, 1), np.nan, "f4")))
    sigma2 = 50.0**2
    wanted = -0.5 * (values.astype("f8") ** 2).sum((1, 2, 3)) / sigma2 - 128 * np.log(2 * np.pi * sigma2)
    np.testing.assert_allclose(found, wanted, atol=0.5)


@pytest.mark.parametrize("size", [16, 25])
def test_score_is_the_slope_of_log_prob(stirred, size):
    truth = batch_of(n=2, size=size)["truth"]
    direction = np.random.default_rng(0).normal(size=truth.shape).astype("float32")
    score = stirred.score(truth, {"mag": 22.0})
    assert score.shape == truth.shape
    step = 0.02
    ends = [stirred.log_prob(truth + sign * step * direction, {"mag": 22.0}).astype("f8") for sign in (1, -1)]
    wanted = (ends[0] - ends[1]) / (2 * step)
    found = (score.astype("f8") * direction).sum((1, 2, 3))
    np.testing.assert_allclose(found, wanted, rtol=5e-3, atol=5e-3 * np.abs(wanted).max())


def test_derivative_by_the_noise_level(stirred):
    values, known = stirred.scale(batch_of(n=3)["truth"]), np.full((3, 1), np.nan, "float32")
    level = ops.full((3,), np.float32(0.3))
    _, (_, slope) = value_and_gradients(lambda z, at: stirred.log_density(z, at, known), values, level)
    ends = [np.asarray(stirred.log_density(values, level + change, known)) for change in (0.02, -0.02)]
    np.testing.assert_allclose(np.asarray(slope), (ends[0] - ends[1]) / 0.04, rtol=0.02, atol=0.5)


def test_the_free_field_is_the_preconditioned_denoiser(stirred):
    values, known = stirred.scale(batch_of(n=2)["truth"]), np.full((2, 1), np.nan, "float32")
    stirred.potential.trainable = False
    try:
        clean, level = stirred.denoise(values, ops.full((2,), np.float32(np.log(1e-3))), known)
        # Where there is hardly any noise, the image is its own best guess.
        np.testing.assert_allclose(np.asarray(clean), np.asarray(values), atol=0.02)
        assert not np.any(np.asarray(level))
    finally:
        stirred.potential.trainable = True


def test_options_of_other_priors_are_refused(stirred):
    with pytest.raises(InputError, match="draws without temperature, top_k; leave it out"):
        stirred.sample(1, temperature=0.5, top_k=3)


def test_samples_are_the_same_for_the_same_seed(stirred):
    few, more = (stirred.sample(n, {"mag": 22.0}, seed=3, steps=3) for n in (2, 3))
    np.testing.assert_allclose(more.image[:2], few.image, rtol=1e-3, atol=1e-2)
    assert few.image.shape == (2, 16, 16, 1)
    assert few.image.min() >= 0
    assert np.all(np.isfinite(few.log_prob))
    assert stirred.sample(1, size=(17, 20), steps=2).image.shape == (1, 17, 20, 1)


def test_schedule_falls_from_end_to_end():
    levels = schedule(0.1, 10.0, 6)
    np.testing.assert_allclose(levels[[0, -1]], [10.0, 0.1])
    assert np.all(np.diff(levels) < 0)


def test_roots_of_the_schedule_are_evenly_spaced():
    """The seventh ones: 2 of 128, 1 of 1, and 1.5 between them."""
    np.testing.assert_allclose(sampling.schedule(1.0, 128.0, 3), [128, 1.5**7, 1])


def test_steps_of_the_flow_are_of_the_second_order(monkeypatch):
    """Of Gaussian galaxies of variance 1 the flow is known: noise falls as the root of 1 + sigma^2."""
    monkeypatch.setattr(sampling, "_slope", lambda model, values, sigma, given: values * sigma / (1 + sigma**2))
    end = sampling._heun(None, np.array([10.0, -20.0]), sampling.schedule(0.01, 10.0, 40), None)
    np.testing.assert_allclose(end, np.array([10.0, -20.0]) / np.sqrt(101), rtol=0.005)


def test_oddities_are_of_the_sum_of_the_bands_in_units_of_its_noise(monkeypatch):
    """Of .5, .7 and -.9 in each of four bands, the greatest counts."""
    slopes = iter((0.5, 0.7, -0.9))
    monkeypatch.setattr(sampling, "_slope", lambda model, values, sigma, given: np.full_like(values, next(slopes)))
    model = SimpleNamespace(bands=tuple("griz"), columns=(), scale=lambda x: x)
    np.testing.assert_allclose(sampling.artefacts(model, np.zeros((2, 5, 5, 4))), 1.4, rtol=1e-6)


def test_what_does_not_fit_is_refused(stirred):
    with pytest.raises(InputError, match="seed is -1"):
        stirred.sample(1, seed=-1)
    with pytest.raises(InputError, match="NaN"):
        stirred.log_prob(np.full((1, 16, 16, 1), np.nan))
    with pytest.raises(InputError, match="no condition 'size'"):
        stirred.score(np.zeros((1, 16, 16, 1)), {"size": 1.0})
    with pytest.raises(InputError, match="no noiseless truth"):
        stirred({key: value for key, value in batch_of(n=1).items() if key != "truth"})


def test_without_an_energy_the_score_is_the_denoisers():
    model = ScorePrior.tiny(noiseless=True, energy=False, stamp_size=(16, 16))
    model.adapt([batch_of()])
    model.field.kernel.assign(0.05 * np.random.default_rng(1).normal(size=model.field.kernel.shape))
    assert (model.exact_log_prob, model.exact_score, model.free, model.frozen) == (False, False, True, ("potential",))
    truth = batch_of(n=2)["truth"]
    values, soft = np.asarray(model.scale(truth), "f8"), np.asarray(model.soft, "f8")
    clean, _ = model.denoise(model.scale(truth), ops.full((2,), np.log(0.2)), np.full((2, 1), np.nan, "f4"))
    slope = 1 / np.sqrt(soft**2 + truth.astype("f8") ** 2)
    wanted = (np.asarray(clean) - values) / 0.2**2 * slope - truth * slope**2
    np.testing.assert_allclose(model.score(truth, sigma=0.2), wanted, rtol=1e-3, atol=1e-4)
    # The flow is all that it has for log p; a field that is nothing is that of a Gaussian.
    model.field.kernel.assign(0 * model.field.kernel)
    spread2 = float(model.spread) ** 2 + model.sigma_min**2
    gaussian = -0.5 * (values**2).sum((1, 2, 3)) / spread2 - 128 * np.log(2 * np.pi * spread2)
    gaussian -= np.log(soft / slope / soft).sum((1, 2, 3))
    np.testing.assert_allclose(model.log_prob(truth), gaussian, rtol=0.02)
    drawn = model.sample(1, steps=2)
    assert np.isnan(drawn.log_prob).all()
    with pytest.raises(InputError, match="levels of noise from"):
        model.score(truth, sigma=1e3)


def test_light_that_the_prior_would_not_have_made_is_odd():
    model = ScorePrior.tiny(noiseless=True, stamp_size=(16, 16))
    model.adapt([batch_of()])
    # A field that is nothing is a Gaussian about 0: light is odd by its scaled value, at the least noise the most.
    x = np.zeros((1, 16, 16, 1), "float32")
    x[0, 3, 5], x[0, 8, 8] = 4.0, -4.0
    found = model.artefacts(x, levels=(0.5, 1.0))
    value, spread2 = np.arcsinh(4.0 / float(model.soft[0])), float(model.spread) ** 2
    # What the denoiser takes off a value is its share of the noise in the variance.
    wanted = max(value * sigma / (sigma**2 + spread2) for sigma in (0.5, 1.0))
    np.testing.assert_allclose(found[0, 3, 5], wanted, rtol=1e-3)
    assert found[0, 8, 8] < 0
    assert found[0, 0, 0] == 0


def test_nothing_is_asked_where_an_image_is_not_known():
    model = ScorePrior.tiny(energy=False)
    batch = batch_of(n=4)
    model.adapt([batch])
    mask = np.zeros(batch["image"].shape, bool)
    mask[:, 4:9, 4:9] = True
    changed = {**batch, "image": np.where(mask, 1e3, batch["image"]), "mask": mask}
    _, _, weight, _ = model.prepare(changed)
    np.testing.assert_array_equal(np.asarray(weight), ~mask[..., 0])
    # A field that is nothing takes the values for a part of what they are: the error is then known for each pixel.
    values, spread, pixels = np.asarray(model.scale(batch["image"]), "f8"), float(model.spread), ~mask
    noise = np.asarray(keras.random.normal(values.shape, seed=2), "f8")
    sigma = np.exp(np.log(0.05) + (np.arange(4) + 0.5) / 4 * np.log(1e3))[:, None, None, None]
    guess = spread**2 / (spread**2 + sigma**2) * (np.where(mask, 0, values) + sigma * noise)
    error = np.square(guess - values) * (1 / sigma**2 + 1 / spread**2)
    wanted = np.mean([error[row][pixels[row]].mean() for row in range(4)])
    found = model.compute_loss(changed, None, None, None, training=False)
    np.testing.assert_allclose(float(found), wanted, rtol=1e-3)


def test_mirrors_change_the_hand_of_what_is_asked():
    model = ScorePrior.tiny(energy=False, columns=("label",), classes={"label": [1, 2]}, handed={"label": [1, 2]})
    batch = batch_of(n=64)
    batch["image"] = np.broadcast_to(batch["image"][:1], batch["image"].shape)
    model.condition_dropout = 0.0
    batch["condition"] = np.ones((64, 1), "float32")
    values, condition, _, _ = (np.asarray(part) for part in model.prepare(batch, training=True))
    image = np.asarray(model.scale(batch["image"][:1]))[0]
    turns = [np.rot90(image, number) for number in range(4)]
    turned = np.array([any(np.array_equal(value, turn) for turn in turns) for value in values])
    assert 0 < turned.sum() < 64
    np.testing.assert_array_equal(condition[:, 0], np.where(turned, 1, 2))


def test_a_class_that_is_none_of_the_models_is_drawn_as_unknown(tmp_path, monkeypatch):
    model = ScorePrior.tiny(energy=False, noiseless=False, columns=("label",), classes={"label": [1, 2]})
    batch, asked = batch_of(n=3), []
    batch["condition"] = np.array([[1], [-1], [2]], "float32")

    def sample(n, wanted, size):
        model.conditions.check("label", wanted["label"], n)
        asked.append(wanted["label"])
        return SimpleNamespace(image=np.zeros_like(batch["image"]))

    monkeypatch.setattr(model, "sample", sample)
    draw_samples(model, batch, tmp_path / "picture.png")
    np.testing.assert_array_equal(asked, [[1, np.nan, 2]])
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize(("unit", "dtype", "level"), [("", np.uint8, 30), ("nJy", np.float32, 30.4)])
def test_pictures_are_drawn_as_they_are(tmp_path, monkeypatch, unit, dtype, level):
    """Their sky would become noise in bright colours if they were stretched again."""
    shown = []
    monkeypatch.setattr("galzoo.viz.page.page", lambda stamps, **_: shown.append(stamps.image))
    monkeypatch.setattr("galzoo.viz.panels.save", lambda *_: None)
    model = ScorePrior.tiny(energy=False, noiseless=False, unit=unit)
    image = np.full((2, 16, 16, 1), 30.4, np.float32)
    monkeypatch.setattr(model, "sample", lambda *_, **__: SimpleNamespace(image=300 * image))
    draw_samples(model, {"image": image}, tmp_path / "picture.png")
    assert shown[0].dtype == dtype
    np.testing.assert_allclose(shown[0][:2], level, rtol=1e-6)
    assert shown[0].max() == (255 if unit == "" else 300 * np.float32(30.4))


def maps_choosing(choice, bands, drawn=0.0, field=0.0, size=12):
    """Return maps with which one choice is all that counts in every part."""
    parts = bands + 1 if bands > 1 else 1
    shares = np.full((parts, 6), -60.0)
    shares[:, choice] = 60.0
    maps = np.concatenate([shares.ravel(), np.full(parts, drawn), np.full(bands, field)])
    return np.broadcast_to(maps, (2, size, size, len(maps))).astype("float32")


@pytest.mark.parametrize("bands", [1, 3])
def test_a_guess_is_a_mean_of_blurred_images(bands):
    values = np.random.default_rng(0).normal(size=(2, 12, 12, bands)).astype("float32")
    level, spread = np.log(np.float32([0.3, 2.0])), np.float32(1.5)

    def found(values=values, **options):
        return np.asarray(guessed_values(maps_choosing(bands=bands, **options), values, level, spread))

    assert maps_choosing(0, bands).shape[-1] == maps_of(bands)
    np.testing.assert_allclose(found(choice=0), values, atol=1e-5)
    # A drawn image is in units of the spread: that of the mean over bands and that of each band beside it.
    np.testing.assert_allclose(found(choice=5, drawn=0.5), 0.75 * (1 if bands == 1 else 2), atol=1e-5)
    sigma = np.float32([0.3, 2.0])[:, None, None, None]
    field = np.broadcast_to(1.5 * sigma / np.sqrt(sigma**2 + 1.5**2), values.shape)
    np.testing.assert_allclose(found(choice=0, field=1.0) - values, field, atol=1e-5)
    point = np.zeros_like(values)
    point[:, 6, 6] = 1.0
    middle = [found(values=point, choice=choice)[0, 6, 6, 0] for choice in range(1, 5)]
    assert 0.1 < middle[0] < 0.4
    assert np.all(np.diff(middle) < 0)
    # What is even stays even, at the rim too.
    np.testing.assert_allclose(found(values=np.ones_like(values), choice=3), 1.0, atol=1e-5)


def test_shares_of_a_guess_begin_with_the_noise_level():
    maps = np.zeros((2, 4, 4, maps_of(1)), "float32")
    levels = np.log(np.float32([0.01, 100.0]))
    found = guessed_values(maps, np.ones((2, 4, 4, 1), "float32"), levels, np.float32(1.0))
    least, most = np.asarray(found)[:, 0, 0, 0]
    assert least > 0.99
    assert most < 0.05


def test_a_model_that_guesses_is_kept_and_has_a_density(tmp_path):
    model = ScorePrior.tiny(energy=False, guess=True, attention=True, noiseless=True, bands=("r",))
    model.adapt([batch_of()])
    values, known = model.scale(batch_of(n=2)["truth"]), np.full((2, 1), np.nan, "float32")
    level = ops.full((2,), np.float32(np.log(0.3)))
    model.guessed.kernel.assign(0.1 * np.random.default_rng(0).normal(size=model.guessed.kernel.shape))
    found, _ = model.denoise(values, level, known)
    model.save(tmp_path / "model.keras")
    again, _ = keras.saving.load_model(tmp_path / "model.keras").denoise(values, level, known)
    np.testing.assert_allclose(again, found, rtol=1e-5)
    # Its constant is set as training sets it, and log p goes along the flow.
    batch = batch_of(n=8) | {"condition": np.zeros((8, 0), "float32")}
    model.finish([batch])
    assert np.all(np.isfinite(model.log_prob(batch["truth"][:1])))
    with pytest.raises(RecipeError, match="set model.energy to false"):
        ScorePrior.tiny(guess=True)


def test_with_attention_the_far_side_of_a_large_stamp_is_seen():
    """Through strides and kernels alone, a corner of 96 pixels does not reach the other."""
    image = np.random.default_rng(0).normal(size=(1, 96, 96, 1)).astype("float32")
    other = image.copy()
    other[:, :4, :4] += 5.0
    reach = {}
    for attention in (False, True):
        trunk = Trunk(1, (8, 16), depth=1, features=4, attention=attention)
        trunk.build((None, None, None, 1))
        for index, weight in enumerate(trunk.weights):
            weight.assign(0.3 * np.random.default_rng(index).normal(size=weight.shape))
        one, two = (ops.convert_to_numpy(trunk(part, np.ones((1, 4), "float32"))) for part in (image, other))
        reach[attention] = np.abs(one - two)[0, -8:, -8:].max()
        again = Trunk.from_config(trunk.get_config())
        assert again.attention is attention
    assert reach[False] == 0
    assert reach[True] > 1e-6


def test_directions_tell_the_two_sides_apart():
    found = directions(6, 8)[0]
    assert found.shape == (6, 8, 12)
    assert len(np.unique(found.reshape(48, 12).round(5), axis=0)) == 48
