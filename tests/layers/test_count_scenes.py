"""Scenes to count: what counts, at which exposure, and what is masked."""

import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.count_scenes import CountScenes
from tests.conftest import make_stamps


@pytest.fixture(scope="module")
def stamps():
    made = make_stamps(n=48, size=32, bands=("g", "r"), seed=4)
    psf = np.broadcast_to(made.psf, (48, *made.psf.shape[1:])).astype("float32")
    # Half of them so faint that they cannot be seen.
    truth = made.truth * np.where(np.arange(48) % 2, 1, 0.005)[:, None, None, None]
    return {"truth": truth.astype("float32"), "variance": made.variance.astype("float32"), "psf": psf}


def scenes(stamps, **arguments):
    return {key: np.asarray(value) for key, value in CountScenes(32, **arguments)(stamps).items()}


def test_what_counts_is_bright_enough_inside_and_not_masked(stamps):
    made = scenes(stamps, most=4, stars=0.0, seed=3)
    assert {0, 1, 2} <= set(made["n_sources"].tolist())
    for row, number in enumerate(made["n_sources"]):
        light = np.where(made["mask"][row], 0, made["isolated"][row].astype(float))
        snr = np.sqrt((light**2 / made["variance"][row]).sum(axis=(1, 2, 3)))
        np.testing.assert_allclose(made["snr"][row], snr, rtol=1e-4, atol=1e-4)
        assert (snr[:number] > 5).all()
        places = made["positions"][row]
        assert (places[number:] == 0).all()
        assert (made["flux"][row, number:] == 0).all()
        assert (np.diff(made["flux"][row, :number].sum(axis=-1)) <= 0).all()
        assert ((places[:number] >= 3) & (places[:number] <= 28)).all()
        pixels = np.round(places[:number]).astype(int)
        assert not made["mask"][row, pixels[:, 1], pixels[:, 0]].any()
        # Those left out are faint, or lie outside or in masked pixels.
        for image, value in zip(made["isolated"][row, number:], snr[number:], strict=True):
            if value > 5:
                y, x = np.unravel_index(image.sum(axis=-1).argmax(), (32, 32))
                assert min(x, y, 31 - x, 31 - y) <= 3 or made["mask"][row, y, x].any()


def test_exposure_goes_with_sky_and_photons(stamps):
    lit = {**stamps, "variance": 1 + stamps["truth"] / 50}
    deep, shallow = (scenes(lit, depth=depth, stars=0.0, centred=0.0, seed=1) for depth in (1.0, 0.25))
    np.testing.assert_allclose(shallow["variance"], 4 * deep["variance"], rtol=1e-3)
    np.testing.assert_array_equal(shallow["isolated"].max(axis=(1, 2, 3, 4)), deep["isolated"].max(axis=(1, 2, 3, 4)))
    np.testing.assert_allclose(2 * shallow["snr"].max(axis=1), deep["snr"].max(axis=1), rtol=1e-3)
    assert scenes(lit, depth=1e-4, stars=0.0, centred=0.0, seed=1)["n_sources"].sum() < deep["n_sources"].sum()


def test_only_scenes_of_a_catalogue_are_masked_and_centred(stamps):
    free, listed = (scenes(stamps, centred=share, seed=2) for share in (0.0, 1.0))
    assert not free["mask"].any()
    masked = listed["mask"].any(axis=(1, 2, 3))
    assert 0.1 < masked.mean() < 0.9
    assert (listed["image"][listed["mask"]] == 0).all()
    alone = listed["n_sources"] == 1
    off = np.abs(listed["positions"][alone, 0] - 15.5).max(axis=-1)
    assert np.median(off) < 2 < np.median(np.abs(free["positions"][free["n_sources"] == 1, 0] - 15.5).max(axis=-1))


def test_absent_bands_do_not_make_a_source_count(stamps):
    made = scenes(stamps, band_dropout=0.7, seed=5)
    absent = np.isinf(made["variance"][:, 0, 0])
    assert absent.any()
    assert not absent.all(axis=-1).any()
    assert (made["image"][np.isinf(made["variance"])] == 0).all()


def test_point_sources_have_the_width_of_the_psf(stamps):
    made = scenes(stamps, most=1, stars=1.0, centred=0.0, seed=6)
    row = int(made["flux"].sum(axis=-1)[:, 0].argmax())
    image = made["isolated"][row, 0, :, :, 0]
    peak = image.max() / image.sum()
    # A Gaussian of sigma 1.2 pixels has 1 / (2 pi sigma^2) = 0.11 in the pixel that it is centred on.
    assert 0.07 < peak < 0.12


def test_what_does_not_fit(stamps):
    for arguments in ({"depth": 0}, {"centred": 2}, {"margin": -1}, {"stars": -0.1}, {"band_dropout": 3}):
        with pytest.raises(InputError, match=next(iter(arguments))):
            CountScenes(**arguments)
    with pytest.raises(InputError, match="'psf'"):
        CountScenes()({key: stamps[key] for key in ("truth", "variance")})
    layer = CountScenes(32, most=3, depth=0.5, centred=0.2)
    assert CountScenes.from_config(layer.get_config()).get_config() == layer.get_config()
