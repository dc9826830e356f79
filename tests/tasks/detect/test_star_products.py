"""What a detector that draws catalogues leaves: draws, counts by region, model and residual, DAOPHOT's form, gain."""

import dataclasses

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from scipy.stats import norm

from galzoo.contracts.catalogues import Catalogues
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.star_light import StarLight
from galzoo.tasks.detect import finders
from galzoo.tasks.detect.posterior import read_draw
from galzoo.tasks.detect.products import crowding
from galzoo.tasks.detect.run import Settings, detect_field
from tests.field.fields import BANDS, SIGMA, draw, write, write_psf
from tests.tasks.detect.fakes import Peaks

SHAPE, DRAWS = (130, 150), 8


@dataclasses.dataclass
class Drawing(Peaks):
    """Draws each of its peaks with probability 3/4, moved by .01 pixels; says which gain it was told."""

    gains: list = dataclasses.field(default_factory=list)

    def posterior(self, batch, n=100, seed=0):
        self.gains.append(np.asarray(batch["gain"]))
        found, random = self.detect(batch), np.random.default_rng(seed)
        images, most = found.probability.shape
        there = (random.random((n, images, most)) < 0.75) & (found.probability > 0)
        positions = found.positions + 0.01 * random.normal(size=(n, images, most, 2))
        flux = np.broadcast_to(found.flux, (n, *found.flux.shape))
        order = np.argsort(~there, axis=-1, kind="stable")
        positions, flux = (np.take_along_axis(v, order[..., None], axis=2) for v in (positions, flux))
        return Catalogues(there.sum(axis=-1), positions, flux, batch["image"].shape[1:3])


class GalaxiesLeft:
    """Says that what is in the left half is a galaxy; before another detector in a list of bases."""

    def detect(self, batch, threshold=0.0):
        found = super().detect(batch, threshold)
        star = (found.positions[..., 0] > found.positions[..., 0].mean()).astype(float)
        return dataclasses.replace(found, class_probability=np.stack([1 - star, star], axis=-1))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stars")
    random = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(12, 140, 17), np.arange(12, 120, 17)), axis=-1).reshape(-1, 2)
    stars = grid + random.uniform(-2, 2, grid.shape)
    flux = random.uniform(400, 900, len(stars))
    write(folder / "field.fits", draw(SHAPE, [(*p, f, 0) for p, f in zip(stars, flux, strict=True)]))
    write_psf(folder / "psf.fits")
    return folder, stars, flux


def run(place, output, detector, tile=64, **options):
    settings = {"tile": tile, "report": False, "samples": DRAWS, "daophot": True} | options.pop("settings", {})
    options = {"psf": place / "psf.fits", "bands": list(BANDS), "subtract_sky": False, **options}
    return detect_field(place / "field.fits", output, detector=detector, settings=Settings(**settings), **options)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks small enough that a small field has several."""
    defaults = finders.DetectorFinder.__init__.__defaults__
    monkeypatch.setattr(finders.DetectorFinder.__init__, "__defaults__", (*defaults[:-2], 64, 32))


def test_draws_do_not_depend_on_tiles(place, small_blocks, tmp_path):
    folder, stars, _ = place
    for name, tile in (("small", 64), ("large", 1024)):
        run(folder, tmp_path / name, Drawing(), tile)
    one, two = (read_draw(tmp_path / name / "posterior.h5", 3) for name in ("small", "large"))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    tables = [QTable.read(tmp_path / name / "catalogue.ecsv") for name in ("small", "large")]
    np.testing.assert_allclose(tables[0]["x"].value, tables[1]["x"].value)


def test_no_star_is_drawn_twice_or_lost_at_seams(place, small_blocks, tmp_path):
    folder, stars, _ = place
    run(folder, tmp_path / "out", Drawing())
    table = QTable.read(tmp_path / "out" / "counts.ecsv")
    with h5py.File(tmp_path / "out" / "posterior.h5") as file:
        count = file["count"][:]
        assert list(file.attrs["bands"]) == list(BANDS)
        assert file["flux"].shape == (count.sum(), 3)
    expected = 0.75 * len(stars)
    assert abs(count.mean() - expected) < 5 * np.sqrt(expected * 0.25 / DRAWS)
    assert table["mean"][0] == pytest.approx(count.mean())
    assert table["mean"][1:].sum() == pytest.approx(count.mean())
    assert (table["low"] <= table["mean"]).all()
    for number in range(DRAWS):
        places, _ = read_draw(tmp_path / "out" / "posterior.h5", number)
        assert len(places) == count[number]
        assert np.nanmin(crowding(*places.T, 3.5)[0]) > 5


def test_model_and_residual_add_up_and_allstar_counts_from_one(place, tmp_path):
    folder, stars, flux = place
    run(folder, tmp_path / "out", Drawing())
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    with fits.open(tmp_path / "out" / "model.fits") as model, fits.open(tmp_path / "out" / "residual.fits") as left:
        assert [hdu.name for hdu in model[1:]] == [band.upper() for band in BANDS]
        seen = fits.getdata(folder / "field.fits", 2)
        np.testing.assert_allclose(model[2].data + left[2].data, seen, atol=2e-3)
        y, x = np.indices(SHAPE)
        light = np.zeros(SHAPE)
        for row in table:
            at = row["x"].value, row["y"].value
            light += row["flux_r"].value * norm.pdf(x, at[0], SIGMA) * norm.pdf(y, at[1], SIGMA)
        np.testing.assert_allclose(model[2].data, light, atol=2e-3 * light.max())
    lines = (tmp_path / "out" / "stars_r.als").read_text().splitlines()[3:]
    good = np.isfinite(table["mag_r"].value)
    assert len(lines) == good.sum()
    number, px, py, magnitude = np.array([line.split()[:4] for line in lines], float).T
    np.testing.assert_allclose(px, table["x"].value[good] + 1, atol=1e-3)
    np.testing.assert_allclose(magnitude, table["mag_r"].value[good], atol=1e-3)


def test_galaxies_are_not_in_the_model(place, tmp_path):
    folder, stars, _ = place

    class Typed(GalaxiesLeft, Drawing):
        def posterior(self, batch, n=100, seed=0):
            drawn = super().posterior(batch, n, seed)
            with np.errstate(invalid="ignore"):
                return dataclasses.replace(drawn, star=drawn.positions[..., 0] > 80)

    run(folder, tmp_path / "out", Typed(), tile=1024)
    with h5py.File(tmp_path / "out" / "posterior.h5") as file:
        assert len(file["star"]) == len(file["x"])
        # Pixels are counted from that of the block, which begins before the field.
        assert file["x"][:][file["star"][:]].min() > file["x"][:][~file["star"][:]].max()
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    star = table["p_star"] > 0.5
    assert 10 < star.sum() < len(table) - 10
    model = fits.getdata(tmp_path / "out" / "model.fits", "r")
    peak = model[np.round(table["y"].value).astype(int), np.round(table["x"].value).astype(int)]
    assert peak[star].min() > 10 * np.abs(peak[~star]).max()


@pytest.mark.parametrize(("gain", "expected"), [({"r": 4.0, "i": 8.0}, (0, 4, 8)), (2.0, (2, 2, 2)), (None, (0, 0, 0))])
def test_a_detector_is_told_the_gain(gain, expected, place, tmp_path):
    detector = Drawing()
    run(place[0], tmp_path / "out", detector, gain=gain)
    np.testing.assert_allclose(detector.gains[0][0], expected)


@pytest.mark.parametrize(("unit", "expected"), [("adu", 3.0), ("electron", 1.0), ("nJy", 0.0), ("adu/s", 0.0)])
def test_gain_of_the_header_is_for_counts(unit, expected, place, tmp_path):
    image = fits.getdata(place[0] / "field.fits", 1)[None].repeat(3, 0)
    path = write(tmp_path / "field.fits", image, GAIN=3.0, BUNIT=unit)
    with open_field(path, bands=list(BANDS)) as field:
        np.testing.assert_allclose(field.gain * field.mosaic.scales, expected)


def test_artificial_stars_are_found_as_bright_as_they_are(place, tmp_path):
    settings = {"samples": 0, "inject": 60, "inject_kind": "star", "inject_magnitudes": (24.0, 24.5)}
    run(place[0], tmp_path / "out", None, settings=settings | {"daophot": False})
    table = QTable.read(tmp_path / "out" / "completeness_injected.ecsv")
    assert table["n"].sum() == 60
    assert table["completeness"][0] > 0.6


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("--samples is -1",), {"settings": {"samples": -1}}),
        (("--inject-kind is 'comet'", "both, star or galaxy"), {"settings": {"inject_kind": "comet"}}),
        (("--samples is 5", "SEP draws no catalogues"), {"settings": {"samples": 5}, "detector": None}),
        (("--samples is 5", "Peaks draws no catalogues"), {"settings": {"samples": 5}, "detector": Peaks()}),
        (("gain is 0", "above 0"), {"gain": 0.0}),
        (("gain is -3", "above 0"), {"gain": {"r": -3.0}}),
        (("2 gains",), {"gain": [1.0, 2.0]}),
        (("z",), {"gain": {"z": 2.0}}),
    ],
)
def test_bad_requests(words, options, place, tmp_path):
    options = {"detector": Drawing()} | options
    with pytest.raises(InputError) as caught:
        run(place[0], tmp_path / "out", options.pop("detector"), **options)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [20, 21])
def test_light_of_a_star_between_pixels(side):
    line = np.arange(side) - (side - 1) / 2
    psf = (norm.pdf(line, 0, SIGMA)[:, None] * norm.pdf(line, 0, SIGMA))[..., None]
    places = np.array([[17.31, 20.5], [-1.2, 8.0], [33.9, 39.7]])
    image = StarLight(psf).add(np.zeros((40, 35, 1)), places, [[100.0], [50.0], [70.0]])
    y, x = np.indices((40, 35))
    expected = sum(
        f * norm.pdf(x, *p[:1], SIGMA) * norm.pdf(y, p[1], SIGMA) for p, f in zip(places, (100, 50, 70), strict=True)
    )
    np.testing.assert_allclose(image[..., 0], expected, atol=0.02)


def test_crowding():
    nearest, many = crowding(np.array([0.0, 3.0, 40.0]), np.array([0.0, 4.0, 0.0]), 3.0)
    np.testing.assert_allclose(nearest, [5, 5, np.hypot(37, 4)])
    np.testing.assert_array_equal(many, [1, 1, 0])
    assert np.isnan(crowding(np.array([1.0]), np.array([1.0]), 3.0)[0]).all()


@dataclasses.dataclass
class Rough(Drawing):
    """Says fluxes three quarters of what they are, places .3 pixels off, and how far that is."""

    def detect(self, batch, threshold=0.0):
        found = super().detect(batch, threshold)
        width = 4 * np.pi * SIGMA**2
        # The peak of the smoothed sum of bands, as a flux: the sum of the bands is 2.9 times that in r.
        flux = 0.75 * found.flux * width * 2 / 2.9 * np.array([0.6, 1.0, 1.3])
        error = np.full(found.positions.shape, 0.3)
        return dataclasses.replace(
            found, positions=found.positions + 0.3, flux=flux, flux_error=0.3 * flux + 1, position_error=error
        )


def test_refined_stars_are_where_and_as_bright_as_the_pixels_say(place, small_blocks, tmp_path):
    folder, stars, flux = place
    for name, tile in (("small", 64), ("large", 1024)):
        run(folder, tmp_path / name, Rough(), tile, settings={"refine": True, "samples": 0, "daophot": False})
    small, large = (QTable.read(tmp_path / name / "catalogue.ecsv") for name in ("small", "large"))
    assert len(small) == len(stars)
    np.testing.assert_allclose(small["flux_r"].value, large["flux_r"].value, rtol=1e-5)
    x, y = small["x"].value, small["y"].value
    near = np.hypot(x[:, None] - stars[:, 0], y[:, None] - stars[:, 1])
    of = near.argmin(axis=1)
    pull = (x - stars[of, 0]) / small["x_err"].value
    assert 0.6 < np.std(pull) < 1.4
    assert abs(np.mean(pull)) < 0.4
    pull = (small["flux_r"].value - flux[of]) / small["flux_err_r"].value
    assert 0.6 < np.std(pull) < 1.4
    assert abs(np.mean(pull)) < 0.5
    with fits.open(tmp_path / "small" / "residual.fits") as hdus:
        left = hdus["r"].data
    # The noise of r is 1.2.
    assert abs(np.nanstd(left) / 1.2 - 1) < 0.03


def test_what_cannot_be_refined_or_limited_is_refused(place, tmp_path):
    folder, _, _ = place
    for settings, words in (
        ({"refine": True}, "says none with errors"),
        ({"faintest": 22.0}, "cannot be told"),
        ({"faintest": float("nan")}, "--faintest is nan"),
    ):
        with pytest.raises(InputError, match=words):
            run(folder, tmp_path / "out", Drawing(), settings=settings)
    for settings, words in (({"refine": True}, "--refine is for a preset"), ({"faintest": 22.0}, "--faintest is for")):
        with pytest.raises(InputError, match=words):
            run(folder, tmp_path / "out", None, settings=settings | {"samples": None})


def test_a_detector_is_told_the_flux_of_the_faintest_star(place, tmp_path):
    @dataclasses.dataclass
    class Limited(Drawing):
        limited: bool = True

        def detect(self, batch, threshold=0.0):
            told.append(batch["faintest"])
            return super().detect(batch, threshold)

    told = []
    run(place[0], tmp_path / "out", Limited(), settings={"faintest": 26.4, "samples": 0})
    # 31.4 is 1 nJy.
    np.testing.assert_allclose(told[0], 100.0, rtol=1e-5)
    assert told[0].shape == (1,)
