"""Pixels of classical groups: a faint neighbour takes no sector of a bright galaxy."""

import numpy as np
import pytest

from galzoo.field.array_field import ArrayField
from galzoo.field.detection import Detection
from galzoo.field.psf import constant_psf, gaussian_of
from galzoo.tasks.detect.find import find
from galzoo.tasks.detect.finders import ClassicalFinder

FWHM, SIDE, MIDDLE = 3.5, 161, 80.0


@pytest.fixture(scope="module")
def found():
    """A bright galaxy with a faint star at 18 pixels, and two equal stars far from both."""
    y, x = np.mgrid[:SIDE, :SIDE]

    def round_one(x0, y0, peak, width):
        return peak * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / width**2)

    galaxy = 3000 * np.exp(-np.hypot(x - MIDDLE, y - MIDDLE) / 6)
    stars = [round_one(MIDDLE + 18, MIDDLE, 1000, FWHM / 2.3548)]
    stars += [round_one(x0, 12, 200, FWHM / 2.3548) for x0 in (12, 18)]
    image = galaxy + sum(stars) + np.random.default_rng(5).normal(0, 10, galaxy.shape)
    field = ArrayField(image[..., None], np.full((SIDE, SIDE, 1), 100.0), None, ("i",), 0.2)
    psf = constant_psf(gaussian_of(FWHM, 1), field)
    return find(field, ClassicalFinder(field, Detection(FWHM, (0.1,))), psf, 256)


def row_at(rows, x, y):
    distance = np.hypot(rows["x"] - x, rows["y"] - y)
    assert distance.min() < 1.5
    return int(np.argmin(distance))


def test_the_neighbour_of_a_bright_galaxy_stays_small(found):
    rows, instances = found
    star, galaxy = row_at(rows, MIDDLE + 18, MIDDLE), row_at(rows, MIDDLE, MIDDLE)
    line, column = np.nonzero(instances > 0)
    own = instances[line, column] == star + 1
    places = np.stack([rows["x"], rows["y"]], axis=-1)
    distance = np.hypot(column - places[:, :1], line - places[:, 1:])
    nearest = np.argmin(distance, axis=0) == star
    assert own.sum() < 0.6 * nearest.sum()
    assert distance[star, own].max() < 0.7 * distance[star, nearest].max()
    assert instances[int(MIDDLE) + 22, int(MIDDLE) + 18] == galaxy + 1
    assert rows["a"][galaxy] / rows["b"][galaxy] < 1.15


def test_boxes_are_about_a_source_s_own_pixels(found):
    rows, instances = found
    for row, box in enumerate(rows["box"]):
        line, column = np.nonzero(instances == row + 1)
        assert (box[:2] <= [column.min(), line.min()]).all()
        assert (box[2:] >= [column.max(), line.max()]).all()
    star = rows["box"][row_at(rows, MIDDLE + 18, MIDDLE)]
    assert (star[2:] - star[:2]).max() < 24


def test_equals_share_evenly(found):
    rows, instances = found
    left, right = (row_at(rows, x, 12) for x in (12, 18))
    sizes = [np.sum(instances == row + 1) for row in (left, right)]
    assert abs(sizes[0] - sizes[1]) < 0.3 * max(sizes)
    assert instances[12, 12] == left + 1
    assert instances[12, 18] == right + 1
