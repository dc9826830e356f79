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
# # The stars of M2
#
# The globular cluster M2 as SDSS saw it in r and i: two frames that are some pixels apart, a catalogue of stars with
# a posterior of their number, and what the catalogue leaves of the image.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from matplotlib import pyplot as plt
from scipy.ndimage import shift

import galzoo
from galzoo.tasks.detect import Settings, detect_field

SMOKE = os.environ.get("GALZOO_SMOKE") == "1"
PRESET = "starnet_sdss"
# The folder with frame-r-002583-2-0136.fits.bz2, frame-i-..., and PSFs sdss-002583-2-0136-psf-r.fits, ...; without
# it the notebook makes a field of its own.
FRAMES = os.environ.get("GALZOO_M2")
OUTPUT = Path(os.environ.get("GALZOO_M2_OUTPUT", tempfile.mkdtemp(prefix="galzoo_m2_")))
# The first column and line, and the side in pixels: the field of Liu et al. 2021.
X0, Y0, SIDE = 310, 630, 48 if SMOKE else 100
# Electrons per count, counts of the sky, and dark variance, of the psField file; the faintest star in r of that paper.
GAIN, SKY, DARK = {"r": 4.6, "i": 5.195}, {"r": 150.75, "i": 215.5}, {"r": 1.0, "i": 6.25}
FAINTEST = 22.33

# %% [markdown]
# ## A registered field
# The WCS of the frames says how far i is from r; i is moved by a spline. The variance is that of sky, stars and dark
# current: `galzoo detect` could estimate it, but in a cluster there is no sky to estimate it from. PSFs are those of
# the middle of the frame; they are cut to unit sum.


# %%
def register(folder):
    """Return images (band, y, x) in nanomaggies, their variance, PSFs, electrons per nanomaggy, and the WCS."""
    frames = {band: fits.open(Path(folder) / f"frame-{band}-002583-2-0136.fits.bz2")[0] for band in "ri"}
    wcs = {band: WCS(frame.header) for band, frame in frames.items()}
    middle = np.array([X0 + SIDE / 2, Y0 + SIDE / 2])
    sky = wcs["r"].all_pix2world(*middle, 0)
    images, variances, psfs, gains = [], [], [], []
    for band, frame in frames.items():
        dx, dy = np.array(wcs[band].all_world2pix(*sky, 0)) - middle
        print(f"{band}: {dx:+.3f}, {dy:+.3f} pixels from r")
        nanomaggy = frame.header["NMGY"]
        around = frame.data[Y0 - 20 : Y0 + SIDE + 20, X0 - 20 : X0 + SIDE + 20].astype(float)
        image = shift(around, (-dy, -dx), order=5)[20:-20, 20:-20] if band != "r" else around[20:-20, 20:-20]
        counts = np.maximum(image, 0) / nanomaggy + SKY[band]
        images.append(image)
        variances.append((counts / GAIN[band] + DARK[band]) * nanomaggy**2)
        psf = fits.getdata(Path(folder) / f"sdss-002583-2-0136-psf-{band}.fits").astype(float)
        psfs.append(np.maximum(psf, 0) / np.maximum(psf, 0).sum())
        gains.append(GAIN[band] / nanomaggy)
    return images, variances, psfs, gains, wcs["r"][Y0 : Y0 + SIDE, X0 : X0 + SIDE]


def stand_in():
    """Return the same of a simulated field of 1,500 stars in 100 x 100 pixels."""
    from galzoo.layers.starfield import StarField

    layer = StarField(
        size=SIDE, density=(0.15, 0.15), slope=(0.5, 0.5), span=(1000, 1000), faintest=1000, fwhm=(2.8, 3.0),
        sky=(686, 900), gain=(856, 857), unresolved=0.0, sky_error=0.0, full_well=None, seed=5,
    )  # fmt: skip
    made = {key: np.asarray(value)[0] for key, value in layer({"image": np.zeros((1, 1, 1, 2), "float32")}).items()}
    print(f"a simulated field of {made['n_sources']} stars")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-1.1e-4, 1.1e-4]
    planes = (np.moveaxis(made[key], -1, 0) for key in ("image", "variance", "psf"))
    return *planes, made["gain"], wcs


images, variances, psfs, gains, wcs = stand_in() if FRAMES is None else register(FRAMES)
OUTPUT.mkdir(parents=True, exist_ok=True)
for name, planes in (("field", images), ("variance", variances)):
    hdus = [fits.PrimaryHDU()]
    for band, plane in zip("ri", planes, strict=True):
        hdus.append(fits.ImageHDU(np.asarray(plane, "float32"), wcs.to_header(), name=band))
        hdus[-1].header["MAGZERO"] = 22.5
    fits.HDUList(hdus).writeto(OUTPUT / f"{name}.fits", overwrite=True)
for band, psf in zip("ri", psfs, strict=True):
    fits.writeto(OUTPUT / f"psf_{band}.fits", np.asarray(psf, "float32"), overwrite=True)

# %% [markdown]
# ## Catalogue and posterior
# `faintest` says which stars count, to a preset that can be told. `wake` fits the PSF and the sky to the field first:
# the light of stars too faint to count is taken off.

# %%
limit = FAINTEST if galzoo.load(PRESET).limited else None
written = detect_field(
    OUTPUT / "field.fits",
    OUTPUT / "stars",
    preset=PRESET,
    psf=[OUTPUT / f"psf_{band}.fits" for band in "ri"],
    settings=Settings(wake=True, faintest=limit, report=not SMOKE),
    restart=True,
    bands=["r", "i"],
    variance=[f"{OUTPUT / 'variance.fits'}[{band}]" for band in "ri"],
    gain=dict(zip("ri", map(float, gains), strict=True)),
    subtract_sky=False,
)
stars = QTable.read(OUTPUT / "stars" / "catalogue.ecsv")
counts = QTable.read(OUTPUT / "stars" / "counts.ecsv")
print(f"{len(stars)} stars of a probability of 1/2 and more")
low, mean, high = counts["low"][0], counts["mean"][0], counts["high"][0]
what = "number of stars" if limit is None else f"number of stars brighter than r = {limit}"
print(f"{what}: {mean:.0f}, 90 % interval {low:.0f} to {high:.0f}")
bright = stars[np.argsort(stars["mag_r"])]
bright["x", "y", "mag_r", "mag_err_r", "mag_i", "probability", "crowding"][:8]

# %% [markdown]
# ## What is left
# In units of the noise.

# %%
image = np.asarray(images[0], float)
model = fits.getdata(OUTPUT / "stars" / "model.fits", "r") / 3631.0
sigma = np.sqrt(np.asarray(variances[0], float))
left = (image - model) / sigma
print(f"chi-square per pixel, 5 pixels from the edges: {np.nanmean(left[5:-5, 5:-5] ** 2):.2f}")
figure, axes = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
stretch = {"origin": "lower", "cmap": "gray", "vmin": -1, "vmax": np.arcsinh(np.quantile(image, 0.998) / 0.2)}
for axis, plane, title in zip(axes, (image, model), ("SDSS r", "catalogue"), strict=False):
    axis.imshow(np.arcsinh(plane / 0.2), **stretch)
    axis.set_title(title)
axes[0].plot(stars["x"], stars["y"], "+", ms=4, color="#ff6a3d", mew=0.7)
axes[2].imshow(left, origin="lower", cmap="RdBu_r", vmin=-8, vmax=8)
axes[2].set_title("residual, -8 to 8 sigma")
for axis in axes:
    axis.set(xlim=(-0.5, SIDE - 0.5), ylim=(-0.5, SIDE - 0.5))
    axis.set_axis_off()
figure.savefig(OUTPUT / "m2.png", dpi=110)
