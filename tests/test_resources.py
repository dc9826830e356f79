import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from galzoo.data.planes import open_planes
from galzoo.resources import cores, release
from galzoo.simulate.workers import run_parts

SIZE = 2048


def mapped():
    """Return the bytes of mapped files that are in memory now, Linux only."""
    return 1024 * int(re.search(r"RssFile:\s*(\d+)", Path("/proc/self/status").read_text()).group(1))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_mapped_files_leave_memory_and_come_back(tmp_path):
    written = np.memmap(tmp_path / "planes.dat", np.float32, "w+", shape=(SIZE, SIZE))
    before = mapped()
    written += 1
    used = mapped() - before
    assert used > 0.9 * written.nbytes
    release(written[1:], np.ones(3), None)
    assert mapped() - before < 0.1 * written.nbytes
    assert (written == 1).all()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_a_large_image_piece_by_piece_keeps_little_of_it(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(2 * SIZE, 2 * SIZE)).astype(np.float32)
    fits.writeto(tmp_path / "image.fits", pixels)
    (plane,) = open_planes(tmp_path / "image.fits")
    before = mapped()
    for y in range(0, 2 * SIZE, 128):
        assert np.array_equal(plane.read(y, y + 128, 0, 2 * SIZE), pixels[y : y + 128])
    assert mapped() - before < 0.5 * pixels.nbytes
    plane.close()


def doubled():
    return lambda part: 2 * part


def test_cores_are_counted_where_processes_cannot_be_kept_to_some(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert cores() == 1
    assert list(run_parts(doubled, (), [1, 2, 3])) == [2, 4, 6]
