"""`--wake`: a field whose PSF and sky are not those that were told."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.errors import InputError
from galzoo.field.array_field import ArrayField
from galzoo.field.open_field import open_field
from galzoo.inference import star_fit, star_wake
from galzoo.tasks.detect import wake
from galzoo.tasks.detect.run import Settings, detect_field
from tests.field.fields import BANDS, FWHM, SIGMA, draw, write, write_psf
from tests.tasks.detect.fakes import Peaks
from tests.tasks.detect.test_star_products import GalaxiesLeft, Rough

SHAPE = (110, 120)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wake")
    random = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(10, 112, 14), np.arange(10, 104, 14)), axis=-1).reshape(-1, 2)
    stars = grid + random.uniform(-2, 2, grid.shape)
    flux = random.uniform(1500, 4000, len(stars))
    write(folder / "field.fits", 2.0 + draw(SHAPE, [(*p, f, 0) for p, f in zip(stars, flux, strict=True)]))
    write_psf(folder / "psf.fits")
    with fits.open(folder / "psf.fits", "update") as hdus:
        for hdu in hdus:
            if hdu.data is not None:
                # A seventh narrower than the stars are.
                middle = np.arange(hdu.data.shape[-1]) - hdu.data.shape[-1] // 2
                line = np.exp(-0.5 * (middle / (0.87 * SIGMA)) ** 2)
                hdu.data = (np.outer(line, line) / line.sum() ** 2).astype("float32")
    return folder, stars, flux


def run(place, output, detector, **settings):
    settings = Settings(tile=64, report=False, samples=0, refine=True, **settings)
    options = {"psf": place / "psf.fits", "bands": list(BANDS), "subtract_sky": False}
    return detect_field(place / "field.fits", output, detector=detector, settings=settings, **options)


def test_fluxes_and_residuals_are_mended_and_it_is_said_how(place, tmp_path, caplog):
    folder, stars, flux = place
    left, off = {}, {}
    for name in ("asleep", "awake"):
        run(folder, tmp_path / name, Rough(), wake=name == "awake")
        table = QTable.read(tmp_path / name / "catalogue.ecsv")
        near = np.hypot(table["x"].value[:, None] - stars[:, 0], table["y"].value[:, None] - stars[:, 1])
        found = near.min(axis=0) < 1
        assert found.all()
        # Asleep, the sky makes stars of peaks of the noise.
        assert name == "asleep" or len(table) == len(stars)
        off[name] = np.median(table["flux_r"].value[near.argmin(axis=0)] / flux - 1)
        left[name] = np.nanstd(fits.getdata(tmp_path / name / "residual.fits", "r"))
    assert not (tmp_path / "asleep" / "wake.json").exists()
    said = json.loads((tmp_path / "awake" / "wake.json").read_text())
    assert said["rounds"][-1]["chi2_after"] < 0.5 * said["rounds"][0]["chi2_before"]
    for band in BANDS:
        one = said["bands"][band]
        assert one["fwhm_before"] == pytest.approx(2.3548 * 0.87 * SIGMA, rel=0.05)
        assert one["fwhm_after"] == pytest.approx(FWHM, rel=0.05)
        assert one["sky"] == pytest.approx(2.0, abs=0.5)
    assert "--wake: r: FWHM" in caplog.text
    assert abs(off["awake"]) < 0.5 * abs(off["asleep"])
    # The noise of r is 1.2.
    assert left["awake"] < 1.3 < left["asleep"]


def test_what_cannot_be_awake_is_refused(place, tmp_path):
    folder, _, _ = place

    class Silent(Peaks):
        pass

    with pytest.raises(InputError, match="--wake fits the stars, and Silent says no fluxes"):
        run(folder, tmp_path / "out", Silent(), wake=True)
    with pytest.raises(InputError, match="--refine is for a preset"):
        run(folder, tmp_path / "out", None, wake=True)
    write(tmp_path / "field.fits", draw(SHAPE, [(20, 20, 900, 0)]))
    write_psf(tmp_path / "psf.fits")
    with pytest.raises(InputError, match="--wake: 1 stars in the middle of the field; it needs 20"):
        run(tmp_path, tmp_path / "out", Rough(), wake=True)


@dataclasses.dataclass
class Search:
    field: object
    psf_of: object
    detect: object = None
    fwhm: float = 3.0
    about: dict = dataclasses.field(default_factory=dict)


def test_the_sky_that_is_taken_off_is_the_plane_of_the_square():
    """5 in the middle, 3 more at the right edge, 2 less at the upper one; beyond the square it stays as it is there."""
    image = np.ones((60, 80, 1))
    mask = np.zeros(image.shape, bool)
    mask[30, 40] = True
    field = wake.WithSky(ArrayField(image, image, mask), [[5.0, 3.0, -2.0]], (20, 41, 30, 51))
    planes = field.read(10, 50, 20, 70)

    def at(x, y):
        return planes["image"][y - 10, x - 20, 0]

    # The square is of columns 30 to 50 and rows 20 to 40.
    assert at(50, 30) == pytest.approx(1 - 5 - 3)
    assert at(30, 40) == pytest.approx(1 - 5 + 3 + 2)
    assert at(45, 25) == pytest.approx(1 - 5 - 1.5 - 1)
    assert at(65, 30) == at(50, 30)
    assert at(40, 30) == 0
    assert field.shape == (60, 80)


def test_the_slope_of_the_numbers_is_that_of_the_sure_stars():
    """Numbers above f fall as f^-1.5: the n-th brightest of N stars has the flux (N / n)^(1 / 1.5)."""
    n = 500
    flux = (n / (np.arange(n) + 0.5)) ** (1 / 1.5)
    flux = np.concatenate([flux, np.full(100, 0.01)])[:, None]
    probability = np.concatenate([np.full(n, 0.8), np.full(100, 0.1)])
    zeros = np.zeros((n + 100, 2))
    law = wake._luminosity(star_fit.Prior(zeros, zeros, flux, flux, probability), (0, 50, 10, 110))["luminosity"]
    # The faintest fifth is not all found.
    assert law["least_flux"] == pytest.approx((1 / 0.8) ** (1 / 1.5), rel=1e-2)
    assert law["alpha"] == pytest.approx(1.5, rel=0.01)
    assert law["stars"] == pytest.approx(0.8 * 0.8 * n, rel=1e-2)
    assert law["alpha_error"] == pytest.approx(1.5 / np.sqrt(320), rel=0.02)
    assert law["density"] == pytest.approx((0.8 * n + 10) / 5000)


def test_it_is_said_how_psf_and_sky_have_changed():
    y, x = np.indices((25, 25)) - 12.0

    def psf(sigma, dx=0.0, dy=0.0):
        light = np.exp(-0.5 * ((x - dx) ** 2 + (y - dy) ** 2) / sigma**2)
        return light / light.sum()

    before, after = np.stack([psf(1.5), psf(1.5)], axis=-1), np.stack([psf(1.8), psf(1.6, 0.3, -0.2)], axis=-1)
    search = SimpleNamespace(field=SimpleNamespace(bands=("g", "r")), psf_of=lambda *place: before[None])
    sky = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    told = wake._about(search, lambda *place: after[None], sky, (np.zeros(1), np.zeros(1)), [{"stars": 3}])
    assert told["rounds"] == [{"stars": 3}]
    expected = {
        "fwhm_before": 1.5 * 2.3548, "fwhm_after": 1.6 * 2.3548, "moved_x": 0.3, "moved_y": -0.2, "sky": 4,
        "sky_along_x": 5, "sky_along_y": 6,
    }  # fmt: skip
    assert told["bands"]["r"] == pytest.approx(expected, rel=0.02)
    assert told["bands"]["g"]["fwhm_after"] == pytest.approx(1.8 * 2.3548, rel=0.02)


def test_the_fit_sees_doubtful_stars_by_their_probability(monkeypatch):
    """Thirty sure stars, widened, and ten of probability 0.1, a tenth of whose light is there."""
    orders = []
    places = np.stack(np.meshgrid(np.arange(5.0, 45, 8), np.arange(5.0, 69, 8)), axis=-1).reshape(-1, 2)
    prior = star_fit.Prior(
        places, np.full((40, 2), 0.1), np.full((40, 1), 50.0), np.full((40, 1), 2.0), np.repeat([0.9, 0.1], [30, 10])
    )
    monkeypatch.setattr(wake, "_stars", lambda *given: (prior, np.array([[20.0, 30.0]])))

    def fit_stars(image, variance, psf, stars, others, gain):
        # What is about a galaxy has no part in the fit: three FWHM, of three pixels.
        assert np.isinf(variance[30, 20:30]).all()
        assert np.isfinite(variance[30, 30])
        orders.append((image.mean(), stars, others))

    def fit_change(image, fitted, psf, others):
        orders.append(others)
        return star_wake.Change(np.zeros((1, 6)), np.array([[0.5, 0.0, 0.0]]), 3.0 - len(orders), 2.5 - len(orders))

    monkeypatch.setattr(star_fit, "fit_stars", fit_stars)
    monkeypatch.setattr(star_wake, "fit_change", fit_change)
    field = ArrayField(np.full((70, 50, 1), 4.0), np.ones((70, 50, 1)))
    line = np.exp(-0.5 * ((np.arange(15) - 7) / 1.5) ** 2)
    psf = (np.outer(line, line) / line.sum() ** 2)[None, ..., None]
    search = Search(field, lambda x, y: np.repeat(psf, len(x), axis=0))
    found = wake.awake(search, "some")
    assert len(orders) == 8
    # Each of four turns takes half a unit more off.
    np.testing.assert_allclose([one[0] for one in orders[::2]], [4, 3.5, 3, 2.5], atol=1e-5)
    _, stars, others = orders[0]
    assert (len(stars), len(others)) == (30, 10)
    np.testing.assert_allclose([stars.place_errors[0, 0], stars.flux_errors[0, 0]], [0.2, 4])
    np.testing.assert_allclose(orders[1][1], 5.0)
    np.testing.assert_allclose(found.field.read(0, 70, 0, 50)["image"], 2.0, atol=1e-5)
    rounds = found.about["wake"]["rounds"]
    assert rounds == [
        {"chi2_before": 1, "chi2_after": -1.5, "stars": 30}, {"chi2_before": -3, "chi2_after": -5.5, "stars": 30},
    ]  # fmt: skip
    assert found.about["fwhm_pixels"] == found.fwhm == pytest.approx(1.5 * 2.3548, rel=0.05)


def test_galaxies_are_not_among_the_stars_of_the_fit(place):
    folder, stars, _ = place

    class Typed(GalaxiesLeft, Rough):
        pass

    with fits.open(folder / "psf.fits") as hdus:
        psf = np.stack([hdu.data for hdu in hdus if hdu.data is not None], axis=-1)
    with open_field(folder / "field.fits", bands=list(BANDS)) as field:
        square = wake._square(field.shape)
        found, galaxies = wake._stars(field, Typed().detect, lambda x, y: np.stack([psf] * len(x)), square, "typed")
    sure = found[found.probability >= 0.5]
    assert len(galaxies) > 10
    assert len(sure) > 10
    assert galaxies[:, 0].max() < sure.places[:, 0].min()
