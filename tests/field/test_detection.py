"""Sources are found and grouped as they should be, whatever the tiles; windows hold them."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from galzoo.errors import InputError
from galzoo.field import detection, tiles
from galzoo.field.background import measure_sky
from galzoo.field.coadd import coadd
from galzoo.field.detection import Detection, find_sources, noise_correlation, significance
from galzoo.field.open_field import open_field
from galzoo.field.windows import MOST_SOURCES, SIDES, cut, make_units
from tests.field.fields import BANDS, FWHM, NOISE, blends, draw, gaussian, write


def find(field, tile, catalogue=None, **changes):
    weights = tuple(1 / field.noise_levels())
    detection = Detection(FWHM, weights, **changes)
    parts = [tiles.detect_tile(field, core, detection, catalogue) for core in tiles.tiles(field.shape, tile)]
    sources, numbers = tiles.collect(parts)
    segmentation = np.zeros(field.shape, np.int32)
    tiles.paint(segmentation, parts, numbers)
    return sources, segmentation


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A field of pairs and single sources, with one galaxy of 100 pixels among them."""
    sources = [*blends((190, 230), 50), (120, 95, 60_000, 14)]
    path = write(tmp_path_factory.mktemp("groups") / "field.fits", draw((190, 230), sources, sky=30.0))
    with open_field(path, BANDS) as field:
        yield field, np.array(sources)


def test_any_size_of_tile_finds_the_same(crowded, monkeypatch):
    monkeypatch.setattr(tiles, "_MARGIN", 24)
    field, _ = crowded
    one, labels = find(field, 512)
    for tile in (64, 100):
        other, other_labels = find(field, tile)
        for key in ("x", "y", "row", "group", "x0", "y1"):
            np.testing.assert_array_equal(one[key], other[key], err_msg=f"{key}, tile {tile}")
        for key in ("a", "b", "theta", "snr"):
            np.testing.assert_allclose(one[key], other[key], rtol=1e-6, err_msg=f"{key}, tile {tile}")
        np.testing.assert_array_equal(labels, other_labels)
    footprint = np.bincount(labels.ravel())[1:].max()
    assert footprint > 2500, "the large galaxy must be larger than the margin for this to be a test"


def test_sources_are_where_they_are(crowded):
    field, truth = crowded
    found, labels = find(field, 512)
    far = np.hypot(truth[:, 0] - 120, truth[:, 1] - 95) > 60
    apart = np.hypot(truth[:, None, 0] - truth[:, 0], truth[:, None, 1] - truth[:, 1])
    alone = far & (np.sort(apart, axis=1)[:, 1] > 12)
    distance = np.hypot(found["x"] - truth[alone, 0][:, None], found["y"] - truth[alone, 1][:, None])
    assert alone.sum() > 8
    assert np.median(distance.min(axis=1)) < 0.15
    assert distance.min(axis=1).max() < 1
    row, column = np.round(found["y"]).astype(int), np.round(found["x"]).astype(int)
    np.testing.assert_array_equal(labels[row, column], found["group"] + 1)


def test_pairs_are_one_group_and_distant_sources_are_not(tmp_path):
    sources = [(30, 30, 900, 0), (36, 30, 900, 0), (30, 75, 900, 0)]
    with open_field(write(tmp_path / "f.fits", draw((100, 100), sources)), BANDS) as field:
        found, _ = find(field, 512)
    assert len(found["x"]) == 3
    assert sorted(np.bincount(found["group"])) == [1, 2]


def test_noise_has_no_sources(tmp_path):
    with open_field(write(tmp_path / "f.fits", draw((400, 400), [])), BANDS) as field:
        found, labels = find(field, 1024)
    assert len(found["x"]) == 0
    assert not labels.any()


def test_correlated_noise_is_noticed(tmp_path):
    image = draw((300, 300), [])
    image = np.array([gaussian_filter(plane, 1.0) for plane in image])
    with open_field(write(tmp_path / "f.fits", image), BANDS) as field:
        weights = tuple(1 / field.noise_levels())
        factor = noise_correlation(field, Detection(FWHM, weights))
        blind, _ = find(field, 512)
        found, _ = find(field, 512, correlation=factor)
    # The variance of a sum over the filter of sigma s grows by 1 + s_noise^2 / s^2 less what smoothing took off.
    assert 1.8 < factor < 3.5
    assert len(found["x"]) <= 1 < len(blind["x"])


def test_the_halo_of_a_galaxy_is_no_noise(tmp_path):
    """Noise whose correlation is known, with and without a galaxy that covers most of the field."""
    noise = draw((330, 330), [])
    noise = np.array([gaussian_filter(plane, 0.6) for plane in noise])
    noise /= noise.std(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:330, :330] - 165.0
    galaxy = 300 * np.exp(-np.hypot(x, y / 0.6) / 25)
    factors = []
    for name, image in (("empty", noise), ("galaxy", noise + galaxy)):
        with open_field(write(tmp_path / f"{name}.fits", image), BANDS) as field:
            weights = tuple(1 / field.noise_levels())
            factors.append(noise_correlation(field, Detection(FWHM, weights)))
    # Behind a filter of standard deviation f, noise of pixels smoothed by s scatters so much more.
    s, f = 0.6, FWHM / 2.3548
    smoothed = gaussian_filter(np.eye(1, 81, 40)[0], s)
    variance = (smoothed**2).sum() ** 2
    assert factors[0] == pytest.approx(np.sqrt(f**2 / (f**2 + s**2) / variance), rel=0.06)
    assert factors[1] == pytest.approx(factors[0], rel=0.25)


def test_every_island_above_the_threshold_is_a_source(tmp_path):
    """Point sources behind the matched filter, where no three pixels of a small filter stand out."""
    flux = 5.5 * np.sqrt(4 * np.pi) * FWHM / 2.3548 * np.sqrt(3) / (np.array([0.6, 1.0, 1.3]) / NOISE).sum()
    sources = [(x + 0.4, y + 0.1, flux, 0.0) for x in range(20, 240, 25) for y in range(20, 240, 25)]
    with open_field(write(tmp_path / "f.fits", draw((256, 256), sources, seed=4)), BANDS) as field:
        found = [find(field, 512, threshold=threshold, footprint=4.0)[0] for threshold in (3.5, 4.5, 7.5)]
        usual, _ = find(field, 512, threshold=4.5)
    x, y = np.array(sources)[:, :2].T

    def there(table):
        return (np.hypot(x[:, None] - table["x"], y[:, None] - table["y"]).min(axis=1) < 2.5).mean()

    # With a scatter of 1, and the peak somewhat above the value at the true place.
    assert there(found[0]) > 0.93
    assert there(found[1]) > 0.75
    assert there(found[2]) < 0.2
    assert there(usual) >= there(found[1])
    assert len(usual["x"]) < 1.1 * len(sources)


def test_footprints_follow_low_thresholds_only():
    assert Detection(3.0, (1.0,), 3.0).footprint_level == pytest.approx(1.2)
    assert Detection(3.0, (1.0,), 5.0).footprint_level == pytest.approx(2.0)
    assert Detection(3.0, (1.0,), 50.0).footprint_level == pytest.approx(2.0)
    assert Detection(3.0, (1.0,), 5.0, footprint=3.0, correlation=2.0).footprint_level == pytest.approx(6.0)
    assert Detection(3.0, (1.0,), correlation=2.0, footprint_correlation=1.2).footprint_level == pytest.approx(2.4)


def test_signal_to_noise_is_that_of_the_matched_filter():
    noise, flux, size = 2.0, 300.0, FWHM / 2.3548
    y, x = np.mgrid[:41, :41] - 20.0
    blob = np.exp(-0.5 * (x**2 + y**2) / size**2) / (2 * np.pi * size**2)
    expected = flux * np.sqrt((blob**2).sum()) / noise
    found = significance(flux * blob, np.full((41, 41), noise), np.zeros((41, 41), bool), FWHM)
    assert found.max() == pytest.approx(expected, rel=0.01)
    assert np.unravel_index(found.argmax(), found.shape) == (20, 20)


def test_catalogue_names_the_sources_and_the_rest_is_masked(tmp_path):
    sources = [(30, 30, 900, 0), (70, 70, 900, 0)]
    places = np.array([[30.2, 29.9], [50.0, 20.0]])
    with open_field(write(tmp_path / "f.fits", draw((100, 100), sources)), BANDS) as field:
        found, labels = find(field, 64, places)
        np.testing.assert_array_equal(np.sort(found["row"]), [0, 1])
        assert labels[70, 70] == -1
        assert labels[20, 50] > 0, "a source that is too faint to see still has a footprint"
        (unit,) = make_units(found, np.flatnonzero(found["row"] == 0), 8)
        planes = cut(field, labels, unit)
        assert not planes["other"][30 - unit.y0, 30 - unit.x0]
        assert planes["own"][30 - unit.y0, 30 - unit.x0]


def table(x, y, half=4):
    x, y = np.asarray(x, float), np.asarray(y, float)
    boxes = {"x0": x - half, "x1": x + half, "y0": y - half, "y1": y + half}
    whole = {key: value.astype(int) for key, value in boxes.items()}
    return {"x": x, "y": y, "a": np.zeros(len(x)) + half / 3, "group": np.zeros(len(x), int)} | whole


def test_large_groups_are_split_among_neighbours():
    rng = np.random.default_rng(3)
    sources = table(rng.uniform(0, 300, 70), rng.uniform(0, 120, 70))
    units = make_units(sources, np.arange(70), 9)
    np.testing.assert_array_equal(np.sort(np.concatenate([unit.sources for unit in units])), np.arange(70))
    for unit in units:
        assert len(unit.sources) <= MOST_SOURCES
        assert unit.side in SIDES
        assert (sources["x0"][unit.sources] - 9 >= unit.x0 - 1).all()
        assert (sources["x1"][unit.sources] + 9 <= unit.x0 + unit.side + 1).all()
        assert np.ptp(sources["x"][unit.sources]) < 128


def test_large_source_gets_a_window_of_its_own():
    (unit,) = make_units(table([200.0], [210.0], half=90), np.arange(1), 9)
    assert (unit.side, unit.x0, unit.y0, unit.truncated) == (256, 72, 82, False)
    (pair, large) = make_units(table([100.0, 200.0], [210.0, 210.0], half=np.array([4, 80])), np.arange(2), 9)
    assert (pair.side, large.side) == (48, 192), "others of its group stay in small ones"


def test_source_larger_than_any_window_gets_the_largest_about_its_position():
    sources = table([200.0], [210.0], half=180) | {"x": np.array([30.0])}
    (unit,) = make_units(sources, np.arange(1), 9)
    assert (unit.side, unit.x0, unit.y0, unit.truncated) == (256, 30 - 128, 210 - 128, True)


def test_a_window_holds_the_moments_of_a_source_whose_box_is_small():
    """Peaks about a large galaxy take the pixels of its rim; three semi-axes on each side and the padding remain."""
    (unit,) = make_units(table([200.0], [210.0], half=40) | {"a": np.array([33.0])}, np.arange(1), 9)
    assert (unit.side, unit.truncated) == (256, False)
    assert unit.x0 <= 200 - 99 - 9
    assert unit.x0 + unit.side >= 200 + 99 + 9


def test_coincident_sources_are_split_too():
    units = make_units(table(np.full(40, 50.0), np.full(40, 50.0)), np.arange(40), 9)
    assert max(len(unit.sources) for unit in units) <= MOST_SOURCES


def test_too_small_tiles_are_refused():
    with pytest.raises(InputError, match="--tile is 10"):
        tiles.tiles((100, 100), 10)


def sky_of(image, cell=32, need_noise=True):
    return measure_sky(lambda y0, y1, x0, x1: image[y0:y1, x0:x1], image.shape[:2], ["r"], need_noise, cell)


def test_sky_follows_a_gradient_and_sees_no_sources():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    slope = 0.02 * x + 0.01 * y
    image = slope + rng.normal(scale=2.0, size=(256, 256))
    image[rng.random(image.shape) < 0.02] += 500
    level, rms, dead = sky_of(image[..., None]).at(40, 200, 30, 220)
    assert np.abs(level[..., 0] - slope[40:200, 30:220]).max() < 0.6
    assert np.median(rms) == pytest.approx(2.0, rel=0.03)
    assert not dead.any()


def test_sky_is_measured_without_faint_wings(tmp_path):
    """A crowd of extended galaxies lifts what is clipped alone; the light that is seen is left out."""
    rng = np.random.default_rng(6)
    sources = [(*rng.uniform(0, 260, 2), 10 ** rng.uniform(2.3, 3.6), 3.0) for _ in range(140)]
    path = write(tmp_path / "f.fits", draw((260, 260), sources, sky=40.0))
    with open_field(path, BANDS) as field:
        level, noise = field.sky.level.mean(axis=(0, 1)), field.noise_levels()
    np.testing.assert_allclose(level, 40, atol=0.12)
    np.testing.assert_allclose(noise, NOISE, rtol=0.03)


def test_sky_is_the_same_in_any_window():
    sky = sky_of(np.random.default_rng(1).normal(size=(100, 140, 1)))
    whole = sky.at(0, 100, 0, 140)
    part = sky.at(33, 70, 51, 52)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[33:70, 51:52], other)


def test_empty_parts_of_a_mosaic_are_dead():
    image = np.random.default_rng(2).normal(size=(96, 192, 1)) + 5
    image[:, :64] = 0
    _, rms, dead = sky_of(image).at(0, 96, 0, 192)
    assert dead[:, :64].all()
    assert not dead[:, 64:].any()
    assert (rms > 0.8).all()


def test_sky_without_noise_is_refused_where_the_noise_is_needed():
    with pytest.raises(InputError, match="no noise"):
        sky_of(np.full((64, 64, 1), 7.0))
    assert sky_of(np.full((64, 64, 1), 7.0), need_noise=False).level[0, 0, 0] == 7


def test_weights_of_the_bands():
    planes = {"image": np.ones((2, 2, 3)) * [1, 2, 3], "variance": np.ones((2, 2, 3)) * NOISE**2}
    planes["mask"] = np.zeros((2, 2, 3), bool)
    planes["mask"][0, 0], planes["mask"][0, 1, 2] = True, True
    image, error, mask = coadd(planes, (1, 1, 2))
    np.testing.assert_array_equal(mask, [[True, False], [False, False]])
    assert image[0, 1] == pytest.approx(1.5)
    assert image[1, 1] == pytest.approx(9 / 4)
    assert error[1, 1] == pytest.approx(np.sqrt(NOISE[0] ** 2 + NOISE[1] ** 2 + 4 * NOISE[2] ** 2) / 4)


def planes_of(image):
    return image, np.ones(image.shape), np.zeros(image.shape, bool)


def found_in(image, mask=None, **changes):
    """Return sources and footprint of an image of unit noise."""
    image, error, good = planes_of(image)
    mask = good if mask is None else mask
    search = Detection(FWHM, (1.0,), **changes)
    return find_sources(image, error, mask, significance(image, error, mask, FWHM), search)


def blob(shape, x, y, flux, size=FWHM / 2.3548):
    return flux * gaussian(shape, x, y, size)


def test_noise_that_is_less_than_thought_lowers_no_threshold(tmp_path):
    """An error map that is twice the noise."""
    path = write(tmp_path / "f.fits", draw((256, 256), []))
    rms = write(tmp_path / "rms.fits", np.ones((3, 256, 256)) * 2 * NOISE[:, None, None])
    with open_field(path, BANDS, rms=rms) as field:
        assert noise_correlation(field, Detection(FWHM, (1.0, 1.0, 1.0))) == 1.0


def test_a_stamp_has_no_sky_to_see_correlation_in(tmp_path):
    image = np.array([gaussian_filter(plane, 1.0) for plane in draw((199, 260), [])])
    with open_field(write(tmp_path / "f.fits", image), BANDS) as field:
        assert noise_correlation(field, Detection(FWHM, (1.0, 1.0, 1.0))) == 1.0


def test_the_scatter_of_the_sky_is_without_halos_and_slopes():
    rng = np.random.default_rng(8)
    values, mask = rng.normal(size=(256, 256)), np.zeros((256, 256), bool)

    def scatter(values):
        return [found for _, found in detection._sky_scatter(values, mask, FWHM)]

    alone = np.median(scatter(values))
    assert alone == pytest.approx(1.0, abs=0.03)
    assert np.median(scatter(values + 0.05 * np.arange(256))) == pytest.approx(alone, abs=0.04)
    # Wings of many sources, below what counts as light pixel by pixel.
    y, x = np.mgrid[:256, :256]
    wings = 12 * np.exp(-((((x + 16) % 32) - 16) ** 2 + (((y + 16) % 32) - 16) ** 2) / (2 * 5.0**2))
    assert np.median(scatter(values + wings)) < 1.1


def test_the_correlation_is_that_of_the_emptier_half(tmp_path, monkeypatch):
    """Cells of which less is empty have faint light on their sky."""
    cells = [(0.9, 1.2), (0.5, 3.0), (0.8, 1.4), (0.2, 4.0)]
    monkeypatch.setattr(detection, "_sky_scatter", lambda *_: list(cells))
    with open_field(write(tmp_path / "f.fits", draw((256, 256), [])), BANDS) as field:
        assert noise_correlation(field, Detection(FWHM, (1.0, 1.0, 1.0))) == pytest.approx(1.3)


def test_the_threshold_is_in_units_of_the_correlated_noise():
    image = blob((60, 60), 30, 30, 8 * np.sqrt(4 * np.pi) * FWHM / 2.3548)
    assert len(found_in(image, threshold=5.0)[0]["x"]) == 1
    assert len(found_in(image, threshold=5.0, correlation=2.0)[0]["x"]) == 0


def test_masked_pixels_are_no_source():
    """A ring about a masked hole, where the filter sees more of it than anywhere on it."""
    y, x = np.mgrid[:60, :60] - 30
    distance = np.hypot(x, y)
    image, mask = np.where((distance > 1.6) & (distance < 2.9), 1.0, 0.0), distance < 1.6
    snr = significance(image, np.ones(image.shape), mask, FWHM)
    assert snr[mask].max() > 1.02 * snr[~mask].max()
    image *= 5.0 / np.sqrt(snr[mask].max() * snr[~mask].max())
    assert len(found_in(image, mask)[0]["x"]) == 0


def test_a_centre_that_a_neighbour_pulls_off_is_the_peak():
    image = blob((60, 60), 30, 30, 60.0) + blob((60, 60), 34.6, 30, 4000.0)
    x, y = detection._centres(image, np.zeros(image.shape, bool), np.array([30]), np.array([30]), FWHM)
    assert (x, y) == (30, 30)
    x, y = detection._centres(image, np.zeros(image.shape, bool), np.array([34]), np.array([30]), FWHM)
    assert x == pytest.approx(34.6, abs=0.1)


def test_a_footprint_with_too_many_peaks_is_not_taken_apart(monkeypatch):
    calls = []

    def extract(*arguments, contrast, **settings):
        calls.append(contrast)
        if contrast < 1:
            raise InputError("too many peaks")
        return truly(*arguments, contrast=contrast, **settings)

    truly = detection.extract
    monkeypatch.setattr(detection, "extract", extract)
    sources, _ = found_in(blob((60, 60), 30, 30, 4000.0), halos=True)
    assert calls == [0.005, 1.0, 1e-5]
    assert len(sources["x"]) == 1


def test_what_stands_out_of_the_halo_of_a_bright_star_is_a_source():
    """Galaxies of a two-thousandth of its light, of which one lies where the halo is as bright as it."""
    star, halo = blob((120, 120), 40, 60, 2e6), blob((120, 120), 40, 60, 4e5, 12.0)
    faint = blob((120, 120), 80, 60, 1000.0) + blob((120, 120), 40, 92, 1000.0) + blob((120, 120), 40, 40, 1000.0)
    for halos, wanted in ((False, [(40, 60)]), (True, [(40, 60), (40, 92), (80, 60)])):
        sources, _ = found_in(star + halo + faint, halos=halos)
        assert sorted(zip(np.round(sources["x"]), np.round(sources["y"]), strict=True)) == wanted


def test_a_bump_on_a_galaxy_is_no_source():
    galaxy = blob((120, 120), 60, 60, 3e5, 10.0)
    for bump, count in ((600.0, 1), (60_000.0, 2)):
        sources, _ = found_in(galaxy + blob((120, 120), 75, 60, bump), halos=True)
        assert len(sources["x"]) == count
