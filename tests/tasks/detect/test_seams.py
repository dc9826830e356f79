"""One catalogue for any size of tile and block: no source twice, none lost at a seam."""

import numpy as np
import pytest

from galzoo.field.array_field import ArrayField
from galzoo.field.detection import Detection
from galzoo.field.merging import depth_in, merge
from galzoo.field.psf import constant_psf, gaussian_of
from galzoo.metrics.matching import match
from galzoo.tasks.detect.find import find
from galzoo.tasks.detect.finders import ClassicalFinder, DetectorFinder
from tests.field.fields import BANDS, FWHM, NOISE, blends, draw
from tests.tasks.detect.fakes import Peaks

SHAPE = (190, 230)


@pytest.fixture(scope="module")
def field():
    sources = blends(SHAPE, 60, seed=3)
    # Sources on the very seams of blocks of 64 and of 96 pixels.
    sources += [(63.5, 100.2, 600, 0), (127.5, 63.5, 600, 0), (40.1, 63.50001, 600, 0), (95.5, 30, 600, 0)]
    image = np.moveaxis(draw(SHAPE, sources), 0, -1)
    return ArrayField(image, np.broadcast_to(NOISE**2, image.shape), None, BANDS, 0.2), np.array(sources)


@pytest.fixture(scope="module")
def psf(field):
    return constant_psf(gaussian_of(FWHM, 3), field[0])


def by_peaks(field, psf, block, tile, masks=True):
    return find(field, DetectorFinder(field, Peaks(masks=masks).detect, psf, 0.5, block=block, margin=32), psf, tile)


def same(one, other, tolerance):
    for key in ("x", "y", "probability", "flux", "box", "aperture_flux", "a", "b", "radius", "flags"):
        np.testing.assert_allclose(one[0][key], other[0][key], atol=tolerance, err_msg=key)


@pytest.mark.parametrize(("block", "tile"), [(64, 64), (64, 200), (96, 96), (70, 140)])
def test_a_detector_gives_one_catalogue(field, psf, block, tile):
    whole = by_peaks(field[0], psf, 256, 256)
    parts = by_peaks(field[0], psf, block, tile)
    assert len(whole[0]["x"]) > 44
    same(parts, whole, 1e-3)
    assert np.mean(parts[1] != whole[1]) < 1e-4


def test_nothing_is_there_twice_and_bright_sources_are_there(field, psf):
    rows, instances = by_peaks(field[0], psf, 64, 64)
    found = np.stack([rows["x"], rows["y"]], axis=-1)
    gaps = np.hypot(*(found[:, None] - found[None]).transpose(2, 0, 1)) + 99 * np.eye(len(found))
    assert gaps.min() > 1.5
    assert match(found, field[1][-4:, :2], 1.0).completeness == 1
    assert set(np.unique(instances)) == set(range(len(found) + 1))


def test_the_classical_one_too(field, psf):
    finder = ClassicalFinder(field[0], Detection(FWHM, tuple(1 / field[0].noise_levels())))
    whole, parts = (find(field[0], finder, psf, tile) for tile in (256, 64))
    same(parts, whole, 0)
    np.testing.assert_array_equal(parts[1], whole[1])


def test_without_masks_pixels_are_those_of_ellipses(field, psf):
    rows, instances = by_peaks(field[0], psf, 256, 256, masks=False)
    alone = np.flatnonzero((rows["flags"] & 8) == 0)[0]
    assert np.sum(instances == alone + 1) == pytest.approx(np.pi * FWHM**2, rel=0.15)


def test_a_detector_is_told_the_core_of_its_block_and_two_pixels_about_it(field, psf):
    number = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    planes = np.repeat(number[..., None], len(BANDS), axis=-1)
    numbered = ArrayField(planes, np.ones_like(planes), None, BANDS, 0.2)
    finder = DetectorFinder(numbered, None, psf, 0.5, block=64, margin=32)
    cores = [(64, 128, 128, 192), (128, 190, 192, 230)]
    batch = finder.batch(cores)
    for image, (y0, y1, x0, x1), core in zip(batch["image"], cores, batch["core"], strict=True):
        np.testing.assert_array_equal(
            image[core[0] + 2 : core[1] - 2, core[2] + 2 : core[3] - 2, 0], number[y0:y1, x0:x1]
        )


def test_merging_by_hand():
    def kept(rows):
        x, y, piece, depth = np.array(rows, float).T
        return merge(x, y, piece.astype(int), depth).tolist()

    # Seen by both on either side of the seam: once, by the one that sees it deeper inside.
    assert kept([(9.4, 5, 0, 0.1), (9.6, 5, 1, 0.2)]) == [1]
    # Each gives it to the other: not lost.
    assert kept([(9.6, 5, 0, -0.1), (9.4, 5, 1, -0.2)]) == [0]
    # Outside of its own core and unknown to the other.
    assert kept([(10.5, 5, 0, -1.0)]) == []
    # Two near sources that both pieces see stay two.
    assert sorted(kept([(9.1, 5, 0, 0.4), (9.8, 5, 0, -0.3), (9.15, 5, 1, -0.4), (9.85, 5, 1, 0.3)])) == [0, 3]
    # Of one piece, near each other: both stay.
    assert kept([(3.0, 5, 0, 1.0), (3.4, 5, 0, 1.0)]) == [0, 1]
    # From the bottom up.
    assert kept([(3, 9, 0, 50), (3, 2, 0, 50), (1, 2, 0, 50)]) == [2, 1, 0]


def test_depth():
    core, shape = (10, 20, 0, 30), (40, 30)
    x, y = np.array([5.0, 5.0, -0.4, 29.4]), np.array([10.0, 19.6, 15.0, 15.0])
    # The sides that end with the field do not count.
    np.testing.assert_allclose(depth_in(x, y, core, shape), [0.5, -0.1, 4.5, 4.5])


@pytest.mark.parametrize(("apart", "left"), [(0.9, 1), (1.1, 2), (2.5, 2)])
def test_sources_of_two_pieces_are_one_within_a_pixel(apart, left):
    x, y = np.array([10.0, 10.0 + apart]), np.array([20.0, 20.0])
    assert len(merge(x, y, np.array([0, 1]), np.array([0.5, 0.7]))) == left
    # Those of one piece are two, however near.
    assert len(merge(x, y, np.array([0, 0]), np.array([0.5, 0.7]))) == 2
