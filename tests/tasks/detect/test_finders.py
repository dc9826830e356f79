"""What finders say of sources whose places, pixels and blocks are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from galzoo.contracts.detections import Detections
from galzoo.field.array_field import ArrayField
from galzoo.field.detection import Detection
from galzoo.tasks.detect import finders
from galzoo.tasks.detect.find import Pieces, _measured, _painted, find
from galzoo.tasks.detect.finders import DetectorFinder, classical_rows, rank, snr_of
from galzoo.tasks.detect.footprints import pixels_of, top_pixels

# (y, x) of a field of two rows and three columns of blocks; those on the right and at the top are cut.
SHAPE, BLOCK, MARGIN = (36, 50), 20, 5


def test_a_rank_is_a_half_at_five_sigma_and_never_below_0():
    np.testing.assert_allclose(rank(np.array([1.0, 5.0, 10.0, 50.0])), [0, 0.5, 0.875, 0.995])
    np.testing.assert_allclose(snr_of(rank(np.array([5.0, 7.0, 30.0]))), [5, 7, 30])


@pytest.fixture
def groups(monkeypatch):
    """Two sources of one group, the first much brighter, and one of another; noise is correlated."""
    pixels = [(12, 20, 0), (27, 20, 0), (28, 20, 0), (31, 23, 0), (40, 5, 1), (2, 2, -1)]
    found = {"x": [20.3, 30.0, 40.0], "y": [20.0, 20.0, 5.0], "b": [2.0, 2.0, 2.0], "snr": [100.0, 8.0, 10.0]}
    found |= {"group": [0, 0, 1], "row": [4.0, 2.0, 1.0]}
    found |= dict(zip(("pixel_x", "pixel_y", "pixel_group"), np.transpose(pixels), strict=True))
    found = {key: np.array(values) for key, values in found.items()}
    monkeypatch.setattr(finders, "detect_tile", lambda *arguments: found)
    return classical_rows(SimpleNamespace(bands=("g", "r")), None, Detection(2.5, (1.0, 1.0), correlation=2.0))


def test_correlated_noise_makes_classical_sources_less_probable(groups):
    np.testing.assert_allclose(groups["probability"], 1 - 0.5 * (5 / np.array([50, 4, 5])) ** 2)
    assert groups["row"].tolist() == [4, 2, 1]


def test_pixels_of_a_group_are_the_one_s_with_more_light_there(groups):
    """Light falls as (1 + r^2 / 4)^-1.5: 7 pixels from the first it has 2, and 3 from the second 1.4."""
    places = zip(groups["pixel_x"], groups["pixel_y"], groups["pixel_source"], strict=True)
    assert list(places) == [(12, 20, 0), (27, 20, 0), (28, 20, 1), (31, 23, 1), (40, 5, 2)]


def test_boxes_of_classical_sources_hold_their_pixels_and_a_fwhm_about_them(groups):
    expected = [[11.5, 16.5, 27.5, 23.5], [26.5, 16.5, 33.5, 23.5], [36.5, 1.5, 43.5, 8.5]]
    np.testing.assert_allclose(groups["box"], expected)


def one_a_block(seen=None):
    """Return a finder that is told of one source in each block, of a second that is doubtful and of one at its edge."""
    field = ArrayField(np.zeros((*SHAPE, 2)), np.ones((*SHAPE, 2)), bands=("g", "r"), gain=[2.0, 3.0])
    seen = [] if seen is None else seen

    def detect(batch, threshold):
        seen.append(batch)
        places = np.array([[12.25, 9.5], [17.0, 17.0], [MARGIN - 0.4, 15.0], [MARGIN - 0.6, 11.0]])[None]
        boxes = np.concatenate([places - [2, 1], places + [2, 1]], axis=-1)
        more = np.arange(4)[None, :, None] * 100.0
        return Detections(
            places, np.array([[0.9, 0.3, 0.8, 0.7]]), boxes, np.tile([0.2, 0.8], (1, 4, 1)),
            flux=more + [1.0, 2.0], flux_error=more + [3.0, 4.0], position_error=more + [5.0, 6.0],
            shape=more + [0.1, 0.2, 7.0],
        )  # fmt: skip

    def psf_of(x, y):
        return np.stack([x, y], axis=-1)[:, None, None]

    return DetectorFinder(field, detect, psf_of, 0.5, block=BLOCK, margin=MARGIN)


def test_detections_of_blocks_are_at_their_places_of_the_field():
    rows = one_a_block().tile((0, 36, 0, 50), 0)
    first = np.abs(rows["flux"][:, 0] - 1) < 50
    expected = np.array([(x0 + 7.25, y0 + 4.5) for y0 in (0, 20) for x0 in (0, 20, 40)])
    np.testing.assert_allclose(np.stack([rows["x"], rows["y"]], axis=-1)[first], expected)
    np.testing.assert_allclose(rows["box"][first], np.concatenate([expected - [2, 1], expected + [2, 1]], axis=1))
    assert len(set(rows["piece"][first])) == 6
    for key, values in (("flux", [1, 2]), ("flux_error", [3, 4]), ("position_error", [5, 6]), ("shape", [0.1, 0.2, 7])):
        np.testing.assert_allclose(rows[key][first], np.tile(values, (6, 1)), err_msg=key)
    np.testing.assert_allclose(rows["class_probability"], np.tile([0.2, 0.8], (len(first), 1)))
    # The doubtful one is nowhere; the field reaches half a pixel beyond its first column.
    assert rows["probability"].min() == 0.7
    left = rows["x"] < 1
    np.testing.assert_allclose(rows["x"][left], -0.4)
    assert left.sum() == 2


def test_pixels_of_blocks_are_those_of_their_sources():
    rows = one_a_block().tile((0, 36, 0, 50), 0)
    assert set(rows["pixel_source"]) == set(range(len(rows["x"])))
    assert np.abs(rows["pixel_x"] - rows["x"][rows["pixel_source"]]).max() <= 2
    assert np.abs(rows["pixel_y"] - rows["y"][rows["pixel_source"]]).max() <= 1


def test_a_block_is_told_of_the_gain_and_of_the_psf_in_its_middle():
    seen = []
    one_a_block(seen).tile((20, 36, 40, 50), 3)
    assert [part["image"].shape for part in seen] == [(1, 30, 30, 2)]
    np.testing.assert_allclose(seen[0]["gain"], [[2, 3]])
    np.testing.assert_allclose(seen[0]["psf"], [[[[49.5, 29.5]]]])


def test_what_a_first_pass_has_fitted_is_cut_as_the_image_is():
    finder = one_a_block()
    model = np.random.default_rng(0).normal(size=(*SHAPE, 2)).astype(np.float32)
    field = ArrayField(model, np.ones(model.shape), bands=("g", "r"))
    finder = DetectorFinder(field, finder.detect, finder.psf_of, model=np.moveaxis(model, -1, 0), block=20, margin=5)
    for core in finder.cores((0, 36, 0, 50)):
        batch = finder.batch([core])
        np.testing.assert_array_equal(batch["model"], batch["image"])
        assert batch["model"].any()


def test_tiles_are_whole_blocks():
    """Of 64 pixels; three fit in tiles of 200, and one is the least."""
    asked = []

    class Spy:
        block = 64

        def tile(self, core, number):
            asked.append(core)
            return one_a_block().tile((0, 20, 0, 20), number)

    field = SimpleNamespace(shape=(64, 300))
    for tile, ends in ((200, [192, 300]), (30, [64, 128, 192, 256, 300])):
        asked.clear()
        find(field, Spy(), None, tile, measure=False)
        assert [core[3] for core in asked] == ends


def test_a_pixel_is_that_of_the_largest_share_and_of_equals_the_first_s():
    """Sources 0 and 1 are of the first tile, whose third is left out; 2 is of the second."""
    pieces = Pieces()
    x = {"a": [0, 0, 1, 1, 2, 3, 4, 5], "b": [2, 3, 4]}
    source = {"a": [0, 1, 1, 0, 0, 1, 0, 2], "b": [0, 0, 0]}
    share = {"a": [0.6, 0.6, 0.8, 0.6, 0.6, 0.9, 0.7, 0.9], "b": [0.8, 0.6, 0.7]}
    for name in "ab":
        part = {"pixel_y": np.ones(len(x[name]), int), "pixel_x": np.array(x[name])}
        part |= {"pixel_source": np.array(source[name]), "pixel_share": np.array(share[name], np.float32)}
        pieces.make(name, lambda part=part: part)
    found = _painted(pieces, ["a", "b"], [np.array([0, 1, -1]), np.array([2])], (3, 7))
    assert found[1].tolist() == [1, 2, 3, 2, 1, 0, 0]
    assert not found[[0, 2]].any()


def test_what_was_measured_is_in_the_order_of_the_sources():
    pieces = Pieces()
    for number, rows in enumerate(([2, 0], [1, 3])):
        part = {key: np.array(rows) * 1.0 for key in ("aperture_flux", "aperture_flux_error", "a", "b", "theta")}
        part |= {key: np.array(rows) for key in ("row", "radius", "snr", "starlike", "flags")}
        pieces.make(f"measured_{number:05d}", lambda part=part: part)
    for values in _measured(pieces, 2, 4).values():
        assert values.tolist() == [0, 1, 2, 3]


def test_pixels_in_a_box_are_those_of_its_ellipse_within_the_image():
    """Pixels count where their middles are in the box; the second leaves an image that is wider than high."""
    boxes = [[1.0, 2.0, 5.0, 4.0], [6.5, 2.5, 9.5, 5.5], [3.0, 3.0, 3.0, 5.0], [np.nan, 0, 1, 1]]
    source, y, x, share = pixels_of(boxes, None, (5, 9))
    first = {(column, line): one for column, line, one, of in zip(x, y, share, source, strict=True) if of == 0}
    assert set(first) == {(1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (3, 2), (3, 4)}
    # One in the middle, a half at the rim, and between them by the square of the distance.
    assert [first[at] for at in ((3, 3), (4, 3), (5, 3), (3, 4))] == pytest.approx([1, 0.875, 0.5, 0.5])
    second = set(zip(x[source == 1], y[source == 1], strict=True))
    assert second == {(7, 3), (8, 3), (7, 4), (8, 4)}
    assert set(source) == {0, 1}


def test_masks_lie_evenly_over_their_boxes():
    """Cells of two pixels across and one down, of which one is less than a half; more between the middles of cells."""
    mask = np.array([[1.0, 0.0, 0.6], [0.9, 0.8, 0.7]])
    source, y, x, share = pixels_of([[9.5, 19.5, 15.5, 21.5]], [mask], (40, 60))
    found = {(column, line): one for column, line, one in zip(x, y, share, strict=True)}
    # Cells have their middles at x = 10.5, 12.5 and 14.5, and at y = 20 and 21.
    expected = {(10, 20): 1, (11, 20): 0.75, (15, 20): 0.6, (10, 21): 0.9, (11, 21): 0.875}
    expected |= {(12, 21): 0.825, (13, 21): 0.775, (14, 21): 0.725, (15, 21): 0.7}
    assert found == pytest.approx(expected)


def test_the_top_pixel_is_that_of_the_largest_share():
    labels = top_pixels(
        np.array([0, 1, 2]), np.array([1, 1, 0]), np.array([2, 2, 1]), np.array([0.6, 0.9, 0.5]), (2, 3)
    )
    assert labels.tolist() == [[0, 3, 0], [0, 0, 2]]
