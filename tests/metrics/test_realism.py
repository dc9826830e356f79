import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from galzoo.errors import InputError
from galzoo.metrics.memorisation import nearest_neighbour_ratio, nearest_neighbours
from galzoo.metrics.realism import (
    frechet_distance,
    half_against_half,
    power_spectrum_ratio,
    scaled_wasserstein,
    statistics_distance,
    two_sample_accuracy,
)
from galzoo.metrics.scattering import scattering_features


def blobs(n, seed, size=20):
    """Return smooth random images with a little noise."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=(n, size, size)), (0, 2.5, 2.5))
    return image / image.std() + 0.1 * rng.normal(size=image.shape)


def test_wasserstein_of_a_shift_is_the_shift_in_sigmas():
    rng = np.random.default_rng(0)
    real = 3 * rng.normal(size=2000)
    samples = 3 * rng.normal(size=1000) + 1.5
    result = scaled_wasserstein(np.append(samples, np.nan), np.append(real, [np.nan, np.inf]))
    assert result["value"] == pytest.approx(0.5, abs=4 * result["error"])
    assert 0.02 < result["error"] < 0.06
    assert (result["n_samples"], result["n_real"]) == (1000, 2000)
    # The unit is the real scatter, so the distance of a distribution twice as wide is sqrt(2 / pi).
    wide = scaled_wasserstein(6 * rng.normal(size=4000), 3 * rng.normal(size=4000), n_boot=10)
    assert wide["value"] == pytest.approx(np.sqrt(2 / np.pi), abs=0.06)


def test_wasserstein_without_values_is_nan():
    result = scaled_wasserstein([np.nan, np.nan], [1.0, 2.0, 3.0], n_boot=5)
    assert np.isnan(result["value"])
    assert np.isnan(result["error"])
    assert result["n_samples"] == 0
    assert np.isnan(scaled_wasserstein([1.0, 2.0], [3.0, 3.0], n_boot=5)["value"])


def test_mean_distance_and_its_error():
    rng = np.random.default_rng(1)
    real = {"a": rng.normal(size=600), "b": rng.normal(size=600)}
    shifted = rng.normal(size=600)
    # Two statistics that are the same: the mean is no better known than either.
    twin = statistics_distance({"a": shifted + 1, "b": shifted + 1}, {"a": real["a"], "b": real["a"]})
    assert twin["error"] == pytest.approx(twin["statistics"]["a"]["error"], rel=1e-6)
    single = statistics_distance({"a": shifted + 1, "b": rng.normal(size=600) - 1}, real)
    assert single["error"] < 0.85 * twin["error"]
    assert single["mean"] == pytest.approx(np.mean([row["value"] for row in single["statistics"].values()]))
    # A statistic that failed everywhere does not take the mean with it.
    failed = statistics_distance({"a": shifted + 1, "b": np.full(600, np.nan)}, real, n_boot=10)
    assert failed["mean"] == pytest.approx(1, abs=0.15)


def test_halves_say_what_a_perfect_model_scores():
    rng = np.random.default_rng(2)
    real = {name: rng.normal(size=1200) for name in "abc"}
    half = half_against_half(real)
    # Expected of two Gaussian samples of n each: sqrt(2 / n) sqrt(2 / pi) times the integral of sqrt(F (1 - F)).
    assert half["n"] == 600
    assert half["mean"] == pytest.approx(1.288 * np.sqrt(2 / 600), rel=0.15)
    small = half_against_half(real, n=100)
    assert small["mean"] > 1.7 * half["mean"]
    model = statistics_distance({name: rng.normal(size=600) for name in "abc"}, {n: v[:600] for n, v in real.items()})
    assert abs(model["mean"] - half["mean"]) < 5 * half["scatter"]
    with pytest.raises(InputError):
        half_against_half(real, n=601)


def test_power_spectrum_ratio():
    rng = np.random.default_rng(3)
    real = rng.normal(size=(200, 24, 20, 2))
    same = power_spectrum_ratio(rng.normal(size=(200, 24, 20, 2)), real)
    assert same["ratio"].shape == (len(same["frequency"]), 2) == (10, 2)
    assert same["frequency"][0] == pytest.approx(1 / 20, abs=0.02)
    assert same["frequency"][-1] == pytest.approx(0.5, abs=0.02)
    pull = (same["ratio"] - 1) / same["error"]
    assert np.abs(pull).max() < 4
    assert 0.5 < np.sqrt(np.mean(pull**2)) < 1.6
    # A blur of sigma multiplies the power by exp(-(2 pi f sigma)^2).
    blurred = gaussian_filter(rng.normal(size=(300, 24, 20)), (0, 0.8, 0.8), mode="wrap")
    result = power_spectrum_ratio(blurred, real[..., 0])
    low = result["frequency"] < 0.3
    expected = np.exp(-((2 * np.pi * result["frequency"] * 0.8) ** 2))
    np.testing.assert_allclose(result["ratio"][low], expected[low], rtol=0.15)
    with pytest.raises(InputError):
        power_spectrum_ratio(blurred, real)
    with pytest.raises(InputError):
        power_spectrum_ratio(np.full((2, 24, 20), np.nan), real[..., 0])


@pytest.mark.parametrize("size", [16, 21, 64])
def test_scattering_of_any_size(size):
    image = blobs(3, 0, size)
    features = scattering_features(image)
    assert features.shape == (3, 122)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features, scattering_features(image))
    two = scattering_features(np.stack([image, 2 * image], axis=-1), scale=[1.0, 2.0])
    np.testing.assert_allclose(two[:, :122], features, atol=1e-4)
    np.testing.assert_allclose(two[:, 122:], features, atol=1e-4)


def test_scattering_knows_scale_direction_and_place():
    size = 64
    wave = 2 * np.sin(2 * np.pi * np.arange(size) / 5.33)
    across = np.broadcast_to(wave, (size, size))
    features = scattering_features(np.stack([across, across.T]))
    # A wave of 5.33 pixels is at 3 pi / 8, the second octave's; along x its first orientation, along y its third.
    first = features[:, 1:13].reshape(2, 3, 4)
    assert [np.unravel_index(row.argmax(), (3, 4)) for row in first] == [(1, 0), (1, 2)]
    # Turning an image by 90 degrees turns the orientations, at every order.
    np.testing.assert_allclose(first[0], np.roll(first[1], 2, axis=-1), atol=0.05)
    spot = np.zeros((1, size, size))
    spot[:, 30:34, 30:34] = 5.0
    corner = np.roll(spot, (-25, -25), axis=(1, 2))
    (inside, outside), (there, elsewhere) = (
        scattering_features(image).reshape(2, 61)[:, 1:13].mean(axis=1) for image in (spot, corner)
    )
    assert inside > outside
    assert elsewhere > there


def test_scattering_refuses_what_it_cannot_use():
    image = np.zeros((2, 16, 16))
    for call in (
        lambda: scattering_features(image[:, :15]),
        lambda: scattering_features(image, scale=0.0),
        lambda: scattering_features(image, scale=[1.0, 1.0, 1.0]),
        lambda: scattering_features(image + np.nan),
    ):
        with pytest.raises(InputError):
            call()
    assert scattering_features(image[:0]).shape == (0, 122)


def test_frechet_distance_of_gaussians():
    rng = np.random.default_rng(4)
    real = rng.normal(size=(3000, 3)) * [1, 5, 0.1] + [0, 2, 7]
    for shift in (0.5, 1.0, 2.0):
        samples = rng.normal(size=(3000, 3)) * [1, 5, 0.1] + [0, 2 + 5 * shift, 7]
        result = frechet_distance(samples, real)
        assert result["components"] == 3
        assert result["value"] == pytest.approx(shift**2, abs=max(4 * result["error"], 0.02))
    # Standard deviations twice as large: three features add (2 - 1)^2 each.
    wide = frechet_distance(2 * (real - real.mean(axis=0)) + real.mean(axis=0), real)
    assert wide["value"] == pytest.approx(3, rel=1e-3)


def test_frechet_distance_with_few_rows():
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(6, 100))
    real, same, other = (rng.normal(size=(150, 6)) @ mixing for _ in range(3))
    real, same, other = (np.append(rows, np.ones((150, 1)), axis=1) for rows in (real, same, other + 3))
    near, far = frechet_distance(same, real), frechet_distance(other, real)
    assert near["components"] == 30
    assert near["explained"] > 0.99
    assert far["value"] > near["value"] + 5 * far["error"]
    with pytest.raises(InputError):
        frechet_distance(same, real, components=200)
    with pytest.raises(InputError):
        frechet_distance(same, np.ones_like(real))
    with pytest.raises(InputError):
        frechet_distance(same[:, :5], real)


def test_two_sample_accuracy():
    rng = np.random.default_rng(6)
    real = rng.normal(size=(300, 3))
    same = two_sample_accuracy(rng.normal(size=(200, 3)), real)
    assert same["n"] == 200
    assert same["accuracy"] == max(same["logistic"], same["boosting"])
    assert abs(same["accuracy"] - 0.5) < 3.5 * same["error"]
    assert same["error"] == pytest.approx(np.sqrt(0.25 / 400), rel=0.05)
    # A shift d of unit Gaussians is told apart with probability Phi(d / 2), here 0.84, linearly.
    shifted = two_sample_accuracy(rng.normal(size=(300, 3)) + [2, 0, 0], real)
    assert shifted["logistic"] == pytest.approx(0.841, abs=0.05)
    # Another width at the same mean is seen by the trees only.
    wide = two_sample_accuracy(4 * rng.normal(size=(300, 3)), real)
    assert wide["accuracy"] == wide["boosting"] > 0.85 > 0.65 > wide["logistic"]
    for call in (
        lambda: two_sample_accuracy(real[:3], real),
        lambda: two_sample_accuracy(real, real, folds=1),
        lambda: two_sample_accuracy(real + np.nan, real),
    ):
        with pytest.raises(InputError):
            call()


def test_nearest_neighbours_against_a_plain_count(monkeypatch):
    monkeypatch.setattr("galzoo.metrics.memorisation.BLOCK", 3000)
    values, reference = blobs(7, 0, 12), blobs(30, 1, 12)
    distance, index = nearest_neighbours(values, reference)
    unit = [images / np.linalg.norm(images, axis=(1, 2), keepdims=True) for images in (values, reference)]
    turned = np.stack([np.rot90(a, k, axes=(1, 2)) for a in (unit[0], unit[0][:, ::-1]) for k in range(4)])
    expected = np.linalg.norm((turned[:, :, None] - unit[1]).reshape(8, 7, 30, -1), axis=-1).min(axis=0)
    np.testing.assert_allclose(distance, expected.min(axis=1), atol=1e-5)
    np.testing.assert_array_equal(index, expected.argmin(axis=1))


def test_copies_are_found_even_turned_and_rescaled():
    train, held_out = blobs(120, 0), blobs(60, 1)
    fresh = nearest_neighbour_ratio(blobs(60, 2), held_out, train)
    assert fresh["ratio"] == pytest.approx(1, abs=4 * fresh["error"])
    assert fresh["error"] < 0.03
    rng = np.random.default_rng(3)
    copies = np.stack([np.rot90(image.T, k) for k, image in zip(rng.integers(4, size=60), train, strict=False)])
    copies = 7 * copies + 0.7 * rng.normal(size=copies.shape)
    found = nearest_neighbour_ratio(copies, held_out, train, pairs=5)
    assert found["ratio"] < 0.4
    np.testing.assert_array_equal(found["nearest"], np.arange(60))
    np.testing.assert_array_equal(found["pairs"][:, 0], found["pairs"][:, 1])
    assert np.all(np.diff(found["pair_distance"]) >= 0)
    # One copy among many does not move the median and is still the first pair.
    samples = blobs(60, 4)
    samples[17] = train[5, ::-1]
    one = nearest_neighbour_ratio(samples, held_out, train)
    assert one["ratio"] > 0.95
    assert one["pairs"][0].tolist() == [17, 5]
    assert one["pair_distance"][0] < 2e-3


def test_memorisation_on_features_and_rectangles():
    rng = np.random.default_rng(7)
    train, held_out = rng.normal(size=(2, 200, 5)) * [1, 1, 1, 1, 1000]
    copies = train[:100] + 0.01 * rng.normal(size=(100, 5)) * [1, 1, 1, 1, 1000]
    assert nearest_neighbour_ratio(copies, held_out, train)["ratio"] < 0.05
    images = blobs(20, 0)[:, :14]
    turned = images[:, ::-1, ::-1]
    assert nearest_neighbours(turned, images)[0].max() < 2e-3


def test_sets_that_do_not_match_are_refused():
    images = blobs(5, 0)
    for call in (
        lambda: nearest_neighbour_ratio(images, images[:, :10], images),
        lambda: nearest_neighbour_ratio(images[:0], images, images),
        lambda: nearest_neighbour_ratio(images, images, np.full_like(images, np.nan)),
        lambda: statistics_distance({"a": [1.0]}, {"b": [1.0]}),
        lambda: statistics_distance({"a": [1.0], "b": [1.0, 2.0]}, {"a": [1.0], "b": [1.0]}),
        lambda: statistics_distance({}, {}),
    ):
        with pytest.raises(InputError):
            call()


def test_a_single_sample_has_a_distance_without_an_error():
    found = scaled_wasserstein([1.0], [0.0, 1.0, 2.0])
    assert found["value"] == pytest.approx(2 / 3 / np.std([0, 1, 2]))
    assert np.isnan(found["error"])


def test_the_first_components_are_those_that_vary_most():
    """Two features that go together: their sum, scaled to a variance of 2, is off by sqrt(2) x 3."""
    sum_of, difference = np.random.default_rng(0).normal(size=(2, 400))
    real = np.stack([sum_of + 0.1 * difference, sum_of - 0.1 * difference], axis=1)
    found = frechet_distance(real + 3 * real.std(axis=0), real, components=1, n_boot=0)
    assert found["value"] == pytest.approx(18, rel=1e-3)
    assert found["explained"] > 0.98


def test_a_feature_that_varies_by_rounding_alone_is_left_out():
    random = np.random.default_rng(0)
    real = np.column_stack([random.normal(size=100), 1e3 + 1e-10 * random.normal(size=100)])
    assert frechet_distance(real + [0, 1], real, n_boot=0)["value"] == pytest.approx(0, abs=1e-9)


def test_components_are_32_at_most():
    real = np.random.default_rng(0).normal(size=(205, 40))
    assert frechet_distance(real, real, n_boot=0)["components"] == 32


def test_spectra_of_tiny_stamps_are_refused():
    with pytest.raises(InputError, match="at least 8 pixels"):
        power_spectrum_ratio(np.ones((2, 7, 9)), np.ones((2, 7, 9)))
