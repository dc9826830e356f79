"""What a deblender is handed: the pixels, noise and PSF of each window's place, and no light of other groups."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from galzoo.data.stamps import Stamps
from galzoo.tasks.deblend.run import Settings, deblend_field
from tests.field import fields

SHAPE = (90, 140)
# x, y, flux, size; no two have the same fraction of a pixel. The last two are one group.
SOURCES = [
    (22.15, 24.8, 4e3, 0.0), (42.35, 30.1, 5e3, 0.4), (62.55, 22.4, 6e3, 0.0), (124.75, 62.7, 5e3, 0.6),
    (30.95, 68.3, 4e3, 0.3), (84.25, 58.6, 6e3, 0.0), (89.85, 60.2, 4e3, 0.0),
]  # fmt: skip
PLACES = np.array(SOURCES)[:, :2]
GROUPS = [[0], [1], [2], [3], [4], [5, 6]]


def psf_at(x, y):
    """Return PSFs whose width along x says where they are in x, and whose width along y where in y."""
    grid = np.arange(-12, 13)
    wide, high = (1.2 + 0.006 * np.asarray(place, float)[:, None, None] for place in (x, y))
    psf = np.exp(-0.5 * ((grid[None, None] / wide) ** 2 + (grid[None, :, None] / high) ** 2))
    return np.repeat((psf / psf.sum(axis=(1, 2), keepdims=True))[..., None], len(fields.BANDS), axis=-1)


def place_of(psf):
    """Return the place (x, y) of a PSF of `psf_at`."""
    grid = np.arange(psf.shape[0]) - (psf.shape[0] - 1) / 2
    light = psf[..., 0] / psf[..., 0].sum()
    return (np.sqrt([(light.sum(axis=axis) * grid**2).sum() for axis in (0, 1)]) - 1.2) / 0.006


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A deblended field; what its deblender was handed; its pixels and their variance."""
    folder = tmp_path_factory.mktemp("field")
    image = fields.draw(SHAPE, SOURCES).astype(np.float32)
    variance = np.random.default_rng(3).uniform(1.0, 2.0, image.shape).astype(np.float32)
    path = fields.write(folder / "field.fits", image)
    noise = fields.write(folder / "variance.fits", variance)
    handed = []

    def spied(batch):
        handed.append({key: np.array(batch[key]) for key in batch})
        return fields.least_squares(batch)

    deblend_field(
        path, folder / "out", deblender=spied, catalogue=Table({"x": PLACES[:, 0], "y": PLACES[:, 1]}), psf=psf_at,
        settings=Settings(report=False, add_sources=False, stamp_size=32), variance=noise, subtract_sky=False,
    )  # fmt: skip
    labels = fits.getdata(folder / "out" / "segmentation.fits")
    return folder / "out", list(windows(handed)), image, variance, labels


def windows(handed):
    """Yield the sources, the first pixel (x, y) and the planes of each window."""
    for batch in handed:
        for row in range(len(batch["image"])):
            planes = {key: batch[key][row] for key in ("image", "variance", "model_variance", "mask", "psf")}
            first = batch["positions"][row, 0]
            corner = PLACES - first
            source = int(np.abs(corner - np.round(corner)).sum(axis=1).argmin())
            group = next(group for group in GROUPS if source in group)
            x0, y0 = np.round(PLACES[source] - first).astype(int)
            found = batch["positions"][row, : batch["n_sources"][row]] + [x0, y0]
            np.testing.assert_allclose(sorted(found.tolist()), PLACES[group], atol=1e-3)
            yield group, x0, y0, planes


def field_of(plane, x0, y0, side, outside):
    """Return the square of a plane (y, x) that begins at a pixel, with a value for what is off the field."""
    padded = np.pad(plane, side, constant_values=outside)
    return padded[y0 + side : y0 + 2 * side, x0 + side : x0 + 2 * side]


def test_every_group_has_its_window(run):
    assert {tuple(group) for group, *_ in run[1]} == {tuple(group) for group in GROUPS}
    x, y = PLACES.astype(int).T
    assert len(set(run[4][y, x])) == len(GROUPS)
    assert run[4].min() == 0


def test_pixels_are_those_of_the_place_without_other_groups(run):
    _, handed, image, variance, labels = run
    hidden_light = 0
    for group, x0, y0, planes in handed:
        side = planes["image"].shape[0]
        x, y = PLACES[group[0]].astype(int)
        own = labels[y, x]
        here = field_of(labels, x0, y0, side, -1)
        hidden = (here != 0) & (here != own)
        for band in range(len(fields.BANDS)):
            expected = np.where(hidden, 0, field_of(image[band], x0, y0, side, 0))
            np.testing.assert_array_equal(planes["mask"][..., band], hidden)
            np.testing.assert_allclose(planes["image"][..., band], expected, rtol=1e-5)
            noise = field_of(variance[band], x0, y0, side, np.inf)
            np.testing.assert_allclose(planes["variance"][..., band][~hidden], noise[~hidden], rtol=1e-5)
            # Two hundredths of the light; of a source, not of a hole.
            light = np.maximum(field_of(image[band], x0, y0, side, 0), 0)
            doubted = planes["model_variance"][..., band][~hidden]
            np.testing.assert_allclose(doubted, (0.02 * light[~hidden]) ** 2, rtol=1e-4)
        for source, (x, y) in enumerate(PLACES.round().astype(int) - [x0, y0]):
            if 0 <= x < side and 0 <= y < side:
                assert planes["mask"][y, x].all() == (source not in group)
                hidden_light += source not in group
    assert hidden_light >= 4


def test_sky_between_groups_is_not_hidden(run):
    _, handed, *_ = run
    for _, x0, y0, planes in handed:
        y, x = np.indices(planes["image"].shape[:2]) + np.array([y0, x0])[:, None, None]
        far = np.min([np.hypot(x - place[0], y - place[1]) for place in PLACES], axis=0) > 10
        far &= (x >= 0) & (y >= 0) & (x < SHAPE[1]) & (y < SHAPE[0])
        assert far.sum() > 100
        assert not planes["mask"][far].any()


def test_windows_and_stamps_carry_the_psf_of_their_place(run):
    out, handed, *_ = run
    for group, _, _, planes in handed:
        np.testing.assert_allclose(place_of(planes["psf"]), PLACES[group].mean(axis=0), atol=8)
        np.testing.assert_allclose(planes["psf"].sum(axis=(0, 1)), 1, rtol=1e-5)
    stamps = Stamps.load(out / "stamps.h5")
    for psf, row in zip(stamps.psf_of(slice(None)), stamps.catalogue, strict=True):
        place = row["x_field"].value, row["y_field"].value
        np.testing.assert_allclose(place_of(psf), place, atol=1)
