"""From what the Mask R-CNN says of proposals to catalogues: numbers by hand, of a network that says what it is told."""

import types
from unittest import mock

import numpy as np
import pytest

from galzoo.layers.boxes import squares
from galzoo.models.mask_rcnn import calibrate, losses
from galzoo.models.mask_rcnn.aperture import aperture_light
from galzoo.models.mask_rcnn.detections import detections

ROWS, COLUMNS = 30, 50


def said(**changes):
    """Return what a network might say of four proposals in one image of two bands, the most probable second."""
    found = {
        "existence": [[1.0, 3.0, -1.0, 2.0]],
        "score": [[0.0, 0.0, 0.0, 0.0]],
        "position": [[[10.0, 20.0], [40.0, 5.0], [45.0, 28.0], [20.0, 20.0]]],
        "centre": [[[11.0, 20.0], [40.0, 6.0], [44.0, 27.0], [21.0, 21.0]]],
        "reach": np.log([[[2.0, 3, 4, 5], [1, 2, 3, 4], [3, 4, 8, 9], [30, 1, 2, 40]]]),
        "class_logits": [[[1.0, 0.0], [-2.0, 0.5], [0.0, 0.0], [20.0, 1.0]]],
        "scaled_flux": [[[1.0, 2.0], [3.0, -0.5], [0.5, 0.2], [1.5, 1.0]]],
        "flux_unit": [[[2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]]],
        "log_flux_error": [[[-1.0, 0.0], [-9.0, 9.0], [0.5, 0.1], [0.2, 0.3]]],
        "log_position_error": [[[-1.0, 0.0], [-9.0, 9.0], [0.5, 0.1], [0.2, 0.3]]],
        "shape": [[[0.1, 0.2, 1.0], [0.9, -1.2, -5.0], [0.0, 0.0, 9.0], [0.5, 0.5, 0.5]]],
        "log_shape_error": [[[-1.0, -2.0, -0.5]] * 4],
        "present": [[1.0, 1.0]],
    } | changes  # fmt: skip
    return {key: np.asarray(value, "float32") for key, value in found.items()}


def detected(found, calibration=None, **options):
    """Return the detections of a network that says `found`; its masks tell their boxes."""

    def paint(features, boxes):
        first = np.broadcast_to(boxes[:, :, None, :], (*boxes.shape[:2], 28, 4))
        planes = np.tile(first, (1, 1, 1, 7)) / 50
        return np.stack([planes, 99 + planes], axis=-1)

    model = types.SimpleNamespace(
        look=lambda batch: {"features": None}, propose=lambda seen: found, paint=paint, calibration=calibration,
        classes=("galaxy", "star"),
    )  # fmt: skip
    return detections(model, {"image": np.zeros((1, ROWS, COLUMNS, 2)), "variance": None}, **options)


class TestCatalogue:
    def test_the_most_probable_is_first_and_each_keeps_what_is_said_of_it(self):
        found, made = said(), detected(said())
        order = [1, 3, 0, 2]
        np.testing.assert_allclose(made.probability[0], 1 / (1 + np.exp([-3.0, -2, -1, 1])), rtol=1e-6)
        np.testing.assert_array_equal(made.positions[0], found["position"][0, order])
        logits = found["class_logits"][0, order].astype(float)
        star = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        np.testing.assert_allclose(made.class_probability[0], np.stack([1 - star, star], axis=-1), atol=1e-6)

    def test_boxes_are_cut_at_the_edges_of_the_image(self):
        # Row by row as the order above; the image is 50 pixels wide and 30 high.
        wanted = [[39, 4, 43, 10], [-0.5, 20, 23, 29.5], [9, 17, 15, 25], [41, 23, 49.5, 29.5]]
        np.testing.assert_allclose(detected(said()).boxes[0], wanted, rtol=1e-5)

    def test_fluxes_and_their_errors_are_those_of_an_arcsinh(self):
        made, order = detected(said()), [1, 3, 0, 2]
        z, unit = (said()[key][0, order].astype(float) for key in ("scaled_flux", "flux_unit"))
        error = np.exp(np.clip(said()["log_flux_error"][0, order], -5, 3))
        np.testing.assert_allclose(made.flux[0], unit * np.sinh(z), rtol=1e-5)
        np.testing.assert_allclose(made.flux_error[0], unit * np.cosh(z) * error, rtol=1e-5)
        np.testing.assert_allclose(made.position_error[0], error, rtol=1e-5)

    def test_bands_that_are_not_there_have_no_flux_and_an_error_without_end(self):
        made = detected(said(present=[[1.0, 0.0]]))
        assert (made.flux[0, :, 1] == 0).all()
        assert np.isposinf(made.flux_error[0, :, 1]).all()
        assert np.isfinite(made.flux_error[0, :, 0]).all()

    def test_shapes_stay_below_an_ellipticity_of_one(self):
        made = detected(said())
        radius = np.array([np.exp(-3), np.exp(0.5), np.exp(1), 50])
        np.testing.assert_allclose(made.shape[0, :, 2], radius, rtol=1e-5)
        ellipticity = [[0.99 * 0.6, -0.99 * 0.8], [0.5, 0.5], [0.1, 0.2], [0, 0]]
        np.testing.assert_allclose(made.shape[0, :, :2], ellipticity, rtol=1e-5)
        errors = np.exp([-1.0, -2.0, -0.5]) * np.stack([np.ones(4), np.ones(4), radius], axis=-1)
        np.testing.assert_allclose(made.shape_error[0], errors, rtol=1e-5)

    @pytest.mark.parametrize("number", [4, 40, 700])
    def test_masks_are_painted_in_the_boxes_whatever_their_number(self, number):
        random = np.random.default_rng(number)
        place = np.stack([np.arange(number) % 40, np.arange(number) // 40], axis=-1)[None] + 0.5
        rows = np.arange(number) % 4
        found = {key: value if key == "present" else value[:, rows] for key, value in said().items()}
        found["existence"] = random.normal(size=(1, number))
        made = detected(found | {"position": place, "centre": place})
        assert made.masks.shape == (1, number, 28, 28)
        np.testing.assert_allclose(made.masks[0, :, 3, :4], 1 / (1 + np.exp(-made.boxes[0] / 50)), rtol=1e-5)


class TestWhichAreKept:
    def test_those_whose_place_is_in_the_image(self):
        inside = [[49.4, 29.4], [-0.4, -0.4], [0.4, 10], [30, 20]]
        assert detected(said(position=[inside])).probability.shape == (1, 4)
        for outside in ([49.6, 3], [3, 29.6], [-0.6, 3], [3, -0.6]):
            made = detected(said(position=[[outside, *inside[1:]]]))
            np.testing.assert_allclose(made.positions[0], np.float32([inside[row] for row in (1, 3, 2)]))

    def test_those_that_are_as_probable_as_is_asked(self):
        assert detected(said(), threshold=0.7).probability.shape == (1, 3)
        assert detected(said(), threshold=0.74).probability.shape == (1, 2)

    def test_no_fillers(self):
        assert detected(said(score=[[0, -1e4, 0, 0]])).probability.max() < 0.9

    def test_the_more_probable_of_two_that_are_nearer_than_the_separation(self):
        place = [[[10.0, 20.0], [10.0, 20.9], [30.0, 5.0], [30.0, 6.1]]]
        made = detected(said(position=place))
        np.testing.assert_allclose(made.positions[0], np.float32([[10, 20.9], [30, 6.1], [30, 5]]))
        place[0][0][1] = 18.6
        for separation, number in ((2.2, 3), (2.4, 2)):
            assert detected(said(position=place), separation=separation).probability.shape == (1, number)


class TestCalibration:
    def test_signal_to_noise_is_that_of_the_flux_in_the_bands_that_are_there(self):
        found = said()
        z, unit = found["scaled_flux"].astype(float), found["flux_unit"]
        error = np.exp(np.clip(found["log_flux_error"], losses.LEAST_LOG, losses.MOST_LOG))
        each = (unit * np.sinh(z)) / (unit * np.cosh(z) * error)
        wanted = np.log(np.maximum(np.sqrt((each**2).sum(axis=-1)), 1))
        np.testing.assert_allclose(calibrate.measured_snr(found), wanted, rtol=1e-5)
        assert 0 < wanted[0, 0] < wanted[0, 1]
        assert wanted[0, 2] == 0
        one = calibrate.measured_snr(said(present=[[0.0, 1.0]]))
        np.testing.assert_allclose(one, np.log(np.maximum(np.abs(each[..., 1]), 1)), rtol=1e-5, atol=1e-7)

    def test_logits_are_changed_by_a_line_in_themselves_and_in_the_signal_to_noise_ratio(self):
        found = said()
        logit = 0.5 * found["existence"] - 1 + 0.25 * calibrate.measured_snr(found)
        made = detected(found, (0.5, -1.0, 0.25))
        np.testing.assert_allclose(made.probability[0], -np.sort(-1 / (1 + np.exp(-logit[0]))), rtol=1e-5)

    def test_few_proposals_leave_the_logits_nearly_as_they_are(self):
        """The slope of likelihood and prior is 0 at the answer, which the prior alone holds where nothing is known."""
        rows, true = np.array([[2.0, 1.0, 0.5], [-1.0, 1.0, 3.0], [0.3, 1.0, 0.0]]), np.array([1.0, 1.0, 0.0])
        found = np.array(calibrate._logistic(rows, true))
        slope = rows.T @ (1 / (1 + np.exp(-rows @ found)) - true) + (found - [1, 0, 0])
        np.testing.assert_allclose(slope, 0, atol=1e-5)
        np.testing.assert_allclose(calibrate._logistic(np.zeros((1, 3)), np.ones(1)), [1, 0, 0], atol=1e-9)

    def test_proposals_of_faint_sources_and_fillers_are_not_asked(self, monkeypatch):
        """A bright source, a faint one, and one that is not looked for; proposals at each, and a filler."""
        batch = {
            "positions": np.array([[[5.0, 5.0], [15.0, 5.0], [25.0, 5.0]]], "float32"), "n_sources": np.array([3]),
            "boxes": np.zeros((1, 3, 4), "float32"), "flux": np.array([[[900.0], [1.0], [900.0]]], "float32"),
        }  # fmt: skip
        outputs = {
            "centre": np.array([[[5.0, 5.0], [15.0, 5.0], [25.0, 5.0], [35.0, 5.0]]], "float32"),
            "score": np.array([[1.0, 1.0, 1.0, -1e4]], "float32"), "existence": np.array([[1.0, 2.0, 3.0, 4.0]]),
            "scaled_flux": np.full((1, 4, 1), 9.0), "log_flux_error": np.full((1, 4, 1), -1.0),
            "present": np.ones((1, 1), "float32"), "noise": np.ones((1, 1, 1, 1), "float32"),
        }  # fmt: skip
        given = []
        monkeypatch.setattr(calibrate, "_logistic", lambda rows, true: given.append((rows, true)) or [1, 0, 0])
        for missed, logits, found in ((None, [1, 3], [1, 1]), ([[1, 1, 0]], [1, 3], [1, 0])):
            model = mock.Mock(snr_limit=5.0, match_radius=2.0, return_value=dict(outputs))
            if missed is not None:
                model.return_value["missed"] = np.array(missed)
            calibrate.fit_calibration(model, [batch])
            np.testing.assert_allclose(given[-1][0], [[one, 1, 1] for one in logits], rtol=1e-5)
            np.testing.assert_array_equal(given[-1][1], found)


def test_light_under_a_proposal_is_that_under_a_gaussian_in_units_of_its_noise():
    rows, columns = np.indices((40, 40))
    image = np.exp(-0.5 * ((columns - 18.0) ** 2 + (rows - 22.0) ** 2) / 4.0**2)
    image = np.stack([3 * image, np.full_like(image, 0.7)], axis=-1)[None].astype("float32")
    noise = np.array([0.5, 2.0], "float32")
    centre, side = np.array([[[18.0, 22.0], [16.0, 22.0]]], "float32"), np.array([[12.0, 18.0]], "float32")
    seen = {"image": image, "noise": noise[None, None, None]}
    light, unit = (np.asarray(one, float)[0] for one in aperture_light(seen, np.asarray(squares(centre, side)), side))
    sigma = side[0, :, None].astype(float) / 6
    # Noise under a Gaussian of unit peak, of independent points a spacing apart, and light that is even or a Gaussian.
    spacing = side[0, :, None] / 11
    np.testing.assert_allclose(unit, noise * spacing * np.sqrt(np.pi) * sigma, rtol=0.01)
    even = 0.7 * 2 * np.pi * sigma[:, 0] ** 2
    both = sigma[:, 0] ** 2 + 4.0**2
    blob = 3 * 2 * np.pi * (16 * sigma[:, 0] ** 2 / both) * np.exp(-0.5 * np.array([0, 2.0]) ** 2 / both)
    np.testing.assert_allclose(np.sinh(light) * unit, np.stack([blob, even], axis=-1), rtol=0.03)
