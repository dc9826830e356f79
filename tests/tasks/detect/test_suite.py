"""The suite "detect": the truth scores 1, chance does not, and both are put beside each other at one false rate."""

import json

import numpy as np
import pytest

from galzoo.contracts.detections import Detections, Detector
from galzoo.contracts.suites import Request
from galzoo.data.scenes import Scenes
from galzoo.errors import InputError
from galzoo.files import plain
from galzoo.tasks.detect import suite
from galzoo.tasks.detect.classical import ClassicalDetector, SecondLook
from galzoo.tasks.detect.residual_report import write_residual_report
from galzoo.tasks.detect.residual_scores import SECOND, evaluate_residual
from galzoo.tasks.detect.residual_suite import ResidualResult
from galzoo.tasks.detect.scores import evaluate_detection
from galzoo.tasks.detect.suite import CLASSICAL, DetectResult, run
from galzoo.tasks.detect.suite_report import completeness_figure
from galzoo.tasks.detect.truth import scene_truths
from tests.field.fields import least_squares
from tests.scenes import BANDS, make_scenes


class Knowing:
    """Knows the true sources, in the order of the scenes that it is shown, and adds `false` ones a scene."""

    bands, pixel_scale, classes = BANDS, 0.2, ("galaxy", "star")

    def __init__(self, scenes, false=0, miss=0):
        self.truth, self.false, self.miss, self.at = scene_truths(scenes, 1), false, miss, 0
        self.side = scenes.shape[1]

    def detect(self, batch, threshold=0.0):
        truths = self.truth[self.at : self.at + len(batch["image"])]
        self.at = (self.at + len(batch["image"])) % len(self.truth)
        n, most = len(truths), 20
        positions, boxes = np.zeros((n, most, 2)), np.zeros((n, most, 4))
        probability, masks = np.zeros((n, most)), np.zeros((n, most, 28, 28))
        for row, truth in enumerate(truths):
            kept = np.flatnonzero(truth.wanted)[self.miss :]
            k = len(kept)
            positions[row, :k], boxes[row, :k], probability[row, :k] = truth.positions[kept], truth.boxes[kept], 0.9
            for place, source in enumerate(kept):
                mask = np.zeros(self.side**2)
                mask[truth.pixels[source]] = 1
                x0, y0, x1, y1 = (truth.boxes[source] + 0.5).astype(int)
                part = mask.reshape(self.side, self.side)[y0:y1, x0:x1]
                steps = [(np.arange(28) * size) // 28 for size in part.shape]
                masks[row, place] = part[np.ix_(*steps)]
            for place in range(k, k + self.false):
                positions[row, place] = 2 + 3 * (place - k), 2
                boxes[row, place], probability[row, place] = [0, 0, 4, 4], 0.8 - 0.01 * place
        classes = np.stack([np.ones_like(probability), np.zeros_like(probability)], axis=-1)
        return Detections(positions, probability, boxes, classes, masks=masks)


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(8)


def test_the_truth_scores_one(scenes):
    assert isinstance(Knowing(scenes), Detector)
    result = evaluate_detection({"true": Knowing(scenes), "false": Knowing(scenes, false=4)}, scenes, "true", 3)
    one, other = result["methods"]["true"], result["methods"]["false"]
    assert result["false_rate"] == 0
    assert one["ap"]["galaxy"]["box_ap"] == pytest.approx(1)
    assert one["ap"]["all"]["mask_ap50"] > 0.95
    assert one["completeness"] == one["purity"] == 1
    # The false ones are less probable, so that a threshold leaves them out.
    assert other["threshold"] == 0.9
    assert other["completeness"] == 1
    assert "star" not in one["ap"]
    for quantity in ("magnitude", "blendedness", "separation"):
        assert all(row["share"] == 1 for row in one[f"by_{quantity}"])


def test_what_is_missed_counts(scenes):
    result = evaluate_detection({"some": Knowing(scenes, miss=1)}, scenes, "some", rate=1.0)
    one = result["methods"]["some"]
    wanted = [truth.wanted.sum() for truth in scene_truths(scenes, 1)]
    assert one["completeness"] == pytest.approx(1 - np.sum(np.minimum(wanted, 1)) / np.sum(wanted))
    assert one["outcomes"]["recognised"] + one["outcomes"]["unrecognised"] == pytest.approx(one["completeness"])
    assert one["outcomes"]["merged"] > 0


def test_faint_sources_are_neither_wanted_nor_wrong(scenes):
    faint = scenes[np.arange(len(scenes))]
    faint.isolated[:, 0] *= 1e-3
    truth = scene_truths(faint, 1)
    assert not any(one.wanted[0] for one in truth)
    result = evaluate_detection({"all": Knowing(scenes)}, faint, "all")
    assert result["methods"]["all"]["purity"] == 1
    assert result["sources"] == sum(one.wanted.sum() for one in truth)


def test_truth_of_cutouts_is_that_of_isolated_images(scenes):
    cutouts, columns = [], {"cutout_x": [], "cutout_y": []}
    for row, source in zip(scenes.sources["scene"], scenes.sources["source"], strict=True):
        cutouts.append(scenes.isolated[row, source, 5:41, 3:45])
        columns["cutout_x"].append(3)
        columns["cutout_y"].append(5)
    table = scenes.sources.copy()
    for name, values in columns.items():
        table[name] = values
    other = Scenes(
        scenes.image, scenes.bands, 0.2, variance=scenes.variance, psf=scenes.psf, cutouts=cutouts, sources=table
    )
    for one, two in zip(scene_truths(scenes, 1), scene_truths(other, 1), strict=True):
        np.testing.assert_allclose(one.boxes, two.boxes)
        for pixels, same in zip(one.pixels, two.pixels, strict=True):
            np.testing.assert_array_equal(pixels, same)


def test_signal_to_noise_of_a_list_or_of_the_pixels(scenes):
    table = scenes.sources.copy()
    table["snr_i"] = np.linspace(1, 9, len(table))
    bare = Scenes(scenes.image, scenes.bands, 0.2, variance=scenes.variance, psf=scenes.psf, sources=table)
    # One band of two has the column, and without images that is all there is.
    listed = np.concatenate([one.snr for one in scene_truths(bare, 1)])
    np.testing.assert_allclose(listed, table["snr_i"])
    assert np.concatenate([one.wanted for one in scene_truths(bare, 1)]).sum() == (listed >= 5).sum()
    bare.isolated = scenes.isolated
    for row, one in enumerate(scene_truths(bare, 1)):
        light = np.sqrt(np.sum(scenes.isolated[row].astype(float) ** 2, axis=(1, 2, 3)))
        np.testing.assert_allclose(one.snr, light[light > 0], rtol=1e-3)


def test_baselines_and_the_result(scenes):
    detectors = {"galzoo": SecondLook(least_squares, BANDS, 0.2), CLASSICAL: ClassicalDetector(BANDS, 0.2)}
    metrics = evaluate_detection(detectors, scenes[np.arange(4)], CLASSICAL)
    metrics = json.loads(json.dumps(plain({"suite": "detect", "model": "galzoo"} | metrics)))
    result = DetectResult(metrics)
    assert result.headline()["SEP's"][0] > 0.5
    assert {"Average precision", "Completeness by magnitude"} <= set(result.tables())
    shares = metrics["methods"][CLASSICAL]["outcomes"]
    assert sum(shares[name] for name in shares if name != "n" and not name.endswith("_error")) == pytest.approx(1)


def test_the_suite_writes_a_report(scenes, tmp_path, monkeypatch):
    # A network for the second look takes a minute.
    monkeypatch.setattr(suite, "packaged_deblender", lambda bands, scale: None)
    scenes.save(tmp_path / "scenes.h5")
    card = {"name": "one", "recipe": {"data": {"path": None}, "evaluate": {"batch_size": 2}}}
    request = Request({"model": Knowing(scenes)}, card, (tmp_path / "scenes.h5",), limit=4, report=tmp_path / "r.html")
    result = run(request)
    assert result.metrics["scenes"] == 4
    assert (tmp_path / "r.html").read_text().count("<img") == 2
    with pytest.raises(InputError, match="0 scene files"):
        run(Request({"model": Knowing(scenes)}, card))


def test_a_curve_that_nobody_measured_is_not_drawn():
    rows = [{"low": 20.0, "high": 21.0, "share": 0.5, "share_error": 0.1}]
    metrics = {"band": "r", "methods": {"one": {"by_magnitude": rows, "by_blendedness": []}}}
    assert [axis.get_xlabel() for axis in completeness_figure(metrics).axes] == ["r magnitude"]
    metrics["methods"]["two"] = {"by_magnitude": rows, "by_blendedness": rows}
    assert [axis.get_xlabel() for axis in completeness_figure(metrics).axes] == ["r magnitude", "blendedness"]


def test_bad_requests(scenes):
    with pytest.raises(InputError, match="0 detectors and 8 scenes"):
        evaluate_detection({}, scenes, "a")
    bare = Scenes(scenes.image, scenes.bands, 0.2, sources=scenes.sources)
    with pytest.raises(InputError, match="no isolated images or cutouts"):
        evaluate_detection({"a": Knowing(scenes)}, bare, "a")


def test_what_the_first_pass_misses_is_found_and_drawn(scenes, tmp_path):
    some = scenes[np.arange(4)]
    detectors, views = {"true": Knowing(some), "false": Knowing(some, false=4, miss=9)}, []
    result = evaluate_residual(detectors, least_squares, some, views=views)
    assert result["missed"] > 0
    one, other = result["methods"]["true"], result["methods"]["false"]
    assert one["found_at_5"] == 1
    assert one["false"] == 0
    assert other["found_at_5"] == 0
    assert set(result["methods"]) == {"true", "false", SECOND}
    judged = ResidualResult({"suite": "residual", "model": "true"} | result)
    assert "found at 5 % false" in judged.headline()
    assert sum(len(view["missed"]) for view in views) == result["missed"]
    assert all(len(view["added"]["false"][0]) == 4 for view in views)
    write_residual_report(judged, views, BANDS, "one", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().count("<img") == 1
