"""Galaxies among the stars of fields that are made in the graph: a disc, a bulge and knots, each a sum of Gaussians."""

import keras
import numpy as np
from keras import ops

from galzoo.layers.profiles import expand

# Standard deviations, in half-light radii, of the Gaussians that make a disc and a bulge.
_DISC, _BULGE = np.array([0.25, 0.6, 1.2]), np.array([0.05, 0.2, 0.6, 1.8])
_KNOTS = 3
# Variance in pixels that is added to all, so that their pixels sample them.
_LEAST_VARIANCE = 0.25
# Half-light radius in pixels of galaxies at the limit, as it is drawn for a field; how it grows with flux, its
# scatter as a logarithm, and the greatest.
_RADIUS, _GROWTH, _SCATTER, _LARGEST = (0.6, 2.2), 0.25, 0.4, 12.0
# Index of the power law of fluxes.
_SLOPE = (0.5, 0.9)


def draw_galaxies(density, least, span, most, side, margin, seed):
    """Draw galaxies at random.

    Parameters
    ----------
    density : tensor, (n,)
        Galaxies a pixel.
    least, span : tensors, (n,)
        Electrons of the faintest in the first band, and of the brightest in units of it.
    most : int
        Of a field.
    side, margin : int
        They lie in squares of so many pixels, which begin so many before the first.
    seed : keras.random.SeedGenerator

    Returns
    -------
    dict of tensors
        ``places`` (n, galaxy, 2); ``electrons`` (n, galaxy), in the first band, 0 where there is none; ``radius``, the
        half-light radius in pixels of a disc or bulge alone; ``bulge``, its share of the light, and ``knots``, theirs
        of the rest; ``angle`` and ``ratio`` of the axes; ``clumps`` (n, galaxy, knot, 2), where knots are, in units of
        .8 half-light radii.
    """
    n = ops.shape(density)[0]
    draw = keras.random.uniform((n, most, 8), seed=seed)
    normal = keras.random.normal((n, most, 2 * _KNOTS + 1), seed=seed)
    own = keras.random.uniform((n, 3), seed=seed)
    mean = density * side**2
    # Few of them: whether each of so many is there is nearly a Poisson number.
    there = ops.cast(draw[..., 0] * most < mean[:, None], "float32")
    slope = (_SLOPE[0] + (_SLOPE[1] - _SLOPE[0]) * own[:, 0])[:, None]
    tail = ops.exp(-slope * ops.log(span)[:, None])
    brighter = ops.exp(-ops.log(1 - draw[..., 1] * (1 - tail)) / slope)
    low, high = np.log(_RADIUS)
    radius = ops.exp(low + (high - low) * own[:, 1])[:, None] * brighter**_GROWTH * ops.exp(_SCATTER * normal[..., 0])
    return {
        "places": draw[..., 2:4] * side - 0.5 - margin,
        "electrons": there * least[:, None] * brighter,
        "radius": ops.minimum(radius, _LARGEST),
        # A third are bulges alone.
        "bulge": ops.minimum(1.5 * draw[..., 4] ** 2, 1.0),
        "knots": 0.3 * draw[..., 5],
        "angle": np.float32(np.pi) * draw[..., 6],
        "ratio": 0.2 + 0.8 * draw[..., 7],
        "clumps": ops.reshape(normal[..., 1:], (-1, most, _KNOTS, 2)),
    }


def galaxy_light(galaxies, electrons, colours, side, margin):
    """Return the light of galaxies before the PSF, (n, side, side, band).

    Parameters
    ----------
    galaxies : dict of tensors
        Of `draw_galaxies`.
    electrons : tensor, (n, galaxy, band)
    colours : tensor, (n, galaxy, band)
        Logarithm by which bulges are brighter or fainter in each band than discs, and knots the other way.
    side, margin : int
        As for `draw_galaxies`.
    """
    bulge, knots, radius = (galaxies[key][..., None] for key in ("bulge", "knots", "radius"))
    cos, sin = ops.cos(galaxies["angle"]), ops.sin(galaxies["angle"])
    # Bulges are rounder and smaller than their discs; where they are all, they are no smaller.
    disc_ratio = galaxies["ratio"][..., None]
    bulge_ratio = 0.5 + 0.5 * disc_ratio
    bulge_radius = radius * (0.3 + 0.7 * bulge)
    one = np.ones(_KNOTS, "float32")
    major = [radius * _DISC.astype("float32"), bulge_radius * _BULGE.astype("float32"), 0.15 * radius * one]
    minor = [major[0] * disc_ratio, major[1] * bulge_ratio, major[2]]
    major, minor = (ops.square(ops.concatenate(part, axis=-1)) + _LEAST_VARIANCE for part in (major, minor))
    along = ops.stack([galaxies["clumps"][..., 0], disc_ratio * galaxies["clumps"][..., 1]], axis=-1)
    along = along * 0.8 * radius[..., None]
    turned = [along[..., 0] * cos[..., None] - along[..., 1] * sin[..., None]]
    turned.append(along[..., 0] * sin[..., None] + along[..., 1] * cos[..., None])
    centred = np.zeros(len(_DISC) + len(_BULGE), "float32")
    off = [ops.concatenate([centred + 0 * radius, part], axis=-1) for part in turned]
    shares = [(1 - bulge) * (1 - knots) * expand(1.0, 1.0, _DISC), bulge * expand(4.0, 1.0, _BULGE)]
    shares.append((1 - bulge) * knots * one / _KNOTS)
    tilt = np.concatenate([0 * _DISC, 0 * _BULGE + 1, -one]).astype("float32")
    share = ops.concatenate(shares, axis=-1)[..., None] * ops.exp(tilt[:, None] * colours[:, :, None])
    flux = electrons[:, :, None] * share / ops.sum(share, axis=2, keepdims=True)

    line = (np.arange(side) - margin).astype("float32")
    c, s = cos[..., None], sin[..., None]
    xx = c**2 / major + s**2 / minor
    yy = s**2 / major + c**2 / minor
    xy = c * s * (1 / major - 1 / minor)

    def columns(values):
        return ops.reshape(values, (-1, values.shape[1] * values.shape[2], 1, 1))

    x = line - columns(galaxies["places"][..., :1] + off[0])
    y = line[:, None] - columns(galaxies["places"][..., 1:] + off[1])
    square = columns(xx) * ops.square(x) + columns(yy) * ops.square(y) + 2 * columns(xy) * x * y
    bells = ops.exp(-0.5 * square)
    # Their light ends at the edges of the square; what is inside is as bright as it would be without.
    norm = 1 / (2 * np.float32(np.pi) * ops.sqrt(columns(major) * columns(minor)))
    bells = ops.reshape(bells * norm, (-1, bells.shape[1], side * side))
    bands = flux.shape[-1]
    flux = ops.transpose(ops.reshape(flux, (-1, bells.shape[1], bands)), (0, 2, 1))
    return ops.transpose(ops.reshape(ops.matmul(flux, bells), (-1, bands, side, side)), (0, 2, 3, 1))
