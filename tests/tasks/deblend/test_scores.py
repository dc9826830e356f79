import dataclasses
import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from galzoo.contracts.deblended import Deblended
from galzoo.errors import InputError
from galzoo.evaluate.report import markdown_table
from galzoo.tasks.deblend import scores
from galzoo.tasks.deblend.alignment import AtDetections
from galzoo.tasks.deblend.deblenders import SEP, Aperture, Oracle
from galzoo.tasks.deblend.score_summary import psf_edges, summarise
from galzoo.tasks.deblend.score_tables import result_tables
from galzoo.tasks.deblend.scores import evaluate_deblending, example_rows, measure_scenes, parents
from tests.scenes import biased, make_scenes


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(18)


@pytest.fixture(scope="module")
def found(scenes, tmp_path_factory):
    methods = {"biased": biased(1.1), "noisy": biased(1.0, 0.05, error=0.05), "SEP": SEP(), "oracle": Oracle()}
    report = tmp_path_factory.mktemp("deblending") / "report.html"
    results = evaluate_deblending(methods, {"pairs": scenes}, batch_size=7, report=report, draws=20)
    return results, report


def test_a_bias_is_reported_as_what_it_is(found):
    methods = found[0]["sets"]["pairs"]["methods"]
    flux = methods["biased"]["flux"]
    assert flux["all"]["median"] == pytest.approx(0.1, abs=1e-5)
    assert flux["all"]["scatter"] == pytest.approx(0, abs=1e-5)
    for part in (flux["blended"], flux["isolated"], *flux["bands"].values(), methods["biased"]["conservation"]):
        assert part["median"] == pytest.approx(0.1, abs=1e-5)
    assert methods["biased"]["magnitude"]["all"]["median"] == pytest.approx(-2.5 * np.log10(1.1), abs=1e-4)
    assert methods["biased"]["colour"]["g - i"]["scatter"] == pytest.approx(0, abs=1e-4)
    assert methods["biased"]["ellipticity"]["all"]["scatter"] == pytest.approx(0, abs=1e-5)
    # A tenth of the sum is left in the residual.
    assert methods["biased"]["chi2"]["median"] > 1.2
    assert methods["oracle"]["chi2"]["median"] == pytest.approx(1, abs=0.03)


def test_scatter_pulls_and_coverage_of_known_noise(found):
    noisy = found[0]["sets"]["pairs"]["methods"]["noisy"]
    assert noisy["flux"]["all"]["scatter"] == pytest.approx(0.05, abs=0.02)
    assert noisy["flux"]["all"]["n"] == 36
    assert noisy["flux"]["all"]["scatter_error"] > 0
    pulls = noisy["pulls"]["flux_error"]
    assert pulls["scatter"] == pytest.approx(1, abs=0.25)
    assert pulls["0.68"] == pytest.approx(0.68, abs=0.15)
    assert pulls["0.95"] > pulls["0.68"]
    assert "pulls" not in found[0]["sets"]["pairs"]["methods"]["biased"]


def test_detection_is_scored_where_a_method_finds_sources(found):
    methods = found[0]["sets"]["pairs"]["methods"]
    sep = methods["SEP"]
    assert 0.4 < sep["found"]["all"]["share"] < 1
    assert sep["flux"]["all"]["n"] == round(36 * sep["found"]["all"]["share"])
    assert sep["purity"]["all"]["share"] > 0.9
    rows = sep["found"]["blendedness"]
    assert rows[0]["share"] > rows[-1]["share"]
    assert sum(row["n"] for row in rows) == 36
    assert methods["oracle"]["found"]["all"]["share"] == 1
    assert "purity" not in methods["oracle"]


def test_results_are_json_and_tables_name_every_method(found):
    results, _ = found
    json.dumps(results, allow_nan=False)
    tables = result_tables(results)
    assert [row["method"] for row in tables["Flux in i, relative to the truth"]] == ["biased", "noisy", "SEP", "oracle"]
    assert [row["method"] for row in tables["Detection"]] == ["SEP"]
    assert "0.1" in markdown_table(tables["Flux in i, relative to the truth"])
    assert results["sets"]["pairs"]["sources"] == 36


def test_report_holds_pictures_and_needs_no_network(found):
    text = found[1].read_text(encoding="utf-8")
    assert text.count("data:image/png;base64") == 5
    assert "://" not in text


def test_several_sets_are_compared(scenes, tmp_path):
    sharp, blurred = scenes[:4], scenes[4:8]
    for one, width in ((sharp, 0.6), (blurred, 1.1)):
        one.catalogue["psf_fwhm_i"] = np.full(4, width)
    results = evaluate_deblending(
        {"biased": biased(1.2)}, {"0.6": sharp, "1.1": blurred}, report=tmp_path / "report.html", draws=5
    )
    rows = result_tables(results)["Scatter of the i flux, relative, on every set"]
    assert rows[0] == {"method": "PSF FWHM, arcsec", "0.6": 0.6, "1.1": 1.1}
    assert rows[1]["method"] == "biased"
    assert any(title.startswith("1.1: flux in i") for title in result_tables(results))


def test_a_deblender_at_the_detections_of_another_is_scored_on_what_was_found(scenes):
    given = evaluate_deblending({"found": AtDetections(Aperture(), SEP()), "SEP": SEP()}, {"a": scenes[:6]}, draws=5)
    methods = given["sets"]["a"]["methods"]
    assert methods["found"]["found"]["all"]["share"] == methods["SEP"]["found"]["all"]["share"]


def test_psf_bins_only_where_psfs_differ():
    assert psf_edges(np.array([0.7, 0.71, np.nan])) is None
    assert psf_edges(np.full(3, np.nan)) is None
    np.testing.assert_allclose(psf_edges(np.linspace(0.6, 1.2, 31)), [0.6, 0.8, 1.0, np.inf])


def test_examples_are_blended_scenes(scenes):
    rows = example_rows(scenes, 1, 4)
    counts = scenes.positions()[1]
    assert len(rows) == 4
    assert all(counts[row] > 1 for row in rows)


def test_what_cannot_be_scored_is_refused(scenes):
    one = {"biased": biased(1.0)}
    with pytest.raises(InputError, match="at least one"):
        evaluate_deblending({}, {"a": scenes})
    with pytest.raises(InputError, match="isolated"):
        evaluate_deblending(one, {"a": dataclasses.replace(scenes[:2], isolated=None)})
    with pytest.raises(InputError, match="choose from g, i"):
        evaluate_deblending(one, {"a": scenes}, reference_band="z")
    with pytest.raises(InputError, match="none of the deblenders"):
        evaluate_deblending(one, {"a": scenes}, model="other")
    with pytest.raises(InputError, match="no scene"):
        evaluate_deblending(one, {"a": scenes[:0]})


def test_errors_grow_where_sources_are_of_few_galaxies(scenes):
    """Of three galaxies, drawn again and again, each is always wrong by as much."""
    three = dataclasses.replace(scenes, sources=scenes.sources.copy())
    which = np.add(*(np.asarray(three.sources[name]) for name in ("scene", "source"))) % 3
    three.sources["parent"] = np.array(["a", "b", "c"])[which]

    def deblend(batch):
        answer = biased(1.0)(batch)
        number = (batch["index"][:, None] + np.arange(answer.flux.shape[1])) % 3
        answer.flux[...] *= 1 + 0.1 * number[..., None]
        return answer

    error = {}
    for name, one in (("alone", scenes), ("parents", three)):
        part = evaluate_deblending({"method": deblend}, {"pairs": one}, draws=200)["sets"]["pairs"]["methods"]["method"]
        error[name] = part["flux"]["all"]
    assert error["alone"]["median"] == error["parents"]["median"] == pytest.approx(0.1, abs=1e-4)
    # The median of three draws of 0, 0.1 and 0.2.
    assert error["parents"]["median_error"] == pytest.approx(0.1 * np.sqrt(14 / 27), rel=0.25)
    assert error["parents"]["median_error"] > 1.3 * error["alone"]["median_error"]


def test_a_source_of_no_galaxy_is_one_of_its_own(scenes):
    named = dataclasses.replace(scenes, sources=scenes.sources.copy())
    assert parents(scenes) == {}
    names = np.array([""] * len(named.sources), "U3")
    names[[0, 5]] = "m31"
    named.sources["parent"] = names
    number = parents(named)["parent"]
    scene, source = (np.asarray(named.sources[name]) for name in ("scene", "source"))
    assert number[scene[0], source[0]] == number[scene[5], source[5]]
    assert len(np.unique(number[scene, source])) == len(names) - 1
    assert (number == -1).sum() == number.size - len(names)


class Blurring:
    """Gives sources smoothed by a pixel; finds one of the first scene, and of each other both and one that is none."""

    def answer(self, batch):
        truth = batch["isolated"].astype(float)
        smooth = gaussian_filter(truth, (0, 0, 1, 1, 0), truncate=8)
        total = truth.sum(axis=(2, 3))
        return smooth, total, np.concatenate([[total + 300, total - 300], np.full((8, *total.shape), total)])

    def __call__(self, batch):
        image, flux, samples = self.answer(batch)
        present = np.ones(flux.shape[:2], bool)
        return Deblended(
            image, flux * [1.3, 1.1], batch["positions"], present, flux_error=0 * flux + 1e-3, samples=samples
        )

    def find(self, batch):
        found = self(batch)
        n, sources = found.present.shape
        found.present[0, 1] = False
        positions = np.concatenate([found.positions, np.zeros((n, 1, 2))], axis=1)
        present = np.concatenate([found.present, [[False], *[[True]] * (n - 1)]], axis=1)
        grown = {key: np.concatenate([getattr(found, key)] * 2, axis=1)[:, : sources + 1] for key in ("image", "flux")}
        return Deblended(positions=positions, present=present, **grown)


def test_each_measure_is_of_what_it_is_called(monkeypatch):
    """A Gaussian smoothed by a pixel has a square pixel more along each axis, so it is larger and rounder."""
    three = make_scenes(3, apart=7.0, size=64)
    three.mask[:, 0, 0] = True
    three.image[:, 0, 0] = 1e6
    three.catalogue["psf_fwhm_i"] = [0.7, 0.8, 0.9]
    clock = iter(range(1000))
    monkeypatch.setattr(scores.time, "perf_counter", lambda: float(next(clock)))
    method = Blurring()
    made = measure_scenes({"given": method.__call__, "found": method}, three, 1, batch_size=3)
    truth, found = made.truth, made.methods["given"]
    np.testing.assert_allclose(truth["separation"], 7 * 0.2, rtol=1e-6)
    flux = np.asarray(three.sources["flux_i"]).reshape(3, 2)
    np.testing.assert_allclose(truth["magnitude"], 31.4 - 2.5 * np.log10(flux), rtol=1e-6)
    np.testing.assert_array_equal(truth["fwhm"], [0.7, 0.8, 0.9])
    a2, b2 = 4 * (1 + truth["e1"]), 4 * (1 - truth["e1"])
    np.testing.assert_allclose(truth["sigma"], (a2 * b2) ** 0.25, rtol=2e-3)
    np.testing.assert_allclose(found["size"], ((a2 + 1) * (b2 + 1) / (a2 * b2)) ** 0.25 - 1, atol=2e-3)
    np.testing.assert_allclose(found["e1"], (a2 - b2) / (a2 + b2 + 2) - truth["e1"], atol=2e-3)
    np.testing.assert_array_equal(found["shape_failed"], 0)
    np.testing.assert_allclose(found["conservation"], 0.1, rtol=1e-4)
    # Far from 1e6^2 over the number of pixels.
    assert found["chi2"].max() < 20
    # The truth is within the draws, though not within the error.
    np.testing.assert_array_equal(found["flux_error_0.68"], 1)
    np.testing.assert_array_equal(made.methods["found"]["detections"], [1, 3, 3])
    np.testing.assert_array_equal(made.methods["found"]["matched"], [1, 2, 2])
    assert made.seconds["given"].tolist() == [pytest.approx(1 / 3)]


def test_what_failed_is_counted():
    """Where a source is given no light no shape is measured."""
    three = make_scenes(3, apart=16.0)

    def deblend(batch):
        answer = biased(1.0)(batch)
        answer.image[:, 1] = 0
        return answer

    found = measure_scenes({"dark": deblend}, three, 1, batch_size=2).methods["dark"]
    np.testing.assert_array_equal(found["shape_failed"], [[0, 1]] * 3)


def test_likeness_is_that_of_the_reference_band():
    """A method that is right there and wrong by a factor of two in the other band."""
    three = make_scenes(3, apart=16.0)

    def deblend(batch):
        answer = biased(1.0)(batch)
        answer.image[..., 0] *= 2
        return answer

    for band, right in ((1, True), (0, False)):
        found = measure_scenes({"some": deblend}, three, band, batch_size=2).methods["some"]
        assert (found["ssim"] > 0.999).all() == right


def test_sources_without_light_and_images_without_a_flux_scale():
    three = make_scenes(3, apart=16.0)
    three.isolated[:, 1, ..., 1] = 0
    truth = measure_scenes({"some": biased(1.0)}, three, 1, batch_size=3).truth
    np.testing.assert_array_equal(truth["present"], [[True, False]] * 3)
    np.testing.assert_array_equal(np.isfinite(truth["magnitude"]), truth["present"])
    truth = measure_scenes({"some": biased(1.0)}, dataclasses.replace(three, unit=""), 1, batch_size=3).truth
    assert np.isnan(truth["magnitude"]).all()


def test_examples_go_from_little_to_much_blended():
    near, far = make_scenes(2, apart=2.0), make_scenes(2, apart=14.0)
    both = dataclasses.replace(near, isolated=np.concatenate([near.isolated, far.isolated[:, ::-1]])[[0, 2]])
    assert example_rows(both, 1, 2) == [1, 0]


def measured():
    """Return values and truth of four scenes of two sources in two bands, the errors 0, 0.1, ..., 0.7 in the second."""
    flux = np.full((4, 2, 2), 100.0)
    made = flux * (1 + np.stack([np.full(8, 0.5), np.arange(8) / 10], axis=-1).reshape(4, 2, 2))
    separation = np.array([[0.2, 0.7], [1.2, 1.7], [2.5, 3.5], [9.0, np.nan]])
    truth = {
        "flux": flux, "present": np.ones((4, 2), bool), "magnitude": np.full((4, 2), 22.5), "separation": separation,
        "blendedness": np.array([[0.4, 0.0], [0.01, 0.0], [0.2, 0.2], [0.6, 0.02]]), "fwhm": np.full(4, 0.7),
    }  # fmt: skip
    values = {
        "flux": made, "chi2": np.array([1.0, 2.0, 10.0, 2.0]), "conservation": np.zeros(4),
        "detections": np.array([3.0, 1.0, 0.0, 0.0]), "matched": np.array([2.0, 1.0, 0.0, 0.0]),
    }  # fmt: skip
    values |= {key: np.zeros((4, 2)) for key in ("e1", "e2", "size", "shape_failed", "psnr", "ssim")}
    return values | {"found": np.ones((4, 2)), "e2": np.ones((4, 2))}, truth


def test_summaries_are_of_the_right_sources():
    values, truth = measured()
    found = summarise(values, truth, np.array([1.0, 2.0, 9.0]), ("g", "i"), 1, draws=5)
    assert [row["median"] for row in found["flux"]["separation"]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.55])
    assert found["flux"]["all"]["median"] == pytest.approx(0.35)
    # Errors of blended sources are 0 and 0.6, of isolated ones 0.1, 0.2, 0.3 and 0.7.
    assert found["flux"]["blended"]["median"] == pytest.approx(0.3)
    assert found["flux"]["isolated"]["median"] == pytest.approx(0.25)
    assert [found["flux"]["bands"][band]["median"] for band in "gi"] == pytest.approx([0.5, 0.35])
    assert [row["n"] for row in found["flux"]["magnitude"]] == [0, 0, 8, 0, 0, 0]
    assert found["magnitude"]["all"]["median"] == pytest.approx(-2.5 * np.log10(np.sqrt(1.3 * 1.4)), abs=1e-3)
    assert found["colour"]["g - i"]["median"] == pytest.approx(
        np.median(-2.5 * np.log10(1.5 / (1 + np.arange(8) / 10)))
    )
    # Half of the values are e1, which are right, half e2, off by 1.
    assert found["ellipticity"]["all"]["median"] == 0.5
    assert found["chi2"]["median"] == 2
    assert found["seconds"] == 2
    purity = found["purity"]
    assert purity["all"] == {"n": 4, "share": 0.75, "share_error": pytest.approx(purity["all"]["share_error"])}
    # The scene of three detections has a source of blendedness 0.4, that of one has none above 0.01.
    rows = [(row["n"], row["share"]) for row in purity["blendedness"]]
    assert rows == [(1, 1.0), (0, None), (0, None), (3, pytest.approx(2 / 3)), (0, None)]
