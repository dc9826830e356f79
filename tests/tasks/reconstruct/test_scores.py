import json
import types

import galsim
import numpy as np
import pytest
from astropy.table import QTable

from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.metrics.binned import bootstrap
from galzoo.metrics.reconstruction import negative_share
from galzoo.tasks.reconstruct.report import example_rows, result_tables
from galzoo.tasks.reconstruct.scores import _biases, evaluate_reconstruction, seen_planes

PSF = galsim.Moffat(beta=3.5, fwhm=3.0)
MODEL = types.SimpleNamespace(codebook_size=32)


def simulate(n, bands=("r",), size=32, seed=0):
    random = np.random.default_rng(seed)
    draw = lambda p, s: p.drawImage(nx=s, ny=s, scale=1, method="no_pixel").array  # noqa: E731
    image, truth = np.zeros((2, n, size, size, len(bands)))
    for row in range(n):
        galaxy = galsim.Exponential(half_light_radius=random.uniform(1.5, 3)).shear(g1=random.uniform(-0.3, 0.3), g2=0)
        image[row] = draw(galsim.Convolve(galaxy, PSF), size)[..., None]
        truth[row] = draw(galsim.Convolve(galaxy, galsim.Gaussian(sigma=0.7)), size)[..., None]
    snr = np.geomspace(15, 250, n)
    sigma = np.sqrt((image**2).sum(axis=(1, 2, 3))) / snr
    variance = np.broadcast_to(sigma[:, None, None, None] ** 2, image.shape)
    image = image + random.normal(size=image.shape) * np.sqrt(variance)
    psf = np.repeat(draw(PSF, 19)[None, ..., None], len(bands), axis=-1)
    psf = psf / psf.sum(axis=(1, 2), keepdims=True)
    catalogue = QTable({"snr": snr})
    return Stamps(image, bands, 0.2, variance=variance, psf=psf, truth=truth, catalogue=catalogue)


@pytest.fixture
def oracle(monkeypatch):
    """Replace the model by one that knows the truth up to a flux factor of 1.1."""
    from galzoo.tasks.reconstruct import run as reconstruct

    def known(model, stamps, batch_size=64, progress=False, refine_steps=30):
        deconvolved = 1.1 * (stamps.image if stamps.truth is None else stamps.truth)
        codes = np.random.default_rng(0).integers(0, 16, (len(stamps), 4, 4))
        return reconstruct.Reconstruction(deconvolved, deconvolved, np.full(len(stamps), 1.02), 0.7, codes)

    monkeypatch.setattr(reconstruct, "reconstruct", known)


def test_suite_scores_a_known_model(oracle, tmp_path):
    real = simulate(5, seed=9)
    real.truth = None
    report = tmp_path / "report.html"
    results = evaluate_reconstruction(MODEL, simulate(24), {"survey": real}, report=report)
    json.dumps(results, allow_nan=False)
    assert results["stamps"] == {"held-out": 16, "survey": 5, "tuning": 8}
    assert results["codebook"]["held-out"]["share_used"] == 0.5
    errors = {name: part["all"]["median"] for name, part in results["deconvolution"].items()}
    assert errors["model"] == pytest.approx(0.01, rel=1e-3)
    assert errors["model"] < errors["richardson_lucy"] < errors["none"]
    assert errors["wiener"] < errors["none"]
    assert results["deconvolution"]["none"]["all"]["ratio"] > 1
    everything = {name: methods["model"][-1] for name, methods in results["bias"].items()}
    assert everything["flux"]["median"] == pytest.approx(0.1, abs=1e-5)
    assert everything["half_light_radius"]["median"] == pytest.approx(0, abs=1e-5)
    assert everything["e1"]["n"] == 16
    # GalSim truth itself rings a little.
    assert results["negative_share"]["model"]["value"] < 0.01
    assert results["negative_share"]["none"]["value"] > 0.1
    assert results["chi2"]["survey"][-1]["n"] == 5
    assert "https:" not in report.read_text(encoding="utf-8")
    tables = result_tables(results)
    assert [row["method"] for row in tables["Flux, relative: bias and scatter"]][::2] == [
        "galzoo",
        "galzoo, codes alone",
        "Richardson-Lucy",
        "Wiener",
        "as observed",
    ]


def test_bands_are_measured_one_by_one(oracle):
    results = evaluate_reconstruction(MODEL, simulate(9, ("g", "r")), baselines=False)
    assert set(results["bias"]) == {"flux", "flux_g", "flux_r", "half_light_radius", "e1", "e2"}
    assert set(results["deconvolution"]) == {"model", "codes", "none"}
    assert result_tables(results)


def test_tuning_stamps_are_not_scored(oracle):
    stamps = simulate(12)
    results = evaluate_reconstruction(MODEL, stamps, tuning=simulate(6, seed=5))
    assert results["stamps"] == {"held-out": 12, "tuning": 6}


def test_signal_to_noise_without_a_column_is_measured():
    stamps = simulate(8)
    known = np.asarray(stamps.catalogue["snr"])
    stamps.catalogue = stamps.catalogue["id",]
    np.testing.assert_allclose(seen_planes(stamps)["snr"], known, rtol=0.25, atol=3)


def test_stamps_without_truth_are_scored_as_far_as_possible(oracle, tmp_path):
    stamps = simulate(6)
    stamps.truth = stamps.psf = stamps.psf_index = None
    results = evaluate_reconstruction(MODEL, stamps, report=tmp_path / "report.html")
    assert results["stamps"] == {"held-out": 6}
    assert not {"deconvolution", "bias"} & set(results)
    assert set(results["checkerboard"]) == {"model", "codes", "none"}
    assert len(result_tables(results)) == 3


def test_pictures_are_scored(oracle, tmp_path):
    image = np.random.default_rng(0).integers(0, 200, (6, 32, 32, 3), dtype=np.uint8)
    stamps = Stamps(image, ("r", "g", "b"), 0.396, unit="")
    results = evaluate_reconstruction(MODEL, stamps, report=tmp_path / "report.html")
    assert results["snr"] == "measured"
    assert results["chi2"]["held-out"][-1]["n"] == 6


def test_bad_sets_are_refused(oracle):
    with pytest.raises(InputError, match="few"):
        evaluate_reconstruction(MODEL, simulate(3))
    with pytest.raises(InputError, match="name"):
        evaluate_reconstruction(MODEL, simulate(6), {"held-out": simulate(2)})


def test_examples_span_the_signal_to_noise():
    snr = np.array([6.0, 7.0, 8.0, 400.0, 50.0, 2.0])
    assert example_rows(snr, 3) == [0, 4, 3]
    assert example_rows(np.array([1.0, 2.0])) == [0, 1]


def test_errors_are_by_galaxy_where_stamps_are_of_few(oracle):
    """Thirty stamps of three galaxies tell no more than three stamps of their mean."""
    few = simulate(3)
    rows = np.repeat(np.arange(3), 10)
    many = few[rows]
    many.catalogue["id"] = np.array(["a", "b", "c"])[rows]
    own = few[rows]
    own.catalogue["id"] = np.arange(30)
    found = [
        evaluate_reconstruction(MODEL, stamps, baselines=False)["negative_share"]["none"] for stamps in (many, own)
    ]
    assert found[0]["value"] == found[1]["value"]
    share = negative_share(few.image)
    by_hand = [bootstrap(share, np.mean)[1], np.std(share) / np.sqrt(3)]
    assert found[0]["value_error"] == pytest.approx(by_hand[1], rel=0.15)
    assert found[0]["value_error"] > 2.5 * found[1]["value_error"]


@pytest.mark.parametrize(("distance", "bias"), [(8, 0.2), (14, 0.0)])
def test_fluxes_are_within_three_half_light_radii_of_the_truth(distance, bias):
    """Half of a Gaussian of width 3 is within 3.5 pixels, so a point 8 pixels off is its own and one at 14 is not."""
    y, x = np.mgrid[:41, :41] - 20
    truth = np.repeat(np.exp(-(x**2 + y**2) / 18)[None, ..., None] / (18 * np.pi), 3, axis=0)
    image = truth.copy()
    image[:, 20, 20 + distance] += 0.2
    rows = _biases({"some": image}, truth, ("r",), np.full(3, 50.0), {"seed": 0, "groups": None})["flux"]["some"]
    assert rows[-1]["median"] == pytest.approx(bias, abs=0.01)
