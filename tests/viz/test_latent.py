"""Pictures of a latent space: thumbnails that do not overlap, and columns in the colours that they claim."""

import types

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable

from galzoo.errors import InputError, UnknownNameError
from galzoo.tasks.embed.latent_scores import code_usage
from galzoo.viz.columns import Column, read_column, rgba
from galzoo.viz.latent import _patch_mosaic, codes_figure, embedding_figure, thin
from galzoo.viz.panels import save
from tests.conftest import make_stamps


def make(n=30, size=16, **changes):
    random = np.random.default_rng(3)
    embedding = types.SimpleNamespace(
        xy=random.normal(size=(n, 2)),
        method="tsne",
        explained_variance=None,
        codes=random.integers(0, 6, (n, size // 4, size // 4)),
        patches=np.arange(8.0)[:, None, None, None] * np.ones((1, 12, 12, 1)),
        noise=np.ones(1),
    )
    vars(embedding).update(changes)
    embedding.patches[6:] = np.nan
    return make_stamps(n=n, size=size), embedding


class TestColumns:
    def table(self):
        table = QTable({"size": np.linspace(1, 2, 40) * u.arcsec, "flux": np.logspace(0, 3, 40)})
        table["kind"] = ["b"] * 25 + ["a"] * 14 + [""]
        table["type"] = np.arange(40) % 4 - 1
        table["number"] = np.arange(40)
        table["masked"] = MaskedColumn(np.arange(40.0), mask=np.arange(40) < 3)
        table["pair"] = np.zeros((40, 2))
        return table

    def test_numbers(self):
        table = self.table()
        assert read_column(table, "size").label == "size [arcsec]"
        assert not read_column(table, "size").log
        assert read_column(table, "flux").log
        assert read_column(table, "number").categories == ()
        assert np.isnan(read_column(table, "masked").values).sum() == 3
        assert (read_column(table, "size").plain == table["size"]).all()

    def test_categories(self):
        column = read_column(self.table(), "kind")
        assert column.categories == ("b", "a")
        assert np.isnan(column.values[-1])
        assert list(column.plain) == list(self.table()["kind"])
        types = read_column(self.table(), "type")
        assert types.categories == ("-1", "0", "1", "2")
        np.testing.assert_array_equal(types.values, np.arange(40) % 4)

    def test_refuses(self):
        with pytest.raises(UnknownNameError, match="did you mean 'flux'.*known are flux, kind"):
            read_column(self.table(), "fluxx")
        with pytest.raises(InputError, match="'pair' has"):
            read_column(self.table(), "pair")

    def test_colours(self):
        colours = rgba(Column("x", np.array([0.0, 1.0, np.nan, 1.0])))
        np.testing.assert_array_equal(colours[1], colours[3])
        assert len(np.unique(colours, axis=0)) == 3
        many = rgba(Column("x", np.repeat(np.arange(14.0), 2), tuple("abcdefghijklmn")))
        # Nine have a colour of their own, the others share one.
        assert len(np.unique(many, axis=0)) == 10
        kept = Column("x", np.array([0.0, 1.0, 1.0]), ("a", "b"))
        np.testing.assert_array_equal(rgba(kept, np.array([1.0])), rgba(kept)[1:2])


def test_thinned_places_keep_apart_and_leave_no_room():
    places = np.random.default_rng(0).uniform(size=(400, 2))
    rows = thin(places, 0.1)
    apart = np.abs(places[rows][:, None] - places[rows]).max(axis=-1) + 9 * np.eye(len(rows))
    assert apart.min() >= 0.1
    assert np.all(np.abs(places[:, None] - places[rows]).max(axis=-1).min(axis=1) < 0.1)
    assert len(rows) > 40
    np.testing.assert_array_equal(rows, np.unique(rows))
    assert list(thin(np.zeros((5, 2)), 0.1)) == [0]


def test_map_shows_thumbnails_where_they_are_and_every_stamp_as_a_point():
    stamps, embedding = make()
    columns = [read_column(stamps.catalogue, name) for name in ("width", "type")]
    figure = embedding_figure(stamps, embedding, columns)
    boxes = np.array([picture.get_extent() for picture in figure.axes[0].images])
    centres = np.c_[boxes[:, :2].mean(axis=1), boxes[:, 2:].mean(axis=1)]
    places = (embedding.xy - embedding.xy.min(axis=0)) / np.ptp(embedding.xy, axis=0)
    assert len(boxes) > 10
    assert np.abs(centres[:, None] - places).max(axis=-1).min(axis=1).max() < 1e-9
    apart = np.abs(centres[:, None] - centres).max(axis=-1) + 9 * np.eye(len(boxes))
    assert apart.min() >= boxes[0, 1] - boxes[0, 0]
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert "30 galaxies" in titles[0]
    points = figure.axes[titles.index("width")].collections
    assert sum(len(drawn.get_offsets()) for drawn in points) == 30


def test_legend_counts_categories_and_what_is_unknown():
    stamps, embedding = make()
    kind = np.array(["disc"] * 20 + ["star"] * 9 + [""])
    stamps.catalogue["kind"] = kind
    figure = embedding_figure(stamps, embedding, [read_column(stamps.catalogue, "kind")])
    (axis,) = [axis for axis in figure.axes if axis.get_legend()]
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == ["disc (20)", "star (9)", "unknown (1)"]


def test_scores_are_drawn_with_the_chosen_columns_among_them():
    stamps, embedding = make()
    row = {"kind": "number", "n": 30, "r2_error": 0.1, "r2_map": 0.0}
    known = [{**row, "column": f"c{number}", "r2": 1 - 0.01 * number} for number in range(80)]
    known.append({**row, "column": "width", "r2": -0.2})
    figure = embedding_figure(stamps, embedding, [read_column(stamps.catalogue, "width")], known)
    texts = [text.get_text() for text in figure.axes[-1].texts]
    assert texts[0] == "c0"
    assert texts[-2:] == ["width", "-0.20 ± 0.10"]
    assert "c79" not in texts


def test_panels_and_colour_bars_do_not_overlap(tmp_path):
    stamps, embedding = make()
    columns = [read_column(stamps.catalogue, name) for name in ("width", "type", "width", "type", "width")]
    for number in range(6):
        figure = embedding_figure(stamps, embedding, columns[:number])
        save(figure, tmp_path / "map.png", dpi=40)
        boxes = [axis.get_position() for axis in figure.axes]
        for index, one in enumerate(boxes):
            assert one.x0 >= 0
            assert one.x1 <= 1
            assert one.y1 <= 1
            assert all(min(one.x1, b.x1) <= max(one.x0, b.x0) + 1e-9 or min(one.y1, b.y1) <= max(one.y0, b.y0) + 1e-9
                       for b in boxes[:index])  # fmt: skip


def test_codes_are_ordered_by_brightness_and_keep_their_place(tmp_path):
    stamps, embedding = make()
    embedding.patches[:6] = embedding.patches[[3, 0, 5, 1, 4, 2]]
    columns = [read_column(stamps.catalogue, "width")]
    usage = code_usage(embedding.codes, {"width": columns[0].plain}, 8)
    figure = codes_figure(stamps, embedding, usage, columns)
    written = [int(text.get_text()) for text in figure.axes[0].texts]
    assert written == [1, 3, 5, 0, 4, 2]
    titles = {axis.get_title(loc="left"): axis for axis in figure.axes}
    tiles = np.asarray(titles["share of all cells"].images[0].get_array()).ravel()
    np.testing.assert_allclose(tiles[:6], np.asarray(usage["share"])[written])
    (median,) = [axis for title, axis in titles.items() if title.startswith("median width")]
    np.testing.assert_allclose(
        np.asarray(median.images[0].get_array()).ravel()[:6], np.asarray(usage["median_width"])[written]
    )
    save(figure, tmp_path / "codes.png", dpi=40)


def test_where_a_code_stands_is_drawn_north_up():
    stamps, embedding = make()
    embedding.codes[:] = 0
    embedding.codes[:, 3, 0] = 1
    figure = codes_figure(stamps, embedding, code_usage(embedding.codes, {}, 8))
    first = [int(text.get_text()) for text in figure.axes[0].texts].index(1)
    maps = np.asarray(figure.axes[1].images[0].get_array())[:4, 4 * first : 4 * first + 4]
    # The image starts at the top, where the highest y belongs.
    assert maps[0, 0] == 1
    assert maps.sum() == 1


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_hard_cases_are_drawn(tmp_path, dtype):
    """One place for all, nothing known of a column, blank stamps, pictures."""
    stamps, embedding = make(xy=np.zeros((30, 2)), method="pca", explained_variance=[1.0, 0.0])
    stamps.image = np.zeros(stamps.image.shape, dtype)
    column = Column("x", np.full(30, np.nan))
    usage = code_usage(embedding.codes, {"x": column.plain}, 8)
    save(embedding_figure(stamps, embedding, [column]), tmp_path / "map.png", dpi=40)
    save(codes_figure(stamps, embedding, usage, [column]), tmp_path / "codes.png", dpi=40)
    assert len(list(tmp_path.iterdir())) == 2


def test_codes_are_shown_in_the_bands_that_were_observed():
    stamps, embedding = make(
        n=6, patches=np.arange(24.0).reshape(8, 1, 1, 3) * np.ones((1, 12, 12, 1)), noise=np.ones(3)
    )
    stamps = make_stamps(n=6, size=16, bands=("g", "r", "i"))
    codes = np.arange(6)
    assert np.ptp(_patch_mosaic(stamps, embedding, codes, 3, 2), axis=-1).any()
    stamps.variance = np.where([True, False, False], stamps.variance, np.inf)
    assert not np.ptp(_patch_mosaic(stamps, embedding, codes, 3, 2), axis=-1).any()
