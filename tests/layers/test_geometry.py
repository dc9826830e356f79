"""What is known of sources moves with their pixels: measured again on the turned pixels, it is the same."""

import keras
import numpy as np
import pytest

from galzoo.data.footprints import footprint_boxes
from galzoo.data.scene_source import SceneSource
from galzoo.errors import InputError
from galzoo.layers.geometry import boxes_of, footprints, turn_batch
from tests.data.scene_files import asymmetric_scenes

KEYS = ("positions", "boxes", "ellipticity", "isolated", "segmentation", "psf", "model", "flux", "n_sources")


def numpy(batch):
    return {key: keras.ops.convert_to_numpy(value) for key, value in batch.items()}


@pytest.fixture
def batch(tmp_path):
    asymmetric_scenes(n=32).save(tmp_path / "scenes.h5")
    return SceneSource(tmp_path / "scenes.h5", KEYS, "all").batch(np.arange(32))


def moments(image):
    """Return centroid x, y and distortion e1, e2 of an image, by sums over its pixels."""
    y, x = np.indices(image.shape)
    total = image.sum()
    mx, my = (x * image).sum() / total, (y * image).sum() / total
    xx, yy = ((x - mx) ** 2 * image).sum(), ((y - my) ** 2 * image).sum()
    return mx, my, (xx - yy) / (xx + yy), 2 * ((x - mx) * (y - my) * image).sum() / (xx + yy)


def test_everything_moves_with_the_pixels(batch):
    choice = np.arange(32, dtype="int32") // 4
    turned = numpy(turn_batch(batch, choice))
    assert not np.array_equal(turned["image"][4:], batch["image"][4:])
    for scene in range(32):
        number = batch["n_sources"][scene]
        mirror = batch["image"][scene]
        mirror = mirror[:, ::-1] if choice[scene] & 1 else mirror
        mirror = mirror[::-1] if choice[scene] & 2 else mirror
        mirror = mirror.swapaxes(0, 1) if choice[scene] & 4 else mirror
        np.testing.assert_array_equal(turned["image"][scene], mirror)
        for source in range(number):
            image = turned["isolated"][scene, source, ..., 0].astype(float)
            x, y, e1, e2 = moments(image)
            np.testing.assert_allclose(turned["positions"][scene, source], [x, y], atol=0.02)
            np.testing.assert_allclose(turned["ellipticity"][scene, source], [e1, e2], atol=0.02)
            boxes = footprint_boxes(
                turned["isolated"][scene, source][None], np.ones(2), turned["positions"][scene, source][None]
            )
            np.testing.assert_array_equal(turned["boxes"][scene, source], boxes[0])
        assert not turned["positions"][scene, number:].any()
        assert not turned["boxes"][scene, number:].any()
        brightest = turned["isolated"][scene].max(axis=-1)
        label = np.where(brightest.max(axis=0) > 1, brightest.argmax(axis=0) + 1, 0)
        np.testing.assert_array_equal(turned["segmentation"][scene], label)
        np.testing.assert_allclose(turned["model"][scene], turned["isolated"][scene].sum(axis=0), rtol=1e-6)
        np.testing.assert_array_equal(turned["flux"][scene], batch["flux"][scene])


def test_small_images_stay_over_their_sources(tmp_path):
    asymmetric_scenes(n=8, cutouts=True).save(tmp_path / "scenes.h5")
    source = SceneSource(tmp_path / "scenes.h5", ("source_images", "corners", "positions", "model"), "all")
    batch = source.batch(np.arange(8))
    turned = numpy(turn_batch(batch, np.arange(8, dtype="int32")))
    for scene in range(8):
        total = np.zeros((24 + 2 * 24, 24 + 2 * 24, 2))
        for source_number in range(batch["n_sources"][scene]):
            image = turned["source_images"][scene, source_number]
            x, y = (int(value) + 24 for value in turned["corners"][scene, source_number])
            total[y : y + image.shape[0], x : x + image.shape[1]] += image
        # Small images end where the source is lost in the noise.
        np.testing.assert_allclose(total[24:48, 24:48], turned["model"][scene], atol=2.0)


def test_only_squares_are_turned():
    with pytest.raises(InputError, match="only square"):
        turn_batch({"image": np.zeros((2, 4, 5, 1))}, np.zeros(2, "int32"))


def test_boxes_and_labels_in_the_graph_are_those_of_files(batch):
    sky = np.ones((32, 1, 1, 2), "float32")
    boxes, segmentation = footprints(batch["isolated"], sky, batch["positions"])
    present = np.arange(3) < batch["n_sources"][:, None]
    np.testing.assert_array_equal(np.asarray(boxes)[present], batch["boxes"][present])
    np.testing.assert_array_equal(np.asarray(segmentation), batch["segmentation"])


def test_boxes_are_cut_to_the_scene():
    above = np.zeros((1, 3, 5, 5), bool)
    above[0, 0, 1:4, 0:2] = True
    above[0, 1, :, :] = True
    corners = np.array([[[2, 3], [-3, 8], [0, 0]]], "int32")
    positions = np.array([[[2.0, 5.0], [-1.0, 9.0], [6.6, 2.2]]], "float32")
    boxes = np.asarray(boxes_of(above, corners, 10, positions))[0]
    np.testing.assert_array_equal(boxes, [[1.5, 3.5, 3.5, 6.5], [-0.5, 7.5, 1.5, 9.5], [6.5, 1.5, 7.5, 2.5]])
