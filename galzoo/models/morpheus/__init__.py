"""Morpheus: the class of every pixel of a sky image."""

from galzoo.registry import Family

FAMILY = Family(
    name="morpheus",
    title="Morpheus: spheroid, disk, irregular, point source or background, pixel by pixel",
    model="galzoo.models.morpheus.model:Morpheus",
    tasks=("segment",),
    keys=("image", "mask", "pixel_class"),
    required=("image", "pixel_class"),
    inputs=("stamps", "scenes"),
    reference="Hausen & Robertson 2020 (arXiv:1906.11248); U-Net, Ronneberger et al. 2015 (arXiv:1505.04597)",
    picture="galzoo.tasks.segment.picture:draw_batch",
)
