"""`galzoo reconstruct`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.errors import InputError
from galzoo.options import BatchSize, Conform, Folder, Preset


def reconstruct(
    preset: Preset,
    stamps: Annotated[Path, typer.Argument(help="Stamp file (HDF5).")],
    output: Folder = Path("out"),
    batch_size: BatchSize = 64,
    limit: Annotated[int | None, typer.Option(help="Only the first so many stamps.")] = None,
    refine_steps: Annotated[
        int, typer.Option(help="Likelihood updates at most; 0 shows what the codes alone say.", min=0)
    ] = 30,
    conform: Conform = False,
):
    """Reconstruct and deconvolve stamps: FITS, a catalogue and a picture."""
    from galzoo.data.stamps import Stamps
    from galzoo.domain import in_domain
    from galzoo.field.pieces import check_folder
    from galzoo.presets import card_for, load_for

    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; give 1 or more")
    check_folder(output, "reconstruct", stamps)
    data = in_domain(Stamps.load(stamps, slice(0, limit)), card_for("reconstruct", preset), conform)
    # What is wrong with the stamps is said before TensorFlow is loaded.
    from galzoo.tasks.reconstruct.products import write_reconstruction
    from galzoo.tasks.reconstruct.run import reconstruct as run

    result = run(load_for("reconstruct", preset), data, batch_size, progress=True, refine_steps=refine_steps)
    for path in write_reconstruction(data, result, output):
        sys.stdout.write(f"{path}\n")
