"""Baselines of the suite "count", and what it measures beside scores."""

from types import SimpleNamespace

import numpy as np
import pytest

from galzoo.contracts.counts import Counts
from galzoo.metrics.calibration import reliability
from galzoo.tasks.screen.baselines import count_peaks, fit_baselines, signal_to_noise
from galzoo.tasks.screen.suite import CountResult, measured
from galzoo.tasks.screen.suite_report import write_report
from tests.field.fields import gaussian

SIDE, PLACES = 32, ((9.0, 9.0), (23.0, 22.0))


def scenes(n, seed):
    """Return scenes of 0, 1, 2 sources far apart, bright in the noise of 1."""
    random = np.random.default_rng(seed)
    number = random.integers(0, 3, n)
    image = random.normal(size=(n, SIDE, SIDE, 1))
    for row in range(n):
        for x, y in PLACES[: number[row]]:
            image[row, ..., 0] += 600 * gaussian((SIDE, SIDE), x, y, 1.7)
    present = (np.arange(2) < number[:, None])[..., None]
    return {
        "image": image.astype(np.float32),
        "variance": np.ones(image.shape, np.float32),
        "n_sources": number,
        "positions": np.where(present, np.array(PLACES), 0.0),
        "flux": np.where(present, 600.0, 0.0),
    }


def test_bands_that_are_absent_do_not_hide_the_light_of_others():
    batch = scenes(4, 3)
    image = np.concatenate([np.zeros_like(batch["image"]), 2 * batch["image"]], axis=-1)
    variance = np.full(image.shape, np.inf, np.float32)
    variance[..., 1] = 4
    seen, bad = signal_to_noise({"image": image, "variance": variance})
    np.testing.assert_allclose(seen, batch["image"][..., 0], rtol=1e-5)
    assert not bad.any()
    variance[:, :, :9] = np.inf
    seen, bad = signal_to_noise({"image": image, "variance": variance})
    assert bad[:, :, :9].all()
    assert not seen[:, :, :9].any()


def test_peaks_are_the_sources_and_every_baseline_beats_the_shares():
    train, judged = scenes(120, 1), scenes(60, 2)
    assert count_peaks([judged], 3.0).tolist() == judged["n_sources"].tolist()
    found = fit_baselines([train], train["n_sources"], 4)
    losses = {}
    for name, baseline in found.items():
        probability = baseline([judged])
        assert probability.shape == (60, 4)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        losses[name] = -np.log(probability[np.arange(60), judged["n_sources"]]).mean()
    assert set(losses) == {"shares alone", "SEP peaks", "logistic regression", "Gaussian process"}
    assert all(loss < losses["shares alone"] for name, loss in losses.items() if name != "shares alone")


def test_coverage_counts_only_sources_that_are_there_and_separation_only_pairs(tmp_path):
    batch = scenes(400, 3)
    number, n = batch["n_sources"], 400
    random = np.random.default_rng(4)
    probability = np.full((n, 4), 0.1)
    probability[np.arange(n), number] = 0.7
    zero = np.zeros(n)
    places = batch["positions"] + random.normal(size=(n, 2, 2))
    counts = Counts(probability, zero, zero, places, np.ones((n, 2, 2)), batch["flux"] + 99, np.ones((n, 2, 1)))
    top, right = probability.max(axis=1), np.ones(n, bool)
    found = measured([batch], [counts], number, top, right)
    shares = [row["coverage"] for row in found["coverage_positions"]]
    assert shares == pytest.approx([0.68, 0.95], abs=0.05)
    assert found["coverage_positions"][0]["n"] == 2 * number.sum()
    assert all(row["coverage"] == 0 for row in found["coverage_flux"])
    apart = np.hypot(14, 13)
    (row,) = (row for row in found["by_measured_separation"] if row["n"])
    # By what the model measures: where it says two.
    assert row["n"] == (number == 2).sum()
    assert row["low"] <= apart
    assert sum(row["n"] for row in found["by_measured_snr"]) == (number > 0).sum()
    # The brightest is said to have 699 noises of a pixel.
    assert [row["low"] for row in found["by_measured_snr"] if row["n"]] == [160]
    counts.positions[:, 1] = counts.positions[:, 0] + [3.0, 0.0]
    near = measured([batch], [counts], number, top, right)
    assert [row["high"] for row in near["by_measured_separation"] if row["n"]] == [4]
    assert near["coverage_positions"][0]["coverage"] < shares[0]
    methods = {"model": dict.fromkeys(("nll", "brier", "accuracy", "ece"), 0.1)}
    methods["model"] |= {f"{key}_error": 0.01 for key in list(methods["model"])}
    metrics = {"methods": methods, "stamps": n, "reliability": reliability(probability[:, 2], number > 1), **found}
    result, request = CountResult(metrics), SimpleNamespace(card={"name": "p"}, report=tmp_path / "r.html")
    write_report(request, result, [batch], number, probability, random.uniform(size=n))
    assert request.report.read_text().count("<img") == 2
    assert len(result.tables()) == 5


def test_a_band_that_is_absent_adds_nothing_to_the_measured_brightness():
    batch, n = scenes(50, 5), 50
    absent = np.full_like(batch["variance"], np.inf)
    batch["variance"] = np.concatenate([batch["variance"], absent], axis=-1)
    probability, zero = np.eye(4)[batch["n_sources"]], np.zeros(50)
    flux = np.concatenate([batch["flux"], np.zeros_like(batch["flux"])], axis=-1)
    batch["flux"], error = flux, np.broadcast_to([1.0, np.inf], flux.shape)
    counts = Counts(probability, zero, zero, batch["positions"], np.ones((n, 2, 2)), flux, error)
    found = measured([batch], [counts], batch["n_sources"], probability.max(axis=1), np.ones(n, bool))
    assert [row["low"] for row in found["by_measured_snr"] if row["n"]] == [160]
