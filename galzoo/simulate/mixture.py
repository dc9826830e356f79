"""The built-in galaxy population: a table drawn from Gaussian mixtures, so that no catalogue is needed."""

from __future__ import annotations

import functools

import numpy as np
import yaml
from scipy.special import expit, logit

from galzoo.resources import configs_dir
from galzoo.simulate.galaxies import Population

_COMMON = ("i", "u-g", "g-r", "r-i", "i-z", "z-y", "ln_redshift")
FEATURES = {
    "disc": (*_COMMON, "ln_disc_radius", "disc_ratio"),
    "bulge": (*_COMMON, "ln_bulge_radius", "bulge_ratio"),
    "both": (*_COMMON, "ln_disc_radius", "disc_ratio", "ln_bulge_radius", "bulge_ratio", "bulge_fraction"),
}
"""Features of the three classes of galaxy. Radii are circularised, ln arcsec; ratios and fractions are logits, the axis
ratios after mapping 0.1..1 to 0..1 (no galaxy is flatter than 0.1)."""

_EDGE = 0.005
_ROWS = 1 << 15


def table_path():
    """Return the path of the fitted table."""
    return configs_dir() / "surveys" / "populations" / "catsim.yaml"


def features_of(population, kind):
    """Return the features of a population whose galaxies are all of class `kind`, shape (n, feature)."""
    m = population.magnitudes
    columns = {
        "i": m[:, 3],
        **{name: m[:, left] - m[:, left + 1] for left, name in enumerate(_COMMON[1:6])},
        "ln_redshift": np.log(population.redshift),
        "ln_disc_radius": np.log(np.maximum(population.disc_radius, 1e-3)),
        "disc_ratio": _logit((population.disc_ratio - 0.1) / 0.9),
        "ln_bulge_radius": np.log(np.maximum(population.bulge_radius, 1e-3)),
        "bulge_ratio": _logit((population.bulge_ratio - 0.1) / 0.9),
        "bulge_fraction": _logit(population.bulge_fraction),
    }
    return np.stack([columns[name] for name in FEATURES[kind]], axis=1)


def builtin_population(seed=0, n=_ROWS):
    """Return a population of `n` galaxies drawn from the fitted table.

    Parameters
    ----------
    seed : int
        Populations of different seeds have no galaxy in common.
    n : int
        Number of galaxies.
    """
    table = _read()
    rng = np.random.default_rng([seed, 20])
    parts = []
    for kind, mixture in table.items():
        parts.append(_population(kind, _draw(rng, mixture, round(n * mixture["fraction"]))))
    names = Population.__dataclass_fields__
    columns = {name: np.concatenate([part[name] for part in parts]) for name in names if name != "id"}
    ids = np.array([f"mixture-{seed}-{row}" for row in range(len(columns["redshift"]))])
    return Population(id=ids, **columns)


@functools.cache
def _read():
    return yaml.safe_load(table_path().read_text(encoding="utf-8"))


def _draw(rng, mixture, n):
    low, high = np.array(mixture["low"]), np.array(mixture["high"])
    size = len(low)
    factors = np.zeros((len(mixture["weights"]), size, size))
    factors[:, *np.tril_indices(size)] = mixture["cholesky"]
    means, weights = np.array(mixture["means"]), np.array(mixture["weights"])
    kept = np.empty((0, size))
    while len(kept) < n:
        which = rng.choice(len(weights), size=n, p=weights / weights.sum())
        values = means[which] + np.einsum("nij,nj->ni", factors[which], rng.normal(size=(n, size)))
        kept = np.concatenate([kept, values[np.all((values >= low) & (values <= high), axis=1)]])
    return kept[:n]


def _population(kind, values):
    column = dict(zip(FEATURES[kind], values.T, strict=True))
    n = len(values)
    i = column["i"]
    r = i + column["r-i"]
    g = r + column["g-r"]
    z = i - column["i-z"]
    ratio = {name: 0.1 + 0.9 * expit(column.get(f"{name}_ratio", np.full(n, 9.0))) for name in ("bulge", "disc")}
    fraction = expit(column["bulge_fraction"]) if kind == "both" else np.full(n, float(kind == "bulge"))
    return {
        "magnitudes": np.stack([g + column["u-g"], g, r, i, z, z - column["z-y"]], axis=1),
        "redshift": np.exp(column["ln_redshift"]),
        "bulge_radius": np.exp(column["ln_bulge_radius"]) if kind != "disc" else np.zeros(n),
        "bulge_ratio": ratio["bulge"],
        "disc_radius": np.exp(column["ln_disc_radius"]) if kind != "bulge" else np.zeros(n),
        "disc_ratio": ratio["disc"],
        "bulge_fraction": fraction,
    }


def _logit(values):
    return logit(np.clip(values, _EDGE, 1 - _EDGE))
