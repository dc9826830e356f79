"""Other telescopes' stamps on a model's bands and pixels, and the named data sets."""

import types

import galsim
import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo.data import build_dataset
from galzoo.data.candels import read_candels_stamps
from galzoo.data.conform import conform, moffat, neighbours, read_survey
from galzoo.data.cosmos import make_cosmos
from galzoo.data.stamps import Stamps
from galzoo.datasets.candels import make_candels
from galzoo.errors import InputError, UnknownNameError
from galzoo.registry import datasets

RNG = np.random.default_rng(5)


def blob(size, sigma, flux=1.0, dx=0.0, dy=0.0):
    y, x = np.indices((size, size)) - (size - 1) / 2
    return flux * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def stamps_of(n=3, size=48):
    image = np.stack([np.stack([blob(size, 3, 100), blob(size, 3, 200)], axis=-1)] * n)
    psf = np.stack([blob(21, 2.0), blob(21, 2.4)], axis=-1)[None]
    table = QTable({"x": np.full(n, 23.5) * u.pix, "y": np.full(n, 24.5) * u.pix, "r50": np.full(n, 3.5) * u.pix})
    variance = np.ones_like(image) * [1.0, 4.0]
    return Stamps(image, ("G", "Z"), 0.3, variance=variance, psf=psf, catalogue=table)


def test_conform_keeps_flux_and_leaves_absent_bands_without_weight():
    new = conform(stamps_of(), ("g", "r", "z"), 0.2, 64, {"g": "G", "z": "Z"})
    assert new.image.shape == (3, 64, 64, 3)
    np.testing.assert_allclose(new.image.sum(axis=(1, 2))[0], [100, 0, 200], rtol=1e-3)
    assert np.isinf(new.variance[..., 1]).all()
    assert new.mask[..., 1].all()
    assert not new.mask[..., [0, 2]].any()
    np.testing.assert_allclose(new.variance[0, 32, 32, 2] / new.variance[0, 32, 32, 0], 4, rtol=1e-4)
    np.testing.assert_allclose(new.psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert new.catalogue["y"][0].value == pytest.approx(31.5 + 1.5)
    assert new.catalogue["r50"][0].value == pytest.approx(5.25)
    with pytest.raises(InputError, match="none of the bands"):
        conform(stamps_of(), ("r",), 0.2, 64)


def test_conform_gives_every_band_its_own_psf():
    """Widths in pixels grow by 3 / 2; the absent band has the first one's."""
    psf = conform(stamps_of(), ("z", "g", "r"), 0.2, 64, {"g": "G", "z": "Z"}).psf[0]
    peaks = psf.max(axis=(0, 1))
    np.testing.assert_allclose(peaks[:2], 1 / (2 * np.pi * np.square([3.6, 3.0])), rtol=0.02)
    assert peaks[2] in peaks[:2]


def test_conform_of_stamps_that_are_wider_than_high():
    """A source right of and below the middle; lengths in pixels grow by 2."""
    y, x = np.indices((40, 60))
    image = 100 * np.exp(-((x - 32.5) ** 2 + (y - 17.5) ** 2) / 32)[None, ..., None]
    lengths = {
        name: [value] * u.pix for name, value in (("x", 32.5), ("y", 17.5), ("r90", 5.0), ("a", 4.0), ("b", 3.0))
    }
    old = Stamps(image, ("r",), 0.4, variance=np.ones_like(image), catalogue=QTable(lengths))
    new = conform(old, ("r",), 0.2, 64)
    row, column = np.unravel_index(new.image[0, ..., 0].argmax(), (64, 64))
    found = {name: new.catalogue[name][0].value for name in lengths}
    assert found == {"x": 31.5 + 6, "y": 31.5 - 4, "r90": 10, "a": 8, "b": 6}
    assert abs(column - found["x"]) <= 0.5
    assert abs(row - found["y"]) <= 0.5


def test_conform_scales_the_lengths_that_are_in_pixels():
    """Of galzoo's own catalogues `a` and `b` are in arcsec; without a unit, a length is in pixels."""
    old = stamps_of(1)
    old.catalogue["a"], old.catalogue["r90"], old.catalogue["b"] = [1.5] * u.arcsec, [7.0] * u.kpc, [4.0]
    new = conform(old, ("G", "Z"), 0.15, 64).catalogue
    assert (new["a"][0], new["r90"][0]) == (1.5 * u.arcsec, 7.0 * u.kpc)
    assert (new["b"][0], new["r50"][0]) == (8.0 * u.pix, 7.0 * u.pix)


def test_conform_keeps_the_sky_per_area():
    old = stamps_of()
    old.catalogue["sky_G"], old.catalogue["gain_G"] = 9.0, 2.0
    new = conform(old, ("G", "Z"), 0.2, 64)
    np.testing.assert_allclose(new.catalogue["sky_G"], 9.0 * (0.2 / 0.3) ** 2)
    np.testing.assert_allclose(new.catalogue["gain_G"], 2.0)


def test_conform_keeps_bad_pixels_where_they_are():
    old = stamps_of(1)
    old.mask = np.zeros(old.image.shape, bool)
    # A block of bad pixels, 9 to 13 pixels right of the middle and in one band only.
    old.mask[0, 20:28, 33:38, 0] = True
    old.variance = old.variance.copy()
    old.variance[0, 5:9, 20:28, 1] = np.inf
    new = conform(old, ("G", "Z"), 0.2, 64)
    for band, (y, x) in enumerate([(np.arange(20, 28), np.arange(33, 38)), (np.arange(5, 9), np.arange(20, 28))]):
        rows, columns = np.nonzero(new.mask[0, ..., band])
        assert rows.mean() == pytest.approx((y.mean() - 23.5) * 1.5 + 31.5, abs=0.6)
        assert columns.mean() == pytest.approx((x.mean() - 23.5) * 1.5 + 31.5, abs=0.6)
        assert 1.5**2 * len(y) * len(x) * 0.9 < len(rows) < 1.5**2 * len(y) * len(x) * 3


def survey_file(path, stars):
    sizes = [4.0] * 6 + [2.0] * stars
    n = len(sizes)
    image = np.stack([blob(40, s, 300) + RNG.normal(0, 0.05, (40, 40)) for s in sizes])
    image[0] += blob(40, 2.0, 100, dx=13)
    with h5py.File(path, "w") as file:
        group = file.create_group("mine")
        group["images"] = image[..., None].astype(np.float32)
        extended = np.arange(n) < 6
        columns = {
            "id": np.arange(n), "x": np.full(n, 50.2), "y": np.full(n, 60.0), "flux": np.full(n, 300.0),
            "flux_err": np.ones(n), "flag": np.zeros(n), "is_bright": np.zeros(n, np.uint8),
            "is_extended": extended.astype(np.uint8), "is_isolated": np.ones(n, np.uint8), "r50": np.array(sizes),
        }  # fmt: skip
        for name, values in columns.items():
            group[f"cat/{name}"] = values
        group.attrs.update(
            {
                "bands": "r",
                "pixel_scale": "0.262",
                "zeropoint": "22.5",
                "rms": "[0.05]",
                "star_r50": "2.35",
                "telescope": "T",
            }
        )


@pytest.mark.parametrize(
    ("column", "value", "stars"),
    [(None, 0, True), ("is_isolated", 0, False), ("is_bright", 1, False), ("flag", 1, False), ("flux_err", 10, False)],
)
def test_psfs_of_a_survey_are_of_its_bright_isolated_stars(tmp_path, column, value, stars):
    """A star of 30 sigma is not bright; without five there is a Moffat profile instead."""
    survey_file(tmp_path / "linear.h5", 12)
    with h5py.File(tmp_path / "linear.h5", "r+") as file:
        if column:
            file[f"mine/cat/{column}"][6:] = value
    psf = read_survey(tmp_path / "linear.h5", "mine").psf[0]
    assert (psf.shape != (33, 33, 1) or not np.allclose(psf, moffat(2.35))) == stars


def test_objects_of_a_survey_are_isolated_unless_all_are_wanted(tmp_path):
    survey_file(tmp_path / "linear.h5", 0)
    with h5py.File(tmp_path / "linear.h5", "r+") as file:
        file["mine/cat/is_isolated"][2] = 0
    assert [len(read_survey(tmp_path / "linear.h5", "mine", isolated=one)) for one in (True, False)] == [5, 6]


@pytest.mark.parametrize("stars", [0, 12])
def test_survey_in_njy_with_its_psf(tmp_path, stars):
    survey_file(tmp_path / "linear.h5", stars)
    stamps = read_survey(tmp_path / "linear.h5", "mine")
    assert len(stamps) == 6
    scale = 10 ** (0.4 * 8.9)
    np.testing.assert_allclose(stamps.image[1].sum(), 300 * scale, rtol=0.05)
    np.testing.assert_allclose(stamps.variance[0, 0, 0, 0], (0.05 * scale) ** 2, rtol=1e-5)
    assert stamps.mask[0, 19, 33, 0]
    # At x 50.2 of the mosaic, so right of the middle of its pixel.
    np.testing.assert_allclose(stamps.catalogue["x"].to_value("pix"), 20.2)
    assert not stamps.mask[0, 17:23, 17:23].any()
    psf = stamps.psf[0, ..., 0].astype(float)
    middle = (psf.shape[0] - 1) // 2
    y, x = np.indices(psf.shape) - middle
    light = np.bincount(np.hypot(x, y).astype(int).ravel(), psf.ravel()).cumsum()
    # A Gaussian of sigma 2 has half of its light within 2.355.
    assert light[1] < 0.5 < light[2]
    with pytest.raises(InputError, match="no survey 'other'"):
        read_survey(tmp_path / "linear.h5", "other")


def test_moffat_has_the_radius_asked_for():
    psf = moffat(3.0, size=65)[..., 0]
    y, x = np.indices(psf.shape) - 32
    # Its far wings are cut off at the edge.
    assert psf[np.hypot(x, y) <= 3.0].sum() == pytest.approx(0.5, abs=0.04)


def test_neighbours_are_all_but_the_middle():
    image = blob(40, 2.0, 100) + blob(40, 2.0, 100, dx=-12) + RNG.normal(0, 0.02, (40, 40))
    mask = neighbours(image, 0.02)
    assert mask[19, 7]
    assert not mask[19, 19]


def test_candels_from_stamps_and_from_mosaics(tmp_path):
    n = 3
    image = np.stack([blob(32, 2.5, 50) + RNG.normal(0, 0.01, (32, 32)) for _ in range(n)])
    labels = np.zeros((n, 32, 32), np.int32)
    labels[:, 10:22, 10:22] = 7
    labels[1, :4, :4] = 8
    with h5py.File(tmp_path / "cut.h5", "w") as file:
        file["images"], file["segmap"] = np.stack([image, 2 * image], axis=-1), labels
        file["id"] = np.array([b"GDS_a_12", b"GDS_b_12", b"GDS_a_13"])
        file.attrs["bands"] = "F125W(j),F160W(h)"
    fits.PrimaryHDU(blob(15, 1.5)).writeto(tmp_path / "psf.fits")
    stamps = read_candels_stamps(tmp_path / "cut.h5", ("F160W",), tmp_path / "psf.fits", size=24)
    assert stamps.image.shape == (3, 24, 24, 1)
    np.testing.assert_allclose(stamps.image[0].sum(), 100 * 10 ** (0.4 * (31.4 - 25.94)), rtol=0.05)
    np.testing.assert_allclose(np.sqrt(stamps.variance[:, 0, 0, 0]), 0.02 * 10 ** (0.4 * (31.4 - 25.94)), rtol=0.2)
    assert stamps.mask.sum() == 0
    assert list(stamps.catalogue["id"]) == ["GDS-12", "GDS-12", "GDS-13"]
    mosaic = np.zeros((60, 60), np.float32)
    mosaic[10:42, 12:44] = image[0]
    fits.PrimaryHDU(mosaic).writeto(tmp_path / "h.fits")
    (tmp_path / "cat.csv").write_text("ID,X_IMAGE,Y_IMAGE\n5,28.5,26.5\n")
    count = make_candels(tmp_path / "out.h5", tmp_path / "h.fits", tmp_path / "cat.csv", size=20)
    assert count == 1
    assert Stamps.load(tmp_path / "out.h5").image.sum() == pytest.approx(50 * 10 ** (0.4 * (31.4 - 25.94)), rel=0.05)
    with pytest.raises(InputError, match="not a CANDELS filter"):
        make_candels(tmp_path / "out.h5", tmp_path / "h.fits", bands="H")


@pytest.fixture
def cosmos(tmp_path):
    """A real-galaxy catalogue of two Gaussians."""
    psf = galsim.Gaussian(sigma=0.06)
    images, psfs = [], []
    for row, flux in enumerate((80.0, 20.0)):
        galaxy = galsim.Convolve(galsim.Gaussian(sigma=0.2, flux=flux), psf)
        stamp = galaxy.drawImage(nx=90, ny=90, scale=0.03, method="no_pixel", dtype=np.float32)
        stamp.addNoise(galsim.GaussianNoise(galsim.BaseDeviate(row + 1), sigma=1e-3))
        images.append(stamp.array)
        psfs.append(psf.drawImage(nx=41, ny=41, scale=0.03, method="no_pixel").array)
    for name, planes in (("images.fits", images), ("psfs.fits", psfs)):
        fits.HDUList([fits.PrimaryHDU(planes[0]), fits.ImageHDU(planes[1])]).writeto(tmp_path / name)
    fits.PrimaryHDU(np.array([[1e-6]])).writeto(tmp_path / "noise.fits")
    columns = {
        "IDENT": ("J", [7, 9]), "RA": ("D", [150.0, 150.1]), "DEC": ("D", [2.0, 2.1]), "MAG": ("D", [21.2, 22.7]),
        "BAND": ("5A", ["F814W"] * 2), "WEIGHT": ("D", [1.0, 1.0]), "GAL_FILENAME": ("12A", ["images.fits"] * 2),
        "PSF_FILENAME": ("12A", ["psfs.fits"] * 2), "GAL_HDU": ("J", [0, 1]), "PSF_HDU": ("J", [0, 1]),
        "PIXEL_SCALE": ("D", [0.03] * 2), "NOISE_MEAN": ("D", [0.0] * 2), "NOISE_VARIANCE": ("D", [1e-6] * 2),
        "NOISE_FILENAME": ("12A", ["noise.fits"] * 2), "stamp_flux": ("D", [80.0, 20.0]),
    }  # fmt: skip
    table = fits.BinTableHDU.from_columns([fits.Column(name, kind, array=v) for name, (kind, v) in columns.items()])
    table.writeto(tmp_path / "real_galaxy_catalog_test.fits")
    return tmp_path / "real_galaxy_catalog_test.fits"


def test_cosmos_keeps_flux_noise_and_psf(cosmos, tmp_path):
    assert make_cosmos(tmp_path / "out.h5", cosmos, pixel_scale=0.06, size=40) == 2
    stamps = Stamps.load(tmp_path / "out.h5")
    flux = 10 ** (0.4 * (31.4 - 25.94))
    np.testing.assert_allclose(stamps.image.sum(axis=(1, 2, 3)), [80 * flux, 20 * flux], rtol=0.02)
    np.testing.assert_allclose(np.sqrt(stamps.variance[:, 0, 0, 0]), 1e-3 * 4 * flux, rtol=1e-5)
    sky = stamps.image[0, :8, :, 0]
    # Interpolation between pixels smooths noise that is independent, as it is not in drizzled images.
    assert sky.std() == pytest.approx(1e-3 * 4 * flux, rel=0.3)
    # Only what the catalogue's 2.7 arcsec hold was seen.
    assert stamps.mask.any() == (40 * 0.06 > 2.7)
    widths = (stamps.psf[0, ..., 0] ** 2).sum() * 4 * np.pi
    assert 1 / np.sqrt(widths) == pytest.approx(1.0, rel=0.05)
    assert list(stamps.catalogue["id"]) == ["COSMOS-7", "COSMOS-9"]


def test_cosmos_that_is_absent_tells_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match="galsim_download_cosmos"):
        make_cosmos(tmp_path / "out.h5", tmp_path)


def test_names_options_and_cache(tmp_path, monkeypatch):
    assert {"candels", "cosmos", "sdss", "simulated", "scenes"} <= set(datasets())
    assert build_dataset.parse_options(["size=32", "bands=[F160W]"]) == {"size": 32, "bands": ["F160W"]}
    with pytest.raises(InputError, match="key=value"):
        build_dataset.parse_options(["size"])
    with pytest.raises(UnknownNameError, match="did you mean 'sdss'"):
        build_dataset.make_named("sdsss", tmp_path / "out.h5")
    with pytest.raises(InputError, match="no option 'sise'"):
        build_dataset.make_named("cosmos", tmp_path / "out.h5", {"sise": 3})
    with pytest.raises(InputError, match="option 'source' is needed"):
        build_dataset.make_named("sdss", tmp_path / "out.h5")
    with pytest.raises(InputError, match=r"simulated: n is 'two'; give a whole number"):
        build_dataset.make_named("simulated", tmp_path / "out.h5", {"n": "two"})
    with pytest.raises(InputError, match="stamp_size is 'large'; give a whole number"):
        build_dataset.make_named("simulated", tmp_path / "out.h5", {"n": 1, "stamp_size": "large"})
    monkeypatch.setenv("GALZOO_CACHE", str(tmp_path / "cache"))
    made = []

    def build(output, size=8):
        made.append(size)
        stamps_of().save(output)

    monkeypatch.setattr(build_dataset, "get_dataset", lambda name: types.SimpleNamespace(builder=lambda: build))
    data = types.SimpleNamespace(path=None, name="cosmos", options={"size": 9})
    assert build_dataset.prepare(data) == build_dataset.prepare(data)
    assert made == [9]
    assert build_dataset.prepare(types.SimpleNamespace(path="a.h5", name=None, options={})).name == "a.h5"
