"""`galzoo deblend` on small fields: its answers are right, it goes on after a kill, it is never worse than nothing."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from galzoo.contracts.deblended import FLAGS
from galzoo.data.stamps import Stamps
from galzoo.field import windows
from galzoo.field.open_field import open_field
from galzoo.field.pieces import WORK
from galzoo.tasks.deblend import fit_groups
from galzoo.tasks.deblend.flags import judge
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field.fields import BANDS, FWHM, NOISE, SCALE, blends, draw, least_squares, wcs, write, write_psf

QUICK = Settings(tile=64, stamp_size=0, report=False, add_sources=False)
SHAPE = (110, 150)


def run(folder, sources, shape=SHAPE, settings=QUICK, deblender=least_squares, name="out", catalogue=None, **options):
    path = folder / "field.fits"
    if not path.exists():
        write(path, draw(shape, sources, sky=12.0))
    options = {"seeing": FWHM * SCALE, "bands": BANDS, **options}
    ids, (x, y) = [f"s{i}" for i in range(len(sources))], np.array(sources)[:, :2].T
    listed = QTable({"id": ids, "x": x, "y": y})
    table = listed if catalogue is None else None
    written = deblend_field(path, folder / name, deblender=deblender, settings=settings, catalogue=table, **options)
    return QTable.read(folder / name / "catalogue.ecsv"), written


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A field with everything that is written of it."""
    folder = tmp_path_factory.mktemp("done")
    sources = blends(SHAPE, 24, seed=5)
    psf = write_psf(folder / "psf.fits")
    settings = Settings(tile=64, stamp_size=32)
    table, written = run(folder, sources, settings=settings, seeing=None, psf=psf)
    return folder / "out", table, np.array(sources), written


def rows_of(table, sources):
    order = [int(name[1:]) for name in table["id"]]
    return np.asarray(sources)[order]


def test_everything_is_written_and_nothing_is_left(done):
    folder, _, _, written = done
    names = [
        "catalogue.ecsv",
        "catalogue.fits",
        "sources.reg",
        "model.fits",
        "residual.fits",
        "segmentation.fits",
        "stamps.h5",
    ]
    names += ["field.png", "report.html"]
    assert sorted(path.name for path in written) == sorted(names)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_fluxes_are_right_within_their_errors(done):
    _, table, sources, _ = done
    truth = rows_of(table, sources)
    for band, factor in zip(BANDS, (0.6, 1.0, 1.3), strict=True):
        pull = (table[f"flux_{band}"].value - factor * truth[:, 2]) / table[f"flux_err_{band}"].value
        assert abs(np.median(pull)) < 0.6
        assert np.std(pull) < 2.5
        assert np.all(table[f"flux_like_err_{band}"].value > 0)
    assert not (table["flags"] & FLAGS["fallback"]).any()
    # Undeblended fluxes of the pairs have the neighbour's light.
    pair = table["n_in_group"] > 1
    assert np.median(table["aperture_flux_r"].value[pair] / truth[pair, 2]) > 1.15
    assert 0.8 < np.median(table["chi2"]) < 1.2


def test_magnitudes_are_ab_of_the_fluxes(done):
    _, table, _, _ = done
    np.testing.assert_allclose(table["mag_i"].value, 31.4 - 2.5 * np.log10(table["flux_i"].value))
    ratio = table["mag_err_i"].value / (table["flux_err_i"] / table["flux_i"]).value
    np.testing.assert_allclose(ratio, 2.5 / np.log(10))


def test_blendedness_tells_pairs_from_single_sources(done):
    _, table, _, _ = done
    single = table["n_in_group"] == 1
    assert single.sum() > 5
    assert (~single).sum() > 5
    np.testing.assert_allclose(table["blendedness_r"][single], 0, atol=1e-6)
    assert np.all(table["blendedness_r"][~single] > 0.01)
    assert np.all(table["blendedness_r"] < 1)


def test_sky_positions_and_images_share_a_wcs(done):
    folder, table, _, _ = done
    ra, dec = wcs().all_pix2world(table["x"].value, table["y"].value, 0)
    np.testing.assert_allclose(table["ra"].value, ra, atol=1e-9)
    with fits.open(folder / "model.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["G", "R", "I"]
        x, y = WCS(hdus["R"].header).all_world2pix(ra, dec, 0)
    np.testing.assert_allclose(x, table["x"].value, atol=1e-6)


def test_model_and_residual_sum_to_the_data(done):
    folder, table, _, _ = done
    with fits.open(folder / "model.fits") as model, fits.open(folder / "residual.fits") as residual:
        with fits.open(folder.parent / "field.fits") as data:
            both = model["R"].data + residual["R"].data
            assert np.abs(both - data["R"].data + 12).max() < 0.7
        assert model["R"].data.sum() == pytest.approx(np.sum(table["flux_r"].value), rel=0.02)
        assert np.std(residual["R"].data) == pytest.approx(NOISE[1], rel=0.04)


def test_segmentation_holds_the_groups(done):
    folder, table, _, _ = done
    labels = fits.getdata(folder / "segmentation.fits")
    row, column = np.round(table["y"].value).astype(int), np.round(table["x"].value).astype(int)
    np.testing.assert_array_equal(labels[row, column], table["group"] + 1)


def test_stamps_are_in_the_order_of_the_catalogue(done):
    folder, table, _, _ = done
    stamps = Stamps.load(folder / "stamps.h5")
    np.testing.assert_array_equal(stamps.catalogue["id"], table["id"])
    assert stamps.shape == (32, 32)
    assert stamps.psf.shape[-1] == 3
    y, x = np.mgrid[:32, :32]
    light = stamps.image[..., 1]
    total = light.sum(axis=(1, 2))
    centre = (light * x).sum(axis=(1, 2)) / total
    inner = ~stamps.mask.any(axis=(1, 2, 3))
    assert inner.sum() > 10
    np.testing.assert_allclose(centre[inner], stamps.catalogue["x"].value[inner], atol=0.35)
    np.testing.assert_allclose(total[inner], table["flux_r"].value[inner], rtol=0.1)


def test_fits_catalogue_is_the_same(done):
    folder, table, _, _ = done
    other = QTable.read(folder / "catalogue.fits")
    assert other["flux_r"].unit == table["flux_r"].unit
    np.testing.assert_allclose(other["flux_r"].value, table["flux_r"].value)


def test_every_column_is_described_and_the_header_says_where_it_is_from(done):
    from astropy.io import fits

    from galzoo import __version__

    folder, table, _, _ = done
    header = fits.getheader(folder / "catalogue.fits", 1)
    for number, name in enumerate(table.colnames, 1):
        assert header[f"TTYPE{number}"] == name
        assert header[f"TCOMM{number}"], name
        assert table[name].info.description == header[f"TCOMM{number}"]
    assert header["TCOMM1"] == "name of the source"
    assert "standard deviation of the flux, band r" in [table[name].info.description for name in ("flux_err_r",)]
    units = {header[f"TTYPE{k}"]: header.get(f"TUNIT{k}") for k in range(1, len(table.colnames) + 1)}
    assert (units["flux_r"], units["mag_err_r"], units["x"]) == ("nJy", "mag", "pix")
    assert header["CREATOR"] == f"galzoo {__version__}"
    assert header["MAGZERO"] == 31.4
    assert header["PSFFWHM"] == pytest.approx(FWHM * SCALE, rel=0.05)
    assert header["BANDS"] == ",".join(BANDS)
    assert "command:" in str(header["HISTORY"])


def test_zero_points_of_the_input_are_in_the_header(tmp_path):
    """Given band by band: what 1 in the file means, not what 1 in the catalogue does."""
    path = write(tmp_path / "field.fits", draw((64, 80), [(40, 30, 900, 0)]))
    points = {"g": 27.0, "r": 27.1, "i": 22.5}
    deblend_field(
        path, tmp_path / "out", deblender=least_squares, settings=QUICK, seeing=FWHM * SCALE, bands=BANDS,
        zero_point=points,
    )  # fmt: skip
    header = fits.getheader(tmp_path / "out" / "catalogue.fits", 1)
    assert [header[f"ZEROPT{number}"] for number in (1, 2, 3)] == pytest.approx([27.0, 27.1, 22.5], abs=1e-5)
    assert header["MAGZERO"] == 31.4


def test_regions_are_where_the_sources_are(done):
    folder, table, _, _ = done
    lines = (folder / "sources.reg").read_text().splitlines()[4:]
    assert len(lines) == len(table)
    for line, row in zip(lines, table, strict=True):
        x, y = (float(value) for value in line.partition("(")[2].split(",")[:2])
        assert (x, y) == pytest.approx((row["x"].value + 1, row["y"].value + 1), abs=1e-3)
        assert f"text={{{row['id']}}}" in line


def test_report_stands_alone(done):
    folder, _, _, _ = done
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/png") == 2
    assert "http" not in text


def test_answers_do_not_depend_on_tiles(tmp_path):
    sources = blends((80, 100), 12, seed=7)
    one, _ = run(tmp_path, sources, (80, 100))
    other, _ = run(tmp_path, sources, (80, 100), dataclasses.replace(QUICK, tile=512), name="other")
    np.testing.assert_array_equal(one["id"], other["id"])
    for key in ("x", "flux_r", "flux_err_r", "chi2", "flags"):
        np.testing.assert_allclose(np.asarray(one[key]), np.asarray(other[key]), rtol=1e-6, err_msg=key)


@pytest.mark.parametrize(("bound", "most"), [("_CHUNK_NUMBERS", 40_000), ("_CHUNK_SOURCES", 4)])
def test_a_killed_run_goes_on(tmp_path, monkeypatch, bound, most):
    monkeypatch.setattr(f"galzoo.tasks.deblend.fit_groups.{bound}", most)
    monkeypatch.setattr(windows, "BATCH", 2)
    sources = blends((80, 130), 14, seed=8)
    whole, _ = run(tmp_path, sources, (80, 130), name="whole")
    calls = []

    def counted(batch):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return least_squares(batch)

    counted.__name__ = "counted"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, sources, (80, 130), deblender=counted)
    assert not (tmp_path / "out" / "catalogue.ecsv").exists()
    kept = list((tmp_path / "out" / WORK).glob("fit_*.npz"))
    assert kept
    table, _ = run(tmp_path, sources, (80, 130), deblender=counted)
    assert not (tmp_path / "out" / WORK).exists()
    for key in ("id", "x", "flux_r", "flags"):
        np.testing.assert_array_equal(np.asarray(table[key]), np.asarray(whole[key]))
    # Interrupted at the fourth, and only what was not finished was done again.
    first = len(calls)
    run(tmp_path, sources, (80, 130), deblender=counted, name="again")
    assert first - 4 < len(calls) - first


def test_another_request_does_not_take_over_old_pieces(tmp_path):
    sources = [(40, 40, 500, 0)]

    def killed(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, sources, (80, 80), deblender=killed)
    stale = tmp_path / "out" / WORK / "fit_00000.npz"
    stale.write_bytes(b"of another request")
    table, _ = run(tmp_path, sources, (80, 80))
    assert len(table) == 1


@pytest.mark.parametrize("changed", ["image", "catalogue", "nothing"])
def test_pieces_of_a_pattern_of_files_are_those_of_their_contents(changed, tmp_path):
    """The images, or the catalogue, are made anew under their names while a run lies unfinished."""
    shape, catalogue = (80, 80), tmp_path / "c.csv"

    def make(sources, places):
        for number, band in enumerate("gr"):
            write(tmp_path / f"f_{band}.fits", draw(shape, sources)[number : number + 1], [band])
        catalogue.write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in places))

    def deblender(batch):
        if dead:
            raise KeyboardInterrupt
        return least_squares(batch)

    options = {"deblender": deblender, "bands": ["g", "r"], "seeing": 0.7, "settings": QUICK, "catalogue": catalogue}
    first, second = [(30, 30, 5000, 0.0)], [(52, 44, 5000, 0.0)]
    make(first, [(30, 30)])
    dead = [1]
    with pytest.raises(KeyboardInterrupt):
        deblend_field(tmp_path / "f_{band}.fits", tmp_path / "out", **options)
    (tmp_path / "out" / WORK / "mark").touch()
    make(second if changed == "image" else first, [(52, 44)] if changed != "nothing" else [(30, 30)])
    with pytest.raises(KeyboardInterrupt):
        deblend_field(tmp_path / "f_{band}.fits", tmp_path / "out", **options)
    assert (tmp_path / "out" / WORK / "mark").exists() == (changed == "nothing")
    dead.clear()
    deblend_field(tmp_path / "f_{band}.fits", tmp_path / "out", **options)
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    assert abs(table["x"][0].value - (30 if changed == "nothing" else 52)) < 1.5


def broken(how):
    def deblend(batch):
        answer = least_squares(batch)
        if how == "nan":
            answer.flux[:, 0] = np.nan
        elif how == "negative":
            answer.flux[:, 0], answer.image[:, 0] = -answer.flux[:, 0], -answer.image[:, 0]
        elif how == "ten times":
            answer.flux[:, 0], answer.image[:, 0] = 10 * answer.flux[:, 0], 10 * answer.image[:, 0]
        elif how == "infinite image":
            answer.image[:, 0, 3, 3] = np.inf
        return answer

    deblend.__name__ = how
    return deblend


@pytest.mark.parametrize("how", ["nan", "negative", "ten times", "infinite image"])
def test_bad_fits_fall_back_to_the_aperture(tmp_path, how):
    sources = [(30, 30, 700, 0), (36, 30, 500, 0), (75, 40, 600, 0)]
    table, _ = run(tmp_path, sources, (80, 110), deblender=broken(how))
    lost = (table["flags"] & FLAGS["fallback"]) > 0
    assert lost[table["n_in_group"] == 1].all()
    assert 1 <= lost[table["n_in_group"] == 2].sum() <= 2
    np.testing.assert_array_equal(table["flux_r"][lost], table["aperture_flux_r"][lost])
    assert np.isnan(table["half_light_radius"][lost]).all()
    assert np.isfinite(table["flux_r"].value).all()
    single = table[table["n_in_group"] == 1]
    assert single["flux_r"][0].value == pytest.approx(600, rel=0.1)
    with fits.open(tmp_path / "out" / "model.fits") as model:
        assert np.isfinite(model["R"].data).all()
        assert np.abs(model["R"].data[30:50, 65:85]).max() == 0


def test_masked_and_saturated_sources_fall_back(tmp_path):
    sources = [(30, 30, 700, 0), (70, 30, 700, 0), (30, 70, 700, 0), (70, 70, 40_000, 0)]
    image = draw((100, 100), sources)
    image[:, 29:32, 29:32] = np.nan
    write(tmp_path / "field.fits", image, SATURATE=1500.0)
    table, _ = run(tmp_path, sources)
    flags = dict(zip(table["id"], table["flags"], strict=True))
    for name, bit in (("s0", "masked"), ("s3", "saturated")):
        assert flags[name] & FLAGS[bit]
        assert flags[name] & FLAGS["fallback"]
    assert not flags["s2"] & (FLAGS["masked"] | FLAGS["saturated"] | FLAGS["fallback"])


def test_missed_sources_are_added(tmp_path):
    sources = [(40, 40, 2000, 0), (48, 40, 700, 0), (95, 40, 2000, 0)]
    write(tmp_path / "field.fits", draw((80, 130), sources))
    settings = dataclasses.replace(QUICK, add_sources=True)
    table, _ = run(tmp_path, [sources[0], sources[2]], settings=settings)
    added = (table["flags"] & FLAGS["added"]) > 0
    assert added.sum() == 1
    assert np.hypot(table["x"][added].value - 48, table["y"][added].value - 40)[0] < 0.5
    assert table["flux_r"][added].value[0] == pytest.approx(700, rel=0.2)
    assert table["id"][added][0] == "added-1"
    without, _ = run(tmp_path, [sources[0], sources[2]], name="without")
    assert len(without) == 2


def test_an_added_source_that_falls_back_is_left_out(tmp_path, monkeypatch):
    """What was neither detected nor fitted has no place in the catalogue: its aperture is its neighbours' light."""
    sources = [(40, 40, 2000, 0), (48, 40, 700, 0), (95, 40, 2000, 0)]
    write(tmp_path / "field.fits", draw((80, 130), sources))

    def strict(unit, planes, fit, *rest):
        fit.flux[(fit.flags & FLAGS["added"]) > 0] = 0
        return judge(unit, planes, fit, *rest)

    monkeypatch.setattr(fit_groups, "judge", strict)
    settings = dataclasses.replace(QUICK, add_sources=True, stamp_size=16)
    table, _ = run(tmp_path, [sources[0], sources[2]], settings=settings)
    assert list(table["id"]) == ["s0", "s1"]
    assert list(table["n_in_group"]) == [1, 1]
    assert list(Stamps.load(tmp_path / "out" / "stamps.h5").catalogue["id"]) == ["s0", "s1"]


def test_an_added_source_that_the_fit_puts_onto_another_is_taken_away(tmp_path):
    sources = [(40, 40, 2000, 0), (48, 40, 700, 0), (95, 40, 2000, 0)]
    write(tmp_path / "field.fits", draw((80, 130), sources))

    def astray(batch):
        answer = least_squares(batch)
        two = np.flatnonzero(batch["n_sources"] == 2)
        answer.positions[two, 1:2] = answer.positions[two, :1] + [0.2 * FWHM, 0]
        return answer

    table, _ = run(
        tmp_path, [sources[0], sources[2]], settings=dataclasses.replace(QUICK, add_sources=True), deblender=astray
    )
    assert list(table["id"]) == ["s0", "s1"]
    assert list(table["n_in_group"]) == [1, 1]
    # All that one profile can take of both.
    assert table["flux_r"].value[0] > 2200


def test_a_source_missed_between_two_windows_of_a_group_is_added_once(tmp_path):
    """Each window sees it, and would leave its light to the other."""
    sources = [(20 + 8 * i, 40 + (i % 2), 900, 0.0) for i in range(20)]
    write(tmp_path / "field.fits", draw((80, 200), sources))
    known = sources[:9] + sources[10:]
    table, _ = run(tmp_path, known, settings=dataclasses.replace(QUICK, add_sources=True))
    added = table[(table["flags"] & FLAGS["added"]) > 0]
    assert len(added) == 1
    assert np.hypot(added["x"].value - sources[9][0], added["y"].value - sources[9][1])[0] < 1
    # Its neighbour in the other window keeps a part of what it had taken.
    assert 500 < added["flux_r"].value[0] < 1000
    with fits.open(tmp_path / "out" / "model.fits") as hdus:
        assert hdus["R"].data.sum() == pytest.approx(20 * 900, rel=0.02)


def test_nothing_is_added_where_all_sources_are_known(tmp_path):
    """Sizes between those of the templates, so that the model is only nearly right."""
    rng = np.random.default_rng(11)
    sources = [
        (x + rng.uniform(), y + rng.uniform(), 1500, rng.uniform(0.5, 2.5))
        for x in (30, 60, 90, 120)
        for y in (30, 60, 90)
    ]
    table, _ = run(tmp_path, sources, (120, 150), dataclasses.replace(QUICK, add_sources=True))
    assert not (table["flags"] & FLAGS["added"]).any()


def test_large_groups_are_fitted_in_parts(tmp_path):
    """Twenty sources in a row of 160 pixels, each in the light of its neighbours."""
    sources = [(20 + 8 * i, 40 + (i % 2), 900, 0.0) for i in range(20)]
    sizes = []

    def spied(batch):
        sizes.append(batch["positions"].shape[1])
        return least_squares(batch)

    table, _ = run(tmp_path, sources, (80, 200), deblender=spied)
    assert max(sizes) <= windows.MOST_SOURCES
    assert set(table["n_in_group"]) == {20}
    pull = (table["flux_r"].value - 900) / table["flux_err_r"].value
    assert np.abs(np.median(pull)) < 1
    assert np.abs(pull).max() < 5
    assert not (table["flags"] & FLAGS["fallback"]).any()
    with fits.open(tmp_path / "out" / "residual.fits") as hdus:
        assert np.std(hdus["R"].data[30:52]) == pytest.approx(NOISE[1], rel=0.07)


def test_hundreds_of_sources(tmp_path):
    rng = np.random.default_rng(4)
    sources = [(*rng.uniform(5, 345, 2), 400, 0.0) for _ in range(300)]
    table, _ = run(tmp_path, sources, (350, 350))
    assert len(table) == 300
    truth = rows_of(table, sources)
    fine = (table["flags"] & FLAGS["fallback"]) == 0
    assert fine.mean() > 0.85
    pull = (table["flux_i"].value - 1.3 * truth[:, 2])[fine] / table["flux_err_i"].value[fine]
    assert abs(np.median(pull)) < 0.5


def test_seeing_is_measured_where_no_psf_is_given(tmp_path, caplog):
    sources = [(*place[:2], 6000, size) for place, size in zip(blends((130, 130), 14), [0, 0, 2.5] * 5, strict=False)]
    sources = [
        source
        for i, source in enumerate(sources)
        if all(np.hypot(source[0] - o[0], source[1] - o[1]) > 8 for o in sources[:i])
    ]
    write(tmp_path / "field.fits", draw((130, 130), sources))
    deblend_field(tmp_path / "field.fits", tmp_path / "out", deblender=least_squares, settings=QUICK, bands=BANDS)
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    assert table.meta["fwhm"] == pytest.approx(FWHM, rel=0.1)
    assert "no PSF given" in caplog.text


def test_int16_and_big_endian_files_are_read_as_they_are(tmp_path):
    image = np.round(draw((60, 60), [(30, 30, 2000, 0)]) * 10)
    write(tmp_path / "float.fits", image.astype(">f8"), dtype=">f8", MAGZERO=33.9)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, plane in zip(BANDS, image, strict=True):
        hdu = fits.ImageHDU(plane.astype(np.float32), wcs().to_header(), name=name)
        hdu.scale("int16", bzero=100, bscale=0.5)
        hdu.header["MAGZERO"] = 33.9
        hdus.append(hdu)
    hdus.writeto(tmp_path / "int.fits")
    with open_field(tmp_path / "float.fits", BANDS) as one, open_field(tmp_path / "int.fits", BANDS) as other:
        first, second = one.read(0, 60, 0, 60), other.read(0, 60, 0, 60)
    np.testing.assert_allclose(first["image"], second["image"], atol=0.06)
    assert first["image"].max() > 50


def test_bands_by_pattern_cube_and_extension_agree(tmp_path):
    image = draw((40, 50), [(20, 20, 900, 0)])
    write(tmp_path / "field.fits", image)
    header = wcs().to_header()
    header["MAGZERO"] = 31.4
    fits.writeto(tmp_path / "cube.fits", image.astype(np.float32), header)
    for name, plane in zip(BANDS, image, strict=True):
        fits.writeto(tmp_path / f"f_{name}.fits", plane.astype(np.float32), header)
    found = []
    for path in ("field.fits", "cube.fits", "f_{band}.fits"):
        with open_field(tmp_path / path, BANDS, subtract_sky=False) as field:
            found.append(field.read(-3, 45, 5, 60))
    for one in found[1:]:
        np.testing.assert_array_equal(one["image"], found[0]["image"])
        np.testing.assert_array_equal(one["mask"], found[0]["mask"])
    assert found[0]["mask"][:3].all()
    assert np.isinf(found[0]["variance"][-1]).all()
    with open_field(tmp_path / "field.fits", BANDS, names=["g", "-", "z"], subtract_sky=False) as field:
        assert field.bands == ("g", "z")
        np.testing.assert_array_equal(field.read(-3, 45, 5, 60)["image"], found[0]["image"][..., [0, 2]])


@pytest.mark.real
def test_hsc_blend(data_root, tmp_path):
    data = np.load(data_root / "hsc/scarlet/hsc_cosmos_35.npz")
    hdus, names = fits.HDUList([fits.PrimaryHDU()]), {}
    for key in ("images", "variance", "psfs"):
        for band, plane in zip(data["filters"], data[key], strict=True):
            hdus.append(fits.ImageHDU(plane.astype(np.float32), name=f"{key}_{band}"))
            hdus[-1].header["MAGZERO"] = 27.0
            names.setdefault(key, []).append(f"{tmp_path}/hsc.fits[{key}_{band}]")
    hdus.writeto(tmp_path / "hsc.fits")
    table = QTable({"x": data["catalog"]["x"], "y": data["catalog"]["y"]})
    deblend_field(
        names["images"],
        tmp_path / "out",
        deblender=least_squares,
        catalogue=table,
        bands=list("grizy"),
        settings=QUICK,
        variance=names["variance"],
        psf=names["psfs"],
        pixel_scale=0.168,
        subtract_sky=False,
    )
    found = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    assert len(found) == 7
    fine = (found["flags"] & FLAGS["fallback"]) == 0
    assert fine.sum() >= 5
    # 27.0 AB to nJy.
    total = data["images"][2].sum() * 10 ** (0.4 * 4.4)
    assert np.sum(found["flux_i"].value[fine]) == pytest.approx(total, rel=0.2)
