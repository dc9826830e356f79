"""Windows in other bands and pixels, and what is said of a source in them."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from galzoo.data.psf import fwhm_of
from galzoo.errors import InputError
from galzoo.field.psf import gaussian_of
from galzoo.field.windows import Unit
from galzoo.tasks.deblend.adapt_deblender import with_bands, with_pixels
from galzoo.tasks.deblend.fit_windows import Fit
from galzoo.tasks.deblend.flags import measure
from tests.field.fields import least_squares


def batch_of(n=2, side=48, scale=1.0):
    """Return a batch of two Gaussians, in pixels of 1 / scale."""
    middle = (side - 1) / 2
    y, x = (np.mgrid[:side, :side] - middle) / scale
    image = np.zeros((n, side, side, 2), np.float32)
    for dx, flux in ((0, 1000), (7, 500)):
        image += (flux * np.exp(-0.5 * ((x - dx) ** 2 + y**2) / 2.25) / (2 * np.pi * 2.25) / scale**2)[None, ..., None]
    places = np.array([[middle, middle], [middle + 7 * scale, middle]], np.float32)
    psf = np.broadcast_to(gaussian_of(1.5 * 2.3548 * scale, 2), (n, *gaussian_of(1.5 * 2.3548 * scale, 2).shape[1:]))
    return {
        "image": image, "variance": np.ones_like(image), "mask": np.zeros(image.shape, bool), "psf": psf,
        "positions": np.broadcast_to(places, (n, 2, 2)), "n_sources": np.full(n, 2),
    }  # fmt: skip


@pytest.mark.parametrize("ratio", [0.5, 0.76, 1.3, 2.0])
def test_a_flux_is_as_well_known_in_other_pixels(ratio):
    """Finer pixels are more, but their noise is correlated: taken as independent ones, errors were halved at .5."""
    seen, batch = {}, batch_of(scale=1.5)
    batch["variance"] *= np.linspace(1, 2, 48)[:, None, None]

    def spied(batch):
        seen.update(batch)
        return least_squares(batch)

    def error(batch):
        side = batch["psf"].shape[1]
        start = (np.rint(batch["positions"][0, 0]).astype(int) - side // 2)[::-1]
        place = tuple(slice(max(one, 0), one + side) for one in start)
        return 1 / np.sqrt(np.sum(batch["psf"][0] ** 2 / batch["variance"][0][place], axis=(0, 1)))

    with_pixels(spied, ratio)(batch)
    np.testing.assert_allclose(error(seen), error(batch), rtol=0.05)
    # What a residual is compared with is how far a pixel scatters.
    noise = np.random.default_rng(0).normal(size=batch["image"].shape) * np.sqrt(batch["variance"])
    with_pixels(spied, ratio)(batch | {"image": noise.astype(np.float32)})
    good = ~seen["mask"]
    assert np.mean(seen["image"][good] ** 2 / seen["pixel_variance"][good]) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("ratio", [0.6, 1.19, 1.9])
def test_a_model_of_other_pixels_gives_the_same_fluxes(ratio):
    seen = {}

    def spied(batch):
        seen.update(batch)
        return dataclasses.replace(least_squares(batch), position_error=np.full((1, 2, 2), 0.1))

    batch = batch_of(scale=1.3)
    answer = with_pixels(spied, ratio)(batch)
    np.testing.assert_allclose(answer.flux[0], [[1000, 1000], [500, 500]], rtol=0.02)
    np.testing.assert_allclose(answer.positions[0], batch["positions"][0], atol=1e-3)
    # A tenth of the pixels that the deblender saw.
    np.testing.assert_allclose(answer.position_error[0], 0.1 * ratio)
    np.testing.assert_allclose(
        answer.image.sum(axis=1), batch["image"], atol=(0.02 if ratio < 1.5 else 0.1) * batch["image"].max()
    )
    assert seen["image"].sum() == pytest.approx(batch["image"].sum(), rel=0.01)
    new, old = (fwhm_of(psf[0, ..., 0]) for psf in (seen["psf"], batch["psf"]))
    assert new == pytest.approx(old / ratio, rel=0.08)


@pytest.mark.parametrize("ratio", [0.6, 1.19])
def test_what_models_may_be_wrong_by_is_as_large_a_part_of_the_light_in_other_pixels_and_bands(ratio):
    seen = {}

    def spied(batch):
        seen.update(batch)
        return least_squares(batch)

    batch = batch_of(scale=1.9)
    batch["model_variance"] = (0.02 * batch["image"]) ** 2
    with_pixels(spied, ratio)(batch)
    light = seen["image"][0, ..., 0]
    bright = light > 0.1 * light.max()
    np.testing.assert_allclose(np.sqrt(seen["model_variance"][0, ..., 0][bright]) / light[bright], 0.02, rtol=0.1)
    assert (seen["model_variance"] >= 0).all()

    batch = batch_of()
    batch["model_variance"] = np.ones_like(batch["image"])
    batch["model_variance"][..., 1] = 4
    with pytest.raises(AssertionError, match="seen"):
        with_bands(stop_with(seen), ("r", "g"), ("g", "u", "r"))(batch)
    assert (seen["model_variance"] == [4, 0, 1]).all()


def stop_with(seen):
    """Return a deblender that keeps its batch and stops."""

    def stop(batch):
        seen.update(batch)
        raise AssertionError("seen")

    return stop


def test_absent_bands_have_no_weight():
    seen = {}

    def spied(batch):
        seen.update(batch)
        answer = least_squares({**batch, "variance": np.where(np.isfinite(batch["variance"]), batch["variance"], 1)})
        answer.flux[..., 1] = 7
        return answer

    answer = with_bands(spied, ("r", "g"), ("g", "u", "r"))(batch_of())
    assert seen["image"].shape[-1] == seen["psf"].shape[-1] == 3
    assert np.isinf(seen["variance"][..., 1]).all()
    assert seen["mask"][..., 1].all()
    np.testing.assert_allclose(seen["psf"].sum(axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(answer.flux[0], [[1000, 1000], [500, 500]], rtol=0.02)
    with pytest.raises(InputError, match="band 'Ks'.*--as"):
        with_bands(spied, ("r", "Ks"), ("g", "u", "r"))


def test_blendedness_of_coincident_equals_is_a_half():
    blob = np.zeros((2, 48, 48, 1), np.float32)
    blob[:, 20:24, 20:24] = 5
    nothing = np.full((2, 1), np.nan)
    fit = Fit(blob, np.full((2, 1), 80.0), nothing, nothing, np.full((2, 2), 21.5), None, None, np.zeros(2, int), None)
    unit = Unit(0, np.arange(2), 0, 0, 48)
    planes = {"image": blob.sum(axis=0), "variance": np.ones((48, 48, 1)), "mask": np.zeros((48, 48, 1), bool)}
    planes |= {"own": np.ones((48, 48), bool), "other": np.zeros((48, 48), bool)}
    sources = {"x": np.full(2, 21.5), "y": np.full(2, 21.5), "a": np.ones(2), "b": np.ones(2), "theta": np.zeros(2)}
    sources["snr"] = np.ones(2)

    class Detection:
        weights, fwhm = (1.0,), 3.0

    found = measure(unit, planes, fit, sources, Detection, unit.sources)
    np.testing.assert_allclose(found["blendedness"], 0.5)
    assert found["chi2"][0] == 0
    assert np.isnan(found["flux_like_err"]).all(), "two templates that are one cannot be told apart"


class Preset:
    """Stands for a packaged preset of pixels of 0.2 arcsec and one band."""

    bands = ("r",)


@pytest.fixture
def choose(monkeypatch):
    """Return what a deblender chosen for a field of some pixels is given of a batch of that field, and its answer."""
    from galzoo.tasks.deblend import choose_preset

    card = {"data": {"pixel_scale_arcsec": 0.2}}
    monkeypatch.setattr("galzoo.presets.card_for", lambda *_: card)
    monkeypatch.setattr("galzoo.presets.load_for", lambda *_: Preset())
    monkeypatch.setattr("galzoo.presets.find_preset", Path)
    monkeypatch.setattr("galzoo.presets.checksum", str)
    seen = {}

    def spied(model, method, batch):
        seen.update(batch)
        return least_squares(batch)

    monkeypatch.setattr(choose_preset, "deblend_batch", spied)

    def run(scale, conform, preset="some"):
        field = SimpleNamespace(bands=("r",), pixel_scale=scale, name="field.fits", renamed=lambda bands: field)
        deblend, _, _ = choose_preset.choose_deblender(preset, None, "map", field, conform=conform)
        batch = batch_of(side=128 if scale < 0.1 else 48, scale=0.2 / scale)
        batch = {key: value[..., :1] if np.ndim(value) == 4 else value for key, value in batch.items()}
        return seen, deblend(batch)

    return run


@pytest.mark.parametrize(
    ("scale", "conform", "side"), [(0.2, True, 48), (0.18, False, 48), (0.18, True, 44), (0.06, True, 39)]
)
def test_fields_are_brought_to_the_pixels_of_a_preset(choose, caplog, scale, conform, side):
    seen, answer = choose(scale, conform)
    assert seen["image"].shape[1] == side
    np.testing.assert_allclose(answer.flux[0, :, 0], [1000, 500], rtol=0.03)
    assert ("--conform" in caplog.text) == (scale == 0.18 and not conform)


def test_the_packaged_preset_that_is_used_is_said(choose, caplog, monkeypatch):
    scales = {"far_0.3": 0.3, "near_0.2": 0.2}
    monkeypatch.setattr("galzoo.presets.presets_for", lambda task: list(scales))
    card = "galzoo.presets.load_card"
    monkeypatch.setattr(card, lambda name, **_: {"data": {"bands": ["r"], "pixel_scale_arcsec": scales[name]}})
    choose(0.2, False)
    assert "is used" not in caplog.text
    choose(0.2, False, None)
    assert "field.fits: preset near_0.2 is used; --preset names another" in caplog.text
    caplog.clear()
    with pytest.raises(
        InputError, match=r"field.fits: no packaged .* 0.06 arcsec .*near_0.2 knows 0.2\); resample.*--conform"
    ):
        choose(0.06, False, None)
    assert "is used" not in caplog.text


def test_pixels_that_cannot_be_brought_there_are_refused(choose):
    with pytest.raises(InputError, match=r"0\.06 arcsec.*add --conform"):
        choose(0.06, False)
    with pytest.raises(InputError, match=r"0\.5 arcsec.*resample"):
        choose(0.5, True)
