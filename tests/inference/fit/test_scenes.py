import concurrent.futures

import numpy as np
import pytest
from keras import ops

from galzoo.contracts.deblended import FLAGS
from galzoo.errors import InputError
from galzoo.inference.fit import laplace
from galzoo.inference.fit.gaussian_profiles import Profiles
from galzoo.inference.fit.scene_windows import Patches
from galzoo.inference.fit.scenes import deblend
from galzoo.layers.psf import gaussian_psf
from galzoo.models.vae_deblender.model import VAEDeblender

SIZE, SCENES = 24, 16
NOISE = 0.05


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(4)
    return VAEDeblender.tiny(bands=("r", "i"), size=1.5, flux_floor=0.0)


@pytest.fixture(scope="module")
def scenes(model):
    """Blends of two galaxies of the model's own, so that the posterior can be exactly right."""
    rng = np.random.default_rng(5)
    latent = rng.normal(size=(SCENES, 2, model.latent)).astype("float32")
    middle = (SIZE - 1) / 2
    positions = middle + rng.uniform(-3, 3, size=(SCENES, 2, 2)).astype("float32")
    psf = np.repeat(gaussian_psf(15, 1.5)[None, :, :, None], 2, axis=-1)
    flux = rng.uniform(5, 50, size=(SCENES, 2, 2)).astype("float32")
    unit = ops.convert_to_numpy(model.render(latent, positions, psf, (SIZE, SIZE)))
    isolated = unit * flux[:, :, None, None, :]
    image = isolated.sum(axis=1) + NOISE * rng.normal(size=(SCENES, SIZE, SIZE, 2))
    return {
        "image": image.astype("float32"),
        "variance": np.full(image.shape, NOISE**2, "float32"),
        "psf": np.repeat(psf, SCENES, axis=0),
        "positions": positions,
        "n_sources": np.full(SCENES, 2),
        "flux": flux,
        "isolated": isolated,
    }


@pytest.fixture(scope="module")
def fitted(model, scenes):
    return deblend(model, scenes, "map", samples=300)


def test_fluxes_are_right_within_their_errors(scenes, fitted):
    pulls = (fitted.flux - scenes["flux"]) / fitted.flux_error
    assert 0.75 < 0.5 * np.diff(np.percentile(pulls, [16, 84]))[0] < 1.3
    assert abs(np.median(pulls)) < 0.4
    assert np.all(fitted.flux_error >= fitted.flux_width * 0.999)


def test_errors_of_positions_are_those_of_the_fit_and_shrink_with_brightness(model, scenes, fitted):
    moved = {**scenes, "positions": scenes["positions"] + 0.3 * np.random.default_rng(2).normal(size=(SCENES, 2, 2))}
    found = deblend(model, moved, "map", position_error=0.3)
    pulls = (found.positions - scenes["positions"]) / found.position_error
    assert 0.7 < 0.5 * np.diff(np.percentile(pulls, [16, 84]))[0] < 1.4
    faint = {**moved, "image": scenes["isolated"].sum(axis=1), "variance": 100 * scenes["variance"]}
    # Ten times the noise, but no wider than what was believed before.
    ratio = deblend(model, faint, "map", position_error=0.3).position_error / found.position_error
    assert 2 < np.median(ratio) < 12
    assert deblend(model, faint, "map", position_error=0.3).position_error.max() < 0.31


def test_places_are_less_sure_where_galaxies_are_not_their_profiles(model, scenes, monkeypatch):
    """By 0.4 of the flux floor for one of a source's own light, in terms of the noise; more so beside a neighbour."""
    moved = {**scenes, "positions": scenes["positions"] + 0.1 * np.random.default_rng(2).normal(size=(SCENES, 2, 2))}
    alone = {**moved, "image": scenes["isolated"][:, 0], "n_sources": np.full(SCENES, 1)}
    alone["positions"] = moved["positions"][:, :1]
    faint = {**alone, "variance": 1e4 * scenes["variance"]}
    exact = [deblend(model, batch, "map", position_error=1.0) for batch in (moved, alone, faint)]
    monkeypatch.setattr(model, "flux_floor", 0.05)
    found = [deblend(model, batch, "map", position_error=1.0) for batch in (moved, alone, faint)]
    pair, one, dim = (new.position_error / old.position_error for new, old in zip(found, exact, strict=True))
    snr = np.linalg.norm(exact[1].flux / exact[1].flux_width, axis=-1)
    np.testing.assert_allclose(one[:, 0], np.sqrt(1 + (0.4 * 0.05 * snr) ** 2).repeat(2, axis=1), rtol=1e-3)
    shapes = (found[1].shape_error / exact[1].shape_error)[:, 0]
    # Ellipticities as places, sizes 1.6 times as much.
    np.testing.assert_allclose(shapes[:, :2], one[:, 0], rtol=1e-3)
    np.testing.assert_allclose(shapes[:, 2:], np.sqrt(1 + (1.6 * 0.4 * 0.05 * snr) ** 2), rtol=1e-3)
    assert np.median(pair / one) > 1.3
    assert dim.max() < 1.1
    # Positions are believed to a pixel.
    assert max(part.position_error.max() for part in found) <= 1


def test_samples_have_the_mean_and_the_errors(fitted):
    assert fitted.samples.shape == (300, SCENES, 2, 2)
    miss = (fitted.samples.mean(axis=0) - fitted.flux) / fitted.flux_error
    assert np.abs(miss).max() < 5 / np.sqrt(300)
    np.testing.assert_allclose(fitted.samples.std(axis=0), fitted.flux_error, rtol=0.25)


def test_sum_of_the_parts_is_the_data_but_for_the_noise(scenes, fitted):
    assert 0.9 < np.median(fitted.chi2) < 1.1
    np.testing.assert_allclose(fitted.residual, scenes["image"] - fitted.image.sum(axis=1), atol=1e-5)


def test_the_encoder_knows_how_wrong_it_is(model, scenes):
    first = deblend(model, scenes, "encoder")
    pulls = np.abs(first.flux - scenes["flux"]) / first.flux_error
    noise = np.abs(first.flux - scenes["flux"]) / first.flux_width
    assert np.median(noise) > 3
    assert np.median(pulls) < 2
    assert np.median(first.flux_error / scenes["flux"]) < 1


def test_the_fit_is_better_than_the_encoder(model, scenes, fitted):
    first = deblend(model, scenes, "encoder")
    error = [np.abs(found.image - scenes["isolated"]).sum() for found in (first, fitted)]
    assert error[1] < 0.5 * error[0]


def test_positions_are_held_or_fitted(model, scenes):
    moved = {**scenes, "positions": scenes["positions"] + np.float32([0.4, -0.3])}
    held = deblend(model, moved, "map", position_error=0)
    np.testing.assert_allclose(held.positions, moved["positions"], atol=0.02)
    fitted = deblend(model, moved, "map", position_error=0.5, steps=8)
    miss = np.hypot(*(fitted.positions - scenes["positions"]).reshape(-1, 2).T)
    assert np.median(miss) < 0.1


def test_masked_pixels_and_absent_bands_have_no_say(model, scenes):
    rows = slice(0, 4)
    clean = {key: value[rows] for key, value in scenes.items()}
    clean["mask"] = np.zeros(clean["image"].shape, bool)
    clean["mask"][:, 8:10, 8:10] = True
    dirty = {**clean, "image": np.where(clean["mask"], np.nan, clean["image"])}
    one, two = deblend(model, clean, "map"), deblend(model, dirty, "map")
    np.testing.assert_array_equal(one.flux, two.flux)
    assert np.all(np.isfinite(two.residual))
    absent = {**clean, "variance": clean["variance"].copy()}
    absent["variance"][..., 1] = np.inf
    found = deblend(model, absent, "map")
    assert np.all(found.flux[..., 1] == 0)
    assert np.all(np.isfinite(found.flux_error[..., 0]))


def test_scenes_of_different_numbers_of_sources_are_as_alone(model, scenes):
    rows = slice(0, 3)
    batch = {key: value[rows].copy() for key, value in scenes.items()}
    batch["n_sources"] = np.array([1, 2, 0])
    together = deblend(model, batch, "map")
    assert together.present.tolist() == [[True, False], [True, True], [False, False]]
    for values in (together.image, together.flux, together.positions, together.position_error):
        assert np.all(values[~together.present] == 0)
    alone = deblend(model, {key: value[1:2] for key, value in batch.items()}, "map")
    np.testing.assert_allclose(alone.flux[0], together.flux[1], rtol=1e-3)


def test_flags(model, scenes):
    batch = {key: value[:1].copy() for key, value in scenes.items()}
    batch["mask"] = np.zeros(batch["image"].shape, bool)
    x, y = np.round(batch["positions"][0, 0]).astype(int)
    batch["mask"][0, y - 1 : y + 2, x - 1 : x + 2] = True
    batch["positions"][0, 1] = 1.0
    found = deblend(model, batch, "encoder")
    assert found.flags[0, 0] & FLAGS["masked"]
    assert found.flags[0, 1] & FLAGS["edge"]


def test_a_scene_of_nothing_but_bad_pixels_gives_zero(model, scenes):
    batch = {key: value[:1].copy() for key, value in scenes.items()}
    batch["image"][...] = np.nan
    found = deblend(model, batch, "map")
    assert np.all(found.flux == 0)
    assert np.all(np.isfinite(found.image))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((SCENES, 2), "float32")}, "positions have shape"),
        ({"positions": np.full((SCENES, 2, 2), np.nan, "float32")}, "not finite"),
        ({"n_sources": np.full(SCENES, 3)}, "n_sources up to"),
        ({"variance": None}, "no 'variance'"),
    ],
)
def test_bad_batches(model, scenes, changes, message):
    with pytest.raises(InputError, match=message):
        deblend(model, {**scenes, **changes}, "map")


def test_unknown_method(model, scenes):
    with pytest.raises(InputError, match="'best' is unknown; use encoder, map, hmc"):
        deblend(model, scenes, "best")


def test_minimise_solves_a_linear_problem_with_a_known_answer():
    # One source, one band, one parameter t: data = f (g + t h), with the prior of t a standard normal.
    rng = np.random.default_rng(1)
    g, h = rng.normal(size=(2, 50))
    data = 3.0 * (g + 0.5 * h)

    def evaluate(theta, rows):
        t = theta[0, 0, 0]
        design = np.stack([g + t * h, h])
        normal = (design @ design.T).reshape(1, 1, 1, 2, 1, 2)
        return normal, (design @ data).reshape(1, 1, 1, 2), np.array([[data @ data]])

    theta, normal = laplace.minimise(evaluate, np.zeros((1, 1, 1)), np.ones((1, 1), bool), np.ones(1), 20, gain=1e-4)
    t = np.linspace(-1, 1, 20001)
    seen = g[:, None] + h[:, None] * t
    energy = (data**2).sum() - (seen.T @ data) ** 2 / (seen**2).sum(axis=0) + t**2
    assert theta[0, 0, 0] == pytest.approx(t[np.argmin(energy)], abs=2e-3)
    assert normal.flux[0, 0, 0] == pytest.approx(3.0, rel=0.02)


def test_entries_that_are_no_source_do_not_keep_the_fit_from_ending(model, scenes, monkeypatch):
    batch = {key: value[:4].copy() for key, value in scenes.items()}
    batch["n_sources"] = np.array([1, 2, 1, 2])
    evaluations = []
    minimise = laplace.minimise

    def counted(evaluate, *arguments, **options):
        def count(values, rows):
            evaluations.append(len(rows))
            return evaluate(values, rows)

        return minimise(count, *arguments, **options)

    monkeypatch.setattr(laplace, "minimise", counted)
    deblend(model, batch, "map", steps=60)
    assert len(evaluations) < 60
    assert evaluations[-1] < 4


def test_errors_grow_where_neighbours_are_not_as_the_model_has_them(model, scenes):
    batch = {key: value[:6].copy() for key, value in scenes.items()}
    good = deblend(model, batch, "map")
    stripes = 1 + 0.5 * np.sin(1.5 * np.arange(SIZE))[:, None]
    batch["image"] = (scenes["isolated"][:6].sum(axis=1) * stripes).astype("float32")
    bad = deblend(model, batch, "map", refine_steps=0)
    # What is possible in the good ones counts too.
    assert np.median(bad.flux_error / good.flux_error) > 1.5


def test_what_profiles_leave_goes_to_the_sources(model, scenes):
    batch = {key: value[:4].copy() for key, value in scenes.items()}
    batch["n_sources"] = np.array([1, 2, 2, 1])
    present = np.arange(2) < batch["n_sources"][:, None]
    stripes = 1 + 0.5 * np.sin(1.5 * np.arange(SIZE))[:, None]
    batch["image"] = ((scenes["isolated"][:4] * present[..., None, None, None]).sum(axis=1) * stripes).astype("float32")
    batch["variance"] = batch["variance"] / 16
    smooth = deblend(model, batch, "map", refine_steps=0)
    refined = deblend(model, batch, "map")
    assert np.all(refined.chi2 < 0.5 * smooth.chi2)
    assert not refined.image[~present].any()
    # As much of the light is on the stamp as before.
    held = [found.image.sum(axis=(2, 3))[present] / found.flux[present] for found in (smooth, refined)]
    np.testing.assert_allclose(*held, atol=0.05)


def test_scenes_without_a_source_are_empty(model, scenes):
    batch = {key: value[:2].copy() for key, value in scenes.items()}
    for changes in ({"n_sources": np.zeros(2, int)}, {"positions": np.zeros((2, 0, 2)), "n_sources": np.zeros(2, int)}):
        found = deblend(model, batch | changes, "map")
        assert not found.image.any()
        assert not found.flux.any()
        np.testing.assert_allclose(found.residual, batch["image"], atol=1e-6)


def test_a_pixel_that_is_not_a_number_is_as_good_as_masked(model, scenes):
    batch = {key: value[:2].copy() for key, value in scenes.items()}
    batch["mask"] = np.zeros(batch["image"].shape, bool)
    batch["mask"][:, 9, 9] = True
    masked = deblend(model, batch, "map")
    del batch["mask"]
    batch["image"][:, 9, 9] = np.nan
    found = deblend(model, batch, "map")
    np.testing.assert_allclose(found.flux, masked.flux, rtol=1e-5)
    assert np.all(np.isfinite(found.chi2))


def test_the_encoder_moves_no_source_further_than_positions_are_doubted(model, scenes):
    found = deblend(model, scenes, "encoder", position_error=0.02)
    assert 0.01 < np.abs(found.positions - scenes["positions"]).max() < 0.0201
    assert found.position_error.max() <= 0.0201


@pytest.mark.parametrize(("method", "counts"), [("encoder", True), ("map", False)])
def test_what_a_residual_says_of_shapes_that_were_not_fitted_is_an_error_of_fluxes(
    model, scenes, monkeypatch, method, counts
):
    batch = {key: value[:2].copy() for key, value in scenes.items()}
    batch["n_sources"] = np.ones(2, int)
    batch["image"] = scenes["isolated"][:2, 0].astype("float32")
    monkeypatch.setattr(Patches, "doubt", lambda *_: np.full(2, 0.5))
    found = deblend(model, batch, method, refine_steps=0)
    flux, error = found.flux[:, 0], found.flux_error[:, 0]
    assert flux.min() > 1
    assert np.all((error >= 0.499 * flux) == counts)


def test_sampling_gives_two_hundred_at_least(model, scenes, monkeypatch):
    from galzoo.inference.fit import hmc

    asked = []

    def sample(model, part, theta, posterior, condition, sharp, samples, rng):
        asked.append(samples)
        return np.ones((samples, *posterior["flux"].shape))

    monkeypatch.setattr(hmc, "sample", sample)
    batch = {key: value[:2] for key, value in scenes.items()}
    assert deblend(model, batch, "hmc").samples.shape[0] == 200
    assert deblend(model, batch, "hmc", samples=300).samples.shape[0] == 300
    assert asked == [200, 300]


def patches(positions, size, shape=(200, 300)):
    """Return the windows of one scene with galaxies of a size."""
    image = np.zeros((1, *shape, 1), np.float32)
    batch = {"image": image, "variance": np.ones_like(image), "positions": np.array([positions], np.float32)}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return Patches(batch, np.ones((1, len(positions)), bool), np.full((1, len(positions)), size), 0.7, pool)


def test_windows_are_about_the_middle_of_the_sources_and_larger_ones_for_larger_galaxies():
    """16 pixels on each side of the outermost, or four sizes; images of sources reach eight sizes and 16 pixels."""
    small = patches([(100.0, 90.0), (103.0, 95.0)], 2.0)
    rows, columns = small._window(0, small.margin[0])
    assert (columns.stop - columns.start, rows.stop - rows.start) == (40, 40)
    assert (columns.start + columns.stop - 1) / 2 == pytest.approx(101.5, abs=0.5)
    assert (rows.start + rows.stop - 1) / 2 == pytest.approx(92.5, abs=0.5)
    assert small.margin[0] == 16
    assert small.reach[0] == 2 * 4 * 2 + 16
    large = patches([(100.0, 90.0)], 7.0)
    assert large.margin[0] == 28
    assert large.reach[0] == 2 * 28 + 16
    assert patches([(100.0, 90.0)], 70.0).reach[0] == 128


def test_light_beyond_the_fitted_window_follows_the_flux_of_the_profile(model, scenes, monkeypatch):
    """Of a source that gains a half in the window, what was drawn outside of it gains as much."""
    from galzoo.inference.fit import scene_windows

    one = patches([(100.0, 90.0)], 2.0)
    images = np.ones((1, 1, 200, 300, 1), np.float32)

    class Profile:
        def __getitem__(self, rows):
            return self

        def sampled(self, *_):
            return None

    def deviations(patch, seen, galaxies, flux, known, steps):
        return np.full((1, 1, *patch.canvas.shape), 7.0), 1.5 * flux, 2 * flux

    monkeypatch.setattr(scene_windows, "deviations", deviations)
    monkeypatch.setattr(scene_windows, "needs_refinement", lambda *_: True)
    monkeypatch.setattr(scene_windows.Canvas, "draw", lambda *_: None)
    with concurrent.futures.ThreadPoolExecutor(1) as one.pool:
        known = np.zeros((1, 1, 1)), np.zeros((1, 1, 1))
        arguments = Profile(), np.zeros((1, 1, 2)), np.full((1, 1, 1), 10.0), known, images, np.array([0]), 5
        total = one.refine(*arguments)
    assert total.item() == 20
    assert images[0, 0, 90, 100, 0] == 7
    assert images[0, 0, 0, 0, 0] == pytest.approx(1.5)


def test_scenes_whose_galaxies_have_grown_get_larger_windows():
    """Four sizes about the sources, and as far as they are seen; none becomes smaller."""
    one = patches([(100.0, 90.0)], 2.0)

    def grown(size, flux=0.0):
        """Of a Gaussian, half of whose light is within `size` pixels."""
        profile = Profiles(np.ones((1, 1, 1)), size**2 / np.log(4) * np.array([[[1.0, 0, 1]]]))
        return one.grow(profile, np.full((1, 1, 1), flux)).tolist()

    with concurrent.futures.ThreadPoolExecutor(1) as one.pool:
        assert grown(1.0) == []
        assert one.margin[0] == 16
        # 0.3 of the noise of 1 is reached where exp(-r^2 / 32) is 0.3 x 32 pi / flux.
        assert grown(4 * np.sqrt(np.log(4)), 0.3 * 32 * np.pi * np.exp(20.5**2 / 32)) == [0]
        assert one.margin[0] == pytest.approx(20)
        assert grown(10.0) == [0]
        assert one.margin[0] == pytest.approx(40)
        assert one.patches[0].canvas.shape == (80, 80)
        assert one.patches[0].corner.tolist() == [60, 50]
        assert grown(2.0) == []
        assert (one.margin[0], one.reach[0]) == pytest.approx((40, 96))
        assert grown(4.0, 1e60) == [0]
        assert one.margin[0] == 48


def test_windows_that_would_hardly_grow_stay():
    """Of 112 x 96 pixels to 120 x 104; and of 40 x 40 to 48 x 48."""
    for places, grows in (([(100.0, 90.0), (180.0, 150.0)], False), ([(100.0, 90.0), (104.0, 90.0)], True)):
        one = patches(places, 2.0)
        profiles = Profiles(np.ones((2, 1, 1)), 25 / np.log(4) * np.array([[[1.0, 0, 1]]] * 2))
        with concurrent.futures.ThreadPoolExecutor(1) as one.pool:
            rows = one.grow(profiles, np.zeros((1, 2, 1)))
        assert (len(rows) > 0) is grows
        assert one.margin[0] == pytest.approx(20 if grows else 16)


def test_a_source_reaches_as_far_as_its_brightest_band_along_its_longest_axis():
    """A Gaussian of 5 by 2 pixels: 1 = flux / (2 pi 10) exp(-r^2 / 50)."""
    profiles = Profiles(np.ones((2, 1, 2)), np.array([[[25.0, 0, 4]], [[4.0, 0, 25]]]))
    flux = 20 * np.pi * np.exp(np.array([[7.5**2, 12.5**2], [-1.0, 3.5**2]]) / 50)
    assert profiles.extent(flux).tolist() == [12, 3]
    assert profiles.extent(np.zeros((2, 2))).tolist() == [0, 0]


def test_a_galaxy_that_grows_is_fitted_to_all_pixels_that_it_reaches(model, monkeypatch):
    """The answer does not hang on what the encoder took its size for."""
    from galzoo.inference.fit.scenes import SceneSolver

    size = 96
    latent = np.zeros((1, 1, model.latent), np.float32)
    latent[..., 0] = 3.5
    psf = np.repeat(gaussian_psf(15, 1.5)[None, :, :, None], 2, axis=-1)
    place = np.full((1, 1, 2), (size - 1) / 2, np.float32)
    light = 3000 * ops.convert_to_numpy(model.render(latent, place, psf, (size, size)))[:, 0]
    # Light that is no part of it, beyond 18 pixels: a fit to the pixels within knows nothing of it.
    y, x = np.indices((size, size)) - (size - 1) / 2
    light = light * np.where(np.hypot(x, y) > 18, 0.0, 1.0)[None, :, :, None]
    scene = {
        "image": light, "variance": np.ones_like(light), "psf": psf, "positions": place, "n_sources": np.ones(1, int),
    }  # fmt: skip

    def fitted(first, grow=True):
        start = SceneSolver._start

        def told(self, batch, present, pool):
            found, rest = start(self, batch, present, pool)
            found.margin, found.reach, found.pad = found._extent(np.full((1, 1), first))
            found.patches = [found._patch(0)]
            return found, rest

        with monkeypatch.context() as patch:
            patch.setattr(SceneSolver, "_start", told)
            return deblend(model, scene, refine_steps=0, grow=grow)

    small, large, held = fitted(1.0), fitted(10.0), fitted(1.0, grow=False)
    assert held.flux[0, 0, 0] > 1.03 * large.flux[0, 0, 0]
    assert small.shape[0, 0, 2] > 4
    np.testing.assert_allclose(small.flux, large.flux, rtol=0.02)
    np.testing.assert_allclose(small.shape[..., 2], large.shape[..., 2], rtol=0.02)
