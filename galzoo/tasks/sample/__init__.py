"""Sample: new galaxies from a prior, as any survey would see them."""

from galzoo.lazy import publish
from galzoo.registry import Suite, Task

TASK = Task(
    name="sample",
    title="Draw new galaxies from a prior, as any survey would see them",
    roles={"model": "galzoo.contracts.prior:Prior"},
    run="galzoo.simulate.observe:observe",
    command="galzoo.tasks.sample.command:sample",
    help="Draw galaxies from a trained prior: stamps, FITS and a picture.",
    next="galzoo sample {preset}",
    picture="galzoo.tasks.sample.picture:preset_figure",
    suites=(
        Suite(
            name="realism",
            title="How much samples are like held-out galaxies, and unlike training galaxies",
            run="galzoo.tasks.sample.suite:run",
            result="galzoo.tasks.sample.suite:RealismResult",
            tasks=("sample",),
        ),
    ),
)

__getattr__, __dir__ = publish(
    __name__,
    {
        "observe": "galzoo.simulate.observe",
        "plan": "galzoo.simulate.observe",
        "write_samples": "galzoo.tasks.sample.run",
        "parse_conditions": "galzoo.tasks.sample.run",
        "evaluate_realism": "galzoo.tasks.sample.realism",
        "known_conditions": "galzoo.tasks.sample.likelihood",
        "prepared": "galzoo.tasks.sample.likelihood",
    },
)
