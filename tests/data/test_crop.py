"""A cropped scene is the scene that would have been simulated there."""

import numpy as np
import pytest

from galzoo.data.crop import crop_batch
from galzoo.data.scene_source import SceneSource
from galzoo.errors import InputError
from tests.data.scene_files import asymmetric_scenes

KEYS = ("positions", "boxes", "ellipticity", "isolated", "segmentation", "psf", "model", "flux", "source_class")


@pytest.fixture
def batch(tmp_path):
    asymmetric_scenes(n=24).save(tmp_path / "scenes.h5")
    return SceneSource(tmp_path / "scenes.h5", KEYS, "all").batch(np.arange(24))


@pytest.mark.parametrize(("size", "corner"), [(13, None), (12, (3, 9)), (40, None)])
def test_sources_of_a_crop_are_those_inside(batch, size, corner):
    cropped = crop_batch(batch, size, corner)
    wide = min(size, 24)
    x, y = corner or ((24 - wide) // 2,) * 2
    np.testing.assert_array_equal(cropped["image"], batch["image"][:, y : y + wide, x : x + wide])
    assert cropped["psf"] is batch["psf"]
    left_out = 0
    for scene in range(24):
        n = 0
        for source in range(batch["n_sources"][scene]):
            px, py = batch["positions"][scene, source] - [x, y]
            if not (-0.5 <= px < wide - 0.5 and -0.5 <= py < wide - 0.5):
                left_out += 1
                assert not (
                    cropped["segmentation"][scene][
                        batch["segmentation"][scene, y : y + wide, x : x + wide] == source + 1
                    ]
                ).any()
                continue
            np.testing.assert_allclose(cropped["positions"][scene, n], [px, py], rtol=1e-6)
            for key in ("flux", "ellipticity", "source_class"):
                np.testing.assert_array_equal(cropped[key][scene, n], batch[key][scene, source])
            image = batch["isolated"][scene, source, y : y + wide, x : x + wide]
            np.testing.assert_array_equal(cropped["isolated"][scene, n], image)
            # The box around the source's pixels in the whole scene, cut to the crop.
            rows, columns = np.nonzero(batch["isolated"][scene, source].max(axis=-1) > 1)
            low = np.maximum([columns.min() - x, rows.min() - y], 0) - 0.5
            high = np.minimum([columns.max() - x, rows.max() - y], wide - 1) + 0.5
            np.testing.assert_array_equal(cropped["boxes"][scene, n], [*low, *high])
            own = batch["segmentation"][scene, y : y + wide, x : x + wide] == source + 1
            np.testing.assert_array_equal(cropped["segmentation"][scene] == n + 1, own)
            n += 1
        assert cropped["n_sources"][scene] == n
        assert not cropped["positions"][scene, n:].any()
        assert (cropped["source_class"][scene, n:] == -1).all()
    assert (left_out > 0) == (size < 24)


def test_images_of_sources_move_with_their_corners():
    """Of three sources the second is left out."""
    batch = {
        "image": np.zeros((1, 20, 20, 1)), "n_sources": np.array([3]), "corners": np.array([[[2, 9], [-4, 0], [8, 8]]]),
        "positions": np.array([[[6.0, 12.0], [1.0, 2.0], [11.0, 12.0]]]),
        "source_images": np.arange(3.0)[None, :, None],
    }  # fmt: skip
    cropped = crop_batch(batch, 10, (4, 7))
    assert cropped["corners"].tolist() == [[[-2, 2], [4, 1], [0, 0]]]
    assert cropped["positions"].tolist() == [[[2, 5], [7, 5], [0, 0]]]
    assert cropped["source_images"][0, :2, 0].tolist() == [0, 2]


def test_what_cannot_be_cropped(batch):
    with pytest.raises(InputError, match="corner is"):
        crop_batch(batch, 12, (13, 0))
    del batch["positions"]
    with pytest.raises(InputError, match="without 'positions'"):
        crop_batch(batch, 12)
