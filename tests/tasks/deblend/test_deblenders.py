import dataclasses

import numpy as np
import pytest

from galzoo.contracts.deblended import FLAGS
from galzoo.errors import InputError
from galzoo.metrics.deblending import pulls, relative_error
from galzoo.tasks.deblend.alignment import AtDetections, aligned, matched_slots
from galzoo.tasks.deblend.deblenders import (
    SEP,
    Aperture,
    Oracle,
    Photutils,
    baselines,
    detection_image,
)
from tests.scenes import biased, make_scenes


@pytest.fixture(scope="module")
def batch():
    return make_scenes(24).batch()


@pytest.fixture(scope="module")
def apart():
    return make_scenes(4, seed=1, apart=16).batch()


def true_flux(batch):
    return batch["isolated"].sum(axis=(2, 3), dtype=np.float64)


@pytest.mark.parametrize("finder", [SEP(), SEP(kron=True), Photutils()])
def test_two_sources_apart_are_both_found_and_measured(finder, apart):
    found = finder.find(apart)
    assert found.present.sum(axis=1).tolist() == [2] * 4
    result = finder(apart)
    error = relative_error(result.flux, true_flux(apart))
    assert np.abs(error).max() < 0.25
    assert np.abs(np.median(error)) < 0.06
    assert np.hypot(*(result.positions - apart["positions"]).reshape(-1, 2).T).max() < 0.5
    # All the light of a segment, none of the neighbour's.
    share = result.image.sum(axis=(2, 3)) / true_flux(apart)
    assert share.min() > 0.8
    assert share.max() < 1.1


@pytest.mark.parametrize("finder", [SEP(), Photutils()])
def test_sources_in_one_place_are_one(finder):
    one = make_scenes(3, seed=2, apart=0.5).batch()
    result = finder(one)
    assert result.present.sum() == 6
    assert np.isnan(result.flux).any(axis=-1).sum(axis=1).tolist() == [1, 1, 1]
    missed = np.isnan(result.flux[..., 0])
    assert np.all(result.flags[missed] == FLAGS["not_fitted"])
    assert np.all(result.image[missed] == 0)


@pytest.mark.parametrize("finder", [SEP(), SEP(kron=True), Photutils()])
def test_empty_sky_and_a_band_that_is_absent(finder, apart):
    empty = {**apart, "image": np.random.default_rng(0).normal(size=apart["image"].shape).astype(np.float32)}
    assert np.isnan(finder(empty).flux).all()
    variance = apart["variance"].copy()
    variance[..., 0] = np.inf
    one_band = finder({**apart, "variance": variance, "image": apart["image"] * [0, 1]})
    assert np.isnan(one_band.flux[..., 0]).all()
    assert np.isfinite(one_band.flux[..., 1]).all()


def test_aperture_counts_the_light_of_neighbours():
    alone, close = (make_scenes(8, seed=3, apart=pixels).batch() for pixels in (24, 5))
    excess = [np.median(relative_error(Aperture()(b).flux, true_flux(b))) for b in (alone, close)]
    assert abs(excess[0]) < 0.05
    assert excess[1] > 0.3


def test_oracle_is_unbiased_and_knows_its_errors():
    random = np.random.default_rng(4)
    batch = make_scenes(30, seed=4).batch()
    noiseless = batch["isolated"].sum(axis=1)
    found = []
    for _ in range(20):
        noise = random.standard_normal(noiseless.shape).astype(np.float32)
        result = Oracle()({**batch, "image": noiseless + noise})
        pull = pulls(result.flux, true_flux(batch), result.flux_error)
        found.append(pull[result.present])
    found = np.stack(found)
    assert np.isfinite(found).all()
    assert found.std() == pytest.approx(1, abs=0.04)
    assert found.mean() == pytest.approx(0, abs=0.06)
    assert result.chi2.mean() == pytest.approx(1, abs=0.02)
    exact = Oracle()({**batch, "image": noiseless})
    np.testing.assert_allclose(exact.flux[exact.present], true_flux(batch)[exact.present], rtol=1e-4)
    with pytest.raises(InputError, match="isolated"):
        Oracle()({key: value for key, value in batch.items() if key != "isolated"})


def test_all_baselines_answer_for_the_sources_of_the_batch(batch):
    for name, deblend in baselines().items():
        result = deblend(batch)
        n, most = batch["positions"].shape[:2]
        assert result.image.shape == (n, most, 48, 48, 2), name
        assert result.flux.shape == result.flux_error.shape == (n, most, 2), name
        assert result.present.sum(axis=1).tolist() == batch["n_sources"].tolist(), name
        np.testing.assert_allclose(result.residual, batch["image"] - result.image.sum(axis=1), atol=1e-3)


def test_padding_is_that_of_the_batch():
    alone = make_scenes(6, seed=5).batch([0, 3])
    assert alone["n_sources"].tolist() == [1, 1]
    for name, deblend in baselines().items():
        assert deblend(alone).flux.shape == (2, 3, 2), name


def test_a_mask_hides_a_source(apart):
    mask = apart["mask"].copy()
    mask[:, :, :24] = True
    flux = SEP()({**apart, "mask": mask, "image": np.where(mask, 0, apart["image"])}).flux
    assert np.isnan(flux[:, 0]).all()
    assert np.isfinite(flux[:, 1]).all()


def test_detection_image_weighs_bands_by_their_sky():
    variance = np.ones((20, 20, 2))
    variance[..., 1] = 4
    variance[5, 5, 0] = 400
    mask = np.zeros(variance.shape, bool)
    mask[0, 0], mask[1, 1, 0] = True, True
    image = np.ones(variance.shape) * [1.0, 2.0]
    data, noise, bad = detection_image(image, variance, mask)
    assert data[3, 3] == data[5, 5] == pytest.approx((1 + 2 / 4) / 1.25)
    assert data[1, 1] == pytest.approx(2)
    assert noise == pytest.approx(1.25**-0.5)
    assert np.argwhere(bad).tolist() == [[0, 0]]
    with pytest.raises(InputError, match="no pixel"):
        detection_image(image, variance, np.ones(variance.shape, bool))


def test_alignment_follows_the_sources(batch):
    truth = biased(1.0, error=0.1)(batch)
    turned = {key: getattr(truth, key)[:, ::-1] for key in ("image", "flux", "positions", "present", "flux_error")}
    samples = np.stack([turned["flux"], 2 * turned["flux"]])
    result = aligned(dataclasses.replace(truth, samples=samples, **turned), batch)
    present = truth.present
    np.testing.assert_array_equal(result.flux[present], truth.flux[present])
    np.testing.assert_array_equal(result.image[present], truth.image[present])
    np.testing.assert_array_equal(result.samples[1][present], 2 * truth.flux[present])
    assert np.isnan(result.flux[~present]).all()
    far = dataclasses.replace(truth, positions=truth.positions + 4.0)
    assert (matched_slots(far, batch)[present] < 0).mean() > 0.5


def test_a_deblender_can_be_given_what_another_finds(apart):
    seen = {}

    def deblend(batch):
        seen.update(batch)
        return Aperture()(batch)

    result = AtDetections(deblend, SEP())(apart)
    assert "isolated" not in seen
    assert not np.array_equal(seen["positions"], apart["positions"])
    assert np.isfinite(result.flux).all()
