"""PixelCNN: a prior over galaxies that can be drawn from and that knows how probable a galaxy is."""

from galzoo.registry import Family

FAMILY = Family(
    name="pixelcnn",
    title="PixelCNN: a prior over galaxies, conditional, with an exact log-probability",
    model="galzoo.models.pixelcnn.model:PixelCNN",
    tasks=("sample", "embed:prior", "classify:prior"),
    keys=("image", "variance", "mask", "psf", "truth", "condition"),
    required=("image", "variance"),
    capabilities={"exact_log_prob": True},
    reference=(
        "van den Oord et al. 2016 (arXiv:1601.06759, arXiv:1606.05328); as a galaxy prior: Lanusse et al. 2019 "
        "(arXiv:1912.03980); cached sampling: Ramachandran et al. 2017 (arXiv:1704.06001)"
    ),
    picture="galzoo.models.pixelcnn.picture:draw_samples",
)
