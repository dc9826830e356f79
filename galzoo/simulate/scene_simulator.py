"""`SceneSimulator`: several galaxies and stars an image, drawn with GalSim, each also alone."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy.special import gamma

from galzoo.data.psf import fwhm_of
from galzoo.data.scenes import Scenes
from galzoo.data.splits import split_names
from galzoo.data.zeropoint import njy_to_magnitude
from galzoo.errors import InputError
from galzoo.simulate.galaxies import BULGE_B, DISC_B
from galzoo.simulate.psf import Nominal, PSFModel
from galzoo.simulate.render import TRUNCATION, StampGrid
from galzoo.simulate.simulator import Simulator, unit_of
from galzoo.simulate.stars import StarSampler
from galzoo.simulate.structure import REACH
from galzoo.simulate.surveys import get_survey

_SIZES = 48, 96, 192, 384
"""Pixels on a side of the images that single sources are drawn on."""

_FAINT = 0.01
"""A source is drawn out to where its surface brightness falls below this part of the noise of a pixel in every band."""

_REACH = {"knots": (REACH + 0.5) / DISC_B, "pattern": REACH / DISC_B, "real": TRUNCATION}
"""Reach in half-light radii; knots have a size of their own."""

_TRIES = 1000
"""Places that are tried for a source before a scene is given up as too full."""

_TYPES = {"source": np.int32, "scene": np.int32, "id": str, "parent": str, "kind": str, "split": str}


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A source on an image of its own (y, x, band): what it is, where (x, y), and which part of the scene that is."""

    galaxy: object
    position: np.ndarray
    image: np.ndarray
    window: tuple


class SceneSimulator(Simulator):
    """Simulate the scenes of one specification; keeps what is common to all of them.

    Parameters
    ----------
    spec : SceneSpec
        What to simulate.
    """

    def __init__(self, spec):
        scale = get_survey(spec.survey).pixel_scale.to_value(u.arcsec)
        super().__init__(spec, largest_radius=min(spec.stamp_size, _SIZES[-1]) * scale / 6)
        self.reference = spec.bands.index(spec.reference)
        self.stars = StarSampler(self.wavelengths, self.reference, spec.star_magnitudes)
        if spec.psf_fwhm is not None:
            width = spec.psf_fwhm * u.arcsec
            bands = {name: dataclasses.replace(band, psf_fwhm=width) for name, band in self.survey.bands.items()}
            self.psfs = PSFModel(dataclasses.replace(self.survey, bands=bands), spec.bands)

    def simulate(self, rows):
        """Return the `Scenes` of the numbers `rows`.

        Notes
        -----
        Noise is that of `Simulator.add_noise`. ``snr_<band>`` of a source is that of the perfect matched filter,
        sqrt(sum(S^2 / variance)) of its image S alone. ``blendedness_<band>`` is 1 - sum(S^2) / sum(S T) with the
        noiseless image T of all sources (Bosch et al. 2018, PASJ 70, S5, equation 4 without weights).
        """
        parts = [self._one(int(row)) for row in rows]
        if not parts:
            raise InputError("no rows to simulate; give at least one")
        spec = self.spec
        planes = {key: np.stack([part[0][key] for part in parts]) for key in parts[0][0]}
        if spec.isolated:
            planes["isolated"] = self._isolated([part[1] for part in parts])
        columns = {key: [part[2][key] for part in parts] for key in parts[0][2]}
        lists = {key: [value for part in parts for value in part[3][key]] for key in parts[0][3]}
        lists["scene"] = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
        meta = {"origin": "simulated", "simulation": spec.origin()}
        return Scenes(
            **planes,
            bands=spec.bands,
            pixel_scale=self.scale,
            survey=self.survey.name,
            sources=_table(lists),
            catalogue=_table(columns),
            meta=meta,
        )

    def _one(self, row):
        """Return planes, drawn sources, catalogue row and source columns of scene number `row`."""
        spec = self.spec
        # Three streams: neither the PSF nor the number of sources changes the noise, nor the PSF the galaxies.
        streams = np.random.SeedSequence([spec.seed, row]).spawn(3)
        rng, psf_rng, noise_rng = (np.random.default_rng(stream) for stream in streams)
        profiles = self.psfs.draw(Nominal() if spec.psf_fwhm is not None else psf_rng)
        split = self._choose_split(rng)
        positions = self._positions(rng, row)
        galaxies = [self._draw(rng, split) for _ in positions]
        psfs = functools.cache(lambda size: [self._grid(size).sample_psf(profile)[1] for profile in profiles])
        drawn = [self._render(galaxy, place, psfs) for galaxy, place in zip(galaxies, positions, strict=True)]
        size, bands = spec.stamp_size, len(spec.bands)
        noiseless = np.zeros((size, size, bands))
        brightest = np.full((size, size), np.sqrt(self.sky[self.reference]))
        segmentation = np.zeros((size, size), np.int32)
        for number, source in enumerate(drawn):
            noiseless[source.window] += source.image
            plane = source.image[..., self.reference]
            brighter = plane > brightest[source.window]
            segmentation[source.window][brighter] = number + 1
            brightest[source.window][brighter] = plane[brighter]
        image, variance = self.add_noise(noiseless, noise_rng)
        psf = np.stack([self._grid(_SIZES[0]).sample_psf(profile)[0] for profile in profiles], axis=-1)
        planes = {
            "image": image.astype(np.float32),
            "variance": variance.astype(np.float32),
            "psf": psf.astype(np.float32),
            "segmentation": segmentation,
        }
        widths = {f"psf_fwhm_{name}": fwhm_of(psf[..., band]) * self.scale for band, name in enumerate(spec.bands)}
        scene = {"id": f"scene-{spec.seed}-{row}"} | ({} if split == "any" else {"split": split}) | widths
        return planes, drawn, scene, self._columns(drawn, noiseless, variance, scene["id"])

    def _choose_split(self, rng):
        spec = self.spec
        number = rng.random()
        if spec.split != "all":
            return spec.split
        test, valid = spec.split_test, spec.split_valid
        return "test" if number < test else "valid" if number < test + valid else "train"

    def _positions(self, rng, row):
        """Return pixel positions (source, 2) as x, y."""
        spec = self.spec
        centre = (spec.stamp_size - 1) / 2
        if spec.density is not None:
            count = int(rng.poisson(spec.mean_number))
        else:
            count = int(rng.integers(spec.n_sources[0], spec.n_sources[1] + 1))
        places = np.empty((count, 2))
        for source in range(count):
            if source == 0 and spec.centred and spec.density is None:
                places[0] = centre
                continue
            for _ in range(_TRIES):
                places[source] = self._place(rng, centre)
                distance = np.hypot(*(places[:source] - places[source]).T) * self.scale
                if np.all(distance >= spec.min_separation):
                    break
            else:
                raise InputError(
                    f"scene {row}: no place for {count} sources at least {spec.min_separation} arcsec apart; "
                    "lower n_sources, density or min_separation, or raise max_radius"
                )
        return places

    def _place(self, rng, centre):
        if self.spec.density is not None:
            return rng.uniform(-0.5, self.spec.stamp_size - 0.5, size=2)
        radius = self.spec.max_radius / self.scale * np.sqrt(rng.random())
        angle = rng.uniform(0, 2 * np.pi)
        return centre + radius * np.array([np.cos(angle), np.sin(angle)])

    def _draw(self, rng, split):
        if rng.random() < self.spec.stars_fraction:
            return self.stars.draw(rng)
        return self.draw_galaxy(rng, *self._samplers(split))

    @functools.lru_cache(maxsize=4)  # noqa: B019 - one simulator lives as long as its process
    def _samplers(self, split):
        """Return the sampler and the real galaxies of one split."""
        if split == "any":
            return self.make_sampler(self.population), self.real
        options = {"valid": self.spec.split_valid, "test": self.spec.split_test, "seed": self.spec.split_seed}
        sampler = self.make_sampler(self.population[split_names({"id": self.population.id}, **options) == split])
        if self.real is None:
            return sampler, None
        real = self.real.select(split_names({"id": self.real.ids}, **options) == split)
        if not len(real):
            raise InputError(
                f"{self.spec.real_galaxies}: none of {len(self.real)} real galaxies is in split {split!r}; "
                "use split any, or other fractions"
            )
        return sampler, real

    @functools.lru_cache(maxsize=len(_SIZES))  # noqa: B019
    def _grid(self, size):
        return StampGrid(size, self.scale, self.spec.psf_size)

    def _render(self, galaxy, position, psfs):
        """Draw a source on an image of its own, as large as it needs, and cut away what is outside the scene.

        `psfs` is a function: the PSF transforms for an image of some size.
        """
        need = 2 * (self._reach(galaxy) / self.scale + self.spec.psf_size / 2 + 1)
        size = next((size for size in _SIZES if size >= need), _SIZES[-1])
        grid = self._grid(size)
        corner = np.round(position).astype(int) - size // 2
        transforms = self.transforms(galaxy, grid, *(position - corner))
        image = self.observe(galaxy, transforms, grid, psfs(size))
        low = np.maximum(corner, 0)
        high = np.minimum(corner + size, self.spec.stamp_size)
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        inside = np.s_[low[1] - corner[1] : high[1] - corner[1], low[0] - corner[0] : high[0] - corner[0]]
        return _Drawn(galaxy, position, image[inside].astype(np.float32), window)

    def _reach(self, galaxy):
        """Return out to which radius a galaxy is drawn, arcsec, before the PSF."""
        reach = 0.0
        for part in galaxy.components:
            radius = part.half_light_radius / np.sqrt(part.axis_ratio)
            # The profiles' central surface brightness over the faintest that counts.
            area = np.pi * max(part.half_light_radius, 1e-3) ** 2
            contrast = np.max(np.maximum(part.flux, 0) / np.sqrt(self.sky)) * self.scale**2 / area / _FAINT
            if part.kind == "disc":
                reach = max(reach, radius * np.log(max(contrast * DISC_B**2 / 2, 1)) / DISC_B)
            elif part.kind == "bulge":
                fall = np.log(max(contrast * BULGE_B**8 / (8 * gamma(8)), 1)) / BULGE_B
                reach = max(reach, radius * min(fall**4, TRUNCATION))
            elif part.kind != "star":
                reach = max(reach, _REACH[part.kind] * radius)
        return reach

    def _isolated(self, scenes):
        most = max(1, *(len(drawn) for drawn in scenes))
        size = self.spec.stamp_size
        isolated = np.zeros((len(scenes), most, size, size, len(self.spec.bands)), np.float32)
        for planes, drawn in zip(isolated, scenes, strict=True):
            for plane, source in zip(planes, drawn, strict=False):
                plane[source.window] = source.image
        return isolated

    def _columns(self, drawn, noiseless, variance, scene):
        """Return the columns of the table of sources of one scene."""
        places = np.array([source.position for source in drawn]).reshape(-1, 2)
        flux = np.array([source.galaxy.flux for source in drawn]).reshape(-1, len(self.spec.bands))
        snr, blended = np.zeros(flux.shape), np.zeros(flux.shape)
        for number, source in enumerate(drawn):
            own = source.image.astype(float)
            snr[number] = np.sqrt((own**2 / variance[source.window]).sum(axis=(0, 1)))
            blended[number] = blendedness(own, noiseless[source.window])
        columns = {
            "source": np.arange(len(drawn)),
            "id": [f"{scene}/{number}" for number in range(len(drawn))],
            "parent": [source.galaxy.id for source in drawn],
            "kind": [source.galaxy.kind for source in drawn],
            "x": places[:, 0],
            "y": places[:, 1],
            "half_light_radius": [source.galaxy.half_light_radius for source in drawn],
            "e1": [source.galaxy.ellipticity[0] for source in drawn],
            "e2": [source.galaxy.ellipticity[1] for source in drawn],
            "redshift": [source.galaxy.redshift for source in drawn],
            "separation": separations(places) * self.scale,
        }
        for band, name in enumerate(self.spec.bands):
            columns[f"flux_{name}"] = flux[:, band]
            columns[f"mag_{name}"] = njy_to_magnitude(flux[:, band])
            columns[f"snr_{name}"] = snr[:, band]
            columns[f"blendedness_{name}"] = blended[:, band]
        return columns


def blendedness(own, total):
    """Return the part of the light under a source that is not its own, 1 - sum(S^2) / sum(S T), per band.

    Parameters
    ----------
    own : array, (y, x, band)
        Noiseless image S of the source alone.
    total : array, (y, x, band)
        Noiseless image T of all sources.

    Returns
    -------
    array, (band,)
        0 for a source that is alone, and where it has no light.

    References
    ----------
    Bosch et al. 2018, PASJ 70, S5.
    """
    both = (own * total).sum(axis=(0, 1))
    return 1 - np.divide((own**2).sum(axis=(0, 1)), both, out=np.ones_like(both), where=both > 0)


def separations(places):
    """Return the distance of each of the points (n, 2) to the nearest other; NaN for a single one."""
    if len(places) < 2:
        return np.full(len(places), np.nan)
    from scipy.spatial import cKDTree

    return cKDTree(places).query(places, k=2)[0][:, 1]


def _table(columns):
    """Return the QTable of lists, with types that do not depend on their number."""
    table = QTable()
    for name, values in columns.items():
        values = np.asarray(values, dtype=_TYPES.get(name, float))
        table[name] = values * unit if (unit := unit_of(name)) else values
    return table
