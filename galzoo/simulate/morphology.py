"""Simulated scenes whose pixels have classes: spheroid, disk, irregular, point source and background."""

from __future__ import annotations

import dataclasses

import numpy as np

from galzoo.contracts.segmentation import CLASSES
from galzoo.data.scenes_hdf5 import ScenesWriter
from galzoo.errors import InputError
from galzoo.progress import counter
from galzoo.simulate.galaxies import Component
from galzoo.simulate.scene_simulator import SceneSimulator
from galzoo.simulate.scene_spec import SceneSpec
from galzoo.simulate.simulator import make_spec
from galzoo.simulate.workers import run_parts

_KNOTTY = 0.5
"""Share of a galaxy's light in knots at which nobody would call it anything but irregular. A choice of ours."""

_CLUMPS = 2, 7
"""Number of clumps of an irregular galaxy; they lie on one side of it. A choice of ours."""

_PART = 8


@dataclasses.dataclass(frozen=True)
class MorphologySpec(SceneSpec):
    """What scenes to simulate: the fields of `SceneSpec`, and how many galaxies are irregular.

    Parameters
    ----------
    irregular : float
        Share of the galaxies of which 30 to 80 % of the light is in a few bright clumps on one side.
    footprint : float
        A pixel belongs to its sources where their light in the reference band is above this many sigma of the sky.
    """

    irregular: float = 0.2
    footprint: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.irregular <= 1:
            raise InputError(f"irregular is {self.irregular}; give a fraction from 0 to 1")
        if not 0 < self.footprint < np.inf:
            raise InputError(f"footprint is {self.footprint}; give sigma of the sky, above 0")
        if self.real_galaxies:
            raise InputError("real galaxies have no known class; leave real_galaxies out")


class MorphologySimulator(SceneSimulator):
    """Simulate scenes with ``pixel_class``, and columns ``p_<class>`` of the sources."""

    def _draw(self, rng, split):
        galaxy = super()._draw(rng, split)
        if galaxy.kind == "star" or rng.random() >= self.spec.irregular:
            return galaxy
        return clumpy(galaxy, rng)

    def _one(self, row):
        planes, drawn, scene, columns = super()._one(row)
        fractions = np.array([class_fractions(source.galaxy, self.reference) for source in drawn])
        fractions = fractions.reshape(-1, len(CLASSES) - 1)
        size = self.spec.stamp_size
        light = np.zeros((size, size, len(CLASSES) - 1))
        for source, shares in zip(drawn, fractions, strict=True):
            light[source.window] += np.maximum(source.image[..., self.reference], 0)[..., None] * shares
        total = light.sum(axis=-1, keepdims=True)
        above = total > self.spec.footprint * np.sqrt(self.sky[self.reference])
        light = np.where(above, light / np.where(above, total, 1), 0)
        planes["pixel_class"] = np.concatenate([light, ~above], axis=-1).astype(np.float32)
        columns |= {f"p_{name}": fractions[:, index] for index, name in enumerate(CLASSES[:-1])}
        return planes, drawn, scene, columns


def class_fractions(galaxy, reference):
    """Return how much a galaxy is of each class of `CLASSES` but the background, (class,); they sum to 1.

    The bulge is spheroid and the disc disk, by their light in band number `reference`; as knots take up more of the
    light, the disc is called irregular instead. Stars are point sources.
    """
    if galaxy.kind == "star":
        return np.array([0.0, 0.0, 0.0, 1.0])
    light = dict.fromkeys(("bulge", "disc", "knots", "pattern"), 0.0)
    for part in galaxy.components:
        light[part.kind] += float(part.flux[reference])
    total = sum(light.values())
    bulge, odd = light["bulge"] / total, min(1.0, light["knots"] / total / _KNOTTY)
    return np.array([bulge, (1 - bulge) * (1 - odd), (1 - bulge) * odd, 0.0])


def clumpy(galaxy, rng):
    """Return a galaxy of which a part of the light is in clumps on one side; bulges are left with little."""
    share, number = rng.uniform(0.3, 0.8), int(rng.integers(*_CLUMPS))
    largest = max(galaxy.components, key=lambda part: part.half_light_radius)
    angle = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.7, number)
    # Scale lengths of the disc that knots are measured in.
    distance = rng.uniform(0.5, 2.5, number)
    weight = rng.exponential(size=number) + 0.1
    points = np.stack([distance * np.cos(angle), distance * np.sin(angle), weight / weight.sum()], axis=1)
    knots = Component("knots", share * galaxy.flux, largest.half_light_radius, max(largest.axis_ratio, 0.5), points)
    flux = (1 - share) * galaxy.flux
    smooth = Component("disc", flux, largest.half_light_radius, largest.axis_ratio)
    return dataclasses.replace(galaxy, components=(smooth, knots), bulge_fraction=0.0)


def make_morphology(output, n=1000, processes=None, progress=True, **options):
    """Make a scene file with the class of every pixel.

    Parameters
    ----------
    output : str or Path
        The file to make; it appears only when complete.
    n : int
        Number of scenes.
    processes : int, optional
        Worker processes; one for each core by default. The file does not depend on it.
    progress : bool
        Show a bar.
    **options
        Fields of `MorphologySpec`; `isolated` is False by default.

    Raises
    ------
    InputError
        If an option is unknown or wrong.
    """
    if n < 1:
        raise InputError(f"n is {n}; give at least one scene")
    spec = make_spec(MorphologySpec, None, {"isolated": False, **options})
    parts = [range(start, min(start + _PART, n)) for start in range(0, n, _PART)]
    with ScenesWriter(output) as writer, counter(n, f"{spec.survey} {spec.stamp_size} px", progress) as advance:
        for scenes in run_parts(_simulating, (spec,), parts, processes):
            writer.write(scenes)
            advance(len(scenes))
    return output


def _simulating(spec):
    return MorphologySimulator(spec).simulate
