"""The suite "pairs": scores that are what they should be, for separations that are known."""

import numpy as np
import pytest

from galzoo.contracts.deblended import Deblended
from galzoo.errors import InputError
from galzoo.metrics.diversity import draw_diversity
from galzoo.models.branched_gan.mix import MixGalaxies, repeatably
from galzoo.tasks.deblend import pairs_scores
from galzoo.tasks.deblend.pairs_figures import draw_batch, result_tables
from galzoo.tasks.deblend.pairs_scores import evaluate_pairs, sep_split, separations
from tests.conftest import make_stamps


class Truthful:
    """A fake that knows the answer, in the wrong order and with a share of the truth as error."""

    noise_channels = 1
    output_kind = "flux"
    bands, permutation, noise_channels = ("r",), "invariant", 1

    def __init__(self, error=0.0):
        self.error = error
        self.mixer = MixGalaxies(blend="add", perturbation="exact", offset=(0.15, 0.25))
        self.known = {}

    def blends(self, batch, seed=0):
        made = {key: np.asarray(value) for key, value in repeatably(self.mixer, batch, seed).items()}
        for image, isolated in zip(made["image"], made["isolated"], strict=True):
            self.known[image.tobytes()] = isolated
        return made

    def _answer(self, batch):
        return np.stack([self.known[image.tobytes()] for image in batch["image"]])[:, ::-1] * (1 + self.error)

    def deblend(self, batch, threshold=5.0):
        image = self._answer(batch)
        flux = image.sum(axis=(2, 3))
        return Deblended(image, flux, np.zeros((*flux.shape[:2], 2)), np.ones(flux.shape[:2], bool))

    def draws(self, batch, number, seed=0):
        answer = self._answer(batch)
        return answer + np.random.default_rng(seed).normal(size=(number, *answer.shape))

    def __call__(self, batch):
        return {"isolated": self._answer(batch)}


def test_a_truthful_model_wins_and_its_error_is_found(tmp_path):
    stamps = make_stamps(n=30, size=32)
    results = evaluate_pairs(Truthful(0.02), stamps, batch_size=16, report=tmp_path / "report.html")
    assert results["pairs"] == 30
    assert results["flux"]["model"]["median"] == pytest.approx(0.02, abs=1e-4)
    assert results["flux"]["model"]["scatter"] == pytest.approx(0, abs=1e-4)
    assert results["flux"]["blend"]["median"] > 0.3
    scores = {name: part["first"]["psnr"]["all"]["value"] for name, part in results["scores"].items()}
    assert scores["model"] > scores["sep"] > scores["blend"]
    assert results["gain"]["psnr"]["value"] > 10
    assert results["gain"]["ssim"]["value"] > 0
    assert 0.5 < results["sep_split"]["value"] < 1
    tables = result_tables(results)
    assert tables["Summary"][0]["blends"] == 30
    assert len(next(iter(tables.values()))) == 8
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 2
    again = evaluate_pairs(Truthful(0.02), stamps, batch_size=16)
    assert again == results


def test_errors_are_of_galaxies_and_not_of_their_stamps():
    """Stamps of one galaxy alone say nothing of how galaxies scatter, however many they are."""
    stamps = make_stamps(n=12, size=32)
    stamps.catalogue["id"] = np.full(12, "the same")
    results = evaluate_pairs(Truthful(0.1), stamps)
    assert results["scores"]["model"]["first"]["psnr"]["all"]["value"] > 10
    found = [results["scores"]["sep"]["other"]["ssim"]["all"], results["gain"]["psnr"], results["sep_split"]]
    assert [one["value_error"] for one in found] == [None, None, None]
    assert results["flux"]["model"]["median_error"] is None


def test_psnr_is_that_of_the_error():
    """A constant error of a share of the truth has the PSNR that follows from it."""
    stamps = make_stamps(n=6, size=32)
    model = Truthful(0.1)
    results = evaluate_pairs(model, stamps)
    expected = []
    for isolated in model.known.values():
        peak = isolated.sum(axis=0).max()
        expected.append(10 * np.log10(peak**2 / np.mean((0.1 * isolated[0]) ** 2)))
    found = results["scores"]["model"]["first"]["psnr"]["all"]["value"]
    assert found == pytest.approx(np.mean(expected), abs=1e-3)


def test_sep_splits_two_galaxies_and_keeps_one_together():
    y, x = np.indices((40, 40))

    def blob(at_x, at_y):
        return 100 * np.exp(-0.5 * ((x - at_x) ** 2 + (y - at_y) ** 2) / 4)

    random = np.random.default_rng(0)
    image = np.stack([blob(10, 20) + blob(30, 20), blob(20, 20) + blob(20, 21)])[..., None]
    image = image + random.normal(size=image.shape)
    positions = np.array([[[10, 20], [30, 20]], [[20, 20], [20, 21]]], float)
    made, split = sep_split(image, np.ones_like(image), positions, np.array([2, 2]))
    np.testing.assert_array_equal(split, [True, False])
    assert made[0, 0, 20, 10, 0] == pytest.approx(image[0, 20, 10, 0])
    assert abs(made[0, 0, 20, 30, 0]) < 5
    np.testing.assert_array_equal(made[1, 0], made[1, 1])


def test_separations():
    positions = np.array([[[0, 0], [3, 4], [0, 0]], [[0, 0], [30, 40], [6, 8]]], float)
    np.testing.assert_allclose(separations(positions, np.array([2, 3])), [5, 10])


def test_diversity_is_one_for_the_posterior_and_zero_for_one_answer():
    random = np.random.default_rng(0)
    truth = random.normal(size=(400, 50))
    posterior = random.normal(size=(8, 400, 50))
    assert np.mean(draw_diversity(posterior, truth)) == pytest.approx(1, abs=0.02)
    assert np.mean(draw_diversity(0.5 * posterior, truth)) == pytest.approx(np.sqrt(0.5 / 1.25), abs=0.02)
    np.testing.assert_array_equal(draw_diversity(np.zeros((4, 400, 50)), truth), 0)
    assert np.isnan(draw_diversity(np.ones((3, 1, 2)), np.ones((1, 2)))).all()
    with pytest.raises(InputError, match="at least 2"):
        draw_diversity(posterior[:1], truth)
    with pytest.raises(InputError, match="shape"):
        draw_diversity(posterior, truth[:3])


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InputError, match="no pair"):
        evaluate_pairs(Truthful(), make_stamps(n=1))


def test_the_suite_of_a_run(tmp_path):
    """From a run's folder to numbers, tables and a report."""
    from galzoo.files import write_json
    from galzoo.models.branched_gan.model import BranchedGAN
    from galzoo.recipe import load_recipe

    run = tmp_path / "run"
    run.mkdir()
    make_stamps(n=60, size=24).save(tmp_path / "stamps.h5")
    recipe = load_recipe("branched_gan", "smoke", [f"data.path={tmp_path / 'stamps.h5'}"]).resolved()
    write_json(run / "recipe.json", recipe)
    BranchedGAN.tiny(noise_channels=1).save(run / "model.keras")
    from galzoo.evaluate.run import evaluate

    lines = evaluate(run, data=tmp_path / "stamps.h5", output=tmp_path / "out", limit=8)
    assert "PSNR" in lines[0]
    for name in ("metrics.json", "tables.md", "report.html"):
        assert (tmp_path / "out" / name).is_file()
    with pytest.raises(InputError, match="--real"):
        evaluate(run, data=tmp_path / "stamps.h5", real=["x.h5"], output=tmp_path / "out")


def test_the_picture_of_a_training(tmp_path):
    from galzoo.data.batches import stamps_batch

    draw_batch(Truthful(), stamps_batch(make_stamps(n=3), slice(None)), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


class Watched(Truthful):
    """Keeps what it was asked with."""

    def __init__(self, error=0.0, permutation="invariant"):
        super().__init__(error)
        self.permutation, self.seeds, self.thresholds, self.draw_seeds = permutation, [], [], []

    def blends(self, batch, seed=0):
        self.seeds.append(seed)
        return super().blends(batch, seed)

    def deblend(self, batch, threshold=5.0):
        self.thresholds.append(threshold)
        return super().deblend(batch, threshold)

    def draws(self, batch, number, seed=0):
        self.draw_seeds.append((number, seed))
        return super().draws(batch, number, seed)


def test_batches_have_seeds_of_their_own_and_every_source_is_asked_for():
    model, stamps = Watched(0.01), make_stamps(n=5, size=24)
    results = evaluate_pairs(model, stamps, batch_size=2, seed=7)
    assert model.seeds == [7, 8, 9]
    assert set(model.thresholds) == {0.0}
    assert set(model.draw_seeds) == {(8, 7)}
    assert [row["low"] for row in results["scores"]["model"]["first"]["psnr"]["bins"]] == pytest.approx(
        [0, 2.4, 3.6, 4.8, 6]
    )
    # Half of the light is half of the flux.
    flux = results["flux"]
    assert flux["half"]["median"] + 1 == pytest.approx((flux["blend"]["median"] + 1) / 2)


def test_blends_of_one_galaxy_are_no_pairs():
    class Sparse(Watched):
        def blends(self, batch, seed=0):
            made = super().blends(batch, seed)
            return made | {"n_sources": np.where(np.arange(len(made["n_sources"])) < 2, 1, made["n_sources"])}

    assert evaluate_pairs(Sparse(0.01), make_stamps(n=5, size=24))["pairs"] == 3


def test_an_order_of_the_models_own_is_kept():
    """The fake's answers are in the wrong order, which is mended for a model without one."""
    stamps = make_stamps(n=5, size=24)
    kept, mended = (evaluate_pairs(Watched(0.01, order), stamps)["flux"]["model"] for order in ("fixed", "invariant"))
    assert mended["scatter"] == pytest.approx(0, abs=1e-4)
    assert kept["scatter"] > 0.1


def test_pictures_are_scored_on_their_white():
    stamps = make_stamps(n=6, size=32)
    stamps.unit = ""
    model = Watched(0.1)
    results = evaluate_pairs(model, stamps)
    assert "flux" not in results
    for name, column in (("first", 0), ("other", 1)):
        error = [np.mean((0.1 * isolated[column]) ** 2) for isolated in model.known.values()]
        found = results["scores"]["model"][name]["psnr"]["all"]["value"]
        assert found == pytest.approx(np.mean(10 * np.log10(255**2 / np.array(error))), abs=1e-3)


def test_the_gain_is_over_the_best_other_method_of_each_galaxy():
    one = {"model": [[30.0, 20.0]], "blend": [[10.0, 18.0]], "sep": [[25.0, 5.0]]}
    scores = {name: {"psnr": np.array(value), "ssim": np.array(value)} for name, value in one.items()}
    gain = pairs_scores._gains(scores, {"seed": 0, "groups": np.zeros(1)})
    # 30 over 25 and 20 over 18.
    assert gain["psnr"]["value"] == gain["ssim"]["value"] == 3.5


def test_pixels_of_other_segments_have_the_median_of_the_sky(monkeypatch):
    """On noise of one side, whose median is ln 2 of its mean; and detection starts from the noise as it scatters."""
    y, x = np.indices((64, 64))
    image = np.random.default_rng(0).exponential(size=(1, 64, 64, 1))
    image[0, ..., 0] += sum(300 * np.exp(-0.5 * ((x - at) ** 2 + (y - 32) ** 2) / 4) for at in (16, 48))
    positions = np.array([[[16, 32], [48, 32]]], float)
    made, split = sep_split(image, np.ones_like(image), positions, np.array([2]))
    assert split.tolist() == [True]
    assert made[0, 0, 32, 48, 0] == pytest.approx(np.log(2), abs=0.05)
    # One galaxy and no segment is not one of its own.
    nothing = np.zeros((1, 16, 16, 1))
    assert sep_split(nothing, nothing + 1, positions[:, :1] / 4, np.array([1]))[1].tolist() == [False]
    seen, extract = [], pairs_scores.extract
    monkeypatch.setattr(
        pairs_scores, "extract", lambda stack, threshold, error: seen.append(error) or extract(stack, threshold, error)
    )
    noise = np.random.default_rng(1).normal(size=(1, 64, 64, 1))
    sep_split(noise, np.ones_like(noise), positions, np.array([2]))
    assert seen[0] == pytest.approx(1, abs=0.05)
