"""DS9 regions: counted from 1, the ellipse that the distortion means, labels that cannot break the file."""

import re

import numpy as np
import pytest

from galzoo.interop.ds9 import write_regions


def test_positions_shapes_and_labels(tmp_path):
    path = tmp_path / "sources.reg"
    positions = [[0.0, 0.0], [10.5, 20.25], [3.0, 4.0]]
    # Twice as long as wide, along +y: (4 - 1) / (4 + 1), turned by 90 degrees.
    shape = [[np.nan, 0.0, 1.0], [-0.6, 0.0, 2.0], [0.0, 0.5, 1.5]]
    write_regions(path, positions, ["1", "a}b\nc", ""], shape, ["green", "red", "cyan"])
    lines = path.read_text().splitlines()
    assert lines[3] == "image"
    assert lines[4] == "circle(1.000,1.000,3) # color=green text={1}"
    numbers = [float(value) for value in re.match(r"ellipse\(([^)]*)\)", lines[5])[1].split(",")]
    x, y, a, b, angle = numbers
    assert (x, y) == (11.5, 21.25)
    assert a / b == pytest.approx(2, rel=1e-3)
    assert np.sqrt(a * b) == pytest.approx(2 * 2.0, rel=1e-3)
    assert angle == pytest.approx(90)
    assert lines[5].endswith("# color=red text={a)b c}")
    assert float(re.match(r"ellipse\(([^)]*)\)", lines[6])[1].split(",")[-1]) == pytest.approx(45)
    assert len(lines) == 7


def test_a_source_without_a_place_is_left_out(tmp_path):
    write_regions(tmp_path / "a.reg", [[np.nan, 1.0], [2.0, 3.0]], labels=["a", "b"])
    assert "nan" not in (tmp_path / "a.reg").read_text()
    assert "circle(3.000,4.000,3) # color=green text={b}" in (tmp_path / "a.reg").read_text()
