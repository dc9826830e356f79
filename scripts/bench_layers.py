"""Measure the forward-model layers: time of a training step beside one 3x3 convolution, and accuracy.

Usage: python scripts/bench_layers.py --output bench_layers.json
The back end is the one of KERAS_BACKEND.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops

from galzoo.layers.augment import Rotate90Flip
from galzoo.layers.psf import convolve, gaussian_psf

MODEL_SIGMA = 0.7
SHAPES = ((32, 84, 84, 1), (32, 64, 64, 6))
PSF_SIZES = (31, 41)


def gradient_step(function):
    """Return a compiled function that runs `function` forward and backward to its first argument."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.grad(lambda image, *rest: ops.sum(ops.square(function(image, *rest)))))
    import tensorflow as tf

    @tf.function
    def step(image, *rest):
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_sum(tf.square(function(image, *rest)))
        return tape.gradient(loss, image)

    return step


def milliseconds(function, arrays, repeats):
    """Return the shortest of `repeats` times of one step."""
    step = gradient_step(function)
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    for _ in range(2):
        ops.convert_to_numpy(step(*tensors))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        ops.convert_to_numpy(step(*tensors))
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def time_layers(repeats):
    """Return a row a layer and shape."""
    random = np.random.default_rng(0)
    rows = []
    for shape in SHAPES:
        image = random.normal(size=shape).astype("float32")
        kernel = random.normal(size=(3, 3, shape[-1], 64)).astype("float32")
        trunk = random.normal(size=(3, 3, 64, 64)).astype("float32")
        features = random.normal(size=(*shape[:3], 64)).astype("float32")
        turn = Rotate90Flip()
        cases = [
            (f"conv 3x3, {shape[-1]} to 64", lambda x, k: ops.conv(x, k, padding="same"), (image, kernel)),
            ("conv 3x3, 64 to 64", lambda x, k: ops.conv(x, k, padding="same"), (features, trunk)),
        ]
        for size in PSF_SIZES:
            one = np.tile(gaussian_psf(size, 1.5)[None, ..., None], (1, 1, 1, shape[-1]))
            each = np.tile(one, (shape[0], 1, 1, 1))
            for label, psf in (("one PSF", one), ("a PSF each", each)):
                name = f"ConvolvePSF, {size} px, {label}"
                cases.append((name, lambda x, k: convolve(x, k, MODEL_SIGMA), (image, psf)))
        cases.append(("Rotate90Flip", lambda x, turn=turn: turn({"image": x}, training=True)["image"], (image,)))
        if keras.backend.backend() == "jax":
            # A random layer changes its state, which JAX lets only a stateless call do.
            cases = [case for case in cases if case[0] != "Rotate90Flip"]
        for name, function, arrays in cases:
            rows.append({"shape": list(shape), "layer": name, "ms": milliseconds(function, arrays, repeats)})
    return rows


def centroid(image):
    """Return the first moments (x, y) of an image."""
    y, x = np.indices(image.shape)
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


def measure_accuracy():
    """Return the largest errors over odd and even stamps and PSFs."""
    worst = {
        "flux (relative)": 0.0,
        "centroid (px)": 0.0,
        "wrap-around (of peak)": 0.0,
        "against GalSim (of peak)": 0.0,
    }
    for size in (64, 65):
        for psf_size in (24, 25, 90):
            line = np.arange(size) - (size - 1) / 2
            image = np.exp(-((line[:, None] + 2.6) ** 2 + (line - 1.3) ** 2) / (2 * 2.5**2))
            psf = gaussian_psf(psf_size, 1.6)[None, ..., None]
            for sigma in (None, MODEL_SIGMA):
                result = run(image, psf, sigma)
                errors = {
                    "flux (relative)": abs(result.sum() / image.sum() - 1),
                    "centroid (px)": np.abs(centroid(result) - centroid(image)).max(),
                }
                edge = np.zeros((size, size))
                edge[0, size // 2] = edge[size // 2, 0] = 1
                result = run(edge, psf, sigma)
                far = max(
                    np.abs(result[size - 15 :, size // 2 :]).max(), np.abs(result[size // 2 :, size - 15 :]).max()
                )
                errors["wrap-around (of peak)"] = far / result.max()
                worst = {key: max(value, errors.get(key, 0.0)) for key, value in worst.items()}
            worst["against GalSim (of peak)"] = max(worst["against GalSim (of peak)"], against_galsim(size, psf_size))
    return {key: float(value) for key, value in worst.items()}


def run(image, psf, sigma):
    """Convolve one plane."""
    tensor = convolve(image[None, ..., None].astype("float32"), psf.astype("float32"), sigma)
    return ops.convert_to_numpy(tensor)[0, ..., 0].astype(float)


def against_galsim(size, psf_size):
    """Return the largest error of a Sersic galaxy taken from the model frame to the observed one."""
    import galsim

    def draw(profile, pixels):
        return profile.drawImage(nx=pixels, ny=pixels, scale=1.0, method="no_pixel", dtype=np.float64).array

    galaxy = galsim.Sersic(n=1.5, half_light_radius=3.0).shear(g1=0.2, g2=0.1).shift(0.3, -0.2)
    psf = galsim.Convolve(galsim.Moffat(beta=3.5, fwhm=3.5), galsim.Pixel(1.0))
    image = draw(galsim.Convolve(galaxy, galsim.Gaussian(sigma=MODEL_SIGMA)), size)
    truth = draw(galsim.Convolve(galaxy, psf), size)
    return np.abs(run(image, draw(psf, psf_size)[None, ..., None], MODEL_SIGMA) - truth).max() / truth.max()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    result = {
        "backend": keras.backend.backend(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, Keras {keras.__version__}",
        "accuracy": measure_accuracy(),
        "times": time_layers(options.repeats),
    }
    print(f"{'accuracy':42s} worst")
    for name, value in result["accuracy"].items():
        print(f"{name:42s} {value:.1e}")
    print(f"\n{'forward and backward':42s} {'shape':>16s} {'ms':>8s}")
    for row in result["times"]:
        print(f"{row['layer']:42s} {'x'.join(map(str, row['shape'])):>16s} {row['ms']:8.1f}")
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
