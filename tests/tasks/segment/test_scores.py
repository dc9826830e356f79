"""The suite's numbers: perfect votes score as perfect, worse ones by as much as was spoilt."""

import numpy as np
import pytest
from astropy.table import QTable

from galzoo.contracts.segmentation import CLASSES, Segmented
from galzoo.contracts.suites import Request
from galzoo.data.scenes import Scenes
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
    for number, name in enumerate(CLASSES):
        assert pixels["classes"][name]["share"] == pytest.approx(np.mean((true == number)[seen]))
    scores = calibration_scores(found, scenes.pixel_class)
    # Every pixel that is called disk for sure and is not has a share of 1 that is too high and others too low.
    assert scores["ece"] > 0.1
    assert sum(one["part"] for one in scores["bins"]) == pytest.approx(1)


def test_sources_are_found_within_four_pixels_where_windows_voted():
    """One is 3 pixels from its segment, one 5 pixels, one where nothing voted; the last segment is of nothing."""
    shape, places = (60, 70), np.array([[10.0, 23.0], [45.0, 10.0], [5.0, 55.0]])
    labels, image = np.zeros(shape, np.int32), np.zeros((1, *shape, 4), np.float32)
    for number, (x, y) in enumerate([(10, 20), (40, 10), (60, 50)], 1):
        labels[y - 1 : y + 2, x - 1 : x + 2], image[0, y, x] = number, 100
    windows = np.where(np.arange(shape[0])[:, None] < 52, 9, 0) * np.ones(shape, int)
    votes = np.zeros((5, *shape), np.float32)
    votes[1] = 1
    table = {"scene": [0, 0, 0], "source": [0, 1, 2], "x": places[:, 0], "y": places[:, 1], "mag_F160W": [20.5, 21, 22]}
    table |= {f"p_{name}": np.full(3, float(name == CLASSES[2])) for name in CLASSES[:-1]}
    scenes = Scenes(image, BANDS, 0.06, variance=np.ones_like(image), sources=QTable(table))
    found = source_scores([Segmented(votes, windows, labels, CLASSES)], scenes, Thresholds())
    assert (found["model"]["completeness"], found["model"]["purity"]) == (0.5, pytest.approx(1 / 3))
    assert [(row["magnitude"], row["sources"], row["model"]) for row in found["bins"]] == [
        ([20, 21], 1, 1),
        ([21, 22], 1, 0),
    ]
    # What is truly of the third class is called the second.
    assert found["classes"][CLASSES[2]] == {"sources": 1} | {name: int(name == CLASSES[1]) for name in CLASSES[:-1]}


def test_calibration_is_of_pixels_that_are_not_surely_background_on_either_side():
    """The first is on both, the last has no vote; the second is doubtful and the third wrong."""
    votes = np.array([[0.0, 0.6, 0.0, 0.6], [1.0, 0.4, 1.0, 0.4]])[:, None]
    one = Segmented(votes, np.array([[1, 1, 1, 0]]), np.zeros((1, 4), np.int32), ("source", "background"))
    truth = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])[None, None]
    found = calibration_scores([one], truth)
    bins = [(row["share"], row["true"], row["part"]) for row in found["bins"]]
    np.testing.assert_allclose(bins, [(0, 1, 0.25), (0.4, 0, 0.25), (0.6, 1, 0.25), (1, 0, 0.25)])
    assert found["ece"] == pytest.approx((1 + 0.4 + 0.4 + 1) / 4)


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
