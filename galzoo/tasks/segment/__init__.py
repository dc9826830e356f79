"""Segment: the class of every pixel of a field, and the sources that they make up."""

from galzoo.lazy import publish
from galzoo.registry import Suite, Task

TASK = Task(
    name="segment",
    title="Say of every pixel of a field what it belongs to, and make sources of them",
    roles={"model": "galzoo.contracts.segmentation:Segmenter"},
    run="galzoo.tasks.segment.run:segment_field",
    command="galzoo.tasks.segment.command:segment",
    help="Class the pixels of a field: planes, segments, a catalogue and pictures.",
    next="galzoo segment FIELD.fits --preset {preset}",
    picture="galzoo.tasks.segment.picture:preset_figure",
    suites=(
        Suite(
            name="segment",
            title="Classes of pixels and sources, completeness beside SEP, calibration",
            run="galzoo.tasks.segment.suite:run",
            result="galzoo.tasks.segment.suite:SegmentResult",
            tasks=("segment",),
            data="scenes",
        ),
    ),
)

__getattr__, __dir__ = publish(
    __name__,
    {
        "segment": "galzoo.tasks.segment.run",
        "segment_field": "galzoo.tasks.segment.run",
        "Settings": "galzoo.tasks.segment.run",
        "vote_image": "galzoo.tasks.segment.votes",
        "make_catalogue": "galzoo.tasks.segment.catalogue",
        "class_picture": "galzoo.tasks.segment.colours",
    },
)
