"""Colour pictures: sizes, noise, duplicates, and folders or HDF5 files of them."""

import io

import h5py
import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from galzoo.data import duplicates
from galzoo.data.fits import open_mosaic
from galzoo.data.pictures import NOISE_FLOOR, decode_picture, picture_noise, picture_r50
from galzoo.data.sdss import make_sdss, sdss_pictures
from galzoo.data.stamps import Stamps
from galzoo.errors import InputError


def scene(seed, size=96, zoom=1.0, stretch=1.0):
    """Draw a field of a galaxy and some neighbours, optionally zoomed and stretched."""
    rng = np.random.default_rng(seed)
    places = np.concatenate([[[0, 0]], rng.uniform(-40, 40, (14, 2))]) * zoom
    peaks = np.concatenate([[200], rng.uniform(40, 160, 14)])
    y, x = np.indices((size, size)) - (size - 1) / 2
    image = sum(
        peak * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (width * zoom) ** 2))
        for (cx, cy), peak, width in zip(places, peaks, [6] + [2.2] * 14, strict=True)
    )
    image = 255 * (np.clip(image + 12, 0, 255) / 255) ** stretch + np.random.default_rng(seed + 99).normal(
        0, 3, image.shape
    )
    return np.clip(np.repeat(image[..., None], 3, axis=-1), 0, 255).astype(np.uint8)


def encode(pixels, kind="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return buffer.getvalue()


def test_decoding_averages_areas():
    pixels = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    found = decode_picture(encode(pixels, "PNG"), crop=64, size=32)
    expected = pixels[18:82, 18:82].reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    # Rows and columns are rounded in turn.
    np.testing.assert_allclose(found, expected, atol=1.01)
    with pytest.raises(InputError, match="below the crop of 120"):
        decode_picture(encode(pixels), crop=120)
    with pytest.raises(InputError, match="below the stamp"):
        decode_picture(encode(pixels), crop=48, size=64)
    with pytest.raises(InputError, match="not a readable picture"):
        decode_picture(b"no picture", name="x.jpg")


def test_noise_of_a_picture_ignores_the_galaxy():
    rng = np.random.default_rng(0)
    y, x = np.indices((64, 64)) - 31.5
    galaxy = 180 * np.exp(-np.hypot(x, y) / 12)[..., None]
    images = np.clip(30 + galaxy + rng.normal(0, 5, (20, 64, 64, 3)), 0, 255).astype(np.uint8)
    images[:, :8, :8] = 250
    np.testing.assert_allclose(picture_noise(images).mean(), 5, rtol=0.15)
    assert picture_noise(np.full((1, 64, 64, 3), 7, np.uint8)).max() == NOISE_FLOOR
    gaussian = np.repeat((200 * np.exp(-(x**2 + y**2) / (2 * 36)))[None, ..., None], 3, -1).astype(np.uint8)
    assert picture_r50(gaussian)[0] == pytest.approx(6 * 1.1774, rel=0.1)


def test_the_same_field_is_found_at_another_scale():
    first = np.stack([scene(seed) for seed in range(12)])
    second = np.stack([scene(seed, zoom=1.3, stretch=0.8) for seed in (3, 7, 40, 41)])
    pairs, correlation = duplicates.same_pictures(first, second)
    np.testing.assert_array_equal(pairs, [[3, 0], [7, 1]])
    assert correlation.min() > duplicates.THRESHOLD
    assert len(duplicates.same_pictures(first)[0]) == 0


def test_positions_and_chains_share_a_name():
    ra = np.array([359.9999, 0.0001, 10.0, np.nan, np.nan, 10.0])
    pairs = duplicates.same_sky(ra, [0, 0, 5, 0, 0, 5.0002], 2)
    assert sorted(map(sorted, pairs.tolist())) == [[0, 1], [2, 5]]
    names = duplicates.common_names(list("abcdef"), [[0, 1], [1, 2], [5, 4]])
    assert list(names) == list("aaadee")


def test_pairs_of_rows_are_found_by_sky_and_by_picture_within_and_across_sources():
    """Of two sources in turn: rows 0 and 3 are one field, 2 and 4 too, and 1 and 5 are 20 arcsec apart."""
    images = np.stack([scene(seed) for seed in (1, 2, 3, 1, 3, 4)])
    images[4] = scene(3, stretch=0.9)
    table = Table({"source": list("ababab"), "ra": np.full(6, np.nan), "dec": np.full(6, np.nan)})
    table["ra"][[1, 5]], table["dec"][[1, 5]] = 30.0, [10.0, 10.0 + 20 / 3600]
    assert duplicates.find_duplicates(images, table).tolist() == [[0, 3], [1, 5], [2, 4]]
    table["dec"][5] = 10.0 + 26 / 3600
    assert duplicates.find_duplicates(images, table).tolist() == [[0, 3], [2, 4]]


def test_sky_within_a_radius_is_that_within_the_angle():
    dec = np.array([0.0, 9.9, 20.1]) / 3600
    assert duplicates.same_sky(np.full(3, 40.0), dec, 10).tolist() == [[0, 1]]


def test_fingerprints_are_what_changes_under_half_a_turn():
    images = np.stack([scene(seed) for seed in range(2)])
    plain, turned = duplicates.fingerprints(images), duplicates.fingerprints(images[:, ::-1, ::-1])
    np.testing.assert_allclose(turned, -plain, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, rtol=1e-5)
    # Those of the middle of a picture are those of a picture that is enlarged.
    larger = duplicates.fingerprints(np.stack([scene(seed, zoom=1.3) for seed in range(2)]))
    middle = duplicates.fingerprints(images, 1.3)
    assert np.sum(larger * middle, axis=1).min() > 0.8


def test_folder_and_file_make_one_set(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for seed in range(4):
        Image.fromarray(scene(seed)).save(folder / f"g{seed}.png")
    Table({"file": [f"g{n}.png" for n in range(4)], "kind": ["a", "b", "c", "d"]}).write(folder / "labels.csv")
    with h5py.File(tmp_path / "gz1_sdss.h5", "w") as file:
        jpeg = file.create_dataset("jpeg", (3,), dtype=h5py.vlen_dtype(np.uint8))
        for row, seed in enumerate((50, 2, 51)):
            jpeg[row] = np.frombuffer(encode(scene(seed, zoom=1.2)), np.uint8)
        file["objid"] = np.array([587000000000000001, 587000000000000002, 587000000000000003])
        file["label"] = np.array([0, 1, 2], np.int8)
    report = make_sdss([folder, tmp_path / "gz1_sdss.h5"], tmp_path / "out.h5")
    assert report["n"] == 7
    assert report["duplicates"] == 1
    stamps = Stamps.load(tmp_path / "out.h5")
    assert stamps.image.dtype == np.uint8
    assert stamps.image.shape == (7, 64, 64, 3)
    assert stamps.unit == ""
    assert stamps.catalogue["id"][5] == stamps.catalogue["id"][2] == "mine-g2"
    assert stamps.catalogue["name"][5] == "gz1-587000000000000002"
    assert list(stamps.catalogue["kind"]) == ["a", "b", "c", "d", "", "", ""]
    assert list(stamps.catalogue["label"]) == [-1, -1, -1, -1, 0, 1, 2]
    assert stamps.meta["class_names"]["label"]["1"] == "clockwise"
    assert (np.ptp(stamps.variance, axis=(1, 2)) == 0).all()
    assert len(sdss_pictures(folder, size=32)) == 4


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(InputError, match="no JPEG or PNG"):
        make_sdss(tmp_path, tmp_path / "out.h5")
    with pytest.raises(InputError, match="no such file"):
        make_sdss(tmp_path / "absent", tmp_path / "out.h5")
    Image.fromarray(scene(0)).save(tmp_path / "a.png")
    Table({"file": ["b.png"]}).write(tmp_path / "labels.csv")
    with pytest.raises(InputError, match="no row for a.png"):
        make_sdss(tmp_path, tmp_path / "out.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(InputError, match="no data set 'jpeg'"):
        make_sdss(tmp_path / "other.h5", tmp_path / "out.h5")


def quarters():
    """Return a picture whose quarters differ, uint8 (y, x, 3)."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16, :16], pixels[:16, 16:], pixels[16:, :16] = (200, 10, 10), (10, 200, 10), (10, 10, 200)
    return pixels


def both(path):
    """Return what the two readers make of a picture."""
    with open_mosaic(path, unit="") as mosaic:
        read = np.stack([plane.read(0, *plane.shape[:1], 0, plane.shape[1]) for plane in mosaic.planes], axis=-1)
    return read, decode_picture(path, size=32)


def test_a_picture_is_turned_as_the_camera_says(tmp_path):
    """Viewers show it so, and positions are measured there."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(quarters())).save(tmp_path / "turned.png", exif=exif)
    for found in both(tmp_path / "turned.png"):
        np.testing.assert_array_equal(found, quarters())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_sky(tmp_path, mode):
    """Its own colour, white mostly, is not meant to be seen."""
    picture = Image.fromarray(np.dstack([quarters(), np.full((32, 32), 255, np.uint8)]))
    pixels = np.asarray(picture).copy()
    pixels[16:, 16:] = 255, 255, 255, 0
    expected = quarters()
    if mode == "P":
        indexed = Image.fromarray(quarters()).quantize(8)
        indexed.paste(7, (16, 16, 32, 32))
        indexed.putpalette(indexed.getpalette()[:21] + [255, 255, 255])
        indexed.save(tmp_path / "a.png", transparency=7)
    else:
        Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")
        if mode == "LA":
            expected = np.asarray(Image.fromarray(quarters()).convert("L").convert("RGB"))
    for found in both(tmp_path / "a.png"):
        np.testing.assert_array_equal(found, expected)


def test_16_bits_are_not_clipped_at_255(tmp_path):
    deep = (np.arange(32 * 32).reshape(32, 32) * 60).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    read, decoded = both(tmp_path / "deep.png")
    np.testing.assert_allclose(read, np.repeat(deep[..., None] * (255 / 65535), 3, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(decoded, np.round(read))


def test_a_picture_that_is_too_large_is_refused_in_a_line(tmp_path, monkeypatch):
    Image.fromarray(quarters()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="a.png: not a readable picture"):
        open_mosaic(tmp_path / "a.png", unit="")
