"""Stamps as objects: what they accept, how they are cut and joined."""

import numpy as np
import pytest
from astropy import units as u
from astropy.utils.masked import Masked

from galzoo import Stamps
from galzoo.errors import InputError
from tests.conftest import make_stamps


def with_psfs(n, first, psf_size=5):
    """Stamps whose PSF and pixels say which object they are: pixel value and PSF centre grow with the row."""
    rows = first + np.arange(n)
    psf = np.full((n, psf_size, psf_size, 1), 1e-3)
    psf[:, psf_size // 2, psf_size // 2, 0] = 1 + rows
    image = np.broadcast_to(rows[:, None, None, None], (n, 6, 6, 1))
    psf /= psf.sum(axis=(1, 2, 3), keepdims=True)
    return Stamps(image, ["r"], 0.2, psf=psf, catalogue={"id": rows.astype(str)})


def assert_psf_of_own_object(stamps):
    rows = stamps.image[:, 0, 0, 0]
    psf = stamps.psf_of(slice(None))[..., 0]
    assert len(psf) == len(rows)
    np.testing.assert_allclose(psf[:, 2, 2] / psf[:, 0, 0], 1e3 * (1 + rows), rtol=1e-4)
    assert list(stamps.catalogue["id"]) == [f"{row:.0f}" for row in rows]


@pytest.mark.parametrize("rows", [slice(2, 5), [4, 1, 1, 3], np.array([True, False] * 3), 2, -1, []])
def test_rows_keep_their_psf_and_catalogue(rows):
    part = with_psfs(6, 0)[rows]
    assert_psf_of_own_object(part)
    assert part.psf is not None
    assert len(part.psf) == len(set(part.image[:, 0, 0, 0]))


def test_join_keeps_each_psf_with_its_stamps():
    joined = Stamps.concatenate([with_psfs(3, 0), with_psfs(4, 10)[[3, 0]], with_psfs(2, 20)])
    assert len(joined) == 7
    assert_psf_of_own_object(joined)


def test_join_drops_what_not_all_have():
    one, two = make_stamps(n=2), make_stamps(n=3, seed=1)
    two.truth = None
    del two.catalogue["width"]
    joined = Stamps.concatenate([one, two])
    assert joined.truth is None
    assert joined.variance.shape == joined.image.shape == (5, 24, 24, 1)
    assert set(joined.catalogue.colnames) == {"id", "type"}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make_stamps(n=2, bands=("g",)), "bands"),
        (make_stamps(n=2, size=20), "shape"),
        (make_stamps(n=2, psf_size=7), "PSFs"),
        (Stamps(np.zeros((2, 24, 24, 1)), ["r"], 0.2, unit=""), "unit"),
        (Stamps(np.zeros((2, 24, 24, 1)), ["r"], 0.3), "pixel_scale"),
    ],
)
def test_what_does_not_fit_is_not_joined(other, words):
    with pytest.raises(InputError, match=words):
        Stamps.concatenate([make_stamps(n=2), other])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": np.zeros((2, 8, 8))}, r"\(n, y, x, band\)"),
        ({"bands": ["g", "r"]}, "2 names: g, r"),
        ({"pixel_scale": 0}, "above 0"),
        ({"pixel_scale": np.nan}, "above 0"),
        ({"variance": np.ones((2, 8, 8, 2))}, "variance has shape"),
        ({"variance": -np.ones((2, 8, 8, 1))}, "not weight"),
        ({"psf": np.ones((1, 3, 3, 1))}, "sums to 9"),
        ({"psf": np.full((1, 3, 3, 1), np.nan)}, "not 1"),
        ({"psf": np.full((3, 3, 3, 1), 1 / 9)}, "3 PSFs for 2 stamps"),
        ({"psf": np.full((3, 3, 3, 1), 1 / 9), "psf_index": [0, 3]}, "from 0 to 2"),
        ({"catalogue": {"id": ["a"]}}, "1 rows for 2 stamps"),
        ({"psf": np.full((2, 3, 3, 1), 1 / 9), "psf_index": [0.0, 0.7]}, "psf_index holds fractions"),
        ({"image": np.zeros((2, 8, 8, 2)), "bands": ["r", "r"]}, "band 'r' is named twice"),
        ({"image": np.full((2, 8, 8, 1), 1e39)}, r"image has values up to 1e\+39, beyond float32"),
        ({"variance": np.full((2, 8, 8, 1), 1e39)}, "variance has values up to"),
        ({"image": np.ones((2, 8, 8, 1), complex)}, "image holds complex128; give real numbers"),
        ({"segmentation": np.full((2, 8, 8), 2**33)}, "segmentation has labels up to 8589934592, beyond 32 bits"),
    ],
)
def test_what_is_wrong_is_named(arguments, words):
    with pytest.raises(InputError, match=words):
        Stamps(**{"image": np.zeros((2, 8, 8, 1)), "bands": ["r"], "pixel_scale": 0.2, **arguments})


def test_psf_is_normalised_to_the_last_digits():
    psf = np.random.default_rng(0).uniform(size=(4, 7, 7, 2))
    psf *= 1.001 / psf.sum(axis=(1, 2), keepdims=True)
    stamps = Stamps(np.zeros((4, 8, 8, 2)), ["g", "r"], 0.2, psf=psf)
    np.testing.assert_allclose(stamps.psf.sum(axis=(1, 2), dtype=float), 1, atol=1e-6)


def test_file_gives_back_pixels_units_and_words(tmp_path):
    stamps = make_stamps(n=5)
    stamps.catalogue["flux"] = np.arange(5.0) * u.nJy
    stamps.catalogue["id"] = ["α", "b", "long name", "d", "e"]
    stamps.mask = stamps.image > 5
    stamps.meta["nested"] = {"a": [1, 2]}
    stamps.save(tmp_path / "s.h5")
    back = Stamps.load(tmp_path / "s.h5")
    for key, plane in stamps.arrays().items():
        np.testing.assert_array_equal(getattr(back, key), plane)
    assert back.catalogue["flux"].unit == u.nJy
    assert list(back.catalogue["id"]) == list(stamps.catalogue["id"])
    assert back.header() == stamps.header()
    part = Stamps.load(tmp_path / "s.h5", np.array([3, 0]))
    np.testing.assert_array_equal(part.image, stamps.image[[3, 0]])
    assert list(part.catalogue["id"]) == ["d", "α"]


def test_pictures_stay_8_bit(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    Stamps(image, ["R", "G", "B"], 0.4, unit="").save(tmp_path / "s.h5")
    back = Stamps.load(tmp_path / "s.h5")
    assert back.image.dtype == np.uint8
    assert back.unit == ""
    np.testing.assert_array_equal(back.image, image)


def test_a_loop_over_stamps_ends():
    stamps = make_stamps(n=3, size=8)
    assert [len(one) for one in stamps] == [1, 1, 1]
    np.testing.assert_array_equal(stamps[-1].image, stamps.image[-1:])
    with pytest.raises(IndexError):
        stamps[3]


def test_bytes_of_the_other_order_and_views_are_read_as_they_are():
    image = np.random.default_rng(0).normal(size=(2, 8, 10, 1))
    for other in (image.astype(">f4"), image.astype(">f8"), np.asfortranarray(image), image[::-1][::-1]):
        np.testing.assert_array_equal(Stamps(other, ["r"], 0.2).image, image.astype("f4"))
    labels = np.arange(160).reshape(2, 8, 10)
    for kind in (">i2", "u2", "f8", ">i8"):
        np.testing.assert_array_equal(Stamps(image, ["r"], 0.2, segmentation=labels.astype(kind)).segmentation, labels)
    # A band that is not there.
    assert np.isinf(Stamps(image, ["r"], 0.2, variance=np.full(image.shape, np.inf)).variance).all()


def test_quantities_are_brought_to_the_unit():
    ones = np.ones((2, 6, 6, 1))
    stamps = Stamps(ones * u.uJy, ["r"], 200 * u.mas, variance=ones * u.uJy**2, truth=ones * u.mJy, unit=u.nJy)
    assert (stamps.unit, stamps.pixel_scale) == ("nJy", pytest.approx(0.2))
    np.testing.assert_allclose([plane[0, 0, 0, 0] for plane in (stamps.image, stamps.variance, stamps.truth)],
                               [1e3, 1e6, 1e6])  # fmt: skip
    for name, wrong in (("image", ones * u.adu), ("pixel_scale", 1 * u.pix), ("variance", ones * u.nJy)):
        with pytest.raises(InputError, match=f"{name} is in .*, not .*; convert it"):
            Stamps(**{"image": ones, "bands": ["r"], "pixel_scale": 0.2} | {name: wrong})


@pytest.mark.parametrize("masked", [np.ma.MaskedArray, Masked])
def test_masked_pixels_are_bad(masked):
    image, hidden = np.ones((2, 6, 6, 1)), np.zeros((2, 6, 6, 1), bool)
    hidden[0, 3, 4], image[0, 3, 4] = True, 1e6
    stamps = Stamps(masked(image, mask=hidden), ["r"], 0.2, mask=np.roll(hidden, 1, axis=2))
    np.testing.assert_array_equal(stamps.mask, hidden | np.roll(hidden, 1, axis=2))
    assert stamps.image.max() == 1
    np.testing.assert_array_equal(Stamps(image, ["r"], 0.2, variance=masked(image, mask=hidden)).mask, hidden)
    assert Stamps(masked(image, mask=hidden & False), ["r"], 0.2).mask is None
    with pytest.raises(InputError, match="truth has masked values"):
        Stamps(image, ["r"], 0.2, truth=masked(image, mask=hidden))


@pytest.mark.parametrize("unit", ["furlong", "nanomaggies", "njy"])
def test_units_that_nothing_knows_are_refused(unit):
    """Products could not be written in them, after all the work."""
    with pytest.raises(InputError, match=f"unit '{unit}' is not known; give nJy, another unit of astropy's"):
        Stamps(np.zeros((1, 4, 4, 1)), ["r"], 0.2, unit=unit)
