"""Mask R-CNN: stars and galaxies of multi-band scenes, by region proposals; also what a first pass has missed."""

from galzoo.registry import Family

FAMILY = Family(
    name="mask_rcnn",
    title="Mask R-CNN: stars and galaxies of crowded multi-band images, with masks, fluxes and shapes",
    model="galzoo.models.mask_rcnn.model:MaskRCNN",
    tasks=("detect", "detect:residual"),
    keys=(
        "image",
        "variance",
        "mask",
        "model",
        "positions",
        "n_sources",
        "flux",
        "boxes",
        "source_class",
        "ellipticity",
        "half_light_radius",
        "isolated",
        "source_images",
        "corners",
    ),
    required=("image", "variance", "positions", "n_sources", "flux", "boxes"),
    inputs=("scenes",),
    reference=(
        "He et al. 2017 (arXiv:1703.06870); Burke et al. 2019 (astro_rcnn, arXiv:1908.02748); centres: Zhou et al. "
        "2019 (arXiv:1904.07850)"
    ),
    picture="galzoo.viz.detections:draw_batch",
)
