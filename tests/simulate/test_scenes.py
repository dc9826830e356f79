"""Simulated scenes: what pixels, sources and files must satisfy together."""

import dataclasses

import galsim
import numpy as np
import pytest
from astropy import units as u

from galzoo.data.psf import fwhm_of
from galzoo.data.scenes import Scenes
from galzoo.data.splits import split_names
from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.errors import InputError
from galzoo.simulate.galaxies import Component, Galaxy
from galzoo.simulate.psf import Nominal
from galzoo.simulate.scene_simulator import SceneSimulator, blendedness, separations
from galzoo.simulate.scenes import SceneSpec, make_scenes, simulate_scenes
from galzoo.simulate.stars import planck
from galzoo.simulate.surveys import electrons_per_njy, noise_sigma

BLENDS = SceneSpec(
    survey="LSST", bands=("r", "i"), reference="i", stamp_size=64, psf_size=31, n_sources=(1, 3), seed=3, max_radius=1.5
)
FIELD = dataclasses.replace(BLENDS, bands=("i",), stamp_size=150, density=40, isolated=False, stars_fraction=0.3)
SMALL = dataclasses.replace(BLENDS, bands=("i",), stamp_size=32, psf_size=15)


@pytest.fixture(scope="module")
def simulator():
    return SceneSimulator(BLENDS)


@pytest.fixture(scope="module")
def scenes(simulator):
    return simulator.simulate(range(12))


def same(one, other):
    assert one.columns().keys() == other.columns().keys()
    for key, plane in one.arrays().items():
        np.testing.assert_array_equal(plane, other.arrays()[key], err_msg=key)
    for mine, its in ((one.columns(), other.columns()), (one.source_columns(), other.source_columns())):
        for name, (values, unit) in mine.items():
            assert unit == its[name][1]
            np.testing.assert_array_equal(values, its[name][0], err_msg=name)


def test_noise_is_what_is_left_without_the_sources(scenes):
    noiseless = scenes.isolated.sum(axis=1)
    scaled = (scenes.image - noiseless) / np.sqrt(scenes.variance)
    assert (scaled**2).mean() == pytest.approx(1, abs=5 * np.sqrt(2 / scaled.size))
    assert abs(scaled.mean()) < 5 / np.sqrt(scaled.size)
    for band, name in enumerate(scenes.bands):
        expected = noise_sigma("LSST", name) ** 2 + np.maximum(noiseless[..., band], 0) / electrons_per_njy(
            "LSST", name
        )
        np.testing.assert_allclose(scenes.variance[..., band], expected, rtol=1e-5)


def test_sources_are_where_and_as_bright_as_the_table_says(scenes):
    positions, n_sources = scenes.positions()
    flux = scenes.flux()
    axis = np.arange(scenes.shape[0])
    assert n_sources.min() >= 1
    assert n_sources.max() == 3
    for row, count in enumerate(n_sources):
        assert not scenes.isolated[row, count:].any()
        for source in range(count):
            image = scenes.isolated[row, source, ..., 1].astype(float)
            inside = image.sum() / flux[row, source, 1]
            assert 0.9 < inside < 1.002
            # A smooth galaxy's centroid is its centre; knots move it, by less than a pixel here.
            found = np.array([(image.sum(axis=0) * axis).sum(), (image.sum(axis=1) * axis).sum()]) / image.sum()
            assert np.abs(found - positions[row, source]).max() < 1
    distance = np.hypot(*np.moveaxis(positions - (scenes.shape[0] - 1) / 2, -1, 0)) * 0.2
    assert distance[np.arange(3) < n_sources[:, None]].max() <= 1.5
    # Uniform in area: half of the sources lie within 0.7 of the radius.
    many = SceneSimulator(SMALL)
    places = np.concatenate([many._positions(np.random.default_rng(k), k) for k in range(800)])
    radius = np.hypot(*(places - 15.5).T) * 0.2
    assert np.mean(radius < 1.5 * np.sqrt(0.5)) == pytest.approx(0.5, abs=0.06)


def test_columns_and_units(scenes):
    names = set(scenes.sources.colnames)
    assert {"scene", "source", "id", "parent", "kind", "x", "y", "e1", "e2", "half_light_radius", "separation"} <= names
    assert {f"{key}_{band}" for key in ("flux", "mag", "snr", "blendedness") for band in scenes.bands} <= names
    assert scenes.sources["separation"].unit == scenes.sources["half_light_radius"].unit == u.arcsec
    np.testing.assert_allclose(
        magnitude_to_njy(scenes.sources["mag_i"].value), scenes.sources["flux_i"].to_value(u.nJy), rtol=1e-6
    )
    for row, name in enumerate(scenes.catalogue["id"]):
        mine = scenes.sources["scene"] == row
        assert all(identifier.startswith(f"{name}/") for identifier in scenes.sources["id"][mine])
    snr = np.sqrt((scenes.isolated[0, 0] ** 2 / scenes.variance[0]).sum(axis=(0, 1)))
    np.testing.assert_allclose([scenes.sources[f"snr_{band}"][0] for band in scenes.bands], snr, rtol=1e-4)


def test_galsim_draws_the_same():
    simulator = SceneSimulator(dataclasses.replace(BLENDS, psf_fwhm=0.8, psf_size=61, stamp_size=96))
    parts = (
        Component("disc", np.array([300.0, 400.0]), 0.5, 0.6),
        Component("bulge", np.array([100.0, 200.0]), 0.25, 0.8),
    )
    galaxy = Galaxy("g", "parametric", parts, 0.7, 0.4, 0.3, (0.1, 0.1), 0.5)
    place = np.array([50.3, 40.8])
    profiles = simulator.psfs.draw(Nominal())
    drawn = simulator._render(
        galaxy, place, lambda size: [simulator._grid(size).sample_psf(profile)[1] for profile in profiles]
    )
    psf = galsim.Moffat(beta=3.5, fwhm=np.sqrt(0.8**2 - 8 * np.log(2) * 0.2**2 / 12))
    for band in range(2):
        profiles = []
        for part, n in zip(parts, (1, 4), strict=True):
            options = {"trunc": 8 * part.half_light_radius} if n == 4 else {}
            profile = galsim.Sersic(
                n=n, half_light_radius=part.half_light_radius, flux=float(part.flux[band]), **options
            )
            profiles.append(profile.shear(galsim.Shear(q=part.axis_ratio, beta=0.7 * galsim.radians)))
        image = galsim.Convolve(galsim.Sum(profiles), psf).drawImage(
            nx=96, ny=96, scale=0.2, offset=galsim.PositionD(*(place - 47.5))
        )
        mine = np.zeros((96, 96))
        mine[drawn.window] = drawn.image[..., band]
        assert np.abs(mine - image.array).max() < 2e-4 * image.array.max()


def test_blendedness_of_known_cases():
    one = np.random.default_rng(0).uniform(size=(5, 5, 2))
    np.testing.assert_allclose(blendedness(one, one), 0)
    np.testing.assert_allclose(blendedness(one, 2 * one), 0.5)
    np.testing.assert_allclose(blendedness(one, 4 * one), 0.75)
    np.testing.assert_array_equal(blendedness(np.zeros((5, 5, 2)), one), 0)
    np.testing.assert_allclose(separations(np.array([[0.0, 0], [3, 4], [3, 5]])), [5, 1, 1])
    assert np.isnan(separations(np.zeros((1, 2)))).all()
    assert separations(np.zeros((0, 2))).shape == (0,)


def test_blendedness_and_segmentation_of_scenes(scenes):
    alone = np.isnan(scenes.sources["separation"])
    blended = scenes.sources["blendedness_i"]
    assert 0 < alone.sum() < len(alone)
    np.testing.assert_allclose(blended[alone], 0, atol=1e-6)
    assert np.all(blended[~alone] > 0)
    plane = scenes.isolated[..., 1]
    expected = np.where(plane.max(axis=1) > noise_sigma("LSST", "i"), plane.argmax(axis=1) + 1, 0)
    np.testing.assert_array_equal(scenes.segmentation, expected)
    assert set(np.unique(scenes.segmentation)) == {0, 1, 2, 3}


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of four scenes of `SMALL`."""
    monkeypatch.setattr("galzoo.simulate.scenes._PART_VALUES", 4 * 32**2 * 5)


def test_files_do_not_depend_on_processes_or_length(tmp_path, small_parts):
    one = Scenes.load(make_scenes(tmp_path / "one.h5", 6, SMALL, processes=1, progress=False))
    two = make_scenes(tmp_path / "two.h5", 10, SMALL, processes=2, progress=False)
    same(one, Scenes.load(two, slice(0, 6)))
    assert not list(tmp_path.glob("*.parts"))
    alone = simulate_scenes(SMALL, [5])
    np.testing.assert_array_equal(alone.image[0], one.image[5])
    np.testing.assert_allclose(alone.psf, one.psf_of([5]), rtol=1e-6)
    assert list(alone.sources["parent"]) == list(one[5].sources["parent"])


def test_an_interrupted_file_goes_on_to_the_same_bytes(tmp_path, monkeypatch, small_parts):
    whole = make_scenes(tmp_path / "whole.h5", 10, SMALL, processes=1, progress=False)
    simulate, seen = SceneSimulator.simulate, []

    def stops(self, rows):
        seen.append(rows)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return simulate(self, rows)

    path = tmp_path / "resumed.h5"
    monkeypatch.setattr(SceneSimulator, "simulate", stops)
    with pytest.raises(KeyboardInterrupt):
        make_scenes(path, 10, SMALL, processes=1, progress=False)
    folder = tmp_path / "resumed.h5.parts"
    assert not path.exists()
    assert [file.name for file in sorted(folder.glob("*.h5"))] == ["00000000.h5", "00000004.h5"]
    with pytest.raises(InputError, match="resumed.h5.parts: holds parts .* with another seed; delete it"):
        make_scenes(path, 10, SMALL, processes=1, progress=False, seed=4)
    (folder / "00000004.h5").write_bytes(b"broken")
    make_scenes(path, 10, SMALL, processes=1, progress=False)
    # The first part was kept; the broken one, and what was missing, were made.
    assert [rows[0] for rows in seen[3:]] == [4, 8]
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["resumed.h5", "whole.h5"]


@pytest.mark.parametrize("split", ["train", "valid", "test", "all"])
def test_galaxies_of_a_scene_are_all_of_its_split(split):
    spec = dataclasses.replace(SMALL, n_sources=(3, 3), split=split, split_valid=0.3, split_test=0.4, split_seed=9)
    scenes = simulate_scenes(spec, range(12))
    options = {"valid": 0.3, "test": 0.4, "seed": 9}
    truth = split_names({"id": np.asarray(scenes.sources["parent"])}, **options)
    mine = np.asarray(scenes.catalogue["split"])[np.asarray(scenes.sources["scene"])]
    np.testing.assert_array_equal(truth, mine)
    assert set(mine) == ({"train", "valid", "test"} if split == "all" else {split})
    assert sum(len(scenes.split(name)) for name in ("train", "valid", "test")) == 12


def test_scenes_of_any_galaxies_have_no_split():
    scenes = simulate_scenes(dataclasses.replace(SMALL, n_sources=(3, 3), split="any"), range(8))
    assert "split" not in scenes.catalogue.colnames
    assert len(scenes.split("train", valid=0.2, test=0.3)) < 8


def test_field_has_density_and_stars():
    scenes = simulate_scenes(FIELD, range(8))
    area = (150 * 0.2 / 60) ** 2
    expected = 40 * area
    assert scenes.isolated is None
    assert scenes.catalogue["n_sources"].sum() == pytest.approx(8 * expected, abs=4 * np.sqrt(8 * expected))
    assert len(set(scenes.catalogue["n_sources"])) > 3
    star = scenes.sources["kind"] == "star"
    assert star.mean() == pytest.approx(0.3, abs=0.15)
    assert set(scenes.sources["parent"][star]) == {""}
    assert np.all(scenes.sources["half_light_radius"][star] == 0)
    x = scenes.sources["x"].value
    assert x.min() < 15
    assert x.max() > 135
    ratio = planck(np.array([486.4, 625.0]), 3000.0)
    assert -2.5 * np.log10(ratio[0] / ratio[1]) == pytest.approx(1.56, abs=0.02)


def test_a_star_is_the_psf():
    spec = dataclasses.replace(SMALL, n_sources=(1, 1), stars_fraction=1, centred=True, stamp_size=33)
    scenes = simulate_scenes(spec, range(3))
    positions, _ = scenes.positions()
    np.testing.assert_array_equal(positions, 16)
    image = scenes.isolated[:, 0] / scenes.flux()[:, :1, None]
    psf = scenes.psf_of(slice(None))
    np.testing.assert_allclose(image[:, 9:24, 9:24], psf, atol=5e-3 * psf.max())
    np.testing.assert_allclose(image.sum(axis=(1, 2)), 1, atol=5e-3)


def test_width_of_the_psf_changes_nothing_else():
    narrow, wide = (simulate_scenes(dataclasses.replace(BLENDS, psf_fwhm=fwhm), range(4)) for fwhm in (0.6, 1.1))
    for scenes, width in ((narrow, 0.6), (wide, 1.1)):
        assert fwhm_of(scenes.psf[2, ..., 0]) * 0.2 == pytest.approx(width, rel=0.03)
        assert np.ptp(scenes.psf, axis=0).max() < 1e-6
    for name in ("parent", "x", "y", "flux_i"):
        np.testing.assert_array_equal(narrow.sources[name], wide.sources[name])
    drawn = [(s.image - s.isolated.sum(axis=1)) / np.sqrt(s.variance) for s in (narrow, wide)]
    np.testing.assert_allclose(*drawn, atol=2e-4)


def test_separation_and_centre_are_kept():
    spec = dataclasses.replace(SMALL, n_sources=(3, 3), min_separation=1.0, centred=True)
    scenes = simulate_scenes(spec, range(10))
    assert scenes.sources["separation"].min() >= 1.0 * u.arcsec
    np.testing.assert_array_equal(scenes.positions()[0][:, 0], 15.5)


WRONG = {
    "n_sources": ((3, 1), "n_sources is"),
    "max_radius": (40.0, "max_radius is 40.0 arcsec; give 0 to 6.4"),
    "min_separation": (-1.0, "min_separation is -1.0"),
    "density": (0, "density is 0"),
    "stars_fraction": (2, "stars_fraction is 2"),
    "star_magnitudes": ((25, 20), "star_magnitudes is"),
    "psf_fwhm": (0.1, "psf_fwhm is 0.1 arcsec; give at least"),
    "split": ("dev", "split 'dev' is unknown"),
    "stamp_size": (4, "stamp_size is 4"),
    "magnitude_range": ((25, 20), "magnitude_range is"),
    "colour": (1, "unknown setting 'colour'"),
}


@pytest.mark.parametrize("key", WRONG)
def test_bad_specs_are_one_line(key, tmp_path):
    value, message = WRONG[key]
    with pytest.raises(InputError, match=message) as caught:
        make_scenes(tmp_path / "s.h5", 1, BLENDS, progress=False, **{key: value})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_other_faults(tmp_path):
    with pytest.raises(InputError, match="isolated holds at most 16"):
        dataclasses.replace(BLENDS, n_sources=(1, 17))
    with pytest.raises(InputError, match="isolated holds at most 16"):
        dataclasses.replace(BLENDS, density=500.0)
    with pytest.raises(InputError, match="do not fit within"):
        dataclasses.replace(BLENDS, n_sources=(9, 9), min_separation=2.5)
    with pytest.raises(InputError, match="psf_fwhm is for the seeing of ground surveys"):
        SceneSpec(survey="CANDELS", psf_fwhm=0.3, max_radius=1.0)
    with pytest.raises(InputError, match="n is 0"):
        make_scenes(tmp_path / "s.h5", 0)
    # Found only when it is tried; nothing is left behind.
    full = {"n_sources": (4, 4), "max_radius": 1.0, "min_separation": 1.6}
    with pytest.raises(InputError, match="scene 0: no place for 4 sources"):
        make_scenes(tmp_path / "s.h5", 1, SMALL, processes=1, progress=False, **full)
    assert not list(tmp_path.iterdir())
