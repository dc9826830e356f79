"""A shift between surveys is of the size that was asked for, and two surveys are joined without mixing them up."""

import numpy as np
import pytest

from galzoo.data.stamps import Stamps
from galzoo.datasets.two_surveys import make_two_surveys
from galzoo.errors import InputError
from galzoo.simulate.survey_shift import shift_survey
from tests.conftest import make_stamps


def width(image):
    """Return the deviation along x of a blob in the middle of (y, x)."""
    line = image.sum(axis=0)
    place = np.arange(len(line)) - (len(line) - 1) / 2
    return np.sqrt((line * place**2).sum() / line.sum())


def blob(sigma=2.0, size=49, peak=100.0):
    grid = np.arange(size) - (size - 1) / 2
    image = peak * np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / sigma**2)
    plane = image[None, ..., None]
    return Stamps(plane, ["r"], 0.2, variance=np.ones_like(plane), psf=plane / plane.sum(), catalogue=None)


def pictures(n=3, size=32):
    image = np.random.default_rng(0).normal(20, 3, (n, size, size, 3))
    image[:, 12:20, 12:20] += 150
    image = np.clip(image, 0, 255).astype(np.uint8)
    return Stamps(image, ["i", "r", "g"], 0.396, unit="", variance=np.full(image.shape, 9.0))


def test_blur_adds_in_quadrature_to_image_and_psf():
    shifted = shift_survey(blob(), fwhm=3.0 * 2.3548)
    for plane in (shifted.image, shifted.psf):
        assert width(plane[0, ..., 0]) == pytest.approx(np.hypot(2, 3), rel=5e-3)
    assert shifted.image.sum() == pytest.approx(blob().image.sum(), rel=1e-3)
    # White noise after a Gaussian of sigma s has 1 / (4 pi s^2) of its variance.
    assert shifted.variance[0, 0, 0, 0] == pytest.approx(1 / (4 * np.pi * 9), rel=0.01)


def test_scale_makes_galaxies_smaller_and_keeps_the_flux():
    shifted = shift_survey(blob(), scale=1.5)
    assert width(shifted.image[0, ..., 0]) == pytest.approx(2 / 1.5, rel=0.03)
    assert shifted.image.sum() == pytest.approx(blob().image.sum(), rel=1e-3)
    assert shifted.pixel_scale == pytest.approx(0.3)
    assert shifted.mask[0, 0, 0, 0]
    assert not shifted.mask[0, 24, 24, 0]
    assert np.isinf(shifted.variance[0, 0, 0, 0])


def test_noise_is_added_and_told():
    stamps = make_stamps(8, size=24)
    shifted = shift_survey(stamps, noise=2.0, seed=3)
    assert np.std(shifted.image - stamps.image) == pytest.approx(2, rel=0.05)
    np.testing.assert_allclose(shifted.variance, 5.0)
    assert shifted.meta["shift"]["noise"] == 2.0


def test_stretch_raises_faint_parts_of_pictures():
    stamps = pictures()
    shifted = shift_survey(stamps, stretch=0.5)
    np.testing.assert_allclose(shifted.image, 255 * np.sqrt(stamps.image / 255), atol=0.51)
    assert shifted.image.dtype == np.uint8


def test_no_shift_changes_nothing():
    for stamps in (pictures(), blob()):
        np.testing.assert_array_equal(shift_survey(stamps).image, stamps.image)


@pytest.mark.parametrize(
    ("stamps", "shift", "words"),
    [
        (blob(), {"stretch": 0.5}, "only pictures are stretched"),
        (blob(), {"fwhm": -1}, "fwhm is -1"),
        (blob(), {"scale": 0}, "scale is 0"),
        (pictures(), {"noise": np.nan}, "noise is nan"),
    ],
)
def test_shifts_that_make_no_sense_are_refused(stamps, shift, words):
    with pytest.raises(InputError, match=words):
        shift_survey(stamps, **shift)


def test_halves_of_one_survey_share_no_galaxy(tmp_path):
    stamps = make_stamps(40, size=24)
    # Each galaxy twice.
    stamps.catalogue["id"] = [f"g{row // 2}" for row in range(40)]
    stamps.save(tmp_path / "one.h5")
    n = make_two_surveys(tmp_path / "two.h5", tmp_path / "one.h5", shift={"fwhm": 4.0}, test=0.3, valid=0.1)
    made = Stamps.load(tmp_path / "two.h5")
    assert n == len(made) == 40
    domain, split = np.asarray(made.catalogue["domain"]), np.asarray(made.catalogue["split"]).astype(str)
    assert 5 < domain.sum() < 35
    for galaxy in set(made.catalogue["id"]):
        rows = np.asarray(made.catalogue["id"]) == galaxy
        assert len(set(domain[rows])) == len(set(split[rows])) == 1
    peaks = [made.image[domain == number].max(axis=(1, 2, 3)).mean() for number in (0, 1)]
    assert peaks[1] < 0.7 * peaks[0]


def test_two_files_are_joined_in_the_middle(tmp_path):
    make_stamps(5, size=24).save(tmp_path / "a.h5")
    make_stamps(7, size=31, seed=1).save(tmp_path / "b.h5")
    make_two_surveys(tmp_path / "two.h5", tmp_path / "a.h5", tmp_path / "b.h5", where="type<6")
    made = Stamps.load(tmp_path / "two.h5")
    domain, order = np.asarray(made.catalogue["domain"]), np.argsort(made.catalogue["type"])
    # Mixed, so that a batch of neighbours has stamps of both.
    assert sorted(domain) == [0] * 5 + [1] * 6 != list(domain)
    second = order[domain[order] == 1]
    np.testing.assert_array_equal(made.image[second], make_stamps(7, size=31, seed=1).image[:6, 3:27, 3:27])


def test_surveys_that_cannot_be_joined_are_refused(tmp_path):
    make_stamps(5, size=24).save(tmp_path / "a.h5")
    make_stamps(5, size=24, bands=("g",)).save(tmp_path / "b.h5")
    with pytest.raises(InputError, match="give target"):
        make_two_surveys(tmp_path / "o.h5", tmp_path / "a.h5")
    with pytest.raises(InputError, match="bands"):
        make_two_surveys(tmp_path / "o.h5", tmp_path / "a.h5", tmp_path / "b.h5")
    with pytest.raises(InputError, match="smaller size"):
        make_two_surveys(tmp_path / "o.h5", tmp_path / "a.h5", tmp_path / "a.h5", size=30)
    assert not (tmp_path / "o.h5").exists()


def test_a_psf_that_is_cut_keeps_a_sum_of_1():
    assert shift_survey(blob(sigma=8.0), scale=0.5).psf.sum() == pytest.approx(1, abs=1e-5)
