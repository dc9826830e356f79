"""Galaxy_VAE: one vector a galaxy, its dimensions ordered by what they tell, alike in several surveys."""

from galzoo.registry import Family

FAMILY = Family(
    name="galaxy_vae",
    title="Galaxy VAE: one ordered vector a galaxy, learnt through PSF and noise, alike in several surveys",
    model="galzoo.models.galaxy_vae.model:GalaxyVAE",
    tasks=("reconstruct", "embed:encoder", "classify:encoder"),
    keys=("image", "variance", "mask", "psf", "truth", "condition"),
    required=("image", "variance"),
    reference=(
        "Kingma & Welling 2014 (arXiv:1312.6114); Xu et al. 2023 (MNRAS 526, 6391; Galaxy_VAE); nested dropout: "
        "Rippel et al. 2014 (arXiv:1402.0915); MMD: Gretton et al. 2012 (JMLR 13, 723); "
        "adversary: Tzeng et al. 2015 (arXiv:1510.02192); start: Tipping & Bishop 1999 (JRSSB 61, 611)"
    ),
    picture="galzoo.tasks.reconstruct.picture:draw_batch",
)
