"""Find spots: a family that learns from scenes and a task that runs on a field, as other packages would bring them."""

from galzoo.registry import Family, Suite, Task

FAMILY = Family(
    name="spot_finder",
    title="Spot finder: a heat map of where sources are",
    model="spot_finder.model:SpotFinder",
    tasks=("spot",),
    keys=("image", "variance", "mask", "positions", "n_sources"),
    required=("image", "variance", "positions", "n_sources"),
    inputs=("scenes",),
    reference="a heat map of centres",
    recipes="spot_finder:recipes",
    presets="spot_finder:presets",
)

TASK = Task(
    name="spot",
    title="Find sources in a field",
    roles={"model": "spot_finder.spot:Finds"},
    run="spot_finder.spot:spot_field",
    command="spot_finder.spot:command",
    help="Find the sources of a field: a table of sky positions.",
    next="galzoo spot {preset} FIELD.fits",
    suites=(
        Suite(
            name="spots",
            title="Completeness and purity of spots",
            run="spot_finder.spot:run_suite",
            result="spot_finder.spot:SpotsResult",
            tasks=("spot",),
            data="scenes",
        ),
    ),
)
