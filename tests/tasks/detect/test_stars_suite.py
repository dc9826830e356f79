"""The suite "stars": the truth scores 1 and has even ranks, a wrong posterior does not; photometry is sound."""

import json

import numpy as np
import pytest

from galzoo.contracts.catalogues import Catalogues
from galzoo.contracts.detections import Detections
from galzoo.contracts.suites import Request
from galzoo.data.scenes import Scenes
from galzoo.errors import InputError
from galzoo.files import plain
from galzoo.layers.psf import gaussian_psf
from galzoo.tasks.detect import stars_scores
from galzoo.tasks.detect.psf_photometry import PSFPhotometry
from galzoo.tasks.detect.stars_scores import count_scores, draw_counts, evaluate_stars
from galzoo.tasks.detect.stars_suite import StarsResult, run
from tests.scenes import make_scenes

SIDE, SIGMA, MEAN = 48, 1.3, 12
ERROR = {"position": 0.1, "flux": 30.0}


def fields(n=12, seed=0, bands=1):
    """Return a batch of fields with a Poisson number of bright stars on a sky of unit noise."""
    random = np.random.default_rng(seed)
    count = random.poisson(MEAN, n)
    most = count.max()
    positions, flux = random.uniform(0, SIDE - 1, (n, most, 2)), random.uniform(500, 2000, (n, most, bands))
    y, x = np.indices((SIDE, SIDE))
    there = np.arange(most) < count[:, None]
    distance = (x - positions[..., :1, None]) ** 2 + (y - positions[..., 1:, None]) ** 2
    light = np.exp(-0.5 * distance / SIGMA**2) / (2 * np.pi * SIGMA**2)
    image = np.einsum("nsyx,nsb->nyxb", light, flux * there[..., None]) + random.normal(size=(n, SIDE, SIDE, bands))
    psf = np.repeat(gaussian_psf(11, SIGMA)[None, ..., None], n, axis=0)
    return {
        "image": image.astype("float32"), "variance": np.ones(image.shape, "float32"),
        "mask": np.zeros(image.shape, bool), "psf": np.repeat(psf, bands, axis=-1),
        "positions": positions, "n_sources": count, "flux": flux,
    }  # fmt: skip


class Knowing:
    """Gives the truth with errors of a known size, and counts drawn around the prior's mean times `bias`."""

    bands, pixel_scale, classes = ("r",), 0.4, ("galaxy", "star")

    def __init__(self, truth, bias=1.0, miss=0.0):
        self.truth, self.bias, self.miss, self.at = truth, bias, miss, 0

    def detect(self, batch, threshold=0.0):
        n = len(batch["image"])
        rows = slice(self.at, self.at + n)
        self.at = (self.at + n) % len(self.truth["image"])
        random = np.random.default_rng(self.at)
        shape = self.truth["positions"][rows].shape
        probability = (np.arange(shape[1]) < self.truth["n_sources"][rows, None]).astype(float)
        probability *= random.random(probability.shape) >= self.miss
        positions = self.truth["positions"][rows] + ERROR["position"] * random.normal(size=shape)
        flux = self.truth["flux"][rows] + ERROR["flux"] * random.normal(size=(*shape[:2], 1))
        return Detections(
            positions, probability, np.zeros((*shape[:2], 4)), flux=flux, flux_error=np.full_like(flux, ERROR["flux"]),
            position_error=np.full(shape, ERROR["position"]),
        )  # fmt: skip

    def posterior(self, batch, n=100, seed=0):
        random = np.random.default_rng(seed)
        count = random.poisson(self.bias * MEAN, (n, len(batch["image"])))
        positions = random.uniform(0, SIDE - 1, (*count.shape, count.max(), 2))
        return Catalogues(count, positions, np.ones((*positions.shape[:-1], 1)), (SIDE, SIDE))


def test_the_truth_scores_one_and_its_errors_are_as_said():
    truth = fields(60)
    result = evaluate_stars(Knowing(truth), [truth], photometry=0)
    assert result["methods"]["galzoo"]["f1"] > 0.99
    assert result["stars"] == truth["n_sources"].sum()
    for name in ("position", "flux r"):
        assert result["pulls"][name]["n"] > 500
        assert result["pulls"][name]["spread"] == pytest.approx(1, abs=0.1)
        assert result["pulls"][name]["median"] == pytest.approx(0, abs=0.15)
    for name, n in (("field", 60), ("region", 540)):
        counts = result["counts"][name]
        assert counts["n"] == n
        assert counts["rank_p"] > 1e-3
        assert counts["coverage"] > 0.85


def test_faults_are_seen():
    truth = fields(60)
    result = evaluate_stars(Knowing(truth, bias=1.5, miss=0.3), [truth], photometry=0)
    own = result["methods"]["galzoo"]
    assert own["recall"] == pytest.approx(0.7, abs=0.06)
    assert own["precision"] > 0.98
    assert own["f1_error"] > 0
    counts = result["counts"]["field"]
    assert counts["rank_p"] < 1e-3
    assert counts["coverage"] < 0.85
    assert counts["relative_bias"] == pytest.approx(0.5, abs=0.12)


def test_photometry_finds_bright_stars():
    truth = fields(3)
    result = evaluate_stars(Knowing(truth), [truth], photometry=20)
    assert result["methods"]["photutils"]["f1"] > 0.75
    # The first field is for the settings.
    assert result["methods"]["photutils"]["stars"] == result["methods"]["galzoo, the same fields"]["stars"]
    assert result["methods"]["photutils"]["fields"] == 2


def test_photometry_of_one_star_and_of_none():
    y, x = np.indices((31, 31))
    star = 900 * np.exp(-0.5 * ((x - 14.3) ** 2 + (y - 17.6) ** 2) / SIGMA**2) / (2 * np.pi * SIGMA**2)
    image = star[..., None] + np.random.default_rng(0).normal(size=(31, 31, 1))
    sky, psf = np.ones_like(image), gaussian_psf(11, SIGMA)[..., None]
    places, flux = PSFPhotometry(threshold=6.0)(image, sky, None, psf)
    np.testing.assert_allclose(places, [[14.3, 17.6]], atol=0.1)
    np.testing.assert_allclose(flux, 900, rtol=0.05)
    assert len(PSFPhotometry(threshold=50.0)(image - star[..., None], sky, None, psf)[1]) == 0
    places, flux = PSFPhotometry()(image, sky, np.ones(image.shape, bool), psf)
    assert len(places) == 0


def test_fields_without_stars_are_refused():
    truth = fields(2) | {"n_sources": np.zeros(2, int)}
    with pytest.raises(InputError, match="2 fields without a star"):
        evaluate_stars(Knowing(truth), [truth])


def request(model, path, trained_on=None, **options):
    data = {"path": trained_on, "name": "starfield", "options": {}, "split": {"valid": 0.2, "test": 0.4}}
    card = {"name": "knowing", "recipe": {"evaluate": {"batch_size": 4}, "data": data}}
    return Request({"model": model}, card, files=(path,), **options)


def test_suite_reads_a_file_and_writes_a_report(tmp_path):
    truth = fields(12)
    scene, source = np.nonzero(np.arange(truth["flux"].shape[1]) < truth["n_sources"][:, None])
    x, y = truth["positions"][scene, source].T
    sources = {"scene": scene, "source": source, "x": x, "y": y, "flux_r": truth["flux"][scene, source, 0]}
    planes = {key: truth[key] for key in ("image", "variance", "mask", "psf")}
    Scenes(**planes, bands=("r",), pixel_scale=0.4, sources=sources).save(tmp_path / "fields.h5")
    result = run(request(Knowing(truth), tmp_path / "fields.h5", report=tmp_path / "report.html"))
    again = StarsResult(json.loads(json.dumps(plain(result.metrics))))
    assert again.tables().keys() == result.tables().keys()
    assert again.headline()["F1"][0] > 0.95
    held_out = run(request(Knowing(truth), tmp_path / "fields.h5", trained_on=str(tmp_path / "fields.h5")))
    assert 0 < held_out.metrics["fields"] < result.metrics["fields"] == 12
    assert "photutils" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_suite_refuses_what_it_cannot_score(tmp_path):
    make_scenes(2, size=24, bands=("g",)).save(tmp_path / "other.h5")
    with pytest.raises(InputError, match="bands are g; the model needs r"):
        run(request(Knowing(fields(1)), tmp_path / "other.h5"))
    scenes = make_scenes(2, size=24, bands=("r",))
    scenes.sources.remove_column("flux_r")
    scenes.save(tmp_path / "no_flux.h5")
    with pytest.raises(InputError, match="no flux of each source"):
        run(request(Knowing(fields(1)), tmp_path / "no_flux.h5"))


def test_counts_are_scored_by_ninety_per_cent_of_the_draws():
    """Draws of 0 to 100: 90 % lie from 5 to 95; ranks of small numbers lean low."""
    drawn = np.tile(np.arange(101.0)[:, None], (1, 4))
    found = count_scores(np.array([4.0, 6.0, 94.0, 96.0]), drawn)
    assert (found["n"], found["coverage"]) == (4, 0.5)
    assert found["relative_bias"] == pytest.approx(0)
    low = count_scores(np.array([4.0, 6.0, 10.0, 20.0]), drawn)
    assert low["relative_bias"] == pytest.approx(4)
    assert low["rank_bias"] < -0.2
    assert abs(found["rank_bias"]) < 0.02
    assert found["rank_spread"] > low["rank_spread"] > 0


def test_every_batch_has_draws_of_its_own():
    seeds, truth = [], fields(2)

    class Seeded(Knowing):
        def posterior(self, batch, n=100, seed=0):
            seeds.append((n, seed))
            return super().posterior(batch, n, seed)

    draw_counts(Seeded(truth), [truth, truth, truth], seed=5)
    assert seeds == [(99, 5), (99, 6), (99, 7)]


def test_pulls_beyond_three_are_outliers():
    truth = fields(1)
    n = int(truth["n_sources"][0])
    one = {key: truth[key][0, :n] for key in ("positions", "flux")}
    off = np.zeros(n)
    off[:3] = [-2.0, 2.9, 3.1]
    found = {
        "positions": one["positions"], "position_error": np.ones((n, 2)), "flux_error": np.full((n, 1), 2.0),
        "flux": one["flux"] + 2 * off[:, None],
    }  # fmt: skip
    pulls = stars_scores._pulls([found], [one], ("r",))
    assert pulls["flux r"]["outliers"] == pytest.approx(1 / n)
    assert pulls["position"] == {"n": 2 * n, "median": 0, "spread": 0, "outliers": 0}


def test_times_and_numbers_are_of_a_field(monkeypatch):
    """Of calls of 1, 2 and 5 seconds the first may compile; two fields each are as long as half of it."""
    truth = fields(6)
    batches = [{key: value[i : i + 2] for key, value in truth.items()} for i in (0, 2, 4)]
    clock = iter(np.cumsum([0, 7, 1, 2, 1, 5, 1, 20]).tolist())
    monkeypatch.setattr(stars_scores.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(stars_scores, "_tuned", lambda field: PSFPhotometry())

    def photometry(tuned, field):
        """Every star and one that is none."""
        places, flux = np.full((1, 2), 24.0), np.ones((1, 1))
        return {"positions": np.append(field["positions"], places, 0), "flux": np.append(field["flux"], flux, 0)}

    monkeypatch.setattr(stars_scores, "_photometry", photometry)
    methods = evaluate_stars(Knowing(truth, miss=0.3), batches, photometry=4)["methods"]
    assert methods["galzoo"]["seconds"] == pytest.approx((2 / 2 + 5 / 2) / 2)
    assert methods["photutils"]["seconds"] == 20 / 4
    assert methods["galzoo"]["fields"] == 6
    # Stars within 5 pixels of the edge are not counted.
    listed = np.arange(truth["positions"].shape[1]) < truth["n_sources"][:, None]
    inner = listed & (np.abs(truth["positions"] - (SIDE - 1) / 2) < SIDE / 2 - 5).all(axis=-1)
    for name in ("photutils", "galzoo, the same fields"):
        assert methods[name]["fields"] == 4
        assert methods[name]["stars"] == inner[1:5].sum()
    assert methods["photutils"]["found"] == methods["photutils"]["stars"] + 4
    own = methods["galzoo"]
    assert own["found"] < own["stars"]
    assert own["recall"] == pytest.approx(own["found"] / own["stars"], rel=0.1)


def test_the_settings_of_the_best_score_are_taken(monkeypatch):
    truth = fields(1)
    field = next(stars_scores._fields(truth))
    good = stars_scores.SETTINGS[4]

    def photometry(settings, field):
        n = None if settings is good else 2
        return {key: field[key][:n] for key in ("positions", "flux")}

    monkeypatch.setattr(stars_scores, "_photometry", photometry)
    assert stars_scores._tuned(field) == good
