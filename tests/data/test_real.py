"""The same code on real survey files, where they are."""

import numpy as np
import pytest

from galzoo.data import duplicates
from galzoo.data.conform import LSST_BANDS, conform, read_survey
from galzoo.data.psf import read_psf
from galzoo.data.sdss import read_pictures
from galzoo.data.sdss_frames import make_sdss_frames
from galzoo.data.stamps import Stamps
from galzoo.field.cutouts import cutouts_from_files

pytestmark = pytest.mark.real


def test_hsc_coadds_detected_and_cut(data_root, tmp_path):
    files = [data_root / f"hsc/hsc_10054_0-2_c1_{band}.fits.fz" for band in "GRI"]
    count = cutouts_from_files(
        files, tmp_path / "hsc.h5", 48, bands=["g", "r", "i"], zero_point=27.0, pixel_scale=0.168, where="snr>50"
    )
    stamps = Stamps.load(tmp_path / "hsc.h5")
    assert count == len(stamps) > 100
    sky = np.median(np.abs(stamps.image[..., 2][~stamps.mask[..., 2]]))
    # 27.0 AB and a sky noise of 0.025 counts.
    assert 1 < sky < 10


def test_sdss_frames_agree_with_their_catalogue(data_root, tmp_path):
    folder = data_root / "sdss_frames"
    frames = [folder / f"frame-{band}-000094-1-0012.fits.bz2" for band in "gri"]
    where = "OBJC_TYPE=6, NCHILD=0"
    catalogue = folder / "photoObj-000094-1-0012_cols.fits"
    make_sdss_frames(
        tmp_path / "sdss.h5", frames, catalogue, folder / "psField-000094-1-0012.fit", size=40, where=where
    )
    stamps = Stamps.load(tmp_path / "sdss.h5")
    flux = stamps.catalogue["PSFFLUX"][:, 1:4]
    bright = (flux > 60).all(axis=1) & (flux < 500).all(axis=1) & ~stamps.mask.any(axis=(1, 2, 3))
    image, psf = stamps.image[bright], stamps.psf_of(np.flatnonzero(bright))
    margin = (image.shape[1] - 25) // 2
    image = image[:, margin : margin + 25, margin : margin + 25]
    size = psf.shape[1]
    # Stamps are even, PSFs odd: the object is half a pixel off, so compare by the total in 25 pixels.
    assert size == 39
    ratio = np.median(image.sum(axis=(1, 2)), axis=0) / np.median(flux[bright] * 3630.78, axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.12)


def test_survey_stamps_on_lsst_bands(data_root):
    stamps = conform(
        read_survey(data_root / "linear_stamps.h5", "hsc_gri")[:8],
        LSST_BANDS,
        0.2,
        64,
        {"g": "G", "r": "R", "i": "I"},
    )
    assert np.isinf(stamps.variance[..., 0]).all()
    good = ~stamps.mask[..., 3]
    noise = 1.4826 * np.median(np.abs(stamps.image[..., 3][good]))
    assert noise == pytest.approx(np.sqrt(np.median(stamps.variance[..., 3][good])), rel=0.4)


@pytest.mark.parametrize(
    "name", ["hst_grizli_ceers_f160w.fits", "jwst_grizli_ceers_nrca5-f277w.fits", "hsc_cosmos_psf.fits"]
)
def test_public_psfs_are_accepted(data_root, name):
    bands = "grizy" if name.startswith("hsc") else "h"
    psf = read_psf(data_root / "psf" / name, tuple(bands), 64)
    np.testing.assert_allclose(psf.sum(axis=(1, 2)), 1, rtol=1e-5)


@pytest.mark.slow
def test_galaxies_in_two_picture_sets_are_found(data_root):
    efigi, efigi_table = read_pictures(data_root / "jpeg_sets/efigi.h5")
    gz1, gz1_table = read_pictures(data_root / "jpeg_sets/gz1_sdss.h5")
    pairs, _ = duplicates.same_pictures(efigi, gz1)
    found = {(efigi_table["pgc"][i], int(gz1_table["objid"][j])) for i, j in pairs}
    # Confirmed by eye.
    assert ("PGC0054039", 587726014552670282) in found
    assert len(found) < 20
