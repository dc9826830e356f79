"""VAE deblender: blends as sums of galaxies from a learnt latent space, fitted to the data through PSF and noise."""

from galzoo.registry import Family

FAMILY = Family(
    name="vae_deblender",
    title="VAE deblender: blends as sums of galaxies from a learnt latent space, through PSF and noise",
    model="galzoo.models.vae_deblender.model:VAEDeblender",
    tasks=("deblend", "embed:encoder", "classify:encoder"),
    keys=("image", "variance", "mask", "psf", "truth", "positions", "n_sources"),
    required=("image", "variance"),
    reference=(
        "Arcelin et al. 2021 (arXiv:2005.12039); Biswas et al. 2025 (MADNESS, A&A 700 A129); "
        "flow: Dinh et al. 2017 (arXiv:1605.08803)"
    ),
    picture="galzoo.models.vae_deblender.picture:draw_batch",
)
