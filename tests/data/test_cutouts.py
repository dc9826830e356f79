"""Stamps out of mosaics: right pixels, right masks, right catalogue, and a file that appears only when complete."""

import errno
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galzoo.data import hdf5_writer
from galzoo.data.columns import find_columns, read_table, select
from galzoo.data.cutouts import cut, make_cutouts, positions
from galzoo.data.fits import open_mosaic
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.field.catalogue import detect
from galzoo.field.cutouts import cutouts_from_files

SIZE = 16
PLACES = np.array([[30.3, 40.6], [61.0, 22.0], [3.0, 50.0], [95.0, 70.0]])
FLUX = np.array([400.0, 900.0, 600.0, 500.0])


@pytest.fixture
def field(tmp_path):
    """A field of four Gaussians, in a file without WCS."""
    y, x = np.indices((80, 100))
    image = np.random.default_rng(0).normal(0, 0.2, (80, 100))
    for (cx, cy), flux in zip(PLACES, FLUX, strict=True):
        image += flux * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) / (8 * np.pi)
    path = tmp_path / "field.fits"
    fits.PrimaryHDU(image.astype(np.float32)).writeto(path)
    return path


def catalogue(**more):
    return Table({"NUMBER": [11, 12, 13, 14], "x": PLACES[:, 0], "y": PLACES[:, 1], "mag": [22.0, 21, 23, 24], **more})


def mosaic_of(path, **options):
    return open_mosaic(path, ["r"], zero_point=31.4, pixel_scale=0.2, **options)


def test_pixels_positions_and_columns(field, tmp_path):
    psf = np.zeros((1, 5, 5, 1), np.float32)
    psf[0, 2, 2, 0] = 1
    with mosaic_of(field) as mosaic:
        report = make_cutouts(mosaic, catalogue(), tmp_path / "out.h5", SIZE, psf)
    assert report == {"n": 4, "outside": 0, "empty": 0}
    stamps = Stamps.load(tmp_path / "out.h5")
    image = fits.getdata(field)
    np.testing.assert_array_equal(stamps.image[0, ..., 0], image[33:49, 23:39])
    assert stamps.catalogue["x"].value[0] == pytest.approx(7.3)
    assert stamps.catalogue["y"].value[0] == pytest.approx(7.6)
    assert list(stamps.catalogue["id"]) == ["11", "12", "13", "14"]
    np.testing.assert_allclose(stamps.catalogue["mag"], [22, 21, 23, 24])
    np.testing.assert_allclose(stamps.catalogue["x_mosaic"], PLACES[:, 0])
    # The third is four pixels over the left edge: padded with 0, and masked.
    assert stamps.mask[2, :, :4].all()
    assert not stamps.mask[2, :, 4:].any()
    assert not stamps.image[2, :, :4].any()
    assert stamps.psf.shape == (1, 5, 5, 1)


def test_a_pattern_stands_for_a_file_a_band(field, tmp_path):
    table = tmp_path / "list.csv"
    catalogue().write(table, format="ascii.csv")
    image = fits.getdata(field)
    for number, band in enumerate("gr", 1):
        fits.writeto(tmp_path / f"sky_{band}.fits", image * number)
        fits.writeto(tmp_path / f"rms_{band}.fits", np.full_like(image, number))
        fits.writeto(tmp_path / f"psf_{band}.fits", np.pad(np.ones((number, number)), 3))
    options = {"catalogue": table, "size": SIZE, "zero_point": 31.4, "pixel_scale": 0.2}
    patterns = [str(tmp_path / f"{name}_{{band}}.fits") for name in ("sky", "rms", "psf")]
    cutouts_from_files(
        patterns[0], tmp_path / "out.h5", bands=["g", "r"], rms=patterns[1:2], psf=patterns[2:], **options
    )
    stamps = Stamps.load(tmp_path / "out.h5")
    np.testing.assert_allclose(stamps.image[1, ..., 1], 2 * stamps.image[1, ..., 0])
    np.testing.assert_allclose(stamps.variance[1, 8, 8], [1, 4])
    # The second PSF is wider: its light is in four pixels.
    assert stamps.psf[0, ..., 0].max() > 2 * stamps.psf[0, ..., 1].max()
    with pytest.raises(InputError, match="which bands"):
        cutouts_from_files(patterns[0], tmp_path / "out.h5", **options)


def test_segmentation_masks_neighbours_only(field, tmp_path):
    labels = np.zeros((80, 100), np.int32)
    labels[38:44, 28:33] = 5
    labels[45:48, 25:30] = 9
    fits.PrimaryHDU(labels).writeto(tmp_path / "labels.fits")
    with mosaic_of(field, segmentation=tmp_path / "labels.fits") as mosaic:
        make_cutouts(mosaic, catalogue()[:1], tmp_path / "out.h5", SIZE)
    mask = Stamps.load(tmp_path / "out.h5").mask[0, ..., 0]
    expected = np.zeros((SIZE, SIZE), bool)
    expected[45 - 33 : 48 - 33, 25 - 23 : 30 - 23] = True
    np.testing.assert_array_equal(mask, expected)


def labelled(field, tmp_path):
    """Return a mosaic of which single pixels have the labels 5 and 6, on either side of (30.3, 40.6)."""
    labels = np.zeros((80, 100), np.int32)
    labels[41, 30], labels[40, 31] = 5, 6
    fits.PrimaryHDU(labels).writeto(tmp_path / "labels.fits", overwrite=True)
    return mosaic_of(field, segmentation=tmp_path / "labels.fits")


@pytest.mark.parametrize(("segments", "masked"), [(None, (7, 8)), ([5], (7, 8)), ([6], (8, 7))])
def test_a_neighbour_is_what_has_another_label_than_the_pixel_or_the_catalogue_says(field, tmp_path, segments, masked):
    with labelled(field, tmp_path) as mosaic:
        mask = cut(mosaic, PLACES[:1, 0], PLACES[:1, 1], SIZE, segments)["mask"]
    assert [tuple(place) for place in np.argwhere(mask[0, ..., 0])] == [masked]


def test_rows_keep_their_labels_and_psfs_where_others_are_dropped(field, tmp_path):
    """The first is off the mosaic."""
    table = Table({"x": [-9.0, 30.3, 61.0], "y": [5.0, 40.6, 22.0], "seg": [7, 6, 0]})
    psf = np.zeros((3, 5, 5, 1), np.float32)
    psf[[0, 1, 2], [0, 1, 2], 2] = 1
    with labelled(field, tmp_path) as mosaic:
        report = make_cutouts(mosaic, table, tmp_path / "out.h5", SIZE, psf, columns={"segment": "seg"})
    assert report == {"n": 2, "outside": 1, "empty": 0}
    stamps = Stamps.load(tmp_path / "out.h5")
    np.testing.assert_array_equal(stamps.psf, psf[1:])
    assert [tuple(place) for place in np.argwhere(stamps.mask[0, ..., 0])] == [(8, 7)]


def test_positions_count_to_the_outer_edges_of_the_mosaic(field, tmp_path):
    table = Table({"x": [-0.4, 99.4, 5, 5, -0.6, 99.6, 5, 5], "y": [5, 5, -0.4, 79.4, 5, 5, -0.6, 79.6]})
    with mosaic_of(field) as mosaic:
        assert make_cutouts(mosaic, table, tmp_path / "out.h5", SIZE)["outside"] == 4
    np.testing.assert_allclose(Stamps.load(tmp_path / "out.h5").catalogue["x_mosaic"], [-0.4, 99.4, 5, 5])


def test_sky_wins_over_pixels_unless_these_are_named():
    frame = WCS(naxis=2)
    frame.wcs.ctype, frame.wcs.crval, frame.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [8.0, 5.0]
    frame.wcs.cdelt = [-5e-5, 5e-5]
    table, mosaic = Table({"ra": [150.0], "dec": [2.0], "x": [3.0], "y": [4.0]}), SimpleNamespace(wcs=frame)
    found = find_columns(table)
    np.testing.assert_allclose(positions(mosaic, table, found), [[7], [4]], atol=1e-6)
    assert np.ravel(positions(mosaic, table, found, {"x": "x", "y": "y"})).tolist() == [3, 4]


def test_detection_finds_what_is_there(field, tmp_path):
    with mosaic_of(field) as mosaic:
        table, labels = detect(mosaic)
        order = np.argsort(table["x"].value)
        expected = np.argsort(PLACES[:, 0])
        np.testing.assert_allclose(table["x"].value[order], PLACES[expected, 0], atol=0.3)
        inner = order[1:3]
        np.testing.assert_allclose(table["flux"].value[inner], FLUX[expected[1:3]], rtol=0.08)
        # A Gaussian of sigma 2 has half of its light within 2.355.
        np.testing.assert_allclose(table["r50"].value[inner], 2.355, rtol=0.1)
        assert set(np.unique(labels)) == {0, 1, 2, 3, 4}
    count = cutouts_from_files(
        [field], tmp_path / "out.h5", SIZE, bands=["r"], zero_point=31.4, pixel_scale=0.2, where="snr>5"
    )
    assert count == 4


def test_picture_stays_eight_bit(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    with open_mosaic(tmp_path / "picture.png") as mosaic:
        assert (mosaic.unit, mosaic.bands) == ("", ("r", "g", "b"))
        make_cutouts(mosaic, Table({"x": [20.0], "y": [18.0]}), tmp_path / "out.h5", SIZE)
    stamps = Stamps.load(tmp_path / "out.h5")
    assert stamps.image.dtype == np.uint8
    np.testing.assert_array_equal(stamps.image[0], pixels[11:27, 13:29])


def test_positions_outside_are_dropped_and_counted(field, tmp_path, caplog):
    table = catalogue()
    table["x"][0], table["y"][1] = -30, np.nan
    with mosaic_of(field) as mosaic:
        assert make_cutouts(mosaic, table, tmp_path / "out.h5", SIZE)["outside"] == 2
        assert "1 of 4 positions are off the mosaic" in caplog.text
        assert "1 of 4 rows have no finite position" in caplog.text
        table["x"] = 1e4
        with pytest.raises(InputError, match="none of 4 positions"):
            make_cutouts(mosaic, table, tmp_path / "none.h5", SIZE)
    assert not (tmp_path / "none.h5").exists()


def test_stamp_without_a_good_pixel_is_kept_and_said(field, tmp_path, caplog):
    image = fits.getdata(field)
    image[:40, 45:80] = np.nan
    fits.PrimaryHDU(image).writeto(tmp_path / "holes.fits")
    with mosaic_of(tmp_path / "holes.fits") as mosaic:
        report = make_cutouts(mosaic, catalogue(), tmp_path / "out.h5", SIZE)
    assert report["empty"] == 1
    assert "no good pixel" in caplog.text
    stamps = Stamps.load(tmp_path / "out.h5")
    assert stamps.mask[1].all()
    assert np.isfinite(stamps.image).all()
    assert stamps.catalogue["bad_fraction"][1] == 1


def test_catalogues_that_cannot_be_used_are_refused(field, tmp_path):
    with mosaic_of(field) as mosaic:
        with pytest.raises(InputError, match="no positions.*colour"):
            make_cutouts(mosaic, Table({"colour": [1.0]}), tmp_path / "out.h5", SIZE)
        with pytest.raises(InputError, match="no rows"):
            make_cutouts(mosaic, catalogue()[:0], tmp_path / "out.h5", SIZE)
        with pytest.raises(InputError, match="no WCS"):
            make_cutouts(mosaic, Table({"ra": [1.0], "dec": [2.0]}), tmp_path / "out.h5", SIZE)
        with pytest.raises(InputError, match="17 pixels a side"):
            make_cutouts(mosaic, catalogue(), tmp_path / "out.h5", SIZE, np.full((1, 17, 17, 1), 1 / 289))
        with pytest.raises(InputError, match="sums to"):
            make_cutouts(mosaic, catalogue(), tmp_path / "out.h5", SIZE, np.ones((1, 5, 5, 1)))
    (tmp_path / "empty.csv").write_text("x,y\n")
    with pytest.raises(InputError, match="no rows"):
        read_table(tmp_path / "empty.csv")
    with pytest.raises(InputError, match="no such catalogue"):
        read_table(tmp_path / "absent.csv")
    assert list(tmp_path.glob(".*")) == []


def test_known_columns_and_mappings():
    hst = Table({"number": [1], "ra": [1.0], "dec": [1.0], "x": [5.0], "f_F160W": [2.0]})
    assert find_columns(hst)["id"] == "number"
    assert find_columns(Table({"ALPHA_J2000": [1.0], "DELTA_J2000": [1.0]})) == {
        "ra": "ALPHA_J2000",
        "dec": "DELTA_J2000",
    }
    own = Table({"lon": [1.0], "lat": [1.0]})
    assert find_columns(own, {"ra": "lon", "dec": "lat"}) == {"ra": "lon", "dec": "lat"}
    with pytest.raises(InputError, match="no column 'long'"):
        find_columns(own, {"ra": "long"})
    with pytest.raises(InputError, match="role 'foo'"):
        find_columns(own, {"foo": "lon"})


def test_rows_are_selected_without_evaluation():
    table = Table({"mag": [20.0, 22.0, np.nan], "kind": ["star", "galaxy", "galaxy"], "flag": [0, 1, 0]})
    assert len(select(table, "mag<21")) == 1
    assert len(select(table, "kind=galaxy and flag==1")) == 1
    assert len(select(table, "mag>=20, kind!=star")) == 1
    for bad, match in (
        ("mag<", "cannot read"),
        ("size<3", "no column"),
        ("mag<faint", "no number"),
        ("mag<1", "no row"),
    ):
        with pytest.raises(InputError, match=match):
            select(table, bad)


@pytest.mark.parametrize("name", ["table.fits", "table.ecsv", "table.csv"])
def test_catalogue_formats(tmp_path, name):
    catalogue(name=["a", "b", "c", "d"]).write(tmp_path / name)
    table = read_table(tmp_path / name)
    assert len(table) == 4
    assert find_columns(table)["id"] == "NUMBER"


def test_file_of_another_version_is_refused(field, tmp_path):
    with mosaic_of(field) as mosaic:
        make_cutouts(mosaic, catalogue(), tmp_path / "out.h5", SIZE)
    with h5py.File(tmp_path / "out.h5", "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(InputError, match="version 99"):
        Stamps.load(tmp_path / "out.h5")


def test_full_disk_leaves_the_old_file_and_nothing_else(field, tmp_path, monkeypatch):
    out = tmp_path / "sets" / "out.h5"
    with mosaic_of(field) as mosaic:
        make_cutouts(mosaic, catalogue(), out, SIZE)
        before = out.read_bytes()

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(hdf5_writer.StampsWriter, "_append", full)
        with pytest.raises(OSError, match="No space"):
            make_cutouts(mosaic, catalogue(), out, SIZE)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["out.h5"]


@pytest.mark.parametrize(
    ("ra", "hours"), [([10.0, 10.0], True), ([10.0, np.nan], True), ([10.0, 170.0], False), ([9.0, 9.0], False)]
)
def test_hours_are_asked_for_where_they_would_be_on_the_image(ra, hours):
    """The image is at 150 degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ("RA---TAN", "DEC--TAN"), [150.0, 2.0], [50.0, 40.0]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    mosaic = SimpleNamespace(wcs=wcs, shape=(80, 100))
    table = Table({"ra": ra, "dec": [2.0, 2.0]})
    found = find_columns(table, None, "list.csv")
    if hours:
        with pytest.raises(
            InputError, match="list.csv: .*column ra in degrees; in hours. Multiply it by 15, or .* hourangle"
        ):
            positions(mosaic, table, found, name="list.csv")
        table["ra"].unit = "hourangle"
        assert positions(mosaic, table, found, name="list.csv")[0][0] == pytest.approx(49)
    else:
        x, _ = positions(mosaic, table, found, name="list.csv")
        assert not ((x > 0) & (x < 100)).any()
