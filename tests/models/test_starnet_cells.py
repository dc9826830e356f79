"""What StarNet makes of what it says of cells: groups, catalogues and their calibration, by hand and by loops."""

import itertools
import types

import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from galzoo.models.starnet import calibrate, looks
from galzoo.models.starnet.calibration import AS_SAID, common_spread, knot_shares
from galzoo.models.starnet.catalogues import as_detections, detections, entries
from galzoo.models.starnet.groups import Groups, group_cells
from galzoo.models.starnet.lit import NO_STAR, lit_cells
from galzoo.models.starnet.model import StarNet
from galzoo.models.starnet.posterior import draw_cells
from galzoo.models.starnet.tile_catalogues import draw_tiles, tile_detections
from galzoo.models.starnet.tiles import TileNetwork
from tests.models.test_starnet import array, cells_of, moments


def along(*x):
    return np.array([(one, 0.0) for one in x])


class TestGroups:
    @pytest.mark.parametrize(
        ("error", "reach"), [(0.1, 0.45), (1.0, 1.35), (5.0, 1.35)], ids=["sharp", "blurred", "cut"]
    )
    def test_cells_within_a_third_of_a_pixel_and_the_error_are_one(self, error, reach):
        for distance, together in ((reach - 0.01, 1), (reach + 0.01, 0)):
            group = group_cells(np.array([0.5, 0.3]), along(0, distance), np.array([error, 0.0]))
            assert (group[0] == group[1]) == together

    def test_the_most_probable_gathers_its_neighbours(self):
        group = group_cells(np.array([0.1, 0.5, 0.3]), along(0, 0.4, 0.8), np.full(3, 0.1))
        np.testing.assert_array_equal(group, 0)

    @pytest.mark.parametrize(
        ("p", "group"),
        [
            ([0.97, 0.03], [0, 0]),
            ([0.985, 0.02], [0, 1]),
            ([0.6, 0.3, 0.2, 0.11], [0, 0, 1, 0]),
            ([0.6, 0.3, 0.13], [0, 0, 1]),
        ],
    )
    def test_a_group_has_one_star_at_most(self, p, group):
        np.testing.assert_array_equal(group_cells(np.array(p), along(*[0.0] * len(p)), np.zeros(len(p))), group)

    @pytest.mark.parametrize(("distance", "groups"), [(0.75, 1), (0.78, 2)])
    def test_the_error_of_a_cell_is_the_mean_of_both_axes(self, distance, groups):
        cells = {
            "logit": np.array([2.0, -3.0]), "position": along(0, distance),
            "log_position_error": np.log([[0.3, 0.5]] * 2),
        }  # fmt: skip
        # By root mean square: .41, beside .35.
        assert len(Groups.of(cells).probability) == groups

    def test_sums_above_one_are_one_and_cells_that_are_hardly_probable_stay_alone(self):
        p = np.array([0.6, 0.41, 0.0029, 0.0031])
        cells = {
            "logit": np.log(p / (1 - p)),
            "position": along(0, 0, 9, 0),
            "log_position_error": np.full((4, 2), -9.0),
        }
        found = Groups.of(cells)
        np.testing.assert_allclose(found.probability, [1.0, 0.0029], rtol=1e-6)

    def test_what_is_less_probable_than_asked_for_changes_no_entry(self):
        cells = {key: value[0] for key, value in cells_of(n=1, rows=30, columns=30, logit=-2.0).items()}
        every, asked = entries(cells), entries(cells, 0.5)
        likely = every["probability"] >= 0.5
        assert 50 < likely.sum() < 0.5 * len(likely)
        for key, values in asked.items():
            np.testing.assert_array_equal(values, every[key][likely])

    def test_cells_that_begin_no_entry_as_probable_as_asked_for_have_none(self):
        p = np.array([0.9, 0.03, 0.03, 0.02])
        group = group_cells(p, along(0, 0.2, 5, 9), np.zeros(4), threshold=0.5)
        np.testing.assert_array_equal(group, [0, 0, 1, -1])

    def test_cells_of_a_draw_rise_and_their_odds_are_shifted(self):
        cells = cells_of(n=1, rows=40, columns=40, logit=-1.0)
        groups = Groups.of({key: cells[key][0] for key in ("logit", "position", "log_position_error")})
        random = np.random.default_rng(0)
        drawn = [groups.draw(0.7, random) for _ in range(100)]
        assert all((np.diff(one) > 0).all() for one in drawn)
        p = groups.probability
        odds = p[p < 1] / (1 - p[p < 1]) * np.exp(0.7)
        wanted, own = (odds / (1 + odds)).sum() + (p == 1).sum(), (odds / (1 + odds) ** 2).sum()
        assert abs(np.mean([len(one) for one in drawn]) - wanted) < 4 * np.sqrt(own / 100)


def test_bright_fluxes_are_drawn_as_they_are():
    cells = cells_of(n=1, logit=-30)
    cells["logit"][0, 1, 1, 0], cells["scaled_flux"][0, 1, 1, 0], cells["log_flux_error"][0, 1, 1, 0] = 30, 9, -9
    drawn = draw_cells(cells, 3)
    np.testing.assert_allclose(drawn.flux[:, 0, 0], np.full((3, 1), cells["unit"][0, 1, 1] * np.sinh(9)), rtol=1e-3)


class TestEntries:
    def test_an_entry_is_the_mean_of_its_cells_and_has_the_variance_between_them(self):
        cells = {key: value[0] for key, value in cells_of(n=1, logit=-30, bands=2).items()}
        p, at = np.array([0.5, 0.3]), ([3, 3], [2, 3], [1, 0])
        cells["logit"][at] = np.log(p / (1 - p))
        cells["position"][at] = [[2.4, 3.0], [2.5, 2.9]]
        cells["scaled_flux"][at] = [[3.0, 1.0], [2.0, 1.5]]
        # A sure one that is beyond what can be held.
        cells["logit"][0, 0, 0], cells["scaled_flux"][0, 0, 0] = 9, 100
        found = entries(cells, factors={"position": 2, "flux": [0.5, 3]})
        np.testing.assert_allclose(found["probability"], [1, 0.8], atol=2e-4)
        assert np.isfinite(found["flux"]).all()

        def of(key, error):
            values, share = cells[key][at].astype(float), (p / p.sum())[:, None]
            mean = (share * values).sum(axis=0)
            own = np.exp(cells[error][at].astype(float)) ** 2
            return mean, np.sqrt((share * (own + (values - mean) ** 2)).sum(axis=0))

        place, place_error = of("position", "log_position_error")
        np.testing.assert_allclose(found["positions"][1], place, rtol=1e-5)
        np.testing.assert_allclose(found["position_error"][1], 2 * place_error, rtol=1e-5)
        z, z_error = of("scaled_flux", "log_flux_error")
        unit = (0.5 * cells["unit"][3, 2] + 0.3 * cells["unit"][3, 3]) / 0.8
        np.testing.assert_allclose(found["unit"][1], unit, rtol=1e-5)
        np.testing.assert_allclose(found["scaled_flux_error"][1], z_error * [0.5, 3], rtol=1e-5)
        np.testing.assert_allclose(found["flux"][1], unit * np.sinh(z), rtol=1e-5)
        np.testing.assert_allclose(found["flux_error"][1], unit * np.cosh(z) * z_error * [0.5, 3], rtol=1e-5)

    def test_boxes_are_as_wide_as_the_psf_at_half_maximum(self):
        grid = np.arange(31) - 15
        psf = norm.pdf(grid, 0, 2.6) * norm.pdf(grid, 0, 2.6)[:, None]
        one = {
            key: np.full((1, size), 7.0)
            for key, size in (("positions", 2), ("position_error", 2), ("flux", 1), ("flux_error", 1))
        }
        found = as_detections(
            types.SimpleNamespace(classes=("galaxy", "star")), {"psf": psf[None, ..., None]},
            [one | {"probability": np.ones(1)}],
        )  # fmt: skip
        half = np.sqrt(2 * np.log(2)) * 2.6
        np.testing.assert_allclose(found.boxes[0, 0], [7 - half, 7 - half, 7 + half, 7 + half], rtol=1e-3)
        np.testing.assert_array_equal(found.class_probability, [[[0, 1]]])


def test_stars_of_the_core_are_those_of_the_whole_image():
    cells = cells_of(n=2, rows=50, columns=60, logit=-2.0)
    model = types.SimpleNamespace(cells=lambda batch: cells, calibration=None, classes=("galaxy", "star"))
    batch = {"psf": np.ones((2, 1, 1, 1))}
    every = detections(model, batch, 0.5)
    core = np.array([[14, 30, 20, 48], [0, 9, 33, 60]])
    asked = detections(model, batch | {"core": core}, 0.5)
    for row, (y0, y1, x0, x1) in enumerate(core):
        both = []
        for found in (every, asked):
            x, y = found.positions[row].T
            inside = (y > y0 - 0.5) & (y < y1 - 0.5) & (x > x0 - 0.5) & (x < x1 - 0.5) & (found.probability[row] > 0)
            order = np.flatnonzero(inside)[np.lexsort((x[inside], y[inside]))]
            both.append([getattr(found, key)[row, order] for key in ("positions", "probability", "flux")])
        assert len(both[0][0]) > 5
        for one, other in zip(*both, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
    assert (asked.probability > 0).sum() < 0.8 * (every.probability > 0).sum()


def test_what_the_network_says_of_a_pixel_hangs_on_those_within_its_margin():
    model = StarNet(("r",))
    random = np.random.default_rng(0)
    for layer in (model.backbone, model.hidden):
        layer.set_weights([0.3 * random.standard_normal(weight.shape) for weight in layer.weights])
    planes = np.zeros((1, 128, 128, 5), "float32")
    told, changed = np.zeros((1, 64), "float32"), planes.copy()
    changed[0, 64, 64] = 100
    one, other = (array(model.hidden(model.backbone(seen, told))) for seen in (planes, changed))
    reach = np.abs(np.argwhere(np.abs(one - other).max(axis=(0, -1)) > 0) - 64).max()
    assert 20 < reach <= model.margin


class TestLit:
    class Model:
        """Says of each pixel how bright it is and where."""

        stride = 4

        def __init__(self):
            self.shape = None

        def __call__(self, batch):
            image = batch["image"]
            self.shape = image.shape[1:3]
            place = np.indices(self.shape)[::-1].transpose(1, 2, 0)[None, :, :, None]
            return {
                "logit": image, "position": place.astype("float32"), "unit": 2 * image + 3,
                "scaled_flux": image[..., None], "known": np.ones(image.shape[:3], "float32"),
                "log_spread": np.zeros(1, "float32"),
            }  # fmt: skip

    def test_cells_are_put_back_where_they_were(self):
        image = np.random.default_rng(0).normal(size=(1, 21, 30, 1)).astype("float32")
        variance = np.zeros_like(image)
        variance[:, 6:15, 10:26] = 1
        image[0, 8, 12] = -1e6
        model = self.Model()
        found = lit_cells(model, {"image": image, "variance": variance})
        # Parts begin at multiples of the stride.
        assert model.shape == (11, 18)
        seen = np.zeros((21, 30), bool)
        seen[4:15, 8:26] = True
        logit = np.maximum(image[0, ..., 0], NO_STAR)
        np.testing.assert_array_equal(found["logit"][0, ..., 0], np.where(seen, logit, NO_STAR))
        place = np.indices(seen.shape)[::-1].transpose(1, 2, 0)
        np.testing.assert_array_equal(found["position"][0, :, :, 0][seen], place[seen])
        np.testing.assert_array_equal(found["unit"][0, ..., 0], np.where(seen, 2 * image[0, ..., 0] + 3, 1))


class TestLooks:
    def test_noise_of_the_sky_is_the_least_within_seven_pixels(self):
        random = np.random.default_rng(3)
        variance = random.uniform(1, 9, (1, 24, 20, 2)).astype("float32")
        mask = random.random(variance.shape) < 0.3
        mask[0, :17, :9, 1] = True
        noise, good, found = (array(one) for one in looks.sky_noise(variance, mask))
        np.testing.assert_array_equal(good, ~mask)
        for y, x, band in itertools.product(range(24), range(20), range(2)):
            near = np.s_[0, max(y - 7, 0) : y + 8, max(x - 7, 0) : x + 8, band]
            some = variance[near][~mask[near]]
            assert found[0, y, x, band] == (len(some) > 0)
            wanted = np.sqrt(some.min()) if len(some) else 1
            np.testing.assert_allclose(noise[0, y, x, band], wanted, rtol=1e-6)

    @pytest.mark.parametrize("shape", [(7, 7), (13, 13), (7, 13), (11, 9)])
    def test_the_middle_of_a_psf_stays_in_the_middle(self, shape):
        psf = np.random.default_rng(1).random((1, *shape, 1))
        found = array(looks.middle(keras.ops.convert_to_tensor(psf), 9))[0, ..., 0]
        assert found.shape == (9, 9)
        for y, x in itertools.product(range(-4, 5), range(-4, 5)):
            row, column = y + shape[0] // 2, x + shape[1] // 2
            inside = 0 <= row < shape[0] and 0 <= column < shape[1]
            assert found[4 + y, 4 + x] == (psf[0, row, column, 0] if inside else 0)

    def test_one_cell_in_a_hundred_has_a_star_at_first(self):
        bias = array(looks.StartBias(3)((6,), "float32"))
        np.testing.assert_allclose(1 / (1 + np.exp(-bias)), [0.01, 0.5, 0.5] * 2, rtol=1e-5)


class TestCalibration:
    def test_shares_of_knots_are_of_the_crowding_in_a_window(self):
        random = np.random.default_rng(8)
        logit = random.normal(-3.5, 1.5, (1, 30, 41, 4)) + np.linspace(-5, 3, 41)[:, None]
        logit[0, :, 30:] = NO_STAR
        p = 1 / (1 + np.exp(-logit[0]))
        known = logit[0, ..., 0] > NO_STAR
        found = knot_shares(logit)[0]
        for y, x in itertools.product(range(30), range(0, 30, 3)):
            near = np.s_[max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9]
            crowding = p[near].sum(axis=-1)[known[near]].mean()
            shares = [np.interp(np.log(crowding), np.log([0.01, 0.03, 0.1, 0.3]), one) for one in np.eye(4)]
            np.testing.assert_allclose(found[y, x], shares, atol=1e-9)
        assert (found[:, :30].max(axis=(0, 1)) > 0.5).all()

    def test_the_common_spread_is_a_power_of_what_is_said_and_of_what_is_doubtful(self):
        found = common_spread(np.log([0.1, 0.2]), np.array([100.0, 50.0]), np.array([10.0, 40.0]), (0.5, 2.0, 1.5))
        np.testing.assert_allclose(found, np.exp(0.5) * np.array([0.1**2 * 0.1**1.5, 0.2**2 * 0.8**1.5]), rtol=1e-6)
        np.testing.assert_allclose(common_spread(np.array([5.0, -50]), 1.0, 1.0), np.exp([1, -8]))

    def test_half_the_width_of_the_central_68_percent_of_twenty_pulls_and_more(self):
        pulls = np.linspace(0, 3, 20)
        np.testing.assert_allclose(calibrate._spread(np.append(pulls, np.nan)), 3 * 0.6826 / 2, rtol=1e-6)
        assert calibrate._spread(np.append(pulls[1:], np.nan)) == 1

    def test_twenty_stars_of_a_crowding_are_enough(self):
        faint, share = np.arange(39.0)[:, None], np.repeat(np.eye(4)[[2, 1]], (20, 19), axis=0)
        np.testing.assert_allclose(calibrate.by_crowding(faint, share), [[0], [0], [9.5], [0]])

    @pytest.mark.parametrize("spread", [None, 0.2])
    def test_shifts_are_where_the_misses_balance_what_holds_them(self, monkeypatch, spread):
        monkeypatch.setattr(calibrate, "_TURNS", 1)
        cells = [cells_of(n=2, rows=20, columns=20, seed=row, logit=-5.0 + row) for row in range(4)]
        part = 0.0
        if spread is not None:
            cells, part = [one | {"log_spread": np.full(2, np.log(spread), "float32")} for one in cells], spread
        number = [np.array([1.5, 1.3]) * moments(one)[0] for one in cells]
        shift, _ = calibrate.fit_counts(cells, number)
        ties = np.diff(shift) / 0.5**2
        slope = -shift + np.append(ties, 0) - np.append(0, ties)
        for one, true in zip(cells, number, strict=True):
            share, own = knot_shares(one["logit"].astype(float)), moments(one)[1]
            p = 1 / (1 + np.exp(-one["logit"].astype(float) - (share @ shift)[..., None]))
            mean = p.sum(axis=(1, 2, 3))
            steep = np.stack([((p * (1 - p)).sum(axis=-1) * share[..., k]).sum(axis=(1, 2)) for k in range(4)], axis=-1)
            slope = slope + ((true - mean) / (own + (part * mean) ** 2 + 0.1)) @ steep
        assert np.abs(shift).max() > 0.1
        np.testing.assert_allclose(slope, 0, atol=0.02)

    def test_the_spread_is_the_most_likely_one(self):
        random = np.random.default_rng(2)
        mean, said = random.uniform(20, 300, 60), np.log(random.uniform(0.02, 0.2, 60))
        own = mean * random.uniform(0.1, 0.6, 60)
        # Fields that have hardly a star.
        mean[:30], own[:30] = 1, 0.03
        miss = random.normal(size=60) * np.sqrt(own + (0.15 * mean) ** 2)

        def loss(spread):
            deviation = np.sqrt(
                own + (np.exp(spread[0] + spread[1] * said) * (own / mean) ** spread[2] * mean) ** 2 + 0.1
            )
            return -norm.logpdf(miss, 0, deviation).sum() - norm.logpdf(spread, AS_SAID, [2.0, 0.5, 2.0]).sum()

        found = calibrate._fit_spread(miss, mean, own, said)
        best = minimize(loss, AS_SAID, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6, "maxiter": 2000})
        assert abs(loss(found) - best.fun) < 0.01

    def test_pulls_are_the_true_values_less_those_found_over_their_errors(self):
        cells = cells_of(n=1, rows=9, columns=3, logit=-30, bands=1)
        # The second is less probable than one half, the third has nothing beside it.
        for (y, x), logit in (((7, 1), 9.0), ((3, 1), -0.5), ((0, 2), 9.0)):
            cells["logit"][0, y, x, 0], cells["position"][0, y, x, 0] = logit, (x, y)
        at = (0, 7, 1)
        z, unit = cells["scaled_flux"][at][0], cells["unit"][at]
        true = unit * np.sinh(z + 0.1)
        batch = {
            "positions": np.array([[[1.2, 6.9], [1, 3]]]), "n_sources": np.array([2]),
            "flux": np.array([[true, cells["unit"][0, 3, 1] * np.sinh(cells["scaled_flux"][0, 3, 1, 0])]]),
        }  # fmt: skip
        calibration = {"shift": [0, 0, 0, 0], "brighter": np.zeros((4, 1))}
        place, faint, share = calibrate._pulls([cells], [batch], calibration)
        np.testing.assert_allclose(place, [[0.2, -0.1]] / np.exp(cells["log_position_error"][at][0]), rtol=1e-4)
        np.testing.assert_allclose(faint, [0.1 / np.exp(cells["log_flux_error"][at][0])], rtol=1e-4)
        np.testing.assert_allclose(share, [knot_shares(cells["logit"].astype(float))[at]])

    def test_what_entries_are_made_brighter_by_is_added_up(self, monkeypatch):
        monkeypatch.setattr(calibrate, "by_crowding", lambda faint, share: np.full((4, 1), 0.25))
        model = types.SimpleNamespace(bands=("r",), cells=lambda batch: cells_of(n=1))
        batch = {"n_sources": [1], "positions": np.full((1, 1, 2), 2.0), "flux": np.full((1, 1, 1), 9.0)}
        np.testing.assert_allclose(calibrate.fit(model, [batch])["brighter"], np.full((4, 1), 0.75))


class TestTiles:
    @staticmethod
    def said(share=((0.1, 0.2, 0.7), (0.3, 0.6, 0.1)), known=None):
        """Return a model of two cores beside each other, three pixels by two, and what it says."""
        random = np.random.default_rng(6)
        found = {
            "log_count": np.log([[share]]).reshape(1, 1, 2, 3),
            "position": np.array([[0.5, 0.2], [-0.2, 1.1], [1.3, 0.4], [2.2, 0.3], [1.9, 1.4], [3.3, 0.1]]),
            "log_position_error": random.uniform(-4, -3, (6, 2)),
            "scaled_flux": np.array([[2.0, 1.0], [3.0, 2.0], [4.0, 0.5], [2.5, 2.5], [3.5, 1.5], [1.0, 0.2]]),
            "log_flux_error": random.uniform(-4, -3, (6, 2)),
        }
        found = {key: value.reshape(1, 1, 2, 3, -1) if value.ndim == 2 else value for key, value in found.items()}
        found["unit"] = random.uniform(1, 3, (1, 2, 3, 2))
        found["known"] = np.ones((1, 2, 3)) if known is None else known
        found = {key: value.astype("float32") for key, value in found.items()}
        batch = {"image": np.zeros((1, 2, 3, 2)), "psf": np.full((1, 5, 5, 2), 0.04)}
        model = type("Model", (), {"classes": ("galaxy", "star"), "__call__": lambda self, batch: dict(found)})()
        return model, batch, {key: value[0, 0] for key, value in found.items()}

    def test_stars_are_as_probable_as_so_many_and_more(self):
        model, batch, said = self.said()
        found = tile_detections(model, batch, 0.5)
        # Two of the first core, of which the second slot is brighter, then one of the second.
        rows = [(0, 2), (0, 1), (1, 0)]
        np.testing.assert_allclose(found.probability[0], [0.9, 0.7, 0.7], rtol=1e-5)
        np.testing.assert_allclose(found.positions[0], [said["position"][row] for row in rows], rtol=1e-5)
        error = [np.exp(said["log_position_error"][row]) for row in rows]
        np.testing.assert_allclose(found.position_error[0], error, rtol=1e-5)
        units = model(batch)["unit"][0]
        unit = np.array([units[y, x] for x, y in ((1, 0), (0, 1), (2, 0))])
        z = np.array([said["scaled_flux"][row] for row in rows])
        np.testing.assert_allclose(found.flux[0], unit * np.sinh(z), rtol=1e-5)
        error = np.exp([said["log_flux_error"][row] for row in rows])
        np.testing.assert_allclose(found.flux_error[0], unit * np.cosh(z) * error, rtol=1e-5)
        assert tile_detections(model, batch, 0.8).probability.shape == (1, 1)

    def test_cores_are_known_by_any_of_their_pixels(self):
        known = np.zeros((1, 2, 3))
        known[0, 1, 2] = 1
        model, batch, _ = self.said(known=known)
        np.testing.assert_allclose(tile_detections(model, batch, 0.5).probability, [[0.7]], rtol=1e-5)

    def test_draws_scatter_by_the_errors_and_numbers_by_their_probabilities(self):
        model, batch, said = self.said()
        drawn = draw_tiles(model, batch, 3000, seed=1)
        count = np.bincount(drawn.count[:, 0], minlength=5) / 3000
        wanted = np.convolve([0.1, 0.2, 0.7], [0.3, 0.6, 0.1])
        np.testing.assert_allclose(count, wanted, atol=0.04)
        only = draw_tiles(self.said(((1e-9, 1, 1e-9), (1, 1e-9, 1e-9)))[0], batch, 2000, seed=1)
        assert (only.count == 1).all()
        place, z = only.positions[:, 0, 0], np.arcsinh(only.flux[:, 0, 0] / model(batch)["unit"][0, 0, 0])
        for values, key in ((place, "position"), (z, "scaled_flux")):
            error = np.exp(said[f"log_{key.split('_')[-1]}_error"][0, 0])
            np.testing.assert_allclose(values.mean(axis=0), said[key][0, 0], atol=0.1 * error.max())
            np.testing.assert_allclose(values.std(axis=0), error, rtol=0.08)

    def test_tiles_lie_about_their_cores(self):
        network = TileNetwork(1, 1, 6, 1)
        shown = []
        network.body = lambda patches, training=False: (
            shown.append(array(patches)) or np.zeros((len(patches), 256), "float32")
        )
        planes = np.arange(1.0, 21).reshape(1, 4, 5, 1).astype("float32")
        network.last.kernel.assign(np.zeros(network.last.kernel.shape))
        bias = np.zeros(network.width, "float32")
        bias[2:] = [np.log(3.0), -np.log(3.0), 0.8, 0.6, 5.0, 0.4]
        network.last.bias.assign(bias)
        found = {key: array(value) for key, value in network(planes).items()}
        padded = np.pad(planes[0, ..., 0], ((2, 2), (2, 3)))
        wanted = [padded[y : y + 6, x : x + 6] for y in (0, 2) for x in (0, 2, 4)]
        np.testing.assert_allclose(shown[0][..., 0], wanted)
        corners = [[[x - 0.5, y - 0.5] for x in (0, 2, 4)] for y in (0, 2)]
        np.testing.assert_allclose(found["position"][0, :, :, 0], np.add(corners, [1.5, 0.5]), atol=1e-5)
        for key, values in (("log_position_error", [0.4, 0.3]), ("scaled_flux", [5.0]), ("log_flux_error", [0.2])):
            np.testing.assert_allclose(found[key][0, 1, 2, 0], values, rtol=1e-5)
