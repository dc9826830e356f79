"""The task "spot" and its suite."""

import sys
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
import typer

from galzoo.contracts.suites import Result
from galzoo.options import Output, Preset


@runtime_checkable
class Finds(Protocol):
    """A model that finds sources."""

    def find(self, batch, threshold=0.3):
        """Return a list of arrays (source, 3): x, y and the chance there."""


def spot_field(model, field, tile=64, margin=8):
    """Return the sources of a `galzoo.field.field.Field` as a table with ``x, y, ra, dec, chance``."""
    from astropy.table import QTable

    from galzoo.field.tiles import tiles

    found = []
    for y0, y1, x0, x1 in tiles(field.shape, tile):
        planes = field.read(y0 - margin, y1 + margin, x0 - margin, x1 + margin)
        batch = {key: planes[key][None] for key in ("image", "variance", "mask")}
        spots = model.find(batch)[0] + [x0 - margin, y0 - margin, 0]
        inside = (spots[:, 0] >= x0) & (spots[:, 0] < x1) & (spots[:, 1] >= y0) & (spots[:, 1] < y1)
        found.append(spots[inside])
    x, y, chance = np.concatenate(found).T
    ra, dec = field.wcs.all_pix2world(x, y, 0)
    return QTable({"x": x, "y": y, "ra": ra, "dec": dec, "chance": chance})


def command(
    preset: Preset,
    field: Annotated[list[str], typer.Argument(help="FITS: a file a band.")],
    bands: Annotated[str, typer.Option(help="Names of the bands, comma-separated.")],
    output: Output = Path("spots.ecsv"),
):
    """Find the sources of a field: a table of sky positions."""
    from galzoo.field.open_field import open_field
    from galzoo.presets import load_for

    with open_field(field, bands.split(",")) as opened:
        spot_field(load_for("spot", preset), opened).write(output, format="ascii.ecsv", overwrite=True)
    sys.stdout.write(f"{output}\n")


class SpotsResult(Result):
    """Numbers of `run_suite`."""

    def tables(self):
        return {"Spots": [{key: self.metrics[key] for key in ("sources", "completeness", "purity")}]}

    def headline(self):
        return {key: self.metrics[key] for key in ("completeness", "purity")}


def run_suite(request):
    """Match spots with the true sources of held-out scenes, within 2 pixels."""
    from galzoo.data.open_source import open_source

    keys = ("image", "variance", "positions", "n_sources")
    options = {"split_options": request.recipe["data"]["split"], "limit": request.limit}
    source = open_source(request.files[0], keys, "test", **options)
    batch = source.batch(np.arange(len(source)))
    found = seen = spots = 0
    for places, count, spot in zip(batch["positions"], batch["n_sources"], request.model.find(batch), strict=True):
        near = np.hypot(*(places[:count, None] - spot[None, :, :2]).transpose(2, 0, 1)) < 2
        found, seen, spots = found + near.any(axis=1).sum(), seen + near.any(axis=0).sum(), spots + len(spot)
    total = int(batch["n_sources"].sum())
    metrics = {"suite": "spots", "sources": total, "completeness": float(found / total)}
    return SpotsResult(metrics | {"purity": float(seen / spots) if spots else None})
