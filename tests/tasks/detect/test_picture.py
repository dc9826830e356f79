"""The picture of a detector's preset: what is drawn is what was found."""

import numpy as np
import pytest

from galzoo.contracts.detections import Detections
from galzoo.recipe import load_recipe
from galzoo.tasks.detect.picture import preset_figure


class Finds:
    """A detector that finds two sources of three: a galaxy and a star; the third is not probable."""

    places = np.array([[[10.0, 20.0], [30.0, 40.0], [50.0, 50.0]]])

    def detect(self, batch, threshold):
        assert set(batch) <= {"image", "variance", "mask", "psf", "gain", "sky"}
        assert len(batch["image"]) == 1
        classes = np.array([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]])
        boxes = np.concatenate([self.places - 2, self.places + 2], axis=-1)
        return Detections(self.places, np.array([[0.9, 0.8, 0.1]]), boxes, class_probability=classes)


def card_of(family, recipe, bands):
    resolved = load_recipe(family, recipe).resolved()
    data = {"survey": "LSST", "bands": bands, "pixel_scale_arcsec": 0.2}
    return {"name": "preset", "title": "a detector", "recipe": resolved, "data": data}


@pytest.mark.parametrize(
    ("family", "recipe", "bands"), [("mask_rcnn", "lsst", ["g", "r", "i"]), ("starnet", "sdss", ["r", "i"])]
)
def test_true_sources_and_detections_are_where_they_are(family, recipe, bands):
    figure, caption = preset_figure(Finds(), card_of(family, recipe, bands))
    true, galaxies, stars = (np.transpose(line.get_data()) for line in figure.axes[1].lines)
    np.testing.assert_array_equal(galaxies, Finds.places[0, :1])
    np.testing.assert_array_equal(stars, Finds.places[0, 1:2])
    side = figure.axes[1].get_images()[0].get_array().shape[0]
    assert len(true) > 5
    assert (true > -1).all()
    assert (true < side).all()
    assert not figure.axes[0].lines
    assert ("taken for stars" in caption) == (family == "mask_rcnn")
