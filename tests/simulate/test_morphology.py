"""Scenes with classes: labels follow the light that was drawn."""

import numpy as np
import pytest

from galzoo.contracts.segmentation import CLASSES
from galzoo.data.scenes import Scenes
from galzoo.errors import InputError
from galzoo.simulate.galaxies import Component, Galaxy
from galzoo.simulate.morphology import (
    MorphologySimulator,
    MorphologySpec,
    class_fractions,
    clumpy,
    make_morphology,
)

OPTIONS = {
    "survey": "GOODS", "bands": ("F160W", "F606W"), "reference": "F160W", "stamp_size": 48, "psf_size": 21, "seed": 4,
    "density": 1500, "stars_fraction": 0.3, "magnitude_range": (19, 25), "irregular": 0.5,
}  # fmt: skip


def galaxy(**light):
    points = np.array([[0.0, 0.0, 1.0]])
    parts = tuple(
        Component(kind, np.array([flux, 1.0]), 0.3, 0.7, points if kind == "knots" else None)
        for kind, flux in light.items()
    )
    return Galaxy("g", "parametric", parts, 0.0, 0.3, 0.0, (0.0, 0.0), 1.0)


def test_classes_of_a_galaxy_follow_its_light():
    np.testing.assert_allclose(class_fractions(galaxy(bulge=30, disc=70), 0), [0.3, 0.7, 0, 0])
    # A tenth in knots is a fifth of what makes an irregular.
    np.testing.assert_allclose(class_fractions(galaxy(disc=90, knots=10), 0), [0, 0.8, 0.2, 0])
    np.testing.assert_allclose(class_fractions(galaxy(bulge=20, disc=20, knots=60), 0), [0.2, 0, 0.8, 0])


def test_clumps_keep_the_flux_and_lie_on_one_side():
    random = np.random.default_rng(0)
    offsets = []
    for _ in range(20):
        made = clumpy(galaxy(bulge=30, disc=70), random)
        np.testing.assert_allclose(made.flux, [100, 2])
        points = made.components[1].points
        offsets.append(np.hypot(*np.average(points[:, :2], axis=0)))
        assert class_fractions(made, 0)[2] > 0.5
    assert np.median(offsets) > 0.8


def test_pixels_have_the_class_of_their_light():
    scenes = MorphologySimulator(MorphologySpec(**OPTIONS)).simulate(range(6))
    labels = scenes.pixel_class
    assert labels.shape == (6, 48, 48, 5)
    np.testing.assert_allclose(labels.sum(axis=-1), 1, atol=1e-6)
    assert 0.5 < np.mean(labels[..., 4]) < 0.99
    assert set(np.unique(labels[..., 4])) == {0, 1}
    checked = 0
    for source in scenes.sources:
        x, y = round(float(source["x"].value)), round(float(source["y"].value))
        alone = source["blendedness_F160W"] < 0.01 and source["snr_F160W"] > 50
        if alone and 0 <= x < 48 and 0 <= y < 48:
            found = labels[source["scene"], y, x]
            expected = [source[f"p_{name}"] for name in CLASSES[:4]]
            np.testing.assert_allclose(found, [*expected, 0], atol=0.03)
            checked += 1
    assert checked > 3
    stars = scenes.sources["kind"] == "star"
    assert np.all(scenes.sources["p_point_source"][stars] == 1)
    assert np.all(scenes.sources["p_point_source"][~stars] == 0)


def test_file_is_what_is_simulated(tmp_path):
    path = tmp_path / "scenes.h5"
    make_morphology(path, n=3, processes=1, progress=False, **OPTIONS)
    scenes = Scenes.load(path)
    expected = MorphologySimulator(MorphologySpec(**OPTIONS, isolated=False)).simulate(range(3))
    np.testing.assert_array_equal(scenes.pixel_class, expected.pixel_class)
    np.testing.assert_array_equal(scenes.image, expected.image)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"irregular": 2}, "irregular"), ({"footprint": 0}, "footprint"), ({"real_galaxies": "x"}, "real_galaxies")],
)
def test_bad_options(changes, word):
    with pytest.raises(InputError, match=word):
        MorphologySpec(**OPTIONS | changes)
    with pytest.raises(InputError, match="n is 0"):
        make_morphology("nowhere.h5", n=0)
