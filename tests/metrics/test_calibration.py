"""Scores against closed forms and scikit-learn, and forecasts whose calibration is known."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics import calibration


@pytest.fixture
def forecast():
    """Return probabilities of 3 classes (4000, 3) and labels drawn from them: calibrated by construction."""
    random = np.random.default_rng(3)
    logits = random.normal(scale=2, size=(4000, 3))
    probability = calibration.softmax(logits)
    label = (probability.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1)
    return logits, probability, label


def test_scores_are_those_of_scikit_learn(forecast):
    metrics = pytest.importorskip("sklearn.metrics")
    _, probability, label = forecast
    assert calibration.nll(probability, label).mean() == pytest.approx(metrics.log_loss(label, probability))
    blended = label == 2
    two = np.stack([1 - probability[:, 2], probability[:, 2]], axis=1)
    score = metrics.brier_score_loss(blended, probability[:, 2])
    # Both classes count here, so a binary score is twice the one-sided one.
    assert calibration.brier(two, blended).mean() == pytest.approx(2 * score)


def test_ece_by_hand():
    confidence = np.array([0.1, 0.1, 0.9, 0.9])
    correct = np.array([0, 1, 1, 1])
    # Two bins: |0.1 - 0.5| and |0.9 - 1|, half of the rows each.
    for equal in ("mass", "width"):
        assert calibration.expected_calibration_error(confidence, correct, 2, equal) == pytest.approx(0.25)


def test_ece_is_that_of_noise_where_forecasts_are_true_and_more_where_they_are_not(forecast):
    logits, probability, label = forecast
    top = calibration.top_class(probability, label)
    floor = calibration.calibrated_error(top[0])
    assert calibration.expected_calibration_error(*top) < 2 * floor
    sharp = calibration.top_class(calibration.softmax(2 * logits), label)
    value, error = calibration.resample(calibration.expected_calibration_error, *sharp)
    assert value > 0.05
    assert value - 5 * error > floor


def test_many_equal_confidences_share_a_bin():
    confidence, correct = np.full(100, 0.7), np.arange(100) < 70
    assert calibration.expected_calibration_error(confidence, correct) == pytest.approx(0, abs=1e-12)


def test_error_of_a_mean_is_that_of_statistics_and_grows_with_groups():
    values = np.random.default_rng(0).normal(size=900)
    error = calibration.resample(np.mean, values, draws=400)[1]
    assert error == pytest.approx(values.std() / 30, rel=0.15)
    repeated, group = np.repeat(values, 4), np.repeat(np.arange(900), 4)
    assert calibration.resample(np.mean, repeated, draws=400)[1] == pytest.approx(error / 2, rel=0.15)
    assert calibration.resample(np.mean, repeated, draws=400, groups=group)[1] == pytest.approx(error, rel=0.15)


def test_scores_beat_the_base_rate(forecast):
    _, probability, label = forecast
    mine = calibration.scores(probability, label)
    base = calibration.scores(calibration.base_rate(label, 3), label)
    assert mine["nll"] + 5 * mine["nll_error"] < base["nll"]
    assert mine["brier"] < base["brier"]
    assert base["nll"] == pytest.approx(np.log(3), abs=0.02)
    assert mine["accuracy"] == pytest.approx((probability.argmax(axis=1) == label).mean())


def test_reliability_follows_the_diagonal_and_counts_every_row(forecast):
    _, probability, label = forecast
    rows = calibration.reliability(probability[:, 1], label == 1)
    assert sum(row["n"] for row in rows) == len(label)
    for row in rows:
        # The error of a calibrated forecast, known beforehand; that from the rows is 0 where nothing came true.
        error = np.sqrt(row["confidence"] * (1 - row["confidence"]) / row["n"])
        assert abs(row["frequency"] - row["confidence"]) < 4 * error + 1e-3
        assert row["frequency_error"] < 2 * error + 1e-3
    assert rows[0]["high"] <= rows[1]["low"]


def test_reliability_by_magnitude_finds_the_bin_that_is_off(forecast):
    _, probability, label = forecast
    magnitude = np.random.default_rng(1).uniform(20, 24, len(label))
    magnitude[:10] = np.nan
    confidence = np.where(magnitude > 23, 0.5 + probability[:, 0] / 2, probability[:, 0])
    rows = calibration.reliability_by(confidence, label == 0, magnitude, (20, 22, 23, 24, 25))
    assert sum(row["n"] for row in rows) == len(label) - 10
    assert abs(rows[0]["excess"]) < 4 * rows[0]["excess_error"]
    assert rows[2]["excess"] > 10 * rows[2]["excess_error"]
    assert rows[2]["ece"] > 5 * rows[0]["ece"]
    assert rows[3]["n"] == 0
    assert np.isnan(rows[3]["ece"])


def test_coverage_of_gaussian_errors():
    random = np.random.default_rng(0)
    error = random.uniform(0.5, 2, 5000)
    truth = random.normal(scale=error)
    truth[0] = np.nan
    for row in calibration.gaussian_coverage(truth, np.zeros(5000), error):
        assert row["n"] == 4999
        assert row["coverage"] == pytest.approx(row["level"], abs=4 * row["coverage_error"])
    # Half the error: 0.68 of a Gaussian is within 0.99 sigma, so half of that is 0.497 sigma, which holds 0.381.
    assert calibration.gaussian_coverage(truth, np.zeros(5000), error / 2)[0]["coverage"] == pytest.approx(
        0.381, abs=0.03
    )


def test_ranks_are_even_for_the_right_posterior_only():
    random = np.random.default_rng(0)
    truth = random.normal(size=2000)
    data = truth + random.normal(size=2000)

    def test(scale, offset=0.0):
        samples = data / 2 + offset + scale * np.sqrt(0.5) * random.normal(size=(99, 2000))
        return calibration.uniformity(calibration.ranks(truth, samples), 99)

    right, narrow, shifted = test(1.0), test(0.5), test(1.0, 0.3)
    assert right["p"] > 0.01
    assert abs(right["bias"]) < 0.03
    assert right["spread"] == pytest.approx(1, abs=0.05)
    assert narrow["p"] < 0.001
    assert narrow["spread"] > 1.2
    assert shifted["p"] < 0.001
    assert shifted["bias"] < -0.05


def test_ranks_of_ties_are_even():
    rank = calibration.ranks(np.zeros(3000), np.zeros((9, 3000)))
    assert calibration.uniformity(rank, 9)["p"] > 0.01


def test_temperature_is_found_again(forecast):
    logits, _, label = forecast
    assert calibration.fit_temperature(2.5 * logits, label) == pytest.approx(2.5, rel=0.1)
    assert calibration.fit_temperature(0.4 * logits, label) == pytest.approx(0.4, rel=0.1)


def test_entropy_splits_into_noise_and_doubt():
    agreed = np.tile([[[0.5, 0.5]]], (4, 1, 1))
    torn = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    for passes, aleatoric in ((agreed, np.log(2)), (torn, 0.0)):
        total, noise, doubt = calibration.split_entropy(passes)
        assert total == pytest.approx(np.log(2))
        assert noise == pytest.approx(aleatoric, abs=1e-9)
        assert doubt == pytest.approx(np.log(2) - aleatoric, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration.nll([[2.0, 1.0]], [0]), "softmax"),
        (lambda: calibration.nll([[0.5, 0.5]], [2]), "classes are 0 to 1"),
        (lambda: calibration.nll([[0.5, 0.5]], [-1]), "classes are 0 to 1"),
        (lambda: calibration.nll([[1.5, -0.5]], [0]), "at least 0"),
        (lambda: calibration.nll([0.5], [0]), "give \\(n, class\\)"),
        (lambda: calibration.expected_calibration_error([1.5], [1]), "not scores"),
        (lambda: calibration.expected_calibration_error([0.5], [1], equal="size"), "'mass' or 'width'"),
        (lambda: calibration.reliability_by([0.5], [1], [1, 2], (0, 1)), "binned quantity"),
        (lambda: calibration.ranks([0.0], [[1.0, 2.0]]), "samples have shape"),
        (lambda: calibration.uniformity([11], 10), "0 to 10"),
        (lambda: calibration.resample(np.mean, [1.0, 2.0], groups=[1]), "rows"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_no_rows_give_nan():
    assert np.isnan(calibration.expected_calibration_error([], []))
    assert calibration.reliability([], []) == []
    assert np.isnan(calibration.coverage([np.nan], [0.0], [1.0])[0])


def test_shares_of_none_or_all_are_not_exact():
    """Three of three right is no proof of always; a bootstrap of them has no scatter."""
    rows = calibration.reliability(np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.9]), np.repeat([False, True], 3), bins=2)
    assert [row["frequency"] for row in rows] == [0, 1]
    assert all(0.1 < row["frequency_error"] < 0.3 for row in rows)
    value, error = calibration.coverage(np.zeros(3), -np.ones(3), np.ones(3), groups=np.arange(3))
    assert value == 1
    assert 0.1 < error < 0.3
    sure = calibration.scores(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1]))
    assert sure["accuracy"] == 1
    assert 0.1 < sure["accuracy_error"] < 0.3


def test_scores_by_hand():
    # What was said to be impossible costs -ln 1e-12.
    assert calibration.nll([[1.0, 0.0]], [1]) == pytest.approx(27.631, abs=1e-3)
    np.testing.assert_allclose(calibration.base_rate([0, 0], 3), [[0.6, 0.2, 0.2]] * 2)
    # 1 lies in the last bin of equal width: (1 - 0 + 0.95 - 1) / 2.
    ece = calibration.expected_calibration_error([1.0, 0.95], [0, 1], 2, "width")
    assert ece == pytest.approx(0.475)


def test_what_noise_adds_is_that_of_the_same_bins():
    """In one bin |1 - hits| / 2, which is 1/2 for none or two hits, 0.24 each; in two, 2 x 0.4 x 0.6 each."""
    confidence = np.array([0.4, 0.6])
    assert calibration.calibrated_error(confidence, bins=1, draws=1000) == pytest.approx(0.24, abs=0.04)
    assert calibration.calibrated_error(confidence, bins=2, draws=1000) == pytest.approx(0.48, abs=0.04)


def test_one_row_or_group_has_no_error():
    assert np.isnan(calibration.resample(np.mean, [3.0])[1])
    assert np.isnan(calibration.resample(np.mean, [3.0, 4.0], groups=[7, 7])[1])


def test_rows_of_one_group_are_drawn_together(forecast):
    """Four copies of each row, drawn together, have the errors of the rows; drawn alone, half of them."""
    _, probability, label = (column[:200] for column in forecast)
    copies, labels, groups = (np.repeat(column, 4, axis=0) for column in (probability, label, np.arange(200)))
    once, together = calibration.scores(probability, label), calibration.scores(copies, labels, groups)
    for name in ("nll", "brier", "accuracy"):
        assert together[f"{name}_error"] == pytest.approx(once[f"{name}_error"], rel=0.2)
    confidence, correct = calibration.top_class(copies, labels)
    rows = [calibration.reliability(confidence, correct, bins=2, groups=group) for group in (None, groups)]
    assert rows[1][0]["frequency_error"] == pytest.approx(2 * rows[0][0]["frequency_error"], rel=0.3)
    by = np.zeros(len(labels))
    rows = [calibration.reliability_by(confidence, correct, by, (-1, 1), groups=group) for group in (None, groups)]
    assert rows[1][0]["excess_error"] == pytest.approx(2 * rows[0][0]["excess_error"], rel=0.3)


def test_in_one_bin_of_confidence_the_error_is_the_excess(forecast):
    _, probability, label = forecast
    (row,) = calibration.reliability_by(probability[:, 0], label == 1, np.zeros(len(label)), (-1, 1), bins=1, draws=2)
    assert row["ece"] == pytest.approx(abs(row["excess"]))


def test_ends_belong_to_an_interval_which_may_be_open():
    assert calibration.coverage([0.0, 1.0], [0.0, 0.0], [0.5, 1.0])[0] == 1
    assert calibration.coverage([3.0], [-np.inf], [np.inf])[0] == 1
    # The group of the row without a truth goes with it.
    assert calibration.coverage([np.nan, 0.0, 2.0], np.zeros(3), np.ones(3), groups=[0, 1, 2])[0] == 0.5


def test_even_ranks_by_hand():
    found = calibration.uniformity(np.arange(10), 9)
    assert found == {"chi2": 0, "p": 1, "bias": pytest.approx(0), "spread": pytest.approx(1)}
    # A chance of which no simulation saw one is not 0.
    assert calibration.uniformity(np.zeros(1000, int), 9, simulations=99)["p"] == pytest.approx(0.01)


def test_temperature_of_passes_does_not_depend_on_their_order(forecast):
    logits, _, label = forecast
    passes = np.stack([logits, 0.2 * logits])
    one, other = (calibration.fit_temperature(each, label) for each in (passes, passes[::-1]))
    assert one == pytest.approx(other, rel=1e-6)
