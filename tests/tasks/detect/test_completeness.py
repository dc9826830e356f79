"""Completeness and purity beside a list, on cases that can be counted by hand."""

import numpy as np
import pytest

from galzoo.field.array_field import ArrayField
from galzoo.tasks.detect.completeness import against_truth

SCALE = 0.2


def case(off):
    """Return a field, what was detected in it, and what is there: three sources, the second `off` pixels away.

    Of four detections, of magnitudes 20.2, 21.2, 22.2 and 22.3, the last is of nothing.
    """
    field = ArrayField(np.zeros((200, 200, 1)), np.ones((200, 200, 1)), bands=("r",), pixel_scale=SCALE)
    magnitude = np.array([20.2, 21.2, 22.2, 22.3])
    flux = 10 ** (0.4 * (31.4 - magnitude))[:, None]
    rows = {
        "x": np.array([20.0, 60.0, 100.0, 150.0]), "y": np.array([30.0, 70.0, 110.0, 160.0]), "a": np.full(4, 1.0),
        "flux": flux, "aperture_flux": flux,
    }  # fmt: skip
    places = np.array([[20.0, 30.0], [60.0 + off, 70.0], [100.0, 110.0]])
    return field, rows, (places, magnitude[:3], "r")


@pytest.mark.parametrize(("off", "arcsec", "matched"), [(3, 1.0, 3), (3, 0.5, 2), (4.5, 1.0, 3), (6, 1.0, 2)])
def test_sources_are_matched_within_so_many_arcsec(off, arcsec, matched):
    summary = against_truth(*case(off), arcsec, 3.0)["summary"][0]
    assert (summary["listed"], summary["detected"], summary["matched"]) == (3, 4, matched)
    assert summary["completeness"][0] == pytest.approx(matched / 3)
    assert summary["purity"][0] == pytest.approx(matched / 4)


def test_bins_are_of_the_true_and_of_the_measured_magnitude():
    table = against_truth(*case(6), 1.0, 3.0)["table"]
    low = table["low"].value
    by = {edge: table[low == edge][0] for edge in (20.0, 21.0, 22.0)}
    assert [int(by[edge]["n"]) for edge in by] == [1, 1, 1]
    assert [float(by[edge]["completeness"]) for edge in by] == [1, 0, 1]
    assert [int(by[edge]["n_detected"]) for edge in by] == [1, 1, 2]
    # The second is not where its source is said to be, the last is of nothing.
    assert [float(by[edge]["purity"]) for edge in by] == [1, 0, 0.5]
