"""The StarNet."""

import keras
import numpy as np
from keras import layers, ops

from galzoo.contracts.detections import CLASSES
from galzoo.errors import InputError, RecipeError
from galzoo.layers.checks import check_batch
from galzoo.layers.likelihood import clean
from galzoo.layers.psf import apply_transfer, transfer
from galzoo.models.starnet.lit import lit_cells
from galzoo.models.starnet.looks import StartBias, middle, sky_noise
from galzoo.models.starnet.losses import catalogue_nll
from galzoo.models.starnet.networks import Backbone, perceptron
from galzoo.models.starnet.tiles import CORE, TileNetwork, tile_nll

_SEEN = ("image", "variance", "mask", "psf", "gain", "faintest")
# Cells of half a pixel: where their middles lie from that of the pixel.
_CELLS = np.array([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]], "float32")
# A cell's star is no further than so many pixels from its middle.
_FURTHEST = 1.0
# Pixels of the PSF's image that its network sees.
_PSF_SEEN = 21
# Damping of the deconvolution: spatial frequencies that the PSF weakens tenfold are let through by half.
_DAMPING = 1e-2


@keras.saving.register_keras_serializable(package="galzoo")
class StarNet(keras.Model):
    """Find the stars of crowded fields: how many, where, how bright, and how sure.

    Each pixel has four cells of half a pixel. For each cell the network gives the probability that a star is its, and
    normal distributions of its place and, by arcsinh, of its flux in each band.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands, in order.
    pixel_scale : float, optional
        Arcsec, of tiles; 0.4 where nothing says it. Else any pixels will do, as the PSF is seen in pixels.
    channels, blocks : sequence of int
        Of the levels of the network, of 1, 2, 4, ... pixels to a cell.
    head : int
        Channels of the last hidden layer.
    told : int
        Length of the vector that describes PSF and field.
    reach : int
        Pixels about a star's own whose cells may hold it, along x and y.
    band_dropout, gain_dropout, limit_dropout : float
        Probabilities that a band, the gain, or the faintest flux of a field is hidden in training; one band at least is
        left.
    limited : bool
        Whether it can be told which stars count, by ``faintest``, the least flux in the first band; and learns how far
        the numbers of a field's stars are off together.
    galaxies : bool
        Whether it tells galaxies from stars. An entry is then a source of either kind, with the probability that it is
        a star; the place of a galaxy is that of its middle, its flux all its light.
    tile, most : int
        With a `tile` of so many pixels the posterior is that of Liu et al.: of tiles with cores of 2 pixels, which have
        up to `most` stars (`galzoo.models.starnet.tiles`). It sees the image alone, so that it learns one PSF, and is
        not calibrated; what says how cells are made is then not used.
    calibration : dict, optional
        What its answers are corrected by; training fits it at its end.
    seed : int
        Of what is hidden.

    Notes
    -----
    Reads ``image, variance, psf`` and, where present, ``mask``, ``gain`` and, if `limited`, ``faintest``; any number of
    pixels. They are seen in units of the noise of the sky about them (least variance within 7 pixels), as they are,
    through the PSF (matched filter), and deconvolved, so that one network serves many PSFs, skies and depths. With
    ``positions, n_sources, flux`` it learns.

    References
    ----------
    Liu et al. 2021, arXiv:2102.02409; Speiser et al. 2021 (DECODE), Nature Methods 18, 1082.
    """

    classes = CLASSES
    margin = 40
    """Pixels from which its answer at a pixel hangs: those of its convolutions."""

    def __init__(
        self,
        bands=("band",),
        pixel_scale=None,
        channels=(32, 64, 96),
        blocks=(1, 2, 2),
        head=64,
        told=64,
        reach=1,
        band_dropout=0.0,
        gain_dropout=0.1,
        limited=False,
        limit_dropout=0.1,
        galaxies=False,
        tile=0,
        most=2,
        calibration=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if len(channels) != len(blocks):
            raise RecipeError(f"channels has {len(channels)} numbers, blocks {len(blocks)}; give one a level")
        self._arguments = {
            "bands": [str(band) for band in bands],
            "pixel_scale": pixel_scale,
            "channels": list(channels),
            "blocks": list(blocks),
            "head": head,
            "told": told,
            "reach": reach,
            "band_dropout": band_dropout,
            "gain_dropout": gain_dropout,
            "limited": bool(limited),
            "limit_dropout": limit_dropout,
            "galaxies": bool(galaxies),
            "tile": tile,
            "most": most,
            "calibration": calibration,
            "seed": seed,
        }
        self.bands = tuple(str(band) for band in bands)
        # It is told the PSF in pixels, of any scale; tiles know one PSF.
        self.pixel_scale = (0.4 if pixel_scale is None else float(pixel_scale)) if tile else None
        self.reach = int(reach)
        self.band_dropout, self.gain_dropout = float(band_dropout), float(gain_dropout)
        self.limit_dropout = float(limit_dropout)
        self.stride = 2 ** (len(channels) - 1)
        number = len(self.bands)
        self.seeds = keras.random.SeedGenerator(seed)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("count", "stars", "found", "excess")}
        self.tiles = self.limit_told = self.spread = None
        if tile:
            if limited or galaxies or tile < CORE or tile % 2 or most < 1:
                raise RecipeError(
                    f"tile is {tile}, most {most}, limited {limited}, galaxies {galaxies}; an even number of pixels, a "
                    "star or more, and neither a limit nor galaxies, of which tiles cannot tell"
                )
            self.tiles, self.stride = TileNetwork(2 * number, number, tile, most, name="tiles"), CORE
            self.built = True
            return
        self.describer = perceptron("describer", (_PSF_SEEN**2 + 2) * number, (128,), told)
        self.backbone = Backbone(5 * number, channels, blocks, told, name="backbone")
        self.hidden = layers.Conv2D(head, 3, padding="same", activation="silu", name="hidden")
        self.hidden.build((None, None, None, channels[0]))
        if limited:
            self.limit_told = perceptron("limit_told", 2, (32,), told)
            self.spread = perceptron("spread", told + head, (16,), 1)
        self.parts = {
            "logit": 1, "position": 2, "log_position_error": 2, "scaled_flux": number, "log_flux_error": number,
        }  # fmt: skip
        if galaxies:
            self.parts["star_logit"] = 1
        width = sum(self.parts.values())
        # In single precision: the logarithm of a small probability is more than eight bits.
        self.last = layers.Dense(4 * width, bias_initializer=StartBias(width), dtype="float32", name="last")
        self.last.build((None, None, None, head))
        self.built = True

    @classmethod
    def tiny(cls, bands=("r",), **changes):
        """Return a small model that builds at once, for tests."""
        small = {"channels": (8, 16), "blocks": (1, 1), "head": 16, "told": 8}
        return cls(bands=bands, **{**small, **changes})

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    @property
    def calibration(self):
        """What its answers are corrected by, see `galzoo.models.starnet.calibration.fit`; None where nothing is."""
        return self._arguments["calibration"]

    @property
    def limited(self):
        """Whether it can be told which stars count."""
        return self._arguments["limited"]

    def cells(self, batch):
        """Return what the network says of a batch as NumPy arrays, not corrected; see `catalogue_nll`."""
        seen = {key: np.asarray(batch[key]) for key in _SEEN if batch.get(key) is not None}
        return lit_cells(self, seen)

    def finish(self, batches):
        """Fit the calibration to what training did not see.

        Parameters
        ----------
        batches : iterable of dict
            Validation batches, as in training.
        """
        from galzoo.models.starnet.calibrate import fit

        if self.tiles is not None:
            return
        self._arguments["calibration"] = fit(self, batches)

    def call(self, batch, training=False):
        if self.tiles is not None:
            return self._call_tiles(batch, training)
        seen = self.look(batch, training)
        rows, columns = batch["image"].shape[1:3]
        padding = ((0, 0), (0, -rows % self.stride), (0, -columns % self.stride), (0, 0))
        features = self.backbone(ops.pad(seen["planes"], padding), seen["told"])
        hidden = self.hidden(features)[:, :rows, :columns]
        values = self.last(hidden)
        values = ops.reshape(values, (-1, rows, columns, 4, sum(self.parts.values())))
        values = ops.split(values, np.cumsum(list(self.parts.values()))[:-1].tolist(), axis=-1)
        found = dict(zip(self.parts, values, strict=True))
        for key in ("logit", "star_logit"):
            if key in found:
                found[key] = found[key][..., 0]
        x = np.arange(columns, dtype="float32")[None, :, None] + _CELLS[:, 0]
        y = np.arange(rows, dtype="float32")[:, None, None] + _CELLS[:, 1]
        middle = np.stack(np.broadcast_arrays(x, y), axis=-1)
        found["position"] = middle + _FURTHEST * ops.tanh(found["position"])
        found["log_position_error"] = -1.5 + 2.5 * ops.tanh(found["log_position_error"] / 2.5)
        found["scaled_flux"] = found["scaled_flux"] + seen["guess"][:, :, :, None]
        found["log_flux_error"] = -1.5 + 3.0 * ops.tanh(found["log_flux_error"] / 3.0)
        if self.spread is not None:
            # It is learned from what the others have learned.
            seen_of = ops.concatenate([ops.mean(hidden, axis=(1, 2)), seen["told"]], axis=-1)
            common = ops.cast(self.spread(ops.stop_gradient(seen_of))[:, 0], "float32")
            found["log_spread"] = -3.0 + 2.5 * ops.tanh(common / 2.5)
        return found | {key: seen[key] for key in ("unit", "present", "known")}

    def _call_tiles(self, batch, training):
        check_batch(batch, self.bands, "starnet")
        if batch.get("psf") is None:
            raise InputError("the batch has no 'psf'; starnet needs the PSF of each image")
        variance, mask = ops.cast(batch["variance"], "float32"), batch.get("mask")
        noise, good, seen_sky = sky_noise(variance, mask)
        image = clean(ops.cast(batch["image"], "float32"), variance, mask) / noise
        area = ops.sum(ops.square(ops.cast(batch["psf"], "float32")), axis=(1, 2))[:, None, None]
        found = self.tiles(ops.concatenate([ops.arcsinh(image), good], axis=-1), training=training)
        known = ops.cast(ops.any(seen_sky, axis=-1), "float32")
        return found | {"unit": noise / ops.sqrt(area), "present": ops.max(good, axis=(1, 2)), "known": known}

    def look(self, batch, training=False):
        """Return what the network is told of a batch.

        Returns
        -------
        dict
            ``planes`` (n, y, x, 5 band); ``told`` (n, told); ``unit`` (n, y, x, band), the error of the flux of a star
            alone on the sky, in the unit of the image; ``guess``, the arcsinh of the flux that a star at the pixel
            would have alone, in that unit; ``present`` (n, band), 1 where a band is there; ``known`` (n, y, x), 1 where
            any band has a good pixel in the window of the sky's noise.
        """
        check_batch(batch, self.bands, "starnet")
        if batch.get("psf") is None:
            raise InputError("the batch has no 'psf'; starnet needs the PSF of each image")
        variance, mask = ops.cast(batch["variance"], "float32"), batch.get("mask")
        n, number = ops.shape(variance)[0], len(self.bands)
        told_gain = ops.ones((n, 1)) if batch.get("gain") is not None else ops.zeros((n, 1))
        if training:
            draw = keras.random.uniform((n, number + 1), seed=self.seeds)
            told_gain = told_gain * ops.cast(draw[:, :1] >= self.gain_dropout, "float32")
            hidden = ops.logical_and(
                draw[:, 1:] < self.band_dropout, draw[:, 1:] < ops.max(draw[:, 1:], 1, keepdims=True)
            )
            variance = ops.where(hidden[:, None, None], np.float32(np.inf), variance)
        noise, good, seen_sky = sky_noise(variance, mask)
        image = clean(ops.cast(batch["image"], "float32"), variance, mask) / noise
        present = ops.max(good, axis=(1, 2))
        psf = ops.cast(batch["psf"], "float32")
        area = ops.sum(ops.square(psf), axis=(1, 2))[:, None, None]
        kernel = transfer(image.shape, psf)
        mirror = kernel * np.array([[1.0], [-1.0]], "float32")
        power = ops.sum(ops.square(kernel), axis=-2, keepdims=True)
        matched = apply_transfer(image, mirror) / ops.sqrt(area)
        sharp = apply_transfer(image, mirror / (power + _DAMPING))
        guess = ops.arcsinh(matched)
        electrons = 0.0
        if batch.get("gain") is not None:
            gain = ops.cast(batch["gain"], "float32")
            known = ops.logical_and(ops.isfinite(gain), gain > 0)
            told_gain = told_gain * ops.cast(known, "float32")
            scaled = ops.log(noise * ops.where(known, gain, 1.0)[:, None, None])
            electrons = 0.25 * ops.clip(scaled, -10.0, 20.0) * told_gain[:, None, None]
        told_gain = told_gain * ops.ones((1, number))
        planes = [ops.arcsinh(image), guess, ops.arcsinh(sharp), good, electrons * good]
        planes = ops.concatenate([plane + ops.zeros_like(image) for plane in planes], axis=-1)
        seen = ops.sqrt(ops.maximum(middle(psf, _PSF_SEEN), 0.0)) * present[:, None, None]
        told = [ops.reshape(seen, (-1, _PSF_SEEN**2 * number)), told_gain, present]
        told = self.describer(ops.concatenate([part + ops.zeros((n, 1)) for part in told], axis=-1))
        unit = noise / ops.sqrt(area)
        if self.limit_told is not None:
            told = told + self.limit_told(self._limit(batch, unit, good, training))
        told = ops.silu(told)
        told = {"planes": planes, "told": told, "unit": unit, "guess": guess, "present": present}
        return told | {"known": ops.cast(ops.any(seen_sky, axis=-1), "float32")}

    def _limit(self, batch, unit, good, training):
        """Return the log of the flux of the faintest star that counts over its error, and whether it is known, (n, 2).

        Both are 0 where it is not known.
        """
        unit, good = unit[..., 0], good[..., 0]
        pixels = ops.sum(good, axis=(1, 2))
        error = ops.sum(ops.log(unit) * good, axis=(1, 2)) / ops.maximum(pixels, 1.0)
        if batch.get("faintest") is None:
            return ops.stack([ops.zeros_like(error)] * 2, axis=-1)
        faintest = ops.reshape(ops.cast(batch["faintest"], "float32"), (-1,))
        known = ops.logical_and(ops.logical_and(ops.isfinite(faintest), faintest > 0), pixels > 0)
        if training:
            draw = keras.random.uniform(ops.shape(faintest), seed=self.seeds)
            known = ops.logical_and(known, draw >= self.limit_dropout)
        ratio = ops.clip(ops.log(ops.where(known, faintest, 1.0)) - error, -3.0, 8.0)
        known = ops.cast(known, "float32")
        return ops.stack([known * ratio, known], axis=-1)

    def take_over(self, start):
        """Copy the weights of another StarNet; see `galzoo.models.starnet.take_over`."""
        from galzoo.models.starnet.take_over import take_over

        take_over(self, start)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        number = ops.cast(x["n_sources"], "float32")
        if self.tiles is not None:
            count, stars = tile_nll(y_pred, x, y_pred["unit"], y_pred["present"])
            self.trackers["count"].update_state(count)
            self.trackers["stars"].update_state(ops.sum(stars) / (ops.sum(number) + 1e-6))
            return ops.mean((count + stars) / (number + 10.0))
        count, stars = catalogue_nll(y_pred, x, self.reach)
        expected = ops.sum(ops.sigmoid(y_pred["logit"]), axis=(1, 2, 3))
        self.trackers["count"].update_state(count)
        self.trackers["stars"].update_state(ops.sum(stars) / (ops.sum(number) + 1e-6))
        sure = ops.where(y_pred["logit"] > 0, ops.sigmoid(y_pred["logit"]), 0.0)
        self.trackers["found"].update_state(ops.sum(sure) / (ops.sum(number) + 1e-6))
        self.trackers["excess"].update_state(ops.sum(expected) / (ops.sum(number) + 1e-6) - 1)
        # Crowded fields would outweigh all others.
        return ops.mean((count + stars) / (number + 10.0))

    def detect(self, batch, threshold=0.0):
        """Find the stars of images.

        Parameters
        ----------
        batch : dict of arrays
            ``image, variance`` (n, y, x, band), ``psf`` and, where present, ``mask, gain, faintest``.
        threshold : float
            Stars less probable than this are left out.

        Returns
        -------
        Detections
        """
        from galzoo.models.starnet.catalogues import detections
        from galzoo.models.starnet.tile_catalogues import tile_detections

        return (detections if self.tiles is None else tile_detections)(self, batch, threshold)

    def posterior(self, batch, n=100, seed=0):
        """Draw catalogues from the posterior.

        Parameters
        ----------
        batch : dict of arrays
            As for `detect`.
        n : int
            Catalogues an image.
        seed : int
            Of the random numbers.

        Returns
        -------
        galzoo.contracts.catalogues.Catalogues

        Raises
        ------
        InputError
            If `n` is below 1.
        """
        from galzoo.models.starnet.posterior import draw
        from galzoo.models.starnet.tile_catalogues import draw_tiles

        return (draw if self.tiles is None else draw_tiles)(self, batch, n, seed)
