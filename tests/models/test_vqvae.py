"""The VQ-VAE by itself: its loss by hand, codes there and back, units, and what it is not shown."""

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from galzoo.errors import RecipeError
from galzoo.layers.psf import gaussian_psf
from galzoo.models.vqvae.model import VQVAE
from tests.conftest import make_stamps

QUIET = {"augment": False, "mask_dropout": 0.0}


def array(value):
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)


def model_of(**changes):
    keras.utils.set_random_seed(3)
    model = VQVAE.tiny(("g", "r"), **{**QUIET, **changes})
    # An untrained encoder gives next to one code for all.
    model.adapt([batch_of(seed=9)])
    return model


def batch_of(n=6, seed=0):
    """Return stamps with bad pixels, pixels without weight, and one band that is not there."""
    stamps = make_stamps(n, size=16, bands=("g", "r"), seed=seed)
    random = np.random.default_rng(seed)
    batch = {"image": stamps.image, "truth": stamps.truth, "psf": stamps.psf_of(slice(None))}
    batch["variance"] = random.uniform(0.5, 3, stamps.image.shape).astype("float32")
    batch["mask"] = random.random(stamps.image.shape) < 0.1
    batch["variance"][1, ..., 0], batch["variance"][2, 3, 4, 1] = np.inf, 0.0
    batch["image"][2, 3, 4, 1] = 1e6
    return batch


def good_of(batch):
    return ~batch["mask"] & np.isfinite(batch["variance"]) & (batch["variance"] > 0)


def noise_of(batch):
    """Return the root of the harmonic mean of the variance of good pixels, (n, 1, 1, band); 1 where there are none."""
    weight = np.where(good_of(batch), 1 / np.where(batch["variance"] > 0, batch["variance"], 1), 0)
    some = weight.sum(axis=(1, 2), keepdims=True)
    return np.where(some > 0, np.sqrt(good_of(batch).sum(axis=(1, 2), keepdims=True) / np.where(some > 0, some, 1)), 1)


@pytest.mark.parametrize(("floor", "truth_weight"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.7)])
def test_loss_is_what_is_written_down(floor, truth_weight):
    model, batch = model_of(error_floor=floor, truth_weight=truth_weight), batch_of()
    made = dict(model(batch))
    random = np.random.default_rng(1)
    for key in ("image", "deconvolved"):
        made[key] = (batch["truth"] * random.uniform(0.5, 1.5, batch["truth"].shape)).astype("float32")
    loss = float(model.compute_loss(x=batch, y_pred=made))
    good, variance = good_of(batch), batch["variance"].astype(float)
    square = np.where(good, batch["image"] - made["image"], 0.0) ** 2
    counts = good.sum(axis=(1, 2, 3))

    def mean(extra):
        terms = np.divide(square, variance + extra, out=np.zeros(square.shape), where=good)
        return (terms.sum(axis=(1, 2, 3)) / counts).mean()

    expected = 0.5 * mean((floor * made["image"]) ** 2) + sum(float(part) for part in model.losses)
    scale = noise_of(batch) ** 2 + (floor * batch["truth"]) ** 2
    expected += truth_weight * 0.5 * np.mean((batch["truth"] - made["deconvolved"]) ** 2 / scale)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert float(model.chi2_tracker.result()) == pytest.approx(mean(0.0), rel=1e-4)


def test_codes_there_and_back():
    model, batch = model_of(), batch_of()
    made = model(batch)
    codes = np.asarray(made["codes"])
    assert codes.shape == (6, 4, 4)
    assert len(np.unique(codes)) > 4
    vectors = array(model.encode(batch)).reshape(-1, 4)
    book = array(model.quantizer.lookup(np.arange(model.codebook_size)))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_array_equal(codes.ravel(), np.argmax(unit @ (book / np.linalg.norm(book, axis=1)[:, None]).T, 1))
    again = model.decode(codes, noise_of(batch).astype("float32"), (16, 16))
    np.testing.assert_allclose(array(again), array(made["deconvolved"]), rtol=1e-4, atol=1e-5)
    assert array(again).min() >= 0


def test_the_image_is_the_model_frame_through_the_rest_of_the_psf():
    model, batch = model_of(), batch_of()
    sigma = np.array([1.6, 2.1])
    batch["psf"] = np.stack([gaussian_psf(25, one) for one in sigma], axis=-1)[None].repeat(6, axis=0)
    made = model(batch)
    for band, one in enumerate(sigma):
        frame = array(made["deconvolved"])[..., band]
        blur = np.sqrt(one**2 - model.model_sigma**2)
        seen = [gaussian_filter(part, blur, mode="constant", truncate=6) for part in frame]
        np.testing.assert_allclose(array(made["image"])[..., band], seen, atol=5e-3 * frame.max())
    del batch["psf"]
    bare = model(batch)
    np.testing.assert_allclose(array(bare["image"]), array(bare["deconvolved"]), rtol=1e-6)


def test_units_do_not_matter():
    model, batch = model_of(), batch_of()
    one = model(batch)
    other = model({**batch, "image": 10 * batch["image"], "variance": 100 * batch["variance"]})
    np.testing.assert_array_equal(np.asarray(one["codes"]), np.asarray(other["codes"]))
    # A band that is not there has no unit.
    there = good_of(batch).any(axis=(1, 2))
    for key in ("image", "deconvolved"):
        one[key], other[key] = (np.moveaxis(array(made[key]), -1, 1)[there] for made in (one, other))
        np.testing.assert_allclose(other[key], 10 * one[key], rtol=1e-3, atol=1e-4)


def test_pixels_that_do_not_count_are_not_seen():
    model, batch = model_of(), batch_of()
    changed = {**batch, "image": np.where(good_of(batch), batch["image"], np.float32(-777))}
    one, other = model(batch), model(changed)
    np.testing.assert_array_equal(array(one["image"]), array(other["image"]))
    losses = []
    for data in (batch, changed):
        made = model(data)
        losses.append(float(model.compute_loss(x=data, y_pred=made)))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("option", ["band_dropout", "mask_dropout"])
def test_what_is_not_shown_in_training(option):
    """At a chance of 1 no band is seen: as where all pixels are masked. In use, everything is seen."""
    batch = batch_of()
    model, plain = model_of(**{option: 1.0}), model_of()
    plain.set_weights(model.get_weights())
    shown, hidden = array(plain.encode(batch)), array(model.encode(batch))
    np.testing.assert_allclose(hidden, shown, rtol=1e-5)
    trained = array(model.encode(batch, training=True))
    whole = array(plain.encode(batch, training=True))
    assert np.abs(trained - whole).max() > 0.01
    if option == "band_dropout":
        nothing = {**batch, "mask": np.ones_like(batch["mask"])}
        np.testing.assert_allclose(trained, array(plain.encode(nothing, training=True)), atol=1e-3)


def test_a_recorrupted_image_is_judged_by_another_draw_than_is_shown(monkeypatch):
    batch = batch_of()
    model = model_of(recorrupt={"strength": 0.5})
    shown = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda given, training=False: shown.append(given) or encode(given, training))
    target = model(batch, training=True)["target"]
    good = good_of(batch)
    seen, judged = (array(one["image"]) - batch["image"] for one in (shown[-1], target))
    # What was added to the first, over strength, is what was taken from the second.
    np.testing.assert_allclose(seen[good], -(0.5**2) * judged[good], rtol=1e-3, atol=1e-4)
    assert np.std(seen[good] / np.sqrt(batch["variance"][good])) == pytest.approx(0.5, rel=0.1)
    np.testing.assert_allclose(array(target["variance"])[good], 5 * batch["variance"][good], rtol=1e-6)
    np.testing.assert_array_equal(array(shown[-1]["variance"]), batch["variance"])
    # Beyond training the image is shown as it is.
    assert model(batch)["codes"] is not None
    np.testing.assert_array_equal(array(shown[-1]["image"]), batch["image"])


@pytest.mark.parametrize("wrong", [{"smoothing": 1.0}, {"strength": 0.0}, {"strength": 1.0, "sigma": 2.0}])
def test_a_wrong_recorrupt_is_refused(wrong):
    with pytest.raises(RecipeError, match="strength above 0"):
        VQVAE.tiny(("g",), recorrupt=wrong)
