"""`SceneSpec`: what scenes to simulate, checked before anything is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
from astropy import units as u

from galzoo.data.scenes import MOST_ISOLATED
from galzoo.data.splits import SPLITS
from galzoo.errors import InputError
from galzoo.simulate.simulator import ImageSpec
from galzoo.simulate.surveys import get_survey


@dataclasses.dataclass(frozen=True)
class SceneSpec(ImageSpec):
    """What scenes to simulate: the fields of `ImageSpec`, and where the sources are.

    Either a blend, `n_sources` sources within `max_radius` of the centre, or a field, `density` sources per area all
    over the image.

    Parameters
    ----------
    stamp_size : int
        Pixels on a side of a scene; the default is 24 arcsec for LSST.
    flat_magnitude : float
        As in `ImageSpec`; by default magnitudes follow the population's counts.
    n_sources : (int, int)
        Least and largest number of sources, each number as probable.
    max_radius : float
        Largest distance of a source from the centre, arcsec; positions are uniform in area.
    min_separation : float
        Least distance between two sources, arcsec.
    centred : bool
        The first source is at the very centre of the image, ``(n - 1) / 2``.
    density : float
        Mean number of sources per arcmin^2. Their number is Poisson distributed and positions are uniform over the
        image; `n_sources`, `max_radius` and `centred` do not count then.
    stars_fraction : float
        Fraction of sources that are stars.
    star_magnitudes : (float, float)
        AB magnitudes of stars in the reference band; those of the galaxies by default.
    psf_fwhm : float
        Ground only: FWHM of the PSF of every scene and band, arcsec, pixel response included; a round Moffat profile of
        index 3.5. Galaxies, positions and noise do not depend on it.
    isolated : bool
        Keep the image of each source alone; scenes then have at most 16 sources.
    split : {"train", "valid", "test", "all", "any"}
        Draw galaxies of this split only. "all": each scene from one split, chosen by its number. "any": galaxies are
        drawn whatever their split, and scenes have no split.
    split_valid, split_test, split_seed
        Arguments of `galzoo.data.splits.split_names`, which says in which split a galaxy is.
    """

    stamp_size: int = 120
    flat_magnitude: float = 0.0
    n_sources: tuple = (1, 4)
    max_radius: float = 2.0
    min_separation: float = 0.0
    centred: bool = False
    density: float | None = None
    stars_fraction: float = 0.0
    star_magnitudes: tuple | None = None
    psf_fwhm: float | None = None
    isolated: bool = True
    split: str = "all"
    split_valid: float = 0.1
    split_test: float = 0.1
    split_seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        self._check_number()
        self._check_places()
        self._check_psf()
        if not 0 <= self.stars_fraction <= 1:
            raise InputError(f"stars_fraction is {self.stars_fraction}; give a fraction from 0 to 1")
        stars = self.star_magnitudes or self.magnitude_range
        if len(stars) != 2 or not stars[0] < stars[1]:
            raise InputError(f"star_magnitudes is {stars}; give the brighter and the fainter limit, e.g. (17, 24)")
        if self.split not in (*SPLITS, "all", "any"):
            raise InputError(f"split {self.split!r} is unknown; use {', '.join(SPLITS)}, all or any")
        object.__setattr__(self, "n_sources", tuple(int(number) for number in self.n_sources))
        object.__setattr__(self, "star_magnitudes", tuple(float(magnitude) for magnitude in stars))

    def _check_number(self):
        counts = self.n_sources
        if len(counts) != 2 or not 0 <= counts[0] <= counts[1] or counts[1] < 1:
            raise InputError(f"n_sources is {counts}; give the least and the largest number, e.g. (1, 4)")
        if self.density is not None and not self.density > 0:
            raise InputError(f"density is {self.density}; give sources per arcmin^2, above 0")
        # Four sigma above the mean: what Poisson numbers hardly ever exceed.
        most = counts[1] if self.density is None else self.mean_number + 4 * np.sqrt(self.mean_number)
        if self.isolated and most > MOST_ISOLATED:
            raise InputError(
                f"scenes of up to {most:.0f} sources; isolated holds at most {MOST_ISOLATED}: leave it out "
                "(isolated=False, --no-isolated) or ask for fewer"
            )

    def _check_places(self):
        if not self.min_separation >= 0:
            raise InputError(f"min_separation is {self.min_separation}; give arcsec, 0 or more")
        if self.density is not None:
            return
        half = self.extent / 2
        if not 0 <= self.max_radius <= half:
            raise InputError(f"max_radius is {self.max_radius} arcsec; give 0 to {half:.4g}, the half of the image")
        # Discs of half the separation around the sources do not overlap and lie within max_radius and that half.
        most = self.n_sources[1]
        if most > 1 and most * self.min_separation**2 > (2 * self.max_radius + self.min_separation) ** 2:
            raise InputError(
                f"{most} sources {self.min_separation} arcsec apart do not fit within {self.max_radius} arcsec of the "
                "centre; lower n_sources or min_separation, or raise max_radius"
            )

    def _check_psf(self):
        if self.psf_fwhm is None:
            return
        if get_survey(self.survey).in_space or self.psf_paths:
            raise InputError("psf_fwhm is for the seeing of ground surveys without psf_paths; leave one of them out")
        scale = get_survey(self.survey).pixel_scale.to_value(u.arcsec)
        if not self.psf_fwhm >= 1.5 * scale:
            raise InputError(f"psf_fwhm is {self.psf_fwhm} arcsec; give at least 1.5 pixels, {1.5 * scale:.4g} arcsec")

    @property
    def extent(self):
        """Arcsec on a side of a scene."""
        return self.stamp_size * get_survey(self.survey).pixel_scale.to_value(u.arcsec)

    @property
    def mean_number(self):
        """Mean number of sources of a scene."""
        if self.density is None:
            return sum(self.n_sources) / 2
        return self.density * (self.extent / 60) ** 2

    def to_dict(self):
        """Return the specification as JSON can hold it."""
        return super().to_dict() | {key: list(getattr(self, key)) for key in ("n_sources", "star_magnitudes")}
