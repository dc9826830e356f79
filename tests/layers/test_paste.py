"""Pasted scenes: what is said of the sources agrees with their pixels, which are computed here as Gaussians."""

import keras
import numpy as np
import pytest

from galzoo.data.in_graph import MadeSource, state_of
from galzoo.data.pipeline import training_batches
from galzoo.data.source import StampSource
from galzoo.errors import InputError
from galzoo.layers.paste import PasteScenes
from tests.conftest import make_stamps

SIDE, SIZE, PSF, MODEL = 32, 40, 1.6, 0.7
SKY = np.array([1.0, 4.0])
# Covariance xx, xy, yy of each stamp in the model frame, centre x, y from the middle, flux a band.
STAMPS = (
    ((4.0, 1.2, 2.2), (0.31, -0.24), (900.0, 2000.0)),
    ((2.0, -0.6, 3.6), (-0.4, 0.17), (1500.0, 600.0)),
    ((3.0, 0.0, 2.0), (0.0, 0.45), (400.0, 800.0)),
)
# Stamp, position x, y, factor of the flux, star: in both scenes some are near or beyond an edge.
SOURCES = (
    ((0, 11.3, 24.8, 1.0, False), (1, 14.6, 29.2, 0.5, False), (2, 38.9, 3.1, 2.0, False), (0, 30.2, 31.7, 1.0, True)),
    ((1, 1.2, 20.4, 1.0, False), (2, 22.5, -0.4, 3.0, False)),
)
TURNS = np.array([5, 2, 0])


def numpy(batch):
    return {key: keras.ops.convert_to_numpy(value) for key, value in batch.items()}


def gaussian(xx, xy, yy, x, y, size):
    dy, dx = np.mgrid[:size, :size] - np.array([y, x])[:, None, None]
    determinant = xx * yy - xy**2
    square = (yy * dx**2 - 2 * xy * dx * dy + xx * dy**2) / determinant
    return np.exp(-0.5 * square) / (2 * np.pi * np.sqrt(determinant))


def stamp_batch():
    middle = (SIDE - 1) / 2
    truth = [
        gaussian(*moments, middle + x, middle + y, SIDE)[..., None] * np.array(flux) for moments, (x, y), flux in STAMPS
    ]
    psf = np.repeat(gaussian(PSF**2, 0, PSF**2, 7, 7, 15)[..., None], 2, axis=-1)
    return {
        "truth": np.array(truth, "float32"),
        "variance": np.broadcast_to(SKY, (3, SIDE, SIDE, 2)).astype("float32"),
        "psf": np.repeat((psf / psf.sum(axis=(0, 1)))[None], 3, axis=0).astype("float32"),
        "label": np.array([3, 0, 5], "int32"),
    }


def expected(scene):
    """Return the images (source, y, x, band) of the sources of a scene, each alone."""
    images = []
    for stamp, x, y, factor, star in SOURCES[scene]:
        (xx, xy, yy), _, flux = STAMPS[stamp]
        if TURNS[stamp] & 1:
            xy = -xy
        if TURNS[stamp] & 2:
            xy = -xy
        if TURNS[stamp] & 4:
            xx, yy = yy, xx
        if star:
            xx, xy, yy = MODEL**2, 0, MODEL**2
        more = PSF**2 - MODEL**2
        images.append(gaussian(xx + more, xy, yy + more, x, y, SIZE)[..., None] * np.array(flux) * factor)
    return np.array(images)


@pytest.fixture(scope="module")
def made():
    layer = PasteScenes(size=SIZE, sources=(1, 4), bank=1, gain=1e6, model_sigma=MODEL)
    most, n = 4, len(SOURCES)
    # Entries beyond the last source hold numbers that must not show.
    choice = {
        "stamp": np.ones((n, most), "int32"),
        "n_sources": np.array([len(scene) for scene in SOURCES], "int32"),
        "positions": np.full((n, most, 2), 20.0, "float32"),
        "factor": np.full((n, most), 7.0, "float32"),
        "star": np.ones((n, most), bool),
        "turn": TURNS.astype("int32"),
    }
    for scene, sources in enumerate(SOURCES):
        for number, (stamp, x, y, factor, star) in enumerate(sources):
            choice["stamp"][scene, number] = stamp
            choice["positions"][scene, number] = x, y
            choice["factor"][scene, number] = factor
            choice["star"][scene, number] = star
    return numpy(layer.paste(stamp_batch(), choice))


def whole(made, scene, number):
    """Return a source's small image on the scene's pixels."""
    image, room = made["source_images"][scene, number], SIDE + 15 + SIZE
    x, y = (int(value) + room for value in made["corners"][scene, number])
    canvas = np.zeros((SIZE + 2 * room, SIZE + 2 * room, 2))
    canvas[y : y + image.shape[0], x : x + image.shape[1]] = image
    return canvas[room : room + SIZE, room : room + SIZE]


@pytest.mark.parametrize("scene", [0, 1])
def test_pixels_positions_boxes_and_labels_agree(made, scene):
    images = expected(scene)
    count = len(images)
    for number, image in enumerate(images):
        np.testing.assert_allclose(whole(made, scene, number), image, atol=2e-3 * image.max())
    sigma = np.sqrt(made["variance"][scene])
    residual = (made["image"][scene] - images.sum(axis=0)) / sigma
    assert np.abs(residual).max() < 5
    assert residual.std() == pytest.approx(1, abs=0.06)
    places = np.array([source[1:3] for source in SOURCES[scene]])
    np.testing.assert_allclose(made["positions"][scene, :count], places, rtol=1e-6)
    significant = (images / np.sqrt(SKY)).max(axis=-1)
    for number in range(count):
        y, x = np.nonzero(significant[number] > 1)
        box = [x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5]
        np.testing.assert_array_equal(made["boxes"][scene, number], box)
    label = np.where(significant.max(axis=0) > 1, significant.argmax(axis=0) + 1, 0)
    assert np.mean(made["segmentation"][scene] != label) < 2e-3
    np.testing.assert_allclose(made["variance"][scene].min(axis=(0, 1)), SKY, rtol=1e-3)


def test_the_variance_is_that_of_sky_and_observed_light():
    gain = np.array([0.5, 2.0])
    made = numpy(
        PasteScenes(size=SIZE, sources=(4, 4), bank=1, gain=gain.tolist(), flux_range=(5.0, 5.0))(stamp_batch())
    )
    seen = np.maximum(made["image"], 0)
    np.testing.assert_allclose(made["variance"], SKY + seen / gain, rtol=1e-5)
    # Sources, whose light without noise is everywhere above 0, are not to be read from it.
    assert 0.5 < (made["variance"] > SKY * 1.0001).mean() < 0.95


def test_fluxes_and_classes_are_those_of_the_stamps(made):
    for scene, sources in enumerate(SOURCES):
        for number, (stamp, _, _, factor, star) in enumerate(sources):
            flux = np.array(STAMPS[stamp][2]) * factor
            np.testing.assert_allclose(made["flux"][scene, number], flux, rtol=2e-4)
            np.testing.assert_allclose(made["source_images"][scene, number].sum(axis=(0, 1)), flux, rtol=2e-4)
            assert made["source_class"][scene, number] == (1 if star else stamp_batch()["label"][stamp])
    np.testing.assert_array_equal(made["n_sources"], [4, 2])
    for key in ("positions", "flux", "boxes", "corners", "source_images"):
        assert not made[key][1, 2:].any()
    np.testing.assert_array_equal(made["source_class"][1, 2:], -1)


def test_what_is_drawn_is_in_its_limits_and_depends_on_the_seed():
    batch = {key: np.repeat(value, 4, axis=0) for key, value in stamp_batch().items() if key != "label"}

    def draw(seed, **changes):
        layer = PasteScenes(size=SIZE, sources=(2, 5), bank=3, stars=0.3, even_flux=(50, 5000), seed=seed, **changes)
        return numpy(layer(batch))

    one, same, other = draw(1), draw(1), draw(2)
    for key, values in one.items():
        np.testing.assert_array_equal(values, same[key])
    assert not np.array_equal(one["image"], other["image"])
    assert one["image"].shape == (4, SIZE, SIZE, 2)
    present = np.arange(5) < one["n_sources"][:, None]
    assert {2, 3, 4, 5} >= {*one["n_sources"].tolist()}
    assert np.all((one["flux"][present][:, 0] > 49.9) & (one["flux"][present][:, 0] < 5001))
    assert np.all(np.abs(one["positions"][present] - (SIZE - 1) / 2) <= SIZE / 2)
    assert {*one["source_class"][present].tolist()} <= {0, 1}


def test_a_batch_is_a_function_of_seed_and_step(tmp_path):
    make_stamps(n=30, size=16, bands=("r",)).save(tmp_path / "s.h5")
    base = StampSource(tmp_path / "s.h5", ("image", "truth", "variance", "psf"), "all")
    keys = ("image", "n_sources", "positions")

    def source():
        return MadeSource(base, PasteScenes(size=24, sources=(1, 3), bank=2), keys)

    walk = [numpy(batch) for batch in training_batches(source(), 4, seed=3).take(3)]
    later = numpy(next(iter(training_batches(source(), 4, seed=3, start=2))))
    other = numpy(next(iter(training_batches(source(), 4, seed=4, start=2))))
    for key in keys:
        np.testing.assert_array_equal(later[key], walk[2][key])
    assert not np.array_equal(walk[0]["positions"], walk[1]["positions"])
    assert not np.array_equal(later["positions"], other["positions"])
    made = source()
    batch = base.batch(np.arange(8))
    first = numpy(made.made(batch, state_of(3, 0)))
    made.made(batch, state_of(3, 1))
    np.testing.assert_array_equal(numpy(made.made(batch, state_of(3, 0)))["image"], first["image"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"sources": (3, 1)}, "sources is"),
        ({"sources": (0, 0)}, "at least 1"),
        ({"stars": 1.5}, "stars is 1.5"),
        ({"cutoff": 1.5}, "cutoff is 1.5"),
        ({"gain": [1, 0]}, "gain is"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        PasteScenes(**change)


def test_what_is_missing_is_named():
    batch = stamp_batch()
    del batch["psf"]
    with pytest.raises(InputError, match="there is no 'psf'"):
        PasteScenes(size=SIZE, bank=3)(batch)


def test_scenes_may_have_rays_and_saturated_stars():
    layer = PasteScenes(size=SIZE, sources=(2, 4), bank=3, cosmic_rays=6, saturation=(8.0, 9.0))
    made = numpy(layer(stamp_batch()))
    assert 8 <= made["image"].max() <= 9
    assert made["mask"].any()
    assert not made["mask"].all()
    assert PasteScenes.from_config(layer.get_config()).get_config() == layer.get_config()
