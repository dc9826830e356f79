"""Screen: how likely each source is an unrecognised blend."""

from galzoo.registry import Suite, Task

TASK = Task(
    name="screen",
    title="Say how many sources are in each stamp, and how likely it is a blend",
    roles={"model": "galzoo.contracts.counts:Counter"},
    run="galzoo.tasks.screen.run:screen",
    command="galzoo.tasks.screen.command:screen",
    help="Say how likely each source of a catalogue is an unrecognised blend.",
    next="galzoo screen FIELD.fits CATALOGUE.fits --preset {preset}",
    suites=(
        Suite(
            name="count",
            title="Probabilities of the number of sources of a stamp: scores and calibration",
            run="galzoo.tasks.screen.suite:run",
            result="galzoo.tasks.screen.suite:CountResult",
            tasks=("screen",),
            data="scenes",
        ),
    ),
)
