"""Crowded star fields made in the graph: any density, PSF, sky and luminosity function, and the truth of sources."""

import keras
import numpy as np
from keras import ops

from galzoo.errors import InputError
from galzoo.layers import fft
from galzoo.layers.blend import positive_range
from galzoo.layers.glare import draw_glare
from galzoo.layers.lanczos import lanczos_lines
from galzoo.layers.noise import normal
from galzoo.layers.star_galaxies import draw_galaxies, galaxy_light
from galzoo.layers.star_psf import draw_psfs

GALAXY, STAR = 0, 1
SERVED = ("image", "variance", "mask", "psf", "positions", "n_sources", "flux", "source_class", "gain", "sky")
SERVED += ("faintest",)
# Unresolved stars reach so far below the faintest that counts.
_DEPTH = 10.0
_RANGES = ("density", "galaxies", "slope", "span", "limit", "fwhm", "gain", "sky", "full_well")
# Standard deviation of the logarithm by which bulges and discs of galaxies differ in a band.
_BULGE_COLOUR = 0.2


@keras.saving.register_keras_serializable(package="galzoo")
class StarField(keras.layers.Layer):
    """Make star fields.

    What is given as a pair is drawn for each field between the two: evenly in the logarithm, colours evenly.

    Parameters
    ----------
    size : int
        Pixels on a side.
    density : (float, float)
        Stars a pixel.
    galaxies : (float, float), optional
        Galaxies a pixel as bright as the faintest star and brighter; none by default.
    slope : (float, float)
        Index alpha of the truncated power law ``n(> f) ~ f^-alpha`` of fluxes; not exactly 1.
    span : (float, float)
        Brightest over faintest flux.
    limit : (float, float)
        Flux of the faintest star in the first band over its error, were it alone on this sky.
    faintest : number, optional
        In place of `limit`: the flux of the faintest star in the first band in electrons.
    luminosity : list of [magnitude, number], optional
        In place of the power law: numbers in bins of magnitude, counted from the brightest; the last is the faintest.
    colour : (float, float) or a list of them
        Mean of the magnitude of each other band minus that of the first; a pair for all, or one a band.
    colour_scatter : (float, float)
        Standard deviation of it, from star to star, in each band by itself.
    colour_spread : float
        Standard deviation, from star to star, of a factor about 1 that all colours of a star have in common: stars then
        lie along a line in colour, as those of a main sequence do.
    unresolved : float
        Most of the light of stars below the limit that is there, as a share of what the power law says.
    fwhm : (float, float)
        Of the PSF, pixels.
    ellipticity : float
        Standard deviation of each component of the PSF's distortion.
    psf_size : int
        Pixels on a side of PSFs that are drawn; odd.
    psf_error : float
        How wrong the PSFs that are told may be, see `galzoo.layers.star_psf.draw_psfs`: 0.04 for widths of 4 %.
    band_shift : float
        How far other bands than the first may be off it, as those of images whose coordinates are not quite right: the
        most that the standard deviation in pixels is, of which each field draws its share evenly.
    psf_detail : float
        How far PSFs are from smooth profiles, see `galzoo.layers.star_psf.draw_psfs`.
    given_psf : bool
        Take the PSFs of the batch.
    gain : (float, float)
        Electrons per unit of the image.
    sky : (float, float)
        Electrons a pixel, of the first band and, without `depth`, of all; bands differ by about a third.
    depth : list of float, optional
        Magnitudes of stars of the same signal-to-noise in each band: sky is as much more or less as their noise asks.
    sky_error : float
        Standard deviation of the sky that is left, and of its change over the field, in units of the sky's noise.
    full_well : (float, float), optional
        Electrons above which a pixel is saturated and masked, with its neighbours.
    glare : float
        Share of the fields on or beside which is a star far brighter than the others, with halo, spikes and a trail of
        charge, see `galzoo.layers.glare.draw_glare`. Saturated pixels of half of the fields are
        then not masked.
    seed : int
        Of the random numbers.

    Notes
    -----
    Called with a dict that has ``image``, which says how many fields of how many bands are wanted, and, with
    `given_psf`, ``psf``. Returns what `SERVED` names.
    The sources whose centres are on the field come brightest first; those beyond its edges whose light reaches it are
    drawn, but not told. The variance is estimated from the noisy image, as in real data. It is a
    `galzoo.contracts.source.DataLayer`.

    PSFs are moved by a Lanczos kernel of 5 lobes, whose light stays within 5 pixels where a PSF is undersampled; a
    product of matrices sums over stars. Stars below the limit are a Gaussian field with the mean and variance of the
    power law, drawn on down to a tenth of the limit.

    Raises
    ------
    InputError
        If an argument is out of its range, or the batch lacks a key.
    """

    def __init__(
        self,
        size=48,
        density=(0.003, 0.2),
        galaxies=None,
        slope=(0.25, 0.95),
        span=(30.0, 1000.0),
        limit=(4.0, 20.0),
        faintest=None,
        luminosity=None,
        colour=(-0.7, 0.7),
        colour_scatter=(0.1, 1.0),
        colour_spread=0.0,
        unresolved=1.0,
        fwhm=(2.0, 6.0),
        ellipticity=0.07,
        psf_size=25,
        psf_error=0.0,
        band_shift=0.0,
        psf_detail=0.0,
        given_psf=False,
        gain=(100.0, 400.0),
        sky=(100.0, 5000.0),
        depth=None,
        sky_error=0.5,
        full_well=(3e4, 1e6),
        glare=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(**{"autocast": False, "dtype": "float32", **kwargs})
        self._arguments = {
            "size": int(size), "density": density, "galaxies": galaxies, "slope": slope, "span": span, "limit": limit,
            "faintest": faintest, "luminosity": luminosity, "colour": colour, "colour_scatter": colour_scatter,
            "colour_spread": float(colour_spread), "unresolved": unresolved, "fwhm": fwhm, "ellipticity": ellipticity,
            "psf_size": int(psf_size), "psf_error": float(psf_error), "band_shift": float(band_shift),
            "psf_detail": float(psf_detail), "given_psf": bool(given_psf), "gain": gain, "sky": sky, "depth": depth,
            "sky_error": sky_error, "full_well": full_well, "glare": float(glare), "seed": int(seed),
        }  # fmt: skip
        for name in _RANGES:
            value = self._arguments[name]
            if value is not None:
                self._arguments[name] = list(positive_range(name, value))
        for name, value in self._arguments.items():
            setattr(self, name, value)
        for name in ("colour", "colour_scatter"):
            for low, high in np.reshape(np.asarray(self._arguments[name], float), (-1, 2)).tolist():
                if not low <= high:
                    raise InputError(f"{name} is {[low, high]}; give the lower number first")
        if self.size < 8 or self.psf_size < 3 or self.psf_size % 2 == 0:
            raise InputError(f"size is {size}, psf_size {psf_size}; give at least 8, and an odd number of at least 3")
        if not 0 <= self.colour_spread < 2:
            raise InputError(f"colour_spread is {colour_spread}; give 0 to 2")
        if not 0 <= self.psf_error < 0.5 or (self.psf_error and self.given_psf):
            raise InputError(f"psf_error is {psf_error}; give 0 to .5, and 0 with given_psf")
        if not 0 <= self.band_shift <= 2 or (self.band_shift and self.given_psf):
            raise InputError(f"band_shift is {band_shift}; give 0 to 2, and 0 with given_psf")
        if not 0 <= self.psf_detail <= 1 or (self.psf_detail and self.given_psf):
            raise InputError(f"psf_detail is {psf_detail}; give 0 to 1, and 0 with given_psf")
        if not 0 <= self.glare <= 1 or (self.glare and self.full_well is None):
            raise InputError(f"glare is {glare}; give 0 to 1, and 0 without full_well")
        if luminosity is not None:
            self._table = np.asarray(luminosity, "float32")
            if self._table.ndim != 2 or self._table.shape[1] != 2 or np.any(np.diff(self._table[:, 0]) <= 0):
                raise InputError("luminosity is no list of [magnitude, number] with rising magnitudes")
        mean = (self.density[1] + (self.galaxies[1] if self.galaxies else 0)) * self.size**2
        # No field in 10^6 has more.
        self.most = int(np.ceil((mean + 5 * np.sqrt(mean) + 3) / 8) * 8)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def needs(self, keys):
        """Return which of the `keys` of a source are read."""
        if self.given_psf and "psf" not in keys:
            raise InputError("StarField: given_psf asks for PSFs, and the data have none; take it out")
        return ("image", "psf") if self.given_psf else ("image",)

    def serves(self, keys):
        """Return the keys of the fields."""
        return SERVED

    def stamps(self, batch_size):
        """Return how many objects of the source a batch is made of."""
        return batch_size

    def shape(self, shape):
        """Return the size (y, x) of the fields."""
        return self.size, self.size

    def call(self, batch):
        n, bands = ops.shape(batch["image"])[0], batch["image"].shape[-1]
        seed = self.seed_generator
        if self.given_psf:
            psf = told = ops.cast(batch["psf"], "float32")
        else:
            how = self.psf_error, self.band_shift, self.psf_detail
            psf, told = draw_psfs(n, bands, self.psf_size, self.fwhm, self.ellipticity, seed, *how)
        draw = keras.random.uniform((n, 8), seed=seed)
        sky = self._between("sky", draw[:, :1]) * ops.exp(0.3 * keras.random.normal((n, bands), seed=seed))
        if self.depth is not None:
            self._check_bands("depth", len(self.depth), bands)
            sky = sky * 10 ** (0.8 * (self.depth[0] - np.asarray(self.depth, "float32")))
        gain = self._between("gain", draw[:, 1:2]) * ops.ones((1, bands))
        area = 1 / ops.sum(ops.square(psf[..., 0]), axis=(1, 2))
        least = self._between("limit", draw[:, 2]) * ops.sqrt(sky[:, 0] * area)
        if self.faintest is not None:
            least = self.faintest * ops.ones_like(least)
        field = {
            "density": self._between("density", draw[:, 3]),
            "slope": self._between("slope", draw[:, 4]),
            "span": self._between("span", draw[:, 5]),
            "least": least,
            "colour": self._colours(n, bands),
            "scatter": self.colour_scatter[0] + (self.colour_scatter[1] - self.colour_scatter[0]) * draw[:, 6],
        }
        margin = psf.shape[1] // 2
        stars, light = self._stars(field, n, bands, margin), self._faint(field, n, bands, margin)
        sources = stars
        if self.galaxies is not None:
            galaxies, of_galaxies = self._galaxies(field, n, bands, margin)
            sources = {key: ops.concatenate([stars[key], galaxies[key]], axis=1) for key in stars}
            light = light + of_galaxies
        noiseless = self._render(stars, psf, light)
        noiseless = noiseless + self._sky_left(n, bands) * ops.sqrt(sky)[:, None, None]
        number, trail = stars["places"].shape[1], None
        if self.glare:
            bright = draw_glare(self.glare, sky, ops.sqrt(sky[:, 0] * area), self.fwhm, self.size, seed)
            sources = {key: ops.concatenate([bright[key], sources[key]], axis=1) for key in stars}
            noiseless, number, trail = noiseless + bright["light"], number + 1, bright["trail"]
        truth = self._truth(sources, number, gain) | {"faintest": least / gain[:, 0]}
        return self._observe(noiseless, sky, gain, draw[:, 7], trail) | truth | {"psf": told}

    def _between(self, name, draw):
        low, high = np.log(getattr(self, name)).astype("float32")
        return ops.exp(low + (high - low) * draw)

    def _colours(self, n, bands):
        colour = np.reshape(np.asarray(self.colour, "float32"), (-1, 2))
        if len(colour) > 1:
            self._check_bands("colour", len(colour) + 1, bands)
            colour = np.concatenate([np.zeros((1, 2), "float32"), colour])
        low, high = colour.T
        colour = low + (high - low) * keras.random.uniform((n, bands), seed=self.seed_generator)
        return colour * (np.arange(bands) > 0).astype("float32")

    @staticmethod
    def _check_bands(name, number, bands):
        if number != bands:
            raise InputError(f"{name} is for {number} bands, the fields have {bands}; give one a band")

    def _stars(self, field, n, bands, margin):
        """Return ``places`` (n, star, 2), ``electrons`` (n, star, band), 0 where there is no star."""
        side = self.size + 2 * margin
        mean = field["density"] * side**2
        top = self.density[1] * side**2
        number = int(np.ceil(top + 4 * np.sqrt(top) + 3))
        draw = keras.random.uniform((n, number, 3), seed=self.seed_generator)
        scatter = keras.random.normal((n, number, bands), seed=self.seed_generator)
        count = ops.round(mean + ops.sqrt(mean) * keras.random.normal((n,), seed=self.seed_generator))
        if self.density[0] * self.size**2 < 30:
            few = keras.random.uniform((n,), seed=self.seed_generator)
            count = ops.where(mean < 30, _poisson_quantile(few, mean), count)
        there = ops.cast(np.arange(number, dtype="float32") < count[:, None], "float32")
        if self.luminosity is None:
            slope = field["slope"][:, None]
            tail = ops.exp(-slope * ops.log(field["span"])[:, None])
            flux = field["least"][:, None] * ops.exp(-ops.log(1 - draw[..., 2] * (1 - tail)) / slope)
        else:
            share = np.cumsum(self._table[:, 1]) / np.sum(self._table[:, 1])
            bin_ = ops.sum(ops.cast(draw[..., 2][..., None] > share[:-1].astype("float32"), "int32"), axis=-1)
            fainter = self._table[-1, 0] - self._table[:, 0]
            width = float(np.median(np.diff(self._table[:, 0])))
            magnitude = ops.take(fainter, bin_) + width * draw[..., 0]
            flux = field["least"][:, None] * ops.exp(magnitude * np.float32(0.4 * np.log(10)))
        electrons = self._in_bands(there * flux, field, scatter)
        place = keras.random.uniform((n, number, 2), seed=self.seed_generator)
        return {"places": place * side - 0.5 - margin, "electrons": electrons}

    def _in_bands(self, flux, field, scatter):
        """Return the flux of sources (n, source, band) from that in the first band and standard normal numbers."""
        # The first band has no colour of its own: its number is the one that all have in common.
        along = 1 + np.float32(self.colour_spread) * scatter[..., :1]
        others = (np.arange(scatter.shape[-1]) > 0).astype("float32")
        colour = field["colour"][:, None] * along + field["scatter"][:, None, None] * scatter * others
        return flux[..., None] * ops.exp(-np.float32(0.4 * np.log(10)) * colour)

    def _galaxies(self, field, n, bands, margin):
        """Return ``places, electrons`` of galaxies as of stars, and their light before the PSF with `margin` pixels."""
        side = self.size + 2 * margin
        top = self.galaxies[1] * side**2
        most = int(np.ceil(top + 4 * np.sqrt(top) + 3))
        seed = self.seed_generator
        density = self._between("galaxies", keras.random.uniform((n,), seed=seed))
        drawn = draw_galaxies(density, field["least"], field["span"], most, side, margin, seed)
        scatter = keras.random.normal((n, most, bands, 2), seed=seed)
        electrons = self._in_bands(drawn["electrons"], field, scatter[..., 0])
        light = galaxy_light(drawn, electrons, _BULGE_COLOUR * scatter[..., 1], side, margin)
        return {"places": drawn["places"], "electrons": electrons}, light

    def _faint(self, field, n, bands, margin):
        """Return the electrons of stars below the limit, (n, y, x, band) with `margin` pixels about the field."""
        side = self.size + 2 * margin
        share = keras.random.uniform((n, 2), seed=self.seed_generator)
        slope = field["slope"]
        number = field["density"] * (ops.exp(slope * np.float32(np.log(_DEPTH))) - 1)
        number = number / (1 - ops.exp(-slope * ops.log(field["span"]))) * self.unresolved * share[:, 0]
        low, norm = 1 / _DEPTH, slope / (_DEPTH**slope - 1)
        first = norm * (1 - low ** (1 - slope)) / (1 - slope) * field["least"]
        second = norm * (1 - low ** (2 - slope)) / (2 - slope) * ops.square(field["least"])
        noise = normal(n, (side, side, 1), self.seed_generator)
        mean = (number * first * share[:, 1])[:, None, None, None]
        electrons = mean + ops.sqrt(number * second)[:, None, None, None] * noise
        colour = ops.exp(-np.float32(0.4 * np.log(10)) * field["colour"])
        return electrons * colour[:, None, None]

    def _render(self, stars, psf, light):
        """Return the noiseless field (n, y, x, band) in electrons, of stars and of other light before the PSF."""
        half = psf.shape[1] // 2
        side = self.size + 2 * half
        columns, rows = (lanczos_lines(stars["places"][..., axis], side, half) for axis in (0, 1))
        # Each star's flux on the pixels about its place; a product of matrices sums over stars.
        columns = ops.transpose(columns, (0, 2, 1))[:, None] * ops.transpose(stars["electrons"], (0, 2, 1))[:, :, None]
        light = light + ops.transpose(ops.matmul(columns, rows[:, None]), (0, 3, 2, 1))
        grid = (side + 1 - side % 2,) * 2
        blur = fft.spectrum(psf, grid, tuple((axis - 1) / 2 for axis in psf.shape[1:3]))
        return fft.inverse(fft.multiply(fft.spectrum(light, grid, (half, half)), blur), grid, (self.size, self.size))

    def _sky_left(self, n, bands):
        """Return what is left of the sky, a plane (n, y, x, band) in units of its noise."""
        draw = self.sky_error * keras.random.normal((n, 3, bands), seed=self.seed_generator)
        line = (np.arange(self.size) / (self.size - 1) - 0.5).astype("float32")
        plane = draw[:, 0, None, None] + draw[:, 1, None, None] * line[:, None, None]
        return plane + draw[:, 2, None, None] * line[:, None]

    def _observe(self, noiseless, sky, gain, draw, trail):
        n, bands = ops.shape(noiseless)[0], noiseless.shape[-1]
        level, unit = sky[:, None, None], gain[:, None, None]
        expected = ops.maximum(noiseless + level, 0.0)
        mask = ops.zeros_like(expected, dtype="bool")
        if self.full_well is not None:
            well = self._between("full_well", draw)[:, None, None, None]
            full = expected > well
            if trail is not None:
                full = ops.logical_or(full, trail[..., None])
                told = keras.random.uniform((n, 1, 1, 1), seed=self.seed_generator) < 0.5
                expected = ops.where(full, well, expected)
                full = ops.logical_and(full, told)
            mask = ops.max_pool(ops.cast(full, "float32"), 3, strides=1, padding="same") > 0
        # Skies of a hundred electrons and more: Gaussian, as photon numbers are there.
        counts = expected + ops.sqrt(expected) * normal(n, (self.size, self.size, bands), self.seed_generator)
        variance = ops.maximum(counts, 0.25 * level) / ops.square(unit)
        image = ops.where(mask, 0.0, (counts - level) / unit)
        return {"image": image, "variance": variance, "mask": mask, "gain": gain, "sky": sky / gain}

    def _truth(self, sources, stars, gain):
        """Return what is told of sources, of which the first `stars` are stars."""
        places, electrons = sources["places"], sources["electrons"]
        inside = ops.all(ops.logical_and(places > -0.5, places < self.size - 0.5), axis=-1)
        inside = ops.logical_and(inside, electrons[..., 0] > 0)
        key = ops.where(inside, electrons[..., 0], -1.0)
        most = min(self.most, places.shape[1])
        order = ops.top_k(key, most)[1]
        number = ops.minimum(ops.sum(ops.cast(inside, "int32"), axis=1), most)
        there = np.arange(most, dtype="int32") < number[:, None]
        places = ops.take_along_axis(places, order[..., None], axis=1)
        flux = ops.take_along_axis(electrons, order[..., None], axis=1) / gain[:, None]
        return {
            "positions": ops.where(there[..., None], places, 0.0),
            "n_sources": number,
            "flux": ops.where(there[..., None], flux, 0.0),
            "source_class": ops.where(there, ops.where(order < stars, STAR, GALAXY), -1),
        }

    def get_config(self):
        return {**super().get_config(), **self._arguments}


def _poisson_quantile(uniform, mean):
    """Return Poisson numbers of a mean below 30 by inverting the cumulative distribution."""
    count = np.arange(64, dtype="float32")
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 64)))]).astype("float32")
    mean = ops.minimum(mean, 30.0)[:, None]
    cumulative = ops.cumsum(ops.exp(count * ops.log(mean) - mean - factorial), axis=1)
    return ops.sum(ops.cast(uniform[:, None] > cumulative, "float32"), axis=1)
