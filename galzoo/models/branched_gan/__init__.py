"""Branched GAN: one network that gives every galaxy of a blend its own picture."""

from galzoo.registry import Family

FAMILY = Family(
    name="branched_gan",
    title="Branched GAN: a blend taken apart by one network with a branch for each galaxy",
    model="galzoo.models.branched_gan.model:BranchedGAN",
    tasks=("deblend:separator",),
    keys=("image", "variance", "mask", "psf", "truth"),
    required=("image", "variance"),
    reference="Reiman & Gohre 2019 (arXiv:1810.10098); generator after SRGAN, Ledig et al. 2017 (arXiv:1609.04802)",
    picture="galzoo.tasks.deblend.pairs_figures:draw_batch",
)
