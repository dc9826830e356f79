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
# # A prior over galaxies
#
# A prior draws galaxies like those that it was trained on, and says of any galaxy how probable it is. We draw
# galaxies and measure whether they are what was asked for, let the prior judge galaxies that it never saw, have it
# finish galaxies of which it is given one half, go along the Hubble sequence, and see what the codes know that
# galaxies are made of.

# %%
# %matplotlib inline
import dataclasses
import os
import time

import numpy as np
from astropy.table import QTable
from matplotlib.figure import Figure

import galzoo
from galzoo.metrics.shape import adaptive_moments, half_light_radius
from galzoo.simulate.stamps import StampSpec, simulate_stamps
from galzoo.tasks.embed import embed, scores
from galzoo.tasks.sample import known_conditions, observe, prepared
from galzoo.viz.colour import to_rgb
from galzoo.viz.columns import read_column
from galzoo.viz.latent import embedding_figure
from galzoo.viz.page import page
from galzoo.viz.panels import panel, picture_grid

# A small size, for trying the notebook out: GALZOO_SMOKE=1.
SMOKE = os.environ.get("GALZOO_SMOKE") == "1"
N = 12 if SMOKE else 120

# %% [markdown]
# ## A preset and its card
# A galaxy can be asked for by each of the conditions. Their ranges are those of the training galaxies; beyond them
# the prior guesses.

# %%
PRESET = "pixelcnn_candels_h"
model = galzoo.load(PRESET)
card = galzoo.load_card(PRESET)
print(card["title"], "|", ", ".join(model.bands), "|", model.pixel_scale, "arcsec per pixel")
for name, (low, high) in model.condition_ranges.items():
    print(f"{name}: {low:.2f} to {high:.2f}")
print("Limits:", card["limits"])

# %% [markdown]
# ## Galaxies
# Where nothing is asked for, each galaxy gets the magnitude and the size of a training galaxy. Samples are noiseless
# and in the *model frame*: their only blur is a round Gaussian of `samples.model_sigma` pixels.

# %%
start = time.perf_counter()
samples = model.sample(N, seed=1)
print(f"{N} galaxies in {time.perf_counter() - start:.0f} s, of which some seconds are spent once, on compiling")
frame = observe(samples)
page(frame[:24], title=f"{PRESET}: noiseless, model frame")

# %% [markdown]
# The same galaxies through the PSF and the noise of CANDELS. In the noiseless picture, look for what the prior gets
# wrong: large bright galaxies come out more ragged than real ones, and at the edge of a stamp there is a faint frame.
# Noise hides most of that, as it hides the faint galaxies.

# %%
stamps = observe(samples, survey="CANDELS", noise=True, seed=1)
print(stamps.catalogue["id", "mag", "half_light_radius", "log_prob", "snr"][:5])
page(stamps[:24], {name: values[:24] for name, values in samples.condition.items()})

# %% [markdown]
# ## For a magnitude and a size
# The half-light radius rises from left to right (arcsec), the magnitude from line to line; all have one stretch.

# %%
magnitudes, radii = np.meshgrid([22.0, 23.5, 25.0], [0.1, 0.2, 0.35, 0.6], indexing="ij")
grid = model.sample(12, condition={"mag": magnitudes.ravel(), "half_light_radius": radii.ravel()}, seed=2)
page(observe(grid, survey="CANDELS", noise=True), grid.condition)

# %% [markdown]
# ## Are they what was asked for?
# The flux is, by construction. The size is measured: on samples drawn for the magnitudes and sizes of galaxies that
# were held out, and on these galaxies themselves. Both have the blur of the model frame, which the size that is asked
# for has not, so small galaxies are larger than asked for in both. Where samples lie above the held-out galaxies,
# they are too large.

# %%
spec = StampSpec(survey="CANDELS", bands=["F160W"], stamp_size=84, seed=7)
held_out = simulate_stamps(spec, range(N))
conditions = known_conditions(model, held_out)
drawn = model.sample(N, condition=conditions, seed=3)


def measured_radius(image):
    moments = adaptive_moments(image)
    centre = np.concatenate([moments["x"], moments["y"]], axis=-1)
    return half_light_radius(image, centre)[:, 0] * model.pixel_scale


asked = conditions["half_light_radius"]
size_drawn, size_held_out = measured_radius(drawn.image), measured_radius(held_out.truth)
flux = drawn.image[..., 0].sum(axis=(1, 2))
print(f"largest error of the flux: {np.abs(flux / 10 ** (-0.4 * (conditions['mag'] - 31.4)) - 1).max():.1e}")
ratio = size_drawn / size_held_out
low, middle, high = np.nanpercentile(ratio, [16, 50, 84])
print(f"size drawn over size of the held-out galaxy: median {middle:.2f}, 68 % from {low:.2f} to {high:.2f}")


def size_figure():
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.loglog(asked, size_held_out, "o", ms=4, mfc="none", label="held out")
    axis.loglog(asked, size_drawn, "o", ms=4, label="drawn")
    axis.loglog([0.05, 1], [0.05, 1], color="0.6", lw=1, zorder=0)
    axis.set(xlabel="half-light radius asked for [arcsec]", ylabel="measured, model frame [arcsec]")
    axis.legend(frameon=False)
    return figure


size_figure()

# %% [markdown]
# ## How probable is a galaxy?
# This prior is over codes, so a galaxy is coded first. `log_prob` is the exact logarithm of the probability of the
# codes, in nats. Each galaxy should be more probable for its own size than for that of another. The magnitude tells
# little more: all galaxies are coded at one signal-to-noise ratio, and what is left is that bright galaxies tend to
# be large. Galaxies drawn for the same conditions should be as probable as the held-out ones; if they are less so,
# they have too much structure.

# %%
codes = prepared(model, held_out)[0][..., 0]
own = model.log_prob(codes, conditions)
cells = codes[0].size
print(f"mean nats a code: {-own.mean() / cells:.3f} for the own conditions,", end=" ")
print(
    f"{-model.log_prob(codes).mean() / cells:.3f} for unknown ones, {np.log(model.codec.codebook_size):.2f} by chance"
)
print(f"galaxies drawn for the same conditions: {-drawn.log_prob.mean() / cells:.3f} nats a code")
loss = {}
for name in model.columns:
    other = model.log_prob(codes, {**conditions, name: np.roll(conditions[name], 1)})
    loss[name] = own - other
    print(f"{name} of another galaxy: {loss[name].mean():.1f} nats lost a galaxy, {(loss[name] > 0).mean():.0%} lose")


def loss_figure():
    figure = Figure(figsize=(5.5, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(np.abs(np.log(np.roll(asked, 1) / asked)), loss["half_light_radius"], "o", ms=4)
    axis.axhline(0, color="0.6", lw=1, zorder=0)
    axis.set(xlabel="|ln(wrong size / right size)|", ylabel="log-probability lost [nats]")
    return figure


loss_figure()

# %% [markdown]
# The most probable of the held-out galaxies and, below, the least, without noise: smooth ones and those with knots,
# of which each costs nats. Improbable does not mean rare.

# %%
order = np.argsort(own)
extremes = np.concatenate([order[::-1][:6], order[:6]])
noiseless = dataclasses.replace(held_out, image=held_out.truth, variance=None)
panel(noiseless, rows=extremes, labels=[f"{-value / cells:.2f} nats/code" for value in own[extremes]], columns=6)

# %% [markdown]
# ## Temperature and top-k
# Below a temperature of 1, or drawn among the few most probable codes alone, galaxies have less structure and are
# more alike; above 1 they fall apart. Leave both alone where the population matters. `log_prob` is always that of
# temperature 1. The first column are held-out galaxies of about the size that is asked for: beside them, one sees
# best what the prior does not get right, ragged outlines and missing knots.

# %%
wanted = {"mag": 22.0, "half_light_radius": 0.45}
settings = {
    "temperature 0.6": {"temperature": 0.6},
    "1: the prior": {},
    "temperature 1.3": {"temperature": 1.3},
    "top-k 4": {"top_k": 4},
}
near = np.argsort(np.abs(asked - wanted["half_light_radius"]))[:5]
columns = {"held out": [to_rgb(image) for image in held_out.truth[near]]}
for name in list(settings)[:2] if SMOKE else settings:
    some = model.sample(12, condition=wanted, seed=4, **settings[name])
    columns[name] = [to_rgb(image) for image in some.image[:5]]
    print(f"{name}: {-some.log_prob.mean() / cells:.3f} nats a code")
picture_grid(columns)

# %% [markdown]
# ## Finish a galaxy
# The lower half of the codes of three held-out galaxies is given, and the upper half is drawn, three times. The
# second column is as good as codes can be. A map is drawn from below to above, and what lies further on does not
# inform what is drawn before it: so give the beginning of a map, not its middle or its end.

# %%
chosen = np.argsort(np.abs(asked - 0.35))[:3]
keep = codes.shape[1] // 2 + 1
partial = codes[chosen].repeat(4, axis=0)
# The first of four keeps all its codes: nothing is drawn there, it is only turned into an image.
partial[np.arange(12) % 4 > 0, keep:] = -1
given = {name: values[chosen].repeat(4) for name, values in conditions.items()}
finished = model.sample(12, condition=given, partial=partial, seed=5)
half = finished.image[::4].copy()
half[:, keep * model.codec.cell :] = 0
columns = {"truth": held_out.truth[chosen], "as codes": finished.image[::4], "given": half}
columns |= {f"finished, {k}": finished.image[k::4] for k in (1, 2, 3)}
columns = {
    name: [to_rgb(image, like=like) for image, like in zip(images, held_out.truth[chosen], strict=True)]
    for name, images in columns.items()
}
for row, values in enumerate(finished.log_prob.reshape(3, 4)):
    print(
        f"galaxy {row}: log-probability {values[0]:.0f}, finished {', '.join(f'{value:.0f}' for value in values[1:])}"
    )
picture_grid(columns)

# %% [markdown]
# ## Hubble types, and guidance
# Another prior, over SDSS colour pictures, for the T-type: -5 is elliptical, 0 lenticular, 3 and 5 are spirals, 10 is
# irregular; one column each. From left to right, galaxies lose their core and turn blue. Single ones can have colours
# and shapes that no galaxy has. With `guidance` above 1 they follow the type more closely than real galaxies do, and
# vary less. How much of a galaxy speaks for its type is its log-probability for that type less that for an unknown
# one. The pictures are display-stretched: no flux is to be had from them.

# %%
PICTURES_PRESET = "pixelcnn_sdss_rgb"
pictures = galzoo.load(PICTURES_PRESET)
types = np.tile([-5.0, 0.0, 3.0, 5.0, 10.0], 1 if SMOKE else 4)
by_guidance = {}
for guidance in (1.0, 3.0):
    some = pictures.sample(len(types), condition={"t_type": types}, guidance=guidance, seed=6)
    evidence = pictures.log_prob(some.codes, {"t_type": types}) - pictures.log_prob(some.codes)
    print(f"guidance {guidance:g}: {evidence.mean():.1f} nats a galaxy speak for the type")
    by_guidance[guidance] = observe(some)
page(by_guidance[1.0], {"T": types}, title=f"{PICTURES_PRESET}: by T-type")

# %%
page(by_guidance[3.0], {"T": types}, title="the same with guidance 3")

# %% [markdown]
# ## What the codes know
# Held-out galaxies and galaxies drawn for their magnitudes and sizes, observed alike, on one map: what the encoder
# finds alike is near each other. A score says how well a property is told from a galaxy's neighbours: 1 is exactly, 0
# or less is not at all. `made` is whether a galaxy is drawn or held out; the nearer to 0, the more samples look like
# galaxies, in this noise and to this encoder. See `galzoo embed` for maps of your own stamps.

# %%
observed = observe(drawn, survey="CANDELS", noise=True, seed=9)
parts = [
    dataclasses.replace(part, catalogue=QTable({**conditions, "made": [name] * N}))
    for name, part in (("held out", held_out), ("drawn", observed))
]
both = galzoo.Stamps.concatenate(parts)
embedding = embed(model, both)
known = scores(embedding.features, embedding.xy, both.catalogue)
for row in known:
    print(f"{row['column']}: {row['r2']:.2f} ± {row['r2_error']:.2f}")
columns = [read_column(both.catalogue, name) for name in ("mag", "half_light_radius", "made")]
embedding_figure(both, embedding, columns, known)
