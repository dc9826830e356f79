"""VQ-VAE: galaxies as maps of discrete codes, learnt through the PSF and the noise."""

from galzoo.registry import Family

FAMILY = Family(
    name="vqvae",
    title="VQ-VAE: galaxies as maps of discrete codes, learnt through PSF and noise",
    model="galzoo.models.vqvae.model:VQVAE",
    tasks=("reconstruct", "embed", "classify"),
    keys=("image", "variance", "mask", "psf", "truth"),
    required=("image", "variance"),
    reference="van den Oord et al. 2017 (arXiv:1711.00937); forward model: Lanusse et al. 2021 (arXiv:2008.03833)",
    picture="galzoo.tasks.reconstruct.picture:draw_batch",
)
