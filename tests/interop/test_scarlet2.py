import subprocess
import sys

import keras
import pytest

from galzoo.errors import InputError
from galzoo.interop.scarlet2 import scarlet2_prior

CODE = """
import jax, numpy as np
from galzoo.errors import InputError
from galzoo.interop.scarlet2 import DensityOfPrior, scarlet2_prior
from galzoo.models.score_prior.model import ScorePrior
model = ScorePrior.tiny(noiseless=True)
for head in (model.field, model.potential):
    head.kernel.assign(0.05 * np.random.default_rng(1).normal(size=head.kernel.shape))
density = DensityOfPrior(model)
image = np.abs(np.random.default_rng(0).normal(size=(17, 20))).astype("float32")
prior = scarlet2_prior(density, flux=3.0, weight=2.0, temperature=4.0)
np.testing.assert_allclose(
    prior.log_prob(image), 0.5 * (model.log_prob(3 * image[None, ..., None])[0] + image.size * np.log(3)), rtol=1e-4)
np.testing.assert_allclose(
    jax.grad(prior.log_prob)(image), 1.5 * model.score(3 * image[None, ..., None])[0, ..., 0], rtol=2e-3, atol=2e-3)
scarlet2_prior(density, flux=5.0).log_prob(image)
assert density.compiled._cache_size() == 1, "a second source was compiled again"
assert prior.log_prob(np.stack([image, image])).shape == (2,)
assert np.isfinite(prior.log_prob(image[:9, :11]))
free = ScorePrior.tiny(noiseless=True, energy=False)
free.field.kernel.assign(model.field.kernel)
unknown = np.full(1, np.nan, "float32")
for cut in (image, image[:9, :11]):
    stamp = np.pad(3 * cut, [(max(16 - size, 0) // 2, (max(16 - size, 0) + 1) // 2) for size in cut.shape])
    low = [max(16 - size, 0) // 2 for size in cut.shape]
    wanted = free.score(stamp[None, ..., None])[0, low[0] : low[0] + cut.shape[0], low[1] : low[1] + cut.shape[1], 0]
    found = DensityOfPrior(free).gradient(cut, np.float32(3.0), unknown, np.float32(2.0))
    np.testing.assert_allclose(found, 6 * wanted, rtol=1e-3, atol=1e-3)
pixels = 3 * image[None, ..., None]
soft = np.asarray(free.soft)
scaled = free.score(pixels)[0, ..., 0] + (pixels / (soft**2 + pixels**2))[0, ..., 0]
found = DensityOfPrior(free, scaled=True).gradient(image, np.float32(3.0), unknown, np.float32(2.0))
np.testing.assert_allclose(found, 6 * scaled, rtol=1e-3, atol=1e-3)
own = scarlet2_prior(DensityOfPrior(model, scaled=True), flux=3.0)
wanted = model.score(pixels)[0, ..., 0] + (pixels / (np.asarray(model.soft)**2 + pixels**2))[0, ..., 0]
np.testing.assert_allclose(jax.grad(own.log_prob)(image), 3 * wanted, rtol=2e-3, atol=2e-3)
try:
    scarlet2_prior(free, flux=3.0)
except InputError as error:
    assert "form='score'" in str(error)
else:
    raise AssertionError("a score was taken for a density")
"""


@pytest.mark.skipif(keras.config.backend() == "jax", reason="JAX is what scarlet2 runs on")
def test_tensorflow_is_refused():
    with pytest.raises(InputError, match="KERAS_BACKEND=jax"):
        scarlet2_prior(object(), flux=1.0)


def test_density_in_jax():
    pytest.importorskip("numpyro")
    environment = {**__import__("os").environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
