"""Counts of stars of drawn catalogues, counted by hand."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy.table import QTable

from galzoo.contracts.catalogues import Catalogues
from galzoo.field.pieces import check_folder
from galzoo.tasks.detect.posterior import count_table, draw_field, read_draw, write_posterior

# (y, x), so two squares along x, of which the second is narrow.
SHAPE, REGION = (20, 50), 32


def test_counts_are_the_draws():
    random = np.random.default_rng(0)
    counts = random.poisson([[[30, 4]]], (400, 1, 2))
    table = count_table(counts, SHAPE, REGION)
    assert [list(table[key]) for key in ("x0", "x1", "y0", "y1")] == [[0, 0, 32], [50, 32, 50], [0, 0, 0], [20, 20, 20]]
    for row, values in zip(table, (counts.sum(axis=(1, 2)), counts[:, 0, 0], counts[:, 0, 1]), strict=True):
        assert row["mean"] == pytest.approx(values.mean())
        assert row["std"] == pytest.approx(np.sqrt(np.mean((values - values.mean()) ** 2)))
        assert (values < row["low"]).mean() <= 0.05 <= (values <= row["low"]).mean()
        assert (values > row["high"]).mean() <= 0.05 <= (values >= row["high"]).mean()
    assert table.meta["draws"] == 400


def test_the_file_holds_every_star_of_every_draw(tmp_path):
    pieces = {"a": ([0, 0, 2], [1.0, 40.0, 33.0]), "b": ([1, 2], [5.0, 45.0])}
    for name, (draw, x) in pieces.items():
        flux = np.stack([np.array(x) * 10, np.array(x) * 100], axis=-1)
        np.savez(tmp_path / f"{name}.npz", draw=np.array(draw), x=np.array(x), y=np.array(x) / 10, flux=flux)
    field = SimpleNamespace(shape=SHAPE, bands=("g", "r"))
    write_posterior(field, [tmp_path / "a.npz", tmp_path / "b.npz"], 4, tmp_path, REGION)
    assert check_folder(tmp_path, "detect")
    with h5py.File(tmp_path / "posterior.h5") as file:
        assert (file.attrs["draws"], file.attrs["unit"]) == (4, "nJy")
        assert list(file.attrs["shape"]) == [20, 50]
        assert list(file.attrs["bands"]) == ["g", "r"]
        np.testing.assert_array_equal(file["count"], [2, 1, 2, 0])
    places, flux = read_draw(tmp_path / "posterior.h5", 2)
    np.testing.assert_allclose(places, [[33, 3.3], [45, 4.5]], rtol=1e-6)
    np.testing.assert_allclose(flux, [[330, 3300], [450, 4500]])
    table = QTable.read(tmp_path / "counts.ecsv")
    np.testing.assert_allclose(table["mean"], [5 / 4, 2 / 4, 3 / 4])


class Blocks:
    """Two blocks side by side, with a margin of 5 pixels."""

    field, margin = SimpleNamespace(shape=(20, 40)), 5

    def cores(self, core):
        return [(0, 20, 0, 20), (0, 20, 20, 40)]

    def batch(self, cores):
        return cores


def test_blocks_have_seeds_of_their_own_and_keep_their_cores(tmp_path):
    seeds = {}

    def sample(batch, n, seed):
        seeds.setdefault(batch[0], []).append(seed)
        # In the block: at its edges, in the middle and beyond.
        x = np.array([4.4, 4.6, 12.0, 24.4, 24.6])
        positions = np.stack([x, np.full(5, 7.0)], axis=-1)
        return Catalogues(np.full((n, 1), 5), np.tile(positions, (n, 1, 1, 1)), np.ones((n, 1, 5, 1)), (30, 30))

    folders = [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (0, 1, 0), strict=True):
        folder.mkdir()
        paths = draw_field(Blocks(), sample, 2, folder, seed)
    first, second = seeds.values()
    assert len({*first, *second}) == 4
    assert first[0] == first[2]
    assert second[0] == second[2]
    kept = [np.load(path)["x"][:3] for path in paths]
    # Half a pixel belongs to the block on whose side its pixel is; the field's own edge is at -0.5 and 39.5.
    np.testing.assert_allclose(kept[0], [-0.4, 7, 19.4], atol=1e-5)
    np.testing.assert_allclose(kept[1], [19.6, 27, 39.4], atol=1e-5)
    before = {folder: len(seeds) for folder in folders}
    draw_field(Blocks(), sample, 2, folders[0], 0)
    assert {folder: len(seeds) for folder in folders} == before
    assert len(first) == 3


def test_stars_of_a_core_have_their_places_and_fluxes(tmp_path):
    """Of five places in either catalogue the last is none in the first; two lie above and below the field."""
    positions = np.stack([[8.0, 9.0, 10.0, 11.0, 12.0], [4.0, 4.6, 24.4, 24.6, 15.0]], axis=-1)
    flux = np.arange(20.0).reshape(2, 1, 5, 2)

    def sample(batch, n, seed):
        return Catalogues(np.array([[4], [5]]), np.tile(positions, (2, 1, 1, 1)), flux, (30, 30))

    with np.load(draw_field(Blocks(), sample, 2, tmp_path)[1]) as second:
        assert second["draw"].tolist() == [0, 0, 1, 1, 1]
        np.testing.assert_allclose(second["x"], [24, 25, 24, 25, 27])
        np.testing.assert_allclose(second["y"], [-0.4, 19.4, -0.4, 19.4, 10], rtol=1e-5)
        np.testing.assert_array_equal(second["flux"], flux[[0, 0, 1, 1, 1], 0, [1, 2, 1, 2, 4]])
