"""Score prior: a normalised density over the pixels of galaxies, its gradient, and samples by diffusion."""

from galzoo.registry import Family

FAMILY = Family(
    name="score_prior",
    title="Score prior: a density over the pixels of galaxies, its gradient, and samples by diffusion",
    model="galzoo.models.score_prior.model:ScorePrior",
    tasks=("sample", "deblend:prior"),
    keys=("image", "variance", "mask", "psf", "truth", "condition"),
    required=("image", "variance"),
    capabilities={"space": "pixels"},
    reference=(
        "Sampson et al. 2024 (arXiv:2401.07313; ScoreNet); Song et al. 2021 (arXiv:2011.13456; probability flow); "
        "Karras et al. 2022 (arXiv:2206.00364; EDM); Guth et al. 2025 (arXiv:2506.05310; dual score matching)"
    ),
    picture="galzoo.models.score_prior.picture:draw_samples",
)
