"""Batches: everything about an object travels together, and every batch is full and clean."""

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable

from galzoo import Stamps
from galzoo.data import source as module
from galzoo.data.scene_source import SceneSource
from galzoo.data.source import StampSource, clean_planes, sky_variance, step_positions
from galzoo.data.training_sources import training_sources
from galzoo.errors import InputError
from galzoo.registry import get_family
from tests.conftest import make_stamps
from tests.scenes import make_scenes

KEYS = ("image", "variance", "mask", "psf", "truth")


@pytest.fixture
def readable(tmp_path):
    """A file in which every plane, label and condition of an object can be read from its pixels."""
    n = 70
    number = np.random.default_rng(0).permutation(n)
    plane = np.broadcast_to(number[:, None, None, None], (n, 6, 6, 1)).astype("float32")
    psf = np.full((n, 3, 3, 1), 1e-3)
    psf[:, 1, 1, 0] = 1 + number
    psf /= psf.sum(axis=(1, 2, 3), keepdims=True)
    catalogue = {"id": number.astype(str), "type": number, "size": number / 2, "half": -1.0 * number, "word": ["a"] * n}
    path = tmp_path / "readable.h5"
    Stamps(plane, ["r"], 0.2, variance=plane + 1, truth=2 * plane, psf=psf, catalogue=catalogue).save(path)
    return path


def with_columns(path, **columns):
    stamps = make_stamps(n=3)
    stamps.catalogue = QTable({"id": ["a", "b", "c"]} | columns)
    stamps.save(path)


def assert_together(batch):
    number = np.asarray(batch["image"])[:, 0, 0, 0]
    np.testing.assert_array_equal(batch["label"], number)
    np.testing.assert_array_equal(batch["condition"], np.stack([number / 2, -number], axis=-1))
    np.testing.assert_array_equal(np.asarray(batch["variance"])[:, 0, 0, 0], number + 1)
    np.testing.assert_array_equal(np.asarray(batch["truth"])[:, 0, 0, 0], 2 * number)
    psf = np.asarray(batch["psf"])
    np.testing.assert_allclose(psf[:, 1, 1, 0] / psf[:, 0, 0, 0], 1e3 * (1 + number), rtol=1e-4)


@pytest.mark.parametrize("memory", [module.MEMORY_BYTES, 0], ids=["in memory", "from disk"])
@pytest.mark.parametrize("split", ["all", "train"])
def test_labels_travel_with_their_images(readable, monkeypatch, memory, split):
    monkeypatch.setattr(module, "MEMORY_BYTES", memory)
    source = StampSource(readable, KEYS, split, label="type", condition=["size", "half"])
    seen = set()
    for step in range(10):
        batch = source.batch(step_positions(len(source), step, 16, seed=3))
        assert batch["image"].shape == (16, 6, 6, 1)
        assert_together(batch)
        seen |= set(batch["index"].tolist())
    assert seen == set(source.rows.tolist())


def test_splits_share_no_object(readable):
    rows = [set(StampSource(readable, ("image",), split).rows.tolist()) for split in ("train", "valid", "test")]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 70


def test_order_is_a_function_of_seed_and_step():
    walk = [step_positions(10, step, 4, seed=1) for step in range(10)]
    np.testing.assert_array_equal(step_positions(10, 7, 4, seed=1), walk[7])
    assert all(len(positions) == 4 for positions in walk)
    for epoch in np.concatenate(walk).reshape(4, 10):
        assert sorted(epoch) == list(range(10))
    assert not np.array_equal(walk[0], step_positions(10, 0, 4, seed=2))
    first, second = np.concatenate(walk).reshape(4, 10)[:2]
    assert not np.array_equal(first, second)


def test_batches_larger_than_the_set_are_full():
    positions = step_positions(3, 2, 8, seed=0)
    assert len(positions) == 8
    assert np.bincount(positions, minlength=3).min() >= 2


def test_bad_pixels_are_masked_and_zero():
    image = np.ones((1, 5, 5, 1), "float32")
    image[0, 0, 0], image[0, 1, 1] = np.nan, np.inf
    variance = np.full_like(image, 2)
    variance[0, 2, 2], variance[0, 3, 3], variance[0, 4, 4] = 0, np.nan, np.inf
    mask = np.zeros(image.shape, bool)
    mask[0, 0, 4] = True
    clean = clean_planes({"image": image, "variance": variance, "mask": mask})
    bad = np.zeros((5, 5), bool)
    bad[[0, 1, 2, 3, 0], [0, 1, 2, 3, 4]] = True
    np.testing.assert_array_equal(clean["mask"][0, ..., 0], bad)
    np.testing.assert_array_equal(clean["image"][0, ..., 0], np.where(bad, 0, 1))
    assert np.all(clean["variance"] > 0)
    assert np.isinf(clean["variance"][0, 4, 4, 0])
    assert np.isnan(image[0, 0, 0, 0])


def test_absent_variance_is_estimated_from_the_sky(tmp_path):
    stamps = make_stamps(n=60, size=32, bands=("g", "r"))
    stamps.image[..., 1] *= 3
    stamps.image[0, :3, :3] = np.nan
    stamps.variance = None
    stamps.save(tmp_path / "s.h5")
    batch = StampSource(tmp_path / "s.h5", KEYS, "all").batch(np.arange(60))
    estimate = batch["variance"][:, 0, 0]
    np.testing.assert_allclose(np.median(estimate, axis=0), [1, 9], rtol=0.15)
    assert np.all(batch["variance"] == batch["variance"][:, :1, :1])
    assert "variance" not in StampSource(tmp_path / "s.h5", ("image",), "all").batch([0])


def test_sky_variance_of_odd_stamps():
    image = np.zeros((3, 16, 16, 1), "float32")
    image[1], image[2, 8, 8] = np.nan, 100.0
    variance = sky_variance(image)[:, 0, 0, 0]
    assert np.isinf(variance[1])
    assert variance[0] > 0
    np.testing.assert_allclose(variance[2], 0.1**2, rtol=1e-5)


def test_what_cannot_be_served_is_refused(readable):
    with pytest.raises(InputError, match="'colour'; it has"):
        StampSource(readable, label="colour")
    with pytest.raises(InputError, match="'word' is no label"):
        StampSource(readable, label="word")
    with pytest.raises(InputError, match="'size' is no label"):
        StampSource(readable, label="size")
    with pytest.raises(InputError, match="'word' holds no numbers"):
        StampSource(readable, condition=["size", "word"])
    with pytest.raises(InputError, match="'valid'"):
        StampSource(readable, split="valid", split_options={"valid": 0.0})
    with pytest.raises(InputError, match="'validation' is unknown"):
        StampSource(readable, split="validation")


def test_limit_and_keys(readable):
    source = StampSource(readable, ("image", "psf"), "all", limit=5)
    batch = source.batch([4, 0])
    assert len(source) == 5
    assert set(batch) == {"image", "mask", "psf", "index"}


def test_marks_in_a_condition_are_said(tmp_path, caplog):
    stamps = make_stamps(n=40)
    stamps.catalogue["z"] = np.where(np.arange(40) % 8, 0.3 + 0.01 * np.arange(40), -99.0)
    stamps.save(tmp_path / "a.h5")
    StampSource(tmp_path / "a.h5", split="all", condition=("z",))
    assert "5 values of z are -99, which marks what is not known in many catalogues" in caplog.text


@pytest.mark.parametrize("spoil", ["image", "variance", "mask"])
def test_stamps_without_a_good_pixel_are_no_data_to_learn_from(tmp_path, spoil):
    stamps = make_stamps(n=30)
    value = {"image": np.float32(np.nan), "variance": np.float32(0), "mask": True}[spoil]
    setattr(stamps, spoil, np.full(stamps.image.shape, value))
    stamps.save(tmp_path / "a.h5")
    data = {"split": {}, "label": None, "condition": [], "limit": None}
    family = get_family("vqvae")
    with pytest.raises(InputError, match="a.h5: none of .* stamps has a good pixel"):
        training_sources(tmp_path / "a.h5", data, family)
    getattr(stamps, spoil)[::3, 2, 2] = {"image": 1, "variance": 1, "mask": False}[spoil]
    stamps.save(tmp_path / "a.h5")
    training_sources(tmp_path / "a.h5", data, family)


@pytest.mark.parametrize(
    ("labels", "said"),
    [(MaskedColumn([0, 1, 2], mask=[True, False, False]), "labels from -1 to 2"), ([0, 1, 2**40], "to 1099511627776"),
     ([[0, 1]] * 3, "several labels a row")],
    ids=["missing", "large", "pairs"],
)  # fmt: skip
def test_labels_are_classes_from_zero(tmp_path, labels, said):
    with_columns(tmp_path / "a.h5", label=labels)
    with pytest.raises(InputError, match=f"a.h5: column 'label' has .*{said}.*number the classes from 0"):
        StampSource(tmp_path / "a.h5", split="all", label="label")


@pytest.mark.parametrize(("values", "said"), [([1, np.inf, 2], "infinite"), ([[1, 2]] * 3, "several values a row")])
def test_conditions_are_one_finite_number_or_nan(tmp_path, values, said):
    with_columns(tmp_path / "a.h5", size=values)
    with pytest.raises(InputError, match=f"a.h5: column 'size' has {said}"):
        StampSource(tmp_path / "a.h5", split="all", condition=["size"])


def test_radii_are_brought_to_arcsec(tmp_path):
    with_columns(tmp_path / "a.h5", half_light_radius=[1, 2, 3] * u.arcmin)
    found = StampSource(tmp_path / "a.h5", ("half_light_radius",), split="all").batch([2])["half_light_radius"]
    assert found.tolist() == [[180]]
    with_columns(tmp_path / "a.h5", half_light_radius=[1, 2, 3] * u.pix)
    with pytest.raises(InputError, match="half_light_radius is in pix, not arcsec"):
        StampSource(tmp_path / "a.h5", ("half_light_radius",), split="all")


def test_numbers_of_sources_of_other_programs_are_brought_to_their_units(tmp_path):
    scenes = make_scenes(n=2)
    scenes.save(tmp_path / "a.h5")
    flux = scenes.flux()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[f"sources/flux_{scenes.bands[0]}"].attrs["unit"] = "uJy"
    batch = SceneSource(tmp_path / "a.h5", ("flux",), split="all").batch([0, 1])
    np.testing.assert_allclose(batch["flux"][..., 0], 1000 * flux[..., 0], rtol=1e-6)
    np.testing.assert_allclose(batch["flux"][..., 1:], flux[..., 1:], rtol=1e-6)


def test_another_word_for_a_split_names_the_file(tmp_path):
    with_columns(tmp_path / "a.h5", split=["train", "valid", "Test"])
    with pytest.raises(InputError, match="a.h5: catalogue column 'split' holds 'Test'; use train, valid, test"):
        StampSource(tmp_path / "a.h5", split="train")
