import galsim
import numpy as np
import pytest

from galzoo.data.psf import psf_transfer
from galzoo.errors import InputError
from galzoo.metrics.reconstruction import nmse
from galzoo.tasks.reconstruct.classical import _difference_kernel, _irfft, richardson_lucy, wiener
from galzoo.tasks.reconstruct.deconvolution import tuned_baseline

SIGMA = 0.7
PSF = galsim.Moffat(beta=3.5, fwhm=4.0)


def draw(profile, size):
    return profile.drawImage(nx=size, ny=size, scale=1, method="no_pixel").array[..., None].astype(np.float32)


def simulate(n=8, size=40, snr=100.0, seed=0, psf_size=25):
    """Return image, psf, variance, truth and mask of galaxies blurred by a PSF four pixels wide."""
    random = np.random.default_rng(seed)
    psf = draw(PSF, psf_size)[None]
    image, truth = [], []
    for _ in range(n):
        galaxy = galsim.Exponential(half_light_radius=random.uniform(2, 5), flux=100)
        galaxy = galaxy.shear(g1=random.uniform(-0.4, 0.4), g2=random.uniform(-0.4, 0.4))
        image.append(draw(galsim.Convolve(galaxy, PSF), size))
        truth.append(draw(galsim.Convolve(galaxy, galsim.Gaussian(sigma=SIGMA)), size))
    image, truth = np.stack(image), np.stack(truth)
    sigma = np.sqrt((image**2).sum(axis=(1, 2, 3), keepdims=True)) / snr
    variance = np.broadcast_to(sigma**2, image.shape).astype(np.float32)
    noisy = (image + random.normal(size=image.shape) * sigma).astype(np.float32)
    return {
        "image": noisy,
        "psf": psf / psf.sum(),
        "variance": variance,
        "mask": np.zeros(image.shape, bool),
        "truth": truth,
        "snr": np.full(n, snr),
    }


@pytest.mark.parametrize("method", ["richardson_lucy", "wiener"])
@pytest.mark.parametrize("snr", [15.0, 100.0])
def test_best_setting_beats_doing_nothing(method, snr):
    tuning, test = simulate(snr=snr, seed=1), simulate(snr=snr, seed=2)
    tuned = tuned_baseline(method, tuning, test)
    assert np.median(nmse(test["truth"], tuned.images)) < 0.5 * np.median(nmse(test["truth"], test["image"]))


def test_richardson_lucy_is_close_to_the_truth_without_noise():
    data = simulate(n=3, snr=1e4)
    error = nmse(data["truth"], richardson_lucy(data["image"], data["psf"], data["variance"], 100))
    assert error.max() < 0.01


def test_richardson_lucy_agrees_with_scikit_image():
    from skimage.restoration import richardson_lucy as reference

    # Even the wings of the kernel must end inside the stamp, since the two treat edges differently.
    random = np.random.default_rng(0)
    y, x = np.indices((33, 33)) - 16.0
    gauss = lambda s: np.exp(-0.5 * (x**2 + y**2) / s**2) / (2 * np.pi * s**2)  # noqa: E731
    image = np.zeros((1, 65, 65, 1), np.float32)
    image[0, 16:49, 16:49, 0] = 50 * gauss(3.0) + 0.001 * random.uniform(size=(33, 33))
    difference = gauss(np.sqrt(2.0**2 - SIGMA**2))
    theirs = reference(image[0, ..., 0].astype(float), difference, num_iter=30, clip=False)
    mine = richardson_lucy(image, gauss(2.0)[None, ..., None], iterations=30)[0, ..., 0]
    assert np.sum((mine - theirs) ** 2) / np.sum(theirs**2) < 0.01


@pytest.mark.parametrize("psf_size", [25, 24])
def test_position_and_flux_are_kept(psf_size):
    data = simulate(n=2, snr=1e4, psf_size=psf_size)
    y, x = np.indices(data["truth"].shape[1:3])
    for image in (
        richardson_lucy(data["image"], data["psf"], data["variance"], 30),
        wiener(data["image"], data["psf"], data["variance"], 0.1),
    ):
        light = image[0, ..., 0]
        assert np.sum(light) == pytest.approx(data["truth"][0].sum(), rel=0.03)
        for axis in (y, x):
            assert np.sum(axis * light) / np.sum(light) == pytest.approx(19.5, abs=0.05)


def test_richardson_lucy_is_never_negative_and_nothing_wraps():
    image = np.zeros((1, 32, 32, 1), np.float32)
    image[0, 14:18, 0, 0] = 10.0
    psf = draw(PSF, 25)[None]
    variance = np.full(image.shape, 0.01, np.float32)
    for result in (richardson_lucy(image, psf / psf.sum(), variance, 10), wiener(image, psf / psf.sum(), variance)):
        assert np.abs(result[0, :, 20:]).max() < 0.02 * result.max()
    assert richardson_lucy(image - 0.1, psf / psf.sum(), variance, 5).min() >= 0


@pytest.mark.parametrize("solve", [richardson_lucy, wiener])
def test_masked_pixels_do_not_leak(solve):
    data = simulate(n=2)
    mask = data["mask"].copy()
    mask[:, 5:8, 5:8] = True
    spoilt = np.where(mask, np.nan, data["image"])
    hot = np.where(mask, np.float32(1e6), data["image"])
    arguments = {"psf": data["psf"], "variance": data["variance"], "mask": mask}
    first, second = solve(spoilt, **arguments), solve(hot, **arguments)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)
    dead = solve(spoilt, **{**arguments, "mask": np.ones_like(mask)})
    assert np.isfinite(dead).all()


def test_sequences_give_every_setting():
    data = simulate(n=2)
    several = richardson_lucy(data["image"], data["psf"], data["variance"], [8, 2, 4])
    assert several.shape == (3, *data["image"].shape)
    np.testing.assert_allclose(several[1], richardson_lucy(data["image"], data["psf"], data["variance"], 2))
    assert wiener(data["image"], data["psf"], data["variance"], (0.1, 1.0)).shape == several[:2].shape


def test_kernel_times_gaussian_is_the_psf():
    psf = draw(PSF, 25)[..., 0][None]
    transfer = lambda shape: psf_transfer(psf / psf.sum(), shape)  # noqa: E731
    kernel, error = _difference_kernel(transfer, (64, 64), SIGMA)
    assert error.max() < 0.02
    assert _irfft(kernel, (64, 64)).min() > -1e-6


def test_settings_follow_the_noise():
    faint, bright = simulate(snr=15.0, seed=3), simulate(snr=200.0, seed=4)
    both = {key: np.concatenate([faint[key], bright[key]]) if key != "psf" else faint[key] for key in faint}
    tuned = tuned_baseline("wiener", both, both)
    settings = {(row["low"], row["high"]): row["setting"] for row in tuned.settings}
    assert tuned.settings[0]["low"] is None
    assert settings[(10, 30)] >= settings[(100, 300)]


def test_bad_arguments_are_refused():
    data = simulate(n=2)
    for call in (
        lambda: richardson_lucy(data["image"], data["psf"], iterations=0),
        lambda: richardson_lucy(data["image"][0], data["psf"]),
        lambda: richardson_lucy(data["image"], data["psf"], data["variance"][:1]),
        lambda: wiener(data["image"], data["psf"], balance=0.0),
        lambda: tuned_baseline("clean", data, data),
    ):
        with pytest.raises(InputError):
            call()
