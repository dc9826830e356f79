"""The Mask R-CNN: what it is taught, and what it makes of what it is shown."""

import keras
import numpy as np
import pytest

from galzoo.models.mask_rcnn import losses
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
