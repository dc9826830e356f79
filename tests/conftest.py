"""What all tests share: small stamps made from scratch, and the switches of the suite."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="run tests that take more than half a minute")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow; add --run-slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def data_root():
    """Folder of real survey images, where there is one."""
    root = Path(os.environ.get("GALZOO_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip("no real images here; set GALZOO_DATA")
    return root


def make_stamps(n=24, size=24, bands=("r",), seed=0, psf_size=9):
    """Return Gaussian blobs with noise, PSF, truth and a catalogue; every number from `seed`."""
    from galzoo.data.stamps import Stamps

    rng = np.random.default_rng(seed)
    grid = np.arange(size) - (size - 1) / 2
    width = rng.uniform(1.5, 3.0, (n, 1, 1, 1))
    flux = rng.uniform(200, 2000, (n, 1, 1, len(bands)))

    def blob(sigma):
        radius2 = grid[:, None, None] ** 2 + grid[None, :, None] ** 2
        return np.exp(-0.5 * radius2 / sigma**2) / (2 * np.pi * sigma**2)

    psf_grid = np.arange(psf_size) - (psf_size - 1) / 2
    psf = np.exp(-0.5 * (psf_grid[:, None] ** 2 + psf_grid**2) / 1.2**2)
    psf = np.broadcast_to((psf / psf.sum())[None, :, :, None], (1, psf_size, psf_size, len(bands)))
    noiseless = flux * blob(np.sqrt(width**2 + 1.2**2))
    return Stamps(
        image=noiseless + rng.normal(size=noiseless.shape),
        variance=np.ones_like(noiseless),
        psf=psf,
        truth=flux * blob(np.sqrt(width**2 + 0.7**2)),
        bands=bands,
        pixel_scale=0.2,
        survey="test",
        catalogue={"id": [f"g{row}" for row in range(n)], "width": width[:, 0, 0, 0], "type": np.arange(n)},
        meta={"origin": "test"},
    )


@pytest.fixture
def stamps():
    return make_stamps()


@pytest.fixture
def stamp_file(tmp_path):
    path = tmp_path / "stamps.h5"
    make_stamps(n=80).save(path)
    return path
