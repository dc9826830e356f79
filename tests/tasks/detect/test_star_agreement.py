"""Isolated stars have the same flux for the star model of `deblend`, for a StarNet, and after `--refine`."""

from types import SimpleNamespace

import numpy as np
import pytest

import galzoo
from galzoo.field.star_light import StarLight
from galzoo.field.windows import Unit
from galzoo.tasks.deblend.psf_flux import psf_fluxes
from galzoo.tasks.detect.refine import refined

SIDE, SNR, SKY, GAIN = 160, 200.0, 700.0, 4.0


@pytest.fixture(scope="module")
def stars():
    """Sixteen stars forty pixels apart, in electrons over the gain."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[-12:13, -12:13]
    psf = np.stack([(1 + (x**2 + y**2) / width**2) ** -3.0 for width in (2.4, 2.2)], axis=-1)
    psf /= psf.sum(axis=(0, 1))
    grid = np.arange(20, SIDE, 40.0)
    places = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (16, 2))
    flux = np.sqrt(SKY / (psf**2).sum(axis=(0, 1))) * SNR * [1.0, 1.3] * rng.uniform(0.8, 1.2, (16, 1))
    light = StarLight(psf).add(np.zeros((SIDE, SIDE, 2)), places, flux)
    counts = rng.poisson(np.maximum(light, 0) + SKY)
    batch = {
        "image": (counts - SKY) / GAIN, "variance": counts / GAIN**2, "psf": psf, "gain": np.full(2, GAIN),
        "mask": np.zeros(light.shape, bool),
    }  # fmt: skip
    batch = {key: value[None].astype(bool if key == "mask" else "float32") for key, value in batch.items()}
    return batch, places, flux / GAIN


def test_the_star_model_of_the_deblender_a_network_and_its_refinement_agree_within_a_hundredth(stars):
    batch, places, flux = stars
    model = galzoo.load("starnet_sdss")
    planes = {key: batch[key][0] for key in ("image", "variance", "mask")}
    planes["other"] = np.zeros((SIDE, SIDE), bool)
    light, shape = StarLight(batch["psf"][0]), planes["image"].shape
    images = [light.add(np.zeros(shape), *one) for one in zip(places[:, None], flux[:, None], strict=True)]
    fit = SimpleNamespace(flux=flux, image=np.array(images))
    unit = Unit(0, np.arange(len(flux)), 0, 0, SIDE)
    deblended = psf_fluxes(unit, planes, fit, places, lambda x, y: np.repeat(batch["psf"], len(x), axis=0))[0]
    np.testing.assert_allclose(np.median(deblended / flux, axis=0), 1, atol=0.005)
    for detect in (model.detect, refined(model.detect)):
        found = detect(batch, threshold=0.5)
        sure = np.asarray(found.probability[0]) >= 0.5
        at, measured = np.asarray(found.positions[0])[sure], np.asarray(found.flux[0])[sure]
        assert sure.sum() == len(places)
        nearest = np.hypot(*(places[:, None] - at).transpose(2, 0, 1)).argmin(axis=1)
        np.testing.assert_allclose(np.median(measured[nearest] / deblended, axis=0), 1, atol=0.01)
