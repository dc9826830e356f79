"""What the catalogue says beside the fit: sources at the edge, and errors where noise is correlated."""

import functools

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from scipy.ndimage import gaussian_filter

from galzoo.contracts.deblended import FLAGS
from galzoo.field.windows import Unit, owners
from galzoo.tasks.deblend.flags import aperture, at_edge, correlated_errors, leader
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field.fields import BANDS, NOISE, SIGMA, draw, gaussian, least_squares, write, write_psf

PLAIN = Settings(stamp_size=0, report=False, add_sources=False)


def catalogue(folder, image, deblender=least_squares, positions=None):
    path = write(folder / "field.fits", image)
    psf = write_psf(folder / "psf.fits")
    if positions is not None:
        x, y = np.array(positions)[:, :2].T
        positions = QTable({"x": x, "y": y})
    deblend_field(path, folder / "out", deblender=deblender, bands=BANDS, psf=psf, settings=PLAIN, catalogue=positions)
    return QTable.read(folder / "out" / "catalogue.ecsv")


def test_edge_is_a_matter_of_the_source_and_not_of_its_window(tmp_path):
    """A window of a 100 pixel field is cut by its border; a source in the middle is not."""
    sources = [(50, 50, 900, 0), (2, 30, 900, 0), (97, 75, 900, 0), (20, 98, 900, 0), (14, 70, 900, 0)]
    table = catalogue(tmp_path, draw((100, 100), sources))
    near = [np.hypot(table["x"].value - x, table["y"].value - y).argmin() for x, y, _, _ in sources]
    edge = (table["flags"] & FLAGS["edge"])[near] > 0
    np.testing.assert_array_equal(edge, [False, True, True, True, False])


@pytest.mark.parametrize(
    ("place", "box", "edge"),
    [
        ((30, 30), (24, 37, 24, 37), False),
        ((30, 30), (0, 37, 24, 37), True),
        ((30, 30), (24, 37, 24, 60), True),
        ((30, 3), (24, 37, 2, 9), True),
        ((30, 6), (24, 37, 1, 9), False),
        ((56, 30), (50, 60, 24, 37), False),
        ((30, 55), (24, 37, 50, 58), False),
        ((30, 56), (24, 37, 50, 58), True),
    ],
)
def test_boxes_and_places_at_the_border(place, box, edge):
    """A field of 60 rows below and above a window of 64, which begins with the field along x and ends within it."""
    sources = {key: np.array([value], float) for key, value in zip(("x0", "x1", "y0", "y1"), box, strict=True)}
    sources["snr"] = np.array([9.0])
    unit = Unit(0, np.array([0]), -2, -2, 64)
    planes = {"inside": (2, 62, 2, 64)}
    assert at_edge(unit, planes, sources, np.array([place], float), 3.5).tolist() == [edge]


def beside_a_galaxy():
    """Return a window of a faint source, number 1, 25 pixels from a large bright galaxy, and the table of both."""
    y, x = np.mgrid[:64, :64]
    light = [
        flux * np.exp(-((x - at) ** 2 + (y - 32) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        for at, sigma, flux in ((20, 8.0, 1e5), (45, 1.5, 600.0))
    ]
    image = np.sum(light, axis=0)[..., None].astype(np.float32)
    planes = {"image": image, "variance": np.ones_like(image), "mask": np.zeros(image.shape, bool)}
    planes["other"] = np.zeros(image.shape[:2], bool)
    sources = {
        "x": np.array([20.0, 45.0]), "y": np.array([32.0, 32.0]), "a": np.array([8.0, 1.5]), "b": np.array([8.0, 1.5]),
        "theta": np.zeros(2), "snr": np.array([900.0, 30.0]),
    }  # fmt: skip
    return planes, sources


def test_a_faint_source_does_not_own_half_of_a_galaxy():
    """By distance it would have all pixels from column 33 on, which hold a twentieth of the galaxy."""
    _, sources = beside_a_galaxy()
    owner = owners(Unit(0, np.array([1]), 10, 0, 64), np.arange(2), sources, 3.5)
    assert owner[32, 35] == 1
    assert owner[32, 28] == owner[10, 45] == owner[32, 0] == 0
    assert 20 < np.sum(owner == 1) < 200
    # Nothing is known of a source that was added: alike, they share the window in the middle, at column 22.
    sources["snr"][1] = np.nan
    shared = owners(Unit(0, np.array([1]), 10, 0, 64), np.arange(2), sources, 3.5)
    np.testing.assert_array_equal(shared[5], np.arange(64) > 22)


def test_the_aperture_of_a_faint_source_does_not_open_for_the_galaxy_beside_it():
    planes, sources = beside_a_galaxy()

    class Detection:
        weights, fwhm = (1.0,), 3.5

    alone = aperture(Unit(0, np.array([1]), 0, 0, 64), planes, sources, Detection, np.arange(2))[0]
    assert 500 < alone[0, 0] < 1500
    both = aperture(Unit(0, np.arange(2), 0, 0, 64), planes, sources, Detection, np.arange(2))[0]
    np.testing.assert_allclose(both[1], alone[0])
    assert 9e4 < both[0, 0] < 1.02e5
    # A star of another group within the ellipse of the galaxy is no part of it.
    planes["other"][5:16, 15:26] = True
    planes["image"][5:16, 15:26] += 1e5
    without = aperture(Unit(0, np.arange(2), 0, 0, 64), planes, sources, Detection, np.arange(2))[0]
    np.testing.assert_allclose(without[0], both[0], rtol=0.05)


def test_a_bad_column_takes_no_light_from_an_aperture():
    planes, sources = beside_a_galaxy()

    class Detection:
        weights, fwhm = (1.0,), 3.5

    unit = Unit(0, np.arange(2), 0, 0, 64)
    whole = aperture(unit, planes, sources, Detection, np.arange(2))[0]
    planes["mask"][:, [20, 45]], planes["image"][:, [20, 45]] = True, -1e4
    np.testing.assert_allclose(aperture(unit, planes, sources, Detection, np.arange(2))[0], whole, rtol=0.06)


def test_errors_of_fluxes_are_the_scatter_where_noise_is_correlated(tmp_path):
    """Point sources of one flux on smoothed noise: the scatter of their fluxes, and the errors in the table."""
    places = [(x, y, 3000, 0.0) for x in range(20, 400, 30) for y in range(20, 400, 30)]
    signal = draw((400, 400), places) - draw((400, 400), [])
    noise = np.random.default_rng(7).normal(size=signal.shape)
    noise = np.array([gaussian_filter(plane, 0.9, mode="wrap") for plane in noise])
    noise *= (NOISE / noise.std(axis=(1, 2)))[:, None, None]
    deblender = functools.partial(least_squares, sizes=(0.0,))
    table = catalogue(tmp_path, signal + noise, deblender=deblender, positions=places)
    assert len(table) == len(places)
    for band, sigma in zip(BANDS, NOISE, strict=True):
        scatter = table[f"flux_{band}"].value.std()
        independent = sigma * np.sqrt(4 * np.pi) * SIGMA
        assert scatter > 1.5 * independent
        for name in ("flux_err", "flux_like_err"):
            assert 0.8 < scatter / np.median(table[f"{name}_{band}"].value) < 1.25


def test_only_what_noise_makes_of_an_error_grows():
    errors = {
        "flux_error": np.array([[5.0, 3.0, np.inf]]), "flux_like_err": np.array([[3.0, np.nan, np.inf]]),
        "aperture_flux_err": np.array([[4.0, 2.0, 1.0]]),
    }  # fmt: skip
    found = correlated_errors(errors, 2.0)
    # 5^2 is 3^2 of noise and 4^2 of the rest, and the noise is 6.
    np.testing.assert_allclose(found["flux_error"], [[np.sqrt(52), 3.0, np.inf]])
    np.testing.assert_allclose(found["flux_like_err"], [[6.0, np.nan, np.inf]])
    np.testing.assert_allclose(found["aperture_flux_err"], [[8.0, 4.0, 2.0]])
    same = correlated_errors(errors, 1.0)
    np.testing.assert_allclose(same["flux_error"], errors["flux_error"])


def test_a_galaxy_larger_than_any_window_is_flagged_and_measured_by_its_profile(tmp_path):
    """The model is all of it, without the edge of a window; a far source is fitted as ever."""
    sources = [(300, 290, 3e6, 45.0), (60, 60, 2000, 1.0)]
    deblender = functools.partial(least_squares, sizes=(0.0, 1.5, 45.0))
    table = catalogue(tmp_path, draw((600, 620), sources), deblender, sources)
    far = np.hypot(table["x"].value - 60, table["y"].value - 60).argmin()
    large = np.hypot(table["x"].value - 300, table["y"].value - 290).argmin()
    assert table["flags"][large] & FLAGS["truncated"]
    assert not table["flags"][large] & FLAGS["fallback"]
    assert not table["flags"][far] & FLAGS["truncated"]
    for band, part in zip(BANDS, (0.6, 1.0, 1.3), strict=True):
        for name in ("flux", "aperture_flux"):
            assert table[f"{name}_{band}"].value[large] == pytest.approx(part * 3e6, rel=0.03)
            assert 0 < table[f"{name}_err_{band}"].value[large] < 0.02 * part * 3e6
    with fits.open(tmp_path / "out" / "model.fits") as hdus:
        model = hdus["R"].data.astype(float)
    assert model[50:70, 50:70].sum() == pytest.approx(2000, rel=0.2)
    wanted = 3e6 * gaussian((600, 620), 300, 290, np.hypot(SIGMA, 45.0))
    assert np.abs(model - wanted)[150:450, 150:470].max() < 0.04 * wanted.max()
    with fits.open(tmp_path / "out" / "segmentation.fits") as hdus:
        labels = hdus[0].data if hdus[0].data is not None else hdus[1].data
    assert labels[290, 300] == labels[290, 380] == table["group"][large] + 1


def disc_with_knots(side=300, scale=30.0, total=4e6, knots=24):
    """Return a field of a disc much larger than a window with knots on it, and the places, the nucleus first."""
    middle = side / 2
    y, x = np.mgrid[:side, :side]
    disc = np.exp(-np.hypot(x - middle, y - middle) / scale)
    angle = np.linspace(0, 6 * np.pi, knots, endpoint=False)
    reach = np.linspace(30, 90, knots)
    places = np.stack([middle + reach * np.cos(angle), middle + reach * np.sin(angle)], axis=1)
    factors = np.array([0.6, 1.0, 1.3])
    image = draw((side, side), [(*place, 4e3, 0) for place in places])
    image += (total * disc / disc.sum()) * factors[:, None, None]
    return image, np.concatenate([[[middle, middle]], places]), total


def test_knots_on_a_galaxy_larger_than_any_window_are_measured_without_it(tmp_path):
    image, places, total = disc_with_knots()
    path, psf = write(tmp_path / "field.fits", image), write_psf(tmp_path / "psf.fits")
    listed = QTable({"x": places[:, 0], "y": places[:, 1]})
    options = {"bands": BANDS, "psf": psf, "settings": PLAIN, "catalogue": listed, "subtract_sky": False}
    deblend_field(path, tmp_path / "out", deblender=least_squares, **options)
    table = QTable.read(tmp_path / "out" / "catalogue.ecsv")
    order = [np.hypot(table["x"].value - x, table["y"].value - y).argmin() for x, y in places]
    nucleus, knots = table[order[0]], table[order[1:]]
    assert nucleus["flags"] & FLAGS["truncated"]
    assert not nucleus["flags"] & FLAGS["fallback"]
    assert nucleus["flux_r"].value == pytest.approx(total, rel=0.03)
    assert np.median(knots["flux_r"].value) == pytest.approx(4e3, rel=0.15)
    assert np.all(np.abs(knots["flux_r"].value - 4e3) < 4 * knots["flux_err_r"].value)
    residual = fits.getdata(tmp_path / "out" / "residual.fits", "R")
    assert np.std(residual[60:240, 60:240]) < 3


def test_the_leader_of_a_group_is_its_highest_peak():
    sources = {"snr": np.array([5.0, 9.0, np.nan, 7.0]), "group": np.array([0, 0, 0, 1])}
    found = [
        leader(Unit(group, np.array(rows), 0, 0, 48), sources) for group, rows in ((0, [0, 1]), (0, [0, 2]), (1, [3]))
    ]
    assert found == [1, None, 0]
