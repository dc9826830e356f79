"""The stamp of input files: other contents are another stamp, the same contents under another time are not."""

import hashlib
import os

from galzoo.contents import digest, digests
from galzoo.data.build_dataset import cache_file


def test_contents_and_not_times(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"one")
    before = digest(path)
    assert before == hashlib.sha256(b"one").hexdigest()
    os.utime(path, (1, 1))
    assert digest(path) == before
    path.write_bytes(b"two")
    assert digest(path) != before


def test_bands_extensions_patterns_and_folders_are_written_out(tmp_path):
    for name in ("f_g.fits", "f_r.fits", "psf.fits"):
        (tmp_path / name).write_text(name)
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "deep" / "1.jpg").write_text("1")
    assert list(digests(tmp_path / "f_{band}.fits", bands="gr")) == [str(tmp_path / f"f_{band}.fits") for band in "gr"]
    assert list(digests({"psf": [f"{tmp_path}/psf.fits[SCI,1]", "no file", 3, None]})) == [str(tmp_path / "psf.fits")]
    assert len(digests(f"{tmp_path}/f_*.fits")) == 2
    before = digests(tmp_path / "set")
    (tmp_path / "set" / "deep" / "1.jpg").write_text("2")
    assert digests(tmp_path / "set") != before
    before = digests(tmp_path / "set")
    (tmp_path / "set" / "deep" / "1.jpg").rename(tmp_path / "set" / "deep" / "2.jpg")
    assert digests(tmp_path / "set") != before


def test_a_cached_data_set_is_another_one_when_its_files_change(tmp_path):
    catalogue = tmp_path / "c.fits"
    catalogue.write_text("one")
    options = {"catalogue": str(catalogue), "size": 64}
    first = cache_file("candels", options)
    os.utime(catalogue, (1, 1))
    assert cache_file("candels", options) == first
    catalogue.write_text("two")
    assert cache_file("candels", options) != first
    assert cache_file("simulated", {"n": 1}) != cache_file("simulated", {"n": 2})
