"""The adapter on batches drawn by GalSim in BTK's layout; where BTK is installed, on BTK itself too."""

import abc
import dataclasses
import subprocess
import sys
import types
from pathlib import Path

import galsim
import numpy as np
import pytest
import surveycodex
from astropy.table import Table
from astropy.wcs import WCS
from surveycodex.utilities import mag2counts, mean_sky_level

from galzoo.contracts.deblended import Deblended
from galzoo.errors import InputError, MissingDependencyError
from galzoo.interop.btk import GalzooDeblender, njy_per_electron, noise_variance

try:
    import btk.blend_batch
    import btk.deblend
except ImportError:
    btk = None

ROOT = Path(__file__).parents[2]
BANDS = ("y", "g", "r")
MAGNITUDES = {"u": 23.0, "g": 22.0, "r": 21.0, "i": 20.5, "z": 20.2, "y": 20.0}


class PointSources:
    """A deblender for stars: fluxes by a linear fit of the PSF at the given positions, weighted by the variance."""

    def __init__(self, bands=BANDS, extra=0):
        self.bands = bands
        self.extra = extra
        self.calls = []

    def deblend(self, batch, method="map", **options):
        self.calls.append({"method": method, **options})
        self.batch = batch
        n, height, width, n_band = batch["image"].shape
        present = np.arange(batch["positions"].shape[1]) < batch["n_sources"][:, None] + self.extra
        image = np.zeros((n, present.shape[1], height, width, n_band), np.float32)
        flux = np.zeros((n, present.shape[1], n_band))
        error = np.zeros_like(flux)
        for row in range(n):
            for band in range(n_band):
                weight = 1 / np.sqrt(batch["variance"][row, ..., band]).ravel()
                if not weight.any() or not batch["n_sources"][row]:
                    continue
                profile = galsim.InterpolatedImage(galsim.Image(batch["psf"][row, ..., band], scale=1.0), flux=1.0)
                centre = (width - 1) / 2, (height - 1) / 2
                drawn = [
                    profile.shift(x - centre[0], y - centre[1])
                    .drawImage(nx=width, ny=height, scale=1.0, method="no_pixel", dtype=float)
                    .array
                    for x, y in batch["positions"][row, : batch["n_sources"][row]]
                ]
                matrix = np.array([star.ravel() for star in drawn]).T
                weighted = matrix * weight[:, None]
                covariance = np.linalg.inv(weighted.T @ weighted)
                found = covariance @ weighted.T @ (batch["image"][row, ..., band].ravel() * weight)
                flux[row, : len(found), band] = found
                error[row, : len(found), band] = np.sqrt(np.diag(covariance))
                image[row, : len(found), ..., band] = np.array(drawn) * found[:, None, None]
        return Deblended(
            image,
            flux,
            batch["positions"].astype(float),
            present,
            flux_error=error,
            samples=np.stack([flux, 2 * flux]),
            shape=np.tile([0.1, -0.2, 3.0], (*present.shape, 1)),
            chi2=np.ones(n),
            flags=np.full(present.shape, 4),
        )


def make_wcs(scale, size):
    """As BTK's `make_wcs`: the centre of the stamp is (0, 0), right ascension grows with x."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [(size + 1) / 2] * 2
    wcs.wcs.pc = np.diag([scale / 3600] * 2)
    wcs.wcs.cdelt = [1.0, 1.0]
    wcs.wcs.crval = [0.0, 0.0]
    return wcs


def make_batch(noise="all", counts=(2, 0, 3), size=48, brighter=0.0, seed=3):
    """Blends of stars with the attributes of BTK's `BlendBatch`, drawn and made noisy as BTK does."""
    rng = np.random.default_rng(seed)
    survey = surveycodex.get_survey("LSST")
    scale = survey.pixel_scale.to_value("arcsec")
    names = survey.available_filters
    psf = [galsim.Moffat(3.0, fwhm=survey.get_filter(name).psf_fwhm.value) for name in names]
    isolated = np.zeros((len(counts), max(counts) + 1, len(names), size, size))
    catalogs = []
    for row, count in enumerate(counts):
        sky = Table({"ra": rng.uniform(-3, 3, count), "dec": rng.uniform(-3, 3, count)})
        x, y = make_wcs(scale, size).world_to_pixel_values(sky["ra"] / 3600, sky["dec"] / 3600)
        sky["x_peak"], sky["y_peak"] = np.atleast_1d(x), np.atleast_1d(y)
        for source in range(count):
            for band, name in enumerate(names):
                flux = mag2counts(MAGNITUDES[name] + source - brighter, survey, name).to_value("electron")
                star = (psf[band] * flux).shift(sky["ra"][source], sky["dec"][source])
                isolated[row, source, band] = star.drawImage(nx=size, ny=size, scale=scale).array
        catalogs.append(sky)
    blends = isolated.sum(axis=1)
    level = np.array([mean_sky_level(survey, name).to_value("electron") for name in names])[:, None, None]
    if noise == "all":
        blends = rng.poisson(np.maximum(blends, 0)).astype(float)  # GalSim's ringing goes below 0
    blends = blends + rng.poisson(np.broadcast_to(level, blends.shape)) - level
    return types.SimpleNamespace(
        batch_size=len(counts),
        max_n_sources=max(counts) + 1,
        stamp_size=size * scale,
        survey=survey,
        blend_images=blends,
        isolated_images=isolated,
        catalog_list=catalogs,
        psf=psf,
        wcs=make_wcs(scale, size),
        image_size=size,
    )


@dataclasses.dataclass
class _DeblendExample:
    max_n_sources: int
    catalog: Table
    n_bands: int
    image_size: int
    segmentation: np.ndarray = None
    deblended_images: np.ndarray = None
    extra_data: dict = None


@dataclasses.dataclass
class _DeblendBatch:
    """The fields of BTK 1.0.9's `DeblendBatch`, and what it checks."""

    batch_size: int
    max_n_sources: int
    catalog_list: list
    n_bands: int
    image_size: int
    segmentation: np.ndarray = None
    deblended_images: np.ndarray = None
    extra_data: list = None

    def __post_init__(self):
        assert isinstance(self.catalog_list, list)
        assert len(self.catalog_list) == self.batch_size
        for catalog in self.catalog_list:
            assert {"ra", "dec"} <= set(catalog.colnames)
            assert len(catalog) <= self.max_n_sources
        shape = self.batch_size, self.max_n_sources, self.n_bands, self.image_size, self.image_size
        assert self.deblended_images.shape == shape


class _Deblender(abc.ABC):
    @abc.abstractmethod
    def deblend(self, ii, blend_batch):
        pass


@pytest.fixture(autouse=True)
def _interface(monkeypatch):
    """Stand in for BTK where it is not installed."""
    if btk is None:
        package = types.ModuleType("btk")
        package.blend_batch = types.ModuleType("btk.blend_batch")
        package.blend_batch.DeblendBatch = _DeblendBatch
        package.blend_batch.DeblendExample = _DeblendExample
        package.deblend = types.ModuleType("btk.deblend")
        package.deblend.Deblender = _Deblender
        for name in ("btk", "btk.blend_batch", "btk.deblend"):
            monkeypatch.setitem(sys.modules, name, package if name == "btk" else getattr(package, name[4:]))


def test_stars_get_their_fluxes_in_electrons_in_every_band():
    batch, model = make_batch(), PointSources()
    deblender = GalzooDeblender(model, method="map", steps=7)
    answer = deblender(batch)
    assert model.calls == [{"method": "map", "steps": 7}]
    assert deblender.filter_names(batch.survey) == ["g", "r", "y"]
    truth = batch.isolated_images[:, :, deblender.filter_indices(batch.survey)]
    assert answer.deblended_images.shape == truth.shape
    assert answer.deblended_images.min() == 0
    for row, catalog in enumerate(answer.catalog_list):
        assert len(catalog) == len(batch.catalog_list[row])
        for column in ("ra", "dec", "x_peak", "y_peak"):
            np.testing.assert_allclose(catalog[column], batch.catalog_list[row][column], atol=1e-4)
        for source in range(len(catalog)):
            for index, name in enumerate(("g", "r", "y")):
                expected = mag2counts(MAGNITUDES[name] + source, batch.survey, name).to_value("electron")
                # The PSF image ends after 41 pixels and has unit sum there.
                tolerance = 5 * catalog[f"flux_error_{name}"][source] + 0.02 * expected
                assert catalog[f"flux_{name}"][source] == pytest.approx(expected, abs=tolerance)
                peak = truth[row, source, index].max()
                assert np.abs(answer.deblended_images[row, source, index] - truth[row, source, index]).max() < (
                    0.02 * peak + 5 * catalog[f"flux_error_{name}"][source] * peak / expected
                )
        assert (answer.deblended_images[row, len(catalog) :] == 0).all()
    assert answer.catalog_list[0]["flux_g"].unit == "electron"
    np.testing.assert_allclose(answer.catalog_list[0]["half_light_radius"], 0.6)
    np.testing.assert_allclose(answer.catalog_list[0]["e2"], -0.2)
    assert answer.catalog_list[0]["flags"].tolist() == [4, 4]
    assert answer.extra_data[2]["filters"] == ["g", "r", "y"]
    samples = answer.extra_data[2]["flux_samples"]
    assert samples.shape == (2, 3, 3)
    np.testing.assert_allclose(samples[0, :, 1], answer.catalog_list[2]["flux_r"])


def test_what_the_model_gets():
    batch = make_batch()
    model = PointSources(bands=("r", "nir", "u"))
    GalzooDeblender(model, filters={"nir": "H"}).batch_call(batch)
    seen = model.batch
    r, u = (batch.survey.available_filters.index(name) for name in "ru")
    # The AB zero point of nJy is 31.4.
    expected = 10 ** (0.4 * (31.4 - MAGNITUDES["r"]))
    light = batch.isolated_images[0, 0, r].sum() * njy_per_electron(batch.survey, "r")
    assert light == pytest.approx(expected, rel=0.03)
    scale = njy_per_electron(batch.survey, "u")
    np.testing.assert_allclose(seen["image"][..., 2], batch.blend_images[:, u] * scale, rtol=1e-5)
    assert np.isinf(seen["variance"][..., 1]).all()
    assert not seen["image"][..., 1].any()
    np.testing.assert_allclose(seen["psf"].sum(axis=(1, 2)), 1, atol=1e-5)
    assert seen["psf"].shape == (3, 41, 41, 3)
    assert seen["positions"].shape == (3, 4, 2)
    assert seen["n_sources"].tolist() == [2, 0, 3]
    assert {key: value.dtype.name for key, value in seen.items()} == {
        "image": "float32",
        "variance": "float32",
        "mask": "bool",
        "psf": "float32",
        "positions": "float32",
        "n_sources": "int32",
    }


@pytest.mark.parametrize("noise", ["all", "background"])
def test_the_variance_is_that_of_the_noise(noise):
    batch = make_batch(noise, counts=(3,) * 6, size=64, brighter=3.0)
    r = batch.survey.available_filters.index("r")
    residual = (batch.blend_images - batch.isolated_images.sum(axis=1))[:, r]
    variance = noise_variance(batch.blend_images[:, r], batch.survey, "r", noise)
    chi2 = residual**2 / variance
    assert chi2.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / chi2.size))
    bright = batch.isolated_images.sum(axis=1)[:, r] > variance.min()
    assert bright.sum() > 300
    # The blur takes some of the variance off the peaks of stars.
    assert chi2[bright].mean() == pytest.approx(1, abs=4 * np.sqrt(2 / bright.sum()) + (0.1 if noise == "all" else 0))
    wrong = noise_variance(batch.blend_images[:, r], batch.survey, "r", "background" if noise == "all" else "all")
    assert abs((residual**2 / wrong)[bright].mean() - 1) > 0.4


def test_one_blend_by_itself_is_as_in_its_batch():
    batch = make_batch()
    deblender = GalzooDeblender(PointSources())
    whole, alone = deblender.batch_call(batch), deblender.deblend(2, batch)
    np.testing.assert_allclose(alone.deblended_images, whole.deblended_images[2], rtol=1e-5)
    np.testing.assert_allclose(alone.catalog["flux_g"], whole.catalog_list[2]["flux_g"])


def test_positions_of_a_detector_and_of_catalogues():
    batch = make_batch()
    found = [Table({"ra": cat["ra"] + 0.1, "dec": cat["dec"]}) for cat in batch.catalog_list]
    model = PointSources()
    detector = lambda blend_batch: types.SimpleNamespace(catalog_list=found)  # noqa: E731
    GalzooDeblender(model, detector=detector).batch_call(batch)
    first = np.array([batch.catalog_list[0]["x_peak"], batch.catalog_list[0]["y_peak"]]).T
    np.testing.assert_allclose(model.batch["positions"][0, :2], first + [0.5, 0], atol=1e-3)
    GalzooDeblender(model, detector=detector).batch_call(batch, reference_catalogs=batch.catalog_list)
    np.testing.assert_allclose(model.batch["positions"][0, :2], first, atol=1e-4)
    GalzooDeblender(model, method=None).batch_call(batch, reference_catalogs=[cat[:1] for cat in found])
    assert model.batch["n_sources"].tolist() == [1, 0, 1]


def test_sources_that_the_model_adds_or_drops():
    batch = make_batch()
    answer = GalzooDeblender(PointSources(extra=1), max_n_sources=4).batch_call(batch)
    assert [len(catalog) for catalog in answer.catalog_list] == [3, 1, 4]
    answer = GalzooDeblender(PointSources(extra=-1)).batch_call(batch)
    assert [len(catalog) for catalog in answer.catalog_list] == [1, 0, 2]
    with pytest.raises(InputError, match="blend 2 has 3 sources, max_n_sources is 2"):
        GalzooDeblender(PointSources(), max_n_sources=2).batch_call(batch)


def test_it_is_a_deblender_to_btk_and_has_a_name():
    base = (btk or sys.modules["btk"]).deblend.Deblender
    assert isinstance(GalzooDeblender(PointSources()), base)
    assert str(GalzooDeblender(PointSources())) == "GalzooDeblender"
    assert str(GalzooDeblender(PointSources(), name="stars")) == "stars"


def test_refusals():
    batch = make_batch()
    deblender = GalzooDeblender(PointSources())
    with pytest.raises(InputError, match="the filters u, g, r, i, z, y, the model the bands VIS; say"):
        GalzooDeblender(PointSources(bands=("VIS",))).batch_call(batch)
    with pytest.raises(InputError, match="filters has 'k', which is no band of the model: y, g, r"):
        GalzooDeblender(PointSources(), filters={"k": "K"})
    with pytest.raises(InputError, match="noise 'none' is unknown; use all or background"):
        GalzooDeblender(PointSources(), noise="none")
    with pytest.raises(InputError, match="psf_size is 40; give an odd number"):
        GalzooDeblender(PointSources(), psf_size=40)
    with pytest.raises(InputError, match="object is no deblender"):
        GalzooDeblender(object())
    with pytest.raises(InputError, match="2 catalogues for 3 blends"):
        deblender.batch_call(batch, reference_catalogs=batch.catalog_list[:2])
    with pytest.raises(InputError, match="blend 0 has neither x_peak and y_peak nor ra and dec"):
        deblender.batch_call(batch, reference_catalogs=[Table({"x": [1.0]})] * 3)
    with pytest.raises(InputError, match="blend 0 has a position that is not finite"):
        deblender.batch_call(batch, reference_catalogs=[Table({"x_peak": [np.nan], "y_peak": [1.0]})] * 3)
    with pytest.raises(InputError, match=r"SimpleNamespace is no batch of one survey.*batch\[survey_name\]"):
        deblender.batch_call(types.SimpleNamespace(results={}))
    batch.psf = [galsim.Image(np.ones((3, 3)))] * 6
    with pytest.raises(InputError, match="read from a file, which holds its PSFs on pixels of another size"):
        deblender.batch_call(batch)


def test_pixels_of_another_size_than_in_training_are_told(caplog):
    deblender = GalzooDeblender(PointSources(), name="stars")
    deblender.pixel_scale = 0.2
    deblender.batch_call(make_batch())
    assert not caplog.records
    deblender.pixel_scale = 0.168
    deblender.batch_call(make_batch())
    assert "stars was trained on pixels of 0.168 arcsec, those of LSST have 0.2" in caplog.text


def test_without_btk_one_line_says_what_to_install(monkeypatch):
    for module in ("btk", "btk.blend_batch", "btk.deblend"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r'Python 3.11 or 3.12: pip install "blending-toolkit==1.0.9"'):
        GalzooDeblender(PointSources())


def test_import_needs_neither_btk_nor_a_back_end():
    code = "import sys, galzoo.interop.btk; assert not {'btk', 'keras', 'tensorflow', 'galsim'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.skipif(btk is None, reason="BTK is not installed; it needs an environment of its own (docs/btk.md)")
@pytest.mark.filterwarnings("default")
def test_btk_itself_draws_deblends_and_scores():
    from btk.catalog import CatsimCatalog
    from btk.draw_blends import CatsimGenerator
    from btk.match import IdentityMatcher
    from btk.metrics.reconstruction import StructSim
    from btk.sampling_functions import DefaultSampling
    from btk.survey import get_surveys

    rng = np.random.default_rng(0)
    n = 20
    stars = Table({"ra": np.zeros(n), "dec": np.zeros(n)})
    for band in "ugrizy":
        stars[f"{band}_ab"] = rng.uniform(20, 22, n)
    for part in ("disk", "bulge", "agn"):
        stars[f"fluxnorm_{part}"] = float(part == "agn")
    sampling = DefaultSampling(stamp_size=10.0, max_number=3, min_number=1, max_shift=2.0, seed=1)
    draws = CatsimGenerator(CatsimCatalog(stars), sampling, get_surveys("LSST"), batch_size=4, seed=2)
    names = list(draws.catalog.table.colnames)
    assert "y_ab" in names
    model = PointSources()
    deblender = GalzooDeblender(model, name="stars")
    generator = btk.deblend.DeblendGenerator([deblender], draws)
    batch, answers = next(generator)
    assert len(model.calls) == 1
    answer = answers["stars"]
    indices = deblender.filter_indices(batch.survey)
    for row, catalog in enumerate(answer.catalog_list):
        for column in ("ra", "dec"):
            np.testing.assert_allclose(catalog[column], batch.catalog_list[row][column], atol=1e-4)
        for index, name in zip(indices, ("g", "r", "y"), strict=True):
            expected = batch.isolated_images[row, : len(catalog), index].sum(axis=(1, 2))
            tolerance = 5 * catalog[f"flux_error_{name}"] + 0.02 * expected
            assert (np.abs(catalog[f"flux_{name}"] - expected) < tolerance).all()
    matching = IdentityMatcher()(batch.catalog_list, answer.catalog_list)
    truth = matching.match_true_arrays(batch.isolated_images[:, :, indices[1]])
    found = matching.match_pred_arrays(answer.deblended_images[:, :, 1])
    assert StructSim(batch_size=4)(truth, found) > 0.99
