"""Chunks of groups: how they are put together, and what becomes of the fit of a window in the rows of its sources."""

from types import SimpleNamespace

import numpy as np
import pytest

from galzoo.contracts.deblended import FLAGS
from galzoo.field.windows import Unit, batch_size
from galzoo.tasks.deblend import fit_groups
from galzoo.tasks.deblend.fit_groups import _stamp, margin, plan
from galzoo.tasks.deblend.fit_windows import Fit

SIDE = 48


def singles(n, boxes=10, apart=200):
    """Return sources that are groups of their own, with boxes of so many pixels, one or one each."""
    x, boxes = apart * (1.0 + np.arange(n)), np.broadcast_to(boxes, n)
    return {
        "x": x, "y": np.full(n, 300.0), "a": np.ones(n), "group": np.arange(n), "snr": np.full(n, 20.0),
        "x0": (x - boxes // 2).astype(int), "x1": (x + boxes // 2).astype(int),
        "y0": 300 - boxes // 2, "y1": 300 + boxes // 2,
    }  # fmt: skip


def test_windows_leave_one_and_a_half_fwhm_and_four_pixels():
    assert [margin(fwhm) for fwhm in (2.0, 3.0, 3.4)] == [7, 9, 10]


def test_batches_are_no_larger_than_the_field_needs():
    """Powers of two: of three windows four are a batch, of more than there may be in one as many as that."""
    for n, size in ((1, 1), (3, 4), (5, 8), (200, batch_size(48, 1, 2))):
        chunks, sizes = plan(singles(n), 2, 3.0)
        assert sizes == {(48, 1): size}
        assert sum(map(len, chunks)) == n


def test_a_chunk_of_one_kind_is_of_whole_batches(monkeypatch):
    monkeypatch.setattr(fit_groups, "_CHUNK_SOURCES", 9)
    chunks, sizes = plan(singles(21), 1, 3.0)
    assert sizes[48, 1] == 32
    assert [len(chunk) for chunk in chunks] == [21]
    monkeypatch.setattr(fit_groups, "batch_size", lambda *_: 4)
    # Nine fill a chunk, and the third batch of four is finished.
    assert [len(chunk) for chunk in plan(singles(21), 1, 3.0)[0]] == [12, 9]
    # Another kind of window begins a chunk where the last is full.
    chunks, _ = plan(singles(21, np.where(np.arange(21) % 2, 10, 40)), 1, 3.0)
    assert [[unit.side for unit in chunk] for chunk in chunks] == [[48] * 10, [64] * 11]


def test_a_chunk_holds_so_many_numbers(monkeypatch):
    monkeypatch.setattr(fit_groups, "batch_size", lambda *_: 1)
    monkeypatch.setattr(fit_groups, "_CHUNK_NUMBERS", 3 * 48 * 48 * 2)
    assert [len(chunk) for chunk in plan(singles(7), 2, 3.0)[0]] == [3, 3, 1]
    assert [len(chunk) for chunk in plan(singles(7), 3, 3.0)[0]] == [2, 2, 2, 1]


def test_windows_of_a_group_are_in_one_chunk(monkeypatch):
    """Thirty sources in a row are several windows, which come behind those of groups of one."""
    monkeypatch.setattr(fit_groups, "_CHUNK_SOURCES", 5)
    monkeypatch.setattr(fit_groups, "batch_size", lambda *_: 1)
    sources = singles(32, apart=20)
    sources["group"] = np.r_[np.zeros(30, int), 1, 2]
    chunks, _ = plan(sources, 1, 3.0)
    assert [{unit.group for unit in chunk} for chunk in chunks] == [{1, 2}, {0}]
    assert np.sort(np.concatenate([unit.sources for unit in chunks[1]])).tolist() == list(range(30))


@pytest.mark.parametrize(
    ("corner", "there"),
    [((102, 202), np.s_[0:5, 0:5]), ((98, 203), np.s_[0:5, 2:5]), ((102, 197), np.s_[3:5, 0:5]),
     ((105, 206), np.s_[0:2, 0:3])],
)  # fmt: skip
def test_stamps_are_cut_from_a_window_and_filled_beyond_it(corner, there):
    """The window begins at 100, 200 and has 8 pixels a side; each pixel says where it is in the field."""
    y, x = np.indices((8, 8))
    plane = (1000 * (200 + y) + 100 + x)[..., None]
    found = _stamp(plane, Unit(0, np.array([0]), 100, 200, 8), corner, 5, -1)[..., 0]
    y, x = np.indices((5, 5))
    wanted = np.full((5, 5), -1)
    wanted[there] = (1000 * (corner[1] + y) + corner[0] + x)[there]
    np.testing.assert_array_equal(found, wanted)


def test_a_stamp_that_is_off_its_window_is_empty():
    plane = np.ones((8, 8, 2), bool)
    for corner in ((0, 200), (100, 300)):
        assert not _stamp(plane, Unit(0, np.array([0]), 100, 200, 8), corner, 5, False).any()


N = 4


@pytest.fixture
def window(monkeypatch):
    """A window of four sources of two bands: well fitted; lost; lost and added; without a measured position."""
    sources = {
        "x": np.array([0, 110.0, 120, 130, 140]), "y": np.array([0, 210.0, 220, 230, 240]), "snr": 10.0 + np.arange(5),
        "row": np.array([9, 8, 7, 6, 5]), "group": np.full(5, 3), "a": np.ones(5),
    }  # fmt: skip
    unit = Unit(3, np.arange(1, 5), 100, 200, SIDE)
    image = np.random.default_rng(0).normal(size=(N, SIDE, SIDE, 2)).astype(np.float32)
    positions = np.array([[110.4, 210.6], [121.0, 221], [131.0, 231], [np.nan, np.nan]])
    shape = np.full((N, 3), [0.1, 0.2, 3.0])
    fit = Fit(
        image, np.array([[5.0, -1], [1, 1], [1, 1], [-2, 3]]), np.ones((N, 2)), np.zeros((N, 2)), positions, shape,
        shape / 10, np.zeros(N, int), np.full((N, 2), 0.25),
    )  # fmt: skip
    planes = {"image": image.sum(axis=0) + 3, "mask": np.zeros((SIDE, SIDE, 2), bool)}
    planes["mask"][12, 10, 1] = True
    flags = np.full(N, FLAGS["negative_flux"])
    flags[1] |= FLAGS["fallback"]
    flags[2] |= FLAGS["fallback"] | FLAGS["added"]
    blind = np.zeros((N, 2), bool)
    blind[0, 1] = True
    edge = np.array([False, False, False, True])
    measured = {"aperture_flux": np.full((N, 2), 7.0), "aperture_flux_err": np.full((N, 2), 0.7)}
    measured["flux_like_err"] = np.full((N, 2), 0.9)
    monkeypatch.setattr(fit_groups, "judge", lambda *_: flags.copy())
    monkeypatch.setattr(fit_groups, "measure", lambda *_: {key: value.copy() for key, value in measured.items()})
    fluxes = np.full((N, 2), 6.0), np.full((N, 2), 0.3)
    monkeypatch.setattr(fit_groups, "psf_fluxes", lambda *_: fluxes)
    monkeypatch.setattr(fit_groups, "unseen", lambda *_: blind)
    monkeypatch.setattr(fit_groups, "at_edge", lambda *_: edge)
    monkeypatch.setattr(
        fit_groups, "correlated_errors", lambda found, factor: {"flux_error": factor * found["flux_error"]}
    )
    detection = SimpleNamespace(fwhm=3.0, correlation=2.0, weights=(1.0, 1.0))

    def rows(field=None, size=5, **options):
        settings = SimpleNamespace(stamp_size=size)
        return fit_groups._rows(
            field, None, unit, planes, fit, None, sources, detection, settings, unit.sources, None, **options
        )

    return SimpleNamespace(rows=rows, image=image, planes=planes, flags=flags, sources=sources)


def test_rows_are_of_what_was_fitted_or_of_where_it_was_looked_for(window):
    """What was added and is lost is no source; what is lost, or has no position, stays where detection saw it."""
    found = window.rows()
    assert found["row"].tolist() == [8, 7, 5]
    assert found["snr"].tolist() == [11, 12, 14]
    assert found["group"].tolist() == [3, 3, 3]
    assert found["x"].tolist() == [110.4, 120, 140]
    assert found["y"].tolist() == [210.6, 220, 240]
    assert np.isnan(found["position_error"]).all(axis=1).tolist() == [False, True, False]
    assert found["position_error"][0].tolist() == [0.25, 0.25]


def test_bands_that_saw_nothing_have_no_flux(window):
    found = window.rows()
    for name, value in (("flux", 5), ("aperture_flux", 7), ("psf_flux", 6)):
        assert found[name][0, 0] == value
        assert np.isnan(found[name]).tolist() == [[False, True], [False, False], [False, False]]
    # The noise of the PSF fluxes is correlated by a factor of 2.
    errors = {"flux_error": 2, "aperture_flux_err": 0.7, "flux_like_err": 0.9, "psf_flux_err": 0.6}
    for name, value in errors.items():
        assert found[name][0, 0] == value
        assert np.isinf(found[name]).tolist() == [[False, True], [False, False], [False, False]]
    # The first is negative where nothing was seen only, the last where something was.
    assert (found["flags"] & FLAGS["negative_flux"] > 0).tolist() == [False, False, True]
    assert (found["flags"] & FLAGS["edge"] > 0).tolist() == [False, False, True]


def test_fluxes_on_large_sources_are_as_uncertain_as_these_are(window):
    """By a Gaussian as wide as the PSF of 3 pixels and the half-light radius of 3 pixels twice."""
    asked = []
    field = SimpleNamespace(halos=("one",), flux_error=lambda *where: asked.append(where) or np.full((N, 2), 1.5))
    found = window.rows(field)
    assert found["flux_error"][0, 0] == pytest.approx(np.hypot(2, 1.5))
    ((x, y, sigma),) = asked
    assert (x.tolist(), y.tolist()) == ([110.4, 120, 130, 140], [210.6, 220, 230, 240])
    np.testing.assert_allclose(sigma, np.hypot(3, 6) / 2.3548)
    assert window.rows(SimpleNamespace(halos=()))["flux_error"][0, 0] == 2


def test_stamps_show_the_fit_or_the_data_about_the_nearest_pixel(window):
    found = window.rows()
    assert (found["stamp_x"].tolist(), found["stamp_y"].tolist()) == ([108, 118, 138], [209, 218, 238])
    np.testing.assert_array_equal(found["stamps"][0], window.image[0, 9:14, 8:13])
    np.testing.assert_array_equal(found["stamps"][1], window.planes["image"][18:23, 18:23])
    np.testing.assert_array_equal(found["stamps"][2], window.image[3, 38:43, 38:43])
    assert np.argwhere(found["stamp_mask"]).tolist() == [[0, 3, 2, 1]]
    assert "stamps" not in window.rows(size=0)
    # What lies beyond the window is masked.
    wide = window.rows(size=21)
    assert wide["stamp_x"][2] == 130
    assert wide["stamp_mask"][2].all(axis=(0, 2)).tolist() == [False] * 18 + [True] * 3
    assert not wide["stamps"][2, :, 18:].any()


@pytest.mark.parametrize("split", [False, True])
def test_the_aperture_of_a_cut_source_is_that_of_a_wider_window(window, split, monkeypatch):
    """Of the brightest alone: what is cut beside it is a part of its light. One of several windows is that of all."""
    window.flags[[0, 3]] |= FLAGS["truncated"]
    wide = SimpleNamespace(sources=["the source"])
    used = []
    monkeypatch.setattr(fit_groups, "wide_unit", lambda unit, _, row, reach: used.append(("wide", row)) or wide)
    monkeypatch.setattr(fit_groups, "group_unit", lambda unit, _, row: used.append(("group", row)) or wide)
    monkeypatch.setattr(fit_groups, "cut", lambda *_: {})
    monkeypatch.setattr(fit_groups, "whole_shape", lambda *_: "whole")
    fluxes = np.array([[70.0, 71]]), np.array([[8.0, 9]])
    monkeypatch.setattr(
        fit_groups, "aperture", lambda unit, planes, known, _, rows: used.append((known, rows)) or fluxes
    )
    found = window.rows(split=split)
    assert found["aperture_flux"][2].tolist() == [70, 71]
    assert found["aperture_flux_err"][2].tolist() == [8, 9]
    assert found["aperture_flux"][0, 0] == 7
    assert used[0] == ("wide", 3)
    assert used[-1] == ("whole" if split else window.sources, ["the source"])
    assert (("group", 3) in used) is split
