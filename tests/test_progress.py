"""Progress that is piped: a line now and then, with the time that is left, on standard error."""

import pytest

from galzoo import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_track(clock, capsys):
    for step in progress.track(range(6), "cutting"):
        clock[0] += 10
        assert step < 6
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["cutting: 2/6, 40 s left", "cutting: 4/6, 20 s left", "cutting: 6/6, 0 s left"]


def test_counter_and_silence(clock, capsys):
    with progress.counter(1000, "simulating") as count:
        count(1)
        clock[0] += 60
        count(9)
    assert capsys.readouterr().err == "simulating: 10/1000, 99 min left\n"
    assert list(progress.track(range(3), "quick", show=False)) == [0, 1, 2]
    for _ in progress.track(range(3), "quick"):
        clock[0] += 1
    assert capsys.readouterr().err == ""
