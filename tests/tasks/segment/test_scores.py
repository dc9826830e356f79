"""The suite's numbers: perfect votes score as perfect, worse ones by as much as was spoilt."""

import numpy as np
import pytest

from galzoo.contracts.segmentation import CLASSES, Segmented
from galzoo.contracts.suites import Request
from galzoo.errors import InputError
from galzoo.simulate.morphology import MorphologySimulator, MorphologySpec
from galzoo.tasks.segment.scores import calibration_scores, pixel_scores, source_scores
from galzoo.tasks.segment.segments import find_segments
from galzoo.tasks.segment.suite import SegmentResult, run
from tests.conftest import make_stamps
from tests.tasks.segment.fakes import BANDS, Thresholds

SPEC = MorphologySpec(
    survey="GOODS", bands=BANDS, reference="F160W", stamp_size=64, psf_size=21, density=700, seed=2, isolated=False,
    magnitude_range=(19, 24), min_separation=1.2,
)  # fmt: skip


@pytest.fixture(scope="module")
def scenes():
    return MorphologySimulator(SPEC).simulate(range(5))


def perfect(scenes):
    found = []
    for label in scenes.pixel_class:
        votes = np.moveaxis(label, -1, 0).copy()
        windows = np.ones(label.shape[:2], int)
        found.append(Segmented(votes, windows, find_segments(votes[-1], windows > 0), CLASSES))
    return found


def test_perfect_votes_score_as_perfect(scenes):
    found = perfect(scenes)
    pixels = pixel_scores(found, scenes.pixel_class, CLASSES)
    assert pixels["accuracy"] == pixels["source_accuracy"] == pixels["mean_iou"] == 1
    assert calibration_scores(found, scenes.pixel_class)["ece"] == pytest.approx(0, abs=1e-6)
    sources = source_scores(found, scenes, Thresholds())
    assert sources["model"]["completeness"] > 0.6
    assert sources["model"]["purity"] > 0.8
    assert sources["sep"]["completeness"] > 0.6
    assert sum(one["sources"] for one in sources["bins"]) <= len(scenes.sources)
    wrong = sum(number for name, line in sources["classes"].items() for other, number in line.items()
                if other not in (name, "sources"))  # fmt: skip
    assert wrong == 0


def test_what_is_spoilt_is_counted(scenes):
    found = perfect(scenes)
    for one in found:
        # Half of each image is called disk; a tenth of the pixels has not been seen.
        one.votes[:, :32] = np.eye(5)[1][:, None, None]
        one.windows[:, :6] = 0
    true, seen = scenes.pixel_class.argmax(axis=-1), np.stack([one.windows > 0 for one in found])
    called = np.where(np.arange(64)[None, :, None] < 32, 1, true)
    pixels = pixel_scores(found, scenes.pixel_class, CLASSES)
    assert pixels["accuracy"] == pytest.approx(np.mean((called == true)[seen]))
    assert pixels["source_accuracy"] == pytest.approx(np.mean((called == true)[seen & (true != 4)]))
    scores = calibration_scores(found, scenes.pixel_class)
    # Every pixel that is called disk for sure and is not has a share of 1 that is too high and others too low.
    assert scores["ece"] > 0.1
    assert sum(one["part"] for one in scores["bins"]) == pytest.approx(1)


def test_suite_reads_stamps_too_and_refuses_what_has_no_classes(tmp_path):
    stamps = make_stamps(n=40, size=48, bands=BANDS)
    stamps.save(tmp_path / "plain.h5")
    recipe = {"data": {"name": None, "options": {}, "split": {"valid": 0.1, "test": 0.3, "seed": 0}}}
    request = {"models": {"model": Thresholds()}, "card": {"name": "fake", "recipe": recipe}}
    with pytest.raises(InputError, match="has no pixel_class"):
        run(Request(**request, files=(tmp_path / "plain.h5",)))
    with pytest.raises(InputError, match="give them with --data"):
        run(Request(**request))
    bright = stamps.image.mean(axis=-1) > 5
    stamps.pixel_class = np.stack([bright, *[np.zeros_like(bright)] * 3, ~bright], axis=-1).astype(np.float32)
    stamps.save(tmp_path / "classes.h5")
    result = run(Request(**request, files=(tmp_path / "classes.h5",), limit=4, report=tmp_path / "report.html"))
    assert isinstance(result, SegmentResult)
    assert result.metrics["images"] == 4
    assert result.metrics["pixels"]["accuracy"] > 0.5
    assert "sources" not in result.metrics
    assert all(result.tables().values())
    assert "pixels with the right class" in result.headline()
    assert (tmp_path / "report.html").is_file()
