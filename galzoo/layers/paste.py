"""Large scenes made in the graph: hundreds of sources from a bank of stamps, each drawn small and pasted."""

import keras
import numpy as np
from keras import ops

from galzoo.data.footprints import THRESHOLD
from galzoo.errors import InputError
from galzoo.layers import artefacts, placement
from galzoo.layers.blend import SERVED, centroid, needed_stamps, positive_range
from galzoo.layers.geometry import boxes_of, significance, turn, turn_ellipticity
from galzoo.layers.noise import gain_and_sky, noise_of, observe, observed_variance

STAR = 1
SHAPES = ("ellipticity", "half_light_radius")
"""Keys of the shapes of stamps, which become those of sources."""


@keras.saving.register_keras_serializable(package="galzoo")
class PasteScenes(keras.layers.Layer):
    """Make scenes of many sources from a bank of isolated stamps.

    Parameters
    ----------
    size : int
        Pixels on a side of the scenes.
    sources : (int, int)
        Fewest and most sources of a scene. The most is the padded length of the source axis.
    bank : int
        Stamps that are read for each scene of a batch. Every scene may show any of the batch's stamps, several times.
    window : int, optional
        Pixels on a side of the image that each source is drawn on; its light beyond is lost. By default what a stamp
        and its PSF reach.
    flux_range : (float, float)
        Each source's flux is multiplied by a factor between these, even in the logarithm; the same in all bands.
    even_flux : (float, float), optional
        In place of `flux_range`: limits of the flux in the band `reference`, in the unit of the stamps, drawn evenly in
        the logarithm, so that every magnitude is as frequent.
    reference : int
        Number of the band of `even_flux`.
    stars : float
        Share of sources that are points, with the flux and colour of the stamp that they take the place of.
    photons : bool
        Draw Poisson numbers of the sources' electrons; else their noise is Gaussian with the same variance.
    gain : number or sequence of one number a band, optional
        Electrons per unit of flux; by default what the variances of the batch say (`galzoo.layers.noise.noise_of`).
    cosmic_rays : float
        Mean number of cosmic rays of a scene, up to 6; half of them are in the mask (`galzoo.layers.artefacts`).
    saturation : (float, float), optional
        Limits between which the largest value of a pixel is drawn for each scene, even in the logarithm, in the unit of
        the stamps. What is above is cut and masked, with what it bleeds over.
    cutoff : float
        Highest frequency used, in units of the Nyquist frequency.
    seed : int
        Of the random numbers.
    model_sigma : float
        Sigma in pixels of the Gaussian PSF of the stamps' model frame.

    Notes
    -----
    Called with a dict that has ``truth`` (noiseless, model frame), ``variance``, ``psf`` and maybe ``mask`` and
    ``label`` of n stamps, it returns a dict of ``n / bank`` scenes: ``image, variance, mask`` (nothing), ``psf,
    positions`` (of the centroids), ``n_sources, flux, boxes, segmentation, source_class`` (the ``label`` of the stamps,
    else 0; 1 for stars), ``gain, sky``, and ``source_images`` (each source alone, noiseless, as observed) with their
    ``corners``. Entries beyond ``n_sources`` are 0, classes -1. Boxes and segmentation are where a source alone is
    above the noise (`galzoo.data.footprints`); where several are, the most significant has the pixel.

    The variance is that of the sky and the observed light, as pipelines say it. Scene i has the PSF and the sky of
    stamp i. Positions are uniform over the scene. A stamp is turned by quarters and mirrored alike wherever it is shown
    in a batch. It is a `galzoo.contracts.source.DataLayer`.

    Raises
    ------
    InputError
        If an argument is out of its range, or the batch lacks a key.
    """

    def __init__(
        self,
        size=256,
        sources=(1, 100),
        bank=16,
        window=None,
        flux_range=(1.0, 1.0),
        even_flux=None,
        reference=0,
        stars=0.0,
        photons=False,
        gain=None,
        cosmic_rays=0.0,
        saturation=None,
        cutoff=0.8,
        seed=0,
        model_sigma=0.7,
        **kwargs,
    ):
        super().__init__(**{"autocast": False, "dtype": "float32", **kwargs})
        self.size, self.bank, self.reference = int(size), int(bank), int(reference)
        self.sources = positive_range("sources", sources, least=0, kind=int)
        self.window = None if window is None else int(window)
        self.flux_range = positive_range("flux_range", flux_range)
        self.even_flux = None if even_flux is None else positive_range("even_flux", even_flux)
        self.stars, self.photons = float(stars), bool(photons)
        self.gain = None if gain is None else np.asarray(gain, float).tolist()
        self.cosmic_rays = float(cosmic_rays)
        self.saturation = None if saturation is None else positive_range("saturation", saturation)
        self.cutoff, self.model_sigma, self.seed = float(cutoff), float(model_sigma), int(seed)
        for name in ("size", "bank", "window", "cutoff", "model_sigma"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}; give a number above 0")
        if not self.cutoff <= 1:
            raise InputError(f"cutoff is {cutoff}; give a part of the Nyquist frequency, up to 1")
        if self.sources[1] < 1:
            raise InputError(f"sources is {self.sources}; the most sources of a scene must be at least 1")
        if not 0 <= self.stars <= 1:
            raise InputError(f"stars is {stars}; give a share from 0 to 1")
        if self.gain is not None and not np.all(np.asarray(self.gain) > 0):
            raise InputError(f"gain is {gain}; give electrons per unit of flux above 0")
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def needs(self, keys):
        """Return which of the `keys` of a source are read."""
        return (*needed_stamps("PasteScenes", keys), *(key for key in SHAPES if key in keys))

    def serves(self, keys):
        """Return the keys of the scenes."""
        return (*SERVED, "source_images", "corners", *(key for key in SHAPES if key in keys))

    def stamps(self, batch_size):
        """Return how many stamps a batch is made of."""
        return batch_size * self.bank

    def shape(self, shape):
        """Return the size (y, x) of the scenes."""
        return self.size, self.size

    def call(self, batch):
        needed_stamps("PasteScenes", [key for key, value in batch.items() if value is not None])
        return self.paste(batch, self.choose(batch))

    def choose(self, batch):
        """Draw all that is random but the noise.

        Returns
        -------
        dict of tensors
            ``stamp`` (n, source) int, ``n_sources`` (n,), ``positions`` (n, source, 2) of the centroids, ``factor``
            (n, source) of the flux, ``star`` (n, source) bool, ``turn`` (stamps,).
        """
        stamps, most = batch["truth"], self.sources[1]
        number = ops.shape(stamps)[0]
        n = number // self.bank
        draw = keras.random.uniform((n, most, 5), seed=self.seed_generator)
        stamp = ops.cast(ops.floor(draw[..., 0] * ops.cast(number, "float32")), "int32")
        stamp = ops.minimum(stamp, number - 1)
        low, high = np.log(self.flux_range if self.even_flux is None else self.even_flux)
        factor = ops.exp(low + (high - low) * draw[..., 3])
        if self.even_flux is not None:
            flux = ops.sum(ops.cast(stamps[..., self.reference], "float32"), axis=(1, 2))
            flux = ops.reshape(ops.take(flux, ops.reshape(stamp, (-1,))), (-1, most))
            factor = ops.where(flux > 0, factor / ops.where(flux > 0, flux, 1.0), 0.0)
        return {
            "stamp": stamp,
            "n_sources": keras.random.randint((n,), self.sources[0], most + 1, seed=self.seed_generator),
            "positions": draw[..., 1:3] * self.size - 0.5,
            "factor": factor,
            "star": draw[..., 4] < self.stars,
            "turn": keras.random.randint((number,), 0, 8, seed=self.seed_generator),
        }

    def paste(self, batch, choice):
        """Return the scenes that `choice` (as from `choose`) describes."""
        stamps = ops.cast(batch["truth"], "float32")
        side, bands, most = stamps.shape[1], stamps.shape[-1], choice["stamp"].shape[1]
        if side != stamps.shape[2]:
            raise InputError(f"truth has stamps of {stamps.shape[2]} x {side} pixels; scenes are made of square ones")
        n = ops.shape(choice["stamp"])[0]
        psf = ops.cast(batch["psf"], "float32")
        placement.check_psf(psf, bands)
        sky, per_flux = noise_of(batch, self.gain)
        psf, sky = psf[:n], sky[:n]
        present = np.arange(most, dtype="int32") < ops.cast(choice["n_sources"], "int32")[:, None]
        factor = ops.where(present, choice["factor"], 0.0)
        positions = ops.where(present[..., None], choice["positions"], 0.0)
        star = ops.logical_and(present, choice["star"])
        grid = placement.grid_of(side, max(psf.shape[1:3]))
        window = self.window or grid
        corners = ops.cast(ops.round(positions), "int32") - window // 2

        turned = turn(stamps, choice["turn"])
        index = ops.reshape(choice["stamp"], (-1,))
        flux = ops.reshape(ops.take(ops.sum(stamps, axis=(1, 2)), index, axis=0), (-1, most, bands))
        images = self._windows(turned, psf, index, star, flux, factor, positions - ops.cast(corners, "float32"), grid)
        ids, inside = self._pixels_of(corners, window)
        noiseless = self._sum(images, ids, n)
        gain, level = gain_and_sky(sky, per_flux)
        image, _ = observe(noiseless, sky, gain[:, None, None], self.seed_generator, self.photons)
        variance = observed_variance(image, sky, gain[:, None, None])
        mask = ops.zeros_like(image, dtype="bool")
        if self.cosmic_rays:
            image, mask = artefacts.cosmic_rays(image, variance, mask, self.cosmic_rays, self.seed_generator)
        if self.saturation is not None:
            low, high = np.log(self.saturation)
            limit = ops.exp(low + (high - low) * keras.random.uniform((n, 1, 1, 1), seed=self.seed_generator))
            image, mask = artefacts.saturate(image, mask, limit)
        found = significance(images, sky)
        above = ops.logical_and(found > THRESHOLD, inside)
        boxes = boxes_of(above, corners, self.size, positions)
        classes = ops.zeros_like(choice["stamp"])
        if batch.get("label") is not None:
            classes = ops.reshape(ops.take(ops.cast(batch["label"], "int32"), index), (-1, most))
        classes = ops.where(star, STAR, classes)
        return {
            "image": image,
            "variance": variance,
            "mask": mask,
            "psf": psf,
            "positions": positions,
            "n_sources": ops.cast(choice["n_sources"], "int32"),
            "flux": factor[..., None] * flux,
            "boxes": ops.where(present[..., None], boxes, 0.0),
            "segmentation": self._segmentation(found, above, ids, n),
            "source_class": ops.where(present, classes, -1),
            "gain": gain,
            "sky": level,
            "source_images": images,
            "corners": ops.where(present[..., None], ops.cast(corners, "float32"), 0.0),
        } | self._shapes(batch, choice, ops.logical_and(present, ops.logical_not(star)))

    def _shapes(self, batch, choice, galaxy):
        """Return what the batch says of the shapes of its stamps, for the sources that are galaxies."""
        result = {}
        index = ops.reshape(choice["stamp"], (-1,))
        if batch.get("ellipticity") is not None:
            turned = turn_ellipticity(batch["ellipticity"], choice["turn"])[:, 0]
            turned = ops.reshape(ops.take(turned, index, axis=0), (-1, galaxy.shape[1], 2))
            result["ellipticity"] = ops.where(galaxy[..., None], turned, 0.0)
        if batch.get("half_light_radius") is not None:
            radius = ops.take(ops.cast(batch["half_light_radius"], "float32")[:, 0], index)
            result["half_light_radius"] = ops.where(galaxy, ops.reshape(radius, (-1, galaxy.shape[1])), 0.0)
        return result

    def _windows(self, stamps, psf, index, star, flux, factor, places, grid):
        """Return each source through its PSF (n, source, window, window, band); `places` are those in its window."""
        most, bands = star.shape[1], stamps.shape[-1]
        number = placement.frequencies_of(grid, self.cutoff)
        spectra = placement.spectrum(stamps, grid, number, model_sigma=self.model_sigma)
        spectra = ops.take(spectra, index, axis=0)
        # A point has the same spectrum everywhere: its flux, in the real part.
        point = ops.stack([ops.ones_like(spectra[:, 0]), ops.zeros_like(spectra[:, 0])], axis=1)
        point = point * ops.reshape(flux, (-1, 1, 1, 1, 1, bands))
        is_star = ops.reshape(star, (-1, 1, 1, 1, 1, 1))
        spectra = ops.where(is_star, point, spectra)
        transfer = placement.spectrum(psf, grid, number, weighted=True)
        off = ops.take(centroid(stamps) - (stamps.shape[1] - 1) / 2, index, axis=0)
        off = ops.where(ops.reshape(star, (-1, 1)), 0.0, off)
        anchors = ops.reshape(places, (-1, 2)) - off
        window = self.window or grid
        images = placement.pixels(spectra, transfer, anchors, window, grid, ops.reshape(factor, (-1,)))
        return ops.reshape(images, (-1, most, window, window, bands))

    def _pixels_of(self, corners, window):
        """Return the number of the pixel among those of all scenes (n, source, y, x), and which lie in the scene."""
        x, y = (corners[..., axis, None] + np.arange(window, dtype="int32") for axis in (0, 1))
        x, y = x[:, :, None, :], y[:, :, :, None]
        inside = ops.logical_and(ops.logical_and(x >= 0, x < self.size), ops.logical_and(y >= 0, y < self.size))
        n = ops.shape(corners)[0]
        scene = ops.reshape(ops.arange(n, dtype="int32"), (-1, 1, 1, 1))
        # Pixels outside are counted in one that is thrown away.
        return ops.where(inside, (scene * self.size + y) * self.size + x, n * self.size**2), inside

    def _sum(self, images, ids, n):
        bands = images.shape[-1]
        total = ops.segment_sum(ops.reshape(images, (-1, bands)), ops.reshape(ids, (-1,)), self._segments(n))
        return ops.reshape(total[:-1], (-1, self.size, self.size, bands))

    def _segments(self, n):
        # JAX wants a number, and has one; TensorFlow takes a tensor.
        return n * self.size**2 + 1

    def _segmentation(self, found, above, ids, n):
        """Return the number + 1 of the most significant source of each pixel, 0 where none is above the noise."""
        flat = ops.reshape(ids, (-1,))
        found = ops.reshape(ops.where(above, found, 0.0), (-1,))
        best = ops.segment_max(found, flat, self._segments(n))
        number = np.arange(above.shape[1], dtype="int32").reshape(1, -1, 1, 1) + 1
        number = ops.reshape(ops.broadcast_to(number, ops.shape(above)), (-1,))
        wins = ops.logical_and(ops.reshape(above, (-1,)), found >= ops.take(best, flat))
        label = ops.segment_max(ops.where(wins, number, 0), flat, self._segments(n))
        return ops.reshape(ops.maximum(label[:-1], 0), (-1, self.size, self.size))

    def get_config(self):
        names = (
            "size",
            "sources",
            "bank",
            "window",
            "flux_range",
            "even_flux",
            "reference",
            "stars",
            "photons",
            "cosmic_rays",
            "saturation",
        )
        config = {name: getattr(self, name) for name in (*names, "gain", "cutoff", "seed", "model_sigma")}
        return {**super().get_config(), **config}
