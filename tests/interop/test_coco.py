"""Masks survive COCO's run-length encoding, which is pycocotools' own to the last letter."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.interop.coco import coco_dataset, decode_mask, encode_mask, encode_pixels


def masks():
    random = np.random.default_rng(0)
    yield np.zeros((5, 7), bool)
    yield np.ones((5, 7), bool)
    for density in (0.02, 0.5, 0.98):
        yield random.uniform(size=(40, 31)) < density
    large = np.zeros((300, 700), bool)
    large[40:290, 100:650] = True
    yield large


@pytest.mark.parametrize("mask", list(masks()))
def test_there_and_back(mask):
    encoded = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(encoded), mask)
    assert encode_pixels(*np.nonzero(mask), mask.shape) == encoded


@pytest.mark.parametrize("mask", list(masks()))
def test_equals_pycocotools(mask):
    coco = pytest.importorskip("pycocotools.mask")
    assert coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode() == encode_mask(mask)["counts"]


def test_a_known_text():
    # Of pycocotools 2.0.11.
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    assert encode_mask(mask)["counts"] == "5220003"


def test_data_set():
    pixels = [(np.array([1, 2]), np.array([3, 3]))]
    data = coco_dataset((4, 5), [[2.5, 0.5, 3.5, 2.5]], [1], ("galaxy", "star"), "f.fits", [0.5], pixels)
    (one,) = data["annotations"]
    assert one["bbox"] == [3.0, 1.0, 1.0, 2.0]
    assert (one["category_id"], one["area"], one["score"]) == (2, 2.0, 0.5)
    assert decode_mask(one["segmentation"])[[1, 2], [3, 3]].all()
    assert data["images"][0] | {"id": 1} == {"id": 1, "width": 5, "height": 4, "file_name": "f.fits"}


def test_bad_masks():
    with pytest.raises(InputError, match="give \\(y, x\\)"):
        encode_mask(np.zeros(3))
    with pytest.raises(InputError, match="the encoding is damaged"):
        decode_mask({"size": [3, 3], "counts": encode_mask(np.zeros((5, 5)))["counts"]})
