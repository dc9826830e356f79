"""`galzoo simulate scenes`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from galzoo.brief import counted
from galzoo.cli.pairs import PairCommand
from galzoo.options import PAIR, listed, pair


def register(app):
    """Add the group `simulate` to the application."""
    group = typer.Typer(help="Simulate images with known truth.", no_args_is_help=True, rich_markup_mode=None)
    # A callback keeps the verb: a group of one command would take its place.
    group.callback()(_group)
    group.command("scenes", cls=PairCommand)(scenes)
    app.add_typer(group, name="simulate")


def _group():
    """Simulate images with known truth."""


def scenes(
    output: Annotated[Path, typer.Option("--output", "-o", help="Scene file to write (HDF5).")] = Path("scenes.h5"),
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many scenes.")] = 100,
    survey: Annotated[str, typer.Option(help="Whose pixels, PSF and noise, e.g. LSST.")] = "LSST",
    bands: Annotated[str | None, typer.Option(help="Bands of the survey, comma-separated; all by default.")] = None,
    reference: Annotated[str, typer.Option(help="Band of the magnitudes; the deepest by default.")] = "",
    size: Annotated[int, typer.Option(help="Pixels on a side of a scene.")] = 120,
    psf_size: Annotated[int, typer.Option(help="Pixels on a side of the PSF, odd.")] = 41,
    sources: Annotated[str, typer.Option(metavar=PAIR, help="Least and largest number of sources.")] = "1,4",
    radius: Annotated[float, typer.Option(help="Largest distance of a source from the centre, arcsec.")] = 2.0,
    separation: Annotated[float, typer.Option(help="Least distance between two sources, arcsec.")] = 0.0,
    centred: Annotated[bool, typer.Option("--centred", help="Put the first source at the very centre.")] = False,
    density: Annotated[
        float | None, typer.Option(help="Sources per arcmin^2 all over the image, instead of --sources and --radius.")
    ] = None,
    magnitudes: Annotated[
        str | None,
        typer.Option(metavar=PAIR, help="Brightest and faintest AB magnitude in the reference band, e.g. 18,25.5."),
    ] = None,
    stars: Annotated[float, typer.Option(help="Fraction of sources that are stars.")] = 0.0,
    structure: Annotated[float, typer.Option(help="Fraction of discs with arms, bars, rings or one side.")] = 0.0,
    depth: Annotated[float, typer.Option(help="Exposure in units of the full survey's.")] = 1.0,
    psf_fwhm: Annotated[float | None, typer.Option(help="One FWHM for all scenes and bands, arcsec.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="CatSim catalogue; the built-in galaxies by default.")] = None,
    real: Annotated[Path | None, typer.Option(help="Catalogue of real galaxies (galsim.RealGalaxyCatalog).")] = None,
    real_fraction: Annotated[float, typer.Option(help="Fraction of real galaxies, with --real.")] = 1.0,
    real_limit: Annotated[float, typer.Option(help="Faintest magnitude of real galaxies.")] = 25.0,
    split: Annotated[str, typer.Option(help="Galaxies of which split: train, valid, test, all or any.")] = "all",
    isolated: Annotated[
        bool, typer.Option("--isolated/--no-isolated", help="Keep the image of each source alone (16 at most).")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other scenes.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="Worker processes; one a core by default.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the first 16 scenes, sources circled, e.g. a.png.")] = None,
):
    """Simulate blends or fields of galaxies and stars; an interrupted file goes on when asked for again."""
    from galzoo.simulate.scenes import SceneSpec, make_scenes

    if picture is not None:
        from galzoo.viz.panels import check_picture

        # Before the scenes are drawn.
        check_picture(picture)
    spec = SceneSpec(
        survey=survey,
        bands=tuple(listed(bands, "--bands") or ()),
        reference=reference,
        stamp_size=size,
        psf_size=psf_size,
        n_sources=pair(sources, "--sources", "2,4"),
        max_radius=radius,
        min_separation=separation,
        centred=centred,
        density=density,
        magnitude_range=pair(magnitudes, "--magnitudes"),
        stars_fraction=stars,
        structure=structure,
        depth=depth,
        psf_fwhm=psf_fwhm,
        catalogue=str(catalog) if catalog else None,
        real_galaxies=str(real) if real else None,
        real_fraction=real_fraction if real else 0.0,
        real_magnitude_limit=real_limit,
        split=split,
        isolated=isolated,
        seed=seed,
    )
    make_scenes(output, n, spec, processes, progress=True)
    from galzoo.data.scenes_hdf5 import read_header

    count = read_header(output)["n_sources"]
    sys.stdout.write(f"{counted(n, 'scene')} with {counted(count, 'source')} in {output}\n")
    if picture is not None:
        from galzoo.data.scenes import Scenes
        from galzoo.viz.panels import save
        from galzoo.viz.scenes import scene_panel

        save(scene_panel(Scenes.load(output, slice(0, 16))), picture)
        sys.stdout.write(f"picture: {picture}\n")
