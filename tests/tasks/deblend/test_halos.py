"""Large sources come off first: several in one place, in a catalogue, with what is near them."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.contracts.deblended import FLAGS
from galzoo.field.array_field import ArrayField
from galzoo.field.halos import Halo
from galzoo.tasks.deblend.halos import halo_rows, paint_halos
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field.fields import BANDS, draw, least_squares, write, write_psf

SHAPE = (300, 340)
LARGE = [(120, 150, 6e5, 16.0), (225, 160, 4e5, 14.0)]
FAINT = [(120 + 45, 150 - 35, 3000, 0.0), (225 + 20, 160 + 50, 3000, 0.0), (30, 40, 3000, 0.0)]


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halos")
    write(folder / "field.fits", draw(SHAPE, [*LARGE, *FAINT]))
    write_psf(folder / "psf.fits")
    return folder


def deblended(folder, name, catalogue=None):
    settings = Settings(stamp_size=32, report=False, add_sources=False)
    deblend_field(
        folder / "field.fits", folder / name, deblender=least_squares, bands=BANDS, psf=folder / "psf.fits",
        settings=settings, catalogue=catalogue, subtract_sky=False,
    )  # fmt: skip
    return QTable.read(folder / name / "catalogue.ecsv")


def nearest(table, place):
    return table[np.hypot(table["x"].value - place[0], table["y"].value - place[1]).argmin()]


@pytest.fixture(scope="module")
def found(field):
    return deblended(field, "out")


def test_two_large_sources_in_one_group_are_both_measured(found):
    for source in LARGE:
        row = nearest(found, source)
        assert np.hypot(row["x"].value - source[0], row["y"].value - source[1]) < 1
        assert row["flags"] == FLAGS["truncated"]
        for band, part in zip(BANDS, (0.6, 1.0, 1.3), strict=True):
            assert row[f"flux_{band}"].value == pytest.approx(part * source[2], rel=0.03)
    assert len(np.unique([nearest(found, source)["group"] for source in LARGE])) == 2


def test_what_lies_on_them_is_found_and_nothing_else_is(found):
    assert len(found) == len(LARGE) + len(FAINT)
    for source in FAINT:
        row = nearest(found, source)
        assert not row["flags"]
        assert row["flux_r"].value == pytest.approx(source[2], rel=0.12)
        assert row["flux_r"].value == pytest.approx(source[2], abs=4 * row["flux_err_r"].value)


def test_model_residual_and_stamps_are_those_of_the_profiles(field, found):
    with fits.open(field / "out" / "residual.fits") as hdus:
        residual = hdus["R"].data
    assert np.std(residual) < 1.4
    row = nearest(found, LARGE[0])
    labels = fits.getdata(field / "out" / "segmentation.fits")
    assert labels[150, 120] == labels[150, 85] == row["group"] + 1


def test_rows_of_a_catalogue_keep_their_names(field):
    places = np.array([*FAINT[:2], LARGE[1], LARGE[0], FAINT[2]])[:, :2]
    names = ["first", "second", "right", "left", "far"]
    table = deblended(field, "listed", QTable({"id": names, "x": places[:, 0], "y": places[:, 1]}))
    assert sorted(table["id"]) == sorted(names)
    for name, place in zip(names, places, strict=True):
        row = table[np.asarray(table["id"]) == name][0]
        assert np.hypot(row["x"].value - place[0], row["y"].value - place[1]) < 1
    assert [bool(table["flags"][table["id"] == name][0] & FLAGS["truncated"]) for name in names] == [0, 0, 1, 1, 0]


def test_labels_are_painted_where_a_halo_is_seen_and_nothing_else_is():
    halo = Halo(
        x=12.0, y=9.0, drift=np.zeros((1, 3)), ratio=0.5, theta=0.0, radii=np.array([0.0, 9.0]),
        profile=np.ones((2, 1)), mean=np.ones((2, 1)), error=np.ones((2, 1)), seen=6.0,
    )  # fmt: skip
    labels = np.zeros((20, 22), np.int32)
    labels[9, 14] = 3
    paint_halos(labels, [halo], [7])
    y, x = np.indices(labels.shape)
    wanted = np.where(np.hypot(x - 12, (y - 9) / 0.5) <= 6, 8, 0)
    wanted[9, 14] = 3
    np.testing.assert_array_equal(labels, wanted)


RADII = np.array([0.0, 0.5, 2, 4, 6, 8, 10, 12, 14, 16])
DETECTION = SimpleNamespace(fwhm=4.0, weights=(1.0, 1.0, 1.0), correlation=1.5)
BOTH = SimpleNamespace(stamp_size=9)


def exponential(x, y, flux=1.0, ratio=0.5, theta=0.4):
    """Return a halo of three bands whose mean is a tenth above its profile; nothing is known of the third band."""
    light = flux * np.exp(-RADII / 3)[:, None] * (100.0, 200.0, 0.0)
    light[-1] = 0
    return Halo(
        x=x, y=y, drift=np.zeros((1, 3)), ratio=ratio, theta=theta, radii=RADII, profile=light, mean=1.1 * light,
        error=np.ones(light.shape), seen=14.0,
    )  # fmt: skip


def among(halos, shape=(80, 110), variance=1.0, bad=(), saturated=(), blind=True):
    """Return a field of halos, of which the third band sees nothing, with bad and saturated pixels of the second."""
    image = sum(halo.draw(0, shape[0], 0, shape[1]) for halo in halos).astype(float)
    mask = np.zeros(image.shape, bool)
    mask[..., 2] = blind
    for pixel in bad:
        mask[pixel][1] = True
    field = ArrayField(image, np.full(image.shape, variance), mask, "grz")
    for pixel in saturated:
        field._planes["saturated"][pixel][1] = True
    return field


def rows_of(field, halos, settings=BOTH):
    known = {"snr": np.array([70.0, 50.0])[: len(halos)], "row": np.array([4, 2])[: len(halos)]}
    return halo_rows(field, halos, known, DETECTION, settings)


def test_rows_of_halos_are_what_was_measured_of_each():
    halos = [exponential(40.3, 30.2), exponential(56.0, 34.0, 0.5)]
    found = rows_of(among(halos), halos)
    assert (found["x"].tolist(), found["y"].tolist()) == ([40.3, 56.0], [30.2, 34.0])
    assert (found["snr"].tolist(), found["row"].tolist(), found["n_in_group"].tolist()) == ([70, 50], [4, 2], [1, 1])
    # An exponential of a length of 3 by 1.5 pixels, and a tenth; what no band saw has no flux.
    total = 1.1 * 2 * np.pi * 3**2 * 0.5 * np.array([100.0, 200.0])
    np.testing.assert_allclose(found["flux"][0, :2], total, rtol=0.05)
    np.testing.assert_allclose(found["flux"][1], found["flux"][0] / 2)
    error = np.sqrt(np.sum((np.pi * 0.5 * np.diff(RADII**2)) ** 2))
    for name in ("flux_error", "flux_like_err"):
        np.testing.assert_allclose(found[name][:, :2], 1.5 * error)
    # The aperture sees pixels of the profile, and nothing of the other halo.
    np.testing.assert_allclose(found["aperture_flux"][0, :2], total / 1.1, rtol=0.08)
    np.testing.assert_allclose(found["aperture_flux"][1, :2], total / 2.2, rtol=0.08)
    assert np.isnan([found[name][:, 2] for name in ("flux", "aperture_flux")]).all()
    assert np.isinf([found[name][:, 2] for name in ("flux_error", "flux_like_err", "aperture_flux_err")]).all()
    assert found["box"].tolist() == [[24, 14, 33], [40, 18, 33]]
    np.testing.assert_array_equal(found["model"][: 33 * 33 * 3].reshape(33, 33, 3), halos[0].draw(14, 47, 24, 57))
    assert len(found["model"]) == 2 * 33 * 33 * 3
    assert found["flags"].tolist() == [FLAGS["truncated"] | FLAGS["masked"]] * 2


def test_the_aperture_of_a_halo_lies_along_it_and_has_the_noise_of_its_pixels():
    """A longer ellipse that is turned has more of its light beside an aperture that is round or turned otherwise."""
    halo = exponential(40.0, 40.0, ratio=0.3, theta=0.8)
    found = rows_of(among([halo]), [halo])
    noisy = rows_of(among([halo], variance=4.0), [halo])
    np.testing.assert_allclose(noisy["aperture_flux_err"][0, :2], 2 * found["aperture_flux_err"][0, :2], rtol=1e-5)
    np.testing.assert_array_equal(noisy["flux_error"], found["flux_error"])
    # How far it reaches does not depend on what else is there.
    field = among([halo])
    field._planes["image"][45, 47] += 1e4
    more = rows_of(field, [halo])
    np.testing.assert_array_equal(more["aperture_flux_err"], found["aperture_flux_err"])
    # Noise of 1.5 in each of so many pixels, of which an ellipse of the same reach has 0.3 times those of a circle.
    pixels = (found["aperture_flux_err"][0, 0] / 1.5) ** 2
    y, x = np.indices((80, 110))
    reach = np.sqrt(pixels / np.pi / 0.3)
    along, across = (x - 40) * np.cos(0.8) + (y - 40) * np.sin(0.8), (y - 40) * np.cos(0.8) - (x - 40) * np.sin(0.8)
    inside = np.hypot(along, across / 0.3) < reach
    assert inside.sum() == pytest.approx(pixels, rel=0.05)
    light = halo.draw(0, 80, 0, 110)
    assert found["aperture_flux"][0, 0] == pytest.approx(light[inside][:, 0].sum(), rel=0.01)


def test_stamps_of_halos_are_about_their_nearest_pixels():
    halo = exponential(40.3, 29.6)
    field = among([halo], bad=[(33, 44)])
    found = rows_of(field, [halo])
    assert (found["stamp_x"].tolist(), found["stamp_y"].tolist()) == ([36], [26])
    np.testing.assert_array_equal(found["stamps"][0], halo.draw(26, 35, 36, 45))
    np.testing.assert_array_equal(found["stamp_mask"][0], field.read(26, 35, 36, 45)["mask"])
    assert "stamps" not in rows_of(field, [halo], SimpleNamespace(stamp_size=0))


@pytest.mark.parametrize(
    ("place", "bad", "saturated", "flag"),
    [
        ((40, 40), [(40, 42)], (), "masked"),
        ((40, 40), [(40, 43)], (), None),
        ((40, 40), (), [(42, 40)], "saturated"),
        ((40, 40), (), [(43, 40)], None),
        ((104, 40), (), (), "edge"),
        ((2, 40), (), (), "edge"),
        ((40, 2), (), (), "edge"),
        ((40, 76), (), (), "edge"),
        ((90, 40), (), (), None),
    ],
)
def test_flags_of_halos_are_of_their_cores_and_of_light_beyond_the_edge(place, bad, saturated, flag):
    """Cores are half a FWHM of 4 pixels in radius; halos reach 16 pixels, along x."""
    halo = exponential(*map(float, place), theta=0.0)
    found = rows_of(among([halo], bad=bad, saturated=saturated, blind=False), [halo])
    assert found["flags"].tolist() == [FLAGS["truncated"] | (FLAGS[flag] if flag else 0)]
