"""Noise and flag maps are what they are given as, of the right band and place, or it is said."""

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.fits import open_mosaic
from galzoo.data.zeropoint import AB_NJY
from galzoo.errors import InputError
from galzoo.field.cutouts import cutouts_from_files
from galzoo.field.open_field import open_field
from tests.data.test_doors import header, noise

SIZE = 64
SIGMA = 3.0


def write(path, image, name=None, **cards):
    primary = fits.PrimaryHDU(np.asarray(image, "f4"), header(MAGZERO=AB_NJY, **cards))
    if name is not None:
        primary.name = name
    primary.writeto(path, overwrite=True)
    return path


@pytest.fixture
def image(tmp_path):
    return write(tmp_path / "image.fits", SIGMA * noise(), BUNIT="nJy")


MAPS = {"rms": SIGMA, "variance": SIGMA**2, "weight": SIGMA**-2}


@pytest.mark.parametrize(
    ("kind", "name", "cards"),
    [
        ("rms", None, {"UTYPE": "StdDevUncertainty"}),
        ("variance", None, {"UTYPE": "VarianceUncertainty"}),
        ("weight", None, {"UTYPE": "InverseVariance"}),
        ("rms", None, {"HDUCLAS3": "RMSE"}),
        ("variance", None, {"HDUCLAS3": "MSE"}),
        ("weight", None, {"HDUCLAS3": "INVMSE"}),
        ("variance", None, {"BUNIT": "nJy2"}),
        ("weight", None, {"BUNIT": "1 / nJy2"}),
        ("rms", "ERR", {}),
        ("rms", "SIGMA", {}),
        ("variance", "VARIANCE", {}),
        ("variance", "STAT", {}),
        ("variance", "VAR_POISSON", {}),
        ("weight", "INVVAR", {}),
        ("weight", "WHT", {}),
        # What is written by definition wins over a name.
        ("variance", "ERR", {"HDUCLAS3": "MSE"}),
    ],
)
def test_a_noise_map_is_of_the_kind_that_it_says(tmp_path, image, kind, name, cards):
    path = write(tmp_path / "map.fits", np.full((SIZE, SIZE), MAPS[kind]), name, **cards)
    for given in MAPS:
        if given == kind:
            with open_field(image, ["r"], **{given: path}) as field:
                np.testing.assert_allclose(field.read(0, 9, 0, 9)["variance"], SIGMA**2, rtol=1e-6)
        else:
            with pytest.raises(InputError, match=rf"map.fits: .* \(--{kind}\), given as .* \(--{given}\)"):
                open_field(image, ["r"], **{given: path})


@pytest.mark.parametrize(("name", "cards"), [("field_rms.fits", {}), ("map.fits", {"BUNIT": "nJy"})])
def test_a_hint_of_another_kind_is_said(tmp_path, image, caplog, name, cards):
    path = write(tmp_path / name, np.full((SIZE, SIZE), SIGMA**2), **cards)
    open_mosaic(image, ["r"], variance=path).close()
    assert "but it is taken as a variance (--variance)" in caplog.text
    caplog.clear()
    open_mosaic(image, ["r"], rms=path).close()
    assert not caplog.records


def test_a_map_of_another_field_is_refused(tmp_path, image):
    """Tiles of a survey have one shape."""
    elsewhere = {"CRVAL1": 150.0 + 20 * 0.2 / 3600}
    for option, pixels in (("rms", np.full((SIZE, SIZE), SIGMA)), ("flags", np.zeros((SIZE, SIZE))),
                           ("segmentation", np.zeros((SIZE, SIZE)))):  # fmt: skip
        path = write(tmp_path / "map.fits", pixels, **elsewhere)
        with pytest.raises(InputError, match=r"map.fits: its WCS is 20.0 px off .*image.fits; give the map of that"):
            open_mosaic(image, ["r"], **{option: path})
        # Maps often have no WCS.
        fits.writeto(path, pixels.astype("f4"), overwrite=True)
        open_mosaic(image, ["r"], **{option: path}).close()


def test_a_map_may_be_a_pixel_off_its_image(tmp_path, image):
    path = tmp_path / "map.fits"
    for off, fits_well in ((0.9, True), (1.1, False)):
        write(path, np.full((SIZE, SIZE), SIGMA), CRVAL1=150.0 + off * 0.2 / 3600)
        if fits_well:
            open_mosaic(image, ["r"], rms=path).close()
        else:
            with pytest.raises(InputError, match="its WCS is 1.1 px off"):
                open_mosaic(image, ["r"], rms=path)


def test_maps_in_the_order_of_other_bands_are_refused(tmp_path):
    images = [write(tmp_path / f"{band}.fits", noise(), FILTER=band) for band in "gr"]
    maps = [write(tmp_path / f"map_{band}.fits", np.ones((SIZE, SIZE)), FILTER=band) for band in "gr"]
    for option in ("rms", "flags"):
        open_mosaic(images, ["g", "r"], **{option: maps}).close()
        with pytest.raises(InputError, match=r"map_r.fits: is of the band r, but comes in the place of g"):
            open_mosaic(images, ["g", "r"], **{option: maps[::-1]})
    # The headers of the images may have other names than --bands.
    images = [write(tmp_path / f"{band}.fits", noise(), FILTER=f"HSC-{band}") for band in "GR"]
    maps = [write(tmp_path / f"map_{band}.fits", np.ones((SIZE, SIZE)), FILTER=f"HSC-{band}") for band in "GR"]
    open_mosaic(images, ["g", "r"], rms=maps).close()
    with pytest.raises(InputError, match="is of the band HSC-R, but comes in the place of g"):
        open_mosaic(images, ["g", "r"], rms=maps[::-1])


def test_planes_of_a_mask_that_tell_of_sources_are_not_bad(tmp_path, image, caplog):
    flags = np.zeros((SIZE, SIZE), np.int32)
    flags[10:20], flags[30, 30], flags[40, 40], flags[50, 50] = 1 << 5, 1 << 1, (1 << 5) | 1, 1 << 8
    planes = {"MP_BAD": 0, "MP_SAT": 1, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_NO_DATA": 8}
    path = write(tmp_path / "mask.fits", flags, **planes)
    expected = np.zeros((SIZE, SIZE), bool)
    expected[30, 30] = expected[40, 40] = expected[50, 50] = True
    with open_field(image, ["r"], flags=path) as field:
        np.testing.assert_array_equal(field.read(0, SIZE, 0, SIZE)["mask"][..., 0], expected)
    assert caplog.text.count("mask.fits: of its planes BAD, SAT, NO_DATA are bad pixels") == 1
    with open_mosaic(image, ["r"], flags=path) as mosaic:
        np.testing.assert_array_equal(mosaic.gather([0], [0], SIZE)["mask"][0, ..., 0], expected)
    # Without names every bit is bad, but for JWST's, where one stands for all.
    for cards, bad in (({}, flags != 0), ({"TELESCOP": "JWST"}, flags % 2 == 1)):
        with open_mosaic(image, ["r"], flags=write(path, flags, **cards)) as mosaic:
            np.testing.assert_array_equal(mosaic.gather([0], [0], SIZE)["mask"][0, ..., 0], bad)


def test_maskbits_of_bright_stars_and_large_galaxies_are_not_bad(tmp_path, image, caplog):
    flags = np.zeros((SIZE, SIZE), np.int32)
    flags[10:40], flags[50, 50], flags[51, 51] = 2 | 4096, 4, 32
    cards = {"MB_BRIGH": 2, "MB_SAT_G": 4, "MB_ALL_G": 32, "MB_GAL": 4096}
    with open_mosaic(image, ["r"], flags=write(tmp_path / "mask.fits", flags, **cards)) as mosaic:
        np.testing.assert_array_equal(mosaic.gather([0], [0], SIZE)["mask"][0, ..., 0], (flags == 4) | (flags == 32))
    assert "mask.fits: of its bits MB_SAT_G, MB_ALL_G are bad pixels" in caplog.text


def test_a_mask_whose_ones_are_good_is_said(tmp_path, image, caplog):
    good = np.ones((SIZE, SIZE))
    good[:20] = 0
    open_mosaic(image, ["r"], flags=write(tmp_path / "good.fits", good)).close()
    assert "good.fits: 69 % of its pixels are not 0, which means bad; if 1 means good there, invert it" in caplog.text
    caplog.clear()
    open_mosaic(image, ["r"], flags=write(tmp_path / "bad.fits", 1 - good)).close()
    assert not caplog.records


def test_a_pixel_scale_that_is_not_that_of_the_wcs_is_said(image, caplog):
    open_mosaic(image, ["r"], pixel_scale=0.4).close()
    assert "image.fits: its WCS has pixels of 0.2 arcsec; the 0.4 that were given are taken" in caplog.text
    caplog.clear()
    open_mosaic(image, ["r"], pixel_scale=0.205).close()
    assert not caplog.records


@pytest.mark.parametrize(("given", "holds", "said"), [("variance", "weight", True), ("weight", "rms", True),
                                                      ("rms", "variance", True), ("rms", "rms", False)])  # fmt: skip
def test_noise_that_is_not_that_of_the_sky_is_said(tmp_path, caplog, given, holds, said):
    """Of kinds that are mixed up far enough; here, as said, only by a factor above 2.5 or below a half."""
    image = write(tmp_path / "image.fits", SIGMA * noise(size=SIZE))
    path = write(tmp_path / "map.fits", np.full((SIZE, SIZE), MAPS[holds]))
    with open_field(image, ["r"], **{given: path}) as field:
        assert np.isfinite(field.noise_levels()).all()
    assert ("check that the map is" in caplog.text) == said
    if given == "variance":
        assert "its sky scatters by 3" in caplog.text
        assert "the noise map says 0.333; check that the map is a variance, in the unit" in caplog.text


def test_extensions_in_the_order_of_other_bands_are_refused(tmp_path):
    def extensions(path, values):
        hdus = [fits.ImageHDU(np.asarray(value, "f4"), header(MAGZERO=AB_NJY), name=name) for name, value in values]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
        return [f"{path}[{name}]" for name, _ in values]

    images = extensions(tmp_path / "image.fits", [("G", noise()), ("R", noise(1))])
    maps = extensions(tmp_path / "map.fits", [("R", np.full((SIZE, SIZE), 2)), ("G", np.ones((SIZE, SIZE)))])
    with open_mosaic(images, rms=maps[::-1]) as mosaic:
        np.testing.assert_allclose(mosaic.gather([0], [0], SIZE)["variance"][0, 0, 0], [1, 4])
    with pytest.raises(InputError, match=r"map.fits\[R\]: is of the band R, but comes in the place of"):
        open_mosaic(images, rms=maps)


def test_a_map_of_another_filter_is_said(tmp_path, caplog):
    image = write(tmp_path / "image.fits", noise(), FILTER="r")
    open_mosaic(image, rms=write(tmp_path / "map.fits", np.ones((SIZE, SIZE)), FILTER="R")).close()
    assert not caplog.records
    open_mosaic(image, rms=write(tmp_path / "map.fits", np.ones((SIZE, SIZE)), FILTER="g")).close()
    assert "map.fits: is of the filter g, its image" in caplog.text


def test_a_cube_with_its_bands_on_the_wrong_axis_is_refused(tmp_path):
    """It would be as many bands as it has rows, each three pixels wide."""
    fits.writeto(tmp_path / "yxb.fits", np.zeros((40, 50, 3), "f4"), header(MAGZERO=AB_NJY))
    with pytest.raises(InputError, match="a cube of 3 x 50 x 40 .* its bands are on the first axis; bring them to the"):
        open_mosaic(tmp_path / "yxb.fits")


def test_images_in_another_order_than_their_bands(tmp_path):
    """By what the headers say of filters; names that are none of the bands say nothing."""
    for name in "gri":
        write(tmp_path / f"{name}.fits", noise(), FILTER=name if name != "i" else "HSC-I")
    paths = [tmp_path / f"{name}.fits" for name in "rgi"]
    with pytest.raises(InputError, match="r.fits: is of the band r, but comes in the place of g; give images in the"):
        open_mosaic(paths, ["g", "r", "i"])
    with open_mosaic(paths, ["r", "g", "i"]) as mosaic:
        assert mosaic.bands == ("r", "g", "i")
    with open_mosaic(paths, ["a", "b", "c"]) as mosaic:
        assert mosaic.bands == ("a", "b", "c")


def test_a_cube_whose_header_names_its_layers(tmp_path):
    """As cut-outs of the Legacy Surveys do."""
    cube = write(tmp_path / "a.fits", np.stack([noise(), noise(1), noise(2)]), BAND0="g", BAND1="r", BAND2="z")
    with open_field(cube) as field:
        assert field.bands == ("g", "r", "z")
    with pytest.raises(InputError, match="a.fits: is of the band g, but comes in the place of z"):
        open_field(cube, bands=["z", "r", "g"])
    # Of filter wheels, or of fewer layers than there are, nothing is known.
    for cards in ({"FILTER1": "F814W", "FILTER2": "CLEAR"}, {"BAND0": "g", "BAND1": "r"}):
        write(cube, np.stack([noise(), noise(1), noise(2)]), **cards)
        with open_field(cube) as field:
            assert field.bands == ("band0", "band1", "band2")


@pytest.mark.parametrize(("kind", "mark"), [("rms", 1e10), ("weight", 1e-20), ("variance", 1e30)])
def test_noise_that_stands_for_no_exposure(tmp_path, kind, mark):
    """Zeros under an rms of 1e10 would be the level of the sky, and halve its scatter."""
    pixels, values = noise() + 5, np.ones((SIZE, SIZE), np.float32)
    pixels[:, 40:], values[:, 40:] = 0, mark
    # The light of a saturated star is no gap.
    values[3, 3] = 300.0 if kind == "rms" else 1e5 if kind == "variance" else 1e-5
    image, path = write(tmp_path / "image.fits", pixels), write(tmp_path / "map.fits", values)
    with open_field(image, ["r"], **{kind: path}) as field:
        planes = field.read(0, SIZE, 0, SIZE)
    np.testing.assert_array_equal(planes["mask"][..., 0], np.broadcast_to(np.arange(SIZE) >= 40, (SIZE, SIZE)))
    assert abs(planes["image"][:, :40].mean()) < 0.2
    with open_mosaic(image, ["r"], **{kind: path}) as mosaic:
        cut = mosaic.gather([0], [0], SIZE)
    np.testing.assert_array_equal(cut["mask"][0], planes["mask"])


def test_flags_that_tell_of_sources_are_said(tmp_path, caplog):
    pixels = noise()
    pixels[20:30, 20:50] += 100
    image = write(tmp_path / "image.fits", pixels)
    for flags, said in ((pixels > 50, True), (pixels > 2.5, True), (noise(1) > 2, False), (pixels > -9, False)):
        caplog.clear()
        path = write(tmp_path / "flags.fits", flags.astype("i2"))
        open_mosaic(image, ["r"], flags=path).close()
        assert ("flags 100 % of the bright pixels of" in caplog.text) == said


@pytest.mark.parametrize("zero_point", [0.0, 8.9, 60.0])
def test_a_sky_of_no_survey_is_said(tmp_path, caplog, zero_point):
    image = write(tmp_path / "image.fits", noise())
    with open_field(image, ["r"], zero_point=zero_point):
        assert "image.fits, band r: its sky scatters by" in caplog.text
        assert "check its zero point" in caplog.text


def test_labels_below_zero_are_refused(tmp_path, image):
    """As -1 for the sky: all of it would be another source."""
    labels = np.full((SIZE, SIZE), -1, np.int16)
    labels[20:30, 20:30] = 4
    path = write(tmp_path / "labels.fits", labels)
    with open_mosaic(image, ["r"], segmentation=path) as mosaic:
        mosaic.gather([20], [20], 8)
        with pytest.raises(InputError, match=r"labels.fits: labels below 0 \(-1\); write 0 where there is no source"):
            mosaic.gather([20], [20], 16)


@pytest.mark.parametrize(("value", "said"), [(1.0, True), (SIGMA**-2, False)])
def test_a_mask_given_as_weight_of_stamps_is_said(tmp_path, image, caplog, value, said):
    """A map of 0 and 1 would be a variance of 1 nJy^2."""
    weight = np.full((SIZE, SIZE), value)
    weight[:9] = 0
    (tmp_path / "xy.csv").write_text("x,y\n30,30\n")
    cutouts_from_files(
        image, tmp_path / "a.h5", 16, tmp_path / "xy.csv", bands=["r"], weight=write(tmp_path / "map.fits", weight)
    )
    assert ("check that the map is an inverse variance" in caplog.text) == said


@pytest.mark.parametrize("bit", [0, 31, 63])
def test_any_bit_may_be_a_plane(tmp_path, image, bit):
    flags = np.zeros((SIZE, SIZE), np.uint64)
    flags[5, 5] = 1 << bit
    with open_mosaic(image, ["r"], flags=write(tmp_path / "mask.fits", flags, MP_SAT=bit)) as mosaic:
        assert mosaic.gather([0], [0], SIZE)["mask"].sum() == 1


def test_one_file_for_two_bands_is_said(image, caplog):
    open_mosaic([image, image], ["g", "r"]).close()
    assert "image.fits: is given for 2 bands" in caplog.text


def test_the_header_of_a_cube_says_nothing_of_its_layers(tmp_path, caplog):
    """Neither does a filter that all extensions of a file inherit; nor that of one flag map for all bands."""
    cube = write(tmp_path / "cube.fits", np.stack([noise(number) for number in range(3)]), FILTER="r")
    with open_mosaic(cube, ["g", "r", "i"]) as mosaic:
        assert mosaic.bands == ("g", "r", "i")
    hdus = [fits.PrimaryHDU(header=fits.Header({"FILTER": "r"}))]
    hdus += [fits.ImageHDU(noise(), header(MAGZERO=AB_NJY), name=name) for name in "GRI"]
    fits.HDUList(hdus).writeto(tmp_path / "three.fits")
    with open_field(tmp_path / "three.fits", bands=["g", "r", "i"]) as field:
        assert field.bands == ("g", "r", "i")
    flags = write(tmp_path / "flags.fits", np.zeros_like(noise()), FILTER="r")
    with open_mosaic(cube, ["g", "r", "i"], flags=flags) as mosaic:
        assert len(mosaic.flags) == 3
    assert "filter" not in caplog.text
    # Files have headers of their own, and extensions names.
    with pytest.raises(InputError, match="is of the band R, but comes in the place of g"):
        open_mosaic([f"{tmp_path / 'three.fits'}[{name}]" for name in "RGI"], ["g", "r", "i"])


@pytest.mark.parametrize(
    ("named", "band", "said"),
    [("r", "i", True), ("HSC-I", "F160W", True), ("i", "I", False), ("HSC-I", "i", False), ("r.MP9602", "r", False)],
)
def test_a_lone_image_of_another_filter_is_said_once(named, band, said, tmp_path, caplog):
    path = write(tmp_path / "a.fits", noise(), FILTER=named)
    with open_mosaic(path, [band]) as mosaic:
        assert mosaic.bands == (band,)
    assert caplog.text.count(f"a.fits: its header has the filter {named}; taken as band {band}") == said


def test_bands_that_are_called_after_the_file_are_said(tmp_path, caplog):
    image = write(tmp_path / "flux_njy.fits", noise())
    with open_mosaic(image) as mosaic:
        assert mosaic.bands == ("flux_njy",)
    assert "flux_njy.fits: its header has no filter; bands are called flux_njy, --bands names them" in caplog.text
    caplog.clear()
    for path, bands in ((image, ["r"]), (write(tmp_path / "i.fits", noise(), FILTER="i"), None)):
        with open_mosaic(path, bands):
            assert "filter" not in caplog.text


def test_a_weight_that_is_an_exposure_time_is_said(tmp_path, caplog):
    """As drizzled images of Hubble have it; where an inverse variance is that large by chance, too."""
    path, said = (
        write(tmp_path / "image.fits", 0.02 * noise(), EXPTIME=2000.0),
        "its largest value is the exposure time, ",
    )
    seconds = np.full((SIZE, SIZE), 1800.0)
    for largest in (2000.0, 1900.0):
        seconds[: SIZE // 2] = largest
        caplog.clear()
        with open_mosaic(path, ["r"], weight=write(tmp_path / "map.fits", seconds)):
            assert (f"map.fits: {said}2000 s" in caplog.text) == (largest == 2000)
