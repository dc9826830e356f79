"""The Mask R-CNN: what it is taught, and what it makes of what it is shown."""

import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers import boxes as boxing
from galzoo.models.mask_rcnn import calibrate, losses
from galzoo.models.mask_rcnn.anchors import anchor_boxes, anchor_losses, anchor_proposals
from galzoo.models.mask_rcnn.first_pass import first_pass
from galzoo.models.mask_rcnn.model import MaskRCNN

SIZE = 40
PLACES = np.array([[[8.3, 30.6], [25.9, 12.2], [33.0, 13.1], [5.0, 5.0]]], "float32")


def numpy(values):
    return {key: keras.ops.convert_to_numpy(value) for key, value in values.items()}


@pytest.fixture(scope="module")
def batch():
    """Three Gaussian sources, the last one a tenth as bright as the noise of a pixel."""
    rows, columns = np.indices((SIZE, SIZE))
    images = np.zeros((1, 4, SIZE, SIZE, 2), "float32")
    for source, (sigma, peak) in enumerate(((3.0, 50.0), (2.0, 20.0), (2.0, 0.1))):
        x, y = PLACES[0, source]
        blob = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)
        images[0, source] = peak * blob[..., None] * np.array([1.0, 0.5])
    noise = np.random.default_rng(2).normal(size=(1, SIZE, SIZE, 2))
    return {
        "image": (images.sum(axis=1) + noise).astype("float32"),
        "variance": np.ones((1, SIZE, SIZE, 2), "float32"),
        "positions": PLACES * np.array([1, 1, 1, 0], "float32")[:, None],
        "n_sources": np.array([3], "int32"),
        "flux": images.sum(axis=(2, 3)),
        "boxes": np.array([[[0, 20, 18, 39.5], [18, 4, 34, 20], [32, 12, 34, 14], [0] * 4]], "float32"),
        "source_class": np.array([[0, 1, 0, -1]], "int32"),
        "source_images": images,
        "corners": np.zeros((1, 4, 2), "float32"),
    }


@pytest.fixture(scope="module")
def truth(batch):
    return losses.select_truth(batch, np.ones((1, 1, 1, 2), "float32"), np.ones((1, 2), "float32"), 5.0)


def test_sources_below_the_limit_are_neither_positive_nor_negative(batch, truth):
    snr = losses.signal_to_noise(batch, np.ones((1, 1, 1, 2), "float32"), np.ones((1, 2), "float32"))
    wanted = np.sqrt(np.sum(batch["source_images"].astype(float) ** 2, axis=(2, 3, 4)))
    np.testing.assert_allclose(snr, wanted, rtol=1e-5)
    assert numpy(truth)["positive"].tolist() == [[True, True, False, False]]
    assert numpy(truth)["ignored"].tolist() == [[False, False, True, False]]


def test_maps_without_loss_give_the_sources_again(truth):
    """Maps that the losses call perfect are decoded to the places and boxes that they were made from."""
    model = MaskRCNN.tiny(bands=("g", "r"))
    maps = np.zeros((1, SIZE // 2, SIZE // 2, 7), "float32")
    maps[..., 0] = -20
    for place, box in zip(PLACES[0, :2].astype(float), numpy(truth)["boxes"][0, :2], strict=True):
        column, row = np.floor((place + 0.5) / 2).astype(int)
        around = np.ix_(range(row - 2, row + 3), range(column - 2, column + 3))
        x, y = np.meshgrid(2 * np.arange(column - 2, column + 3) + 0.5, 2 * np.arange(row - 2, row + 3) + 0.5)
        maps[0, row, column, 0] = 20
        maps[0][around][..., 1] = 0
        block = maps[0, row - 2 : row + 3, column - 2 : column + 3]
        block[..., 1], block[..., 2] = place[0] - x, place[1] - y
        block[..., 3:5] = np.log(place - box[:2])
        block[..., 5:7] = np.log(box[2:] - place)
    found = numpy(losses.map_losses(maps, truth, 2))
    assert found["centres"] < 1e-4
    assert found["places"] < 1e-4
    centre, boxes = model._proposed(maps, np.array([[15 * 20 + 4, 6 * 20 + 13]], "int32"))
    np.testing.assert_allclose(centre, PLACES[:, :2], atol=1e-4)
    np.testing.assert_allclose(boxes, numpy(truth)["boxes"][:, :2], atol=1e-3)


def test_each_source_has_one_proposal(truth):
    near = PLACES[0] + np.array([0.5, -0.5], "float32")
    centre = np.stack([near[0], near[0] + 1, near[1], near[2], np.array([20.0, 35.0])])[None].astype("float32")
    score = np.array([[1.0, 2.0, 0.5, 3.0, 9.0]], "float32")
    owner, matched, known = (keras.ops.convert_to_numpy(value) for value in losses.match(centre, score, truth, 2.0))
    assert owner[0, :4].tolist() == [0, 0, 1, 2]
    assert matched.tolist() == [[False, True, True, False, False]]
    assert known.tolist() == [[True, True, True, False, True]]


def test_masks_that_show_the_share_of_light_have_the_least_loss(batch, truth):
    """Two sources of which the box of each is full of the light of the other."""
    sources = ((18.3, 20.6, 4.0, 50.0), (23.1, 17.2, 3.0, 40.0))
    images = np.zeros_like(batch["source_images"])
    rows, columns = np.indices((SIZE, SIZE))

    def light(source, x, y):
        x0, y0, sigma, peak = sources[source]
        return peak * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / sigma**2)

    for source in range(2):
        images[0, source] = light(source, columns, rows)[..., None] * np.array([1.0, 0.5])
    boxes = np.array([[[10.0, 10.0, 30.0, 28.0]] * 4], "float32")
    share_of = (np.arange(28) + 0.5) / 28
    x, y = np.meshgrid(10 + 20 * share_of, 10 + 18 * share_of)
    both = np.stack([light(source, x, y) for source in range(2)])
    logits = np.zeros((1, 2, 28, 28, 2), "float32")
    logits[0, ..., 0] = np.log(both / both[::-1])
    changed = {**batch, "source_images": images}
    noise, present = np.ones((1, 1, 1, 2), "float32"), np.ones((1, 2), "float32")

    def loss(change):
        moved = logits + np.array([change, 0], "float32")
        return float(losses.mask_loss(moved, changed, {**truth, "boxes": boxes}, noise, present, (SIZE, SIZE)))

    assert loss(0) < min(loss(0.3), loss(-0.3)) - 1e-3


def test_a_first_pass_that_misses_nothing_leaves_little(batch):
    snr = np.full((1, 4), 1e6, "float32")
    kept, missed = 0, []
    for seed in range(12):
        model, absent = (keras.ops.convert_to_numpy(part) for part in first_pass(batch, snr, (SIZE, SIZE), seed))
        missed.append(absent[0])
        clean = batch["source_images"].sum(axis=1)
        if not absent.any():
            kept += 1
            assert np.abs(model - clean).max() < 0.25 * clean.max()
        elif absent[0].tolist() == [True, False, False, False]:
            assert model[0, 30, 8, 0] < 0.1 * clean[0, 30, 8, 0]
    assert 0 < kept < 12
    assert not np.array(missed)[:, 3].any()


def test_detections_keep_to_the_contract_and_lie_inside(batch):
    model = MaskRCNN.tiny(bands=("g", "r"))
    image = {key: batch[key] for key in ("image", "variance")}
    found = model.detect(image)
    n, most = found.probability.shape
    assert found.positions.shape == (n, most, 2)
    assert found.flux.shape == found.flux_error.shape == (n, most, 2)
    assert found.masks.shape == (n, most, 28, 28)
    assert np.all(np.diff(found.probability, axis=1) <= 0)
    there = found.probability > 0
    assert np.all((found.positions[there] > -0.5) & (found.positions[there] < SIZE - 0.5))
    np.testing.assert_allclose(found.class_probability[there].sum(-1), 1, atol=1e-5)
    # Fluxes are in the unit of the image.
    scaled = model.detect({"image": 1e3 * image["image"], "variance": 1e6 * image["variance"]})
    np.testing.assert_allclose(scaled.flux, 1e3 * found.flux, rtol=1e-3)
    assert model.detect(image, threshold=1.0).probability.shape[1] == 0


def test_residual_mode_learns_to_find_what_is_missed():
    """A bright source that is in the model, and one beside it that is not: after some steps the second is found."""
    keras.utils.set_random_seed(1)
    rng, n = np.random.default_rng(5), 8
    rows, columns = np.indices((SIZE, SIZE))
    places = rng.uniform(8, SIZE - 8, (n, 2, 2)).astype("float32")
    places[:, 1] = places[:, 0] + rng.choice([-5, 5], (n, 2))
    x, y = places[..., 0, None, None], places[..., 1, None, None]
    images = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / 4.0)[..., None] * np.array([60.0, 30.0])
    images = (images * np.array([1.0, 0.4])[:, None, None, None]).astype("float32")
    boxes = np.concatenate([places - 4, places + 4], axis=-1).clip(-0.5, SIZE - 0.5)
    batch = {
        "image": (images.sum(axis=1) + rng.normal(size=(n, SIZE, SIZE, 2))).astype("float32"),
        "variance": np.ones((n, SIZE, SIZE, 2), "float32"),
        "positions": places,
        "n_sources": np.full(n, 2, "int32"),
        "flux": images.sum(axis=(2, 3)),
        "boxes": boxes.astype("float32"),
        "source_images": images,
        "corners": np.zeros((n, 2, 2), "float32"),
    }
    model = MaskRCNN.tiny(bands=("g", "r"), residual=True, proposals=160)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    assert [weight.path for weight in model.trainable_weights if "first_pass" in weight.path]
    losses_ = [float(model.train_on_batch(batch, return_dict=True)["loss"]) for _ in range(60)]
    assert np.isfinite(losses_).all()
    assert np.mean(losses_[-5:]) < 0.5 * np.mean(losses_[1:6])
    given = {"image": batch["image"], "variance": batch["variance"], "model": images[:, 0]}
    found = model.detect(given)
    first = found.positions[:, 0]
    assert np.median(np.hypot(*(first - places[:, 1]).T)) < 2
    assert np.median(np.hypot(*(first - places[:, 0]).T)) > 3
    # Pictures of training show what is found in the residual of a first pass that is made of the truth.
    assert model.detect(batch, 0.5).probability.shape[0] == n
    with pytest.raises(InputError, match="no 'model'"):
        model.detect({"image": batch["image"], "variance": batch["variance"]})


def test_anchors_have_the_published_sides_and_the_best_one_is_a_sources():
    boxes = anchor_boxes([(20, 20), (10, 10)], [2, 4], (0.5, 1.0, 2.0))
    assert boxes.shape == (500 * 3, 4)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    np.testing.assert_allclose(width * height, np.repeat([64.0, 256.0], [1200, 300]), rtol=1e-5)
    np.testing.assert_allclose(height[:3] / width[:3], [0.5, 1, 2], rtol=1e-5)
    np.testing.assert_allclose((boxes[3 * 21, :2] + boxes[3 * 21, 2:]) / 2, [2.5, 2.5])
    truth = {
        "boxes": np.array([[[3.0, 3, 21, 13], [0, 0, 0, 0]]], "float32"),
        "positive": np.array([[True, False]]),
        "ignored": np.array([[False, False]]),
    }
    # The wide anchor of 16 pixels in the middle of the box overlaps most; logits that say so have the least loss.
    shared = [_overlap(box, truth["boxes"][0, 0]) for box in boxes]
    values = np.zeros((1, len(boxes), 5), "float32")
    values[0, :, 0] = np.where(np.array(shared) >= min(0.7, max(shared)), 20, -20)
    values[0, :, 1:] = keras.ops.convert_to_numpy(boxing.code_boxes(boxes, truth["boxes"][0, :1]))
    perfect = numpy(anchor_losses(values, boxes, truth))
    assert perfect["centres"] < 1e-5
    assert perfect["places"] < 1e-5
    values[0, np.argmax(shared)] = -20
    assert numpy(anchor_losses(values, boxes, truth))["centres"] > 1


def _overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def test_a_detector_with_anchors_trains_and_detects(batch):
    keras.utils.set_random_seed(2)
    model = MaskRCNN.tiny(bands=("g", "r"), anchors=(0.5, 1, 2), proposals=160)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    found = [float(model.train_on_batch(batch, return_dict=True)["loss"]) for _ in range(40)]
    assert np.isfinite(found).all()
    answer = model.detect({key: batch[key] for key in ("image", "variance")})
    first = answer.positions[0, :2]
    assert sorted(np.hypot(*(first[:, None] - PLACES[0, :2]).transpose(2, 0, 1)).argmin(axis=1)) == [0, 1]


def test_proposals_of_anchors_are_thinned():
    """Three equal boxes and one elsewhere: the best of the three is kept, or the others lowered."""
    anchors = np.array([[0, 0, 8, 8]] * 3 + [[20, 20, 28, 28]], "float32")
    values = np.zeros((1, 4, 5), "float32")
    values[0, :, 0] = 2.0, 3.0, 1.0, 0.5
    boxes, score = (keras.ops.convert_to_numpy(part) for part in anchor_proposals(values, anchors, 3))
    np.testing.assert_allclose(boxes[0, :2], anchors[2:])
    np.testing.assert_allclose(score[0], [3.0, 0.5, -1e4], rtol=1e-5)
    boxes, score = (keras.ops.convert_to_numpy(part) for part in anchor_proposals(values, anchors, 4, matrix=True))
    lowered = np.exp(-2) / (1 + np.exp(-2.0))
    np.testing.assert_allclose(score[0], [3.0, 0.5, np.log(lowered / (1 - lowered)), score[0, 3]], rtol=1e-4)
    assert score[0, 3] < score[0, 2]


def test_calibration_recovers_a_known_change_of_the_logits():
    rng = np.random.default_rng(3)
    rows = np.stack([rng.normal(0, 2, 20_000), np.ones(20_000), rng.uniform(0, 6, 20_000)], axis=-1)
    wanted = np.array([0.6, -1.0, 0.3])
    true = rng.random(20_000) < 1 / (1 + np.exp(-rows @ wanted))
    np.testing.assert_allclose(calibrate._logistic(rows, true.astype(float)), wanted, atol=0.08)


def test_finished_probabilities_are_kept_and_used(batch, tmp_path):
    model = MaskRCNN.tiny(bands=("g", "r"), proposals=160)
    image = {key: batch[key] for key in ("image", "variance")}
    before = model.detect(image).probability
    model.finish([batch, batch])
    slope, offset, _ = model.calibration
    assert slope != 1
    assert offset != 0
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.calibration == model.calibration
    after = again.detect(image).probability
    assert np.abs(np.sort(after, axis=1)[:, -5:] - np.sort(before, axis=1)[:, -5:]).max() > 1e-3
