"""Average precision: against pycocotools where it is there, against its committed figures everywhere."""

import json

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.interop.coco import coco_dataset
from galzoo.metrics.average_precision import (
    assign_by_overlap,
    assigned,
    average_precision,
    box_overlaps,
    mask_overlaps,
    precision_at_recall,
    precision_recall,
)

SIDE = 96
# COCOeval of pycocotools 2.0.11 on `made` with seeds 0 to 3: AP at IoU .5, .75 and the mean over .5 to .95.
COCO = {
    "bbox": [
        [0.51911408, 0.05265527, 0.17744495],
        [0.68544777, 0.12133975, 0.25320201],
        [0.62357807, 0.13066057, 0.24005597],
        [0.67354021, 0.05497407, 0.23117222],
    ],
    "segm": [
        [0.51911408, 0.10183876, 0.19798872],
        [0.68495876, 0.14646424, 0.26501986],
        [0.62357807, 0.15657584, 0.25640664],
        [0.63768663, 0.034963, 0.21274038],
    ],
}


def made(seed):
    """Return four images of rectangles with ellipses in them and detections that are off by a few pixels."""
    random, images = np.random.default_rng(seed), []
    yy, xx = np.mgrid[:SIDE, :SIDE]

    def draw(box):
        (x0, y0, x1, y1), grid = box, np.stack([xx, yy])
        middle, half = np.array([x0 + x1, y0 + y1]) / 2, np.array([x1 - x0, y1 - y0]) / 2
        return np.flatnonzero((((grid - middle[:, None, None]) / half[:, None, None]) ** 2).sum(axis=0) < 1)

    for _ in range(4):
        n = int(random.integers(3, 14))
        low, size = random.uniform(0, SIDE - 24, (n, 2)), random.uniform(5, 22, (n, 2))
        truth = np.concatenate([low, low + size], axis=1)
        found = np.repeat(truth, 2, axis=0) + random.normal(0, 1.8, (2 * n, 4))
        found = found[random.uniform(size=2 * n) < 0.7]
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        # Few digits, so that some are equally probable.
        probability = np.round(random.uniform(size=len(found)), 1)
        masks = [[draw(box) for box in boxes] for boxes in (found, truth)]
        images.append((found, truth, probability, masks))
    return images


def overlaps_of(images, kind):
    if kind == "bbox":
        return [(probability, box_overlaps(found, truth)) for found, truth, probability, _ in images]
    return [(probability, mask_overlaps(*masks, SIDE**2)) for _, _, probability, masks in images]


def coco_figures(images, kind, folder):
    """Return AP50, AP75 and AP of pycocotools."""
    from pycocotools.coco import COCO as Set
    from pycocotools.cocoeval import COCOeval

    truths, results = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "source"}]}, []
    for number, (found, truth, probability, masks) in enumerate(images, 1):
        for boxes, pixels, scores in ((truth, masks[1], None), (found, masks[0], probability)):
            places = [np.divmod(mask, SIDE) for mask in pixels]
            one = coco_dataset((SIDE, SIDE), boxes - 0.5, np.zeros(len(boxes)), ["source"], "", scores, places)
            for entry in one["annotations"]:
                entry["image_id"] = number
                if scores is None:
                    truths["annotations"].append(entry | {"id": len(truths["annotations"]) + 1})
                else:
                    # loadRes makes masks of boxes where there is a box.
                    results.append({key: entry[key] for key in entry if kind == "bbox" or key != "bbox"})
        truths["images"].append({"id": number, "width": SIDE, "height": SIDE})
    (folder / "truth.json").write_text(json.dumps(truths))
    data = Set(str(folder / "truth.json"))
    run = COCOeval(data, data.loadRes(results), kind)
    run.evaluate()
    run.accumulate()
    precision = run.eval["precision"][:, :, 0, 0, -1]
    return [float(precision[0].mean()), float(precision[5].mean()), float(precision.mean())]


def our_figures(images, kind):
    overlaps = overlaps_of(images, kind)
    values = [average_precision(overlaps, least, most=100) for least in np.linspace(0.5, 0.95, 10)]
    return [values[0], values[5], float(np.mean(values))]


@pytest.mark.parametrize("kind", COCO)
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_figures_of_pycocotools(seed, kind):
    np.testing.assert_allclose(our_figures(made(seed), kind), COCO[kind][seed], atol=1e-6)


@pytest.mark.parametrize("kind", COCO)
@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools(seed, kind, tmp_path):
    pytest.importorskip("pycocotools")
    images = made(100 + seed)
    np.testing.assert_allclose(our_figures(images, kind), coco_figures(images, kind, tmp_path), atol=1e-6)


def test_overlaps_by_hand():
    np.testing.assert_allclose(
        box_overlaps([[0, 0, 2, 2]], [[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]]), [[1 / 7, 1, 0]]
    )
    np.testing.assert_allclose(mask_overlaps([[0, 1, 2]], [[1, 2, 3], []], 9), [[0.5, 0]])
    assert box_overlaps(np.zeros((0, 4)), np.ones((2, 4))).shape == (0, 2)


def test_each_true_source_is_taken_once():
    np.testing.assert_array_equal(assign_by_overlap(np.array([[0.6, 0.7], [0.0, 0.9], [0.8, 0.9]]), 0.5), [1, -1, 0])


def test_perfect_detections_and_none():
    overlaps = [([0.9, 0.8], np.eye(2)), ([0.3], np.ones((1, 1)))]
    assert average_precision(overlaps, 0.5) == pytest.approx(1)
    assert average_precision([([], np.zeros((0, 2)))], 0.5) == 0
    assert np.isnan(average_precision([([0.5], np.zeros((1, 0)))], 0.5))


def test_precision_at_recall():
    probability, true = [0.9, 0.8, 0.7, 0.6, 0.5], [True, False, True, True, True]
    assert precision_at_recall(probability, true, 5) == pytest.approx(0.8)
    assert precision_at_recall(probability, true, 4, recall=0.75) == pytest.approx(0.75)
    assert precision_at_recall(probability, true, 10) == 0
    assert np.isnan(precision_at_recall([], [], 0))


def test_bad_overlaps():
    with pytest.raises(InputError, match="2 probabilities, overlaps of shape"):
        assigned([([0.1, 0.2], np.zeros((1, 2)))], 0.5)
    with pytest.raises(InputError, match="give a row each"):
        assigned([([0.1], [0.5])], 0.5)


def test_of_equal_overlaps_the_last_counts_as_in_pycocotools():
    np.testing.assert_array_equal(assign_by_overlap(np.array([[0.6, 0.6]]), 0.5), [1])


def test_rounding_does_not_part_what_is_the_same():
    np.testing.assert_array_equal(assign_by_overlap(np.array([[1 - 1e-12]]), 1.0), [0])


def test_the_most_probable_alone_count_where_a_number_is_given():
    # Half of the true sources, so that the precision is 1 at the recalls 0 to 0.5 and 0 above.
    assert average_precision([([0.8, 0.9], np.eye(2))], 0.5, most=1) == pytest.approx(51 / 101)


def test_recall_without_a_true_source_is_unknown():
    precision, recall = precision_recall([0.5], [False], 0)
    assert precision == [0]
    assert np.isnan(recall).all()
