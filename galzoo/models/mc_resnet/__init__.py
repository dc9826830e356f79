"""MC-dropout ResNet: how many sources a stamp holds, where and how bright, and how sure that is."""

from galzoo.registry import Family

FAMILY = Family(
    name="mc_resnet",
    title="MC-dropout ResNet: number of sources, positions and fluxes, with probabilities",
    model="galzoo.models.mc_resnet.model:MCResNet",
    tasks=("screen",),
    keys=("image", "variance", "mask", "psf", "n_sources", "positions", "flux"),
    required=("image", "variance", "n_sources"),
    inputs=("scenes",),
    reference="Gal & Ghahramani 2016 (arXiv:1506.02142); He et al. 2016 (arXiv:1512.03385); Guo et al. 2017 "
    "(arXiv:1706.04599); problem: Buchanan et al. 2021 (arXiv:2107.09246)",
)
