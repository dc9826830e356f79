"""The vote of windows against the published loop; segments against the published watershed; the catalogue by hand."""

import numpy as np
import pytest
from scipy import ndimage

from galzoo.contracts.segmentation import CLASSES, Segmented
from galzoo.field.open_field import open_field
from galzoo.tasks.segment.catalogue import FLAGS, make_catalogue
from galzoo.tasks.segment.run import Settings, segment
from galzoo.tasks.segment.segments import find_segments, split_segments
from galzoo.tasks.segment.votes import chosen_stride, vote_field, vote_image, window_starts
from tests.tasks.segment.fakes import Thresholds, draw, write


def published_vote(model, image):
    """A window at every pixel, its inner 30 x 30, one after the other, as morpheus-astro counts."""
    height, width = image.shape[:2]
    counts, windows = np.zeros((height, width, 5)), np.zeros((height, width))
    for y in range(height - 39):
        for x in range(width - 39):
            answer = model.pixel_classes({"image": image[None, y : y + 40, x : x + 40]})[0]
            ranked = answer.argsort(axis=-1).argsort(axis=-1)
            counts[y + 5 : y + 35, x + 5 : x + 35] += (ranked == 4)[5:35, 5:35]
            windows[y + 5 : y + 35, x + 5 : x + 35] += 1
    return counts, windows


@pytest.fixture(scope="module")
def image():
    return np.moveaxis(draw((64, 70), ((25, 25, 900, 1), (45, 40, 900, -1))), 0, -1).astype(np.float32)


def test_stride_1_is_the_published_vote(image):
    counts, windows = published_vote(Thresholds(), image)
    found = vote_image(Thresholds(), image, stride=1)
    np.testing.assert_array_equal(found, counts)
    np.testing.assert_array_equal(found.sum(axis=-1), windows)
    assert windows[0, 0] == windows[4, 20] == 0
    assert windows[5, 5] == 1


def test_more_windows_agree_better(image):
    exact = vote_image(Thresholds(), image, stride=1)
    voted = exact.sum(axis=-1) > 0
    wrong = [
        np.mean((vote_image(Thresholds(), image, stride=stride).argmax(-1) != exact.argmax(-1))[voted])
        for stride in (15, 7, 3)
    ]
    assert wrong[0] >= wrong[1] >= wrong[2]
    assert wrong[2] < 0.01


def test_small_images_get_the_exact_vote_unless_told():
    # 100 x 100 windows of 40 pixels, and one more along an axis.
    assert [chosen_stride((139, 139), 40), chosen_stride((139, 140), 40), chosen_stride((20, 30), 40)] == [1, 7, 1]
    assert chosen_stride((139, 139), 40, 5) == 5


@pytest.mark.parametrize("stride", [1, 7, 30])
def test_windows_reach_every_pixel(stride):
    for size in (40, 41, 69, 100):
        starts = window_starts(size, 40, stride)
        covered = np.zeros(size, bool)
        for start in starts:
            covered[start + 5 : start + 35] = True
        assert covered[5:-5].all()
        assert starts[-1] == size - 40


def test_tiles_leave_no_seams(tmp_path):
    path = write(tmp_path / "field.fits", draw((150, 170)))
    with open_field(path) as field:
        found = []
        for tile in (64, 77, 1024):
            counts = np.zeros((*field.shape, 5), np.uint16)
            vote_field(Thresholds(), field, range(4), counts, stride=7, tile=tile)
            found.append(counts)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


def test_segments_are_those_of_the_published_watershed():
    """Flooded patch by patch here, all at once there."""
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    random = np.random.default_rng(3)
    blobs = ndimage.gaussian_filter(random.normal(size=(90, 80)), 4)
    background = np.clip(np.round(1.3 - 12 * np.maximum(blobs, 0), 1), 0, 1)
    valid = np.ones(background.shape, bool)
    valid[:5] = valid[-5:] = valid[:, :5] = valid[:, -5:] = False
    markers = np.where((background == 1) & valid, 1, np.where((background <= 0) & valid, 2, 0))
    flooded = watershed(sobel(background), markers, mask=valid) - 1
    expected, count = ndimage.label(np.where(valid, flooded, 0))
    found = find_segments(background, valid, threshold=0)
    assert count > 4
    assert found.max() == count
    assert np.all(found[~valid] == -1)
    differ = np.mean((found > 0) != (expected > 0))
    # Pixels that two seeds reach at once go to either.
    assert differ < 0.002


def test_two_peaks_are_two_sources_and_numbers_go_upwards():
    y, x = np.mgrid[:60, :100]
    light = sum(np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / 36) for a, b in ((30, 40), (62, 40), (88, 8)))
    labels, count = ndimage.label(light > 0.02)
    labels = labels.astype(np.int32)
    assert count == 2
    np.testing.assert_array_equal(split_segments(labels.copy(), light, 0) > 0, labels > 0)
    found = split_segments(labels.copy(), light, 20)
    assert found.max() == 3
    assert found[8, 88] == 1
    assert {found[40, 30], found[40, 62]} == {2, 3}
    assert split_segments(labels.copy(), light, 50).max() == 2


def test_catalogue_weighs_by_flux(tmp_path):
    image = np.zeros((4, 60, 60)) + 0.1 * np.random.default_rng(0).normal(size=(4, 60, 60))
    image[:, 20, 20], image[:, 20, 22] = 30.0, 10.0
    labels = np.zeros((60, 60), np.int32)
    labels[20, 20:23], labels[59, 50:52] = 1, 2
    labels[:, :3] = -1
    votes = np.zeros((5, 60, 60), np.float32)
    votes[4] = 1
    votes[:, 20, 20:23] = np.array([[0.8, 0.2, 0, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]).T
    votes[:, 59, 50:52] = np.array([[0, 0, 1, 0, 0]] * 2).T
    segmented = Segmented(votes, (labels >= 0).astype(int), labels, CLASSES)
    with open_field(write(tmp_path / "field.fits", image), subtract_sky=False) as field:
        table = make_catalogue(field, segmented, "F160W")
        ra, dec = field.wcs.all_pix2world(table["x"].value, table["y"].value, 0)
    weight = image[0, 20, 20:23].clip(0)
    mean = (votes[:4, 20, 20:23] * weight).sum(axis=1)
    np.testing.assert_allclose([table[f"p_{name}"][0] for name in CLASSES[:4]], mean / mean.sum(), rtol=1e-4)
    assert table["class"].tolist() == ["spheroid", "irregular"]
    np.testing.assert_allclose(table["x"][0].value, np.average([20, 21, 22], weights=weight), rtol=1e-5)
    np.testing.assert_allclose(table["flux_F606W"][0].value, image[2, 20, 20:23].sum(), rtol=1e-4)
    np.testing.assert_allclose(table["ra"].value, ra)
    np.testing.assert_allclose(table["dec"].value, dec)
    assert table["npix"].tolist() == [3, 2]
    assert not table["flags"][0] & FLAGS["rim"]


def test_bands_are_found_by_name_in_any_order(tmp_path):
    image = draw()
    with open_field(write(tmp_path / "one.fits", image)) as field:
        first = segment(Thresholds(), field, Settings(stride=15))
    order = [2, 0, 3, 1]
    names = [Thresholds.bands[index] for index in order]
    path = write(tmp_path / "two.fits", [*image[order], image[0]], [*names, "F435W"])
    with open_field(path) as field:
        second = segment(Thresholds(), field, Settings(stride=15))
    np.testing.assert_array_equal(first.votes, second.votes)
    np.testing.assert_array_equal(first.segmentation, second.segmentation)
    assert first.segmentation.max() == 2
    assert first.votes[:, 30, 30].argmax() == 0
    assert first.votes[:, 60, 70].argmax() == 1
    assert np.all(first.segmentation[:5] == -1)


def test_where_no_band_is_good_nothing_votes(tmp_path):
    image = draw()
    image[:, 50:56, 40:50] = np.nan
    image[0, 20:24, 80:90] = np.nan
    with open_field(write(tmp_path / "field.fits", image)) as field:
        found = segment(Thresholds(), field, Settings(stride=15), work=tmp_path)
    assert np.all(found.windows[50:56, 40:50] == 0)
    assert np.all(found.segmentation[50:56, 40:50] == -1)
    assert np.all(found.votes[:, 50:56, 40:50] == 0)
    assert np.all(found.windows[20:24, 80:90] > 0)
    np.testing.assert_allclose(found.votes.sum(axis=0)[found.windows > 0], 1, rtol=1e-6)
