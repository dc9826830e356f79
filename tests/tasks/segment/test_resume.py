"""A killed `galzoo segment` goes on where it stopped: finished tiles are not voted on again, to the same answer."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from galzoo.field.pieces import WORK
from galzoo.tasks.segment.run import Settings, segment_field
from tests.tasks.segment.fakes import Thresholds, draw, write

TILED = Settings(stride=7, tile=64, report=False)


class Counted(Thresholds):
    """Counts the batches of windows that it is asked for, and is interrupted at one of them."""

    def __init__(self, last=None):
        self.batches, self.last = 0, last

    def pixel_classes(self, batch):
        if self.batches == self.last:
            raise KeyboardInterrupt
        self.batches += 1
        return super().pixel_classes(batch)


@pytest.fixture
def run(tmp_path, monkeypatch):
    path = write(tmp_path / "field.fits", draw((150, 170)))

    def run(name, last=None, settings=TILED, **options):
        model = Counted(last)
        monkeypatch.setattr("galzoo.tasks.segment.run.load_for", lambda *names: model)
        try:
            segment_field(path, tmp_path / name, settings=settings, **options)
        except KeyboardInterrupt:
            assert last is not None
        return model.batches

    return run


def products(folder):
    with fits.open(folder / "classes.fits") as hdus:
        planes = [hdu.data for hdu in hdus[1:]]
    return [*planes, fits.getdata(folder / "segmentation.fits"), QTable.read(folder / "catalogue.ecsv")["p_disk"].value]


def test_a_killed_run_goes_on_to_the_same_answer(run, tmp_path):
    whole = run("whole")
    assert whole > 4
    assert run("out", last=4) == 4
    assert not (tmp_path / "out" / "catalogue.ecsv").exists()
    finished = len(list((tmp_path / "out" / WORK).glob("votes_*.npz")))
    assert finished >= 2
    # A tile is a batch here: the fields are small.
    assert run("out") == whole - finished
    assert not (tmp_path / "out" / WORK).exists()
    for one, other in zip(products(tmp_path / "out"), products(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_threshold_may_change_in_between_and_a_stride_may_not(run):
    whole = run("whole")
    run("out", last=4)
    assert run("out", settings=Settings(stride=7, tile=64, threshold=0.1, report=False)) < whole
    run("other", last=4)
    other = Settings(stride=9, tile=64, report=False)
    assert run("other", settings=other) == run("anew", settings=other)


def test_a_restart_begins_anew(run):
    whole = run("whole")
    run("out", last=4)
    assert run("out", restart=True) == whole
