"""StarNet: posterior catalogues of crowded star fields, for any PSF, sky and density."""

from galzoo.registry import Family

FAMILY = Family(
    name="starnet",
    title="StarNet: how many stars, where and how bright in a crowded field, with honest uncertainty",
    model="galzoo.models.starnet.model:StarNet",
    tasks=("detect",),
    keys=("image", "variance", "mask", "psf", "gain", "faintest", "positions", "n_sources", "flux", "source_class"),
    required=("image", "variance", "psf", "positions", "n_sources", "flux"),
    inputs=("scenes",),
    reference=(
        "Liu et al. 2021 (StarNet, arXiv:2102.02409); likelihood: Speiser et al. 2021 (DECODE, Nature Methods 18, 1082)"
    ),
    picture="galzoo.viz.star_fields:draw_batch",
)
