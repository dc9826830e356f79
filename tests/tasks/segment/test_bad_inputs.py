"""`galzoo segment`: what is wrong is said in one line; what is right is written whole."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.errors import GalzooError, InputError, PresetError, UnknownNameError
from galzoo.field.pieces import WORK
from galzoo.presets import load_card
from galzoo.tasks.segment.run import Settings, segment_field
from tests.field.fields import wcs
from tests.tasks.segment.fakes import BANDS, draw, write

QUICK = {"stride": 30, "report": False}


def run(path, folder, settings=None, **options):
    return segment_field(path, folder / "out", settings=settings or Settings(**QUICK), **options)


def fails(path, folder, *words, error=InputError, **options):
    with pytest.raises(error) as caught:
        run(path, folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert not list(folder.glob("out/*.fits"))
    assert not (folder / "out" / WORK).exists()


@pytest.fixture
def field(tmp_path):
    return write(tmp_path / "field.fits", draw((60, 64), ((30, 30, 900, 1),)))


def test_good_field_gives_everything(field, tmp_path):
    written = run(field, tmp_path, Settings(stride=10))
    names = {"classes.fits", "segmentation.fits", "catalogue.ecsv", "catalogue.fits", "classes.png", "field.png"}
    assert {path.name for path in written} == names | {"report.html"}
    assert all(path.stat().st_size for path in written)
    with fits.open(tmp_path / "out" / "classes.fits") as hdus:
        planes = {hdu.name: hdu.data for hdu in hdus[1:]}
        assert hdus["DISK"].header["CTYPE1"] == "RA---TAN"
    assert list(planes) == ["SPHEROID", "DISK", "IRREGULAR", "POINT_SOURCE", "BACKGROUND", "WINDOWS"]
    total = sum(planes[name] for name in list(planes)[:5])
    np.testing.assert_allclose(total, planes["WINDOWS"] > 0, atol=1e-6)
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    assert len(table) == 1
    assert abs(table["x"][0].value - 30) < 1
    assert abs(sum(table[f"p_{name}"][0] for name in ("spheroid", "disk", "irregular", "point_source")) - 1) < 1e-6
    assert table.meta["preset"] == "morpheus_hst"
    assert all(table[name].info.description for name in table.colnames)
    header = fits.getheader(tmp_path / "out" / "catalogue.fits", "CATALOGUE")
    assert header["PRESET"] == "morpheus_hst"
    assert header["SHA256"] == load_card("morpheus_hst")["sha256"]
    assert "command:" in str(header["HISTORY"])
    labels = fits.getdata(tmp_path / "out" / "segmentation.fits")
    assert labels[30, 30] == 1
    assert "spheroid" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / WORK).exists()


def test_empty_sky_gives_an_empty_catalogue(tmp_path):
    class Sky:
        bands, classes, window, margin = BANDS, ("galaxy", "background"), 40, 5

        def pixel_classes(self, batch):
            return np.tile([0.0, 1.0], (*batch["image"].shape[:3], 1))

    from galzoo.field.open_field import open_field
    from galzoo.tasks.segment.products import write_products
    from galzoo.tasks.segment.run import segment

    with open_field(write(tmp_path / "field.fits", draw((60, 64), ()))) as opened:
        found = segment(Sky(), opened, Settings(stride=30))
        write_products(opened, found, "F160W", tmp_path, Settings(stride=30), {"preset": "none"})
    assert len(QTable.read(tmp_path / "catalogue.ecsv")) == 0
    assert len(QTable.read(tmp_path / "catalogue.fits")) == 0


def test_names_of_files_bands_can_be_said(tmp_path):
    paths = []
    for name, plane in zip("hjvz", draw((60, 64), ((30, 30, 900, 1),)), strict=True):
        header = wcs().to_header()
        header["MAGZERO"], header["CDELT1"], header["CDELT2"] = 31.4, -0.06 / 3600, 0.06 / 3600
        paths.append(tmp_path / f"{name}.fits")
        fits.writeto(paths[-1], plane.astype(np.float32), header)
    run(paths[::-1], tmp_path, bands=list("zvjh"), names=list(BANDS[::-1]))
    names = ["F850LP", "F606W", "F125W", "F160W"]
    run(paths[::-1], tmp_path, bands=list("zvjh"), names=names)
    assert len(QTable.read(tmp_path / "out" / "catalogue.ecsv")) == 1


class TestBad:
    def test_no_such_file(self, tmp_path):
        fails(tmp_path / "away.fits", tmp_path, "away.fits")

    def test_no_fits(self, tmp_path):
        path = tmp_path / "note.fits"
        path.write_text("hello")
        fails(path, tmp_path, "note.fits", error=GalzooError)

    def test_cut_short(self, field, tmp_path):
        data = field.read_bytes()
        field.write_bytes(data[: len(data) // 2])
        fails(field, tmp_path, "field.fits", error=GalzooError)

    def test_other_bands(self, tmp_path):
        path = write(tmp_path / "field.fits", draw((60, 64)), ("g", "r", "i", "z"))
        fails(path, tmp_path, "of `galzoo segment` fits bands G, R, I, Z", "morpheus_hst has F160W", "--as")

    def test_a_band_is_missing(self, tmp_path):
        path = write(tmp_path / "field.fits", draw((60, 64))[:3], BANDS[:3])
        fails(path, tmp_path, "no band F850LP", "F160W, F125W, F606W", preset="morpheus_hst")

    def test_a_band_twice(self, field, tmp_path):
        fails(field, tmp_path, "'F160W' is named twice", bands=list(BANDS), names=["F160W", *BANDS[:1], *BANDS[2:]])

    def test_names_of_another_number(self, field, tmp_path):
        fails(field, tmp_path, "--as has 2 names for 4 bands", bands=list(BANDS), names=["F160W", "F125W"])

    def test_unknown_preset(self, field, tmp_path):
        fails(field, tmp_path, "morpheus_hst", error=UnknownNameError, preset="morpheus_hts")

    def test_preset_for_something_else(self, field, tmp_path):
        fails(field, tmp_path, "do not segment", "morpheus_hst", preset="vqvae_lsst")

    def test_folder_without_a_model(self, field, tmp_path):
        fails(field, tmp_path, "model.keras", error=PresetError, preset=tmp_path)

    def test_too_small(self, tmp_path):
        path = write(tmp_path / "field.fits", draw((39, 64), ()))
        fails(path, tmp_path, "64 x 39 pixels", "40 x 40")

    def test_bands_of_other_sizes(self, tmp_path):
        image = list(draw((60, 64)))
        image[2] = image[2][:50]
        path = write(tmp_path / "field.fits", image)
        fails(path, tmp_path, "field.fits", bands=list(BANDS), error=GalzooError)

    def test_no_zero_point(self, field, tmp_path):
        with fits.open(field, mode="update") as hdus:
            for hdu in hdus[1:]:
                del hdu.header["MAGZERO"]
        fails(field, tmp_path, "zero point", error=GalzooError)

    def test_a_band_of_nothing(self, tmp_path):
        image = draw((60, 64))
        image[1] = np.nan
        fails(write(tmp_path / "field.fits", image), tmp_path, "F125W")

    def test_pixels_far_too_large(self, tmp_path):
        path = write(tmp_path / "field.fits", draw((60, 64)), scale=0.2)
        fails(path, tmp_path, "0.2 arcsec", "0.06", "resample")

    def test_weight_and_rms(self, field, tmp_path):
        fails(field, tmp_path, "weight", "rms", weight=[str(field)], rms=[str(field)])

    def test_windows_with_gaps(self, field, tmp_path):
        fails(field, tmp_path, "--stride is 31", "1 (exact, slow) to 30", settings=Settings(stride=31, report=False))

    def test_band_of_another_name(self, field, tmp_path):
        fails(field, tmp_path, "--band is F435W", settings=Settings(**QUICK, band="F435W"))

    def test_output_is_a_file(self, field, tmp_path):
        (tmp_path / "out").write_text("precious")
        fails(field, tmp_path, "is a file")
        assert (tmp_path / "out").read_text() == "precious"

    @pytest.mark.parametrize(
        ("changes", "word"),
        [({"stride": 0}, "--stride"), ({"threshold": 1.0}, "--threshold"), ({"threshold": -0.1}, "--threshold"),
         ({"distance": -1}, "--distance"), ({"tile": 32}, "--tile")],
    )  # fmt: skip
    def test_settings(self, changes, word):
        with pytest.raises(InputError, match=word):
            Settings(**changes)

    def test_command_line(self, field, tmp_path):
        from galzoo.tasks.segment.command import segment

        with pytest.raises(InputError, match="--as renames --bands"):
            segment([str(field)], tmp_path / "out", names="F160W")
        with pytest.raises(InputError, match="--zero-point is dim"):
            segment([str(field)], tmp_path / "out", zero_point="dim")


def test_command_has_the_defaults_of_the_settings():
    import dataclasses
    import inspect

    from galzoo.tasks.segment.command import segment

    parameters = inspect.signature(segment).parameters
    for name, value in dataclasses.asdict(Settings()).items():
        assert parameters[name].default == value


def test_slightly_other_pixels_are_warned_about(tmp_path, caplog):
    path = write(tmp_path / "field.fits", draw((60, 64), ((30, 30, 900, 1),)), scale=0.1)
    run(path, tmp_path)
    assert "classes depend on sizes" in caplog.text
