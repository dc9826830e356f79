"""Numbers, units and rows that stamps, scenes and their files would change without a word are kept, or refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable
from astropy.time import Time

from galzoo.data import hdf5
from galzoo.data.hdf5_writer import StampsWriter
from galzoo.data.maps import labels_of
from galzoo.data.planes import Plane
from galzoo.data.scenes import Scenes
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from tests.conftest import make_stamps
from tests.scenes import make_scenes

IMAGE = np.full((2, 5, 5, 1), 3.0)
SOURCES = {"scene": [0, 1], "source": [0, 0], "x": [1.0, 2.0], "y": [3.0, 2.0]}


def scenes(**changes):
    return Scenes(**{"image": IMAGE, "bands": ["i"], "pixel_scale": 0.2, "sources": SOURCES} | changes)


def stamps_of(n, **changes):
    return dataclasses.replace(make_stamps(n=n), **changes)


def test_scenes_take_units_and_masks_as_stamps_do():
    assert scenes(image=IMAGE * u.uJy).image[0, 0, 0, 0] == 3000
    assert scenes(isolated=IMAGE[:, None] * u.uJy).isolated[0, 0, 0, 0, 0] == 3000
    own = SOURCES | {"cutout_x": [0, 0], "cutout_y": [0, 0]}
    assert scenes(sources=own, cutouts=[np.ones((3, 3, 1)) * u.uJy] * 2).cutouts[1][0, 0, 0] == 1000
    hidden = np.zeros(IMAGE.shape, bool)
    hidden[0, 1, 2] = True
    np.testing.assert_array_equal(scenes(image=np.ma.MaskedArray(IMAGE, hidden)).mask, hidden)
    with pytest.raises(InputError, match="beyond float32"):
        scenes(image=IMAGE * 1e300)


def test_numbers_of_sources_are_in_the_units_of_batches():
    table = QTable(SOURCES | {"flux_i": [1, 2] * u.uJy, "half_light_radius": [1, 2] * u.arcmin})
    found = scenes(sources=table)
    assert found.flux()[:, 0, 0].tolist() == [1000, 2000]
    assert found.sources["half_light_radius"].value.tolist() == [60, 120]
    assert table["flux_i"].unit == u.uJy
    with pytest.raises(InputError, match="column x of sources is in arcsec, not pix"):
        scenes(sources=QTable(SOURCES | {"x": [1, 2] * u.arcsec}))
    missing = MaskedColumn([1.0, 1e20], mask=[False, True])
    assert np.isnan(scenes(sources=QTable(SOURCES | {"x": missing})).positions()[0][1, 0, 0])


@pytest.mark.parametrize("numbers", [[0.5, 1.5], ["0", "1"]], ids=["fractions", "text"])
def test_scenes_of_sources_are_whole_numbers(numbers):
    with pytest.raises(InputError, match="'scene' of sources holds no whole numbers"):
        scenes(sources=SOURCES | {"scene": numbers})


@pytest.mark.parametrize(
    ("label", "said"), [(1.5, "fractions .1.5"), (np.inf, "up to inf"), (2.0**31, "beyond 32 bits")]
)
def test_labels_that_whole_numbers_cannot_hold_are_refused(label, said):
    plane = np.full((2, 5, 5), label)
    with pytest.raises(InputError, match=said):
        Stamps(IMAGE, ["i"], 0.2, segmentation=plane)
    if label == 1.5:
        with pytest.raises(InputError, match="map.fits: labels with fractions"):
            labels_of(Plane("map.fits", plane[0], fits.Header()), (0, 5, 0, 5))


@pytest.mark.parametrize("number", [-1, 300])
def test_classes_beyond_a_byte_are_refused(number):
    with pytest.raises(InputError, match=f"pixel_class has whole numbers from {number} .* beyond 8 bits"):
        Stamps(IMAGE, ["i"], 0.2, pixel_class=np.full((2, 5, 5, 3), number))


@pytest.mark.parametrize("scale", [np.inf, [0.2, 0.2]], ids=["infinite", "two"])
def test_a_pixel_scale_is_one_finite_number(scale):
    with pytest.raises(InputError, match="pixel_scale is .*one number above 0"):
        Stamps(IMAGE, ["i"], scale)


def test_meta_may_hold_what_numpy_makes(tmp_path):
    meta = {"seed": np.int64(3), "depth": np.float32(0.5), "shape": np.arange(2), "from": Path("a/b.fits")}
    stamps_of(2, meta=meta).save(tmp_path / "a.h5")
    assert Stamps.load(tmp_path / "a.h5").meta == {"seed": 3, "depth": 0.5, "shape": [0, 1], "from": "a/b.fits"}
    for odd in (3 * u.nJy, {1, 2}):
        with pytest.raises(InputError, match=f"meta holds a {type(odd).__name__}, which no file can"):
            stamps_of(2, meta={"a": odd}).save(tmp_path / "a.h5")


def test_places_and_times_in_a_catalogue_are_saved_as_numbers_and_text(tmp_path):
    stamps = make_stamps(n=2)
    stamps.catalogue = QTable(
        {"id": ["a", "b"], "sky": SkyCoord([1, 2], [3, 4], unit="deg"), "seen": Time([59000, 59001], format="mjd")}
    )
    stamps.save(tmp_path / "a.h5")
    table = Stamps.load(tmp_path / "a.h5").catalogue
    assert (table["ra"].value.tolist(), table["dec"].value.tolist()) == ([1, 2], [3, 4])
    assert table["seen"][0] == "2020-05-31T00:00:00.000"
    assert "sky" in stamps.catalogue.colnames


def test_a_unit_that_nobody_could_read_again_is_not_written(tmp_path):
    stamps = stamps_of(2, catalogue={"id": ["a", "b"], "size": [1, 2] * u.def_unit("cubit")})
    with pytest.raises(InputError, match="column size is in 'cubit', a unit that nobody"):
        stamps.save(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("rows", "said"),
    [([3], "no row 3 in a file of 3"), ([-4], "no row -4"), ([True, False], "rows are bool of shape .2,.; .* 3 times"),
     ([1.0], "rows are float64"), (1, "rows are int64 of shape ..;")],
)  # fmt: skip
def test_rows_that_a_file_does_not_have_are_refused(tmp_path, rows, said):
    make_stamps(n=3).save(tmp_path / "a.h5")
    make_scenes(n=3).save(tmp_path / "b.h5")
    rows = np.array(rows)
    for read in (Stamps.load, hdf5.read_planes, hdf5.read_columns):
        with pytest.raises(InputError, match=said):
            read(tmp_path / "a.h5", rows=rows)
    with pytest.raises(InputError, match=said):
        Scenes.load(tmp_path / "b.h5", rows=rows)


def test_rows_from_the_last_to_the_first(tmp_path):
    stamps = make_stamps(n=3)
    stamps.save(tmp_path / "a.h5")
    found = Stamps.load(tmp_path / "a.h5", rows=slice(None, None, -1))
    np.testing.assert_array_equal(found.image, stamps.image[::-1])
    assert found.catalogue["id"].tolist() == stamps.catalogue["id"].tolist()[::-1]


def test_integers_beyond_those_of_the_first_part_are_refused(tmp_path):
    one = stamps_of(1, catalogue={"id": ["a"], "object": np.array([5], np.int32)})
    one.save(tmp_path / "a.h5")
    other = dataclasses.replace(one, catalogue=QTable({"id": ["b"], "object": [2**40]}))
    writer = StampsWriter(tmp_path / "a.h5", append=True)
    with pytest.raises(InputError, match="object holds int32, the new part numbers beyond"):
        writer.write(other)
    writer.discard()


@pytest.mark.parametrize("other", [[1.0], ["a"]], ids=["without a unit", "text"])
def test_columns_that_cannot_be_joined_are_named(other):
    one = stamps_of(1, catalogue={"id": ["a"], "flux": [1] * u.nJy})
    with pytest.raises(InputError, match="catalogues of stamps cannot be joined .*make their columns alike"):
        Stamps.concatenate([one, dataclasses.replace(one, catalogue=QTable({"id": ["b"], "flux": other}))])
    with pytest.raises(InputError, match="no stamps to join"):
        Stamps.concatenate([])
