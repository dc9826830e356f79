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
# # Galaxies by their looks
#
# An encoder that has seen no labels describes a galaxy by numbers. From these: a map, galaxies like a given one, the
# strangest, and classes from a handful of labels.

# %%
# %matplotlib inline
import os

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import galzoo
from galzoo.interop.sklearn import GalzooEmbedder
from galzoo.simulate.stamps import StampSpec, simulate_stamps
from galzoo.tasks.classify import fit, labels_of
from galzoo.tasks.embed import embed
from galzoo.tasks.embed.latent_scores import scores, telling
from galzoo.tasks.embed.neighbours import nearest
from galzoo.tasks.embed.outliers import LatentDensity, chi2_a_pixel
from galzoo.viz.columns import read_column
from galzoo.viz.latent import embedding_figure
from galzoo.viz.panels import panel

# A small size, for trying the notebook out: GALZOO_SMOKE=1.
SMOKE = os.environ.get("GALZOO_SMOKE") == "1"
N = 40 if SMOKE else 600

# %% [markdown]
# ## An encoder and stamps
# Any preset that `galzoo list --task embed` names will do, and any stamps in its bands. These are drawn by GalSim, so
# that what is told of them can be checked.

# %%
PRESET = "vqvae_lsst"
model = galzoo.load(PRESET)
stamps = simulate_stamps(StampSpec(survey="LSST", seed=11), range(N))
print(len(stamps), "stamps in", ", ".join(stamps.bands))

# %% [markdown]
# ## A map
# Near each other is alike, turned or mirrored stamps included. The scores say what the latent space knows: R2 of a
# column predicted from the ten nearest galaxies, 1 is exactly, 0 not at all.

# %%
found = embed(model, stamps, method="pca" if SMOKE else "tsne")
known = scores(found.features, found.xy, stamps.catalogue)
for row in known[:5]:
    print(f"{row['column']}: R2 {row['r2']:.2f}, from the map alone {row['r2_map']:.2f}")
columns = [read_column(stamps.catalogue, name) for name in telling(known, stamps.catalogue)]
embedding_figure(stamps, found, columns, known)

# %% [markdown]
# ## More like this
# The galaxy first, then its neighbours by distance in the latent space.

# %%
bright = int(np.argmax(stamps.catalogue["snr"]))
rows, distance = nearest(found.features, bright, 9)
panel(stamps, [bright, *rows], ["this one", *(f"{value:.2f}" for value in distance)], columns=5)

# %% [markdown]
# ## The strangest
# Two scores: how thin the latent space is where a galaxy lies, and how badly the model reconstructs it. Here every
# tenth stamp is given a satellite trail. Neither score finds all that is odd (docs/classify.md has the measurements).

# %%
trail = np.arange(0, N, 10)
marred = stamps[np.arange(N)]
marred.image = stamps.image.copy()
middle = stamps.shape[0] // 2
marred.image[trail, middle + 6 : middle + 8] += (
    20 * np.sqrt(np.median(stamps.variance[trail], axis=(1, 2)))[:, None, None]
)
vectors = embed(model, marred, method="pca").features
clean = np.setdiff1d(np.arange(N), trail)
strangeness = LatentDensity(found.features[clean]).strangeness(vectors)
chi2 = chi2_a_pixel(model, marred)
for name, score in (("latent density", strangeness), ("chi2 a pixel", chi2)):
    first = np.argsort(-score)[: len(trail)]
    print(f"{name}: {np.isin(first, trail).sum()} of the {len(trail)} strangest have a trail")

# %% [markdown]
# ## Classes from labels
# Large and small galaxies, by a logistic regression on the vectors; accuracy is of galaxies that were held out.

# %%
size = np.asarray(stamps.catalogue["half_light_radius"].value)
labels = labels_of(np.where(size > np.median(size), "large", "small"))
classified = fit(model, stamps, labels, views=1 if SMOKE else 8, test=0.25)
print(f"balanced accuracy {classified.metrics['balanced_accuracy']}")
print("probabilities of the first three:", np.round(classified.probability[:3], 2).tolist())

# %% [markdown]
# ## In a pipeline of scikit-learn
# The encoder as a transformer. The radius is predicted from the vectors and, beside, from principal components of the
# pixels.

# %%
log_size = np.log(size)
embedded = GalzooEmbedder(model, views=1).fit(stamps).transform(stamps)
pixels = np.arcsinh(stamps.image / np.sqrt(np.median(stamps.variance, axis=(1, 2), keepdims=True))).reshape(N, -1)
for name, columns, first in (
    ("encoder", embedded, StandardScaler()),
    ("40 components of pixels", pixels, PCA(min(40, N // 4))),
):
    told = cross_val_predict(make_pipeline(first, RidgeCV(np.logspace(-2, 5, 8))), columns, log_size, cv=4)
    print(f"{name}: R2 of the radius {1 - np.var(told - log_size) / np.var(log_size):.2f}")
