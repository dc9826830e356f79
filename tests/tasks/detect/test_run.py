"""`galzoo detect` on small fields: products are right, a killed run goes on, artificial sources are found."""

import dataclasses
import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from galzoo import __version__
from galzoo.data.zeropoint import njy_to_magnitude
from galzoo.errors import InputError
from galzoo.field.pieces import WORK
from galzoo.interop.coco import decode_mask
from galzoo.metrics.matching import match
from galzoo.tasks.detect import find as finding
from galzoo.tasks.detect.iterate import detect_iterated
from galzoo.tasks.detect.products import position_angle, segmentation_image
from galzoo.tasks.detect.run import Settings, detect_field
from tests.field.fields import BANDS, FWHM, SCALE, blends, draw, gaussian, least_squares, wcs, write, write_psf
from tests.tasks.detect.fakes import Listed, Peaks

SHAPE = (130, 160)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a field, its PSF and a list of what is there."""
    folder = tmp_path_factory.mktemp("detect")
    sources = blends(SHAPE, 30, seed=5)
    write(folder / "field.fits", draw(SHAPE, sources, sky=12.0))
    write_psf(folder / "psf.fits")
    x, y, flux, _ = np.array(sources).T
    Table({"x": x, "y": y, "mag_r": njy_to_magnitude(flux)}).write(folder / "truth.ecsv")
    return folder, np.array(sources)


@pytest.fixture(scope="module")
def done(place):
    folder, sources = place
    settings = Settings(tile=64, coco=True, inject=20)
    options = {"psf": folder / "psf.fits", "truth": folder / "truth.ecsv", "bands": list(BANDS), "settings": settings}
    written = detect_field(folder / "field.fits", folder / "out", **options)
    return folder / "out", QTable.read(folder / "out" / "catalogue.ecsv"), sources, written


def test_everything_is_written_and_nothing_is_left(done):
    folder, _, _, written = done
    names = ["catalogue.ecsv", "catalogue.fits", "instances.fits", "regions.reg", "instances.json"]
    names += ["completeness_truth.ecsv", "completeness_injected.ecsv", "detections.png", "report.html"]
    found = {path.name for path in written} - {"catalogue.parquet"}
    assert found == set(names)
    assert {path.name for path in folder.iterdir()} - {"catalogue.parquet"} == set(names)


def test_columns_have_units_and_descriptions(done):
    folder, table, _, _ = done
    assert all(table[name].info.description for name in table.colnames)
    assert (table["ra"].unit, table["flux_r"].unit, table["a"].unit) == ("deg", "nJy", "arcsec")
    plain = Table.read(folder / "catalogue.fits")
    assert plain.colnames == table.colnames
    np.testing.assert_allclose(plain["flux_i"], table["flux_i"].value)
    with fits.open(folder / "catalogue.fits") as hdus:
        number = table.colnames.index("probability") + 1
        assert "not calibrated" in hdus[1].header[f"TCOMM{number}"]
        header = hdus["CATALOGUE"].header
    assert header["CREATOR"] == f"galzoo {table.meta['galzoo']}" == f"galzoo {__version__}"
    assert header["METHOD"] == "SEP"
    assert header["PSFFWHM"] == pytest.approx(table.meta["fwhm_pixels"] * table.meta["pixel_scale_arcsec"])
    assert "command:" in str(header["HISTORY"])


def test_positions_and_fluxes_are_right(done):
    _, table, sources, _ = done
    pair = match(np.stack([table["x"].value, table["y"].value], axis=-1), sources[:, :2], 2.0)
    assert pair.purity > 0.95
    assert np.median(pair.distance) < 0.3
    alone = (np.asarray(table["flags"])[pair.found] & 8) == 0
    ratio = table["flux_r"].value[pair.found] / sources[pair.truth, 2]
    assert np.median(ratio[alone]) == pytest.approx(1, abs=0.2)
    truth = WCS(fits.getheader(done[0].parent / "field.fits", 1)).all_pix2world(table["x"].value, table["y"].value, 0)
    np.testing.assert_allclose([table["ra"].value, table["dec"].value], truth)


def test_maps_and_masks_are_the_catalogues(done):
    folder, table, _, _ = done
    instances = fits.getdata(folder / "instances.fits")
    assert instances.dtype.newbyteorder("=") == np.int32
    line, column = (np.round(table[key].value).astype(int) for key in "yx")
    assert np.mean(instances[line, column] == table["id"]) > 0.95
    data = json.loads((folder / "instances.json").read_text())
    assert [one["id"] for one in data["annotations"]] == table["id"].tolist()
    for one in data["annotations"][:5]:
        np.testing.assert_array_equal(decode_mask(one["segmentation"]), instances == one["id"])
    assert len(segmentation_image(folder / "instances.fits").labels) == len(table)


@pytest.mark.parametrize("margin", [None, 40])
def test_a_detector_says_how_much_about_a_part_it_is_shown(place, tmp_path, margin):
    detector, cores = Peaks(), []

    def detect(batch, threshold=0.0):
        cores.append(batch["core"])
        return Peaks.detect(detector, batch, threshold)

    detector.detect = detect
    if margin is not None:
        detector.margin = margin
    options = {"psf": place[0] / "psf.fits", "bands": list(BANDS), "settings": Settings(report=False)}
    detect_field(place[0] / "field.fits", tmp_path / "out", detector=detector, **options)
    # The field is smaller than a block, and the core has two pixels more on each side.
    first = (margin or 64) - 2
    np.testing.assert_array_equal(cores, [[[first, first + SHAPE[0] + 4, first, first + SHAPE[1] + 4]]])
    assert {seen["image"][1:3] for seen in detector.seen} == {(512, 512)}


def test_regions_are_of_ds9(done):
    folder, table, _, _ = done
    lines = (folder / "regions.reg").read_text().splitlines()
    assert lines[3] == "image"
    ellipses = [line for line in lines if line.startswith("ellipse(")]
    assert len(ellipses) == len(table)
    # DS9 counts pixels from 1.
    assert float(ellipses[0][8:].split(",")[0]) == pytest.approx(table["x"][0].value + 1, abs=1e-3)


def test_completeness_falls_with_magnitude(done):
    folder, _, _, _ = done
    truth = QTable.read(folder / "completeness_truth.ecsv")
    assert truth["n"].sum() == len(done[2])
    injected = QTable.read(folder / "completeness_injected.ecsv")
    assert injected["n"].sum() == 20
    bright = injected["low"].value < np.median(injected["low"].value)
    weights = injected["n"]
    shares = [
        np.average(np.nan_to_num(injected["completeness"][side]), weights=weights[side]) for side in (bright, ~bright)
    ]
    assert shares[0] > shares[1]
    assert np.nanmax(np.abs(injected["bias"][bright].value)) < 0.4


def test_position_angles_are_east_of_north():
    frame = wcs()
    x, y = np.array([20.0, 60.0]), np.array([30.0, 80.0])
    theta = np.deg2rad([20.0, 110.0])
    ends = [frame.pixel_to_world(x + sign * np.cos(theta), y + sign * np.sin(theta)) for sign in (-1, 1)]
    truth = SkyCoord(ends[0]).position_angle(SkyCoord(ends[1])).deg % 180
    np.testing.assert_allclose(position_angle(frame, x, y, theta), truth, atol=1e-3)
    # East is to the left: an axis along +y points north.
    assert (abs((position_angle(frame, x, y, np.full(2, np.pi / 2)) + 90) % 180 - 90) < 0.01).all()


def test_what_a_detector_says_of_its_errors_is_in_its_columns(tmp_path):
    class Sure(Peaks):
        def detect(self, batch, threshold=0.0):
            found = super().detect(batch, threshold)
            error = np.broadcast_to([0.03, 0.08], found.positions.shape)
            shape = np.broadcast_to([0.3, -0.2, 2.5], (*found.positions.shape[:2], 3))
            return dataclasses.replace(found, position_error=error, shape=shape)

    write(tmp_path / "f.fits", draw((96, 100), [(30, 40, 3000, 0.0), (70, 60, 3000, 0.0)]))
    detect_field(tmp_path / "f.fits", tmp_path / "out", detector=Sure(), seeing=FWHM * SCALE,
                 settings=Settings(report=False))  # fmt: skip
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    for name, value in (("x_err", 0.03), ("y_err", 0.08), ("e1", 0.3), ("e2", -0.2), ("intrinsic_radius", 2.5 * SCALE)):
        np.testing.assert_allclose(getattr(table[name], "value", table[name]), value, rtol=1e-5, err_msg=name)


def test_shapes_follow_the_image(tmp_path):
    yy, xx = np.mgrid[:96, :96]
    u, v = xx - 48 + (yy - 50), -(xx - 48) + (yy - 50)
    image = np.random.default_rng(0).normal(size=(3, 96, 96)) + 60 * np.exp(-0.5 * (u**2 / 98 + v**2 / 18))
    write(tmp_path / "f.fits", image + 900 * gaussian((96, 96), 20, 20, FWHM / 2.3548))
    detect_field(tmp_path / "f.fits", tmp_path / "out", seeing=FWHM * SCALE, settings=Settings(report=False))
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    star, galaxy = np.argmin(np.abs(table["x"].value - 20)), np.argmin(np.abs(table["x"].value - 48))
    assert table["theta"][galaxy].value == pytest.approx(45, abs=5)
    # x runs to the west: from +y (north) towards +x is west, so 45 degrees from +x are 45 west of north.
    assert table["position_angle"][galaxy].value == pytest.approx(135, abs=5)
    assert (table["class"][star], table["class"][galaxy]) == ("star", "galaxy")
    assert table["a"][galaxy] > 1.5 * table["b"][galaxy]


def test_a_detector_is_asked_in_its_own_bands(place):
    folder, _ = place
    detector = Peaks(bands=("u", "g", "r", "i"))
    settings = Settings(report=False)
    detect_field(
        folder / "field.fits", folder / "bands", detector=detector, seeing=0.7, settings=settings, bands=["G", "R", "I"]
    )
    assert detector.seen[0]["image"][-1] == 4
    assert detector.seen[0]["psf"][-1] == 4
    table = QTable.read(folder / "bands" / "catalogue.ecsv")
    assert "flux_g" in table.colnames
    assert "flux_u" not in table.colnames
    assert set(np.asarray(table["class"])) == {"star"}
    np.testing.assert_allclose(table["flux_err_g"].value, 1.0)


def test_a_killed_run_goes_on(place, monkeypatch):
    folder, _ = place
    options = {"seeing": 0.7, "settings": Settings(tile=64, report=False), "bands": list(BANDS)}
    detect_field(folder / "field.fits", folder / "whole", **options)
    measure, calls = finding.measure_tile, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(finding, "measure_tile", killed)
    with pytest.raises(KeyboardInterrupt):
        detect_field(folder / "field.fits", folder / "again", **options)
    assert (folder / "again" / WORK).is_dir()
    detect_field(folder / "field.fits", folder / "again", **options)
    # Nine tiles, of which three were kept.
    assert len(calls) == 4 + 6
    one, other = (QTable.read(folder / name / "catalogue.ecsv") for name in ("whole", "again"))
    np.testing.assert_array_equal(one["flux_r"], other["flux_r"])


def test_iterating_finds_what_was_merged(place):
    folder, sources = place
    settings = Settings(report=False)
    options = {"psf": folder / "psf.fits", "bands": list(BANDS), "settings": settings}
    detect_field(folder / "field.fits", folder / "once", **options)
    detect_iterated(folder / "field.fits", folder / "more", fit=least_squares, rounds=2, **options)
    once, more = (QTable.read(folder / name / "catalogue.ecsv") for name in ("once", "more"))
    assert len(more) > len(once)
    assert more.meta["added"] == np.sum((more["flags"] & 32) > 0) == len(more) - len(once)
    shares = [
        match(np.stack([table["x"].value, table["y"].value], axis=-1), sources[:, :2], 2.0).completeness
        for table in (once, more)
    ]
    assert shares[1] > shares[0]
    instances = fits.getdata(folder / "more" / "instances.fits")
    assert instances.max() == len(more)


def test_a_residual_detector_sees_the_model(place):
    folder, _ = place
    options = {"psf": folder / "psf.fits", "bands": list(BANDS), "settings": Settings(report=False)}
    detect_field(folder / "field.fits", folder / "once", **options)
    known = QTable.read(folder / "once" / "catalogue.ecsv")
    near = (known["x"][0].value + 0.2, known["y"][0].value, 0.9)
    detector = Listed([(3.0, 4.0, 0.8), near, (120.0, 126.0, 0.3)])
    seen = []
    detector.detect = lambda batch, threshold: (
        seen.append(batch["model"].sum()) or Listed.detect(detector, batch, threshold)
    )
    detect_iterated(folder / "field.fits", folder / "res", residual_detector=detector, fit=least_squares, **options)
    table = QTable.read(folder / "res" / "catalogue.ecsv")
    assert seen[0] > 1000
    # The one that is known and the one below the threshold are not added, and the second round finds nothing new.
    new = table[(table["flags"] & 32) > 0]
    np.testing.assert_allclose([new["x"].value, new["y"].value, new["probability"]], [[3.0], [4.0], [0.8]])
    assert table.meta["rounds"] == 2


def test_no_source_is_an_empty_catalogue(tmp_path):
    write(tmp_path / "f.fits", draw((80, 90), []))
    detect_field(tmp_path / "f.fits", tmp_path / "out", seeing=0.7)
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    assert len(table) == 0
    assert {"x", "probability", "flux_G", "flags"} <= set(table.colnames)
    assert not fits.getdata(tmp_path / "out" / "instances.fits").any()


def test_too_many_artificial_sources(place):
    folder, _ = place
    with pytest.raises(InputError, match="at most 144 artificial"):
        detect_field(
            folder / "field.fits", folder / "many", seeing=0.7, settings=Settings(inject=900), bands=list(BANDS)
        )


def test_without_a_preset_what_stands_out_of_a_halo_is_found(tmp_path):
    star, halo, faint = (35.0, 40.0, 2e6, 0.0), (35.0, 40.0, 4e5, 12.0), (85.0, 40.0, 1500.0, 0.0)
    path = write(tmp_path / "field.fits", draw((80, 120), [star, halo, faint]))
    options = {"bands": list(BANDS), "seeing": FWHM * SCALE, "subtract_sky": False, "settings": Settings(report=False)}
    detect_field(path, tmp_path / "out", **options)
    found = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    assert np.hypot(found["x"].value - 85, found["y"].value - 40).min() < 1


def test_errors_without_photon_noise_are_said(place, tmp_path, caplog):
    folder, _ = place
    options = {"psf": folder / "psf.fits", "bands": list(BANDS), "settings": Settings(tile=64, report=False)}
    detect_field(folder / "field.fits", tmp_path / "sky", **options)
    assert caplog.text.count("errors are of the noise of the sky, without that of the sources' own photons") == 1
    caplog.clear()
    for name in BANDS:
        write(tmp_path / f"{name}.fits", np.ones((1, *SHAPE)), (name,))
    rms = [str(tmp_path / f"{name}.fits") for name in BANDS]
    detect_field(folder / "field.fits", tmp_path / "map", rms=rms, **options)
    assert "own photons" not in caplog.text
