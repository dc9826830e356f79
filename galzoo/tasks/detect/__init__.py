"""Detect: the sources of a field, each with its probability."""

from galzoo.lazy import publish
from galzoo.registry import Suite, Task

TASK = Task(
    name="detect",
    title="Find the sources of a field, with probabilities, classes and masks",
    roles={
        "model": "galzoo.contracts.detections:Detector",
        "residual": "galzoo.contracts.detections:Detector",
    },
    run="galzoo.tasks.detect.run:detect_field",
    command="galzoo.tasks.detect.command:detect",
    picture="galzoo.tasks.detect.picture:preset_figure",
    help="Find the sources of a field: catalogue, masks, picture and a report.",
    next="galzoo detect FIELD.fits --preset {preset}",
    interrupted="what was finished is kept, and the same command goes on",
    suites=(
        Suite(
            name="detect",
            title="Average precision, completeness and outcomes on scenes, beside the classical detection",
            run="galzoo.tasks.detect.suite:run",
            result="galzoo.tasks.detect.suite:DetectResult",
            tasks=("detect",),
            data="scenes",
        ),
        Suite(
            name="residual",
            title="Sources that a first pass has missed: share found at few false ones, beside the second look",
            run="galzoo.tasks.detect.residual_suite:run",
            result="galzoo.tasks.detect.residual_suite:ResidualResult",
            tasks=("detect", "detect:residual"),
            data="scenes",
        ),
        Suite(
            name="stars",
            title="Catalogues of crowded star fields: one-to-one matches, counts and pulls, beside PSF photometry",
            run="galzoo.tasks.detect.stars_suite:run",
            result="galzoo.tasks.detect.stars_suite:StarsResult",
            tasks=("detect",),
            data="scenes",
        ),
    ),
)

__getattr__, __dir__ = publish(
    __name__,
    {
        "detect_field": "galzoo.tasks.detect.run",
        "detect_iterated": "galzoo.tasks.detect.iterate",
        "evaluate_detection": "galzoo.tasks.detect.scores",
        "evaluate_residual": "galzoo.tasks.detect.residual_scores",
        "evaluate_stars": "galzoo.tasks.detect.stars_scores",
        "ClassicalDetector": "galzoo.tasks.detect.classical",
        "Settings": "galzoo.tasks.detect.run",
        "segmentation_image": "galzoo.tasks.detect.products",
    },
)
