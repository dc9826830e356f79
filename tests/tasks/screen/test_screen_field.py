"""`galzoo screen`: products, masked neighbours, the prior, and bad input in one line."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table

import galzoo
from galzoo.contracts.counts import Counts
from galzoo.errors import GalzooError, InputError
from galzoo.field.array_field import ArrayField
from galzoo.field.open_field import open_field
from galzoo.field.same_depth import say_depth
from galzoo.packaged_preset import packaged_preset, say_absent
from galzoo.tasks.screen import field as screening
from galzoo.tasks.screen.field import FLAGS, Settings, corrected, cut, neighbours, screen_field, screen_rows
from tests.field import fields

PLACES = [(40.0, 40.0), (46.0, 40.0), (80.0, 60.0), (3.0, 90.0), (500.0, 10.0)]


class Counter:
    """Counts one source, or two where more than a pixel in a hundred is masked."""

    bands, pixel_scale = ("g", "r", "i"), fields.SCALE

    def count(self, batch, passes=None, seed=0):
        two = np.where(batch["mask"].mean(axis=(1, 2, 3)) > 0.01, 0.6, 0.1)
        zero = np.zeros(len(two))
        return Counts(np.stack([zero, 1 - two, two, zero], axis=1), zero + 0.3, zero + 0.1)


@pytest.fixture
def field(tmp_path):
    sources = [(x, y, 600.0, 1.0) for x, y in PLACES[:4]]
    fields.write(tmp_path / "field.fits", fields.draw((120, 128), sources))
    return tmp_path / "field.fits"


@pytest.fixture
def catalogue(tmp_path):
    x, y = np.transpose(PLACES)
    Table({"id": np.arange(10, 15), "x": x, "y": y, "mag": [20.0, 21, 22, 23, 24]}).write(tmp_path / "cat.fits")
    return tmp_path / "cat.fits"


@pytest.fixture
def preset(monkeypatch):
    card = {"name": "p", "recipe": {"data": {"make": {"size": 32}}}, "metrics": {"blended_share": 0.6}}
    monkeypatch.setattr(screening, "card_for", lambda *_: card)
    monkeypatch.setattr(screening, "load_for", lambda *_: Counter())
    monkeypatch.setattr("galzoo.presets.find_preset", Path)
    monkeypatch.setattr("galzoo.presets.checksum", lambda path: f"of {path}")
    return "p"


def test_products_have_units_descriptions_and_flags(field, catalogue, preset, tmp_path):
    written = screen_field(field, catalogue, tmp_path / "out", preset)
    assert [path.name for path in written] == ["screen.ecsv", "screen.fits", "suspicious.png", "report.html"]
    table = QTable.read(written[0])
    assert table["id"].tolist() == [10, 11, 12, 13, 14]
    assert table["x"].unit == "pix"
    assert table["ra"].unit == "deg"
    assert all(table[name].info.description for name in table.colnames)
    flags = np.asarray(table["flags"])
    assert flags[4] == FLAGS["off_field"]
    assert flags[3] & FLAGS["edge"]
    assert flags[2] == 0
    assert np.isnan(table["p_blend"][4])
    assert np.isfinite(table["p_blend"][:4]).all()
    # Odds of .6 / .4 = 1.5, times (.2 / .8) / (.6 / .4) = 1 / 6.
    assert table["p_blend"][0] == pytest.approx(0.2)
    with fits.open(written[1]) as hdus:
        assert hdus[1].header["TCOMM1"]
        assert hdus[1].header["PREVAL"] == 0.2
        assert (hdus[1].header["PRESET"], hdus[1].header["SHA256"]) == ("p", "of p/model.keras")
        assert hdus[1].header["CREATOR"] == f"galzoo {galzoo.__version__}"
        assert "command:" in str(hdus[1].header["HISTORY"])
    longitude, latitude = fields.wcs().all_pix2world(40, 40, 0)
    assert table["ra"][0].value == pytest.approx(longitude)
    assert table["dec"][0].value == pytest.approx(latitude)


def test_where_screens_fewer_but_masks_all(field, catalogue, preset, tmp_path):
    settings = Settings(where="mag<20.5", report=False)
    table = QTable.read(screen_field(field, catalogue, tmp_path / "out", preset, settings)[0])
    assert table["id"].tolist() == [10]
    assert table["p_2"][0] == 0.6


def test_rows_without_names_are_counted_in_the_whole_catalogue(field, preset, tmp_path):
    x, y = np.transpose(PLACES)
    table = Table({"x": x, "y": y, "mag": [20.0, 21, 22, 23, 24]})
    table.write(tmp_path / "unnamed.fits")
    settings = Settings(where="mag>21.5", report=False)
    found = QTable.read(screen_field(field, tmp_path / "unnamed.fits", tmp_path / "out", preset, settings)[0])
    assert found["id"].tolist() == [3, 4, 5]
    np.testing.assert_allclose([found["x"].value, found["y"].value], [x[2:], y[2:]])


def numbered(mask=None, saturated=None):
    """Return a field of 40 x 60 pixels whose values tell where they are, in two bands."""
    image = np.arange(4800.0).reshape(40, 60, 2) % 997
    made = ArrayField(image, np.full(image.shape, 1e12), mask, ("r", "g"), fields.SCALE)
    if saturated is not None:
        made._planes["saturated"][saturated] = True
    return made, image


@pytest.mark.parametrize(("size", "x0", "y0"), [(16, 23, 13), (15, 23, 14)])
def test_stamps_are_cut_about_their_sources(size, x0, y0):
    made, image = numbered()
    planes, flags = cut(made, np.array([30.3, 20.6]), np.zeros((0, 2)), size)
    np.testing.assert_array_equal(planes["image"], image[y0 : y0 + size, x0 : x0 + size])
    assert flags == 0


def test_flags_of_stamps():
    """Of 256 pixels 13 are more than 5 %; bad in one band they are not bad, and one saturated pixel is enough."""
    place, nobody = np.array([30.3, 20.6]), np.zeros((0, 2))
    for pixels, bands, expected in ((13, np.s_[:], FLAGS["bad_pixels"]), (12, np.s_[:], 0), (13, 0, 0)):
        mask = np.zeros((40, 60, 2), bool)
        mask[20, 24 : 24 + pixels, bands] = True
        assert cut(numbered(mask)[0], place, nobody, 16)[1] == expected
    assert cut(numbered(saturated=(20, 30, 1))[0], place, nobody, 16)[1] == FLAGS["saturated"]
    # What lies beyond the field is bad, too.
    for x, edge in ((6.9, True), (7.1, False), (51.9, False), (52.1, True)):
        assert (cut(numbered()[0], np.array([x, 20.6]), nobody, 16)[1] & FLAGS["edge"] > 0) == edge


def test_bands_and_their_psfs_are_in_the_order_of_the_model():
    """Of a field in r and g; i is absent."""
    seen = []

    class Keeping(Counter):
        def count(self, batch, passes=None, seed=0):
            seen.append(batch)
            return super().count(batch, passes, seed)

    made, image = numbered()
    psf = np.stack([np.full((3, 3), 1.0), np.full((3, 3), 2.0)], axis=-1)[None]
    x, y = np.array([30.3, 10.0]), np.array([20.6, 30.0])
    found = screen_rows(Keeping(), made, x, y, np.arange(1), 8, (1, 0, None), psf)
    (batch,) = seen
    np.testing.assert_array_equal(batch["image"][0, ..., :2], image[17:25, 27:35][..., ::-1])
    assert batch["mask"][0, ..., 2].all()
    assert np.isinf(batch["variance"][0, ..., 2]).all()
    assert batch["psf"][0, 1, 1].tolist() == [2, 1, 1]
    np.testing.assert_array_equal(found["stamp"][0], image[17:25, 27:35, 1])


def test_light_nearer_to_a_neighbour_is_masked_and_sky_is_not():
    image = np.zeros((32, 32, 1), np.float32)
    image[14:19, 20:25] = 50
    image[14:19, 8:13] = 50
    planes = {"image": image, "variance": np.ones_like(image)}
    mask = neighbours(planes, np.array([10.0, 16.0]), np.array([[22.0, 16.0]]))
    assert mask[16, 22]
    assert not mask[16, 10]
    assert not mask[2, 30]
    assert not neighbours(planes, np.array([10.0, 16.0]), np.zeros((0, 2))).any()


@pytest.mark.parametrize(("level", "masked"), [(0.75, 0), (0.85, 15)])
def test_what_is_lit_is_above_four_fifths_of_the_noise(level, masked):
    """Of even light half a line is the neighbour's, less the column in the middle."""
    planes = {"image": np.full((1, 31, 2), level) * [2, 1], "variance": np.full((1, 31, 2), 4.0)}
    assert neighbours(planes, np.array([5.0, 0.0]), np.array([[25.0, 0.0]])).sum() == masked


def test_prior_is_that_of_bayes():
    # 1000 blends and 1000 others; 700 and 200 of them look so: 700 / 900. With 100 blends: 70 / (70 + 380).
    assert corrected(np.array(700 / 900), 100 / 2000, 0.5) == pytest.approx(70 * 0.5 / (35 + 190))
    assert corrected(np.array(0.3), 0.5, 0.5) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "options",
    [
        {"prevalence": 0.0}, {"prevalence": 1.0}, {"prevalence": float("nan")}, {"passes": 0}, {"seed": -1},
        {"size": 4}, {"size": 9999},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(options):
    (name,) = options
    with pytest.raises(InputError, match=f"--{name} is"):
        Settings(**options)


def _table(path, **columns):
    Table(columns).write(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("no catalogue", "none.fits"),
        ("no rows", "no rows"),
        ("no positions", "ra"),
        ("text positions", "pixel positions"),
        ("elsewhere", "none of its"),
        ("where leaves none", "mag<1"),
        ("where of no column", "nothing"),
        ("column is absent", "RAJ"),
        ("no field", "gone.fits"),
        ("another band", "'z'"),
        ("another scale", "resample"),
        ("output is a file", "is a file"),
        ("two noise maps", "give one kind"),
        ("text for a field", "text.fits"),
        ("not a catalogue", "junk.fits"),
    ],
)
def test_bad_input_is_one_clear_line(change, text, field, catalogue, preset, tmp_path, monkeypatch):
    output, settings, columns, options = tmp_path / "out", Settings(report=False), None, {}
    if change == "no catalogue":
        catalogue = tmp_path / "none.fits"
    elif change == "no rows":
        catalogue = _table(tmp_path / "a.fits", x=np.zeros(0), y=np.zeros(0))
    elif change == "no positions":
        catalogue = _table(tmp_path / "a.fits", mag=[1.0])
    elif change == "text positions":
        catalogue = _table(tmp_path / "a.fits", x=["a"], y=["b"])
    elif change == "elsewhere":
        catalogue = _table(tmp_path / "a.fits", x=[9000.0], y=[9000.0])
    elif change == "where leaves none":
        settings = Settings(where="mag<1")
    elif change == "where of no column":
        settings = Settings(where="nothing<1")
    elif change == "column is absent":
        columns = {"ra": "RAJ"}
    elif change == "no field":
        field = tmp_path / "gone.fits"
    elif change == "another band":
        options = {"bands": ["g", "r", "i"], "names": ["g", "r", "z"]}
    elif change == "another scale":
        monkeypatch.setattr(Counter, "pixel_scale", 2 * fields.SCALE)
    elif change == "output is a file":
        output.write_text("")
    elif change == "two noise maps":
        options = {"rms": ["a"], "weight": ["b"]}
    elif change == "text for a field":
        field = tmp_path / "text.fits"
        field.write_text("no image")
    else:
        catalogue = tmp_path / "junk.fits"
        catalogue.write_bytes(b"junk" * 100)
    with pytest.raises(GalzooError) as caught:
        screen_field(field, catalogue, output, preset, settings, columns, **options)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_preset_says_so(field, catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr("galzoo.presets.presets_for", lambda *_: [])
    with pytest.raises(InputError, match=r"no packaged preset of `galzoo screen` fits bands .*there is none"):
        screen_field(field, catalogue, tmp_path / "out")


def presets(monkeypatch, **known):
    """Ship presets of some bands, comma-separated, and pixels in arcsec."""
    data = {name: {"bands": bands.split(","), "pixel_scale_arcsec": scale} for name, (bands, scale) in known.items()}
    monkeypatch.setattr("galzoo.presets.presets_for", lambda *_: list(data))
    monkeypatch.setattr("galzoo.presets.load_card", lambda name, metrics: {"data": data[name]})


@pytest.mark.parametrize(
    ("bands", "every", "expected"),
    [("i", False, "fine"), ("I", False, "fine"), ("g,i", False, "all"), ("g,r,i", True, "pair"), ("i", True, "fine")],
)
def test_the_packaged_preset_is_that_of_the_nearest_bands_then_pixels(bands, every, expected, monkeypatch, caplog):
    """The first by name has all bands."""
    presets(
        monkeypatch, all=("g,r,i,z", 0.2), coarse=("i", 0.4), fine=("i", 0.2), pair=("g,i", 9.0) if every else ("z", 1)
    )
    bands = bands.split(",")
    made = ArrayField(np.zeros((4, 4, len(bands))), np.ones((4, 4, len(bands))), None, bands, 0.21)
    assert packaged_preset("screen", made, every) == expected
    assert f"preset {expected} is used; --preset names another" in caplog.text


def test_pixels_are_near_by_their_ratio(monkeypatch):
    """Half as wide is nearer than three times as wide, and 1 arcsec is taken where nothing is known of a field."""
    presets(monkeypatch, coarse=("i", 0.6), fine=("i", 0.1), one=("i", 0.9))
    for scale, nearest in ((0.2, "fine"), (0.4, "coarse"), (None, "one")):
        field = SimpleNamespace(bands=("i",), pixel_scale=scale, name="a.fits")
        assert packaged_preset("screen", field) == nearest


def test_a_preset_that_would_be_refused_is_not_said_to_be_used(monkeypatch, caplog, field, catalogue, tmp_path):
    """Of those of the right bands one of other pixels is left out, also where its bands are nearer."""
    presets(monkeypatch, near=("i,z", 0.2), far=("i", 0.4))
    made = SimpleNamespace(bands=("i",), pixel_scale=0.2, name="a.fits")
    assert packaged_preset("screen", made) == "far"
    assert packaged_preset("screen", made, ratios=(0.8, 1.25)) == "near"
    caplog.clear()
    made.pixel_scale = 0.8
    said = r"a.fits: no .*screen` takes pixels of 0.8 arcsec \(near knows 0.2; far knows 0.4\); resample .* train"
    with pytest.raises(InputError, match=said):
        packaged_preset("screen", made, ratios=(0.8, 1.25))
    presets(monkeypatch, far=("g,r,i", 2 * fields.SCALE))
    with pytest.raises(InputError, match=r"far knows .*\); resample the field to within 25 %, or train one"):
        screen_field(field, catalogue, tmp_path / "out")
    assert "is used" not in caplog.text


def test_bands_that_a_preset_goes_without_are_said_in_its_spelling(caplog):
    made = SimpleNamespace(bands=("G", "i"), name="a.fits")
    say_absent(made, ("g", "i"), "p")
    assert not caplog.records
    say_absent(made, ("g", "r", "i", "z"), "p")
    assert "a.fits: has no band r, z; preset p goes without" in caplog.text


def test_bands_of_no_preset_are_refused_with_those_of_each(monkeypatch):
    presets(monkeypatch, pair=("g,r", 0.2), one=("i", 0.2))
    made = ArrayField(np.zeros((4, 4, 2)), np.ones((4, 4, 2)), None, ("r", "i"), 0.2, name="here.fits")
    with pytest.raises(InputError, match=r"here.fits: .* fits bands r, i \(pair has g, r; one has i\)"):
        packaged_preset("screen", made)


def test_what_does_not_fit_is_said_before_the_network_is_loaded(field, catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(screening, "load_for", lambda *_: pytest.fail("loaded"))
    with pytest.raises(InputError, match="mc_resnet_lsst_i_30s"):
        screen_field(field, catalogue, tmp_path / "out", "mc_resnet_lsst_i_30s")


@pytest.mark.parametrize(
    ("depth", "said"),
    [
        # A pixel has a noise of 1 nJy; LSST's i of ten years 2.15, of 30 s 29.
        ({"make": {"depth": 0.005435}}, "the image is too deep for it"),
        ({"simulation": {"depth": 100.0}}, "the image is too shallow for it"),
        ({"simulation": {"depth": 4.0}}, None),
        ({"simulation": {"survey": None}}, None),
        ({"simulation": {"survey": "none of these"}}, None),
    ],
)
def test_another_depth_than_that_of_training_is_said(depth, said, tmp_path, caplog):
    """By the noise of a pixel of the nominal survey."""
    made = {"survey": "LSST", "bands": ["i"], "depth": 1.0, **depth.get("simulation", {})}
    card = {"recipe": {"data": {"make": depth.get("make")}}, "data": {"meta": {"simulation": made}}}
    fields.write(tmp_path / "field.fits", fields.draw((120, 128), [(40.0, 40.0, 600.0, 1.0)]))
    with open_field(tmp_path / "field.fits", fields.BANDS, names=["g", "r", "I"]) as field:
        level = field.noise_levels()[2]
        say_depth(field, card, "mine")
    assert len(caplog.records) == (said is not None)
    assert said is None or f"its noise is {level:.3g} nJy a pixel in i, mine learnt with " in caplog.text
    assert said is None or said in caplog.text


def test_a_screened_field_of_another_depth_is_said(field, catalogue, preset, tmp_path, caplog):
    card = screening.card_for()
    card["recipe"]["data"] |= {"options": {"survey": "LSST", "depth": 1e-4}}
    screen_field(field, catalogue, tmp_path / "out", preset, Settings(report=False))
    assert "p learnt with" in caplog.text


def test_absent_bands_are_said(field, catalogue, preset, tmp_path, caplog):
    options = {"bands": ["g", "r", "i"], "names": ["g", "-", "i"]}
    screen_field(field, catalogue, tmp_path / "out", preset, Settings(report=False), **options)
    assert "has no band r; preset p goes without" in caplog.text
