"""StarNet by itself: its likelihood by hand, what a little training finds, and catalogues drawn from the posterior."""

import keras
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from galzoo.contracts.catalogues import Catalogues, region_counts
from galzoo.errors import InputError
from galzoo.field.array_field import ArrayField
from galzoo.layers.psf import gaussian_psf
from galzoo.metrics.calibration import coverage, ranks, uniformity
from galzoo.models.starnet.calibrate import by_crowding, fit_counts
from galzoo.models.starnet.calibration import apply, common_spread
from galzoo.models.starnet.catalogues import entries
from galzoo.models.starnet.groups import GROUPED, Groups
from galzoo.models.starnet.lit import NO_STAR
from galzoo.models.starnet.losses import catalogue_nll
from galzoo.models.starnet.model import StarNet
from galzoo.models.starnet.posterior import draw_cells
from galzoo.tasks.detect.choose_detector import fit_detector

SIGMA = 1.3


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)


def cells_of(n=2, rows=6, columns=5, bands=1, seed=0, logit=-3.0):
    """Return cells as a model might give them."""
    random = np.random.default_rng(seed)
    y, x, dy, dx = np.meshgrid(np.arange(rows), np.arange(columns), [-0.25, 0.25], [-0.25, 0.25], indexing="ij")
    middle = np.stack([x + dx, y + dy], axis=-1).reshape(rows, columns, 4, 2)
    shape = (n, rows, columns, 4)
    return {
        "logit": (logit + random.normal(size=shape)).astype("float32"),
        "position": (middle + 0.1 * random.normal(size=(*shape, 2))).astype("float32"),
        "log_position_error": random.uniform(-3, -1, (*shape, 2)).astype("float32"),
        "scaled_flux": random.uniform(2, 4, (*shape, bands)).astype("float32"),
        "log_flux_error": random.uniform(-3, -1, (*shape, bands)).astype("float32"),
        "unit": random.uniform(1, 2, (n, rows, columns, bands)).astype("float32"),
        "present": np.ones((n, bands), "float32"),
    }


def moments(cells):
    """Return mean and variance of the number of stars of each image."""
    rows = ({key: cells[key][row] for key in GROUPED} for row in range(len(cells["logit"])))
    return np.transpose([Groups.of(row).moments() for row in rows])


def truth_of(places, flux, most=40):
    """Return catalogues padded to one number."""
    n, bands = len(places), np.shape(flux[0])[-1]
    truth = {"positions": np.zeros((n, most, 2), "float32"), "flux": np.zeros((n, most, bands), "float32")}
    truth["n_sources"] = np.array([len(one) for one in places], "int32")
    for row in range(n):
        truth["positions"][row, : len(places[row])] = places[row]
        truth["flux"][row, : len(places[row])] = flux[row]
    return truth


def scene(places, flux, shape=(16, 16), seed=0):
    """Return a batch of one image: stars on a flat sky of unit noise, drawn as Gaussians."""
    y, x = np.indices(shape)
    image = np.random.default_rng(seed).normal(size=shape)
    for (px, py), one in zip(places, flux, strict=True):
        image = image + one * norm.pdf(x, px, SIGMA) * norm.pdf(y, py, SIGMA)
    image = image[None, ..., None].astype("float32")
    return {"image": image, "variance": np.ones_like(image), "psf": gaussian_psf(11, SIGMA)[None, ..., None]}


class TestLikelihood:
    def test_count_of_two_sure_cells_and_a_doubtful_one(self):
        cells = cells_of(n=1, rows=2, columns=2)
        cells["logit"][:] = -30
        cells["logit"][0, 0, 0, :2], cells["logit"][0, 1, 1, 3] = 30, 0
        count, _ = catalogue_nll(cells, truth_of([[[0, 0]] * 3], [[[1.0]] * 3]), reach=1)
        # A mean of 2.5, a variance of .25, and .1 that is always there.
        np.testing.assert_allclose(array(count), -norm.logpdf(3, 2.5, np.sqrt(0.35)), rtol=1e-5)

    @pytest.mark.parametrize("many", [False, True])
    def test_mixture_is_a_sum_over_near_cells(self, many):
        cells = cells_of(bands=2)
        cells["present"][1, 1] = 0
        random = np.random.default_rng(5)
        # Few stars are looked at packed, many as they are.
        most = 4 if many else 40
        places = [random.uniform(-0.4, 4.4, (3, 2)), random.uniform(-0.4, 4.4, (2, 2))]
        flux = [random.uniform(5, 20, (3, 2)), random.uniform(5, 20, (2, 2))]
        _, stars = catalogue_nll(cells, truth_of(places, flux, most), reach=1)
        p = 1 / (1 + np.exp(-cells["logit"].astype(float)))
        for row in range(2):
            bands = int(cells["present"][row].sum())
            expected = 0.0
            for place, f in zip(places[row], flux[row], strict=True):
                px, py = np.round(place).astype(int)
                z = np.arcsinh(f / cells["unit"][row, py, px])[:bands]
                total = 0.0
                for y in range(max(py - 1, 0), min(py + 2, 6)):
                    for x in range(max(px - 1, 0), min(px + 2, 5)):
                        for slot in range(4):
                            at = (row, y, x, slot)
                            mean = [*cells["position"][at], *cells["scaled_flux"][at][:bands]]
                            error = [*cells["log_position_error"][at], *cells["log_flux_error"][at][:bands]]
                            density = multivariate_normal(mean, np.diag(np.exp(2.0 * np.array(error))))
                            total += p[at] * density.pdf([*place, *z])
                # The constant of normal distributions is left out.
                expected -= np.log(total / p[row].sum()) + (2 + bands) * 0.5 * np.log(2 * np.pi)
            np.testing.assert_allclose(array(stars)[row], expected, rtol=2e-4)

    def test_padding_of_lists_is_nothing(self):
        cells = cells_of()
        lists = [np.ones((2, 2)), np.zeros((0, 2))], [np.ones((2, 1)), np.zeros((0, 1))]
        short, long = (catalogue_nll(cells, truth_of(*lists, most), reach=1) for most in (2, 30))
        for one, other in zip(short, long, strict=True):
            np.testing.assert_allclose(array(one), array(other), rtol=1e-5)
        assert array(short[1])[1] == 0


def taught(model, scene, places, flux, truth, rate, steps):
    """Train a model in batches of 32 on images with a star each, places (n, 1, 2) and fluxes (n, 1, 1)."""
    made = [scene(places[row], flux[row, :, 0], seed=row) for row in range(len(places))]
    batch = {key: np.concatenate([one[key] for one in made]) for key in made[0]} | truth
    # Falling, so that the last steps leave the same answer on every back end.
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer)
    for step in range(steps):
        rows = slice(32 * (step % 5), 32 * (step % 5) + 32)
        model.train_on_batch({key: values[rows] for key, values in batch.items()})
    return model


@pytest.fixture(scope="module")
def trained():
    """A model of one level, which has seen 160 images with a bright star in each some times."""
    keras.utils.set_random_seed(1)
    model = StarNet.tiny(channels=(12,), blocks=(1,), head=16)
    random = np.random.default_rng(2)
    places, flux = random.uniform(2, 13, (160, 1, 2)), np.exp(random.uniform(6.5, 8, (160, 1, 1)))
    return taught(model, scene, places, flux, truth_of(places, flux, 2), 1e-2, 200)


class TestModel:
    @pytest.mark.parametrize("place", [(6.3, 9.8), (8.0, 5.45)])
    def test_a_bright_star_is_found_at_its_place(self, trained, place):
        found = trained.detect(scene([place], [1500.0], seed=77), threshold=0.5)
        assert found.probability.shape == (1, 1)
        # So little training ends between .7 and .9, as the first weights of a back end have it.
        assert found.probability[0, 0] > 0.6
        assert np.abs(found.positions[0, 0] - place).max() < 0.25
        assert abs(found.flux[0, 0, 0] / 1500 - 1) < 0.25
        assert found.classes[int(found.class_probability[0, 0].argmax())] == "star"
        x0, y0, x1, y1 = found.boxes[0, 0]
        np.testing.assert_allclose((x1 - x0, y1 - y0), 2.355 * SIGMA, rtol=0.05)

    def test_a_star_a_pixel_further_is_found_a_pixel_further(self, trained):
        batch = scene([(10.2, 11.4)], [1500.0], (24, 22))
        moved = {key: np.roll(value, (1, 1), (1, 2)) for key, value in batch.items() if key != "psf"}
        one, two = (trained.detect(each, 0.5) for each in (batch, moved | {"psf": batch["psf"]}))
        np.testing.assert_allclose(two.positions[:, 0] - one.positions[:, 0], 1, atol=2e-2)
        np.testing.assert_allclose(two.flux[:, 0], one.flux[:, 0], rtol=2e-2)

    def test_units_do_not_matter(self, trained):
        batch = scene([(7.2, 8.4)], [1500.0])
        scaled = batch | {"image": batch["image"] * 1e-3, "variance": batch["variance"] * 1e-6}
        one, two = (trained.detect(each, 0.5) for each in (batch, scaled))
        np.testing.assert_allclose(two.positions, one.positions, atol=1e-3)
        np.testing.assert_allclose(two.flux, 1e-3 * one.flux, rtol=1e-3)

    def test_any_size(self):
        model = StarNet.tiny()
        for shape in ((13, 18), (9, 31)):
            found = model(scene([(5, 5)], [500.0], shape))
            assert found["logit"].shape == (1, *shape, 4)
            middle = array(found["position"])[0] - np.indices(shape)[::-1].transpose(1, 2, 0)[:, :, None]
            assert np.abs(middle).max() <= 1.25
            assert np.isfinite(array(found["scaled_flux"])).all()

    def test_only_what_is_there_is_looked_at(self, trained):
        """A field in the corner of a block that reaches beyond it: the same stars, none elsewhere, no time for them."""
        batch = scene([(6.3, 9.8), (12.1, 3.4)], [1500.0, 1500.0])
        planes = ("image", "variance")
        block = {key: np.pad(batch[key], ((0, 0), (8, 40), (4, 40), (0, 0))) for key in planes}
        block |= {"psf": batch["psf"], "mask": block["variance"] == 0}
        sizes = []
        look = trained.look
        trained.look = lambda seen, training=False: sizes.append(seen["image"].shape[1:3]) or look(seen, training)
        try:
            there, apart = trained.detect(batch), trained.detect(block)
        finally:
            trained.look = look
        assert sizes == [(16, 16), (16, 16)]
        np.testing.assert_allclose(apart.probability, there.probability, atol=1e-6)
        np.testing.assert_allclose(apart.positions, there.positions + [4, 8], atol=1e-4)
        np.testing.assert_allclose(apart.flux, there.flux, rtol=1e-4)
        assert trained.posterior(block, 5).counts(64).shape[1:] == (1, 1, 1)

    def test_no_stars_where_no_pixel_is_good(self, trained):
        batch = scene([(12.0, 12.0)], [1500.0], (48, 48)) | {"gain": np.array([[200.0]], "float32")}
        batch["mask"] = np.zeros_like(batch["image"], bool)
        batch["mask"][:, 20:44, 4:44] = True
        batch["mask"][:, :, 47:] = True
        logit = trained.cells(batch)["logit"][0].max(axis=-1)
        # 7 pixels from good ones nothing is known.
        assert (logit[28:36, 12:36] == -100).all()
        assert (logit[:20, :47] > -99).all()
        batch["mask"][:] = True
        assert trained.detect(batch).probability.shape == (1, 0)
        assert (trained.posterior(batch, 3).count == 0).all()

    def test_pixels_of_any_scale_will_do_as_the_psf_is_told_in_pixels(self):
        model, planes = StarNet.tiny(pixel_scale=0.4), np.ones((32, 32, 1), "float32")
        for scale in (0.05, 1.2):
            assert fit_detector(model, ArrayField(planes, planes, bands=("r",), pixel_scale=scale))[2] is model
        tiles = StarNet(bands=("r",), pixel_scale=0.4, tile=8)
        with pytest.raises(InputError, match="pixels of 1.2 arcsec"):
            fit_detector(tiles, ArrayField(planes, planes, bands=("r",), pixel_scale=1.2))

    def test_needs_a_psf(self):
        batch = scene([(5, 5)], [500.0])
        with pytest.raises(InputError, match="PSF of each image"):
            StarNet.tiny()({key: value for key, value in batch.items() if key != "psf"})


class TestEntries:
    def test_cells_of_one_star_are_one_entry(self):
        cells = {key: value[0] for key, value in cells_of(n=1, logit=-30).items()}
        for slot, place in ((1, (2.02, 3.0)), (0, (1.98, 3.1))):
            cells["logit"][3, 2, slot] = 0.0
            cells["position"][3, 2, slot] = place
        # Another star as sure as can be, half a pixel away.
        cells["logit"][3, 2, 3], cells["position"][3, 2, 3] = 9.0, (2.5, 3.1)
        found = entries(cells)
        np.testing.assert_allclose(found["probability"], [1, 1], atol=1e-3)
        np.testing.assert_allclose(sorted(found["positions"][:, 0]), [2.0, 2.5], atol=1e-3)

    def test_threshold(self):
        cells = {key: value[0] for key, value in cells_of(n=1, logit=-30).items()}
        cells["logit"][0, 0, 0], cells["logit"][5, 4, 0] = 2.0, -1.0
        assert len(entries(cells)["probability"]) == 2
        assert len(entries(cells, threshold=0.5)["probability"]) == 1

    def test_entries_are_made_brighter_by_crowding(self):
        cells = {key: value[0] for key, value in cells_of(n=1, logit=-30, bands=2).items()}
        cells["logit"][0, 0, 0], cells["logit"][5, 4, 0] = 9.0, 8.0
        cells["share"] = np.zeros((6, 5, 2))
        cells["share"][0, 0, 0] = cells["share"][5, 4, 1] = 1
        before, after = entries(cells), entries(cells, factors={"brighter": [[0.0, 0.5], [1.0, 2.0]], "flux": [0.5, 1]})
        off = (after["scaled_flux"] - before["scaled_flux"]) / before["scaled_flux_error"]
        np.testing.assert_allclose(off, [[0, 0.5], [1, 2]], atol=1e-4)
        np.testing.assert_allclose(after["scaled_flux_error"], before["scaled_flux_error"] * [0.5, 1], rtol=1e-5)
        np.testing.assert_allclose(after["flux"], after["unit"] * np.sinh(after["scaled_flux"]), rtol=1e-4)


class TestPosterior:
    def test_count_place_and_flux_are_as_the_cells_say(self):
        cells = cells_of(n=1, logit=-30)
        cells["logit"][0, 2, 3, 1] = 0.4
        drawn = draw_cells(cells, 4000)
        p, at = 1 / (1 + np.exp(-0.4)), (0, 2, 3, 1)
        assert abs(drawn.count.mean() - p) < 4 * np.sqrt(p * (1 - p) / 4000)
        assert drawn.count.max() == 1
        there = drawn.count[:, 0] == 1
        assert np.isnan(drawn.positions[~there]).all()
        pulls = (drawn.positions[there, 0, 0] - cells["position"][at]) / np.exp(cells["log_position_error"][at])
        np.testing.assert_allclose(pulls.mean(axis=0), 0, atol=0.1)
        np.testing.assert_allclose(pulls.std(axis=0), 1, atol=0.05)
        median = cells["unit"][0, 2, 3] * np.sinh(cells["scaled_flux"][at])
        np.testing.assert_allclose(np.median(drawn.flux[there, 0, 0], axis=0), median, rtol=0.03)

    def test_intervals_hold_what_was_drawn_from_the_model(self):
        cells = cells_of(n=300, rows=8, columns=8, logit=-2.0)
        truth, drawn = draw_cells(cells, 1, seed=1), draw_cells(cells, 99, seed=2)
        low, high = np.quantile(drawn.count, (0.05, 0.95), axis=0)
        share, error = coverage(truth.count[0], low, high)
        # Counts are whole numbers, so intervals hold a little more.
        assert -4 * error < share - 0.9 < 0.08
        assert uniformity(ranks(truth.count[0], drawn.count), 99, bins=10)["p"] > 0.001
        mean, variance = moments(cells)
        assert abs(((truth.count[0] - mean) / np.sqrt(variance)).std() - 1) < 0.17
        # The brightest star's flux, which depends on which cells there are.
        brightest = [np.nan_to_num(np.nanmax(one.flux[..., 0], axis=-1)) for one in (truth, drawn)]
        assert uniformity(ranks(brightest[0][0], brightest[1]), 99, bins=10)["p"] > 0.001

    def test_two_cells_that_tell_of_one_star_have_one(self):
        cells = cells_of(n=1, rows=6, columns=6, logit=-30.0)
        cells["log_position_error"][:] = -4
        # One star between two cells, another by itself, and one far away that is doubtful.
        cells["position"][0, 2, 2, :2] = [[2.0, 2.0], [2.1, 2.0]]
        cells["logit"][0, 2, 2, :2], cells["logit"][0, 5, 5, 0], cells["logit"][0, 0, 5, 0] = 0.0, 20.0, -1.0
        drawn = draw_cells(cells, 2000, seed=4)
        here = np.abs(drawn.positions[:, 0] - [2.05, 2.0]).max(axis=-1) < 0.5
        np.testing.assert_array_equal(here.sum(axis=1), 1)
        # Each of the two cells is as likely as the other.
        x = drawn.positions[:, 0, :, 0][here]
        assert abs(np.mean(x > 2.05) - 0.5) < 0.04
        p = 1 / (1 + np.exp(1))
        assert abs(drawn.count.mean() - 2 - p) < 4 * np.sqrt(p * (1 - p) / 2000)
        assert abs(drawn.count.var() / (p * (1 - p)) - 1) < 0.15

    def test_no_more_and_no_fewer_stars_than_by_cells(self):
        cells = cells_of(n=1, rows=30, columns=30, logit=-3.0)
        p = 1 / (1 + np.exp(-cells["logit"].astype(float)))
        count = draw_cells(cells, 400, seed=3).count[:, 0]
        error = count.std() / 20
        # Of groups whose sum is above 1 by a hair, the hair is lost.
        assert -0.01 * p.sum() - 3 * error < count.mean() - p.sum() < 3 * error
        assert count.var() < 0.9 * (p * (1 - p)).sum()

    def test_regions(self):
        positions = np.array([[[-0.4, 0.0], [4.4, 0.0], [4.6, 9.0], [11.0, 3.0], [np.nan, np.nan]]])
        expected = [[[2, 0, 1], [0, 1, 0]]]
        np.testing.assert_array_equal(region_counts(positions, [4], (10, 12), 5), expected)
        drawn = draw_cells(cells_of(n=2, logit=-1.0), 7)
        regions = drawn.counts(3)
        assert regions.shape == (7, 2, 2, 2)
        np.testing.assert_array_equal(regions.sum(axis=(2, 3)), drawn.count)

    def test_seed_and_number(self):
        model, batch = StarNet.tiny(), scene([(5, 5)], [500.0])
        one, two, other = (model.posterior(batch, 5, seed) for seed in (0, 0, 1))
        assert isinstance(one, Catalogues)
        np.testing.assert_array_equal(one.positions, two.positions)
        assert one.positions.shape != other.positions.shape or np.nanmax(np.abs(one.flux - other.flux)) > 0
        with pytest.raises(InputError, match="n is 0"):
            model.posterior(batch, 0)
        with pytest.raises(InputError, match="side is 0"):
            one.counts(0)


class TestLimit:
    def test_a_model_that_is_not_told_starts_as_the_one_before(self, trained):
        limited = StarNet.tiny(channels=(12,), blocks=(1,), head=16, limited=True)
        limited.take_over(trained)
        batch = scene([(7.2, 8.4)], [1500.0])
        old, new = trained(batch), limited(batch | {"faintest": np.array([40.0], "float32")})
        for key, value in old.items():
            np.testing.assert_array_equal(array(value), array(new[key]), err_msg=key)
        assert np.isfinite(array(new["log_spread"])).all()

    def test_other_layers_are_refused(self, trained):
        with pytest.raises(InputError, match="other layers"):
            StarNet.tiny(channels=(10,), blocks=(1,), head=16, limited=True).take_over(trained)

    def test_learns_in_half_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = StarNet.tiny(limited=True)
            batch = scene([(7.2, 8.4)], [1500.0]) | {"faintest": np.array([40.0], "float32")}
            cells = model(batch)
            kinds = {keras.backend.standardize_dtype(cells[key].dtype) for key in ("logit", "log_spread")}
            assert kinds == {"float32"}
            loss = model.compute_loss(batch | truth_of([[[7.2, 8.4]]], [[[1500.0]]]), y_pred=cells)
        finally:
            keras.config.set_dtype_policy(before)
        assert np.isfinite(float(loss))

    @pytest.mark.parametrize("told", [None, np.nan, 0.0, -3.0])
    def test_a_limit_that_says_nothing_changes_nothing(self, told):
        keras.utils.set_random_seed(3)
        model, batch = StarNet.tiny(limited=True), scene([(7.2, 8.4)], [1500.0])
        given = {} if told is None else {"faintest": np.array([told], "float32")}
        np.testing.assert_array_equal(array(model(batch | given)["logit"]), array(model(batch)["logit"]))

    def test_what_is_told_is_the_limit_over_the_error_of_a_star(self):
        model, batch = StarNet.tiny(limited=True), scene([(7.2, 8.4)], [1500.0])
        area = float((batch["psf"] ** 2).sum())
        batch["faintest"] = np.array([200.0], "float32")
        seen = {}
        model.limit_told = lambda values: seen.setdefault("told", array(values)) * 0 @ np.zeros((2, 8))
        model.look(batch)
        np.testing.assert_allclose(seen["told"], [[np.log(200 * np.sqrt(area)), 1]], rtol=1e-4)

    def test_the_common_spread_is_in_a_variance_of_its_own(self):
        cells = cells_of(n=1, rows=2, columns=2)
        cells["logit"][:] = -30
        cells["logit"][0, 0, 0, :2], cells["logit"][0, 1, 1, 3] = 30, 0
        truth = truth_of([[[0, 0]] * 3], [[[1.0]] * 3])
        without, _ = catalogue_nll(cells, truth, reach=1)
        cells["log_spread"] = np.log(np.array([0.2], "float32"))
        count, _ = catalogue_nll(cells, truth, reach=1)
        expected = -norm.logpdf(3, 2.5, np.sqrt(0.35 + (0.2 * 2.5) ** 2))
        np.testing.assert_allclose(array(count - without), expected, rtol=1e-5)

    def test_draws_vary_together_by_the_common_spread(self):
        cells = cells_of(n=1, rows=40, columns=40, logit=-2.0)
        cells["log_spread"] = np.log(np.array([0.1], "float32"))
        (mean,), (variance,) = moments(cells)
        count = draw_cells(cells, 400, seed=2).count[:, 0]
        assert abs(count.std() / np.sqrt(variance + (0.1 * mean) ** 2) - 1) < 0.12
        assert abs(count.mean() / mean - 1) < 0.02


class TestCalibration:
    def test_numbers_that_are_too_low_in_crowds_are_corrected_there(self):
        random = np.random.default_rng(0)
        cells, number = [], []
        for logit in np.linspace(-6.5, -2.5, 24):
            one = cells_of(n=2, rows=32, columns=32, seed=len(cells), logit=logit)
            one["log_spread"] = np.full(2, np.log(1e-3), "float32")
            p = 1 / (1 + np.exp(-one["logit"].astype(float)))
            # In crowds, a third more than the model says, and off by a twentieth together.
            true = p * (1.3 if logit > -4 else 1.0) * (1 + 0.05 * random.normal(size=(2, 1, 1, 1)))
            number.append((random.random(p.shape) < true).sum(axis=(1, 2, 3)))
            cells.append(one)
        shift, spread = fit_counts(cells, number)
        corrected = [apply(one, {"shift": shift, "spread": spread, "position": 1, "flux": [1]}) for one in cells]
        ratio = np.array([
            (1 / (1 + np.exp(-one["logit"]))).sum(axis=(1, 2, 3)) / np.maximum(n, 1)
            for one, n in zip(corrected, number, strict=True)
        ])  # fmt: skip
        crowded = np.linspace(-6.5, -2.5, 24) > -3.5
        assert abs(ratio[crowded].mean() - 1) < 0.04
        assert abs(ratio[12:16].mean() - 1) < 0.25
        # A thousandth is far less than the twentieth.
        mean, own = np.transpose([moments(one)[:, 0] for one in corrected])
        assert 0.025 < np.median(common_spread(np.log(1e-3), mean, own, spread)[crowded]) < 0.1

    def test_edges_of_a_field_in_a_block_are_as_crowded_as_those_of_a_field(self):
        logit = cells_of(n=1, rows=24, columns=20, logit=-1.5)["logit"]
        block = np.pad(logit, ((0, 0), (8, 30), (16, 40), (0, 0)), constant_values=NO_STAR)
        calibration = {"shift": [0.1, 0.2, 0.5, 1.0]}
        there, apart = (apply({"logit": one}, calibration) for one in (logit, block))
        assert (there["logit"] - logit).min() > 0.5
        for key in ("logit", "share"):
            np.testing.assert_allclose(apart[key][:, 8:32, 16:36], there[key], atol=1e-9)
        assert apart["logit"].max(where=block == NO_STAR, initial=-np.inf) < -90

    def test_the_common_spread_goes_with_what_is_doubtful(self):
        mean, own = np.array([100.0, 100.0]), np.array([10.0, 40.0])
        found = common_spread(np.log([0.1, 0.1]), mean, own, np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
        np.testing.assert_allclose(found, [0.1, 0.04])

    def test_a_limited_model_is_calibrated_and_answers_for_several_images(self):
        model = StarNet.tiny(limited=True)
        made = [scene([(5, 5), (9, 8)], [500.0, 300.0], seed=row) for row in range(4)]
        batch = {key: np.concatenate([one[key] for one in made]) for key in made[0]}
        model.finish([batch | truth_of([[[5, 5], [9, 8]]] * 4, [[[500.0], [300.0]]] * 4, 4)])
        assert len(model.calibration["spread"]) == 3
        assert len(model.detect(batch).probability) == 4
        assert model.posterior(batch, 3).count.shape == (3, 4)

    def test_fluxes_that_are_too_faint_in_crowds_are_raised_there(self, trained):
        random = np.random.default_rng(6)
        faint, share = random.normal(0.1, 1, (400, 2)), np.zeros((400, 4))
        share[:200, 0], share[200:390, 2], share[390:, 3] = 1, 1, 1
        faint[200:] += [1.0, 2.0]
        found = by_crowding(faint, share)
        # Between knots nothing, and nothing where hardly a star is.
        np.testing.assert_allclose(found[[0, 2]], [[0.1, 0.1], [1.1, 2.1]], atol=0.25)
        np.testing.assert_array_equal(found[[1, 3]], 0)

    def test_errors_are_scaled_to_those_of_the_data(self, trained):
        random = np.random.default_rng(5)
        places, flux = random.uniform(3, 12, (48, 1, 2)), np.exp(random.uniform(6.5, 8, (48, 1, 1)))
        made = [scene(places[row], flux[row, :, 0], seed=900 + row) for row in range(48)]
        batch = {key: np.concatenate([one[key] for one in made]) for key in made[0]} | truth_of(places, flux, 2)
        assert trained.calibration is None
        before = trained.detect(batch, 0.5)
        try:
            trained.finish([batch])
            again = StarNet.from_config(trained.get_config())
            assert again.calibration == trained.calibration
            found = trained.detect(batch, 0.5)
            assert not np.allclose(before.flux_error[:, 0], found.flux_error[:, 0])
            there = found.probability[:, 0] > 0
            pull = ((found.flux[:, 0] - flux[:, 0]) / found.flux_error[:, 0])[there]
            low, high = np.quantile(pull, (0.1587, 0.8413))
            assert 0.75 < (high - low) / 2 < 1.25
            assert abs(np.median(pull)) < 0.3
        finally:
            trained._arguments["calibration"] = None
