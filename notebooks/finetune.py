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
# # Fine-tune a preset on your own images
#
# A preset trained on SDSS pictures meets the Hubble Deep Field: another telescope, other galaxies, other noise.
# We find and cut the galaxies, train on from the preset for a few steps, and compare both models on galaxies that
# were held out.
#
# The same from the shell, with the picture as `hubble_deep_field.jpg`:
#
# ```sh
# galzoo data cutouts hubble_deep_field.jpg --detect --pixel-scale 0.08 --where 'snr>40' -o hdf.h5
# galzoo train vqvae --recipe sdss_rgb --init vqvae_sdss_rgb \
#     --set data.path=hdf.h5 --set 'stages=[{epochs: 3, steps_per_epoch: 100, learning_rate: 3.0e-4}]' -o tuned
# galzoo evaluate tuned --data hdf.h5 -o evaluation
# ```

# %%
# %matplotlib inline
import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import skimage

import galzoo
from galzoo.evaluate.held_out import held_out
from galzoo.field.cutouts import cutouts_from_files
from galzoo.recipe import load_recipe
from galzoo.tasks.reconstruct import reconstruct
from galzoo.train import train
from galzoo.viz.panels import panel, reconstruction_panel

# A small size, for trying the notebook out: GALZOO_SMOKE=1.
SMOKE = os.environ.get("GALZOO_SMOKE") == "1"
LEAST_SNR = 150 if SMOKE else 40
EPOCHS, STEPS, BATCH = (1, 8, 8) if SMOKE else (4, 50, 32)
folder = Path(tempfile.mkdtemp(prefix="galzoo_finetune_"))

# %% [markdown]
# ## Cut
# Sources are found with SEP on the sum of the bands, and a stamp is cut about each; what SEP says is a neighbour
# is masked. The picture is 8-bit and display-stretched: it has no flux scale, and no photometry is to be had from
# it.

# %%
picture = Path(skimage.__file__).parent / "data" / "hubble_deep_field.jpg"
path = folder / "hdf.h5"
count = cutouts_from_files(
    [str(picture)], path, size=64, pixel_scale=0.08, where=f"snr>{LEAST_SNR}", survey="Hubble Deep Field"
)
# A picture has red, green and blue; the preset knows them as the bands of SDSS that they were made of.
stamps = dataclasses.replace(galzoo.Stamps.load(path), bands=("i", "r", "g"))
stamps.save(path)
print(count, "stamps")
panel(stamps, rows=24)

# %% [markdown]
# ## The preset as it is
# Galaxies are held out by a hash of their id, the same ones each time; the recipe says how many.

# %%
PRESET = "vqvae_sdss_rgb"
preset = galzoo.load(PRESET)
recipe = load_recipe(
    "vqvae",
    "sdss_rgb",
    [
        f"data.path={path}",
        "data.split={valid: 0.1, test: 0.2}",
        f"stages=[{{epochs: {EPOCHS}, steps_per_epoch: {STEPS}, batch_size: {BATCH}, learning_rate: 3.0e-4}}]",
    ],
)
test = held_out(path, "test", recipe.data.split.model_dump())
before = reconstruct(preset, test)
print(f"{len(test)} held-out stamps; chi-square per pixel, median: {np.median(before.chi2):.2f}")

# %% [markdown]
# ## Train on
# `init` starts from the preset's weights: the recipe's model has the same layers, so only the data differ. The
# run folder can be used as a preset from then on, and an interrupted run goes on with `resume=True`.

# %%
tuned = train(recipe.resolved(), path, folder / "tuned", init=preset, verbose=2)

# %% [markdown]
# ## Compare

# %%
after = reconstruct(tuned, test)
better = np.mean(after.chi2 < before.chi2)
print(f"chi-square per pixel, median: {np.median(before.chi2):.2f} before, {np.median(after.chi2):.2f} after")
print(f"lower for {100 * better:.0f} % of the {len(test)} held-out stamps")
reconstruction_panel(test, before, rows=min(5, len(test)), title=f"{PRESET}, as shipped")

# %%
reconstruction_panel(test, after, rows=min(5, len(test)), title="after fine-tuning")
