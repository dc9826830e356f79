"""Reconstruct: single galaxies without their noise, as observed and before the PSF."""

from galzoo.lazy import publish
from galzoo.registry import Suite, Task

TASK = Task(
    name="reconstruct",
    title="Reconstruct and deconvolve stamps of single galaxies",
    roles={"model": "galzoo.contracts.codec:Reconstructor"},
    run="galzoo.tasks.reconstruct.run:reconstruct",
    command="galzoo.tasks.reconstruct.command:reconstruct",
    help="Reconstruct and deconvolve stamps: FITS, a catalogue and a picture.",
    next="galzoo reconstruct {preset} {data}",
    picture="galzoo.tasks.reconstruct.picture:preset_figure",
    suites=(
        Suite(
            name="reconstruction",
            title="Reconstruction and deconvolution beside classical methods, codes, photometric biases",
            run="galzoo.tasks.reconstruct.suite:run",
            result="galzoo.tasks.reconstruct.suite:ReconstructionResult",
            tasks=("reconstruct",),
            real=True,
        ),
    ),
)

__getattr__, __dir__ = publish(
    __name__,
    {
        "reconstruct": "galzoo.tasks.reconstruct.run",
        "Reconstruction": "galzoo.tasks.reconstruct.run",
        "write_reconstruction": "galzoo.tasks.reconstruct.products",
        "catalogue": "galzoo.tasks.reconstruct.products",
        "evaluate_reconstruction": "galzoo.tasks.reconstruct.scores",
    },
)
