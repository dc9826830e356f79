import os
import subprocess
import sys
from pathlib import Path

import galsim
import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.layers.blend import BlendScenes, blend, centroid
from galzoo.layers.noise import noise_of
from galzoo.layers.placement import place

MODEL_SIGMA = 0.7
ROOT = Path(__file__).parents[2]
MODEL = galsim.Gaussian(sigma=MODEL_SIGMA)
PSFS = [
    galsim.Convolve(profile, galsim.Pixel(1.0))
    for profile in (galsim.Moffat(beta=3.5, fwhm=3.5).shear(g1=0.03, g2=-0.02), galsim.Kolmogorov(fwhm=3.5))
]
GALAXIES = [
    galsim.Sersic(n=1, half_light_radius=2.0, flux=200.0).shear(g1=0.2, g2=0.1),
    galsim.Sersic(n=1.5, half_light_radius=3.0, flux=300.0).shear(g1=-0.3, g2=0.2),
    galsim.Exponential(half_light_radius=2.5, flux=100.0).shear(g1=0.1, g2=-0.3),
    galsim.Gaussian(sigma=2.0, flux=150.0).shear(g1=0.1, g2=0.0),
]


def draw(profile, size):
    return profile.drawImage(nx=size, ny=size, scale=1.0, method="no_pixel", dtype=np.float64).array


def numpy(result):
    return {key: keras.ops.convert_to_numpy(value) for key, value in result.items()}


def make_stamps(size=48, psf_size=31):
    """Return a batch of four galaxies in two bands, off the middle of their stamps; the gain is 5 and the sky 2."""
    offsets = [(0.3, -0.4), (-0.2, 0.1), (0.0, 0.45), (0.35, 0.2)]
    planes = [
        draw(galsim.Convolve(galaxy.shift(*at), MODEL), size) for galaxy, at in zip(GALAXIES, offsets, strict=True)
    ]
    truth = np.stack([np.stack([plane, 1.5 * plane], axis=-1) for plane in planes]).astype("float32")
    psf = np.stack([draw(profile, psf_size) for profile in PSFS], axis=-1).astype("float32")
    # What a PSF does to the variance is of no account for its sum.
    return {
        "truth": truth,
        "variance": (2 + np.maximum(truth, 0) / 5).astype("float32"),
        "psf": np.repeat(psf[None], len(planes), axis=0),
        "image": truth,
    }


@pytest.fixture(scope="module")
def stamps():
    return make_stamps()


def choose(positions, stamp, **more):
    n, sources = np.shape(stamp)
    choice = {
        "stamp": np.array(stamp, "int32"),
        "n_sources": np.full(n, sources, "int32"),
        "positions": np.array(positions, "float32"),
        "factor": np.ones((n, sources), "float32"),
        "turn": np.zeros(4, "int32"),
    }
    return choice | {key: np.asarray(value) for key, value in more.items()}


def seen(profile, psf, x, y, size):
    middle = (size - 1) / 2
    return draw(galsim.Convolve(profile.shift(x - middle, y - middle), psf), size)


@pytest.mark.parametrize("cutoff", [0.8, 1.0])
def test_turned_stretched_and_moved_galaxies_agree_with_galsim(stamps, cutoff):
    size = 61
    angle = np.array([0.5, -0.7, 0.78, 0.0], "float32")
    stretch = np.array([0.85, 1.2, 1.0, 1.3], "float32")
    # By bits: mirrored in x and y, which is half a turn; mirrored in y, then swapped, which is a quarter of a turn.
    turns = np.array([0, 3, 6, 0], "int32")
    quarters = [0, 2, 1, 0]
    positions = [[[29.3, 32.8], [35.1, 25.75]], [[20.5, 40.5], [27.0, 28.0]]]
    index = [[0, 1], [2, 3]]
    factor = np.array([[1.0, 0.5], [2.0, 1.0]], "float32")
    choice = choose(positions, index, angle=angle, stretch=stretch, turn=turns, factor=factor)
    batch = stamps | {"variance": stamps["variance"][:2], "psf": stamps["psf"][:2]}
    result = numpy(blend(batch, choice, size, MODEL_SIGMA, gain=np.inf, cutoff=cutoff, largest_stretch=1.3))
    for scene in range(2):
        for source in range(2):
            which = index[scene][source]
            turned = (angle[which] + quarters[which] * np.pi / 2) * galsim.radians
            galaxy = GALAXIES[which].dilate(float(stretch[which])).rotate(turned) * float(factor[scene, source])
            for band, psf in enumerate(PSFS):
                truth = seen(galaxy * (1, 1.5)[band], psf, *positions[scene][source], size)
                error = np.abs(result["isolated"][scene, source, ..., band] - truth).max() / truth.max()
                assert error < 1e-3, (which, band)
    np.testing.assert_allclose(result["image"], result["isolated"].sum(axis=1), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(result["flux"][1, 0], 2 * stamps["truth"][2].sum(axis=(0, 1)), rtol=1e-5)


def test_truth_of_a_scene_agrees_with_galsim(stamps):
    choice = choose([[[30.2, 17.9]]], [[2]], angle=np.full(4, 0.4, "float32"))
    batch = stamps | {"variance": stamps["variance"][:1], "psf": stamps["psf"][:1]}
    result = numpy(blend(batch, choice, 48, MODEL_SIGMA, truth=True))
    truth = seen(GALAXIES[2].rotate(0.4 * galsim.radians), MODEL, 30.2, 17.9, 48)
    assert np.abs(result["truth"][0, ..., 0] - truth).max() < 3e-3 * truth.max()


def test_flux_is_kept_and_does_not_come_back_on_the_other_side(stamps):
    positions = np.array([[[24.3, 22.8], [1.2, 20.0], [-3.0, -2.0], [46.7, 23.0]]], "float32")
    result = keras.ops.convert_to_numpy(place(stamps["truth"][None], stamps["psf"][:1], positions, 48, MODEL_SIGMA))
    # The images of the PSFs hold a little less than all of their light.
    flux = stamps["truth"].sum(axis=(1, 2)) * stamps["psf"][0].sum(axis=(0, 1))
    np.testing.assert_allclose(result[0, 0].sum(axis=(0, 1)), flux[0], rtol=5e-4)
    assert (result[0, 1].sum(axis=(0, 1)) < 0.9 * flux[1]).all()
    for source, far in ((1, np.s_[:, 35:]), (2, np.s_[25:]), (2, np.s_[:, 25:]), (3, np.s_[:, :12])):
        assert np.abs(result[0, source][far]).max() < 1e-3 * result[0, source].max()


def test_positions_are_those_of_the_centroids(stamps):
    layer = BlendScenes(size=80, sources=(3, 3), radius=8, rescale=(0.8, 1.2), seed=3)
    result = numpy(layer(stamps))
    y, x = np.indices((80, 80))
    light = result["isolated"].sum(axis=-1)
    centre = np.stack([(light * axis).sum(axis=(2, 3)) / light.sum(axis=(2, 3)) for axis in (x, y)], axis=-1)
    np.testing.assert_allclose(centre, result["positions"], atol=0.02)
    assert np.hypot(*np.moveaxis(result["positions"] - 39.5, -1, 0)).max() <= 8.001


def test_centroid_of_an_empty_stamp_is_its_middle():
    assert keras.ops.convert_to_numpy(centroid(np.zeros((1, 10, 12, 2)))).tolist() == [[5.5, 4.5]]


def test_noise_is_what_the_variance_says(stamps):
    # Many scenes of few galaxies.
    batch = {key: np.tile(value, (8, 1, 1, 1)) for key, value in stamps.items()}
    result = numpy(BlendScenes(sources=(1, 3), flux_range=(0.5, 2), seed=1)(batch))
    pull = (result["image"] - result["isolated"].sum(axis=1)) / np.sqrt(result["variance"])
    number = pull.size
    assert abs((pull**2).mean() - 1) < 5 * np.sqrt(2 / number)
    assert abs(pull.mean()) < 5 / np.sqrt(number)
    # Kurtosis and the share beyond 3 sigma are those of a normal distribution.
    assert abs((pull**4).mean() - 3) < 5 * np.sqrt(96 / number)
    assert abs((np.abs(pull) > 3).mean() / 0.0027 - 1) < 5 / np.sqrt(0.0027 * number)
    noiseless = result["isolated"].sum(axis=1)
    np.testing.assert_allclose(result["variance"], 2 + np.maximum(noiseless, 0) / 5, rtol=2e-3)
    pair = pull[..., 0] * pull[..., 1]
    assert abs(pair.mean()) < 5 / np.sqrt(pair.size)


def test_sky_and_gain_come_from_the_stamps(stamps):
    mask = np.zeros(stamps["truth"].shape, bool)
    mask[0, :3] = True
    variance = np.where(mask, 0.5, stamps["variance"])
    sky, per_flux = noise_of(stamps | {"variance": variance, "mask": mask})
    np.testing.assert_allclose(sky, np.full((4, 1, 1, 2), 2.0), rtol=1e-3)
    np.testing.assert_allclose(per_flux, np.full((1, 1, 1, 2), 0.2), rtol=1e-2)
    assert np.ravel(noise_of(stamps, gain=(4, np.inf))[1]).tolist() == [0.25, 0]


def test_absent_bands_stay_absent(stamps):
    variance = stamps["variance"].copy()
    variance[1, ..., 1] = np.inf
    result = numpy(BlendScenes(sources=(2, 2))(stamps | {"variance": variance}))
    absent = ~np.isfinite(result["variance"])
    assert absent[1, ..., 1].all()
    assert absent.sum() == absent[1, ..., 1].size
    assert (result["image"][absent] == 0).all()
    assert np.isfinite(result["image"]).all()
    assert not result["mask"].any()


def test_numbers_of_sources_and_what_is_beyond_them(stamps):
    batch = {key: np.tile(value, (10, 1, 1, 1)) for key, value in stamps.items() if key != "image"}
    layer = BlendScenes(size=32, sources=(1, 3), seed=5)
    result = numpy(layer(batch))
    assert set(result["n_sources"]) == {1, 2, 3}
    beyond = np.arange(3) >= result["n_sources"][:, None]
    for key in ("isolated", "flux", "positions"):
        assert not result[key][beyond].any(), key
    assert (result["flux"][~beyond] > 0).all()
    assert result["isolated"].shape == (40, 3, 32, 32, 2)
    choice, _ = layer.choose(batch)
    assert all(len(set(row)) == 3 for row in keras.ops.convert_to_numpy(choice["stamp"]).tolist())


def test_same_seed_gives_the_same_scenes_and_another_call_others(stamps):
    layers = [BlendScenes(size=32, seed=seed) for seed in (7, 7, 8)]
    first, again, other = (numpy(layer(stamps))["image"] for layer in layers)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1
    assert np.abs(first - numpy(layers[0](stamps))["image"]).max() > 1
    copy = BlendScenes.from_config(layers[0].get_config())
    np.testing.assert_array_equal(first, numpy(copy(stamps))["image"])


def test_sources_keep_apart_and_the_first_may_be_in_the_middle(stamps):
    batch = {key: np.tile(value, (10, 1, 1, 1)) for key, value in stamps.items()}
    layer = BlendScenes(size=64, sources=(3, 3), radius=15, min_separation=6, centred=True)
    positions = keras.ops.convert_to_numpy(layer.choose(batch)[0]["positions"])
    assert np.abs(positions[:, 0] - 31.5).max() <= 0.5
    gap = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)[:, *np.triu_indices(3, 1)]
    assert gap.min() >= 6
    loose = BlendScenes(size=64, sources=(3, 3), radius=15)
    positions = keras.ops.convert_to_numpy(loose.choose(batch)[0]["positions"])
    gap = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)[:, *np.triu_indices(3, 1)]
    assert gap.min() < 6


def test_quarter_turns_are_exact(stamps):
    choice = choose([[[23.5, 23.5]]], [[0]], turn=np.full(4, 6, "int32"))
    batch = stamps | {"variance": stamps["variance"][:1], "psf": stamps["psf"][:1]}
    turned = numpy(blend(batch, choice, 48, MODEL_SIGMA))["isolated"][0, 0, ..., 0]
    galaxy = GALAXIES[0].rotate(90 * galsim.degrees)
    truth = seen(galaxy, PSFS[0], 23.5, 23.5, 48)
    assert np.abs(turned - truth).max() < 1e-3 * truth.max()


def test_runs_in_a_graph_with_any_number_of_stamps(stamps):
    tf = pytest.importorskip("tensorflow")
    if keras.config.backend() != "tensorflow":
        pytest.skip("a graph of TensorFlow")
    layer = BlendScenes(size=20, sources=(1, 2), rescale=(0.9, 1.1), truth=True, min_separation=2)
    batch = {key: tf.constant(value) for key, value in stamps.items()}
    signature = [{key: tf.TensorSpec((None, *value.shape[1:]), value.dtype) for key, value in batch.items()}]
    step = tf.function(lambda batch: layer(batch, training=True), input_signature=signature)
    result = step(batch)
    assert result["isolated"].shape == (4, 2, 20, 20, 2)
    assert result["truth"].shape == (4, 20, 20, 2)
    assert step({key: value[:3] for key, value in batch.items()})["image"].shape[0] == 3


def test_what_does_not_fit(stamps):
    for arguments, words in (
        ({"sources": (0, 2)}, "sources"),
        ({"sources": (3,)}, "sources"),
        ({"flux_range": (2, 1)}, "flux_range"),
        ({"rescale": (0, 1)}, "rescale"),
        ({"radius": -1}, "radius"),
        ({"size": 0}, "size"),
        ({"gain": 0}, "gain"),
        ({"cutoff": 1.5}, "cutoff"),
        ({"model_sigma": 0}, "model_sigma"),
    ):
        with pytest.raises(InputError, match=words):
            BlendScenes(**arguments)
    with pytest.raises(InputError, match="4 stamps for up to 5 sources"):
        BlendScenes(sources=(1, 5))(stamps)
    with pytest.raises(InputError, match="no 'truth'"):
        BlendScenes()({"image": stamps["image"]})
    with pytest.raises(InputError, match="no 'psf'"):
        BlendScenes()({"truth": stamps["truth"], "variance": stamps["variance"]})
    with pytest.raises(InputError, match="with 2 bands"):
        BlendScenes()(stamps | {"psf": stamps["psf"][..., :1]})
    with pytest.raises(InputError, match="square"):
        BlendScenes()(stamps | {"truth": stamps["truth"][:, :40]})
    with pytest.raises(InputError, match="n, source, y, x, band"):
        place(stamps["truth"], stamps["psf"], np.zeros((4, 1, 2)), 20, MODEL_SIGMA)


# Run under each back end on the same numbers.
PROGRAM = """
import sys
import keras
import numpy as np
from keras import ops
from galzoo.layers.blend import BlendScenes, blend

data = dict(np.load(sys.argv[1]))
choice = {key[7:]: data.pop(key) for key in list(data) if key.startswith("choice_")}

def make(data, choice):
    return blend(data, choice, 40, 0.7, truth=True, largest_stretch=1.2)

if keras.backend.backend() == "tensorflow":
    result = make(data, choice)
else:
    import jax
    result = jax.jit(make)(data, choice)
    layer = BlendScenes(size=20, sources=(1, 2), rescale=(0.9, 1.1), min_separation=2)
    state = [variable.value for variable in layer.non_trainable_variables]
    scenes, after = jax.jit(lambda state, batch: layer.stateless_call([], state, batch))(state, data)
    assert scenes["isolated"].shape == (4, 2, 20, 20, 2)
    assert not np.array_equal(state[0], after[0])
np.savez(sys.argv[2], **{key: ops.convert_to_numpy(value) for key, value in result.items()})
"""


def test_tensorflow_and_jax_agree(stamps, tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("tensorflow")
    layer = BlendScenes(size=40, sources=(1, 3), rescale=(0.9, 1.2), seed=2)
    choice = numpy(layer.choose(stamps)[0])
    np.savez(tmp_path / "inputs.npz", **stamps, **{f"choice_{key}": value for key, value in choice.items()})
    results = {}
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        output = tmp_path / f"{backend}.npz"
        command = [sys.executable, "-c", PROGRAM, tmp_path / "inputs.npz", output]
        subprocess.run(command, env=environment, check=True, timeout=300)
        results[backend] = dict(np.load(output))
    for key, value in results["tensorflow"].items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(results["jax"][key], value, rtol=1e-4, atol=1e-5 * scale, err_msg=key)
