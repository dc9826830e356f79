"""Blends made in the graph: isolated stamps turned, moved, seen through one PSF and summed, with fresh noise."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers import placement
from galzoo.layers.geometry import footprints, turn
from galzoo.layers.noise import gain_and_sky, noise_of, normal

# Positions tried for a source until one is far enough from those before it.
TRIES = 16
# What layers that make scenes serve, one and all.
SERVED = ("image", "variance", "mask", "psf", "positions", "n_sources", "flux", "boxes", "segmentation", "source_class")
SERVED += ("gain", "sky")


def blend(batch, choice, size, model_sigma, gain=None, truth=False, cutoff=1.0, largest_stretch=1.0):
    """Make the blends that `choice` describes.

    Parameters
    ----------
    batch : dict
        Isolated stamps: ``truth``, ``variance`` and ``psf``, and ``mask`` where there is one.
    choice : dict of tensors
        ``stamp`` (n, source) int, the stamp of each source; ``n_sources`` (n,) int; ``positions`` (n, source, 2), the
        pixel (x, y) of the scene for the centroid of each source; ``factor`` (n, source), of its flux; ``turn`` (n,)
        int, a symmetry of the square for each stamp (`galzoo.layers.geometry.turn`). May have, for each stamp,
        ``angle`` (n,) in radians within a quarter of pi of 0, to turn it further from +x towards +y, and ``stretch``
        (n,), by which its size grows; and ``noise`` (n, size, size, band), normal numbers, without which none is added.
    size : int
        Pixels on a side of the scenes.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.
    gain : number or sequence of one number a band, optional
        Electrons per unit of flux; infinite for no noise of the sources. By default that of the batch.
    truth : bool
        Give the sum of the sources in the model frame too.
    cutoff : float
        Highest frequency used, in units of the Nyquist frequency; 1 where the ``truth`` is given.
    largest_stretch : float
        Upper limit of ``stretch``: room for the grid.

    Returns
    -------
    dict
        As `BlendScenes` returns it.

    Raises
    ------
    InputError
        If a key is missing, stamps are not square, or shapes do not fit each other.
    """
    for key in ("truth", "variance", "psf"):
        if batch.get(key) is None:
            raise InputError(f"the batch has no {key!r}; blends are made of truth, variance and psf of isolated stamps")
    stamps = ops.cast(batch["truth"], "float32")
    psf = ops.cast(batch["psf"], "float32")
    side, bands = stamps.shape[1], stamps.shape[-1]
    if side != stamps.shape[2]:
        raise InputError(f"truth has stamps of {stamps.shape[2]} x {side} pixels; blends are made of square ones")
    placement.check_psf(psf, bands)
    sources = choice["stamp"].shape[1]
    index = ops.reshape(choice["stamp"], (-1,))
    sky, variance_per_flux = noise_of(batch, gain)
    turned = turn(stamps, choice["turn"])
    shift = ops.take(_centre_shift(turned, choice.get("angle"), choice.get("stretch")), index, axis=0)
    present = np.arange(sources, dtype="int32") < ops.cast(choice["n_sources"], "int32")[:, None]
    factor = ops.where(present, choice["factor"], 0.0)
    grid = placement.grid_of(side, max(psf.shape[1:3]), largest_stretch)
    number = placement.frequencies_of(grid, 1.0 if truth else cutoff)
    spectra = placement.spectrum(turned, grid, number, choice.get("angle"), choice.get("stretch"), model_sigma)
    spectra = ops.take(spectra, index, axis=0)
    transfer = placement.spectrum(psf, grid, number, weighted=True)
    positions = ops.where(present[:, :, None], choice["positions"], 0.0)
    anchors = ops.reshape(choice["positions"], (-1, 2)) - shift

    def scenes(transfer):
        drawn = placement.pixels(spectra, transfer, anchors, size, grid, ops.reshape(factor, (-1,)))
        return ops.reshape(drawn, (-1, sources, size, size, bands))

    isolated = scenes(transfer)
    noiseless = ops.sum(isolated, axis=1)
    present_band = ops.isfinite(sky)
    shown = ops.cast(present_band, "float32")
    variance = ops.where(present_band, sky, 0.0) + (variance_per_flux * shown) * ops.relu(noiseless)
    image = noiseless
    if choice.get("noise") is not None:
        image = image + ops.sqrt(variance) * choice["noise"]
    image = image * shown
    variance = variance + ops.where(present_band, 0.0, np.float32(np.inf))
    flux = ops.sum(stamps, axis=(1, 2))
    flux = factor[:, :, None] * ops.reshape(ops.take(flux, index, axis=0), (-1, sources, bands))
    boxes, segmentation = footprints(isolated, sky, positions)
    classes = ops.zeros_like(present, dtype="int32")
    if batch.get("label") is not None:
        classes = ops.reshape(ops.take(ops.cast(batch["label"], "int32"), index), (-1, sources))
    gain, level = gain_and_sky(sky, variance_per_flux)
    result = {
        "image": image,
        "variance": variance,
        "mask": ops.zeros_like(image, dtype="bool"),
        "psf": psf,
        "isolated": isolated,
        "positions": positions,
        "n_sources": ops.cast(choice["n_sources"], "int32"),
        "flux": flux,
        "boxes": ops.where(present[:, :, None], boxes, 0.0),
        "segmentation": segmentation,
        "source_class": ops.where(present, classes, -1),
        "gain": gain,
        "sky": level,
    }
    if truth:
        result["truth"] = ops.sum(scenes(placement.model_transfer(grid, number, model_sigma, bands)), axis=1)
    return result


def centroid(image):
    """Return the centroids (n, 2) as x, y of noiseless images (n, y, x, band), all bands together.

    The centroid of the squared image, then twice that of the image under a round Gaussian window about it of sigma an
    eighth of the side: faint wings and what noise there is count little. The middle of the stamp if it is empty.
    """
    white = ops.sum(ops.cast(image, "float32"), axis=-1)
    y, x = (np.arange(size, dtype="float32") for size in image.shape[1:3])
    sigma = max(image.shape[1:3]) / 8

    def moment(weight):
        total = ops.sum(weight, axis=(1, 2))
        some = total > 0
        safe = ops.where(some, total, 1.0)
        middle = ((image.shape[2] - 1) / 2, (image.shape[1] - 1) / 2)
        sums = (ops.sum(weight * x, axis=(1, 2)), ops.sum(weight * y[:, None], axis=(1, 2)))
        return [ops.where(some, value / safe, half) for value, half in zip(sums, middle, strict=True)]

    at_x, at_y = moment(ops.square(white))
    for _ in range(2):
        across = ops.exp(-0.5 * ops.square((x - at_x[:, None]) / sigma))
        along = ops.exp(-0.5 * ops.square((y - at_y[:, None]) / sigma))
        at_x, at_y = moment(white * along[:, :, None] * across[:, None, :])
    return ops.stack([at_x, at_y], axis=-1)


def _centre_shift(stamps, angle, stretch):
    """Return how far (n, 2) the centroid lies from the middle of the stamp once that is turned and stretched."""
    off = centroid(stamps) - (stamps.shape[1] - 1) / 2
    if angle is not None:
        cos, sin = ops.cos(angle), ops.sin(angle)
        off = ops.stack([cos * off[:, 0] - sin * off[:, 1], sin * off[:, 0] + cos * off[:, 1]], axis=-1)
    return off if stretch is None else off * ops.reshape(stretch, (-1, 1))


@keras.saving.register_keras_serializable(package="galzoo")
class BlendScenes(keras.layers.Layer):
    """Make scenes of several sources from a batch of isolated stamps.

    Parameters
    ----------
    size : int, optional
        Pixels on a side of the scenes; by default that of the stamps.
    sources : (int, int)
        Fewest and most sources of a scene. The most is the padded length of the source axis.
    radius : float, optional
        Largest distance in pixels of a source from the middle of the scene; positions are uniform in that disc. By
        default a quarter of the scene's side.
    min_separation : float
        Pixels that sources keep from each other. Of 16 positions tried, the first that does is taken, else the one
        that comes nearest to it.
    centred : bool
        The first source is within half a pixel of the middle on each axis.
    rotate : bool
        Turn stamps by any angle; else by quarters of a turn only, which is exact. Half are mirrored either way.
    flux_range : (float, float)
        Each source's flux is multiplied by a factor between these, even in the logarithm; the same in all bands.
    rescale : (float, float), optional
        Range of factors, even in the logarithm, by which sizes grow; fluxes stay.
    gain : number or sequence of one number a band, optional
        Electrons per unit of flux, for the noise of the sources; infinite for none. By default what the variances of
        the batch say (`noise_of`).
    truth : bool
        Give ``truth`` too, the sum of the sources in the model frame.
    cutoff : float
        Highest frequency used, in units of the Nyquist frequency: fewer are faster, and PSFs of 3 pixels FWHM leave
        next to nothing beyond 0.8. All are used where ``truth`` is given.
    seed : int
        Of the random numbers. Their state is a variable of the layer, so a resumed training goes on where it stopped.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the model frame.

    Notes
    -----
    Called with a dict that has ``truth`` (noiseless, model frame), ``variance``, ``psf`` and maybe ``mask`` of n
    stamps, it returns a dict of n scenes: ``image``, ``variance``, ``mask`` (nothing), ``psf``, ``isolated`` (as
    observed, without noise), ``positions`` (of the centroids), ``n_sources`` and ``flux`` (sum of each source's
    model-frame pixels, of which some may lie outside the scene), in the unit of the stamps; ``boxes`` and
    ``segmentation`` (`galzoo.layers.geometry.footprints`), ``gain`` and ``sky`` (`gain_and_sky`), and ``source_class``,
    the ``label`` of the stamps or 0. Entries beyond ``n_sources`` are 0, classes -1. It is a
    `galzoo.contracts.source.DataLayer`.

    Scene i has the PSF and the sky of stamp i; the sky is the least variance of its good pixels, and the sources add
    photon noise to it. Its sources are different stamps of the batch, so n must be at least the most sources. Where a
    band of stamp i is absent its variance is infinite and the image 0. A stamp is turned and stretched alike in all
    scenes of a batch that it is in, which saves most of the work; positions and factors are drawn for each source.

    Galaxies that the stamps sample well agree with GalSim's to 1e-3 of the peak: half-light radii of 2 pixels and more
    at exponential profiles, PSFs of 3.5 pixels FWHM and more. Cuspy profiles (Sersic index 2.5) stretched by 1.3
    err by 2e-3, and light beyond the edge of a stamp is not there. In ``truth`` sources that the pixels do not sample
    ring: nothing has smoothed them.

    Raises
    ------
    InputError
        If an argument is out of its range, or the batch lacks a key.
    """

    def __init__(
        self,
        size=None,
        sources=(1, 4),
        radius=None,
        min_separation=0.0,
        centred=False,
        rotate=True,
        flux_range=(1.0, 1.0),
        rescale=None,
        gain=None,
        truth=False,
        cutoff=0.8,
        seed=0,
        model_sigma=0.7,
        **kwargs,
    ):
        super().__init__(**{"autocast": False, "dtype": "float32", **kwargs})
        self.size = None if size is None else int(size)
        self.sources = positive_range("sources", sources, least=1, kind=int)
        self.radius = None if radius is None else float(radius)
        self.min_separation = float(min_separation)
        self.centred, self.rotate, self.truth = bool(centred), bool(rotate), bool(truth)
        self.flux_range = positive_range("flux_range", flux_range)
        self.rescale = None if rescale is None else positive_range("rescale", rescale)
        self.gain = None if gain is None else np.asarray(gain, float).tolist()
        self.cutoff = float(cutoff)
        self.seed = int(seed)
        self.model_sigma = float(model_sigma)
        if self.size is not None and self.size < 1:
            raise InputError(f"size is {size}; give pixels above 0")
        for name in ("radius", "min_separation"):
            if getattr(self, name) is not None and not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; give pixels, 0 or more")
        if not 0 < self.cutoff <= 1:
            raise InputError(f"cutoff is {cutoff}; give a part of the Nyquist frequency, above 0 and up to 1")
        if not self.model_sigma > 0:
            raise InputError(f"model_sigma is {model_sigma}; give a width in pixels above 0")
        if self.gain is not None and not np.all(np.asarray(self.gain) > 0):
            raise InputError(f"gain is {gain}; give electrons per unit of flux above 0")
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def call(self, batch, training=True):
        choice, size = self.choose(batch)
        largest = 1.0 if self.rescale is None else max(1.0, self.rescale[1])
        return blend(batch, choice, size, self.model_sigma, self.gain, self.truth, self.cutoff, largest)

    def needs(self, keys):
        """Return which of the `keys` of a source are read."""
        return needed_stamps("BlendScenes", keys)

    def serves(self, keys):
        """Return the keys of the scenes."""
        return SERVED + (("isolated", "truth") if self.truth else ("isolated",))

    def stamps(self, batch_size):
        """Return how many stamps a batch is made of."""
        return batch_size

    def shape(self, shape):
        """Return the size (y, x) of the scenes."""
        return (self.size or shape[0],) * 2

    def choose(self, batch):
        """Draw all that is random; return the ``choice`` of `blend` and the size of the scenes."""
        if batch.get("truth") is None:
            raise InputError(
                "the batch has no 'truth'; blends are made of simulated stamps, with their noiseless image"
            )
        stamps = batch["truth"]
        size = self.size or stamps.shape[1]
        most = self.sources[1]
        if stamps.shape[0] is not None and stamps.shape[0] < most:
            raise InputError(f"{stamps.shape[0]} stamps for up to {most} sources a scene; use a larger batch")
        n = ops.shape(stamps)[0]
        # Different distances along the batch give different stamps in each scene, every stamp equally often.
        # The number of steps is known even where that of the stamps is not yet, as while `fit` traces.
        steps = ops.reshape(ops.argsort(self._uniform((n,)))[:most], (most,))
        choice = {
            "stamp": ops.cast((ops.arange(n)[:, None] + steps) % n, "int32"),
            "n_sources": keras.random.randint((n,), self.sources[0], most + 1, seed=self.seed_generator),
            "turn": keras.random.randint((n,), 0, 8, seed=self.seed_generator),
            "factor": self._log_uniform((n, most), self.flux_range),
            "positions": self._positions(n, size),
            "noise": normal(n, (size, size, stamps.shape[-1]), self.seed_generator),
        }
        if self.rotate:
            choice["angle"] = np.pi / 2 * (self._uniform((n,)) - 0.5)
        if self.rescale is not None:
            choice["stretch"] = self._log_uniform((n,), self.rescale)
        return choice, size

    def _positions(self, n, size):
        """Draw positions (n, source, 2), one source after the other."""
        middle = (size - 1) / 2
        radius = size / 4 if self.radius is None else self.radius
        tries = TRIES if self.min_separation > 0 else 1
        placed = []
        for source in range(self.sources[1]):
            if source == 0 and self.centred:
                placed.append(self._uniform((n, 2)) - 0.5)
                continue
            draw = self._uniform((n, tries, 2))
            distance, angle = radius * ops.sqrt(draw[..., 0]), 2 * np.pi * draw[..., 1]
            offsets = distance[..., None] * ops.stack([ops.cos(angle), ops.sin(angle)], axis=-1)
            if tries > 1 and placed:
                gaps = ops.square(offsets[:, :, None] - ops.stack(placed, axis=1)[:, None])
                nearest = ops.min(ops.sum(gaps, axis=-1), axis=-1)
                best = ops.argmax(ops.minimum(nearest, self.min_separation**2), axis=1)
                chosen = ops.one_hot(best, tries, dtype="float32")[:, :, None]
                offsets = ops.sum(chosen * offsets, axis=1, keepdims=True)
            placed.append(offsets[:, 0])
        return middle + ops.stack(placed, axis=1)

    def _uniform(self, shape):
        return keras.random.uniform(shape, seed=self.seed_generator)

    def _log_uniform(self, shape, limits):
        low, high = np.log(limits)
        return ops.exp(low + (high - low) * self._uniform(shape))

    def get_config(self):
        names = ("size", "sources", "radius", "min_separation", "centred", "rotate", "flux_range", "rescale", "gain")
        config = {name: getattr(self, name) for name in (*names, "truth", "cutoff", "seed", "model_sigma")}
        return {**super().get_config(), **config}


def needed_stamps(name, keys):
    """Return the keys of a source that blends are made of; raise `InputError` if one is missing."""
    missing = [key for key in ("truth", "variance", "psf") if key not in keys]
    if missing:
        raise InputError(
            f"{name} makes scenes of truth, variance and psf of isolated stamps; there is no {missing[0]!r}"
        )
    return tuple(key for key in ("image", "truth", "variance", "psf", "mask", "label") if key in keys)


def positive_range(name, limits, least=None, kind=float):
    """Return `limits` as two ordered numbers, positive or at least `least`."""
    limits = tuple(kind(value) for value in limits)
    low_enough = limits and (limits[0] > 0 if least is None else limits[0] >= least)
    if len(limits) != 2 or not low_enough or limits[1] < limits[0]:
        bound = "above 0" if least is None else f"{least} or more"
        raise InputError(f"{name} is {limits}; give the smaller and the larger number, {bound}")
    return limits
