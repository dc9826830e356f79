import sys

import galsim
import numpy as np
import pytest

from galzoo.contracts.prior import Samples
from galzoo.errors import InputError, MissingDependencyError
from galzoo.interop.galsim import to_interpolated_images
from galzoo.simulate.observe import observe

SCALE = 0.2


def make_samples(size, unit="nJy"):
    grid = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(grid - 0.3, grid + 0.4)
    shape = np.exp(-0.5 * ((x / 2.5) ** 2 + (y / 1.6) ** 2))
    flux = np.array([[100.0, 400.0], [30.0, 20.0]])
    image = shape[None, :, :, None] * flux[:, None, None]
    return Samples(image.astype("float32"), {}, np.zeros(2), ("r", "i"), SCALE, unit, model_sigma=0.7, survey="LSST")


def draw(profile, size, scale=SCALE):
    return profile.drawImage(nx=size, ny=size, scale=scale, method="no_pixel", dtype=float).array


@pytest.mark.parametrize("size", [32, 33])
def test_drawn_again_it_is_the_sample(size):
    samples = make_samples(size)
    objects = to_interpolated_images(samples)
    assert [list(bands) for bands in objects] == [["r", "i"]] * 2
    for row, bands in enumerate(objects):
        for index, profile in enumerate(bands.values()):
            image = samples.image[row, ..., index].astype(float)
            np.testing.assert_allclose(draw(profile, size), image, atol=1e-5 * image.max())
            assert profile.flux == pytest.approx(image.sum(), rel=1e-6)
            assert profile.centroid.x == pytest.approx(0.3 * SCALE, abs=0.01 * SCALE)
            assert profile.centroid.y == pytest.approx(-0.4 * SCALE, abs=0.01 * SCALE)


@pytest.mark.parametrize("deconvolve", [False, True])
def test_through_a_psf_it_is_what_observe_gives(deconvolve):
    samples = make_samples(32)
    sigma = 2.2
    grid = np.arange(31) - 15
    psf = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / sigma**2)
    expected = observe(samples, psf=psf / psf.sum()).image[..., 1]
    # Without deconvolution the model frame's own blur has to be left out of the PSF by hand.
    blur = galsim.Gaussian(sigma=(sigma if deconvolve else np.sqrt(sigma**2 - 0.7**2)) * SCALE)
    objects = to_interpolated_images(samples, deconvolve=deconvolve)
    for row, bands in enumerate(objects):
        seen = draw(galsim.Convolve(bands["i"], blur), 32)
        np.testing.assert_allclose(expected[row], seen, atol=1e-3 * seen.max())
        assert bands["i"].flux == pytest.approx(samples.image[row, ..., 1].sum(), rel=1e-5)


def test_rows_and_refusals(monkeypatch):
    samples = make_samples(16)
    (only,) = to_interpolated_images(samples, rows=[1])
    assert only["r"].flux == pytest.approx(samples.image[1, ..., 0].sum(), rel=1e-6)
    with pytest.raises(InputError, match="without a flux scale"):
        to_interpolated_images(make_samples(16, unit=""))
    samples.image[1, ..., 0] = 0
    with pytest.raises(InputError, match="sample 1 has a flux of 0 in band 'r'"):
        to_interpolated_images(samples)
    samples.model_sigma = 0.0
    with pytest.raises(InputError, match="no model frame"):
        to_interpolated_images(samples, deconvolve=True)
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(MissingDependencyError, match="pip install galsim"):
        to_interpolated_images(samples)
