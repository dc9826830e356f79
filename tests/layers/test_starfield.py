"""Star fields made in the graph, against sums over stars and against statistics."""

import keras
import numpy as np
import pytest
from scipy.ndimage import binary_opening, map_coordinates, shift

from galzoo.data.psf import peak_fwhm
from galzoo.errors import InputError
from galzoo.layers.glare import draw_glare
from galzoo.layers.star_psf import draw_psfs
from galzoo.layers.starfield import StarField

PLAIN = {"unresolved": 0.0, "sky_error": 0.0, "full_well": None, "sky": (100.0, 100.1), "gain": (2.0, 2.0)}


def fields(n=1, bands=2, **options):
    made = StarField(**options)({"image": np.zeros((n, 1, 1, bands), "float32")})
    return {key: np.asarray(value) for key, value in made.items()}


def test_light_is_the_sum_of_shifted_psfs():
    # So bright that noise is nothing, some of them near each other.
    made = fields(size=64, density=(0.004, 0.004), limit=(3e5, 3.1e5), span=(2, 2.1), fwhm=(3, 3.1), seed=3, **PLAIN)
    count = int(made["n_sources"][0])
    assert count > 5
    for band in range(2):
        psf = np.pad(made["psf"][0, ..., band], 64)
        total = np.zeros((64, 64))
        for (x, y), flux in zip(made["positions"][0, :count], made["flux"][0, :count, band], strict=True):
            moved = shift(psf, (y - round(y), x - round(x)), order=5)
            row, column = 76 - round(y), 76 - round(x)
            total += flux * moved[row : row + 64, column : column + 64]
        difference = made["image"][0, ..., band] - total
        # Light of stars beyond the edges does not come further in than this.
        lit = np.zeros((64, 64), bool)
        lit[13:-13, 13:-13] = True
        assert np.abs(difference[lit]).max() < 0.02 * total.max()
        assert np.median(np.abs(difference[lit])) < 2e-3 * total.max()


@pytest.mark.parametrize(("fwhm", "far", "near"), [(3.0, 1e-4, 3e-3), (1.6, 2e-4, 5e-2)])
def test_stars_are_those_of_galsim(fwhm, far, near):
    """Stars of a PSF that its pixels sample, and of one that they do not: no stripes far from either."""
    galsim = pytest.importorskip("galsim")
    profile, size = galsim.Gaussian(fwhm=fwhm), 40
    psf = profile.drawImage(nx=25, ny=25, scale=1, method="no_pixel").array[None, ..., None]
    layer = StarField(size=size, given_psf=True, density=(0.001, 0.001), **PLAIN)
    places = np.array([[[20.5, 19.5], [10.2, 31.7], [-0.4, 3.3], [30.0, 8.0]]], "float32")
    stars = {"places": places, "electrons": np.ones((1, 4, 1), "float32")}
    made = np.asarray(layer._render(stars, psf, np.zeros((1, size + 24, size + 24, 1), "float32")))[0, ..., 0]
    wanted, distance = np.zeros((size, size)), np.full((size, size), np.inf)
    y, x = np.indices((size, size))
    for px, py in places[0]:
        offset = px - (size - 1) / 2, py - (size - 1) / 2
        wanted += profile.drawImage(nx=size, ny=size, scale=1, method="no_pixel", offset=offset).array
        distance = np.minimum(distance, np.maximum(np.abs(x - px), np.abs(y - py)))
    peak = wanted.max()
    assert np.abs(made - wanted).max() < near * peak
    assert np.abs(made - wanted)[distance > 9].max() < far * peak


def test_density_luminosity_and_colours():
    made = fields(
        n=6, size=64, density=(0.1, 0.1), slope=(0.5, 0.5), span=(100, 100), faintest=1000, colour=(0.3, 0.3),
        colour_scatter=(0.2, 0.2), **PLAIN,
    )  # fmt: skip
    there = made["source_class"] == 1
    count = there.sum(axis=1)
    np.testing.assert_array_equal(count, made["n_sources"])
    assert abs(count.mean() / (0.1 * 64**2) - 1) < 4 / np.sqrt(count.sum())
    flux = made["flux"][there] * 2.0
    assert flux[:, 0].min() > 999
    assert flux[:, 0].max() < 100_100
    # Median of the truncated power law.
    median = 1000 * (1 - 0.5 * (1 - 100**-0.5)) ** -2
    assert abs(np.median(flux[:, 0]) / median - 1) < 0.1
    colour = -2.5 * np.log10(flux[:, 1] / flux[:, 0])
    assert abs(colour.mean() - 0.3) < 0.02
    assert abs(colour.std() - 0.2) < 0.02
    assert (np.diff(made["flux"][..., 0], axis=1) <= 0).all()


def test_bands_of_their_own_depth_and_colours():
    """Noise of a band a magnitude less deep is 2.5 times as large in the same unit; each band has its own colours."""
    made = fields(
        n=16, bands=3, size=48, density=(0.02, 0.02), colour=[(0.5, 0.5), (-1.0, -1.0)], colour_scatter=(0, 0),
        depth=(27.0, 26.0, 27.0), **PLAIN,
    )  # fmt: skip
    there = made["source_class"] == 1
    colour = -2.5 * np.log10(made["flux"][there] / made["flux"][there][:, :1])
    np.testing.assert_allclose(colour.std(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(colour.mean(axis=0), [0, 0.5, -1], atol=1e-3)
    noise = np.sqrt(np.exp(np.log(made["sky"]).mean(axis=0)))
    # Skies scatter by .3 about it.
    np.testing.assert_allclose(noise / noise[0], [1, 10**0.4, 1], rtol=0.15)


def test_scatter_of_colours_is_drawn_for_each_field_between_its_ends():
    made = fields(n=16, size=64, density=(0.1, 0.1), colour=(0, 0), colour_scatter=(0.3, 0.6), **PLAIN)
    there = made["source_class"] == 1
    colour = -2.5 * np.log10(np.where(there, made["flux"][..., 1], 1) / np.where(there, made["flux"][..., 0], 1))
    scatter = np.array([row[some].std() for row, some in zip(colour, there, strict=True)])
    assert 0.27 < scatter.min() < 0.4
    assert 0.5 < scatter.max() < 0.65


def test_colours_of_a_star_share_a_factor():
    made = fields(
        n=16, bands=3, size=48, density=(0.02, 0.02), colour=[(0.5, 0.5), (-1.0, -1.0)], colour_scatter=(0, 0),
        colour_spread=0.4, **PLAIN,
    )  # fmt: skip
    there = made["source_class"] == 1
    colour = -2.5 * np.log10(made["flux"][there] / made["flux"][there][:, :1])
    factor = colour[:, 1] / 0.5
    np.testing.assert_allclose(colour[:, 2], -factor, atol=1e-3)
    assert abs(factor.mean() - 1) < 0.05
    assert abs(factor.std() - 0.4) < 0.04
    with pytest.raises(InputError, match="colour_spread is -1; give 0 to 2"):
        fields(bands=2, colour_spread=-1)


@pytest.mark.parametrize("options", [{"depth": (27.0, 26.0, 25.0)}, {"colour": [(0, 0), (0, 0)]}])
def test_options_of_other_bands(options):
    with pytest.raises(InputError, match="for 3 bands, the fields have 2"):
        fields(bands=2, **options)


def test_noise_is_that_of_photons():
    made = fields(n=4, size=48, density=(1e-6, 1e-6), **PLAIN | {"sky": (400.0, 400.1)})
    noise = made["image"] * made["gain"][:, None, None]
    level = (made["sky"] * made["gain"])[:, None, None]
    assert abs((noise / np.sqrt(level)).std() - 1) < 0.03
    assert abs((made["variance"] * made["gain"][:, None, None] ** 2 / level).mean() - 1) < 0.02


def test_unresolved_stars_add_light_and_fluctuation():
    options = {"n": 8, "density": (0.2, 0.2), "limit": (10, 10.1), "fwhm": (3, 3.1), "seed": 1}
    with_, without = (fields(**options, **PLAIN | {"unresolved": share}) for share in (1.0, 0.0))
    assert np.median(with_["image"]) > np.median(without["image"])
    np.testing.assert_array_equal(with_["n_sources"], without["n_sources"])


def test_saturated_pixels_are_masked():
    made = fields(n=2, density=(0.05, 0.05), **PLAIN | {"full_well": (500.0, 500.1)})
    assert 0 < made["mask"].mean() < 0.9
    assert not made["image"][made["mask"]].any()


def test_tabulated_luminosity():
    table = [[15.0, 1.0], [16.0, 0.0], [17.0, 3.0]]
    made = fields(n=4, size=64, density=(0.1, 0.1), luminosity=table, faintest=1000, **PLAIN)
    magnitude = -2.5 * np.log10(made["flux"][made["source_class"] == 1][:, 0] * 2.0 / 1000)
    assert abs((magnitude < -1.5).mean() - 0.25) < 0.03
    assert not ((magnitude < -1.01) & (magnitude > -1.99)).any()


def test_same_seed_same_fields():
    one, two, other = (fields(seed=seed)["image"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0


def test_told_psfs_are_as_wrong_as_asked():
    """Widths by the share that is asked; places are those in the first band."""
    seed = keras.random.SeedGenerator(4)
    true, told = (np.asarray(one) for one in draw_psfs(300, 2, 25, (2.5, 4.0), 0.0, seed, error=0.05))
    np.testing.assert_allclose(true.sum(axis=(1, 2)), 1, rtol=1e-5)
    width = [[peak_fwhm(psf[..., band, None]) for psf in both] for both in (true, told) for band in (0, 1)]
    wider = np.log(np.array(width[:2]) / width[2:])
    # The mean square of a factor that is even in 0 to 1 is a third.
    assert 0.7 < wider.std() / (0.05 / np.sqrt(3)) < 1.3
    line = np.arange(25) - 12
    centre = np.einsum("nyxb,x->nb", true, line)
    assert np.abs(centre[:, 0]).max() < 1e-4
    assert 0.03 < centre[:, 1].std() < 0.15
    assert np.abs(np.einsum("nyxb,x->nb", told, line)).max() < 1e-4
    same, again = draw_psfs(4, 2, 25, (2.5, 4.0), 0.0, seed)
    np.testing.assert_array_equal(same, again)


def test_detail_of_psfs():
    """As far from smooth profiles as is asked, more in the wings; told so, but for its error and noise."""
    seed = keras.random.SeedGenerator(4)
    smooth, _ = draw_psfs(400, 1, 25, (3.9, 4.1), 0.0, keras.random.SeedGenerator(4))
    rough, same = (np.asarray(one) for one in draw_psfs(400, 1, 25, (3.9, 4.1), 0.0, seed, detail=0.3))
    np.testing.assert_array_equal(rough, same)
    np.testing.assert_allclose(rough.sum(axis=(1, 2)), 1, rtol=1e-5)
    # The same profiles, as their numbers are drawn first; all pixels of one are made brighter by the normalisation.
    change = np.log(rough / np.asarray(smooth))[..., 0]
    wing, middle = change[:, 0, ::4], change[:, 12, 12:15]
    assert (wing - change[:, 12, 12, None]).std() == pytest.approx(0.3 / np.sqrt(3), rel=0.15)
    # Two pixels are half the FWHM.
    assert (middle[:, 2] - middle[:, 0]).std() == pytest.approx(0.15 / np.sqrt(3), rel=0.2)
    true, told = (np.asarray(one) for one in draw_psfs(400, 1, 25, (3.9, 4.1), 0.0, seed, 0.02, detail=0.3))
    alike = [np.corrcoef(np.log(a[8, 6:19, 0]), np.log(b[8, 6:19, 0]))[0, 1] for a, b in zip(true, told, strict=True)]
    assert np.median(alike) > 0.98
    assert 1e-5 < np.median(np.abs(np.diff(told - true, n=3, axis=1))) / true.max() < 1e-3


def test_glare_is_of_a_star_that_is_told():
    """Its light is there, the flux too, in half of the fields unmasked where it is saturated."""
    options = {"size": 64, "density": (1e-4, 1.1e-4), "seed": 5, "full_well": (3e4, 3.1e4)}
    made, plain = (fields(n=200, glare=share, **options) for share in (1.0, 0.0))
    flux = made["flux"][:, 0, 0] * made["gain"][:, 0]
    own = np.where(made["n_sources"] > 0, flux, 0) > 1e6
    # A quarter of the places are on the field.
    assert 0.15 < own.mean() < 0.35
    assert (made["source_class"][own, 0] == 1).all()
    peaks = []
    for image, mask, (x, y) in zip(made["image"][own], made["mask"][own], made["positions"][own, 0], strict=True):
        near = np.s_[max(int(y) - 3, 0) : int(y) + 4, max(int(x) - 3, 0) : int(x) + 4, 0]
        peaks.append(mask[near].any() or image[near].max() > 0.9 * image[..., 0].max())
    assert np.mean(peaks) > 0.95
    hidden = made["mask"][own].any(axis=(1, 2, 3))
    assert 0.25 < hidden.mean() < 0.75
    # Nothing is brighter than the full well but for its photon noise.
    counts = (made["image"] * made["gain"][:, None, None] + (made["sky"] * made["gain"])[:, None, None])[own]
    assert counts.max() < 3.1e4 + 6 * np.sqrt(3.1e4)
    # Halos reach beyond the stars: fields are brighter than those without.
    sky = [np.median(one["image"][..., 0], axis=(1, 2)) * one["gain"][:, 0] for one in (made, plain)]
    assert np.mean(sky[0] > np.abs(sky[1]).max()) > 0.2


def test_spikes_and_trails_lie_along_lines():
    sky = np.full((400, 1), 400.0, "float32")
    drawn = draw_glare(1.0, sky, np.full(400, 100.0, "float32"), (2.0, 2.1), 128, keras.random.SeedGenerator(2))
    drawn = {key: np.asarray(value) for key, value in drawn.items()}
    places = drawn["places"][:, 0]
    inside = ((places > 30) & (places < 97)).all(axis=1)
    trails = drawn["trail"][inside]
    there = trails.any(axis=(1, 2))
    assert 0.15 < there.mean() < 0.5
    for trail, place in zip(trails[there], places[inside][there], strict=True):
        rows, columns = np.nonzero(trail)
        narrow = min((np.ptp(rows), np.mean(rows) - place[1]), (np.ptp(columns), np.mean(columns) - place[0]))
        assert narrow[0] <= 4
        assert abs(narrow[1]) <= 0.5
    # At one radius, spikes are brighter than between them; a halo alone is even.
    turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    even = []
    for light, (x, y) in zip(drawn["light"][inside, ..., 0], places[inside], strict=True):
        ring = map_coordinates(light, (y + 30 * np.sin(turn), x + 30 * np.cos(turn)), order=1)
        even.append(ring.max() / np.median(ring))
    assert 0.2 < np.mean(np.array(even) > 1.2) < 0.7
    assert not np.asarray(draw_glare(0.0, sky, sky[:, 0], (2.0, 2.1), 64, keras.random.SeedGenerator(2))["light"]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"psf_detail": 2.0}, "psf_detail is 2.0; give 0 to 1"),
        ({"psf_detail": 0.1, "given_psf": True}, "0 with given_psf"),
        ({"glare": -0.1}, "glare is -0.1; give 0 to 1"),
        ({"glare": 0.5, "full_well": None}, "0 without full_well"),
    ],
)
def test_detail_and_glare_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        StarField(**options)


def test_a_field_is_of_the_true_psf(monkeypatch):
    """Whoever looks at it is given the told one."""
    true, told = np.zeros((2, 1, 25, 25, 1), "float32")
    true[0, 9:16, 9:16], told[0, 12, 12] = 1 / 49, 1
    monkeypatch.setattr("galzoo.layers.starfield.draw_psfs", lambda *args: (true, told))
    made = fields(bands=1, size=64, density=(0.004, 0.004), limit=(3e5, 3.1e5), span=(2, 2.1), seed=3, **PLAIN)
    np.testing.assert_array_equal(made["psf"], told)
    # A star's light is spread over 49 pixels.
    assert made["image"].max() < made["flux"].max() / 20


def test_psfs_of_the_batch():
    psf = np.zeros((1, 9, 9, 1), "float32")
    psf[:, 4, 4] = 1
    layer = StarField(given_psf=True, **PLAIN)
    made = layer({"image": np.zeros((1, 1, 1, 1), "float32"), "psf": psf})
    np.testing.assert_array_equal(np.asarray(made["psf"]), psf)
    with pytest.raises(InputError, match="given_psf"):
        layer.needs(("image",))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"density": (0.1, 0.01)}, "density"),
        ({"fwhm": (0, 3)}, "fwhm"),
        ({"psf_size": 24}, "psf_size 24"),
        ({"psf_error": 4}, "psf_error is 4"),
        ({"psf_error": 0.04, "given_psf": True}, "0 with given_psf"),
        ({"colour": (1, 0)}, "colour"),
        ({"luminosity": [[2, 1], [1, 1]]}, "luminosity"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises(InputError, match=words):
        StarField(**options)


def test_the_faintest_star_is_told_in_the_unit_of_the_image():
    """By its electrons, or by how far it is above the noise of the sky under its PSF in the first band."""
    made = fields(n=2, faintest=1000, **PLAIN)
    np.testing.assert_allclose(made["faintest"], 1000 / 2.0, rtol=1e-5)
    made = fields(n=3, limit=(7.0, 7.0001), fwhm=(3.0, 5.0), **PLAIN)
    level = made["sky"][:, 0] * made["gain"][:, 0]
    area = 1 / (made["psf"][..., 0] ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(made["faintest"] * made["gain"][:, 0], 7 * np.sqrt(level * area), rtol=1e-3)


def test_what_is_left_of_the_sky_is_a_plane():
    """So many times its noise, and as much from edge to edge; where it is dark there is a quarter of its variance."""
    nothing = {"n": 100, "bands": 1, "size": 24, "density": (1e-6, 1e-6), "fwhm": (2.0, 2.1), "psf_size": 9}
    made = fields(**nothing, **PLAIN | {"sky_error": 20.0, "sky": (1e8, 1.001e8)})
    electrons = made["gain"][:, None, None]
    seen = (made["image"] * electrons / np.sqrt(made["sky"][:, None, None] * electrons))[..., 0]
    line = np.arange(24) / 23 - 0.5
    design = np.stack([np.ones((24, 24)), np.tile(line, (24, 1)), np.tile(line[:, None], (1, 24))], axis=-1)
    plane, *_ = np.linalg.lstsq(design.reshape(-1, 3), seen.reshape(100, -1).T)
    assert np.std(seen.reshape(100, -1).T - design.reshape(-1, 3) @ plane) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(plane.std(axis=1), 20, rtol=0.25)
    made = fields(**nothing, **PLAIN | {"sky_error": 30.0})
    floor = made["variance"] * made["gain"][:, None, None] / made["sky"][:, None, None]
    assert floor.min() == pytest.approx(0.25, rel=1e-4)


def test_neighbours_of_saturated_pixels_are_masked():
    made = fields(n=2, size=64, density=(0.01, 0.01), **PLAIN | {"full_well": (2000.0, 2000.1)})
    inner = made["mask"][:, :, :, 0]
    assert inner.any()
    for mask in inner:
        grown = np.pad(mask, 1, mode="edge")
        np.testing.assert_array_equal(binary_opening(grown, np.ones((3, 3)))[2:-2, 2:-2], mask[1:-1, 1:-1])


def test_stars_on_the_edge_are_told_and_those_beyond_are_not():
    made = fields(n=40, size=8, density=(0.5, 0.5), psf_size=9, fwhm=(2.0, 2.1), **PLAIN)
    places = made["positions"][made["source_class"] == 1]
    assert (places > -0.5).all()
    assert (places < 7.5).all()
    # As many in the outer half of a pixel as in any other.
    assert ((places < 0).mean(axis=0) > 0.03).all()
    assert ((places > 7).mean(axis=0) > 0.03).all()


def test_stars_below_the_limit_scatter_as_the_power_law_says():
    """Drawn on from the limit of 50 electrons down to 5; of their number half is there on average."""
    n, least, slope = 300, 50.0, 0.5
    one = np.ones(n, "float32")
    field = {"density": 0.1 * one, "slope": slope * one, "span": 100 * one, "least": least * one}
    layer = StarField(size=16, **PLAIN | {"unresolved": 1.0})
    made = np.asarray(layer._faint(field | {"colour": 0 * one[:, None]}, n, 1, 2))
    flux = np.geomspace(least / 10, least, 20001)
    middle, width = (flux[1:] + flux[:-1]) / 2, np.diff(flux)
    # Of 0.1 brighter stars a pixel, up to 100 times the limit, at which the law has its norm.
    law = slope * least**slope * middle ** -(slope + 1) / (1 - 100**-slope)
    second = 0.1 * np.sum(law * middle**2 * width)
    assert made.var(axis=(1, 2, 3)).mean() == pytest.approx(0.5 * second, rel=0.15)
