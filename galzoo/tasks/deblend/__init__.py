"""Deblend: the sources of a field, taken apart."""

from galzoo.lazy import publish
from galzoo.registry import Suite, Task

TASK = Task(
    name="deblend",
    title="Take a field apart into sources with fluxes, shapes and uncertainties",
    roles={
        "model": "galzoo.contracts.galaxy_model:GalaxyModel",
        "separator": "galzoo.contracts.separator:Separator",
        "prior": "galzoo.contracts.prior:Prior",
    },
    run="galzoo.tasks.deblend.run:deblend_field",
    command="galzoo.tasks.deblend.command:deblend",
    help="Take a field apart into its sources: catalogue, images and a report.",
    next="galzoo deblend FIELD.fits --preset {preset}",
    picture="galzoo.tasks.deblend.picture:preset_figure",
    interrupted="what was finished is kept, and the same command goes on",
    suites=(
        Suite(
            name="deblend",
            title="Fluxes, shapes, errors and time on blends, beside other methods",
            run="galzoo.tasks.deblend.suite:run",
            result="galzoo.tasks.deblend.suite:DeblendResult",
            tasks=("deblend", "deblend:separator", "deblend:prior"),
            data="scenes",
            many=True,
        ),
        Suite(
            name="pairs",
            title="Pictures of separated pairs, beside splits by SEP",
            run="galzoo.tasks.deblend.pairs_suite:run",
            result="galzoo.tasks.deblend.pairs_suite:PairsResult",
            tasks=("deblend:separator",),
        ),
    ),
)

__getattr__, __dir__ = publish(
    __name__,
    {
        "deblend_field": "galzoo.tasks.deblend.run",
        "Settings": "galzoo.tasks.deblend.run",
        "baselines": "galzoo.tasks.deblend.deblenders",
        "evaluate_deblending": "galzoo.tasks.deblend.scores",
        "evaluate_pairs": "galzoo.tasks.deblend.pairs_scores",
    },
)
