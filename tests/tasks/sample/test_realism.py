import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from galzoo import cards
from galzoo.contracts.prior import Samples
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.evaluate.held_out import held_out
from galzoo.evaluate.run import choose_suite
from galzoo.models.pixelcnn.model import PixelCNN
from galzoo.tasks.sample import realism, realism_figures, realism_views
from galzoo.tasks.sample.conditions import judged_conditions, numeric_conditions, rank_correlation, spiral_features
from galzoo.tasks.sample.likelihood import frequency_nats, gaussian_nats, known_conditions, prior_batches
from galzoo.tasks.sample.realism import evaluate_realism
from galzoo.tasks.sample.realism_tables import result_tables
from galzoo.tasks.sample.suite import as_learnt
from tests.conftest import make_stamps

N = 64


class Drawer:
    """A prior over pixels that draws given images one after the other."""

    bands, columns, condition_ranges = ("r",), (), {}
    space, kind, codec, stamp_size = "pixels", "gaussian", None, None
    model_sigma, unit = 0.7, "nJy"

    def __init__(self, images):
        self.images = images

    def sample(self, n, condition=None, seed=0, size=None):
        image = self.images[np.arange(n) % len(self.images)]
        return Samples(image, {}, np.zeros(n), self.bands, 0.2, self.unit, self.model_sigma)

    def prepare(self, batch):
        values = np.asarray(batch["truth"])
        return values, None, np.ones(values.shape[:3], "float32"), np.ones((len(values), 1, 1, 1), "float32")

    def __call__(self, batch):
        n, height, width = batch["truth"].shape[:3]
        return {"log_prob": np.full(n, -2.0 * height * width), "positions": np.full(n, float(height * width))}


def small(patch):
    """Let few galaxies do, and leave out the slow classifier, which has tests of its own."""
    patch.setattr(realism, "LEAST", 50)
    patch.setattr(realism, "SPEED_BATCH", 4)
    stub = {"accuracy": 0.5, "error": 0.1, "logistic": 0.5, "boosting": 0.5, "n": N}
    patch.setattr(realism, "two_sample_accuracy", lambda *_: dict(stub))


@pytest.fixture(autouse=True)
def few(monkeypatch):
    small(monkeypatch)


def irregular(n, seed):
    """Return stamps of galaxies with a companion: no two are alike."""
    stamps = make_stamps(n, seed=seed)
    random = np.random.default_rng(seed)
    grid = np.arange(24) - 11.5
    x, y = random.uniform(-4, 4, (2, n, 1, 1, 1))
    share = random.uniform(0.1, 0.6, (n, 1, 1, 1))
    blob = np.exp(-0.5 * ((grid[:, None, None] - y) ** 2 + (grid[:, None] - x) ** 2) / 1.5**2)
    flux = stamps.truth.sum(axis=(1, 2, 3), keepdims=True)
    truth = (stamps.truth + share * flux * blob / blob.sum(axis=(1, 2, 3), keepdims=True)).astype(np.float32)
    image = realism_views.as_observed(Drawer(None), truth, stamps, seed)
    return dataclasses.replace(stamps, truth=truth, image=image)


@pytest.fixture(scope="module")
def sets():
    """Test, training and validation galaxies of one distribution, and more of it."""
    return [irregular(n, seed) for seed, n in enumerate((N, 2 * N, N, N))]


@pytest.fixture(scope="module")
def true_prior(sets):
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        return evaluate_realism(Drawer(sets[3].truth), *sets[:3])


def with_conditions(stamps):
    flux = stamps.truth.sum(axis=(1, 2, 3), dtype=float)
    stamps.catalogue["mag"] = 31.4 - 2.5 * np.log10(flux)
    # Of a Gaussian, in arcsec.
    stamps.catalogue["half_light_radius"] = 1.1774 * stamps.catalogue["width"] * stamps.pixel_scale
    stamps.catalogue["kind"] = stamps.catalogue["type"] % 3 - 1
    return stamps


def test_draws_from_the_real_distribution_are_as_far_as_real_galaxies(true_prior):
    json.dumps(true_prior, allow_nan=False)
    assert true_prior["likelihood"]["model"]["value"] == 2
    for view in ("observed", "frame"):
        part = true_prior["statistics"][view]
        assert part["samples"]["mean"] < part["real"]["mean"] + 5 * part["real"]["error"]
    assert true_prior["frechet"]["samples"]["value"] < 2 * true_prior["frechet"]["real"]["value"]
    power = true_prior["power_spectrum"]["samples"]["ratio"]
    assert power[0] == pytest.approx(1, abs=0.2)
    memory = true_prior["memorisation"]
    assert memory["ratio"] == pytest.approx(1, abs=5 * memory["error"])
    assert memory["near"] < 0.25
    assert memory["copies"] == 0


def test_a_prior_that_returns_training_images_is_caught(sets):
    turned = np.rot90(sets[1].truth, axes=(1, 2))
    memory = evaluate_realism(Drawer(turned), *sets[:3], n=60)["memorisation"]
    assert memory["ratio"] < 0.05
    assert memory["near"] == 1
    assert memory["copies"] == 60


def test_wrong_galaxies_are_farther_than_real_ones(sets, true_prior):
    # Twice as long as high, of the same flux.
    long = np.repeat(sets[3].truth[:, :, 6:18], 2, axis=2) / 2
    results = evaluate_realism(Drawer(long), *sets[:3])
    for view in ("observed", "frame"):
        part, good = results["statistics"][view], true_prior["statistics"][view]
        assert part["samples"]["statistics"]["ellipticity"]["value"] > 5 * part["real"]["mean"]
        assert part["samples"]["mean"] > 2 * good["samples"]["mean"]
    assert results["frechet"]["samples"]["value"] > 3 * results["frechet"]["real"]["value"]


@pytest.fixture(scope="module")
def code_prior():
    """An untrained prior over codes, with conditions, and its stamps."""
    stamps = [with_conditions(make_stamps(n, seed=seed)) for seed, n in enumerate((N, 90, N))]
    model = PixelCNN.tiny(
        columns=("mag", "half_light_radius", "kind"),
        classes={"kind": [0, 1]},
        noiseless_snr=100.0,
        flux_column="mag",
        flux_band="r",
        pixel_scale=0.2,
        unit="nJy",
        stamp_size=(24, 24),
    )
    model.adapt([next(prior_batches(model, stamps[1], known_conditions(model, stamps[1]), 90))])
    return model, stamps


def known_conditions_raw(stamps, name):
    return np.asarray(stamps.catalogue[name], dtype=float)


def test_prior_over_codes_is_scored_and_reported(code_prior, tmp_path):
    model, stamps = code_prior
    results = evaluate_realism(model, *stamps, report=tmp_path / "report.html")
    json.dumps(results, allow_nan=False)
    assert results["objects"]["test"] == N
    size = model.codec.codebook_size
    assert results["likelihood"]["uniform"]["value"] == pytest.approx(np.log(size), rel=1e-5)
    assert set(results["likelihood"]["conditions"]) == {"mag", "half_light_radius", "kind"}
    # Every third galaxy is of a class that the model does not know.
    assert results["likelihood"]["conditions"]["kind"]["n"] == N - len(range(0, N, 3))
    magnitude = results["conditions"]["mag"]["rows"][-1]
    assert magnitude["samples"] == pytest.approx(0, abs=1e-4)
    assert magnitude["n"] == N
    assert results["conditions"]["mag"]["rank"]["samples"]["value"] == pytest.approx(1)
    assert abs(results["conditions"]["half_light_radius"]["rows"][-1]["real"]) < 0.2
    assert set(results["conditions"]["kind"]["classes"]) == {"0", "1"}
    assert results["memorisation"]["what"] == "images after a pass through the codec"
    assert results["speed"]["samples_per_second"] > 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "https:" not in page
    assert (tmp_path / "samples_beside_real.png").stat().st_size > 1000
    assert "Held-out nats per code" in result_tables(results)


def test_likelihood_agrees_with_the_model(code_prior):
    model, (test, *_) = code_prior
    results = evaluate_realism(model, *code_prior[1], n=20)
    rows = np.linspace(0, N - 1, 20).astype(int)
    batch = {"image": test.image[rows], "variance": test.variance[rows], "truth": test.truth[rows]}
    table = np.stack([known_conditions_raw(test, name)[rows] for name in model.columns], axis=-1).astype("float32")
    outputs = model({**batch, "condition": table})
    nats = -np.asarray(outputs["log_prob"]) / np.asarray(outputs["positions"])
    assert results["likelihood"]["model"]["value"] == pytest.approx(nats.mean(), rel=1e-4)
    assert "fewer" not in results["skipped"]["statistics"]
    assert "20 test" in results["skipped"]["statistics"]


def test_pictures_are_compared_as_pictures(monkeypatch):
    monkeypatch.setattr(realism, "LEAST", 30)
    random = np.random.default_rng(0)

    def pictures(n, seed):
        image = make_stamps(n, bands=("i", "r", "g"), seed=seed).image / 3
        image = np.clip(image + random.normal(10, 2, image.shape), 0, 255).astype(np.uint8)
        kind, number = np.arange(n) % 2, image.mean(axis=(1, 2, 3)).astype(float)
        number[::4] = np.nan
        return Stamps(image, ("i", "r", "g"), 0.4, unit="", catalogue={"kind": kind, "number": number})

    test, train, valid = (pictures(n, seed) for seed, n in enumerate((40, 80, 40)))
    model = PixelCNN.tiny(
        bands=("i", "r", "g"), columns=("kind", "number"), classes={"kind": [0, 1]}, stamp_size=(24, 24)
    )
    model.adapt([next(prior_batches(model, train, known_conditions(model, train), 80))])
    results = evaluate_realism(model, test, train, valid)
    json.dumps(results, allow_nan=False)
    assert set(results["statistics"]) == {"observed"}
    assert "codec" in results["two_sample"]
    number = results["conditions"]["number"]
    assert number["n"] == 30
    # The number is the mean brightness, so real pictures tell it and untrained samples do not.
    assert number["real"]["rank"] > 0.6, number
    assert number["samples"]["error"] > 1.5 * number["real"]["error"], number


def test_frequencies_of_each_position():
    train = np.array([[[0, 1]], [[0, 2]], [[0, 1]], [[0, 0]]])[..., None]
    codes = np.array([[[0, 1]], [[3, 2]]])[..., None]
    nats = frequency_nats(codes, train, 4)
    expected = [-(np.log(5 / 8) + np.log(3 / 8)) / 2, -(np.log(1 / 8) + np.log(2 / 8)) / 2]
    np.testing.assert_allclose(nats, expected)
    # A place of one code costs next to nothing with little smoothing, an unseen code a lot.
    assert frequency_nats(codes, train, 4, 0.01)[1] > nats[1]


def test_a_gaussian_for_each_position():
    from scipy.stats import norm

    random = np.random.default_rng(0)
    train = random.normal([[[-1.0]], [[2.0]]], [[[0.5]], [[3.0]]], (4000, 2, 1, 1))
    good = np.ones(train.shape[:3])
    nats = gaussian_nats(train[:1], good[:1], train, good)
    expected = -norm.logpdf(train[0, :, 0, 0], [-1, 2], [0.5, 3]).mean()
    assert nats[0] == pytest.approx(expected, abs=0.05)
    # A bad value has no weight.
    good[0, 1] = 0
    alone = gaussian_nats(train[:1], good[:1], train, good)
    assert alone[0] == pytest.approx(-norm.logpdf(train[0, 0, 0, 0], -1, 0.5), abs=0.05)


def test_a_gaussian_over_levels_sums_to_one():
    train = np.random.default_rng(0).normal(0.9, 0.3, (500, 1, 1, 1)).clip(-1, 1)
    levels = np.linspace(-1, 1, 256)[:, None, None, None]
    nats = gaussian_nats(levels, np.ones((256, 1, 1)), train, np.ones((500, 1, 1)), 2 / 255)
    assert np.exp(-nats).sum() == pytest.approx(1)


def test_conditions_need_their_columns(code_prior):
    model, (test, *_) = code_prior
    kind = known_conditions(model, test)["kind"]
    assert np.isnan(kind).sum() == len(range(0, N, 3))
    other = make_stamps(3)
    with pytest.raises(InputError, match="mag"):
        known_conditions(model, other)


def test_numeric_conditions_find_what_is_wrong(code_prior):
    model, (test, *_) = code_prior
    larger = make_stamps(N, seed=0)
    grid = np.arange(24) - 11.5
    sigma = 1.3 * np.hypot(np.asarray(larger.catalogue["width"]), 0.7)[:, None, None, None]
    blob = np.exp(-0.5 * (grid[:, None, None] ** 2 + grid[:, None] ** 2) / sigma**2)
    flux = test.truth.sum(axis=(1, 2, 3), keepdims=True)
    samples = 1.1 * flux * blob / blob.sum(axis=(1, 2, 3), keepdims=True)
    results, measured, skipped = numeric_conditions(model, test, test.truth, samples, 0)
    assert results["mag"]["rows"][-1]["samples"] == pytest.approx(0.1, abs=1e-3)
    size = results["half_light_radius"]["rows"]
    # The largest lose light over the edge of the stamp.
    assert size[0]["ratio"] == pytest.approx(1.3, abs=0.05)
    assert sum(row["n"] for row in size[:-1]) == size[-1]["n"] == N
    assert not skipped
    assert len(measured["half_light_radius"]["asked"]) == N


def spiral(n, sense, seed):
    random = np.random.default_rng(seed)
    grid = np.arange(32) - 15.5
    radius = np.hypot(grid[:, None], grid)
    angle = np.arctan2(grid[:, None], grid)
    phase = random.uniform(0, 2 * np.pi, (n, 1, 1))
    arms = 1 + np.cos(2 * angle + sense * 4 * np.log(radius) + phase)
    return (100 * np.exp(-radius / 7) * arms + random.normal(size=(n, 32, 32)))[..., None]


def test_sense_of_spirals_turns_in_the_mirror():
    image = spiral(20, 1, 0)[..., 0]
    features = spiral_features(image)
    mirrored = spiral_features(image[:, :, ::-1])
    np.testing.assert_allclose(features, -mirrored, atol=0.2 * np.abs(features).max())
    assert np.abs(features.mean(axis=0)).max() > 2


def test_classes_of_samples_are_judged(code_prior):
    model = code_prior[0]

    def made(seed):
        senses = np.arange(60) % 2
        image = np.concatenate([spiral(1, 2 * sense - 1, [seed, row]) for row, sense in enumerate(senses)])
        return Stamps(image, ("r",), 0.2, catalogue={"mag": senses, "half_light_radius": senses, "kind": senses})

    train, test = made(0), made(1)
    images = {"real": test.image, "samples": test.image[:, :, ::-1]}
    results, _ = judged_conditions(model, test, train, images, [train.image], np.ones(1))
    assert set(results) == {"kind"}
    assert results["kind"]["real"]["accuracy"] > 0.9
    # Samples of the other sense than asked for.
    assert results["kind"]["samples"]["accuracy"] < 0.1
    assert results["kind"]["majority"] == 0.5


def test_rank_correlation():
    a = np.arange(50.0)
    assert rank_correlation(a, a**3)[0] == pytest.approx(1)
    assert rank_correlation(a, -a)[0] == pytest.approx(-1)
    assert np.isnan(rank_correlation(a, np.ones(50))[0])


def test_images_are_shown_as_the_survey_saw_others():
    stamps = make_stamps(40)
    seen = realism_views.as_observed(Drawer(None), stamps.truth, stamps, seed=3)
    noiseless = stamps.image - seen
    # Two draws of the same noise about the same noiseless image.
    assert noiseless.std() == pytest.approx(np.sqrt(2), rel=0.02)
    assert abs(noiseless.mean()) < 0.05


def test_images_of_a_prior_that_learnt_the_noise_and_pictures_are_shown_as_they_are():
    stamps = make_stamps(3)
    prior = SimpleNamespace(model_sigma=0.0)
    assert realism_views.as_observed(prior, stamps.image, stamps) is stamps.image
    stamps.unit = ""
    levels = np.array([-100.3, 99.7, 299.7])[:, None, None, None] * np.ones((24, 24, 1))
    picture = realism_views.as_observed(Drawer(None), levels, stamps)
    assert picture.dtype == np.uint8
    assert picture[:, 0, 0, 0].tolist() == [0, 100, 255]


def test_bad_pixels_of_a_galaxy_are_bad_in_its_sample():
    stamps = make_stamps(2)
    stamps.mask = np.zeros(stamps.image.shape, bool)
    stamps.mask[1, 5, 7] = True
    seen = realism_views.as_observed(Drawer(None), stamps.truth + 100, stamps)
    assert np.argwhere(seen == 0).tolist() == [[1, 5, 7, 0]]


def test_bands_are_sorted_by_what_is_seen_in_them_after_that_of_the_flux():
    """Of noise of 1 in all, r is the brightest and g the faintest; a catalogue knows better."""
    stamps = make_stamps(8, bands=("g", "r", "i"))
    light = stamps.truth[..., :1] * np.array([0.1, 1.0, 0.4])
    stamps.image = light.astype(np.float32)
    model = SimpleNamespace(flux_band=None)
    assert realism_views.best_bands(model, stamps) == [1, 2, 0]
    model.flux_band = "i"
    assert realism_views.best_bands(model, stamps) == [2, 1, 0]
    levels = [np.median(realism_views.signal_to_noise(stamps, band)) for band in range(3)]
    assert levels[0] < levels[2] < levels[1]
    stamps.catalogue["snr_g"], stamps.catalogue["snr"] = np.full(8, 1e6), np.full(8, 3.0)
    assert realism_views.best_bands(model, stamps) == [2, 0, 1]
    assert realism_views.signal_to_noise(stamps, 0).tolist() == [1e6] * 8
    # A column of all bands is that of one band where there is one alone.
    np.testing.assert_allclose(np.median(realism_views.signal_to_noise(stamps, 1)), levels[1])
    alone = make_stamps(8)
    alone.catalogue["snr"] = np.arange(8.0)
    assert realism_views.signal_to_noise(alone, 0).tolist() == list(range(8))
    pictures = dataclasses.replace(stamps, unit="")
    assert realism_views.best_bands(model, pictures) == [0, 1, 2]


def test_views_are_of_bright_galaxies_each_once():
    """Of the others those of validation come first, and of a galaxy that is there twice the first."""
    test, valid, train = (make_stamps(n, seed=n) for n in (6, 5, 9))
    test.catalogue["snr"] = np.array([30.0, 20, 21, 5, 40, 50])
    valid.catalogue["snr"], train.catalogue["snr"] = np.full(5, 25.0), np.full(9, 25.0)
    valid.catalogue["id"], valid.catalogue["snr"][4] = ["a", "b", "a", "c", "d"], 19
    samples = np.arange(6.0)[:, None, None, None] * np.ones((24, 24, 1))
    prior = Drawer(None)
    views, rows = realism_views.make_views(prior, test, samples, None, (valid, train), [0])
    assert rows.tolist() == [0, 2, 4, 5]
    assert set(views) == {"observed", "frame"}
    frame = views["frame"].images
    np.testing.assert_array_equal(frame["samples"], samples[rows])
    np.testing.assert_array_equal(frame["real"], test.truth[rows])
    np.testing.assert_array_equal(frame["others"], np.concatenate([valid.truth[[0, 1, 3]], train.truth[:1]]))
    assert not any(sigma.any() for sigma in views["frame"].sigma.values())
    observed = views["observed"]
    np.testing.assert_array_equal(observed.images["real"], test.image[rows])
    assert [sigma.tolist() for sigma in observed.sigma.values()] == [[[1.0]] * 4] * 3
    # Noise of samples and of what the codec makes is not the same.
    codec = realism_views.make_views(prior, test, samples, samples, (), [0])[0]["observed"].images
    assert set(codec) == {"real", "samples", "codec"}
    assert (codec["samples"] - codec["codec"]).std() == pytest.approx(np.sqrt(2), rel=0.05)
    prior.model_sigma = 0.0
    assert set(realism_views.make_views(prior, test, samples, None, (), [0])[0]) == {"observed"}


def test_the_noise_of_an_image_is_that_of_its_sky():
    """A quarter of the pixels is four times as noisy, a quarter has no weight."""
    variance = np.full((2, 8, 8, 1), 4.0)
    variance[0, :4, :4], variance[0, 4:, 4:], variance[1] = 64.0, np.inf, np.inf
    expected = np.sqrt(1 / (0.5 / 4 + 0.25 / 64))
    np.testing.assert_allclose(realism_views._sigma(variance)[:, 0], [expected, 0])


def test_samples_are_drawn_for_the_conditions_and_the_size_of_stamps():
    stamps = with_conditions(make_stamps(5))
    asked = []
    model = SimpleNamespace(
        columns=("mag",), condition_ranges={"mag": (0, 30)}, stamp_size=(24, 24),
        sample=lambda *values, **options: asked.append((*values, options)),
    )  # fmt: skip
    realism_views.draw(model, stamps, 7)
    model.stamp_size = (32, 32)
    realism_views.draw(model, stamps, 7)
    assert [(one[0], one[2], one[3]) for one in asked] == [(5, 7, {}), (5, 7, {"size": (24, 24)})]
    np.testing.assert_allclose(asked[0][1]["mag"], stamps.catalogue["mag"])


def test_what_goes_through_the_codec_has_the_flux_that_was_asked_for():
    """But where the magnitude is not known; colours are the codec's."""
    stamps = make_stamps(3, bands=("g", "r"))
    stamps.catalogue["mag"] = np.array([20.0, np.nan, 22.0])
    seen = []

    def decode(codes, noise, shape):
        seen.append((codes[:, 0, 0].tolist(), noise[:, 0, 0, 0].tolist(), shape))
        return np.ones((len(codes), 24, 24, 2)) * [1.0, 2.0]

    model = SimpleNamespace(
        columns=("mag",), condition_ranges={"mag": (0, 30)}, bands=("g", "r"), flux_column="mag", flux_band="r",
        codec=SimpleNamespace(decode=decode),
    )  # fmt: skip
    parts = np.arange(3)[:, None, None, None] * np.ones((6, 6, 1)), None, 10.0 + np.arange(3)[:, None, None, None]
    image = realism_views.decoded(model, stamps, parts, batch_size=2)
    assert seen == [([0, 1], [10, 11], (24, 24)), ([2], [12], (24, 24))]
    total = image.sum(axis=(1, 2))
    np.testing.assert_allclose(total[:, 1], [10 ** (0.4 * 11.4), 2 * 24**2, 10 ** (0.4 * 9.4)], rtol=1e-5)
    np.testing.assert_allclose(total[:, 0], total[:, 1] / 2, rtol=1e-5)
    cut = realism_views.decoded(model, stamps, parts, np.s_[:, 4:20, 6:18], [1])
    np.testing.assert_array_equal(cut, image[:, 4:20, 6:18, 1:])


def test_tables_have_the_numbers_of_the_results_in_their_units():
    density = {"value": 2.0, "value_error": 0.1}
    more = {"value": 3.0, "value_error": 0.2, "difference": 1.0, "difference_error": 0.05}
    condition = {"n": 40, "right": 2.0, "shuffled": 2.5, "difference": 0.5, "difference_error": 0.04}
    statistic = {"m20": {"value": 0.3, "error": 0.03}}
    distances = {"mean": 0.4, "error": 0.04, "statistics": statistic}
    row = {
        "low": 20.0, "high": 21.2345, "n": 9, "samples": 0.1, "samples_error": 0.02, "samples_scatter": 0.3,
        "real": -0.25, "real_error": 1e-6, "real_scatter": None, "ratio": 1.5, "ratio_error": 0.25,
    }  # fmt: skip
    every = {**row, "low": None, "high": None, "n": 18}
    judged = {"n": 30, "classes": {"0": 20, "1": 40, "2": 9, "3": 1}, "majority": 0.6}
    judged["real"] = {"accuracy": 0.9, "accuracy_error": 0.05, "balanced": 0.8}
    number = {"n": 31, "constant": 4.0, "samples": {"error": 1.0, "error_error": 0.1, "rank": 0.7, "rank_error": 0.05}}
    spectrum = {"view": "frame", "frequency": [0.01, 0.04, 0.3], "real": {"ratio": [1, 3, 5], "error": [0.1, 0.3, 0.5]}}
    tables = result_tables({
        "likelihood": {"unit": "code", "model": density, "uniform": more, "conditions": {"mag": condition}},
        "statistics": {"observed": {"samples": distances, "real": distances}, "frame": {"left_out": {}}},
        "frechet": {"samples": {"value": 7.0, "error": 0.7}},
        "two_sample": {"samples": {"accuracy": 0.6, "error": 0.06}, "real": {"accuracy": 0.5, "error": 0.05}},
        "power_spectrum": spectrum,
        "conditions": {
            "mag": {"quantity": "flux", "set": True, "rows": [row, every]},
            "size": {"quantity": "arcsec", "set": False, "rows": [row, every]},
            "kind": judged, "z": number,
        },
        "memorisation": {
            "samples": 0.5, "held_out": 0.4, "ratio": 1.25, "error": 0.1, "near": 0.07, "near_error": 0.01, "copies": 2,
        },
        "speed": {"hardware": "a machine", "samples_per_second": 12.0},
    })  # fmt: skip
    assert tables["Held-out nats per code"] == [
        {"density": "this prior", "nats per code": (2.0, 0.1), "more than this prior": None},
        {"density": "all values alike", "nats per code": (3.0, 0.2), "more than this prior": (1.0, 0.05)},
    ]
    assert tables["What a condition is worth, nats per code"] == [
        {"condition": "mag", "galaxies": 40, "of another galaxy": 2.5, "right": 2.0, "difference": (0.5, 0.04)}
    ]
    title = "Distance to real galaxies in standard deviations, "
    assert tables[title + "as observed"] == [
        {"statistic": "m20", "samples": (0.3, 0.03), "real against real": (0.3, 0.03)},
        {"statistic": "mean", "samples": (0.4, 0.04), "real against real": (0.4, 0.04)},
    ]
    assert title + "noiseless, in the model frame" not in tables
    found = tables["Wavelet scattering features, as observed"]
    assert [line["sets"] for line in found] == ["samples against real", "real against real"]
    assert [line["Fréchet distance"] for line in found] == [(7.0, 0.7), None]
    assert [line["accuracy of a classifier"] for line in found] == [(0.6, 0.06), (0.5, 0.05)]
    assert tables["Power over that of real galaxies, noiseless, in the model frame"] == [
        {"set": "other real galaxies", "0–0.05 / pixel": (2.0, 0.2), "0.2–0.35 / pixel": (5.0, 0.5)}
    ]
    # What is set by construction is shown for all alone; errors of nothing are left out.
    assert [line["galaxies"] for line in tables["Got for mag asked: flux"]] == [18]
    first, last = tables["Got for size asked: arcsec"]
    assert first == {
        "asked": "20–21.2", "galaxies": 9, "samples: error, %": (10.0, 2.0), "samples: scatter, %": 30.0,
        "real: error, %": -25.0, "real: scatter, %": None, "samples over real": (1.5, 0.25),
    }  # fmt: skip
    assert last["asked"] == "all"
    assert tables["kind, judged by a classifier"] == [
        {"set": "real galaxies", "galaxies": 30, "as asked, %": (90.0, 5.0), "mean over classes, %": 80.0},
        {"set": "always the commonest", "as asked, %": 60.0, "mean over classes, %": 25.0},
    ]
    assert tables["z, judged by a classifier"] == [
        {"set": "samples", "galaxies": 31, "mean error": (1.0, 0.1), "rank correlation": (0.7, 0.05)},
        {"set": "always the median", "mean error": 4.0},
    ]
    (memory,) = tables["Nearest training galaxy"]
    assert list(memory.values()) == [0.5, 0.4, (1.25, 0.1), pytest.approx((7.0, 1.0)), 2]
    assert tables["Speed"] == [{"hardware": "a machine", "samples per second": 12.0}]


def test_a_page_shows_galaxies_from_its_upper_left_on_in_the_stretch_of_the_real_ones():
    """Five pictures in a square of three: each of one level, two pixels apart, rows drawn from the bottom up."""
    stamps = Stamps(np.zeros((5, 6, 4, 3), np.uint8), ("i", "r", "g"), 0.4, unit="")
    images = {
        "real": np.full((5, 6, 4, 3), 9.0),
        "samples": np.arange(10, 60, 10.0)[:, None, None, None] * np.ones((6, 4, 3)),
    }
    figure = realism_figures.page_figure(stamps, realism_views.View(images, None), np.arange(5))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["real galaxies", "samples"]
    picture = figure.axes[1].images[0].get_array()
    assert picture.shape == (3 * 6 + 4, 3 * 4 + 4, 3)
    assert picture[[19, 19, 19, 10, 10, 10, 2], [1, 7, 13, 1, 7, 13, 1], 0].tolist() == [10, 20, 30, 40, 50, 255, 255]
    assert (picture[:, [4, 5]] == 255).all()
    assert (picture[[6, 7]] == 255).all()


def test_figures_have_the_points_that_were_measured():
    asked = {"asked": np.array([1.0, 2, 4]), "samples": np.array([1.5, 2.5, np.nan]), "real": np.array([1.0, 2, 3])}
    (axis,) = realism_figures.asked_figure({"half_light_radius": asked}).axes
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    np.testing.assert_array_equal(lines["samples"], np.stack([asked["asked"], asked["samples"]], axis=-1))
    np.testing.assert_array_equal(lines["real galaxies"], np.stack([asked["asked"], asked["real"]], axis=-1))
    np.testing.assert_array_equal(axis.lines[2].get_xydata(), [[1, 1], [4, 4]])
    assert axis.get_xlabel() == "asked: half light radius"
    part = {"ratio": [1.0, 2.0], "error": [0.5, 3.0]}
    (axis,) = realism_figures.spectrum_figure({"frequency": [0.1, 0.2], "samples": part, "real": part}).axes
    assert [line.get_label() for line in axis.lines[1:]] == ["other real galaxies", "samples"]
    np.testing.assert_array_equal(axis.lines[2].get_xydata(), [[0.1, 1], [0.2, 2]])
    low, high = axis.collections[0].get_paths()[0].get_extents().intervaly
    assert (low, high) == (1e-9, 5)


def test_histograms_have_equal_areas_and_the_values_that_are_known():
    table = {
        "real": {
            "m20": np.r_[np.arange(10.0), np.nan],
            "half_light_radius": np.arange(11.0),
            "none": np.full(11, np.nan),
        },
        "samples": {"m20": np.arange(5.0), "half_light_radius": np.arange(5.0), "none": np.zeros(5)},
    }
    figure = realism_figures.histograms(table)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_xlabel() for axis in shown] == ["m20", "half light radius / pixels"]
    # The two extremes of 15 values are beyond the edges of the first.
    assert sum(patch.get_path().vertices[:, 1].max() > 0 for patch in shown[0].patches) == 2


def test_what_is_measured_on_an_image_is_one_plane():
    """The first band, or the mean of a picture less the median of its rim; spectra are of unit light in the middle."""
    image = np.zeros((2, 32, 40, 2)) + [3.0, 5.0]
    image[0, 10:20, 10:20] += [10, 20]
    np.testing.assert_array_equal(realism._reference(image, [1, 0], False), image[..., 1])
    mean = realism._reference(image, [1, 0], True)
    assert (mean[0, 15, 15], mean[0, 2, 2], mean[1].max()) == (15, 0, 0)
    plane = np.zeros((3, 32, 40))
    plane[0, 16, 20], plane[1, 16, 2], plane[2, 15:17, 19:21] = 4.0, 4.0, 2.0
    found = realism._unit_light(plane)
    assert len(found) == 2
    assert (found[0, 16, 20], found[1, 16, 20]) == (1, 0.25)


def test_neighbours_are_looked_for_in_the_middle():
    image = np.arange(2 * 60 * 49).reshape(2, 60, 49, 1)
    found = image[realism._centre((60, 49))]
    assert found.shape == (2, 48, 48, 1)
    assert found[0, 0, 0, 0] == image[0, 6, 0, 0]
    assert image[realism._centre((20, 30))].shape == image[:, :20, :30].shape


def test_colours_are_magnitudes_between_the_outer_bands_where_there_is_no_noise():
    light = make_stamps(4).truth * np.array([1.0, 2.0, 10.0])
    light[3] *= -1
    zero, noise = np.zeros((4, 3)), np.ones((4, 3))
    table = realism._measure(realism_views.View({"a": light}, {"a": zero}), [1, 0, 2], False)["a"]
    np.testing.assert_allclose(table["colour"], [2.5, 2.5, 2.5, np.nan], rtol=1e-6)
    assert "colour" not in realism._measure(realism_views.View({"a": light}, {"a": noise}), [1], False)["a"]
    six = light[..., [2, 0, 1, 1, 2, 0]]
    table = realism._measure(realism_views.View({"a": six}, {"a": np.zeros((4, 6))}), [1], False)["a"]
    np.testing.assert_allclose(table["colour"][:3], 2.5, rtol=1e-6)


def test_suites_are_for_the_families_that_can_do_them():
    with pytest.raises(InputError, match="use reconstruction"):
        choose_suite({"family": "vqvae"}, "realism")
    with pytest.raises(InputError, match="use realism"):
        choose_suite({"family": "pixelcnn"}, "reconstruction")


@pytest.mark.parametrize(("size", "side"), [((20, 20), 20), ((48, 48), 32), (None, 32)])
def test_a_prior_is_judged_on_stamps_of_the_size_that_it_learnt(size, side):
    stamps = make_stamps(n=3, size=32, bands=("g", "r"))
    found = as_learnt(SimpleNamespace(bands=("r", "g"), stamp_size=size), stamps)
    assert found.bands == ("r", "g")
    assert found.image.shape == found.variance.shape == (3, side, side, 2)
    cut = (32 - side) // 2
    np.testing.assert_array_equal(found.image[..., 1], stamps.image[:, cut : 32 - cut, cut : 32 - cut, 0])


def test_a_repeated_galaxy_counts_once(tmp_path):
    stamps = make_stamps(60)
    stamps.catalogue["id"] = [f"g{row // 2}" for row in range(60)]
    stamps.catalogue["split"] = ["test"] * 60
    stamps.save(tmp_path / "stamps.h5")
    assert len(held_out(tmp_path / "stamps.h5", "test", {})) == 60
    once = held_out(tmp_path / "stamps.h5", "test", {}, once=True)
    assert list(once.catalogue["id"]) == sorted((f"g{row}" for row in range(30)), key=lambda name: int(name[1:]))


def test_cards_of_priors(true_prior, monkeypatch, tmp_path):
    card = {
        "name": "prior",
        "title": "a prior",
        "family": "pixelcnn",
        "metrics": true_prior,
        "data": {"origin": "o", "bands": ["r"], "pixel_scale_arcsec": 0.2, "stamp_size": [24, 24], "unit": "nJy"},
        "training": {"n_train": 9, "steps": 1, "hours": 0.1, "hardware": "h", "backend": "b"},
        "limits": "l",
        "licence": "BSD",
        "citation": "c",
        "changelog": [{"date": "2026-01-01", "galzoo": "0", "sha256": "0" * 64}],
    }
    monkeypatch.setattr(cards, "list_presets", lambda: ["prior"])
    monkeypatch.setattr(cards, "load_card", lambda name, metrics=True: card)
    assert "nats per pixel" in cards.preset_table()
    cards.write_readme(tmp_path, card)
    assert "### Nearest training galaxy" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_empty_sets_are_refused(sets):
    with pytest.raises(InputError, match="0 test"):
        evaluate_realism(Drawer(sets[3].truth), sets[0][:0], *sets[1:3])


def test_nearest_pictures_of_8_bits_are_shown_as_they_are():
    picture = np.zeros((12, 12, 3))
    picture[4:8, 4:8] = 30.0, 60.0, 90.0
    pairs = {"sample": (picture[None], picture[None], np.zeros(1))}
    figure = realism_figures.pairs_figure({"pairs": pairs, "bands": ["g", "r", "i"], "pictures": True})
    shown = figure.axes[0].get_images()[0].get_array()
    # The reddest band is red.
    np.testing.assert_array_equal(shown[5, 5], (90, 60, 30))
    np.testing.assert_array_equal(shown[0, 0], 0)
