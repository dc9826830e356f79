"""Scenes whose sources are to be counted: of any exposure, with sources nobody can see, and neighbours masked."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers.blend import BlendScenes, blend
from galzoo.layers.likelihood import weights
from galzoo.layers.noise import noise_of
from galzoo.layers.psf import gaussian_psf

SNR_LIMIT = 5.0
"""Signal-to-noise ratio above which a source counts."""

# Range, pixels, of the distance beyond which a catalogue lists a source of its own; each stamp has its own limit.
_LISTED_BEYOND = (2.0, 12.0)
# How much smaller than the largest the disc is that the sources of a scene lie in; even in the logarithm.
_TIGHTEST = 0.15
# Standard deviation, pixels on an axis, of catalogue positions.
_CENTRE_ERROR = 0.5
SERVED = ("image", "variance", "mask", "psf", "n_sources", "positions", "flux")


def signal_to_noise(isolated, variance, mask=None):
    """Return the signal-to-noise ratio (n, source) of a matched filter over all bands: the best that is possible.

    Parameters
    ----------
    isolated : tensor, (n, source, y, x, band)
        Each source alone, noiseless.
    variance : tensor, (n, y, x, band)
    mask : tensor, same shape, optional
        True = bad.
    """
    weight = weights(variance, mask)[:, None]
    return ops.sqrt(ops.sum(ops.square(isolated) * weight, axis=(2, 3, 4)))


def brightness(flux, noise):
    """Return what sources are ordered by, (n, source): flux over noise, all bands together.

    Parameters
    ----------
    flux : tensor, (n, source, band)
    noise : tensor, (n, 1, 1, band)
        Of the sky; infinite where a band is absent.
    """
    return ops.sum(flux / noise[:, 0], axis=-1)


@keras.saving.register_keras_serializable(package="galzoo")
class CountScenes(BlendScenes):
    """Make scenes of no source up to many from isolated stamps, and say which of them can be counted.

    Parameters
    ----------
    size : int, optional
        Pixels on a side; by default that of the stamps.
    most : int
        Most sources of a scene, those included that do not count; 0 to so many are drawn evenly.
    depth : float
        Exposure time in units of that of the stamps. Sky and photon noise go with it.
    margin : float
        Pixels: a source nearer to the edge than this does not count.
    centred : float
        Share of the scenes that are what a catalogue's source looks like; see the notes.
    stars : float
        Share of the stamps that are replaced by a point source of the same flux.
    band_dropout : float
        Chance that a band of a scene is absent.
    flux_range, rescale, cutoff, seed, model_sigma
        As in `galzoo.layers.blend.BlendScenes`.

    Notes
    -----
    Called as `BlendScenes`; it returns ``image, variance, mask, psf``, and of the sources that count, brightest first,
    ``n_sources, positions, flux``; 0 beyond the last. Beside these, and not served, ``isolated`` and ``snr`` (n,
    source) in the same order. A source counts if its signal-to-noise ratio in the scene's good pixels is above
    `SNR_LIMIT`, its centroid lies in a good pixel, and at least the margin inside the edge. Those that do not are there
    all the same.

    Sources lie in a disc, of any width up to the scene's side. In a scene that is *centred* the middle is the centroid,
    with some error, of the first source and those that no catalogue told from it; of sources that the catalogue lists
    apart, the pixels above the noise that are nearer to them are masked. The other scenes have no mask, and the disc is
    anywhere.

    Raises
    ------
    InputError
        If an argument is out of its range, or the batch lacks a key.
    """

    def __init__(
        self,
        size=None,
        most=4,
        depth=1.0,
        margin=3.0,
        centred=0.5,
        stars=0.1,
        band_dropout=0.0,
        flux_range=(1.0, 1.0),
        rescale=None,
        cutoff=0.8,
        seed=0,
        model_sigma=0.7,
        **kwargs,
    ):
        for name, value in (("centred", centred), ("stars", stars), ("band_dropout", band_dropout)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value}; give a share from 0 to 1")
        if not depth > 0:
            raise InputError(f"depth is {depth}; give a number above 0, 1 for the exposure of the stamps")
        if not margin >= 0:
            raise InputError(f"margin is {margin}; give pixels, 0 or more")
        super().__init__(
            size, (1, most), None, rotate=False, flux_range=flux_range, rescale=rescale, cutoff=cutoff, seed=seed,
            model_sigma=model_sigma, **kwargs,
        )  # fmt: skip
        self.most, self.depth, self.margin = int(most), float(depth), float(margin)
        self.share, self.stars, self.band_dropout = float(centred), float(stars), float(band_dropout)

    def call(self, batch, training=True):
        batch = self._exposed(batch)
        choice, size = self.choose(batch)
        sky = ops.sqrt(noise_of(batch)[0])
        choice["n_sources"] = keras.random.randint((ops.shape(sky)[0],), 0, self.most + 1, seed=self.seed_generator)
        flux = ops.take(ops.sum(batch["truth"], axis=(1, 2)), choice["stamp"], axis=0) * choice["factor"][:, :, None]
        present = np.arange(self.most) < choice["n_sources"][:, None]
        light = ops.where(present, brightness(flux, sky), 0.0)
        choice["positions"], centre, listed = self._place(ops.shape(sky)[0], size, light)
        point_like = ops.sqrt(ops.sum(ops.square(flux / sky[:, 0]) * _concentration(batch["psf"]), axis=-1))
        listed = ops.logical_and(listed, ops.logical_and(present, point_like > SNR_LIMIT))
        largest = 1.0 if self.rescale is None else max(1.0, self.rescale[1])
        scene = blend(batch, choice, size, self.model_sigma, None, False, self.cutoff, largest)
        mask = _neighbours(scene["segmentation"] > 0, scene["positions"], centre, listed)
        mask = ops.broadcast_to(mask[..., None], ops.shape(scene["image"]))
        scene["image"] = ops.where(mask, 0.0, scene["image"])
        return self._counted({**scene, "mask": mask}, sky, present)

    def serves(self, keys):
        """Return the keys of the scenes."""
        return SERVED

    def _exposed(self, batch):
        """Return the batch at the exposure asked for, some bands absent, some stamps point sources."""
        for key in ("truth", "variance", "psf"):
            if batch.get(key) is None:
                raise InputError(f"the batch has no {key!r}; CountScenes is given truth, variance and psf of stamps")
        truth, variance = ops.cast(batch["truth"], "float32"), ops.cast(batch["variance"], "float32") / self.depth
        n, bands = ops.shape(truth)[0], truth.shape[-1]
        if self.band_dropout:
            absent = self._uniform((n, bands)) < self.band_dropout
            # One band at least is there.
            kept = ops.one_hot(ops.argmax(self._uniform((n, bands)), axis=1), bands, dtype="bool")
            absent = ops.logical_and(absent, ops.logical_not(kept))[:, None, None]
            variance = ops.where(absent, np.float32(np.inf), variance)
        if self.stars:
            point = gaussian_psf(truth.shape[1], self.model_sigma)[None, :, :, None]
            star = ops.sum(truth, axis=(1, 2), keepdims=True) * point
            truth = ops.where(self._uniform((n, 1, 1, 1)) < self.stars, star, truth)
        return {**batch, "truth": truth, "variance": variance}

    def _place(self, n, size, light):
        """Draw positions (n, source, 2), the middle of the scene (2,) and which sources the catalogue lists."""
        middle = (size - 1) / 2
        draw = self._uniform((n, self.most, 2))
        distance, angle = ops.sqrt(draw[..., 0]) * size / 2, 2 * np.pi * draw[..., 1]
        offsets = distance[..., None] * ops.stack([ops.cos(angle), ops.sin(angle)], axis=-1)
        tight = self._log_uniform((n, 1, 1), (_TIGHTEST, 1.0))
        offsets = tight * offsets
        centred = self._uniform((n, 1)) < self.share
        apart = ops.sqrt(ops.sum(ops.square(offsets - offsets[:, :1]), axis=-1))
        low, high = _LISTED_BEYOND
        listed = ops.logical_and(centred, apart > low + (high - low) * self._uniform((n, 1)))
        own = ops.where(listed, 0.0, light)
        total = ops.sum(own, axis=1)[:, None]
        centroid = ops.sum(own[..., None] * offsets, axis=1) / ops.where(total > 0, total, 1.0)
        error = _CENTRE_ERROR * keras.random.normal((n, 2), seed=self.seed_generator)
        anywhere = (1 - tight[:, 0]) * size * (self._uniform((n, 2)) - 0.5)
        shift = ops.where(centred, error - centroid, anywhere)
        return middle + offsets + shift[:, None], np.array([middle, middle], "float32"), listed

    def _counted(self, scene, sky, present):
        """Return the scene with its sources sorted: those that count, brightest first."""
        size = scene["image"].shape[1]
        positions = scene["positions"]
        snr = signal_to_noise(scene["isolated"], scene["variance"], scene["mask"])
        low, high = self.margin, size - 1 - self.margin
        inside = ops.all(ops.logical_and(positions >= low, positions <= high), axis=-1)
        pixel = ops.cast(ops.clip(ops.floor(positions + 0.5), 0, size - 1), "int32")
        flat = ops.reshape(scene["mask"][..., 0], (-1, size * size))
        good = ops.logical_not(ops.take_along_axis(flat, pixel[..., 1] * size + pixel[..., 0], axis=1))
        counts = ops.logical_and(ops.logical_and(present, snr > SNR_LIMIT), ops.logical_and(inside, good))
        order = ops.argsort(ops.where(counts, -brightness(scene["flux"], sky), np.float32(np.inf)), axis=1)
        kept = ops.cast(ops.take_along_axis(counts, order, axis=1), "float32")
        found = {key: scene[key] for key in ("image", "variance", "mask", "psf")}
        found["n_sources"] = ops.sum(ops.cast(counts, "int32"), axis=1)
        for key in ("positions", "flux"):
            found[key] = ops.take_along_axis(scene[key], order[..., None], axis=1) * kept[..., None]
        found["isolated"] = ops.take_along_axis(scene["isolated"], order[..., None, None, None], axis=1)
        found["snr"] = ops.take_along_axis(snr, order, axis=1)
        return found

    def get_config(self):
        config = super().get_config()
        for name in ("sources", "radius", "min_separation", "rotate", "gain", "truth"):
            del config[name]
        names = ("most", "depth", "margin", "stars", "band_dropout")
        return {**config, "centred": self.share, **{name: getattr(self, name) for name in names}}


def _concentration(psf):
    """Return the sum of squares of PSFs (n, y, x, band), (n, 1, band): the root is the S/N of a unit flux and noise."""
    return ops.sum(ops.square(ops.cast(psf, "float32")), axis=(1, 2))[:, None]


def _neighbours(lit, positions, centre, listed):
    """Return which lit pixels (n, y, x) are nearer to a listed source than to the middle."""
    rows, columns = (np.arange(size, dtype="float32") for size in lit.shape[1:3])

    def distance(place):
        return ops.square(columns - place[..., 0, None, None]) + ops.square(rows[:, None] - place[..., 1, None, None])

    theirs = ops.where(listed[:, :, None, None], distance(positions), np.float32(np.inf))
    return ops.logical_and(lit, ops.min(theirs, axis=1) < distance(centre))
