"""Small scenes with known truth, and deblenders with known faults."""

import numpy as np

from galzoo.contracts.deblended import Deblended
from galzoo.data.scenes import Scenes
from galzoo.metrics.deblending import blendedness, present_sources

BANDS = ("g", "i")
NOISE = 1.0


def make_scenes(n=12, seed=0, size=48, most=3, apart=None, flux=(300.0, 3000.0), bands=BANDS):
    """Return scenes of round and flattened Gaussians; `apart` puts two sources so many pixels apart."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    isolated = np.zeros((n, most if apart is None else 2, size, size, len(bands)), np.float32)
    table = {name: [] for name in ("scene", "source", "x", "y")}
    for scene in range(n):
        count = 2 if apart is not None else 1 + scene % most
        for source in range(count):
            x, y = (size - 1) / 2 + random.uniform(-6, 6, 2)
            if apart is not None:
                x, y = (size - 1) / 2 + (source - 0.5) * apart, (size - 1) / 2
            e1 = random.uniform(-0.4, 0.4)
            a2, b2 = 2.0**2 * (1 + e1), 2.0**2 * (1 - e1)
            blob = np.exp(-0.5 * ((columns - x) ** 2 / a2 + (rows - y) ** 2 / b2))
            colour = np.linspace(random.uniform(0.3, 1.0), 1.0, len(bands))
            isolated[scene, source] = (blob / blob.sum())[..., None] * random.uniform(*flux) * colour
            for name, value in zip(table, (scene, source, x, y), strict=True):
                table[name].append(value)
    variance = np.full((n, size, size, len(bands)), NOISE**2, np.float32)
    image = isolated.sum(axis=1) + NOISE * random.standard_normal(variance.shape)
    grid = np.arange(-7, 8)
    psf = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / 1.5**2)
    psf = np.repeat((psf / psf.sum())[None, ..., None], len(bands), axis=-1)
    scene, source = np.array(table["scene"]), np.array(table["source"])
    for index, band in enumerate(bands):
        table[f"flux_{band}"] = isolated.sum(axis=(2, 3))[scene, source, index]
        table[f"blendedness_{band}"] = blendedness(isolated)[scene, source, index]
    return Scenes(
        image, bands, 0.2, variance=variance, mask=np.zeros(variance.shape, bool), psf=psf, isolated=isolated,
        sources=table, survey="test",
    )  # fmt: skip


def biased(factor, scatter=0.0, error=None):
    """Return a deblender that knows the truth and is wrong by a factor, and by relative noise of so much."""

    def deblend(batch):
        truth = batch["isolated"].astype(np.float64)
        total = truth.sum(axis=(2, 3))
        noise = scatter * np.random.default_rng(len(truth)).standard_normal(total.shape)
        made = truth * (factor + noise)[:, :, None, None]
        errors = None if error is None else error * total
        present = present_sources(batch["positions"], batch["n_sources"])
        return Deblended(made, made.sum(axis=(2, 3)), batch["positions"], present, flux_error=errors)

    return deblend
