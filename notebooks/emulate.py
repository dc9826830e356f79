# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One survey's galaxies for another
#
# Galaxies drawn from a prior are noiseless and have a small, round, known PSF, so that any telescope can look at
# them. HST-like galaxies are shown to HST, Euclid, HSC and LSST, flux and size are measured back, and the same
# galaxies are put into an image simulation of our own. In the end LSST galaxies, in colour, are shown to HSC.

# %%
# %matplotlib inline
import os

import galsim
import numpy as np
import sep
from matplotlib.figure import Figure

import galzoo
from galzoo.data.zeropoint import njy_to_magnitude
from galzoo.interop.galsim import to_interpolated_images
from galzoo.metrics.shape import adaptive_moments, aperture_flux
from galzoo.simulate.surveys import get_survey, noise_sigma
from galzoo.tasks.sample import observe
from galzoo.viz.colour import to_rgb
from galzoo.viz.page import page
from galzoo.viz.panels import picture_grid

# A small size, for trying the notebook out: GALZOO_SMOKE=1.
SMOKE = os.environ.get("GALZOO_SMOKE") == "1"
N = 12 if SMOKE else 100

# %% [markdown]
# ## HST-like galaxies
# Drawn for magnitudes in F160W; sizes are those that go with them.

# %%
PRESET = "pixelcnn_candels_h"
model = galzoo.load(PRESET)
magnitudes = np.random.default_rng(1).uniform(21.5, 24.5, N)
samples = model.sample(N, condition={"mag": magnitudes}, seed=1)
fwhm = samples.model_sigma * samples.pixel_scale * np.sqrt(8 * np.log(2))
print(f"{len(samples)} galaxies of {samples.image.shape[1:]} pixels; their PSF has a FWHM of {fwhm:.2f} arcsec")
shown = {name: values[:12] for name, values in samples.condition.items()}
page(observe(samples)[:12], shown, title=f"{PRESET}: noiseless, model frame")

# %% [markdown]
# ## As others see them
# The Gaussian is exchanged for the telescope's PSF, which differs from galaxy to galaxy; then come its pixels and its
# noise. The preset has one band. So what is shown in IE, HE or i are F160W galaxies with their flux in F160W, and the
# log says so. That serves to study sizes, detection or blending, not colours: real galaxies are fainter in i than in
# F160W, and look clumpier.

# %%
TELESCOPES = {"CANDELS": "F160W", "Euclid_VIS": "IE", "Euclid_NISP": "HE", "HSC": "i", "LSST": "i"}
seen = {name: observe(samples, survey=name, bands=[band], noise=True) for name, band in TELESCOPES.items()}
bright = np.argsort(magnitudes)[:5]
columns = {"as drawn": [to_rgb(image) for image in samples.image[bright]]}
for name, stamps in seen.items():
    pixels = f"{stamps.shape[0]} pixels of {stamps.pixel_scale:.3g} arcsec"
    print(f"{name}: {pixels}, median S/N {np.median(stamps.catalogue['snr']):.0f}")
    columns[name] = [to_rgb(stamps.image[row], variance=stamps.variance[row]) for row in bright]
picture_grid(columns, labels=[f"mag {value:.1f}" for value in magnitudes[bright]])

# %% [markdown]
# ## Flux, measured back
# In an aperture of 1.5 arcsec radius. It misses the wings, the more the wider the PSF, as it does for real galaxies.
# The pull is the error due to noise over the one that the variance plane promises; it should scatter by 1.

# %%
RADIUS = 1.5
flux = {}
for name, stamps in seen.items():
    noiseless = observe(samples, survey=name, bands=stamps.bands)
    radius = RADIUS / stamps.pixel_scale
    true = aperture_flux(noiseless.image, radius)[:, 0]
    flux[name] = aperture_flux(stamps.image, radius)[:, 0]
    pull = (flux[name] - true) / np.sqrt(aperture_flux(stamps.variance, radius)[:, 0])
    total = stamps.catalogue[f"flux_{stamps.bands[0]}"].to_value("nJy")
    print(f"{name}: {np.median(true / total):.3f} of the flux is in the aperture;", end=" ")
    print(f"measured: {np.median(flux[name] / total):.3f}; pull {pull.mean():.2f} ± {pull.std():.2f}")

# %% [markdown]
# ## Size, measured back
# The size of a galaxy is taken to be the half-light radius of the round exponential disc that, through the PSF of the
# stamp, has the same adaptive moments. The same is done on the galaxies as they were drawn, behind the Gaussian of
# the model frame. Galaxies are no exponential discs, though: many have a compact core and a faint halo, of which a
# wide PSF shows more. So sizes from the ground are larger where galaxies are small against the PSF. That is a bias of
# the measurement, as it is for real galaxies; the next section holds the image itself against GalSim's.

# %%
RADII = np.geomspace(0.03, 1.5, 12)


def measured_size(image, psf, pixel_scale):
    """Return the half-light radius in arcsec, (n,); NaN where the moments fail."""
    sizes = []
    for k, sigma in enumerate(adaptive_moments(image)["sigma"][:, 0]):
        if k < len(psf):
            kernel = galsim.InterpolatedImage(galsim.Image(psf[k, ..., 0].astype(float), scale=pixel_scale))
            discs = [galsim.Convolve(galsim.Exponential(half_light_radius=radius), kernel) for radius in RADII]
            drawn = [disc.drawImage(nx=48, ny=48, scale=pixel_scale, method="no_pixel").array for disc in discs]
            known = adaptive_moments(np.stack(drawn)[..., None])["sigma"][:, 0]
        sizes.append(np.exp(np.interp(sigma, known, np.log(RADII), left=np.nan, right=np.nan)))
    return np.array(sizes)


frame = observe(samples)
size_drawn = measured_size(frame.image, frame.psf, frame.pixel_scale)
sizes = {name: measured_size(stamps.image, stamps.psf, stamps.pixel_scale) for name, stamps in seen.items()}
for name, stamps in seen.items():
    ratio = (sizes[name] / size_drawn)[stamps.catalogue["snr"] > 20]
    low, middle, high = np.nanpercentile(ratio, [16, 50, 84])
    print(f"{name}, S/N above 20: size over that as drawn {middle:.2f} (68 % from {low:.2f} to {high:.2f})")


def size_figure():
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    for axis, name in zip(
        figure.subplots(1, 3, sharex=True, sharey=True), ("CANDELS", "Euclid_VIS", "LSST"), strict=True
    ):
        good = seen[name].catalogue["snr"] > 20
        axis.loglog(size_drawn[good], sizes[name][good], "o", ms=3.5)
        axis.loglog([0.05, 1], [0.05, 1], color="0.6", lw=1, zorder=0)
        axis.set(xlabel="as drawn [arcsec]", title=name)
    figure.axes[0].set_ylabel("measured back [arcsec]")
    return figure


size_figure()

# %% [markdown]
# ## In a simulation of one's own
# `to_interpolated_images` gives one GalSim object a galaxy and band. With `deconvolve=True` the Gaussian of the model
# frame is taken out, so that the object is convolved with a whole PSF, which must be wider than that Gaussian. First
# a check: GalSim and `observe` draw the same galaxy through the same PSF.

# %%
objects = to_interpolated_images(samples, deconvolve=True)
stamps = observe(samples, survey="LSST", bands=["i"])
psf = galsim.InterpolatedImage(
    galsim.Image(stamps.psf[0, ..., 0].astype(float), scale=stamps.pixel_scale), x_interpolant="lanczos15"
)
ny, nx = stamps.shape
by_galsim = galsim.Convolve(objects[0]["F160W"], psf).drawImage(
    nx=nx, ny=ny, scale=stamps.pixel_scale, method="no_pixel"
)
difference = np.abs(by_galsim.array - stamps.image[0, ..., 0]).max() / stamps.image.max()
print(f"largest difference: {difference:.1e} of the peak")

# %% [markdown]
# Now a field of LSST pixels, behind a PSF of our own, with the sky noise of LSST i. Each galaxy is turned and sheared
# a little. They have no noise of their own, so it is added once, to the whole.

# %%
survey = get_survey("LSST")
scale = survey.pixel_scale.to_value("arcsec")
side = 200 if SMOKE else 400
random = np.random.default_rng(2)
places = random.uniform(15, side - 15, (len(objects), 2))
own_psf = galsim.Kolmogorov(fwhm=0.7).shear(g1=0.02)
scene = galsim.ImageD(side, side, xmin=0, ymin=0, scale=scale)
for galaxy, (x, y) in zip(objects, places, strict=True):
    turned = galaxy["F160W"].rotate(random.uniform(0, 360) * galsim.degrees).shear(g1=0.02)
    part = galsim.Convolve(turned, own_psf).drawImage(nx=80, ny=80, scale=scale, center=galsim.PositionD(x, y))
    shared = part.bounds & scene.bounds
    scene[shared] += part[shared]
noise = noise_sigma(survey, "i")
image = scene.array + noise * random.standard_normal(scene.array.shape)

sources = sep.extract(image, 5.0, err=noise)
distance = np.hypot(places[:, None, 0] - places[:, 0], places[:, None, 1] - places[:, 1])
alone = np.sort(distance, axis=1)[:, 1] * scale > 2 * RADIUS
measured, _, _ = sep.sum_circle(image, *places[alone].T, RADIUS / scale)
total = samples.image.sum(axis=(1, 2))[alone, 0]
print(f"{len(objects)} galaxies put in, {len(sources)} sources found at 5 sigma")
print(f"{alone.sum()} have no other within {2 * RADIUS:g} arcsec;", end=" ")
print(f"in {RADIUS} arcsec, {np.median(measured / total):.3f} of their flux is measured")


def scene_figure():
    figure = Figure(figsize=(6, 6), layout="constrained")
    axis = figure.subplots()
    axis.imshow(to_rgb(image[..., None], variance=np.full((side, side, 1), noise**2)), origin="lower")
    axis.plot(sources["x"], sources["y"], "o", ms=14, mfc="none", mec="tab:orange", lw=0.5)
    axis.set(xticks=[], yticks=[], title=f"{side * scale:.0f} arcsec, LSST i; circles: found")
    return figure


scene_figure()

# %% [markdown]
# ## LSST galaxies for HSC
# A prior over the six bands of LSST. Those of HSC are made of their namesakes, so that galaxies keep their colours;
# fluxes are not changed, although the filters of the two are not quite the same. Colours in an aperture come out a
# little red: the PSF is wider in g than in i, and more of g is missed.

# %%
LSST_PRESET = "pixelcnn_lsst"
lsst = galzoo.load(LSST_PRESET)
colourful = lsst.sample(N, condition={"mag": np.random.default_rng(3).uniform(20.5, 23.5, N)}, seed=3)
by_lsst = observe(colourful, survey="LSST", bands=["g", "r", "i"], noise=True)
by_hsc = observe(colourful, survey="HSC", bands=["g", "r", "i"], noise=True)
print("HSC bands made of", by_hsc.meta["bands_from"])
for stamps in (by_lsst, by_hsc):
    flux = aperture_flux(stamps.image, RADIUS / stamps.pixel_scale)
    colour = [njy_to_magnitude(flux[:, stamps.bands.index(band)]) for band in ("g", "i")]
    true = [njy_to_magnitude(stamps.catalogue[f"flux_{band}"].to_value("nJy")) for band in ("g", "i")]
    error = (colour[0] - colour[1]) - (true[0] - true[1])
    print(f"{stamps.survey}: error of g - i {np.nanmedian(error):+.3f} mag, scatter {np.nanstd(error):.3f}")
page(by_lsst[:12])

# %%
page(by_hsc[:12])

# %% [markdown]
# Nothing is ever sharpened. Where a telescope resolves finer than the model frame, the image stays as sharp as that:
# galaxies of LSST are none for Euclid VIS, and the log and the stamps say so.

# %%
too_sharp = observe(colourful, survey="Euclid_VIS", bands=["IE"], size=64)
print("kept the resolution of the model frame:", too_sharp.meta["kept_resolution"])
