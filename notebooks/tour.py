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
# # A tour of galzoo
#
# A preset, stamps that it never saw, and what it makes of them: an image without noise, a deconvolved image that
# can be held against the truth, and a map of codes. Then the same galaxies in worse seeing.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import galsim
import numpy as np

import galzoo
from galzoo.metrics.codebook import codebook_usage
from galzoo.metrics.reconstruction import nmse
from galzoo.simulate.stamps import StampSpec, simulate_stamps
from galzoo.tasks.reconstruct import reconstruct, write_reconstruction
from galzoo.viz.panels import panel, reconstruction_panel

# A small size, for trying the notebook out: GALZOO_SMOKE=1.
SMOKE = os.environ.get("GALZOO_SMOKE") == "1"
N = 12 if SMOKE else 200
folder = Path(tempfile.mkdtemp(prefix="galzoo_tour_"))

# %% [markdown]
# ## A preset and its card
# The card says what a preset was trained on, what it scores and where its limits are.

# %%
PRESET = "vqvae_lsst"
model = galzoo.load(PRESET)
card = galzoo.load_card(PRESET)
print(card["title"], "|", ", ".join(card["data"]["bands"]), "|", card["data"]["pixel_scale_arcsec"], "arcsec per pixel")
print("Limits:", card["limits"])

# %% [markdown]
# ## Stamps
# Galaxies drawn by GalSim as LSST sees them after ten years. The seed differs from that of training, so these are
# other galaxies. `Stamps` hold image, variance, PSF and, since they are simulated, the truth; fluxes are in nJy.

# %%
spec = StampSpec(survey="LSST", seed=7)
stamps = simulate_stamps(spec, range(N))
print(len(stamps), "stamps of", stamps.shape, "pixels in", ", ".join(stamps.bands))
print(stamps.catalogue["id", "mag_i", "half_light_radius", "snr"][:5])
panel(stamps, rows=min(N, 24))

# %% [markdown]
# ## Reconstruction
# One call. The model sees image, variance, mask and PSF, never the truth.

# %%
result = reconstruct(model, stamps)
print(f"chi-square per pixel, median: {np.median(result.chi2):.3f}")
order = np.argsort(np.asarray(stamps.catalogue["snr"]))
shown = order[np.linspace(0, N - 1, 6).astype(int)]
reconstruction_panel(stamps, result, rows=shown)

# %% [markdown]
# ## Deconvolved, against the truth
# The codes give a first answer, and the data refine it until chi-square allows no more; `refine_steps=0` leaves that
# out. All images are in the model frame, a round Gaussian PSF of `result.model_sigma` pixels. The error is the sum of
# squared differences over the sum of the squared truth: 0 is perfect, 1 is an empty image.

# %%
error = nmse(stamps.truth, result.deconvolved)
error_codes = nmse(stamps.truth, reconstruct(model, stamps, refine_steps=0).deconvolved)
error_observed = nmse(stamps.truth, stamps.image)
snr = np.asarray(stamps.catalogue["snr"])
for low, high in ((0, 30), (30, 100), (100, np.inf)):
    rows = (snr >= low) & (snr < high)
    if rows.any():
        print(
            f"S/N {low} to {high}: {rows.sum()} galaxies, median error deconvolved {np.median(error[rows]):.3f}, "
            f"codes alone {np.median(error_codes[rows]):.3f}, as observed {np.median(error_observed[rows]):.3f}"
        )

# %% [markdown]
# ## Codes
# Each cell of 4 x 4 pixels is one of the entries of the codebook. The perplexity is the effective number of
# entries in use.

# %%
usage = codebook_usage(result.codes, model.codebook_size)
print(f"a code map has {result.codes[0].shape} cells; perplexity {usage['perplexity']:.0f} of {model.codebook_size}")
print(result.codes[int(order[-1])])

# %% [markdown]
# ## Another PSF
# The PSF belongs to the stamp, not to the model. Here the same galaxies are drawn again with a PSF image of our
# own, a Moffat profile of 1.2 arcsec in all bands; the model was trained on better seeing. The truth is the same,
# so the two deconvolutions can be compared.

# %%
profile = galsim.Convolve(galsim.Moffat(beta=3.0, fwhm=1.2), galsim.Pixel(0.2))
profile.drawImage(nx=41, ny=41, scale=0.2, method="no_pixel").write(str(folder / "psf.fits"))
blurred_spec = StampSpec(
    survey="LSST",
    seed=7,
    psf_paths={band: str(folder / "psf.fits") for band in stamps.bands},
    psf_pixel_scale=0.2,
)
blurred = simulate_stamps(blurred_spec, range(N))
blurred_result = reconstruct(model, blurred)
print("same truth:", np.allclose(blurred.truth, stamps.truth, atol=1e-3 * np.abs(stamps.truth).max()))
fwhm, fwhm_blurred = (np.median(part.catalogue["psf_fwhm_i"]) for part in (stamps, blurred))
print(f"PSF FWHM in i: {fwhm:.2f} and {fwhm_blurred:.2f}")
for name, part, made in (("LSST seeing", stamps, result), ("1.2 arcsec", blurred, blurred_result)):
    print(f"{name}: median error of the deconvolved image {np.median(nmse(part.truth, made.deconvolved)):.3f}")
reconstruction_panel(blurred, blurred_result, rows=shown)

# %% [markdown]
# ## Take it with you
# FITS images, an ECSV catalogue with units, the deconvolved stamps and a picture.

# %%
for path in write_reconstruction(stamps, result, folder / "out"):
    print(path.name, path.stat().st_size // 1024, "kB")
