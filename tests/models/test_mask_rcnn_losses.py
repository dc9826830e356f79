"""The losses of the Mask R-CNN, its anchors and the first pass of its training, against loops over sources."""

import itertools

import keras
import numpy as np
import pytest

from galzoo.layers import boxes as boxing
from galzoo.models.mask_rcnn import anchors, first_pass, losses


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), float)


def arrays(values):
    return {key: array(value) for key, value in values.items()}


def entropy(logit, target):
    p = 1 / (1 + np.exp(-np.asarray(logit, float)))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def robust(residual, logarithm):
    """Return a Gaussian's negative log likelihood, which goes on straight beyond three errors."""
    logarithm = np.clip(logarithm, -5, 3)
    size = np.abs(residual) / np.exp(logarithm)
    return np.where(size < 3, size**2 / 2, 3 * size - 4.5) + logarithm


class TestTruth:
    def test_signal_to_noise_weighs_bands_by_their_noise(self):
        images = np.random.default_rng(1).uniform(0, 9, (2, 3, 5, 5, 2)).astype("float32")
        noise = np.array([[2.0, 3.0], [0.5, 7.0]], "float32")
        present = np.array([[1.0, 1.0], [1.0, 0.0]], "float32")
        found = losses.signal_to_noise({"source_images": images}, noise[:, None, None], present)
        power = (images.astype(float) ** 2).sum(axis=(2, 3)) / noise[:, None] ** 2 * present[:, None]
        np.testing.assert_allclose(array(found), np.sqrt(power.sum(axis=-1)), rtol=1e-5)

    def test_light_of_sources_without_images_is_spread_over_fifty_pixels(self):
        flux = np.array([[[30.0, 40.0]]], "float32")
        found = losses.signal_to_noise({"flux": flux}, np.full((1, 1, 1, 2), 2, "float32"), np.ones((1, 2), "float32"))
        # In each of 50 pixels of noise 2 there are .6 and .8.
        np.testing.assert_allclose(array(found), [[np.sqrt(50 * (0.3**2 + 0.4**2))]], rtol=1e-5)

    def test_sources_that_are_not_looked_for_are_neither_positive_nor_ignored(self):
        batch = {
            "positions": np.zeros((1, 5, 2)), "boxes": np.zeros((1, 5, 4)), "n_sources": np.array([4]),
            "flux": np.array([[[71.0], [71.0], [70.0], [70.0], [99.0]]]),
        }  # fmt: skip
        # Of 50 pixels of unit noise 70.7 is ten sigma.
        wanted = np.array([[True, False, True, False, True]])
        noise, present = np.ones((1, 1, 1, 1), "float32"), np.ones((1, 1), "float32")
        found = losses.select_truth(batch, noise, present, 10.0, wanted)
        np.testing.assert_array_equal(array(found["positive"]), [[1, 0, 0, 0, 0]])
        np.testing.assert_array_equal(array(found["ignored"]), [[0, 0, 1, 0, 0]])


def test_losses_of_maps_are_sums_over_cells():
    random, stride, height, width = np.random.default_rng(4), 2, 7, 9
    maps = random.normal(size=(2, height, width, 7)).astype("float32")
    positions = random.uniform(1, 12, (2, 4, 2)).astype("float32")
    truth = {
        "positions": positions,
        "boxes": np.concatenate([positions - [2, 3], positions + [4, 1]], axis=-1).astype("float32"),
        # The second scene has none that must be found.
        "positive": np.array([[True, True, False, False], [False] * 4]),
        "ignored": np.array([[False, False, True, False], [False, True, False, False]]),
    }
    centres = places = positive = near = 0.0
    for scene in range(2):
        cells = [tuple(np.floor((place[::-1] + 0.5) / stride).astype(int)) for place in positions[scene]]
        own = [cells[row] for row in range(4) if truth["positive"][scene, row]]
        faint = [cells[row] for row in range(4) if truth["ignored"][scene, row]]
        for y, x in itertools.product(range(height), range(width)):
            target = float((y, x) in own)
            beside = any(abs(y - row) <= 1 and abs(x - column) <= 1 for row, column in faint)
            if target or not beside:
                centres += entropy(maps[scene, y, x, 0], target)
            positive += target
            middle = np.array([x, y]) * stride + 0.5
            rows = np.flatnonzero(truth["positive"][scene])
            if not len(rows):
                continue
            row = rows[np.argmin(((positions[scene, rows] - middle) ** 2).sum(axis=-1))]
            place, box = positions[scene, row].astype(float), truth["boxes"][scene, row]
            if np.abs(place - middle).max() <= 1.5 * stride:
                values = maps[scene, y, x].astype(float)
                reach = np.log([*(place - box[:2]), *(box[2:] - place)])
                places += np.abs(values[1:3] - (place - middle)).sum() / stride + np.abs(values[3:] - reach).mean()
                near += 1
    found = arrays(losses.map_losses(maps, truth, stride))
    np.testing.assert_allclose(found["centres"], centres / (positive + 1), rtol=1e-5)
    np.testing.assert_allclose(found["places"], places / (near + 1), rtol=1e-5)
    assert near > 8


def test_a_proposal_reaches_a_tenth_of_the_smaller_side_further():
    truth = {
        "positions": np.array([[[10.0, 10.0]]], "float32"), "boxes": np.array([[[0.0, 5.0, 40.0, 15.0]]], "float32"),
        "positive": np.array([[True]]), "ignored": np.array([[False]]),
    }  # fmt: skip
    centre = np.array([[[12.9, 10.0], [10.0, 13.1]]], "float32")
    for score in ([1.0, 2.0], [2.0, 1.0]):
        _, matched, _ = losses.match(centre, np.array([score], "float32"), truth, 2.0)
        np.testing.assert_array_equal(array(matched), [[1, 0]])


@pytest.fixture(scope="module")
def measured():
    random = np.random.default_rng(7)
    shape, rows = (2, 4), np.arange(2)[:, None]
    batch = {
        "positions": random.uniform(5, 20, (2, 3, 2)),
        "flux": random.uniform(-20, 900, (2, 3, 2)),
        # One is unknown, and taken to be of the first class.
        "source_class": np.array([[0, 1, -1], [1, 0, 0]]),
        "ellipticity": random.uniform(-0.5, 0.5, (2, 3, 2)),
        # One has no size, another is smaller than what is told apart.
        "half_light_radius": np.array([[0.8, 0.5, 0.01], [0.4, 0.0, 0.6]]),
    }
    batch["boxes"] = np.concatenate([batch["positions"] - 4, batch["positions"] + 6], axis=-1)
    owner = np.array([[0, 1, 2, 0], [1, 2, 0, 2]], "int32")
    centre = batch["positions"][rows, owner] + random.normal(size=(*shape, 2))
    sizes = {"class_logits": 2, "reach": 4, "position": 2, "log_position_error": 2, "scaled_flux": 2,
             "log_flux_error": 2, "shape": 3, "log_shape_error": 3}  # fmt: skip
    found = {key: random.normal(size=(*shape, size)) for key, size in sizes.items()}
    found |= {"centre": centre, "flux_unit": random.uniform(2, 9, (*shape, 2))}
    found["position"] = centre + found["position"]
    found["log_shape_error"][0, :2] = [-7, 2.0, 5]
    weight, present = np.array([[1, 1, 1, 0], [1, 1, 0, 1]]), np.array([[1, 1], [1, 0]])
    given = [{key: value.astype("float32") for key, value in part.items()} for part in (found, batch)]
    made = losses.measurement_losses(
        given[0], given[1], given[1], owner, weight.astype("float32"), present.astype("float32"), 0.2
    )
    of = {key: value[rows, owner] for key, value in batch.items()}
    return arrays(made), found, of, weight, present


class TestMeasurements:
    def test_classes_and_boxes_are_means_over_proposals(self, measured):
        made, found, of, weight, _ = measured
        share = np.exp(found["class_logits"])
        share = share / share.sum(axis=-1, keepdims=True)
        own = np.take_along_axis(share, np.maximum(of["source_class"], 0)[..., None], axis=-1)[..., 0]
        np.testing.assert_allclose(made["classes"], -(weight * np.log(own)).sum() / 7, rtol=1e-5)
        distance = np.concatenate([found["centre"] - of["boxes"][..., :2], of["boxes"][..., 2:] - found["centre"]], -1)
        off = np.abs(found["reach"] - np.log(distance)).mean(axis=-1)
        np.testing.assert_allclose(made["boxes"], (weight * off).sum() / 7, rtol=1e-5)

    def test_places_and_fluxes_are_likelihoods_of_the_bands_that_are_there(self, measured):
        made, found, of, weight, present = measured
        each = robust(found["position"] - of["positions"], found["log_position_error"]) * weight[..., None]
        np.testing.assert_allclose(made["position"], each.sum() / 13, rtol=1e-5)
        flux = np.arcsinh(of["flux"] / found["flux_unit"])
        each = robust(found["scaled_flux"] - flux, found["log_flux_error"])
        counted = weight[..., None] * present[:, None]
        np.testing.assert_allclose(made["flux"], (each * counted).sum() / (counted.sum() + 1), rtol=1e-5)

    def test_shapes_are_those_of_galaxies_with_a_size_in_pixels(self, measured):
        made, found, of, weight, _ = measured
        galaxy = (of["source_class"] <= 0) & (of["half_light_radius"] > 0) & (weight > 0)
        radius = np.log(np.maximum(of["half_light_radius"] / 0.2, 0.1), where=galaxy, out=np.zeros((2, 4)))
        off = found["shape"] - np.concatenate([of["ellipticity"], radius[..., None]], axis=-1)
        each = robust(off, found["log_shape_error"]) * galaxy[..., None]
        assert galaxy.sum() == 4
        np.testing.assert_allclose(made["shape"], each.sum() / 13, rtol=1e-5)


def test_losses_of_masks_are_sums_over_pixels_of_the_boxes():
    """Boxes of which each of the 4 x 4 points lies on a pixel, so that nothing is interpolated."""
    random, size = np.random.default_rng(3), (12, 14)
    images = random.uniform(0, 3, (1, 3, 8, 8, 2)).astype("float32")
    images[0, 0, 3] = 0
    corners = np.array([[[1, 2], [3, 0], [5, 4]]], "float32")
    noise, present = np.array([2.0, 0.5], "float32"), np.array([1.0, 0.0], "float32")
    truth = {
        "boxes": np.array([[[1.5, 2.5, 5.5, 6.5], [4.5, 1.5, 8.5, 5.5], [0] * 4]], "float32"),
        "positive": np.array([[True, False, True]]),
    }
    logits = random.normal(size=(1, 2, 4, 4, 2)).astype("float32")
    scenes = np.zeros((3, *size))
    for row, (x, y) in enumerate(corners[0].astype(int)):
        scenes[row, y : y + 8, x : x + 8] = images[0, row, ..., 0] / 2
    total = weights = 0.0
    for y, x in itertools.product(range(4), range(4)):
        whole, own = scenes[:, 3 + y, 2 + x].sum(), scenes[0, 3 + y, 2 + x]
        each = entropy(logits[0, 0, y, x].astype(float), np.array([own / whole if whole else 0, own > 1]))
        weight = np.array([whole / (whole + 1), 1])
        total, weights = total + (weight * each).sum(), weights + weight.sum()
    batch = {"source_images": images, "corners": corners}
    found = losses.mask_loss(logits, batch, truth, noise[None, None, None], present[None], size)
    np.testing.assert_allclose(array(found), total / (weights + 1), rtol=1e-5)


class TestAnchors:
    def test_losses_are_sums_over_anchors(self):
        reference = np.array(
            [[0, 0, 8, 8], [0, 0, 8, 7], [0, 1, 8, 12], [1, 0, 12, 8], [20, 20, 28, 28], [20, 20, 28, 30],
             [21, 21, 40, 40], [0, 30, 8, 38], [0, 30, 8, 34], [30, 0, 38, 8]], "float32",
        )  # fmt: skip
        truth = {
            # The first owns two anchors, the second the best of its poor ones; the third is too faint.
            "boxes": np.array([[[0, 0, 8, 8.5], [24, 24, 40, 40], [0, 30, 8, 38], [30, 0, 38, 8]]], "float32"),
            "positive": np.array([[True, True, False, False]]),
            "ignored": np.array([[False, False, True, False]]),
        }
        shared = np.array([[overlap(one, box) for box in truth["boxes"][0]] for one in reference])
        best = shared[:, :2].max(axis=1)
        own = (best >= 0.7) | (shared[:, 0] == shared[:, 0].max()) | (shared[:, 1] == shared[:, 1].max())
        counted = own | ((best < 0.3) & (shared[:, 2] < 0.3))
        assert own.sum() == 3
        assert ((best > 0.3) & ~own).sum() >= 1
        values = np.random.default_rng(2).normal(size=(1, len(reference), 5)).astype("float32")
        centres = (counted * entropy(values[0, :, 0], own)).sum() / 4
        places = 0.0
        for row in np.flatnonzero(own):
            one, box = reference[row], truth["boxes"][0, np.argmax(shared[row, :2])]
            side, new = one[2:] - one[:2], box[2:] - box[:2]
            code = np.concatenate([((box[:2] + box[2:]) - (one[:2] + one[2:])) / 2 / side, np.log(new / side)])
            places += np.abs(values[0, row, 1:] - code).mean() / 4
        found = arrays(anchors.anchor_losses(values, reference, truth))
        np.testing.assert_allclose(found["centres"], centres, rtol=1e-5)
        np.testing.assert_allclose(found["places"], places, rtol=1e-5)

    def test_the_best_anchor_of_a_source_learns_its_box_though_it_overlaps_another_more(self):
        reference = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], "float32")
        truth = {
            "boxes": np.array([[[0, 2, 10, 10], [0, 0, 10, 9]]], "float32"),
            "positive": np.array([[True, True]]), "ignored": np.array([[False, False]]),
        }  # fmt: skip
        values = np.zeros((1, 2, 5), "float32")
        values[0, :, 1:] = array(boxing.code_boxes(reference, truth["boxes"][0]))
        assert arrays(anchors.anchor_losses(values, reference, truth))["places"] < 1e-6

    @pytest.mark.parametrize(("height", "kept"), [(13.5, [3.0, 2.0]), (14.5, [3.0, 1.0])])
    def test_boxes_that_overlap_by_more_than_seven_tenths_are_left_out(self, height, kept):
        reference = np.array([[0, 0, 8, 20], [0, 0, 8, height], [30, 30, 38, 38]], "float32")
        values = np.zeros((1, 3, 5), "float32")
        values[0, :, 0] = 3.0, 2.0, 1.0
        _, score = anchors.anchor_proposals(values, reference, 2)
        np.testing.assert_allclose(array(score)[0], kept)


def overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


class TestFirstPass:
    @pytest.fixture
    def blend(self):
        """Two sources four pixels apart along x, the second brighter, and one that is far from both."""
        rows, columns = np.indices((25, 25)) - 12
        blob = np.exp(-0.5 * (rows**2 + columns**2) / 2.5**2)
        flux = np.array([400.0, 900.0, 300.0])
        images = (blob / blob.sum())[..., None] * flux[:, None, None, None]
        corners = np.array([[10, 5], [14, 5], [60, 20]])
        return {
            "source_images": images[None].astype("float32"), "corners": corners[None].astype("float32"),
            "positions": (corners[None] + 12).astype("float32"), "flux": flux[None, :, None].astype("float32"),
            "n_sources": np.array([3], "int32"),
        }  # fmt: skip

    @staticmethod
    def passed(monkeypatch, blend, chance, normal=None, snr=1e6):
        """Return the fitted image (y, x) for draws (source,) of missing, and normal numbers (source, 4)."""
        draws = np.zeros((1, 3, 9), "float32")
        draws[..., 0] = chance
        normal = np.zeros((3, 4)) if normal is None else np.asarray(normal, float)
        # Turned about so that they come back by Box & Muller's formula.
        draws[0, :, 1:5] = np.exp(-0.5 * normal**2)
        draws[0, :, 5:] = np.where(normal < 0, 0.5, 0.0)
        monkeypatch.setattr(keras.random, "uniform", lambda shape, seed=None: keras.ops.convert_to_tensor(draws))
        snr = np.broadcast_to(np.array([1.0, 2.0, 1.0], "float32") * snr, (1, 3)).astype("float32")
        image, missed = first_pass.first_pass(blend, snr, (50, 90), 0)
        return array(image)[0, ..., 0], array(missed)[0]

    def test_sources_beside_brighter_ones_are_missed_more_often(self, monkeypatch, blend):
        for chance, missed in ((0.09, [1, 1, 1]), (0.11, [1, 0, 0]), (0.49, [1, 0, 0]), (0.51, [0, 0, 0])):
            np.testing.assert_array_equal(self.passed(monkeypatch, blend, chance)[1], missed)
        blend["positions"][0, 1, 0] += 4.1
        np.testing.assert_array_equal(self.passed(monkeypatch, blend, 0.11)[1], 0)

    def test_images_are_added_where_they_lie_and_cut_at_the_edges(self, monkeypatch, blend):
        blend["corners"][0, 2] = 78, 41
        made, _ = self.passed(monkeypatch, blend, 0.9)
        wanted = np.zeros((80, 110))
        for (x, y), image in zip(blend["corners"][0].astype(int), blend["source_images"][0, ..., 0], strict=True):
            wanted[y : y + 25, x : x + 25] += image
        np.testing.assert_allclose(made, wanted[:50, :90], atol=1e-4)

    def test_light_of_what_is_missed_goes_to_its_neighbours_which_move_towards_it(self, monkeypatch, blend):
        made, missed = self.passed(monkeypatch, blend, [0.9, 0.0, 0.9])
        np.testing.assert_array_equal(missed, [0, 1, 0])
        share = np.exp(-0.5 * (4 / 3) ** 2)
        near, columns = made[:, :40], np.arange(40)
        total = 400 + share * 900
        np.testing.assert_allclose(near.sum(), total, rtol=1e-3)
        # The middle of both, but at most a pixel away.
        np.testing.assert_allclose((near.sum(axis=0) * columns).sum() / total, 22 + 1, atol=0.01)
        blend["flux"][0, 1] = blend["source_images"][0, 1] = 0
        blend["flux"][0, 1] = 100
        made, _ = self.passed(monkeypatch, blend, [0.9, 0.0, 0.9])
        total = 400 + share * 100
        np.testing.assert_allclose(made[:, :40].sum(), total, rtol=1e-3)
        away = 4 * share * 100 / total
        np.testing.assert_allclose((made[:, :40].sum(axis=0) * columns).sum() / total, 22 + away, atol=0.01)

    def test_what_is_missed_is_shared_out_once(self, monkeypatch, blend):
        """Both neighbours of the missed one lie on it."""
        blend["corners"][0], blend["positions"][0] = [14, 5], [26, 17]
        made, _ = self.passed(monkeypatch, blend, [0.9, 0.0, 0.9])
        np.testing.assert_allclose(made.sum(), 1600, rtol=1e-4)

    def test_errors_of_flux_and_place_grow_as_sources_are_fainter(self, monkeypatch, blend):
        normal = [[1.5, 1.0, -2.0, 0.0], [0] * 4, [0] * 4]
        rows, columns = np.indices((50, 40))
        # The bright one beside it is taken off.
        plain = self.passed(monkeypatch, blend, 0.9)[0][:, :40]
        for snr, flux_error, place_error in ((1e6, 0.02, 0.03), (10.0, np.hypot(0.02, 0.1), np.hypot(0.03, 0.1))):
            off = self.passed(monkeypatch, blend, 0.9, normal, snr)[0][:, :40] - plain
            np.testing.assert_allclose(off.sum(), 400 * 1.5 * flux_error, rtol=1e-3)
            moment = [
                (off * (axis - at)).sum() / (400 * (1 + 1.5 * flux_error)) for axis, at in ((columns, 22), (rows, 17))
            ]
            np.testing.assert_allclose(moment, [place_error, -2 * place_error], rtol=1e-3)

    def test_squared_sizes_are_off_by_a_tenth_of_a_pixel(self, monkeypatch, blend):
        rows = np.indices((50, 90))[0][:, 30:]
        plain = self.passed(monkeypatch, blend, 0.9)[0][:, 30:]
        for normal, wider in ((1.0, 0.1), (-1.5, -0.15), (3.0, 0.2)):
            off = self.passed(monkeypatch, blend, 0.9, [[0] * 4, [0] * 4, [0, 0, 0, normal]])[0][:, 30:] - plain
            np.testing.assert_allclose((off * (rows - 32.0) ** 2).sum() / 300, wider, rtol=1e-3)
